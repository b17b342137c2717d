package proxy

import (
	"crypto/sha256"
	"crypto/tls"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	"schoolgate/policy"
)

// TestRelayIntegrity: what goes through a tunnel comes out to the byte, both
// ways at once, and a side that has said its last still hears the answer.
func TestRelayIntegrity(t *testing.T) {
	const size = 8 << 20
	hello := clientHelloFor(t, "open.test")
	up, down := noise(1, size), noise(2, size)
	got := make(chan [32]byte, 1)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		sent := make(chan struct{})
		go func() { conn.Write(down); close(sent) }()
		all, _ := io.ReadAll(conn)
		got <- sha256.Sum256(all)
		<-sent
		io.WriteString(conn, "and goodbye")
	}()
	_, port, _ := net.SplitHostPort(l.Addr().String())
	b := newBox(t, func(c *Config) { c.ConnectPorts = []uint16{portNumber(port)} })
	conn, resp := b.connect("open.test:" + port)
	if resp.StatusCode != 200 {
		t.Fatalf("CONNECT: %d", resp.StatusCode)
	}
	go func() {
		conn.Write(append(append([]byte(nil), hello...), up...))
		conn.(*net.TCPConn).CloseWrite()
	}()
	back, err := io.ReadAll(conn)
	if err != nil {
		t.Fatal(err)
	}
	if string(back) != string(down)+"and goodbye" {
		t.Errorf("down: %d bytes, not as sent (%d)", len(back), len(down))
	}
	if <-got != sha256.Sum256(append(append([]byte(nil), hello...), up...)) {
		t.Error("up: not as sent")
	}
}

func noise(seed uint64, n int) []byte {
	b := make([]byte, n)
	rand.NewChaCha8([32]byte{byte(seed)}).Read(b)
	return b
}

// TestECH: 4.5, Y6. A real ECH hello shows the front's name: pupils are
// refused, adults are let through on the front's verdict, and both are recorded.
// GREASE, which every Chrome sends, passes.
func TestECH(t *testing.T) {
	withECH := func(name string) []byte {
		// The extension goes at the end of a hello, and the three lengths grow.
		h := append(clientHelloFor(t, name), 0xfe, 0x0d, 0, 12, 0, 0, 1, 0, 1, 9, 0, 1, 1, 0, 1, 1) // key 9
		grow := func(at int) { n := int(h[at])<<8 | int(h[at+1]); h[at], h[at+1] = byte((n+16)>>8), byte(n+16) }
		grow(3)
		grow(7)
		at := 5 + 4 + 2 + 32
		at += 1 + int(h[at])
		at += 2 + int(h[at])<<8 + int(h[at+1])
		at += 1 + int(h[at])
		grow(at)
		return h
	}
	for _, c := range []struct {
		name, from, sni string
		open            bool
		finding         string
	}{
		{"a pupil, a front", "127.0.0.1", "cloudflare-ech.com", false, findingECH},
		{"staff, a front", "127.0.0.2", "cloudflare-ech.com", true, findingECH},
		{"a pupil, GREASE", "127.0.0.1", "open.test", true, ""},
		{"a pupil, a front by the records of others", "127.0.0.1", "front.test", false, findingECH},
		{"the same by another key", "127.0.0.1", "otherkey.test", true, findingSNI},
		{"a pupil, a site that a list knows", "127.0.0.1", "known.test", true, findingSNI},
	} {
		o := origin(t, hello)
		b := newBox(t, func(c *Config) {
			c.ConnectPorts = []uint16{portNum(t, o)}
			for _, name := range []string{"cloudflare-ech.com", "front.test", "otherkey.test", "known.test"} {
				c.Resolver.(names)[name] = []string{"127.0.0.1"}
			}
			c.Memory = fronts{"front.test": 9, "otherkey.test": 8, "known.test": 9}
		})
		b.school.set("known.test", allowedBy(policy.ReasonCategory))
		d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(c.from)}}
		conn, err := d.Dial("tcp", b.addr)
		if err != nil {
			t.Fatal(err)
		}
		io.WriteString(conn, "CONNECT open.test:"+portOf(t, o)+" HTTP/1.1\r\nHost: x\r\n\r\n")
		conn.Write(withECH(c.sni))
		reply, err := io.ReadAll(conn)
		conn.Close()
		if err != nil {
			t.Fatal(err)
		}
		// The plain origin answers a hello with 400; a refusal is an alert.
		if open := strings.Contains(string(reply), "400 Bad Request"); open != c.open {
			t.Errorf("%s: reply %q, want open %v", c.name, reply, c.open)
		}
		if e := b.journal.last(t); e.Finding != c.finding || (e.Verdict == policy.Allow) != c.open {
			t.Errorf("%s: event %+v", c.name, e)
		}
	}
}

// fronts are names with the key that sites have published for each.
type fronts map[string]uint8

func (f fronts) ECHFront(name string, key uint8) bool {
	k, ok := f[name]
	return ok && k == key
}

func (fronts) Names(netip.Addr, netip.Addr, time.Time) []string { return nil }

// TestHeavy: Y28, Y31. A connection to a site that nobody knows, a tunnel or one that
// is looked into, is told of once when it has carried a great deal, and goes on.
func TestHeavy(t *testing.T) {
	b, port, trust := tunnelBox(t, func(c *Config) { c.Limits.Recheck, c.Limits.Heavy = 5*time.Millisecond, 1000 })
	conn, _ := b.connect("example.com:" + port)
	c := tls.Client(conn, trust)
	if err := c.Handshake(); err != nil { // more than that
		t.Fatal(err)
	}
	waitFor(t, func() bool { return b.journal.last(t).Finding == findingVolume })
	if got := fetch(t, c); !strings.HasSuffix(got, "hello from the origin") {
		t.Errorf("got %q", got)
	}
	b.stop()
	all := b.journal.all()
	if e := all[len(all)-1]; len(all) != 2 || e.Verdict != policy.Allow || e.Host != "example.com" {
		t.Errorf("events %+v, want one of the tunnel and one of what it carried", all)
	}
}

// TestSafeTunnel: 4.1. On CONNECT the safe host is dialled and the TLS name is
// left alone.
func TestSafeTunnel(t *testing.T) {
	asked := &recording{}
	b, port, _ := tunnelBox(t, func(c *Config) { asked.Resolver, c.Resolver = c.Resolver, asked })
	safe, err := policy.ParseHost("safe.test")
	if err != nil {
		t.Fatal(err)
	}
	r := allowedBy(policy.ReasonCategory)
	r.Safe = safe
	b.school.set("search.test", r)
	if _, resp := b.connect("search.test:" + port); resp.StatusCode != http.StatusOK {
		t.Fatalf("CONNECT: %d", resp.StatusCode)
	}
	if asked.all() != "safe.test" {
		t.Errorf("resolved %q, want safe.test", asked.all())
	}
}
