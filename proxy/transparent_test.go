package proxy

import (
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"schoolgate/policy"
)

// meantFor has every transparent connection meant for one address.
func meantFor(dst string) func(*Config) {
	return func(c *Config) {
		c.Listen, c.Transparent = nil, Transparent{HTTP: []string{"127.0.0.1:0"}, TLS: []string{"127.0.0.1:0"}}
		c.original = func(netip.AddrPort) (netip.AddrPort, bool) {
			ap, err := netip.ParseAddrPort(dst)
			return ap, err == nil
		}
	}
}

// TestTransparentHTTP: the Host header says which site, the client's address
// nothing (Y21).
func TestTransparentHTTP(t *testing.T) {
	o := origin(t, hello)
	port := portOf(t, o)
	for _, c := range []struct{ name, dst, request, want string }{
		{"the name is dialled and not the address", "198.51.100.7:" + port, "GET / HTTP/1.1\r\nHost: open.test\r\n", "hello from the origin"},
		{"a blocked name at an open address", "127.0.0.1:" + port, "GET / HTTP/1.1\r\nHost: blocked.test\r\n", "page 403 ks2 category SG-1"},
		{"the Host's own port has no say", "127.0.0.1:" + port, "GET / HTTP/1.1\r\nHost: open.test:22\r\n", "hello from the origin"},
		{"the address has the port", "198.51.100.7:1", "GET / HTTP/1.1\r\nHost: open.test:" + port + "\r\n", "page 502 "},
		{"no Host: the bare address, not for a pupil", "198.51.100.7:80", "GET / HTTP/1.0\r\n", "page 403 ks2 protocol SG-1"},
		{"no Host: an address of the intranet", "127.0.0.1:" + port, "GET / HTTP/1.0\r\n", "hello from the origin"},
		{"no Host: an IPv6 address", "[2001:db8::7]:80", "GET / HTTP/1.0\r\n", "page 403 ks2 protocol SG-1"},
		{"an empty Host is nobody", "", "GET /open.test HTTP/1.1\r\nHost:\r\n", "page 400 ks2 bad_host SG-1"},
		{"a user before the host", "127.0.0.1:" + port, "GET / HTTP/1.1\r\nHost: open.test@blocked.test\r\n", "400 Bad Request"},
		{"a path in the host", "127.0.0.1:" + port, "GET / HTTP/1.1\r\nHost: open.test/x\r\n", "400"},
		{"two hosts", "127.0.0.1:" + port, "GET / HTTP/1.1\r\nHost: open.test\r\nHost: blocked.test\r\n", "400 Bad Request"},
		{"absolute form is judged by its URL", "127.0.0.1:" + port, "GET http://blocked.test/ HTTP/1.1\r\nHost: open.test\r\n", "page 403 ks2 category SG-1"},
		{"CONNECT meant for another proxy", "198.51.100.7:" + port, "CONNECT blocked.test:443 HTTP/1.1\r\nHost: open.test\r\n", "page 403 ks2 category SG-1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := newBox(t, meantFor(c.dst))
			if got := b.raw(c.request + "Connection: close\r\n\r\n"); !strings.Contains(got, c.want) {
				t.Errorf("meant for %s, %q: got %q, want %q", c.dst, c.request, got, c.want)
			}
		})
	}
}

// TestTransparentTLS: the SNI is what is judged and what is dialled; the bytes
// pass untouched (Y20, Y21).
func TestTransparentTLS(t *testing.T) {
	remembered := nameMemory{"198.51.100.7": {"example.com", "open.test"}, "198.51.100.8": {"example.com", "blocked.test"}, "198.51.100.10": {"nowhere.test"}}
	for _, c := range []struct {
		name, dst, sni string
		open           bool
		host, finding  string // of the one event
	}{
		{"the name is dialled and not the address", "198.51.100.7", "example.com", true, "example.com", ""},
		{"an address never given for that name", "198.51.100.9", "example.com", true, "example.com", "elsewhere"},
		{"a blocked name at an open address", "127.0.0.1", "blocked.test", false, "blocked.test", ""},
		{"a name that leads inside", "127.0.0.1", "inside.test", false, "inside.test", "inside"},
		{"a name that there is not (Y10)", "198.51.100.9", "nowhere.test", false, "nowhere.test", "elsewhere"},
		{"a name that there is not any more", "198.51.100.10", "nowhere.test", false, "nowhere.test", ""},
		{"a name that is none", "127.0.0.1", "bad name!", false, "", "malformed"},
		{"no name, but we gave names for the address", "198.51.100.7", "", true, "example.com", "no_sni"},
		{"no name, and one of those is blocked", "198.51.100.8", "", false, "blocked.test", "no_sni"},
		{"no name and no memory", "198.51.100.9", "", false, "198.51.100.9", "ip_literal"},
		{"no name, IPv6", "2001:db8::7", "", false, "2001:db8::7", "ip_literal"},
		{"no name, an address of the intranet", "127.0.0.1", "", true, "127.0.0.1", "no_sni"},
	} {
		t.Run(c.name, func(t *testing.T) {
			b, conn, trust := transparentTLSBox(t, c.dst, func(cfg *Config) { cfg.Memory = remembered })
			trust.ServerName, trust.InsecureSkipVerify = c.sni, true // the name is the point here
			err := tls.Client(conn, trust).Handshake()
			if (err == nil) != c.open {
				t.Errorf("handshake: %v, want open %v", err, c.open)
			}
			conn.Close()
			e := b.journal.last(t)
			if e.Host != c.host || e.Finding != c.finding || e.Door != policy.DoorTLS || (e.Status == 0) != c.open && e.Status != 502 {
				t.Errorf("event = %+v, want host %q, finding %q", e, c.host, c.finding)
			}
		})
	}
}

// TestTransparentNotTLS: what is no TLS is closed, with an event (Y8, Y9).
func TestTransparentNotTLS(t *testing.T) {
	for name, bytes := range map[string]string{
		"ssh": "SSH-2.0-OpenSSH_9.9\r\n", "openvpn": "\x00\x0e\x38\x01\x02\x03\x04\x05\x06\x07\x08\x00\x00\x00\x00\x00",
		"plain http": "GET / HTTP/1.1\r\nHost: open.test\r\n\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			b, conn, _ := transparentTLSBox(t, "198.51.100.7", nil)
			io.WriteString(conn, bytes)
			if _, err := io.ReadAll(conn); err != nil && !strings.Contains(err.Error(), "reset") {
				t.Error(err)
			}
			if e := b.journal.last(t); e.Finding != "not_tls" || e.Host != "198.51.100.7" || e.Verdict != policy.Block {
				t.Errorf("event = %+v", e)
			}
		})
	}
}

// TestTransparentRevoked: a redirected tunnel ends with its verdict (Y34).
func TestTransparentRevoked(t *testing.T) {
	b, conn, trust := transparentTLSBox(t, "198.51.100.7", func(c *Config) { c.Limits.Recheck = time.Millisecond })
	c := tls.Client(conn, trust)
	if err := c.Handshake(); err != nil {
		t.Fatal(err)
	}
	b.school.set("example.com", blockedBy(policy.Gambling))
	if _, err := c.Read(make([]byte, 1)); err == nil {
		t.Error("the tunnel stays open")
	}
	waitFor(t, func() bool { return b.journal.last(t).Finding == "revoked" })
}

// TestTransparentDialledItself: a client that finds the listener gets the usual
// port and no address to stand on.
func TestTransparentDialledItself(t *testing.T) {
	b := newBox(t, func(c *Config) {
		meantFor("")(c)
		c.AllowDestinations = nil
	})
	if got := b.raw("GET / HTTP/1.1\r\nHost: open.test\r\nConnection: close\r\n\r\n"); !strings.Contains(got, "destination SG-1") {
		t.Errorf("got %q", got)
	}
}

// nameMemory is what the DNS door remembers, by address.
type nameMemory map[string][]string

func (m nameMemory) Names(client, addr netip.Addr, _ time.Time) []string {
	if client != netip.MustParseAddr("127.0.0.1") {
		return nil
	}
	return slices.Clone(m[addr.String()])
}

func (nameMemory) ECHFront(string, uint8) bool { return false }

// transparentTLSBox is a door whose connections were meant for dst, and one
// connection to it.
func transparentTLSBox(t *testing.T, dst string, change func(*Config)) (*box, net.Conn, *tls.Config) {
	o, trust := secure(t, hello)
	b := newBox(t, func(c *Config) {
		meantFor(netip.AddrPortFrom(netip.MustParseAddr(dst), portNum(t, o)).String())(c)
		c.ConnectPorts = []uint16{portNum(t, o)}
		c.Resolver.(names)["example.com"] = []string{"127.0.0.1"}
		if change != nil {
			change(c)
		}
	})
	conn, err := net.Dial("tcp", b.server.Addrs()[1].String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	return b, conn, trust
}

func BenchmarkTransparentSplice(b *testing.B) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	defer l.Close()
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() { io.CopyN(conn, conn, 64); conn.Close() }()
		}
	}()
	_, port, _ := net.SplitHostPort(l.Addr().String())
	box := newBox(b, func(c *Config) {
		meantFor("198.51.100.7:" + port)(c)
		c.ConnectPorts = []uint16{portNumber(port)}
	})
	hello := clientHelloFor(b, "open.test")
	b.ReportAllocs()
	for b.Loop() {
		conn, err := net.Dial("tcp", box.server.Addrs()[1].String())
		if err != nil {
			b.Fatal(err)
		}
		conn.Write(hello)
		if _, err := io.ReadFull(conn, make([]byte, 64)); err != nil {
			b.Fatal(fmt.Errorf("echo: %w", err))
		}
		conn.Close()
	}
}
