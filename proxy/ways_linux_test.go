package proxy

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
)

// talk is a conversation by way of the door.
type talk struct {
	seed     uint64
	redirect bool   // to the transparent door, without a CONNECT
	ask      string // what comes before the hello, in full
	carried  bool   // the CONNECT is accepted
	early    bool   // the hello comes without waiting for that
	hello    []byte
	payload  []byte
	origin   originKind
	unwell   bool // the journal takes nothing
}

type originKind int

const (
	echoes     originKind = iota // and says goodbye
	beginsTalk                   // before it echoes
	answers                      // once it has the hello, and ends its half
	breaksOff                    // once it has the hello
	originKinds
)

// randomTalk is a conversation with what may go well and what may not.
func randomTalk(t *testing.T, seed uint64, port, closed string) talk {
	r := rand.New(rand.NewPCG(seed, 1))
	k := talk{seed: seed, redirect: r.IntN(3) == 0, early: r.IntN(3) == 0, origin: originKind(r.IntN(int(originKinds))), unwell: r.IntN(20) == 0}
	host := []string{"open.test", "other.test", "OPEN.test", "blocked.test", "inside.test", "unknown.test"}[max(0, r.IntN(10)-4)]
	well := strings.Contains("open.test other.test", strings.ToLower(host)) && !k.unwell
	k.carried = well
	at := port
	switch r.IntN(12) {
	case 0:
		at, k.carried = closed, false
	case 1:
		at, k.carried = "25", false
	}
	name := host
	if r.IntN(5) == 0 {
		name = []string{"open.test", "other.test", "blocked.test", "a..b", "192.0.2.1"}[r.IntN(5)]
	}
	k.hello = clientHelloFor(t, name)
	same := strings.EqualFold(name, host)
	switch r.IntN(10) {
	case 0:
		k.hello, same = []byte("SSH-2.0-OpenSSH_9.9\r\n"), false
	case 1:
		k.hello, same = k.hello[:r.IntN(len(k.hello))], false
	}
	if k.redirect {
		k.carried = well
	} else {
		if r.IntN(4) == 0 {
			k.ask = "GET http://blocked.test/ HTTP/1.1\r\nHost: x\r\n\r\n"
		}
		k.ask += "CONNECT " + host + ":" + at + " HTTP/1.1\r\nHost: x\r\n" + []string{"", "Proxy-Connection: keep-alive\r\n", "Proxy-Authorization: Basic eDp5\r\n", "Bad Header: x\r\n"}[max(0, r.IntN(8)-4)] + "\r\n"
		if strings.Contains(k.ask, "Bad Header") {
			k.carried = false
		}
	}
	if k.carried && same { // or what is refused would be closed with bytes unread, which resets it
		k.payload = noise(seed, r.IntN(2)*r.IntN(300_000))
	}
	if !k.carried {
		k.early = false
	}
	return k
}

// tells reports whether what comes back is the same each time: not behind a reset.
func (k *talk) tells() bool { return k.origin != breaksOff }

// pieces writes p in pieces with pauses.
func pieces(c net.Conn, p []byte, r *rand.Rand) error {
	for few := 1 + r.IntN(8); len(p) > 0; {
		n := len(p)
		if few--; few > 0 {
			n = 1 + r.IntN(n)
		}
		if _, err := c.Write(p[:n]); err != nil {
			return err
		}
		p = p[n:]
		if r.IntN(3) == 0 {
			time.Sleep(time.Duration(r.IntN(300)) * time.Microsecond)
		}
	}
	return nil
}

// speak has the conversation, and gives all that the client heard. An error is heard as
// an end: who is refused may be cut off in the midst of what they say.
func (k *talk) speak(addr string) []byte {
	r := rand.New(rand.NewPCG(k.seed, 2))
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		return []byte(err.Error())
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		return []byte(err.Error())
	}
	heard := make(chan []byte, 1)
	accepted := make(chan bool, 1)
	go func() {
		var all []byte
		told := k.redirect
		for buf := make([]byte, 32<<10); ; {
			n, err := conn.Read(buf)
			all = append(all, buf[:n]...)
			if !told && bytes.Contains(all, []byte("HTTP/1.1 200 ")) && bytes.HasSuffix(all, []byte("\r\n\r\n")) || err != nil && !told {
				told = true
				accepted <- err == nil
			}
			if err != nil {
				if ne, ok := err.(net.Error); ok && ne.Timeout() {
					all = append(all, "(and no end)"...)
				}
				heard <- all
				return
			}
		}
	}()
	say := []byte(k.ask)
	if k.early || k.redirect {
		say = append(append(say, k.hello...), k.payload...)
	}
	ok := pieces(conn, say, r) == nil
	if !k.early && !k.redirect && <-accepted {
		ok = pieces(conn, append(bytes.Clone(k.hello), k.payload...), r) == nil
	}
	if ok && r.IntN(4) > 0 {
		time.Sleep(time.Duration(r.IntN(1000)) * time.Microsecond)
	}
	if ok {
		_ = conn.(*net.TCPConn).CloseWrite() // of one that the door has closed there is no half
	}
	return <-heard
}

// serve is the origin of a conversation.
func (k *talk) serve(c net.Conn) {
	defer c.Close()
	r := rand.New(rand.NewPCG(k.seed, 3))
	if k.origin == beginsTalk {
		_ = pieces(c, noise(9, 100), r) // nobody may be there, with another name in the hello
	}
	if k.origin >= answers {
		if _, err := io.ReadFull(c, make([]byte, len(k.hello))); err != nil {
			return
		}
	}
	switch k.origin {
	case breaksOff:
		_ = c.(*net.TCPConn).SetLinger(0)
	case answers:
		if pieces(c, noise(8, r.IntN(400_000)), r) == nil && c.(*net.TCPConn).CloseWrite() == nil {
			_, _ = io.Copy(io.Discard, c) // its end is all that is waited for
		}
	default:
		if _, err := io.Copy(c, c); err == nil {
			_, _ = io.WriteString(c, "goodbye")
		}
	}
}

// way is a door and its origin.
type way struct {
	*box
	now      chan *talk
	up, down float64
	seen     int
}

// newWay is a door whose tunnels are accepted by a loop, or, with through, by Go.
func newWay(t *testing.T, ports []uint16, l net.Listener, through func(net.Listener) net.Listener) *way {
	w := &way{now: make(chan *talk, 1)}
	var current *talk
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			select {
			case current = <-w.now:
			default: // one more connection of the same
			}
			go current.serve(conn)
		}
	}()
	w.box = newBoxBy(t, func(c *Config) {
		c.Transparent.TLS = []string{"127.0.0.1:0"}
		c.ConnectPorts = ports
		dst := netip.AddrPortFrom(netip.MustParseAddr("198.51.100.7"), ports[0])
		c.original = func(netip.AddrPort) (netip.AddrPort, bool) { return dst, true }
	}, func(s *Server) {
		for _, d := range s.doors {
			if own, ok := d.listener.(*listener); ok && through != nil {
				own.Listener = through(own.Listener)
			}
		}
	})
	return w
}

// have has a conversation and says all that can be told of it.
func (w *way) have(t *testing.T, k *talk) string {
	t.Helper()
	select {
	case <-w.now: // nobody came for the one before
	default:
	}
	w.now <- k
	w.journal.mu.Lock()
	w.journal.broken = k.unwell
	w.journal.mu.Unlock()
	door := 0
	if k.redirect {
		door = 1
	}
	heard := inOrder(k.speak(w.server.Addrs()[door].String()))
	eventually(t, "nobody at the door", func() bool {
		return w.server.gate.Open() == 0 && len(w.server.tunnels.list()) == 0
	})
	var b strings.Builder
	for _, e := range w.journal.all()[w.seen:] {
		fmt.Fprintf(&b, "%v %v %v %q %d %s %d %q %v\n", e.ID, e.Door, e.Client, e.Host, e.Port, e.Method, e.Status, e.Finding, e.Reason)
		w.seen++
	}
	if k.tells() {
		up, down := testutil.ToFloat64(w.server.metrics.up), testutil.ToFloat64(w.server.metrics.down)
		fmt.Fprintf(&b, "%.0f up, %.0f down\n", up-w.up, down-w.down)
		fmt.Fprintf(&b, "%d bytes: %.200q ... %x\n", len(heard), heard, hashOf(heard))
		w.up, w.down = up, down
	} else {
		w.up, w.down = testutil.ToFloat64(w.server.metrics.up), testutil.ToFloat64(w.server.metrics.down)
	}
	return b.String()
}

// heads are those of replies.
var heads = regexp.MustCompile(`HTTP/1\.1 \d{3} [^\r\n]*\r\n([!-9;-~]+: [^\r\n]*\r\n)*\r\n`)

// inOrder is what was heard with the lines of heads in order, and without the time.
func inOrder(heard []byte) []byte {
	return heads.ReplaceAllFunc(heard, func(head []byte) []byte {
		lines := slices.DeleteFunc(strings.SplitAfter(string(head), "\r\n"), func(l string) bool { return strings.HasPrefix(l, "Date: ") })
		slices.Sort(lines)
		return []byte(strings.Join(lines, ""))
	})
}

func hashOf(p []byte) uint64 {
	h := uint64(14695981039346656037)
	for _, c := range p {
		h = (h ^ uint64(c)) * 1099511628211
	}
	return h
}

// goWay is a listener of which nothing is known but that it accepts.
type goWay struct{ net.Listener }

// TestTwoWays: whatever is said, in whatever pieces, the tunnels that pass by Go's poller
// answer, record and count as those do that go by it, and leave no descriptor behind.
func TestTwoWays(t *testing.T) {
	var origins [2]net.Listener
	var ports [2]string
	for i := range origins {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		origins[i] = l
		_, ports[i], _ = net.SplitHostPort(l.Addr().String())
	}
	dead, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_, closed, _ := net.SplitHostPort(dead.Addr().String())
	dead.Close()
	var ways [2]*way
	for i := range ways {
		through := func(l net.Listener) net.Listener { return goWay{l} }
		if i == 0 {
			through = nil
		}
		ways[i] = newWay(t, []uint16{portNumber(ports[i]), portNumber(closed)}, origins[i], through)
	}
	entranceOf(t, ways[0].box)
	before := descriptors(t)
	for seed := range uint64(60) {
		var got [2]string
		k := randomTalk(t, seed, "PORT", closed)
		for i, w := range ways {
			here := k
			here.ask = strings.ReplaceAll(k.ask, "PORT", ports[i])
			got[i] = strings.ReplaceAll(w.have(t, &here), ports[i], "PORT")
		}
		if got[0] != got[1] {
			t.Fatalf("seed %d, redirect %v, %q, carried %v, early %v, origin %d, hello of %d, payload of %d, unwell %v:\nby the loop:\n%s\nby Go:\n%s",
				seed, k.redirect, k.ask, k.carried, k.early, k.origin, len(k.hello), len(k.payload), k.unwell, got[0], got[1])
		}
	}
	eventually(t, "as many descriptors as before", func() bool { return descriptors(t) <= before })
}
