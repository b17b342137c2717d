package proxy

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	"schoolgate/policy"
	"schoolgate/proxy/inspect"
)

// TestTurned: a tunnel is carried no longer than it would be carried so (Y34): what is to
// be seen inside is not reached by a connection from before, what is private is not seen
// by one, and a page of a refusal does not outlive the refusal.
func TestTurned(t *testing.T) {
	passed := allowedBy(policy.ReasonUncategorised)
	for _, c := range []struct {
		name          string
		before, after policy.Ruling
		seen          bool // before, the client sees the school's certificate
		page          bool // before, it is shown a page
	}{
		{"to be looked into now", passed, insideRuling, false, false},
		{"not to be looked into any more", insideRuling, passed, true, false},
		{"open now", blockedBy(policy.Gambling), passed, true, true},
		{"open now, and looked into", blockedBy(policy.Gambling), insideRuling, true, true},
	} {
		for _, door := range []string{"CONNECT", "redirected"} {
			t.Run(c.name+", "+door, func(t *testing.T) {
				t.Parallel()
				var g *glass
				g = newGlass(t, hello, func(conf *Config) {
					conf.Limits.Recheck = time.Millisecond
					conf.Transparent.TLS = []string{"127.0.0.1:0"}
					conf.original = func(netip.AddrPort) (netip.AddrPort, bool) {
						return netip.AddrPortFrom(netip.MustParseAddr("198.51.100.7"), portNumber(g.port)), true
					}
				})
				open := func(trusts *x509.CertPool) (*tls.Conn, *bufio.Reader) {
					t.Helper()
					var conn net.Conn
					if door == "CONNECT" {
						conn, _ = g.connect("open.test:" + g.port)
					} else {
						var err error
						if conn, err = net.Dial("tcp", g.server.Addrs()[1].String()); err != nil {
							t.Fatal(err)
						}
						t.Cleanup(func() { conn.Close() })
					}
					if err := conn.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
						t.Fatal(err)
					}
					s := tls.Client(conn, &tls.Config{RootCAs: trusts, ServerName: "open.test", NextProtos: []string{"http/1.1"}})
					if err := s.Handshake(); err != nil {
						t.Fatal(err)
					}
					return s, bufio.NewReader(s)
				}
				ask := func(conn net.Conn, br *bufio.Reader) int {
					t.Helper()
					fmt.Fprintf(conn, "GET / HTTP/1.1\r\nHost: open.test:%s\r\n\r\n", g.port)
					resp, err := http.ReadResponse(br, nil)
					if err != nil {
						t.Fatal(err)
					}
					bodyOf(t, resp, nil)
					return resp.StatusCode
				}
				trusts, status := g.roots, 200
				if c.seen {
					trusts = g.school
				}
				if c.page {
					status = 403
				}
				g.box.school.set("open.test", c.before)
				conn, br := open(trusts)
				if got := ask(conn, br); got != status {
					t.Fatalf("before: %d, want %d", got, status)
				}
				g.server.Recheck() // changes nothing: all is as it was
				if got := ask(conn, br); got != status {
					t.Fatalf("before, again: %d, want %d", got, status)
				}
				events := len(g.journal.all())
				g.box.school.set("open.test", c.after)
				if _, err := br.ReadByte(); err == nil {
					t.Error("something came unasked")
				} else if ne, ok := err.(net.Error); ok && ne.Timeout() {
					t.Error("the connection stays open")
				}
				if more := len(g.journal.all()) - events; more != 0 {
					t.Errorf("%d events for what nobody asked", more)
				}
				trusts = g.roots
				if c.after.Inspect {
					trusts = g.school
				}
				if got := ask(open(trusts)); got != 200 {
					t.Errorf("after: %d", got)
				}
			})
		}
	}
}

// TestPagesHaveEvents: each page of a refusal that is shown inside TLS is told of on
// record, also those that a connection shows behind its first.
func TestPagesHaveEvents(t *testing.T) {
	for _, h2 := range []bool{false, true} {
		g := newGlass(t, hello, nil)
		c := g.device(g.school, h2)
		for i, path := range []string{"/", "/a", "/b"} {
			resp, err := c.Get(g.url("blocked.test", path))
			bodyOf(t, resp, err)
			all := g.journal.all()
			e := all[len(all)-1]
			if len(all) != i+1 || resp.StatusCode != 403 || resp.Header.Get(EventHeader) != e.ID.String() || e.Verdict != policy.Block || e.Host != "blocked.test" {
				t.Errorf("HTTP/2 %v, %s: %d %s, events %+v", h2, path, resp.StatusCode, resp.Header.Get(EventHeader), all)
			}
			if i > 0 && (e.Path != path || e.Door != policy.DoorInspect) {
				t.Errorf("HTTP/2 %v, %s: event %+v", h2, path, e)
			}
		}
	}
}

// TestNamelessInside: a connection without a name is judged by all names that its address
// was given for (Y20), and those whose inside is to be seen are not reached unseen as one
// of the others.
func TestNamelessInside(t *testing.T) {
	g := newGlass(t, hello, func(c *Config) {
		port := c.ConnectPorts[0]
		c.Resolver.(names)["plain.test"] = []string{"127.0.0.1"}
		c.Memory = nameMemory{"198.51.100.7": {"plain.test", "open.test"}}
		c.Transparent.TLS = []string{"127.0.0.1:0"}
		c.original = func(netip.AddrPort) (netip.AddrPort, bool) {
			return netip.AddrPortFrom(netip.MustParseAddr("198.51.100.7"), port), true
		}
	})
	conn, err := net.Dial("tcp", g.server.Addrs()[1].String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	nameless := tls.Client(conn, &tls.Config{InsecureSkipVerify: true}) // whose certificate comes is what is asked
	if err := nameless.Handshake(); err == nil {
		t.Errorf("the origin answered, with %v", nameless.ConnectionState().PeerCertificates[0].DNSNames)
	}
	if e := g.journal.last(t); e.Host != "open.test" || e.Verdict != policy.Block || e.Finding != findingNoSNI {
		t.Errorf("event %+v", e)
	}
	// Of a device that is not looked into on that host it is carried, as by name.
	g.server.inspector.trust.Refused(netip.MustParseAddr("127.0.0.1"), hosts("open.test")[0], inspect.Refusal{Told: true}, time.Now())
	if conn, err = net.Dial("tcp", g.server.Addrs()[1].String()); err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := tls.Client(conn, &tls.Config{InsecureSkipVerify: true}).Handshake(); err != nil {
		t.Errorf("of a device that cannot be looked into: %v", err)
	}
}

// TestRevokedUnderWay: what is sent on, and what is waited for, ends with its verdict like
// what comes (Y34): no byte goes out or in that came after it.
func TestRevokedUnderWay(t *testing.T) {
	asked, more := make(chan struct{}, 1), make(chan struct{})
	handler := func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/upload":
			asked <- struct{}{}
			_, err := io.Copy(io.Discard, r.Body)
			if err == nil {
				t.Error("the upload looks whole")
			}
		case "/waits":
			asked <- struct{}{}
			<-more
			io.WriteString(w, "late")
		case "/stream":
			w.(http.Flusher).Flush()
			asked <- struct{}{}
			<-more
			io.WriteString(w, "late")
		}
	}
	g := newGlass(t, handler, func(c *Config) { c.Limits.Recheck = time.Microsecond }) // less than any of it takes
	plain := origin(t, handler)
	plain.Config.ErrorLog = discard
	for _, path := range []string{"/upload", "/waits", "/stream"} {
		g.box.school.set("open.test", allowedBy(policy.ReasonUncategorised))
		conn := g.dial()
		if path == "/upload" {
			fmt.Fprintf(conn, "POST http://open.test:%s/upload HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n", portOf(t, plain))
		} else {
			fmt.Fprintf(conn, "GET http://open.test:%s%s HTTP/1.1\r\nHost: x\r\n\r\n", portOf(t, plain), path)
		}
		<-asked
		g.box.school.set("open.test", blockedBy(policy.Gambling))
		if path == "/upload" {
			fmt.Fprint(conn, "1\r\nb\r\n")
		} else {
			more <- struct{}{}
		}
		reply, err := io.ReadAll(conn)
		if strings.Contains(string(reply), "late") || err == nil && strings.HasSuffix(string(reply), "\r\n0\r\n\r\n") {
			t.Errorf("%s: %q, %v", path, reply, err)
		}
		var told int
		for _, e := range g.journal.all() {
			if e.Finding == findingRevoked && e.Path == path {
				told++
			}
		}
		if told != 1 {
			t.Errorf("%s: %d events of the end", path, told)
		}
	}
}
