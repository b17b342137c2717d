package bench

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"sync"
	"testing"

	"schoolgate/proxy/sniff"
)

// startChild starts a process of this very program.
func startChild(t *testing.T, name, dir string, ports ...string) int {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^TestChild$", "-test.timeout=0")
	cmd.Env = append(os.Environ(), "SCHOOLGATE_BENCH_CHILD="+name, "SCHOOLGATE_BENCH_DIR="+dir)
	return start(t, cmd, ports...)
}

func startBare(t *testing.T, dir string) peer {
	t.Helper()
	pid := startChild(t, "bare", dir, "127.0.0.1:3301", "127.0.0.1:3302", "127.0.0.1:3304", "127.0.0.1:3305")
	return peer{
		name: "bare", pid: pid, plain: "127.0.0.1:3301", inspect: "127.0.0.1:3302",
		from: "127.0.4.1", inspected: "127.0.4.1", transparent: "127.0.4.2", transparentInspected: "127.0.4.3",
	}
}

// bare is the least a forward proxy in Go does: net/http on both sides, io.Copy, no
// policy, no record, no bounds of time, every name at the same address.
type bare struct {
	transport *http.Transport
	dialer    net.Dialer
	inside    *http.Server
	inbox     inbox
	client    *tls.Config
	own       *authority
	leaves    sync.Map
	page      [64 << 10]byte
}

func runBare(t *testing.T, dir string) {
	own, err := readAuthority(dir, "bare")
	if err != nil {
		t.Fatal(err)
	}
	origins, err := readAuthority(dir, "origins")
	if err != nil {
		t.Fatal(err)
	}
	b := &bare{own: own, inbox: inbox{conns: make(chan net.Conn)}}
	b.transport = &http.Transport{
		DisableCompression: true, MaxIdleConnsPerHost: 64, ForceAttemptHTTP2: true,
		TLSClientConfig: &tls.Config{RootCAs: origins.pool()},
		DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
			_, port, _ := net.SplitHostPort(addr)
			return b.dialer.DialContext(ctx, network, net.JoinHostPort(originAddr, port))
		},
	}
	b.client = &tls.Config{NextProtos: []string{"h2", "http/1.1"}, GetCertificate: b.leaf}
	b.inside = &http.Server{Handler: http.HandlerFunc(b.forward), Protocols: new(http.Protocols)}
	b.inside.Protocols.SetHTTP1(true)
	b.inside.Protocols.SetHTTP2(true)
	go b.inside.Serve(&b.inbox)
	go b.transparent("127.0.0.1:3304", b.splice)
	go b.transparent("127.0.0.1:3305", b.look)
	go http.ListenAndServe("127.0.0.1:3302", b.connect(b.look))
	http.ListenAndServe("127.0.0.1:3301", b.connect(b.tunnel))
}

// inbox is a listener for connections that are there already.
type inbox struct{ conns chan net.Conn }

func (i *inbox) Accept() (net.Conn, error) { return <-i.conns, nil }
func (i *inbox) Close() error              { return nil }
func (i *inbox) Addr() net.Addr            { return &net.TCPAddr{} }

func (b *bare) leaf(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	if cert, ok := b.leaves.Load(hello.ServerName); ok {
		return cert.(*tls.Certificate), nil
	}
	cert, err := b.own.leaf(hello.ServerName)
	if err != nil {
		return nil, err
	}
	b.leaves.Store(hello.ServerName, &cert)
	return &cert, nil
}

func (b *bare) connect(carry func(net.Conn, string)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodConnect {
			b.forward(w, r)
			return
		}
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			return
		}
		io.WriteString(conn, "HTTP/1.1 200 OK\r\n\r\n")
		go carry(conn, r.Host)
	})
}

func (b *bare) forward(w http.ResponseWriter, r *http.Request) {
	if r.Host == blockedHost {
		n, err := strconv.Atoi(r.URL.Query().Get("bytes"))
		if err != nil {
			http.Error(w, "This page is blocked.", http.StatusForbidden)
			return
		}
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		w.Header().Set("Content-Length", strconv.Itoa(n))
		w.WriteHeader(http.StatusForbidden)
		w.Write(b.page[:n])
		return
	}
	if r.RequestURI = ""; r.TLS != nil {
		r.URL.Scheme, r.URL.Host = "https", r.Host
	}
	resp, err := b.transport.RoundTrip(r)
	if err != nil {
		http.Error(w, "", http.StatusBadGateway)
		return
	}
	defer resp.Body.Close()
	for k, v := range resp.Header {
		w.Header()[k] = v
	}
	w.WriteHeader(resp.StatusCode)
	if resp.ContentLength < 0 || resp.Header.Get("Content-Type") == "text/event-stream" {
		http.NewResponseController(w).Flush()
		copyFlushing(w, resp.Body)
		return
	}
	io.Copy(w, resp.Body)
}

func copyFlushing(w http.ResponseWriter, r io.Reader) {
	for buf := make([]byte, 32<<10); ; {
		n, err := r.Read(buf)
		w.Write(buf[:n])
		http.NewResponseController(w).Flush()
		if err != nil {
			return
		}
	}
}

func (b *bare) transparent(addr string, carry func(net.Conn, string)) {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return
	}
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		go carry(c, siteHost+":443")
	}
}

func (b *bare) tunnel(client net.Conn, authority string) { b.relay(client, authority, nil) }

// splice reads the hello first, as whoever goes by its name must.
func (b *bare) splice(client net.Conn, _ string) {
	hello, err := sniff.Read(client, sniff.Limits{})
	if err != nil {
		client.Close()
		return
	}
	b.relay(client, hello.SNI+":443", hello.Raw)
}

func (b *bare) relay(client net.Conn, authority string, ahead []byte) {
	defer client.Close()
	host, port, _ := net.SplitHostPort(authority)
	origin, err := b.dialer.Dial("tcp", net.JoinHostPort(addrOf(host), port))
	if err != nil {
		return
	}
	defer origin.Close()
	origin.Write(ahead)
	go func() {
		io.Copy(origin, client)
		origin.(*net.TCPConn).CloseWrite()
	}()
	io.Copy(client, origin)
}

func (b *bare) look(client net.Conn, _ string) {
	c := tls.Server(client, b.client)
	if c.Handshake() != nil {
		client.Close()
		return
	}
	b.inbox.conns <- c
}
