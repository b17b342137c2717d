package proxy

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"schoolgate/proxy/inspect"
)

// bareInspection is the least that Go does to look into TLS: a CONNECT taken
// over, one certificate made ahead, an HTTP server on it and a shared transport.
// It peeks at nothing, decides nothing and records nothing.
func bareInspection(b *testing.B, g *glass) string {
	cert, err := g.server.inspector.Leaves.Get(hosts("open.test")[0], time.Now())
	if err != nil {
		b.Fatal(err)
	}
	tr := &http.Transport{DisableCompression: true, MaxIdleConnsPerHost: 64, ForceAttemptHTTP2: true,
		TLSClientConfig: &tls.Config{RootCAs: g.server.inspector.Verifier.Roots},
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "tcp", g.origin.Listener.Addr().String())
		}}
	box := newInbox()
	b.Cleanup(func() { box.Close() })
	inner := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.RequestURI, r.URL.Scheme, r.URL.Host = "", "https", r.Host
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
	}), Protocols: new(http.Protocols)}
	inner.Protocols.SetHTTP1(true)
	inner.Protocols.SetHTTP2(true)
	go inner.Serve(box)
	ours := &tls.Config{Certificates: []tls.Certificate{*cert}, NextProtos: []string{"h2", "http/1.1"}}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			return
		}
		io.WriteString(conn, "HTTP/1.1 200 OK\r\n\r\n")
		c := tls.Server(conn, ours)
		if c.Handshake() != nil || !box.put(context.Background(), c) {
			conn.Close()
		}
	}))
	b.Cleanup(s.Close)
	return s.Listener.Addr().String()
}

// opened is a browser's connection through a proxy with TLS in it.
func opened(b *testing.B, proxy, authority string, school *x509.CertPool, sessions tls.ClientSessionCache) *tls.Conn {
	conn, err := net.Dial("tcp", proxy)
	if err != nil {
		b.Fatal(err)
	}
	fmt.Fprintf(conn, "CONNECT %s HTTP/1.1\r\nHost: %[1]s\r\n\r\n", authority)
	resp, err := http.ReadResponse(bufio.NewReader(conn), &http.Request{Method: "CONNECT"})
	if err != nil || resp.StatusCode != 200 {
		b.Fatal(resp, err)
	}
	name, _, _ := net.SplitHostPort(authority)
	c := tls.Client(conn, &tls.Config{RootCAs: school, ServerName: name, NextProtos: []string{"http/1.1"}, ClientSessionCache: sessions})
	if err := c.Handshake(); err != nil {
		b.Fatal(err)
	}
	return c
}

func ask(b *testing.B, c net.Conn, br *bufio.Reader, authority string) {
	fmt.Fprintf(c, "GET / HTTP/1.1\r\nHost: %s\r\n\r\n", authority)
	resp, err := http.ReadResponse(br, nil)
	if err != nil {
		b.Fatal(err)
	}
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		b.Fatal(err)
	}
}

// BenchmarkInspect measures looking into TLS beside bare Go: new connections
// with a leaf that is there already or not, and requests on a kept connection.
func BenchmarkInspect(b *testing.B) {
	body := bytes.Repeat([]byte("x"), 1024)
	g := newGlass(b, func(w http.ResponseWriter, _ *http.Request) { w.Write(body) }, nil)
	authority := "open.test:" + g.port
	doors := []struct{ name, addr string }{{"ours", g.addr}, {"bare_go", bareInspection(b, g)}}
	for _, d := range doors {
		b.Run("new_warm/"+d.name, func(b *testing.B) {
			for b.Loop() {
				c := opened(b, d.addr, authority, g.school, nil)
				ask(b, c, bufio.NewReader(c), authority)
				c.Close()
			}
		})
	}
	b.Run("new_cold/ours", func(b *testing.B) {
		for b.Loop() {
			g.server.inspector.Leaves = must(inspect.NewLeaves(g.authorities))
			c := opened(b, g.addr, authority, g.school, nil)
			ask(b, c, bufio.NewReader(c), authority)
			c.Close()
		}
	})
	for _, d := range doors {
		b.Run("kept_1KB/"+d.name, func(b *testing.B) {
			c := opened(b, d.addr, authority, g.school, nil)
			defer c.Close()
			br := bufio.NewReader(c)
			b.ReportAllocs()
			for b.Loop() {
				ask(b, c, br, authority)
			}
		})
	}
}
