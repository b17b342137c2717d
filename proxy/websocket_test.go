package proxy

import (
	"bufio"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"testing"
	"time"

	"schoolgate/policy"
)

// echo takes a WebSocket, gives back what comes until the client's half ends, and says
// how much that was.
func echo(w http.ResponseWriter, r *http.Request) {
	conn, rw, err := http.NewResponseController(w).Hijack()
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	defer conn.Close()
	io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nhello")
	n, _ := io.Copy(conn, rw.Reader)
	fmt.Fprintf(conn, "bye after %d", n)
}

// TestWebSocketAtEveryDoor: both ways at once, a half that ends before the other, and the
// end when its site is closed, in clear and inside TLS, asked for and redirected.
func TestWebSocketAtEveryDoor(t *testing.T) {
	plain := origin(t, echo)
	var http80, tls443 string
	var g *glass
	g = newGlass(t, echo, func(c *Config) {
		c.Limits.Recheck = time.Millisecond
		c.HTTPPorts = []uint16{portNum(t, plain)}
		c.Transparent = Transparent{HTTP: []string{"127.0.0.1:0"}, TLS: []string{"127.0.0.1:0"}}
		c.original = func(own netip.AddrPort) (netip.AddrPort, bool) {
			port := portNum(t, plain)
			if own.String() == tls443 {
				port = portNumber(g.port)
			}
			return netip.AddrPortFrom(netip.MustParseAddr("198.51.100.7"), port), true
		}
	})
	addrs := g.server.Addrs()
	http80, tls443 = addrs[1].String(), addrs[2].String()
	dial := func(addr string) (net.Conn, error) { return net.Dial("tcp", addr) }
	inside := func(conn net.Conn, err error) (net.Conn, error) {
		if err != nil {
			return nil, err
		}
		c := tls.Client(conn, &tls.Config{RootCAs: g.school, ServerName: "open.test", NextProtos: []string{"http/1.1"}})
		return c, c.Handshake()
	}
	for _, door := range []struct {
		name, site string
		open       func() (net.Conn, error)
	}{
		{"explicit", "http://open.test:" + portOf(t, plain), func() (net.Conn, error) { return dial(g.addr) }},
		{"redirected", "", func() (net.Conn, error) { return dial(http80) }},
		{"CONNECT", "", func() (net.Conn, error) { return g.tls("open.test", "open.test", "http/1.1") }},
		{"redirected TLS", "", func() (net.Conn, error) { return inside(dial(tls443)) }},
	} {
		t.Run(door.name, func(t *testing.T) {
			upgrade := func() (net.Conn, *bufio.Reader) {
				t.Helper()
				conn, err := door.open()
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { conn.Close() })
				if err := conn.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
					t.Fatal(err)
				}
				host := "open.test"
				if door.name == "CONNECT" || door.name == "redirected TLS" { // not the usual port
					host += ":" + g.port
				}
				fmt.Fprintf(conn, "GET %s/chat HTTP/1.1\r\nHost: %s\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n", door.site, host)
				br := bufio.NewReader(conn)
				resp, err := http.ReadResponse(br, nil)
				if err != nil || resp.StatusCode != http.StatusSwitchingProtocols {
					t.Fatalf("%v, %v", resp, err)
				}
				first := make([]byte, 5)
				if _, err := io.ReadFull(br, first); err != nil || string(first) != "hello" {
					t.Fatalf("first %q, %v", first, err)
				}
				return conn, br
			}
			const much = 3 << 20 // more than lies between
			conn, br := upgrade()
			sent := make(chan error, 1)
			go func() {
				_, err := io.CopyN(conn, zeros{}, much)
				sent <- errors.Join(err, conn.(interface{ CloseWrite() error }).CloseWrite())
			}()
			n, err := io.CopyN(io.Discard, br, much)
			rest, restErr := io.ReadAll(br)
			if err := errors.Join(err, restErr, <-sent); err != nil || string(rest) != fmt.Sprintf("bye after %d", much) {
				t.Errorf("%d bytes came back, then %q, %v", n, rest, err)
			}
			_, br = upgrade()
			g.box.school.set("open.test", blockedBy(policy.Gambling))
			defer g.box.school.set("open.test", insideRuling)
			var late net.Error
			if _, err := io.ReadAll(br); errors.As(err, &late) && late.Timeout() {
				t.Error("it stays open when its site is closed")
			}
		})
	}
}
