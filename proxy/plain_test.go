package proxy

import (
	"io"
	"net/http"
	"net/netip"
	"strings"
	"testing"

	"schoolgate/policy"
)

func TestPlainHTTP(t *testing.T) {
	seen := make(chan http.Header, 8)
	o := origin(t, func(w http.ResponseWriter, r *http.Request) {
		seen <- r.Header.Clone()
		w.Header().Set("Alt-Svc", `h3=":443"`)
		w.Header().Set(EventHeader, "SG-FORGED")
		io.WriteString(w, "hello from "+r.Host)
	})
	b := newBox(t, nil)
	port := portOf(t, o)

	resp, body := b.get("http://open.test:" + port + "/page?q=1")
	if resp.StatusCode != 200 || body != "hello from open.test:"+port {
		t.Fatalf("allowed: %d %q", resp.StatusCode, body)
	}
	if got := resp.Header.Values(EventHeader); len(got) != 1 || got[0] != "SG-1" {
		t.Errorf("%s = %q, want [SG-1]", EventHeader, got)
	}
	if resp.Header.Get("Alt-Svc") != "" { // Y7
		t.Error("Alt-Svc came through")
	}
	e := b.journal.last(t)
	if e.Door != policy.DoorHTTP || e.Host != "open.test" || e.Path != "/page" || e.Verdict != policy.Allow || e.Method != "GET" || e.Client != "127.0.0.1" {
		t.Errorf("event = %+v", e)
	}
	if h := <-seen; h.Get("Via") != "" || h.Get("X-Forwarded-For") != "" { // privacy 1
		t.Errorf("origin saw %v", h)
	}

	resp, body = b.get("http://blocked.test:" + port + "/")
	if resp.StatusCode != 403 || body != "page 403 ks2 category SG-2\n" || resp.Header.Get("Cache-Control") != "no-store" {
		t.Errorf("blocked: %d %q", resp.StatusCode, body)
	}
	if len(seen) != 0 {
		t.Error("a blocked request reached the origin")
	}
}

// TestLookAlike: Y17. A name that imitates a blocked one in letters of other scripts is
// told, and is a site of its own.
func TestLookAlike(t *testing.T) {
	o := origin(t, hello)
	b := newBox(t, func(c *Config) {
		for _, name := range []string{"xn--blcked-xqf.test", "xn--pen-red.test"} {
			c.Resolver.(names)[name] = []string{"127.0.0.1"}
		}
	})
	for name, want := range map[string]string{"bl\u043ecked.test": findingLookAlike, "\u043epen.test": ""} {
		resp, text := b.get("http://" + name + ":" + portOf(t, o) + "/")
		if e := b.journal.last(t); resp.StatusCode != http.StatusOK || e.Finding != want || e.Verdict != policy.Allow {
			t.Errorf("%s: %d %q, event %+v, want finding %q", name, resp.StatusCode, text, e, want)
		}
	}
}

// TestForgedHeaders: T20, Y18. Nothing a client says of itself is believed or
// passed on.
func TestForgedHeaders(t *testing.T) {
	seen := make(chan http.Header, 1)
	o := origin(t, func(_ http.ResponseWriter, r *http.Request) { seen <- r.Header.Clone() })
	b := newBox(t, nil)
	req, err := http.NewRequest("GET", "http://open.test:"+portOf(t, o)+"/", nil)
	if err != nil {
		t.Fatal(err)
	}
	forged := []string{"X-Forwarded-For", "Forwarded", "X-Real-Ip", "Via", "Proxy-Authorization", "X-Forwarded-Host", "Keep-Alive", "X-Hop"}
	for _, name := range forged {
		req.Header.Set(name, "127.0.0.2")
	}
	req.Header.Set("Connection", "X-Hop")
	resp, err := b.client("127.0.0.1").Do(req)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	got := <-seen
	for _, name := range forged {
		if got.Get(name) != "" {
			t.Errorf("origin saw %s: %s", name, got.Get(name))
		}
	}
	if e := b.journal.last(t); e.Client != "127.0.0.1" || e.Profile != "ks2" {
		t.Errorf("client = %s as %s, want 127.0.0.1 as ks2", e.Client, e.Profile)
	}
}

// TestNothingLeavesUnrecorded: without a record there is a 503 and no request, from
// the first failure on: that one was found out by an answer that did not leave.
func TestNothingLeavesUnrecorded(t *testing.T) {
	reached := false
	o := origin(t, func(w http.ResponseWriter, r *http.Request) {
		reached = reached || r.URL.Path != "/first"
		io.WriteString(w, "unrecorded")
	})
	b := newBox(t, func(c *Config) { c.ConnectPorts = []uint16{portNum(t, o)} })
	b.journal.broken = true
	if resp, body := b.get("http://open.test:" + portOf(t, o) + "/first"); resp.StatusCode != 503 || strings.Contains(body, "unrecorded") {
		t.Errorf("the first: %d %q", resp.StatusCode, body)
	}
	for _, host := range []string{"open.test:", "blocked.test:"} {
		resp, body := b.get("http://" + host + portOf(t, o) + "/")
		if resp.StatusCode != 503 || resp.Header.Get(EventHeader) != "" {
			t.Errorf("%s: %d %q", host, resp.StatusCode, body)
		}
		if _, resp := b.connect(host + portOf(t, o)); resp.StatusCode != 503 {
			t.Errorf("CONNECT %s: %d, want 503", host, resp.StatusCode)
		}
	}
	if reached {
		t.Error("an unrecorded request reached the origin")
	}
}

// TestSafeHost: 4.1. The safe host is dialled and the name is left alone.
func TestSafeHost(t *testing.T) {
	o := origin(t, func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, r.Host) })
	asked := &recording{}
	b := newBox(t, func(c *Config) { asked.Resolver, c.Resolver = c.Resolver, asked })
	safe, err := policy.ParseHost("safe.test")
	if err != nil {
		t.Fatal(err)
	}
	r := allowedBy(policy.ReasonCategory)
	r.Safe = safe
	b.school.set("search.test", r)
	_, body := b.get("http://search.test:" + portOf(t, o) + "/")
	if body != "search.test:"+portOf(t, o) || asked.all() != "safe.test" {
		t.Errorf("Host = %q, resolved %q", body, asked.all())
	}
}

// TestInside: T2. Whatever leads to the inside, by whatever name, is refused.
func TestInside(t *testing.T) {
	reached := false
	o := origin(t, func(http.ResponseWriter, *http.Request) { reached = true })
	port := portOf(t, o)
	b := newBox(t, func(c *Config) {
		c.AllowDestinations = nil
		c.HTTPPorts, c.ConnectPorts = []uint16{portNum(t, o)}, []uint16{portNum(t, o)}
	})
	for _, host := range []string{
		"open.test", "inside.test", "127.0.0.1", "[::1]", "[::ffff:127.0.0.1]", "0.0.0.0", "[::]", "10.0.0.1",
		"169.254.169.254", "100.64.0.1", "[fe80::1]", "[fd00::1]", "[64:ff9b::7f00:1]", "[2002:7f00:1::]", "224.0.0.1",
		"2130706433", "0x7f000001", "0177.0.0.1", "127.1", "0x7f.1", "127.0.0.1.", "localhost",
	} {
		for _, from := range []string{"127.0.0.1", "127.0.0.2"} {
			resp, err := b.client(from).Get("http://" + host + ":" + port + "/")
			if err == nil {
				resp.Body.Close()
				if resp.StatusCode < 400 {
					t.Errorf("%s from %s: %d", host, from, resp.StatusCode)
				}
			}
		}
		if _, resp := b.connect(host + ":" + port); resp.StatusCode < 400 {
			t.Errorf("CONNECT %s: %d", host, resp.StatusCode)
		}
	}
	if reached {
		t.Error("the inside was reached")
	}
	b.get("http://inside.test/")
	if e := b.journal.last(t); e.Reason != policy.ReasonDestination || e.Verdict != policy.Block || e.Finding != findingDestination {
		t.Errorf("event = %+v", e)
	}
}

// TestMixedAnswers: only the permitted addresses of a name are dialled.
func TestMixedAnswers(t *testing.T) {
	o := origin(t, hello)
	b := newBox(t, func(c *Config) {
		c.AllowDestinations = []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}
		c.Resolver = names{"mixed.test": {"10.0.0.1", "127.0.0.1", "169.254.169.254"}}
	})
	resp, _ := b.get("http://mixed.test:" + portOf(t, o) + "/")
	if resp.StatusCode != 200 {
		t.Errorf("status %d, want 200", resp.StatusCode)
	}
}
