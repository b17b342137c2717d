package proxy

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/netip"
	"time"

	"schoolgate/policy"
	"schoolgate/proxy/destination"
	"schoolgate/proxy/nested"
	"schoolgate/proxy/origins"
	"schoolgate/proxy/pagescan"
)

// Findings are words for what was odd about a request; a record never holds
// free text of a client.
const (
	findingMalformed   = "malformed"     // could not be read, or not the same way twice
	findingUserinfo    = "userinfo"      // user@ before the host, used to dress up a URL
	findingMethod      = "method"        // a method that is not carried, e.g. TRACE
	findingScheme      = "scheme"        // not http:// in a plain request
	findingPort        = "port"          // a port that is not carried
	findingLiteral     = "ip_literal"    // a pupil asked for a bare address
	findingDestination = "inside"        // the name leads to the inside
	findingNotTLS      = "not_tls"       // a tunnel that does not begin with TLS
	findingSNI         = "sni_mismatch"  // CONNECT and SNI name different hosts
	findingNoSNI       = "no_sni"        // a transparent tunnel without a name
	findingElsewhere   = "elsewhere"     // a transparent connection to an address that is not the name's
	findingTwoNames    = "two_names"     // a ClientHello with more than one name
	findingECH         = "ech"           // the real name is encrypted
	findingHost        = "host_mismatch" // a request inside a tunnel for another host
	findingUnseen      = "unseen"        // should have been looked into and could not be
	findingNotBelieved = "not_believed"  // the client refuses the school's certificate
	findingCertificate = "certificate"   // the origin's certificate would be refused by a browser
	findingNested      = "nested"        // the address fetches another one, which is refused
	findingDoH         = "doh"           // a DNS question in HTTP clothes
	findingLookAlike   = "look_alike"    // the name imitates one that is blocked
	findingVolume      = "volume"        // a connection to a site nobody knows has carried a great deal
	findingRevoked     = "revoked"       // an open tunnel, closed as its verdict changed
)

// target is one thing asked for, as the door read it.
type target struct {
	policy.Request
	port    uint16
	dst     netip.Addr // transparent: the address the client chose; recorded, never dialled
	method  string
	use     policy.Use
	asks    bool                                // the client can be asked who it is
	ports   func(port uint16, listed bool) bool // which ports are carried
	refused policy.Reason                       // set where the door itself refuses...
	finding string                              // ...and why
	status  int                                 // ...and with what status
	body    Body                                // the beginning of a posted search

	wanted bool // of a tunnel: the policy wanted its inside seen when it was let through
	paged  bool // of a tunnel: it was refused, and shows pages of that
}

// outcome is what becomes of a target. Its event has been recorded, unless it is
// open: then it waits for what the origin says.
type outcome struct {
	ruling policy.Ruling
	event  policy.Event
	open   bool
	route  origins.Route // where it was allowed and the name resolved

	recorded bool // or counted, where it is no more
}

// allowed reports whether something may go to an origin.
func (o *outcome) allowed() bool { return o.event.Status == 0 }

func now() time.Time { return time.Now() }

// judge decides a target, looks at where it leads and records the event. What
// it returns may be carried out at once: a status of 0 allows.
func (s *Server) judge(ctx context.Context, t target) outcome {
	o := s.weigh(ctx, &t)
	s.seal(&o)
	return o
}

// weigh is judge up to the record: where it allows, the event may wait for what the
// origin's reply is, but no byte of an answer leaves before seal.
func (s *Server) weigh(ctx context.Context, t *target) outcome {
	t.Time = now()
	return s.weighAs(ctx, t, s.decide(t))
}

// weighAs is weigh for a target that was decided.
func (s *Server) weighAs(ctx context.Context, t *target, r policy.Ruling) outcome {
	o := outcome{ruling: r}
	status := 0
	if o.ruling.Verdict == policy.Allow {
		status = s.settle(ctx, t, &o)
	}
	if o.ruling.Verdict == policy.Allow && t.finding == "" && s.imitates(t, &o.ruling) {
		t.finding = findingLookAlike
	}
	s.describe(t, &o, status)
	return o
}

// imitates reports whether a name on no list is drawn like one that is blocked (Y17).
// It is another site, so it is only told. What it would tell of a mandatory list is
// not.
func (s *Server) imitates(t *target, r *policy.Ruling) bool {
	if !onNoList(r.Reason) {
		return false
	}
	like, ok := t.Host.LooksLike()
	if !ok {
		return false
	}
	q := t.Request
	q.Host, q.Path = like, ""
	real := s.decider.Decide(q)
	return real.Verdict == policy.Block && !onNoList(real.Reason) && real.Reason != policy.ReasonMandatory
}

// describe writes the event of a target. A refusal has the status of its reason,
// whatever else was meant.
func (s *Server) describe(t *target, o *outcome, status int) {
	search := s.hear(t, o)
	if search.Mandatory != policy.Uncategorised && o.ruling.Reason != policy.ReasonMandatory {
		o.ruling = o.ruling.Listed(search.Mandatory)
	}
	if o.ruling.Verdict != policy.Allow {
		status = refusalStatus(o.ruling.Reason, t.status)
		if o.ruling.Reason == policy.ReasonSignIn && t.asks {
			status = http.StatusProxyAuthRequired
		}
	}
	o.event = o.ruling.Event(t.Request)
	o.event.Method, o.event.Status = t.method, status
	if t.finding != "" { // or what the ruling itself found stands (I3)
		o.event.Finding = t.finding
	}
	if o.event.Host != "" { // neither a mandatory hit nor a help-line: of those nothing is told
		o.event.Use = t.use
		if t.port != usualPort(t.Door) {
			o.event.Port = t.port
		}
	}
	if o.ruling.Reason == policy.ReasonContent {
		o.event.Theme = o.ruling.Category.String()
	}
	o.event.Hear(search) // last: a search for help empties the event of its person
	o.open = true
	s.metrics.decided(t.Door, o.ruling.Verdict, now().Sub(t.Time))
}

// usualPort is the port that a door takes where none is named.
func usualPort(d policy.Door) uint16 {
	if d == policy.DoorHTTP {
		return 80
	}
	return 443
}

// seal records the event, once; without a record the status is 503.
func (s *Server) seal(o *outcome) {
	if !o.open {
		return
	}
	o.open = false // first: a sink that panics is not asked again
	err := s.record(&o.event)
	if o.recorded = err == nil; !o.recorded {
		o.event.ID, o.event.Status = 0, http.StatusServiceUnavailable
	}
}

// recordsFirst reports whether a request is recorded before it goes to the origin:
// what a person must hear of, since an origin may keep us waiting; a long upload,
// which would have left the school before there was a word of it; and everything
// while the journal is out of order, so that nothing goes out that cannot be told of.
func (s *Server) recordsFirst(r *http.Request, o *outcome) bool {
	return !o.allowed() || o.event.Flagged() || r.ContentLength < 0 || r.ContentLength > longUpload || s.unrecorded.Load()
}

const longUpload = 64 << 10

// decide asks the policy, then the door's own rules. The policy is asked even
// for what the door refuses, so that the record says what the host is.
func (s *Server) decide(t *target) policy.Ruling {
	s.stillSignedIn(t)
	r := s.unsettled(t, s.decider.Decide(t.Request))
	if r.Verdict == policy.Allow && !r.Shielded {
		r = s.throughTo(t, r)
	}
	if r.Verdict != policy.Allow {
		return r
	}
	if t.refused != policy.ReasonNotReady {
		return refuse(r, t.refused)
	}
	if r.Scan.Has(policy.VPNProxy) && s.phrases != nil && pagescan.ProxyPath(t.Path) {
		t.finding = findingContent
		return r.Found(policy.VPNProxy)
	}
	// A pupil has no business with bare addresses (Y15): one is reached only if
	// a list, an exception or the intranet's ranges hold it.
	if a, ok := t.Host.Addr(); ok && r.Band().Pupil() && onNoList(r.Reason) && !s.destinations.Listed(a) {
		t.finding = findingLiteral
		return refuse(r, policy.ReasonProtocol)
	}
	return r
}

// throughTo is the ruling on what an allowed address fetches for the client: the
// first address in it that is refused refuses it too.
func (s *Server) throughTo(t *target, r policy.Ruling) policy.Ruling {
	if !nested.May(t.Host.String(), t.Path) {
		return r
	}
	list := nested.Addresses(t.Host, t.Path, r.Reason == policy.ReasonUncategorised)
	for _, u := range list {
		q := t.Request
		q.Host, q.Path = u.Host, u.Path
		inner := s.decider.Decide(q)
		if inner.Verdict == policy.Allow {
			continue
		}
		if inner.Reason == policy.ReasonUncategorised && r.Reason != policy.ReasonUncategorised {
			continue // the service is allowed, and nobody refused the page
		}
		t.finding = findingNested
		return inner
	}
	return r
}

func onNoList(r policy.Reason) bool {
	return r == policy.ReasonUncategorised || r == policy.ReasonDefault
}

// refuse turns a ruling into the door's own refusal.
func refuse(r policy.Ruling, why policy.Reason) policy.Ruling {
	r.Verdict, r.Reason, r.Rule = policy.Block, why, policy.Pos{}
	r.Category, r.Safe = policy.Uncategorised, policy.Host{}
	return r
}

// settle looks where an allowed target leads. It may turn the ruling into a
// refusal; otherwise it returns 0, or the status of the error page.
func (s *Server) settle(ctx context.Context, t *target, o *outcome) int {
	host := t.Host
	if !o.ruling.Safe.IsZero() {
		host = o.ruling.Safe // SafeSearch: the same name, asked of the safe host (4.1)
	}
	if !t.ports(t.port, false) && !t.ports(t.port, true) {
		t.finding = findingPort
		o.ruling = refuse(o.ruling, policy.ReasonProtocol)
		return 0
	}
	var err error
	o.route, err = s.origins.Find(ctx, host, t.port)
	o.route.Name = t.Host
	switch {
	case errors.Is(err, destination.ErrForbidden):
		s.metrics.refusedDestinations.Inc()
		t.finding = findingDestination
		o.ruling = refuse(o.ruling, policy.ReasonDestination)
	case err != nil && s.nowhere(t, o, err):
		t.finding = findingElsewhere
		o.ruling = refuse(o.ruling, policy.ReasonProtocol)
	case err != nil:
		s.metrics.dialFailed(err)
		return errorStatus(err)
	case !t.ports(t.port, o.route.Listed):
		t.finding = findingPort
		o.ruling = refuse(o.ruling, policy.ReasonProtocol)
	case t.finding == "" && s.elsewhere(t, o.route.Addrs):
		t.finding = findingElsewhere
	}
	return 0
}

func refusalStatus(r policy.Reason, own int) int {
	switch {
	case r == policy.ReasonNotReady:
		return http.StatusServiceUnavailable
	case r == policy.ReasonBadHost:
		return http.StatusBadRequest
	case r == policy.ReasonProtocol && own != 0:
		return own
	}
	return http.StatusForbidden
}

// errorStatus is 504 for an origin or resolver that took too long, else 502.
func errorStatus(err error) int {
	var ne net.Error
	if errors.Is(err, context.DeadlineExceeded) || errors.As(err, &ne) && ne.Timeout() {
		return http.StatusGatewayTimeout
	}
	return http.StatusBadGateway
}

// record hands the event to the journal. Without a record there is no answer
// but a refusal.
func (s *Server) record(e *policy.Event) error {
	err := s.sink.Record(e)
	if bad := err != nil; bad != s.unrecorded.Load() && !e.Shielded { // that one was counted says nothing of the journal
		s.unrecorded.Store(bad)
	}
	if err != nil {
		s.metrics.recordErrors.Inc()
		last, t := s.sayLost.Load(), now().Unix()
		if t-last >= 10 && s.sayLost.CompareAndSwap(last, t) { // a full disk must not fill the log too
			s.log.Error("event not recorded, request refused", "err", err)
		}
	}
	return err
}
