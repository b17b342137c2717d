package proxy

import (
	"crypto/tls"
	"errors"
	"net"
	"net/netip"
	"strings"

	"schoolgate/policy"
	"schoolgate/proxy/inspect"
)

// Inspection is what the door needs to look inside TLS. A nil Inspection looks
// inside nothing, and policies that ask for it are told so in every record.
type Inspection struct {
	Leaves       *inspect.Leaves // nil: the authority cannot be used just now (F19)
	Verifier     *inspect.Verifier
	Never        *inspect.NeverInspect
	RefuseUnseen bool // what should be looked into and cannot be is refused, not carried
	Tenants      Tenants
}

// inspector is the door's part of an Inspection.
type inspector struct {
	Inspection
	trust  *inspect.Trust
	client *tls.Config // towards clients; one for all, so that sessions resume
	inbox  *inbox
}

func newInspector(c *Inspection) *inspector {
	if c == nil {
		return nil
	}
	i := &inspector{Inspection: *c, trust: inspect.NewTrust(), inbox: newInbox()}
	i.client = &tls.Config{
		MinVersion: tls.VersionTLS12, NextProtos: []string{"h2", "http/1.1", "http/1.0"},
		GetCertificate: i.certificate,
	}
	return i
}

// certificate is the leaf for the host that was decided on, whatever the hello
// says: it was read, and compared, before.
func (i *inspector) certificate(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	c, ok := hello.Conn.(*insideConn)
	if !ok {
		return nil, errors.New("not a connection of ours")
	}
	c.answered = true
	return i.Leaves.Get(c.tunnel.target.Host, now())
}

// sight is how much of a tunnel is seen.
type sight uint8

const (
	spliced   sight = iota // nothing: the bytes pass untouched
	inspected              // every request
	paged                  // nothing passes: every request gets the page of the refusal
)

// able reports whether the door can look inside a tunnel to a host for a client:
// there is an authority for it, the host is not private, and the client is not
// known to refuse us.
func (s *Server) able(t *target) bool {
	i := s.inspector
	if i == nil || i.Leaves == nil || t.Host.IsZero() || !i.Leaves.Covers(t.Host, now()) {
		return false
	}
	if _, private := i.Never.Find(t.Host); private {
		return false
	}
	return !i.trust.Refuses(t.Client, t.Host, now())
}

// wanted reports whether the policy wants the inside of a tunnel seen: pages of
// the host are on a list (I3), or the profile names one of its categories. It
// never does for a help-line or a private host.
func (s *Server) wanted(t *target, r *policy.Ruling) bool {
	if r.Shielded || r.Reason == policy.ReasonNeverBlock || !t.tunnel() || s.inspector == nil {
		return false
	}
	private := !r.Facts.Categories.Intersect(privateCategories).Empty() && r.Facts.MandatoryPaths == policy.Uncategorised
	if private || !r.Inspect && !r.Profile.Inspects(r.Facts.Categories) {
		return false
	}
	_, private = s.inspector.Never.Find(t.Host)
	return !private
}

// privateCategories are never looked into, whoever asks, but for pages on a
// mandatory list (4.8).
var privateCategories = policy.SetOf(policy.Finance, policy.Health, policy.HelpLine, policy.Updates)

// tunnel reports whether the target is one of which only the host is known.
func (t *target) tunnel() bool { return t.Door == policy.DoorCONNECT || t.Door == policy.DoorTLS }

// unsettled turns a refusal for pages nobody could see into an allowance where
// they will be seen: each request inside is then decided by its URL (I3). What
// should be seen and cannot be is carried or refused, as the school chose.
func (s *Server) unsettled(t *target, r policy.Ruling) policy.Ruling {
	if !t.tunnel() || s.inspector == nil {
		return r
	}
	switch {
	case r.Unsettled() && s.wanted(t, &r) && s.able(t):
		r.Verdict, r.Reason, r.Category, r.Rule, r.Severity = policy.Allow, policy.ReasonDefault, policy.Uncategorised, policy.Pos{}, 0
	case r.Verdict == policy.Allow && s.wanted(t, &r) && !s.able(t):
		if t.finding == "" {
			t.finding = findingUnseen
		}
		if s.inspector.RefuseUnseen {
			return refuse(r, policy.ReasonProtocol)
		}
	}
	return r
}

// Settles is the ruling that a door which sees only names is to act on, where all
// connections of its clients come to this one: a host refused only for pages
// nobody could see is let through to be seen here (I3).
func (s *Server) Settles(q policy.Request, r policy.Ruling) policy.Ruling {
	t := target{Request: q}
	t.Door = policy.DoorTLS
	if !r.Unsettled() {
		return r
	}
	return s.unsettled(&t, r)
}

// look is how a tunnel that was decided on is carried; the target has a note of why.
func (s *Server) look(t *target, o *outcome) sight {
	switch {
	case !t.tunnel() || s.inspector == nil:
	case o.allowed():
		t.wanted = s.wanted(t, &o.ruling)
		if t.wanted && s.able(t) {
			return inspected
		}
	case s.showsPage(t, o) && s.able(t):
		t.paged = true
		return paged
	}
	return spliced
}

// turned reports whether a tunnel that is allowed would be carried in another way now:
// its inside is to be seen and was not, or no longer, or there is more to it than a page.
// One whose client could not be looked into stays as it is.
func (s *Server) turned(t *target, r *policy.Ruling) bool {
	wanted := s.wanted(t, r)
	return t.paged || wanted != t.wanted && (!wanted || s.able(t))
}

// showsPage reports whether a refusal may be told on a page inside TLS: one of
// the policy, at a place that would be carried.
func (s *Server) showsPage(t *target, o *outcome) bool {
	switch o.ruling.Reason {
	case policy.ReasonNotReady, policy.ReasonBadHost, policy.ReasonProtocol, policy.ReasonDestination, policy.ReasonSignIn:
		return false
	}
	return o.ruling.Verdict != policy.Allow && o.recorded && t.ports(t.port, false)
}

// insideConn is a client's connection under TLS of ours: what was peeked is read
// again, and what belongs to it can be found from the handshake.
type insideConn struct {
	net.Conn
	tunnel   *tunnel
	again    []byte
	settled  bool // the handshake is over
	answered bool // the hello was good enough to be answered with a certificate
	alert    byte // the last alert that came in clear, 0 for none
}

func (c *insideConn) Read(p []byte) (int, error) {
	if len(c.again) > 0 {
		n := copy(p, c.again)
		c.again = c.again[n:]
		return n, nil
	}
	n, err := c.Conn.Read(p)
	c.tunnel.moved.Add(int64(n))
	if n >= 7 && !c.settled {
		c.note(p[n-7 : n])
	}
	return n, err
}

// NetConn is the client's connection.
func (c *insideConn) NetConn() net.Conn { return c.Conn }

// Write counts what goes to the client.
func (c *insideConn) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p)
	c.tunnel.moved.Add(int64(n))
	return n, err
}

// note remembers a fatal alert in clear. OpenSSL sends one where TLS 1.3 has it
// encrypted, and Go then knows of no more than a broken record.
func (c *insideConn) note(last []byte) {
	if last[0] == 21 && last[1] == 3 && last[3] == 0 && last[4] == 2 && last[5] == 2 {
		c.alert = last[6]
	}
}

// refusedUs reports whether a failed handshake means that the client does not
// believe our certificate, and whether it said so.
func refusedUs(err error, c *insideConn) (refused, told bool) {
	switch c.alert {
	case 42, 43, 45, 46, 48: // bad, unsupported, expired, unknown certificate, unknown authority
		return true, true
	}
	var op *net.OpError
	if errors.As(err, &op) && op.Op == "remote error" {
		text := op.Err.Error()
		for _, alert := range []string{"bad certificate", "unknown certificate", "unsupported certificate", "certificate expired"} {
			if strings.Contains(text, alert) {
				return true, true
			}
		}
		return false, false
	}
	return c.answered, false
}

// Untrusting lists the clients that were found not to trust the school's
// authority, for IT.
func (s *Server) Untrusting() []netip.Addr {
	if s.inspector == nil {
		return nil
	}
	return s.inspector.trust.Untrusting(now())
}

// Pinned lists the hosts that apps refuse to be looked into on clients that trust the
// school's authority, for IT.
func (s *Server) Pinned() []inspect.Pinned {
	if s.inspector == nil {
		return nil
	}
	return s.inspector.trust.Pinned(now())
}
