package proxy

import (
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"regexp"
	"runtime"
	"strings"
	"testing"
	"time"

	"schoolgate/policy"
)

// TestSlowHeaders: T6, G8. A client that dawdles over its headers is cut off,
// and the record says that something came.
func TestSlowHeaders(t *testing.T) {
	b := newBox(t, func(c *Config) { c.Limits.HeaderTime = 50 * time.Millisecond })
	conn := b.dial()
	io.WriteString(conn, "GET http://open.test/ HTTP/1.1\r\nHo")
	if _, err := io.Copy(io.Discard, conn); err != nil {
		t.Errorf("the connection was not ended: %v", err)
	}
	b.stop()
	if e := b.journal.last(t); e.Finding != findingMalformed || e.Verdict != policy.Block {
		t.Errorf("event = %+v", e)
	}
}

// TestSlowHello: G8. The same in a tunnel.
func TestSlowHello(t *testing.T) {
	b, port, _ := tunnelBox(t, func(c *Config) { c.Limits.Hello = 50 * time.Millisecond })
	conn, _ := b.connect("example.com:" + port)
	conn.Write([]byte{22, 3})
	if _, err := io.Copy(io.Discard, conn); err != nil {
		t.Errorf("the tunnel was not ended: %v", err)
	}
}

// TestIdleTunnel: a tunnel on which nothing moves is closed.
func TestIdleTunnel(t *testing.T) {
	b, port, _ := tunnelBox(t, func(c *Config) { c.Limits.IdleStream = 100 * time.Millisecond })
	conn, _ := b.connect("example.com:" + port)
	conn.Write(clientHelloFor(t, "example.com"))
	if _, err := io.Copy(io.Discard, conn); err != nil { // the harness's deadline is far off
		t.Errorf("read = %v, want the end of the tunnel", err)
	}
}

// TestStalledBodies: T6, F11. A client that stops sending its body, and one that
// stops reading its reply, are hung up on.
func TestStalledBodies(t *testing.T) {
	ended := make(chan struct{}, 2)
	o := origin(t, func(w http.ResponseWriter, r *http.Request) {
		defer func() { ended <- struct{}{} }()
		if r.Method == "POST" {
			io.Copy(io.Discard, r.Body)
			return
		}
		for part := make([]byte, 64<<10); ; {
			if _, err := w.Write(part); err != nil {
				return
			}
		}
	})
	b := newBox(t, func(c *Config) {
		c.Limits.IdleStream, c.Limits.HeaderTime = 200*time.Millisecond, 500*time.Millisecond
	})
	sender, unwanted, reader := b.dial(), b.dial(), b.dial()
	fmt.Fprint(unwanted, "POST http://blocked.test/ HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nx")
	fmt.Fprintf(sender, "POST http://open.test:%s/ HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nx", portOf(t, o))
	fmt.Fprintf(reader, "GET http://open.test:%s/ HTTP/1.1\r\nHost: x\r\n\r\n", portOf(t, o))
	<-ended
	<-ended
	for _, conn := range []net.Conn{sender, unwanted} {
		if _, err := io.Copy(io.Discard, conn); err != nil && strings.Contains(err.Error(), "i/o timeout") {
			t.Errorf("the stalled sender is still connected: %v", err)
		}
	}
}

// TestContinue: a client that waits for 100 before its body gets it.
func TestContinue(t *testing.T) {
	o := origin(t, func(w http.ResponseWriter, r *http.Request) { io.Copy(w, r.Body) })
	b := newBox(t, nil)
	conn := b.dial()
	// Who was not told to go on is told that the connection ends: the body may or may not come.
	if refusal := b.raw("POST http://blocked.test/ HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n"); !strings.HasPrefix(refusal, "HTTP/1.1 403 ") || !strings.Contains(refusal, "\r\nConnection: close\r\n") {
		t.Errorf("a refusal in place of 100: %q", refusal)
	}
	fmt.Fprintf(conn, "POST http://open.test:%s/ HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nExpect: 100-continue\r\nConnection: close\r\n\r\n", portOf(t, o))
	first := make([]byte, 21)
	if _, err := io.ReadFull(conn, first); err != nil || string(first) != "HTTP/1.1 100 Continue" {
		t.Fatalf("first line %q, %v", first, err)
	}
	io.WriteString(conn, "body")
	if reply, err := io.ReadAll(conn); err != nil || !strings.HasSuffix(string(reply), "body") {
		t.Errorf("reply %q, %v", reply, err)
	}
}

// TestLargeHeaders: a header beyond the bound is refused.
func TestLargeHeaders(t *testing.T) {
	b := newBox(t, nil)
	reply := b.raw("GET http://open.test/ HTTP/1.1\r\nHost: x\r\nX: " + strings.Repeat("a", 80<<10) + "\r\n\r\n")
	if !strings.HasPrefix(reply, "HTTP/1.1 431") && !strings.HasPrefix(reply, "error:") {
		t.Errorf("reply = %.60q", reply)
	}
}

// TestConnectionBounds: F14, T6. At the bound new connections are refused and
// the old ones live on.
func TestConnectionBounds(t *testing.T) {
	o := origin(t, hello)
	b := newBox(t, func(c *Config) { c.Limits.ConnsPerClient = 2 })
	old := b.dial()
	b.dial()
	refused := b.dial()
	if n, err := refused.Read(make([]byte, 1)); n != 0 || err == nil {
		t.Errorf("third connection: %d bytes, %v", n, err)
	}
	fmt.Fprintf(old, "GET http://open.test:%s/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", portOf(t, o))
	if reply, err := io.ReadAll(old); err != nil || !strings.HasSuffix(string(reply), "hello from the origin") {
		t.Errorf("old connection: %q, %v", reply, err)
	}
}

// TestRevoked: Y34. An open tunnel is closed soon after its verdict changed.
func TestRevoked(t *testing.T) {
	b, port, trust := tunnelBox(t, func(c *Config) { c.Limits.Recheck = 10 * time.Millisecond })
	conn, _ := b.connect("example.com:" + port)
	c := tls.Client(conn, trust)
	if err := c.Handshake(); err != nil {
		t.Fatal(err)
	}
	b.school.set("example.com", blockedBy(policy.Gaming))
	if _, err := c.Read(make([]byte, 1)); err == nil {
		t.Fatal("the tunnel goes on")
	}
	b.stop()
	if e := b.journal.last(t); e.Finding != findingRevoked || e.Verdict != policy.Block || e.Host != "example.com" {
		t.Errorf("event = %+v", e)
	}
}

// TestPanic: F26. A fault of ours ends one request, never with an allow.
func TestPanic(t *testing.T) {
	o := origin(t, hello)
	b := newBox(t, func(c *Config) {
		inner := c.Decider
		c.Decider = deciderFunc(func(q policy.Request) policy.Ruling {
			if q.Host.String() == "fault.test" {
				panic("a fault")
			}
			return inner.Decide(q)
		})
	})
	if resp, body := b.get("http://fault.test/"); resp.StatusCode != 500 || strings.Contains(body, "a fault") {
		t.Errorf("%d %q, want our page with 500", resp.StatusCode, body)
	}
	if _, resp := b.connect("fault.test:443"); resp.StatusCode != 500 {
		t.Errorf("CONNECT: %d, want 500", resp.StatusCode)
	}
	if resp, _ := b.get("http://open.test:" + portOf(t, o) + "/"); resp.StatusCode != 200 {
		t.Errorf("the next request: %d", resp.StatusCode)
	}
}

type deciderFunc func(policy.Request) policy.Ruling

func (f deciderFunc) Decide(q policy.Request) policy.Ruling { return f(q) }

// TestNothingOutlivesRun: every goroutine of the door ends with Run, open
// tunnels and half-read requests included.
func TestNothingOutlivesRun(t *testing.T) {
	before := runtime.NumGoroutine()
	b, port, trust := tunnelBox(t, nil)
	conn, _ := b.connect("example.com:" + port)
	c := tls.Client(conn, trust)
	if err := c.Handshake(); err != nil {
		t.Fatal(err)
	}
	half := b.dial()
	io.WriteString(half, "GET http://open.test/ HTT")
	b.connect("example.com:" + port) // a tunnel that never says hello
	b.stop()
	c.Close()
	half.Close()
	ours := regexp.MustCompile(`schoolgate/proxy(/\w+)?\.\(\*`) // the door's or one of its rooms'
	stacks := make([]byte, 1<<20)
	stacks = stacks[:runtime.Stack(stacks, true)]
	for _, g := range strings.Split(string(stacks), "\n\n") {
		if ours.MatchString(g) {
			t.Errorf("left running (%d goroutines before):\n%s", before, g)
		}
	}
}

// TestTakenPort: New says so.
func TestTakenPort(t *testing.T) {
	b := newBox(t, nil)
	_, err := New(Config{Listen: []string{b.addr}, Decider: b.school, Sink: b.journal, Resolver: names{}, Pages: plainPages{}})
	if err == nil || !strings.Contains(err.Error(), "address already in use") {
		t.Errorf("New = %v", err)
	}
}

// TestOwnPages: the proxy's own address serves its settings and nothing else.
func TestOwnPages(t *testing.T) {
	b := newBox(t, nil)
	for _, c := range []struct {
		path, want string
	}{
		{"/proxy.pac", `return "PROXY ` + b.addr + `"`},
		{"/wpad.dat", `return "PROXY ` + b.addr + `"`},
		{"/", "There is no page here"},
		{"/../../etc/passwd", "There is no page here"},
	} {
		reply := b.raw("GET " + c.path + " HTTP/1.1\r\nHost: evil.test\r\nConnection: close\r\n\r\n")
		if !strings.Contains(reply, c.want) || strings.Contains(reply, "evil") || strings.Contains(reply, "DIRECT") {
			t.Errorf("%s: %q", c.path, reply)
		}
	}
}

// TestSinkhole: a name that the DNS sent here gets its page, decided anew.
func TestSinkhole(t *testing.T) {
	b := newBox(t, func(c *Config) { c.PageListen = []string{"127.0.0.1:0"} })
	addr := b.server.Addrs()[1].String()
	for host, want := range map[string]int{"blocked.test": 403, "www.blocked.test": 403, "open.test": 503, "a..b": 400} {
		conn, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(conn, "GET /x HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n", host)
		reply, err := io.ReadAll(conn)
		conn.Close()
		e := b.journal.last(t)
		if err != nil || !strings.HasPrefix(string(reply), fmt.Sprintf("HTTP/1.1 %d", want)) || e.Status != want {
			t.Errorf("%s: %.80q, event %+v", host, reply, e)
		}
	}
}

// TestDescriptors: F14. Connections never take the last descriptors.
func TestDescriptors(t *testing.T) {
	for _, c := range []struct {
		conns       int
		descriptors uint64
		want        int
	}{
		{1000, 0, 1000}, {1000, 1 << 20, 1000}, {1000, 2256, 1000}, {1000, 2255, 999}, {1000, 1024, 384}, {1000, 100, 8},
	} {
		if got := within(c.conns, c.descriptors); got != c.want {
			t.Errorf("within(%d, %d) = %d, want %d", c.conns, c.descriptors, got, c.want)
		}
	}
}
