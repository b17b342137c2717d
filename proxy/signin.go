package proxy

import (
	"encoding/base64"
	"net/http"
	"net/netip"
	"strings"

	"schoolgate/policy"
)

// SignIn knows who may sign in at the proxy. It must be safe for concurrent use.
type SignIn interface {
	// Check reports whether a name and password are somebody's.
	Check(name, password string, from netip.Addr) bool
	// Group is the group of somebody, for as long as that person may sign in.
	Group(name string) (group string, ok bool)
}

const findingBadLogin = "bad_login" // a name and password that are nobody's

// signInHost is where people sign in of themselves, on devices whose profile lets
// them: no site has this name.
var signInHost = sites("sign-in.internal")[0]

// basic is what a browser is asked with. Only a connection that nobody can listen to
// is: TLS to the proxy, or the box itself.
const basic = `Basic realm="School web filter", charset="UTF-8"`

// signedIn notes on a target who signed in, and takes the password out of the
// request: no origin ever sees it. Nothing else in a request says who asks (T20).
func (s *Server) signedIn(r *http.Request, t *target) {
	given := r.Header.Get("Proxy-Authorization")
	delete(r.Header, "Proxy-Authorization")
	p := peerOf(r.Context())
	if s.signIn == nil || p == nil || !p.secure && !s.nearby(p.addr) {
		return
	}
	t.asks = true
	if given == "" {
		return
	}
	name, password, ok := parseBasic(given)
	if ok && s.signIn.Check(name, password, t.Client) {
		if group, ok := s.signIn.Group(name); ok {
			t.Login = &policy.Login{Person: name, Group: group}
			return
		}
	}
	if t.finding == "" {
		t.finding = findingBadLogin
	}
}

// parseBasic reads "Basic" and the name and password behind it (RFC 7617).
func parseBasic(text string) (name, password string, ok bool) {
	scheme, code, _ := strings.Cut(text, " ")
	if !strings.EqualFold(scheme, "Basic") {
		return "", "", false
	}
	plain, err := base64.StdEncoding.DecodeString(strings.TrimSpace(code))
	if err != nil {
		return "", "", false
	}
	return strings.Cut(string(plain), ":")
}

// stillSignedIn looks anew whether who signed in may: an open tunnel outlives
// neither the person nor a change of group.
func (s *Server) stillSignedIn(t *target) {
	if t.Login == nil {
		return
	}
	group, ok := s.signIn.Group(t.Login.Person)
	switch {
	case !ok:
		t.Login = nil
	case group != t.Login.Group:
		t.Login = &policy.Login{Person: t.Login.Person, Group: group}
	}
}

// serveSignIn answers at signInHost, where a browser is asked for a name and
// password, and then told that they are good. It has an event like every request.
func (s *Server) serveSignIn(x *exchange, r *http.Request, t *target) *http.Response {
	if !t.asks || t.Host != signInHost || t.Door != policy.DoorHTTP {
		return nil
	}
	t.Time = now()
	x.outcome = outcome{ruling: s.decider.Decide(t.Request)}
	o := &x.outcome
	if o.ruling.Client.Person == "" {
		o.ruling = refuse(o.ruling, policy.ReasonSignIn)
		s.describe(t, o, 0)
		s.seal(o)
		return s.page(r, o)
	}
	o.ruling.Verdict, o.ruling.Reason, o.ruling.Category, o.ruling.Rule = policy.Allow, policy.ReasonDefault, policy.Uncategorised, policy.Pos{}
	s.describe(t, o, 0)
	if s.seal(o); !o.allowed() {
		return s.page(r, o)
	}
	h := http.Header{"Content-Type": {"text/plain; charset=utf-8"}, "Cache-Control": {"no-store"}}
	o.refer(h)
	return ownResponse(r, http.StatusOK, h, []byte("You are signed in as "+o.ruling.Client.Person+". Close the browser to sign out.\n"))
}
