package proxy

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"testing"

	"schoolgate/policy"
)

// staffroom knows one teacher, in the group office.
type staffroom struct {
	mu      sync.Mutex
	group   string // "" once the teacher may sign in no more
	checked int
}

func (s *staffroom) Check(name, password string, _ netip.Addr) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.checked++
	return name == "teacher" && password == "right" && s.group != ""
}

func (s *staffroom) Group(name string) (string, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.group, name == "teacher" && s.group != ""
}

// signingSchool is a school whose devices ask: it decides as the real policy does.
type signingSchool struct {
	*school
	way policy.SignIn
}

func (s signingSchool) Decide(q policy.Request) policy.Ruling {
	r := s.school.Decide(q)
	r.Profile = &policy.Profile{Name: "ks2", Band: policy.KS2, SignIn: s.way}
	switch {
	case q.Login != nil && s.way != policy.NoSignIn:
		r.Profile, r.Client.Person, r.Client.Group = adult, q.Login.Person, q.Login.Group
		if q.Host.String() == "blocked.test" { // to pupils only
			r.Verdict, r.Reason = policy.Allow, policy.ReasonUncategorised
		}
	case s.way == policy.SignInRequired:
		r.Verdict, r.Reason, r.Category = policy.Block, policy.ReasonSignIn, policy.Uncategorised
	}
	return r
}

// newSigning is a door with a secure listener, and whether loopback counts as one is
// up to the address that clients come from.
func newSigning(t *testing.T, way policy.SignIn, origin string) (*box, *staffroom, func(user *url.Userinfo) *http.Client) {
	t.Helper()
	pool, pair := originAuthority(t, "filter.test")
	room := &staffroom{group: "office"}
	b := newBox(t, func(c *Config) {
		c.TLSListen, c.TLS, c.SignIn = []string{"127.0.0.1:0"}, &tls.Config{Certificates: []tls.Certificate{pair}}, room
		c.Decider = signingSchool{c.Decider.(*school), way}
		c.ConnectPorts = []uint16{portNumber(origin)}
		c.HTTPPorts = []uint16{portNumber(origin)}
	})
	secure := b.server.Addrs()[1].String()
	return b, room, func(user *url.Userinfo) *http.Client {
		tr := &http.Transport{
			Proxy: func(*http.Request) (*url.URL, error) {
				return &url.URL{Scheme: "https", Host: "filter.test", User: user}, nil
			},
			TLSClientConfig:    &tls.Config{RootCAs: pool, InsecureSkipVerify: true},
			DisableCompression: true,
		}
		d := net.Dialer{}
		tr.DialContext = func(ctx context.Context, network, _ string) (net.Conn, error) {
			return d.DialContext(ctx, network, secure)
		}
		t.Cleanup(tr.CloseIdleConnections)
		return &http.Client{Transport: tr}
	}
}

// TestSignIn: issue 4 item 7. Who signs in gets the profile of their own group and
// stands in the record; who does not is asked where somebody must, and else gets the
// device's.
func TestSignIn(t *testing.T) {
	seen := make(chan http.Header, 1)
	o := origin(t, func(w http.ResponseWriter, r *http.Request) { seen <- r.Header; io.WriteString(w, "reached") })
	teacher, pupil := url.UserPassword("teacher", "right"), url.UserPassword("teacher", "guess")
	for _, c := range []struct {
		promise string
		way     policy.SignIn
		user    *url.Userinfo
		host    string
		status  int
		person  string
		profile string
		finding string
	}{
		{"nobody must", policy.NoSignIn, nil, "open.test", 200, "", "ks2", ""},
		{"a login that changes nothing", policy.NoSignIn, teacher, "blocked.test", 403, "", "ks2", ""},
		{"may, and does not", policy.SignInAllowed, nil, "open.test", 200, "", "ks2", ""},
		{"may, and does not, at a blocked site", policy.SignInAllowed, nil, "blocked.test", 403, "", "ks2", ""},
		{"may, and does", policy.SignInAllowed, teacher, "blocked.test", 200, "teacher", "staff", ""},
		{"a guess at a teacher's password (T20, Y33)", policy.SignInAllowed, pupil, "blocked.test", 403, "", "ks2", findingBadLogin},
		{"must, and does not", policy.SignInRequired, nil, "open.test", 407, "", "ks2", ""},
		{"must, and guesses", policy.SignInRequired, pupil, "open.test", 407, "", "ks2", findingBadLogin},
		{"must, and does", policy.SignInRequired, teacher, "open.test", 200, "teacher", "staff", ""},
	} {
		b, _, client := newSigning(t, c.way, portOf(t, o))
		resp, err := client(c.user).Get("http://" + c.host + ":" + portOf(t, o) + "/")
		if err != nil {
			t.Errorf("%s: %v", c.promise, err)
			continue
		}
		io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
		e := b.journal.last(t)
		if resp.StatusCode != c.status || e.Person != c.person || e.Profile != c.profile || e.Finding != c.finding {
			t.Errorf("%s: %d, event %+v, want %d %q %q %q", c.promise, resp.StatusCode, e, c.status, c.person, c.profile, c.finding)
		}
		if asked := resp.Header.Get("Proxy-Authenticate"); (asked != "") != (c.status == 407) {
			t.Errorf("%s: asked with %q", c.promise, asked)
		}
		if c.status == 200 {
			if h := <-seen; h.Get("Proxy-Authorization") != "" {
				t.Errorf("%s: the origin saw the password", c.promise)
			}
		}
		b.stop()
	}
}

// TestSignInInTunnel: a CONNECT is signed in for what is in it, and ends with the
// person's right to it (Y34).
func TestSignInInTunnel(t *testing.T) {
	o, trust := secure(t, func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "reached") })
	b, room, client := newSigning(t, policy.SignInRequired, portOf(t, o))
	c := client(url.UserPassword("teacher", "right"))
	c.Transport.(*http.Transport).TLSClientConfig.RootCAs = trust.RootCAs
	resp, err := c.Get("https://open.test:" + portOf(t, o) + "/")
	if got := bodyOf(t, resp, err); got != "reached" {
		t.Fatalf("got %q", got)
	}
	if e := b.journal.last(t); e.Person != "teacher" || e.Group != "office" {
		t.Errorf("event %+v", e)
	}
	room.mu.Lock()
	room.group = ""
	room.mu.Unlock()
	b.server.revoke()
	if e := b.journal.last(t); e.Finding != findingRevoked || e.Reason != policy.ReasonSignIn {
		t.Errorf("the tunnel of a person removed: event %+v", e)
	}
	if _, err := client(nil).Get("https://open.test:" + portOf(t, o) + "/"); err == nil || !strings.Contains(err.Error(), "Proxy Authentication Required") {
		t.Errorf("CONNECT of nobody: %v", err)
	}
}

// TestNoPasswordInClear: in the clear nobody is asked and nothing is believed.
func TestNoPasswordInClear(t *testing.T) {
	o := origin(t, hello)
	b, room, _ := newSigning(t, policy.SignInRequired, portOf(t, o))
	b.server.nearby = func(netip.Addr) bool { return false }
	conn := b.dial()
	fmt.Fprintf(conn, "GET http://open.test:%s/ HTTP/1.1\r\nHost: open.test\r\nProxy-Authorization: Basic dGVhY2hlcjpyaWdodA==\r\nConnection: close\r\n\r\n", portOf(t, o))
	reply, err := io.ReadAll(conn)
	if err != nil || !strings.HasPrefix(string(reply), "HTTP/1.1 403") || strings.Contains(string(reply), "Proxy-Authenticate") {
		t.Errorf("got %q, %v", reply, err)
	}
	if room.checked != 0 {
		t.Error("a password that came in the clear was looked at")
	}
}

// TestSignInPage: where people may sign in, there is a place that asks.
func TestSignInPage(t *testing.T) {
	b, _, client := newSigning(t, policy.SignInAllowed, "80")
	for user, want := range map[*url.Userinfo]string{nil: "407", url.UserPassword("teacher", "wrong"): "407", url.UserPassword("teacher", "right"): "200"} {
		resp, err := client(user).Get("http://sign-in.internal/")
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		if got := fmt.Sprint(resp.StatusCode); got != want || resp.Header.Get(EventHeader) != b.journal.last(t).ID.String() {
			t.Errorf("%v: %s %q, want %s", user, got, body, want)
		}
	}
}
