package proxy

import (
	"bytes"
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"

	"schoolgate/policy"
	"schoolgate/proxy/sniff"
)

// tunnel is two connections and what was decided about them.
type tunnel struct {
	server *Server
	*prelude
	client net.Conn
	origin net.Conn // nil until it is dialled

	moved  atomic.Int64             // bytes relayed, both ways: shows that it is alive
	judged atomic.Pointer[[]target] // what must stay allowed, once it relays
	idle   idleness
	handed bool // to the flows, which end it
	heavy  bool // it has carried a great deal, which has been told

	mu     sync.Mutex // guards closed, flow and pair, and origin against a close from outside
	closed bool
	flow   *flow // once it stands, nil before and where the flows cannot carry it
	pair   *pair // in place of both connections where it is an ordinary one
}

// prelude is what a tunnel needs until it stands.
type prelude struct {
	target  target // the CONNECT host, or the URL of an upgrade
	sight   sight
	served  chan struct{} // closed when the server of the inside is done with it
	told    atomic.Bool   // the event of its refusal has been shown on a page
	outcome outcome
	known   *verdict // what became of it before, where it was judged and not carried
	early   []byte   // what the client sent ahead, for the origin
	ahead   []byte   // what the origin sent ahead, for the client
}

// close ends both sides (G6).
func (tn *tunnel) close() {
	switch fl, p := tn.hangUp(); {
	case fl != nil:
		tn.server.flows.closed(fl)
	case p != nil:
		p.ended()
	}
}

// hangUp closes both connections, once, and says what they were, if anything.
func (tn *tunnel) hangUp() (*flow, *pair) {
	tn.mu.Lock()
	defer tn.mu.Unlock()
	if tn.closed {
		return nil, nil
	}
	tn.closed = true
	if tn.pair != nil {
		tn.pair.closeAll()
	}
	if tn.client != nil {
		tn.client.Close()
	}
	if tn.origin != nil {
		tn.origin.Close()
	}
	return tn.flow, tn.pair
}

func (tn *tunnel) isClosed() bool {
	tn.mu.Lock()
	defer tn.mu.Unlock()
	return tn.closed
}

// swap puts another origin in place of the first; false if the tunnel was
// closed meanwhile.
func (tn *tunnel) swap(origin net.Conn) bool {
	tn.mu.Lock()
	defer tn.mu.Unlock()
	if tn.closed {
		origin.Close()
		return false
	}
	if tn.origin != nil {
		tn.origin.Close()
	}
	tn.origin = origin
	return true
}

// runTLS peeks, decides on the server name and relays.
func (tn *tunnel) runTLS() {
	hello, ok := tn.peek()
	if !ok {
		return
	}
	if !tn.admit(&hello) {
		tn.client.Write(alertAccessDenied) // the connection is closed either way
		return
	}
	tn.carry(&hello)
}

// carry relays the tunnel untouched, or looks inside.
func (tn *tunnel) carry(hello *sniff.Hello) {
	if tn.sight != spliced {
		tn.runInside(hello.Raw)
		return
	}
	tn.early = hello.Raw
	tn.relay()
}

// release hands the client's connection on to another tunnel.
func (tn *tunnel) release() {
	tn.mu.Lock()
	defer tn.mu.Unlock()
	tn.closed = true
}

// alertAccessDenied is a fatal TLS alert, the fastest plain "no" to a client
// whose connection cannot show a page (4.6).
var alertAccessDenied = []byte{21, 3, 3, 0, 2, 2, 49}

// peek reads the ClientHello. What is no TLS at all is recorded and closed (Y9).
func (tn *tunnel) peek() (sniff.Hello, bool) {
	s := tn.server
	deadline := now().Add(s.limits.Hello)
	if tn.client.SetDeadline(deadline) != nil {
		return sniff.Hello{}, false
	}
	var in io.Reader = tn.client
	early := bytes.NewReader(tn.early)
	if len(tn.early) > 0 {
		in = io.MultiReader(early, tn.client)
	}
	hello, err := sniff.Read(in, sniff.Limits{})
	if err == nil {
		hello.Raw = append(hello.Raw, tn.early[len(tn.early)-early.Len():]...) // what it did not come to
		return hello, true
	}
	s.metrics.hellos.WithLabelValues(helloKind(err)).Inc()
	if finding := helloFinding(err); finding != "" && len(hello.Raw) > 0 {
		t := tn.target
		t.Door = policy.DoorTLS
		t.refuse(policy.ReasonProtocol, finding, 0)
		s.judgeTunnel(t)
		tn.client.Write(alertAccessDenied)
	}
	return hello, false
}

func helloKind(err error) string {
	switch {
	case errors.Is(err, sniff.ErrTwoNames):
		return "two_names"
	case errors.Is(err, sniff.ErrNotTLS), errors.Is(err, sniff.ErrSSLv2):
		return "not_tls"
	case errors.Is(err, sniff.ErrMalformed), errors.Is(err, sniff.ErrTooLarge):
		return "malformed"
	}
	return "ended"
}

// helloFinding is the word for the record; none for a client that just went.
func helloFinding(err error) string {
	switch helloKind(err) {
	case "two_names":
		return findingTwoNames
	case "not_tls":
		return findingNotTLS
	case "malformed":
		return findingMalformed
	}
	return ""
}

// admit decides on the server name. If it is the CONNECT host, that verdict and
// that event stand; if it is another, both must be allowed, the second has an
// event of its own, and the origin dialled is the one that the name leads to.
func (tn *tunnel) admit(hello *sniff.Hello) bool {
	s := tn.server
	s.metrics.wellHello.Inc()
	tn.judged.Store(&[]target{tn.target})
	if hello.SNI == "" {
		return true // the verdict on the CONNECT host stands; it is where we dialled
	}
	t := tn.target
	same, err := t.introduce(hello.SNI)
	front := err == nil && s.hides(hello, &t)
	if same && !front {
		return true
	}
	t.finding = findingSNI
	if err != nil {
		t.refuse(policy.ReasonBadHost, findingMalformed, 0)
	}
	if front {
		t.finding = findingECH
		if tn.outcome.ruling.Band().Pupil() {
			t.refuse(policy.ReasonProtocol, findingECH, 0)
		}
	}
	if tn.sight == paged {
		return false // refused, and recorded, whatever else it is called
	}
	// Inside everything must agree: no name is looked into by way of another.
	if r := s.decide(&t); t.refused == policy.ReasonNotReady && (tn.sight == inspected || s.wanted(&t, &r)) {
		t.refuse(policy.ReasonProtocol, findingSNI, 0)
	}
	o := s.judgeTunnel(t)
	if !o.allowed() {
		return false
	}
	return tn.redirect(t, o)
}

// introduce makes the target of a CONNECT that of the name in its hello, and reports
// whether they are the same.
func (t *target) introduce(sni string) (same bool, err error) {
	host, err := policy.ParseHost(sni)
	same = err == nil && host == t.Host
	t.Door, t.Host = policy.DoorTLS, host
	return same, err
}

// redirect leaves the origin of the CONNECT host for the one of the server name.
func (tn *tunnel) redirect(t target, o outcome) bool {
	origin, err := tn.server.origins.Dial(tn.server.life, o.route)
	if err != nil {
		tn.server.metrics.dialFailed(err)
		return false
	}
	tn.judged.Store(&[]target{tn.target, t})
	return tn.swap(origin)
}

// judgeTunnel judges outside of an HTTP request; the look-up has its own bound.
func (s *Server) judgeTunnel(t target) outcome {
	return s.judge(s.life, t)
}

// hides reports whether a hello shows a front in place of the name that it is for: one
// that is known for it, or one that sites name in their records with this very key.
// Anybody may publish a record with another's name in it, so what a list or a rule
// speaks of is no front by that.
func (s *Server) hides(hello *sniff.Hello, t *target) bool {
	switch {
	case !hello.ECH:
		return false
	case echFront(t.Host):
		return true
	}
	return s.memory != nil && s.memory.ECHFront(t.Host.String(), hello.ECHKey) && onNoList(s.decide(t).Reason)
}

// echFronts are the names that show in place of the encrypted one (4.5). Chrome
// sends the extension as GREASE to everyone, so the name tells and not it.
var echFronts = func() []policy.Host {
	var list []policy.Host
	for _, name := range []string{"cloudflare-ech.com"} {
		h, err := policy.ParseHost(name)
		if err != nil {
			panic(err) // a constant of this file
		}
		list = append(list, h)
	}
	return list
}()

func echFront(h policy.Host) bool {
	for _, f := range echFronts {
		if h.Within(f) {
			return true
		}
	}
	return false
}

func (tn *tunnel) count(direction prometheus.Counter, n int64) {
	tn.moved.Add(n)
	direction.Add(float64(n))
}
