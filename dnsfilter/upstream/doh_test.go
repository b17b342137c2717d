package upstream

import (
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"

	"schoolgate/internal/testkit"
)

// overHTTPS puts HTTPS in front of an upstream; the certificate is for
// example.com and 127.0.0.1. lie may write another response.
func overHTTPS(t *testing.T, u *testkit.Upstream, lie func(http.ResponseWriter) bool) (addr string, roots *x509.CertPool, conns *atomic.Int64) {
	t.Helper()
	conns = new(atomic.Int64)
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil || r.URL.Path != "/dns-query" || r.Method != http.MethodPost || r.Header.Get("Content-Type") != dohType {
			http.Error(w, "no question", http.StatusBadRequest)
			return
		}
		if lie != nil && lie(w) {
			return
		}
		m := new(dns.Msg)
		if m.Unpack(body) != nil {
			http.Error(w, "no message", http.StatusBadRequest)
			return
		}
		answer, _, err := (&dns.Client{Net: "tcp", Timeout: 5 * time.Second}).Exchange(m, u.Addr)
		if err != nil {
			http.Error(w, "no answer", http.StatusBadGateway)
			return
		}
		if w.Header().Get("Content-Type") == "" {
			w.Header().Set("Content-Type", dohType)
		}
		wire, _ := answer.Pack()
		_, _ = w.Write(wire)
	}))
	s.EnableHTTP2 = true
	s.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			conns.Add(1)
		}
	}
	s.StartTLS()
	t.Cleanup(s.Close)
	roots = x509.NewCertPool()
	roots.AddCert(s.Certificate())
	return s.Listener.Addr().String(), roots, conns
}

// An upstream over HTTPS is checked by name and asked on connections that stand.
func TestUpstreamOverHTTPS(t *testing.T) {
	var records []string
	for i := range 40 {
		records = append(records, fmt.Sprintf("www%d.example. 300 IN A 203.0.113.1", i))
	}
	u := testkit.NewUpstream(t, records...)
	addr, roots, conns := overHTTPS(t, u, nil)
	for _, server := range []string{"https://" + addr + "/dns-query#example.com", "https://" + addr + "/dns-query"} {
		conns.Store(0)
		r := newResolver(t, Config{Servers: []string{server}, Roots: roots})
		for i := range 40 {
			if got := ask(t, r, fmt.Sprintf("www%d.example", i), dns.TypeA); !strings.HasSuffix(got, "A 203.0.113.1") {
				t.Fatalf("over HTTPS = %s", got)
			}
		}
		if n := conns.Load(); n > dohConns {
			t.Errorf("%d connections for 40 questions, want at most %d", n, dohConns)
		}
	}
	for promise, server := range map[string]string{
		"another name is not believed": "https://" + addr + "/dns-query#other.test",
		"another path is no resolver":  "https://" + addr + "/other#example.com",
	} {
		r := newResolver(t, Config{Servers: []string{server}, Roots: roots})
		if got := ask(t, r, "www1.example", dns.TypeA); got != ErrFailed.Error() {
			t.Errorf("%s: got %s", promise, got)
		}
	}
	r := newResolver(t, Config{Servers: []string{"https://" + addr + "/dns-query#example.com"}})
	if got := ask(t, r, "www1.example", dns.TypeA); got != ErrFailed.Error() {
		t.Errorf("an unknown authority: got %s", got)
	}
}

// A server known by name is found through the others, never through the
// operating system, and once.
func TestBootstrap(t *testing.T) {
	u := testkit.NewUpstream(t, "example.com. 300 IN A 127.0.0.1", "www.example. 300 IN A 203.0.113.1", "late.example. 300 IN A 203.0.113.2")
	addr, roots, _ := overHTTPS(t, u, nil)
	_, port, _ := net.SplitHostPort(addr)
	byName := "https://example.com:" + port + "/dns-query"
	plain := testkit.NewUpstream(t, "example.com. 300 IN A 127.0.0.1")
	r := newResolver(t, Config{Servers: []string{byName, plain.Addr}, Ordered: true, Roots: roots})
	for name, want := range map[string]string{"www.example": "A 203.0.113.1", "late.example": "A 203.0.113.2"} {
		if got := ask(t, r, name, dns.TypeA); !strings.HasSuffix(got, want) {
			t.Errorf("%s = %s, want %s", name, got, want)
		}
	}
	if n := plain.Asked("example.com"); n != 1 {
		t.Errorf("the server's name was looked up %d times, want once", n)
	}
	if _, err := New(Config{Servers: []string{byName}}); err == nil {
		t.Error("a name that nobody can look up is accepted")
	}
}

func TestMediaTypeOverHTTPS(t *testing.T) {
	u := testkit.NewUpstream(t, "www.example. 300 IN A 203.0.113.1")
	addr, roots, _ := overHTTPS(t, u, func(w http.ResponseWriter) bool {
		w.Header().Set("Content-Type", "Application/DNS-Message; charset=utf-8") // a media type like any other (RFC 9110 section 8.3.1)
		return false
	})
	r := newResolver(t, Config{Servers: []string{"https://" + addr + "/dns-query#example.com"}, Roots: roots})
	if got, want := ask(t, r, "www.example", dns.TypeA), "NOERROR | www.example. A 203.0.113.1"; got != want {
		t.Errorf("Resolve = %s, want %s", got, want)
	}
}

// A line that silently died is found out, and what is asked then goes by a new
// connection: all questions share one, and none would be answered for minutes.
func TestSilentOverHTTPS(t *testing.T) {
	t.Parallel()
	u := testkit.NewUpstream(t, "www.example. 300 IN A 203.0.113.1", "mail.example. 300 IN A 203.0.113.3")
	addr, roots, _ := overHTTPS(t, u, nil)
	line := testkit.NewLine(t, addr)
	r := newResolver(t, Config{Servers: []string{"https://" + line.Addr + "/dns-query#example.com"}, Roots: roots})
	if got, want := ask(t, r, "www.example", dns.TypeA), "NOERROR | www.example. A 203.0.113.1"; got != want {
		t.Fatalf("Resolve = %s, want %s", got, want)
	}
	line.Cut()
	for i := range 2 { // questions go on, and the first may fail
		t.Log(ask(t, r, fmt.Sprintf("ftp%d.example", i), dns.TypeA))
	}
	if got, want := ask(t, r, "mail.example", dns.TypeA), "NOERROR | mail.example. A 203.0.113.3"; got != want || line.Opened() != 2 {
		t.Errorf("Resolve = %s by %d connections, want %s by the second", got, line.Opened(), want)
	}
}

// What a server says over HTTPS is held to the same as over UDP.
func TestLiesOverHTTPS(t *testing.T) {
	u := testkit.NewUpstream(t, "www.example. 300 IN A 203.0.113.1")
	write := func(contentType string, body []byte, status int) func(http.ResponseWriter) bool {
		return func(w http.ResponseWriter) bool {
			w.Header().Set("Content-Type", contentType)
			w.Header().Set("Location", "https://elsewhere.test/dns-query")
			w.WriteHeader(status)
			_, _ = w.Write(body)
			return true
		}
	}
	other, _ := new(dns.Msg).SetQuestion("other.example.", dns.TypeA).Pack()
	other[2] |= 0x80
	for promise, lie := range map[string]func(http.ResponseWriter) bool{
		"a page":                    write("text/html", []byte("<html>"), 200),
		"an error":                  write(dohType, nil, 500),
		"a redirection":             write(dohType, nil, 307),
		"nothing":                   write(dohType, nil, 200),
		"junk":                      write(dohType, []byte(strings.Repeat("x", 100)), 200),
		"more than a message":       write(dohType, make([]byte, 1<<20), 200),
		"an answer to another name": write(dohType, other, 200),
	} {
		addr, roots, _ := overHTTPS(t, u, lie)
		r := newResolver(t, Config{Servers: []string{"https://" + addr + "/dns-query#example.com"}, Roots: roots})
		if got := ask(t, r, "www.example", dns.TypeA); got != ErrFailed.Error() {
			t.Errorf("%s: got %s, want no answer", promise, got)
		}
	}
}
