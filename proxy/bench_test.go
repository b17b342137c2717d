package proxy

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// kept is one browser connection that asks the same thing over and over.
func kept(b *testing.B, proxy, request string) func() {
	conn, err := net.Dial("tcp", proxy)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { conn.Close() })
	br := bufio.NewReader(conn)
	return func() {
		if _, err := io.WriteString(conn, request); err != nil {
			b.Fatal(err)
		}
		resp, err := http.ReadResponse(br, nil)
		if err != nil {
			b.Fatal(err)
		}
		if _, err := io.Copy(io.Discard, resp.Body); err != nil {
			b.Fatal(err)
		}
	}
}

// bare is the least a Go forward proxy does, to measure beside ours.
func bare(b *testing.B) string {
	tr := &http.Transport{DisableCompression: true, MaxIdleConnsPerHost: 64}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.RequestURI = ""
		resp, err := tr.RoundTrip(r)
		if err != nil {
			http.Error(w, "", http.StatusBadGateway)
			return
		}
		defer resp.Body.Close()
		for k, v := range resp.Header {
			w.Header()[k] = v
		}
		w.WriteHeader(resp.StatusCode)
		io.Copy(w, resp.Body)
	}))
	b.Cleanup(s.Close)
	return s.Listener.Addr().String()
}

func BenchmarkForward1KB(b *testing.B) {
	body := bytes.Repeat([]byte("x"), 1024)
	o := origin(b, func(w http.ResponseWriter, _ *http.Request) { w.Write(body) })
	box := newBox(b, nil)
	request := fmt.Sprintf("GET http://127.0.0.1:%s/ HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", portOf(b, o))
	for _, c := range []struct{ name, proxy string }{{"ours", box.addr}, {"bare_go", bare(b)}} {
		b.Run(c.name, func(b *testing.B) {
			ask := kept(b, c.proxy, request)
			b.ReportAllocs()
			for b.Loop() {
				ask()
			}
		})
	}
}

func BenchmarkBlocked(b *testing.B) {
	box := newBox(b, nil)
	ask := kept(b, box.addr, "GET http://blocked.test/ HTTP/1.1\r\nHost: blocked.test\r\n\r\n")
	b.ReportAllocs()
	for b.Loop() {
		ask()
	}
}

// BenchmarkTunnel is a new tunnel each time, to an origin that answers the
// handshake's first bytes: CONNECT, peek, verdict, dial, relay, close.
func BenchmarkTunnel(b *testing.B) {
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
	box := newBox(b, func(c *Config) { c.ConnectPorts = []uint16{portNumber(port)} })
	hello := clientHelloFor(b, "open.test")
	request := "CONNECT open.test:" + port + " HTTP/1.1\r\nHost: open.test\r\n\r\n"
	b.ReportAllocs()
	for b.Loop() {
		conn, err := net.Dial("tcp", box.addr)
		if err != nil {
			b.Fatal(err)
		}
		io.WriteString(conn, request)
		br := bufio.NewReader(conn)
		if _, err := http.ReadResponse(br, &http.Request{Method: "CONNECT"}); err != nil {
			b.Fatal(err)
		}
		conn.Write(hello)
		if _, err := io.ReadFull(br, make([]byte, 64)); err != nil {
			b.Fatal(err)
		}
		conn.Close()
	}
}

// BenchmarkTunnelBulk is bytes through an open tunnel.
func BenchmarkTunnelBulk(b *testing.B) {
	const size = 16 << 20
	big := strings.Repeat("x", size)
	o, trust := secure(b, func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, big) })
	box := newBox(b, func(c *Config) {
		c.ConnectPorts = []uint16{portNum(b, o)}
		c.Resolver.(names)["example.com"] = []string{"127.0.0.1"}
	})
	conn, _ := box.connect("example.com:" + portOf(b, o))
	c := tls.Client(conn, trust)
	br := bufio.NewReaderSize(c, 64<<10)
	b.SetBytes(size)
	for b.Loop() {
		fmt.Fprint(c, "GET / HTTP/1.1\r\nHost: example.com\r\n\r\n")
		resp, err := http.ReadResponse(br, nil)
		if err != nil {
			b.Fatal(err)
		}
		io.Copy(io.Discard, resp.Body)
	}
}

func clientHelloFor(t testing.TB, name string) []byte {
	client, server := net.Pipe()
	defer server.Close()
	go func() { tls.Client(client, &tls.Config{ServerName: name}).Handshake(); client.Close() }()
	buf := make([]byte, 4096)
	n, err := server.Read(buf)
	if err != nil {
		t.Fatal(err)
	}
	return buf[:n]
}
