package proxy

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// only is the one open tunnel.
func (b *box) only() *tunnel {
	b.t.Helper()
	list := b.server.tunnels.list()
	if len(list) != 1 {
		b.t.Fatalf("%d tunnels, want 1", len(list))
	}
	return list[0]
}

func (tn *tunnel) isPair() bool {
	tn.mu.Lock()
	defer tn.mu.Unlock()
	return tn.pair != nil
}

// TestOrdinaryTunnels: a CONNECT or a redirected connection with a hello for a name
// that is allowed stands without Go's poller, in however many pieces it came, and what
// is not ordinary stands as well.
func TestOrdinaryTunnels(t *testing.T) {
	hello := clientHelloFor(t, "open.test")
	piece := func(n int) [][]byte {
		var list [][]byte
		for p := hello; len(p) > 0; p = p[min(n, len(p)):] {
			list = append(list, p[:min(n, len(p))])
		}
		return list
	}
	for _, c := range []struct {
		name     string
		redirect bool
		ahead    bool // the first piece comes with the CONNECT
		pieces   [][]byte
		pair     bool
	}{
		{"CONNECT", false, false, [][]byte{hello}, true},
		{"CONNECT with the hello behind it", false, true, [][]byte{hello}, true},
		{"CONNECT with a part of the hello behind it", false, true, piece(len(hello)/2 + 1), true},
		{"CONNECT, a hello in very many pieces", false, false, piece(3), false},
		{"CONNECT, a hello for another name", false, false, [][]byte{clientHelloFor(t, "other.test")}, false},
		{"CONNECT, a hello for another name and much more behind it", false, true, [][]byte{append(clientHelloFor(t, "other.test"), noise(7, 5000)...)}, false},
		{"redirected", true, false, [][]byte{hello}, true},
		{"redirected, a hello in two pieces", true, false, piece(len(hello)/2 + 1), true},
		{"redirected, a hello in very many pieces", true, false, piece(3), false},
	} {
		t.Run(c.name, func(t *testing.T) {
			port, conns := standing(t)
			b := newBox(t, func(cfg *Config) {
				if c.redirect {
					meantFor("198.51.100.7:" + port)(cfg)
				}
				cfg.ConnectPorts = []uint16{portNumber(port)}
			})
			b.addr = b.server.Addrs()[len(b.server.Addrs())-1].String()
			conn := b.dial()
			want := 0
			for i, p := range c.pieces {
				want += len(p)
				if i == 0 && !c.redirect {
					request := []byte("CONNECT open.test:" + port + " HTTP/1.1\r\nHost: x\r\n\r\n")
					if c.ahead {
						request = append(request, p...)
					}
					if _, err := conn.Write(request); err != nil {
						t.Fatal(err)
					}
					for head := []byte{}; !bytes.HasSuffix(head, []byte("\r\n\r\n")); {
						var one [1]byte
						if _, err := conn.Read(one[:]); err != nil {
							t.Fatal(err)
						}
						head = append(head, one[0])
					}
					if c.ahead {
						continue
					}
				}
				if _, err := conn.Write(p); err != nil {
					t.Fatal(err)
				}
			}
			var origin net.Conn
			for got := []byte{}; len(got) < want; { // with another name in the hello it is dialled twice
				if origin == nil {
					origin = <-conns
					if err := origin.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
						t.Fatal(err)
					}
				}
				part := make([]byte, want-len(got))
				n, err := origin.Read(part)
				got = append(got, part[:n]...)
				if err == io.EOF && len(got) == 0 {
					origin = nil
				} else if err != nil {
					t.Fatal(err)
				}
				if len(got) == want && !bytes.Equal(got, bytes.Join(c.pieces, nil)) {
					t.Error("the hello came otherwise than it was sent")
				}
			}
			defer origin.Close()
			eventually(t, "a tunnel that stands", b.only().stands)
			if c.pair && !b.only().isPair() {
				t.Error("it went by Go's poller")
			}
			if e := b.journal.all(); len(e) == 0 || e[0].Host != "open.test" || e[0].Status != 0 {
				t.Errorf("events: %+v", e)
			}
			for _, way := range [][2]net.Conn{{conn, origin}, {origin, conn}} {
				fmt.Fprint(way[0], "hello")
				got := make([]byte, 5)
				if _, err := io.ReadFull(way[1], got); err != nil || string(got) != "hello" {
					t.Errorf("%q, %v", got, err)
				}
			}
			conn.Close()
			if n, err := origin.Read(make([]byte, 1)); n != 0 || err == nil {
				t.Errorf("after the client's end: %d, %v", n, err)
			}
		})
	}
}

// TestOriginFirst: what an origin says before there is a hello, its end too, reaches the
// client.
func TestOriginFirst(t *testing.T) {
	port, conns := standing(t)
	b := newBox(t, func(c *Config) { c.ConnectPorts = []uint16{portNumber(port)} })
	for range 20 { // it may come before and after the client is told of its tunnel
		conn, _ := b.connect("open.test:" + port)
		origin := <-conns
		io.WriteString(origin, "first")
		if err := origin.(*net.TCPConn).CloseWrite(); err != nil {
			t.Fatal(err)
		}
		if _, err := conn.Write(clientHelloFor(t, "open.test")); err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(conn); err != nil || string(got) != "first" {
			t.Fatalf("%q, %v", got, err)
		}
		conn.Close()
		origin.Close()
	}
}

// TestClientLast: a client that says its last with its hello, or much behind it, is heard
// to the end and still answered.
func TestClientLast(t *testing.T) {
	port, conns := standing(t)
	b := newBox(t, func(c *Config) { c.ConnectPorts = []uint16{portNumber(port)} })
	hello := clientHelloFor(t, "open.test")
	for i := range 20 {
		conn, _ := b.connect("open.test:" + port)
		origin := <-conns
		all := append(bytes.Clone(hello), noise(5, i*30_000)...)
		if _, err := conn.Write(all); err != nil {
			t.Fatal(err)
		}
		if err := conn.(*net.TCPConn).CloseWrite(); err != nil {
			t.Fatal(err)
		}
		if err := origin.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(origin); err != nil || !bytes.Equal(got, all) {
			t.Fatalf("%d bytes, %v, want %d", len(got), err, len(all))
		}
		answer := noise(6, 10+(i*70_000)%500_000)
		if _, err := origin.Write(answer); err != nil {
			t.Fatal(err)
		}
		origin.Close()
		if got, err := io.ReadAll(conn); err != nil || !bytes.Equal(got, answer) {
			t.Fatalf("%d: answered with %d bytes, %v, want %d", i, len(got), err, len(answer))
		}
	}
}

// TestHalfHello: of a client that goes in the midst of its hello nobody waits for more.
func TestHalfHello(t *testing.T) {
	for _, ask := range []string{"", "CONNECT open.test:443 HTTP/1.1\r\nHost: x\r\n\r\n"} {
		port, _ := standing(t)
		b := newBox(t, func(c *Config) {
			if ask == "" {
				meantFor("198.51.100.7:" + port)(c)
			}
			c.ConnectPorts = []uint16{portNumber(port)}
			c.Limits.Hello = time.Minute
		})
		b.addr = b.server.Addrs()[len(b.server.Addrs())-1].String()
		for range 10 {
			conn := b.dial()
			ask := strings.Replace(ask, "443", port, 1)
			if _, err := conn.Write(append([]byte(ask), clientHelloFor(t, "open.test")[:100]...)); err != nil {
				t.Fatal(err)
			}
			if err := conn.(*net.TCPConn).CloseWrite(); err != nil {
				t.Fatal(err)
			}
			if _, err := io.ReadAll(conn); err != nil {
				t.Fatalf("%q: %v", ask, err)
			}
		}
	}
}

// silent is an address at a port whose queue is full: dials to it are not answered.
func silent(t *testing.T, port string) string {
	t.Helper()
	const addr = "127.0.0.3"
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	sa := &unix.SockaddrInet4{Port: int(portNumber(port)), Addr: [4]byte{127, 0, 0, 3}}
	if err := unix.Bind(fd, sa); err != nil {
		t.Fatal(err)
	}
	if err := unix.Listen(fd, 0); err != nil {
		t.Fatal(err)
	}
	for range 2 { // one is taken in, the next waits as this one does
		if conn, err := net.DialTimeout("tcp", addr+":"+port, 100*time.Millisecond); err == nil {
			t.Cleanup(func() { conn.Close() })
		}
	}
	return addr
}

// TestAddresses: of a name's addresses the first that answers is taken, one that says
// nothing holds nothing up, and where none answers the client is told so.
func TestAddresses(t *testing.T) {
	port, conns := standing(t)
	still := silent(t, port)
	for _, c := range []struct {
		name   string
		addrs  []string
		status int
	}{
		{"the first is there", []string{"127.0.0.1", "127.0.0.2"}, 200},
		{"the first refuses", []string{"127.0.0.2", "127.0.0.1"}, 200},
		{"the first says nothing", []string{still, "127.0.0.1"}, 200},
		{"the first says nothing, the second refuses", []string{still, "127.0.0.2", "127.0.0.1"}, 200},
		{"a part of them is inside", []string{"10.1.2.3", "127.0.0.1"}, 200},
		{"all refuse", []string{"127.0.0.2", "127.0.0.4"}, 502},
		{"none says anything", []string{still}, 504},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := newBox(t, func(cfg *Config) {
				cfg.ConnectPorts = []uint16{portNumber(port)}
				cfg.Resolver = names{"many.test": c.addrs}
				if c.status == 504 {
					cfg.Limits.Dial = 300 * time.Millisecond
				}
			})
			_, resp := b.connect("many.test:" + port)
			if resp.StatusCode != c.status {
				t.Errorf("CONNECT: %d, want %d", resp.StatusCode, c.status)
			}
			if c.status == 200 {
				(<-conns).Close()
			} else if n := len(b.server.tunnels.list()); n != 0 {
				t.Errorf("%d tunnels that lead nowhere", n)
			}
			if n := len(b.journal.all()); n != 1 {
				t.Errorf("%d events, want 1", n)
			}
		})
	}
}

// TestArrivalsEnd: who says nothing is hung up on, and so is who waits when the door
// closes.
func TestArrivalsEnd(t *testing.T) {
	for name, stop := range map[string]bool{"in time": false, "the door closes": true} {
		t.Run(name, func(t *testing.T) {
			b, conn, _ := transparentTLSBox(t, "198.51.100.7", func(c *Config) {
				c.Listen = []string{"127.0.0.1:0"}
				c.Limits.HeaderTime, c.Limits.Hello = time.Minute, time.Minute
				if !stop {
					c.Limits.HeaderTime, c.Limits.Hello = 50*time.Millisecond, 50*time.Millisecond
				}
			})
			list := []net.Conn{conn}
			for _, a := range b.server.Addrs() {
				b.addr = a.String()
				list = append(list, b.dial())
			}
			gate := b.server.gate
			eventually(t, "all have arrived", func() bool {
				return !stop || gate.Open() == len(list)
			})
			if stop {
				b.stop()
			}
			for i, c := range list {
				if n, err := c.Read(make([]byte, 1)); n != 0 || err == nil {
					t.Errorf("connection %d: %d, %v", i, n, err)
				} else if ne, ok := err.(net.Error); ok && ne.Timeout() {
					t.Errorf("connection %d is open", i)
				}
			}
		})
	}
}
