package proxy

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"schoolgate/proxy/origins"
)

// rawOrigin answers every connection with f, after the request's headers.
func rawOrigin(t testing.TB, f func(net.Conn)) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				if _, err := http.ReadRequest(bufio.NewReader(conn)); err == nil {
					f(conn)
				}
			}()
		}
	}()
	_, port, err := net.SplitHostPort(l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	return port
}

// TestBrokenReplies: G4. A reply that broke off at the origin is visibly broken
// at the client, in either version of HTTP.
func TestBrokenReplies(t *testing.T) {
	for _, c := range []struct{ name, reply string }{
		{"chunked, no last chunk", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"},
		{"chunked, inside a chunk", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n50\r\nhello"},
		{"chunked, bad size", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nzz\r\n"},
		{"events, no last chunk", "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"},
		{"length, too few", "HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nhello"},
	} {
		port := rawOrigin(t, func(conn net.Conn) { io.WriteString(conn, c.reply) })
		b := newBox(t, nil)
		for _, version := range []string{"1.1", "1.0"} {
			conn := b.dial()
			fmt.Fprintf(conn, "GET http://open.test:%s/ HTTP/%s\r\nHost: open.test\r\n\r\n", port, version)
			resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
			if err != nil {
				continue // broken before the headers: visible enough
			}
			if body, err := io.ReadAll(resp.Body); err == nil {
				t.Errorf("%s over HTTP/%s: looks whole: %d %q", c.name, version, resp.StatusCode, body)
			}
		}
	}
}

// TestPromptReplies: G5. Headers and first bytes come while the origin is
// still thinking about the rest.
func TestPromptReplies(t *testing.T) {
	more := make(chan struct{})
	o := origin(t, func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(200)
		http.NewResponseController(w).Flush()
		<-more
		io.WriteString(w, "a")
		http.NewResponseController(w).Flush()
		<-more
	})
	b := newBox(t, nil)
	resp, err := b.client("127.0.0.1").Get("http://open.test:" + portOf(t, o) + "/") // returns with the headers
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	more <- struct{}{}
	var one [1]byte
	if _, err := io.ReadFull(resp.Body, one[:]); err != nil || one[0] != 'a' {
		t.Fatalf("first byte %q, %v", one, err)
	}
	more <- struct{}{}
	if rest, err := io.ReadAll(resp.Body); err != nil || len(rest) != 0 {
		t.Errorf("rest %q, %v", rest, err)
	}
}

// TestErrorsTellNothing: G9. Our error pages have the right status and no
// address, port or text of the machinery.
func TestErrorsTellNothing(t *testing.T) {
	dead, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_, deadPort, _ := net.SplitHostPort(dead.Addr().String())
	dead.Close()
	junk := rawOrigin(t, func(conn net.Conn) { io.WriteString(conn, "SSH-2.0-nonsense\r\n") })
	gone := rawOrigin(t, func(net.Conn) {})
	slow := rawOrigin(t, func(conn net.Conn) { io.Copy(io.Discard, conn) })
	b := newBox(t, func(c *Config) { c.Limits.OriginReply = 500 * time.Millisecond })
	for _, c := range []struct {
		name, url string
		status    int
	}{
		{"nobody listens", "http://open.test:" + deadPort + "/", 502},
		{"no such name", "http://nowhere.test/", 502},
		{"not HTTP", "http://open.test:" + junk + "/", 502},
		{"hangs up", "http://open.test:" + gone + "/", 502},
		{"never answers", "http://open.test:" + slow + "/", 504},
	} {
		resp, body := b.get(c.url)
		if resp.StatusCode != c.status || resp.Header.Get(EventHeader) == "" {
			t.Errorf("%s: %d, want %d", c.name, resp.StatusCode, c.status)
		}
		if !strings.HasPrefix(body, "page ") || strings.Contains(body, "127.0.0.1") {
			t.Errorf("%s: body %q", c.name, body)
		}
	}
}

// TestNoProxyFromEnvironment: G10.
func TestNoProxyFromEnvironment(t *testing.T) {
	t.Setenv("HTTP_PROXY", "http://127.0.0.1:1")
	t.Setenv("http_proxy", "http://127.0.0.1:1")
	o := origin(t, hello)
	b := newBox(t, nil)
	if resp, _ := b.get("http://open.test:" + portOf(t, o) + "/"); resp.StatusCode != 200 {
		t.Errorf("status %d: the environment's proxy was used", resp.StatusCode)
	}
	if b.server.origins.HTTP().Proxy != nil {
		t.Error("transport has a proxy")
	}
}

// TestSocketsEnd: G6. Fifty WebSockets of which the origin goes away leave no
// descriptor behind.
func TestSocketsEnd(t *testing.T) {
	const sockets = 50
	opened, leave := make(chan struct{}, sockets), make(chan struct{})
	port := rawOrigin(t, func(conn net.Conn) {
		io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nfirst")
		opened <- struct{}{}
		<-leave
	})
	b := newBox(t, nil)
	before := descriptors(t)
	var clients []net.Conn
	for range sockets {
		conn := b.dial()
		fmt.Fprintf(conn, "GET http://open.test:%s/chat HTTP/1.1\r\nHost: open.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n", port)
		br := bufio.NewReader(conn)
		resp, err := http.ReadResponse(br, nil)
		if err != nil || resp.StatusCode != 101 || resp.Header.Get(EventHeader) == "" {
			t.Fatalf("upgrade: %v %v", resp, err)
		}
		first := make([]byte, 5)
		if _, err := io.ReadFull(br, first); err != nil || string(first) != "first" {
			t.Fatalf("bytes behind the 101: %q, %v", first, err)
		}
		clients = append(clients, conn)
	}
	close(leave)
	for _, conn := range clients {
		if _, err := io.Copy(io.Discard, conn); err != nil {
			t.Errorf("the client's side did not end: %v", err)
		}
		conn.Close()
	}
	b.stop()
	if after := descriptors(t); after > before {
		t.Errorf("%d descriptors before, %d after", before, after)
	}
}

func descriptors(t *testing.T) int {
	list, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Skipf("SKIPPED: descriptors cannot be counted here: %v", err)
	}
	return len(list)
}

// TestUpgradeRefused: Y28. An upgrade is judged like any request, and one that
// the origin refuses is an ordinary reply.
func TestUpgradeRefused(t *testing.T) {
	o := origin(t, func(w http.ResponseWriter, r *http.Request) { http.Error(w, "no", http.StatusTeapot) })
	b := newBox(t, nil)
	for host, want := range map[string]string{"blocked.test": "403", "open.test": "418", "inside.test": "403"} {
		reply := b.raw(fmt.Sprintf("GET http://%s:%s/ HTTP/1.1\r\nHost: x\r\nConnection: Upgrade, close\r\nUpgrade: websocket\r\n\r\n", host, portOf(t, o)))
		if !strings.HasPrefix(reply, "HTTP/1.1 "+want) {
			t.Errorf("%s: %q", host, reply)
		}
	}
}

// TestUpgradeRefusedAtLength: the refusal of an upgrade ends with the client, however
// much the origin would go on to say.
func TestUpgradeRefusedAtLength(t *testing.T) {
	ended := make(chan error, 1)
	o := origin(t, func(w http.ResponseWriter, r *http.Request) {
		part := make([]byte, 32<<10)
		for {
			if _, err := w.Write(part); err != nil {
				ended <- err
				return
			}
		}
	})
	b := newBox(t, nil)
	conn := b.dial()
	fmt.Fprintf(conn, "GET http://open.test:%s/ HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n", portOf(t, o))
	if _, err := io.ReadFull(conn, make([]byte, 64<<10)); err != nil {
		t.Fatal(err)
	}
	conn.Close()
	select {
	case <-ended:
	case <-time.After(20 * time.Second):
		t.Error("the origin is read on, for nobody")
	}
}

// TestBodies: what is large, chunked, ranged or has trailers passes unharmed.
func TestBodies(t *testing.T) {
	big := strings.Repeat("0123456789abcdef", 1<<16) // 1 MiB
	o := origin(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/echo": // answers while it still reads
			http.NewResponseController(w).EnableFullDuplex()
			io.Copy(w, r.Body)
		case "/trailer":
			w.Header().Set("Trailer", "X-Sum")
			io.WriteString(w, "body")
			w.Header().Set("X-Sum", "42")
		case "/range":
			http.ServeContent(w, r, "big", time.Time{}, strings.NewReader(big))
		}
	})
	b := newBox(t, nil)
	base := "http://open.test:" + portOf(t, o)
	c := b.client("127.0.0.1")

	resp, err := c.Post(base+"/echo", "text/plain", struct{ io.Reader }{strings.NewReader(big)}) // chunked both ways
	if err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(resp.Body); err != nil || string(got) != big {
		t.Errorf("echo: %d bytes, %v", len(got), err)
	}
	resp, err = c.Get(base + "/trailer")
	if err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(resp.Body); err != nil || string(got) != "body" || resp.Trailer.Get("X-Sum") != "42" {
		t.Errorf("trailer: %q %v %v", got, resp.Trailer, err)
	}
	req, _ := http.NewRequest("GET", base+"/range", nil)
	req.Header.Set("Range", "bytes=16-31")
	resp, err = c.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(resp.Body); err != nil || string(got) != big[:16] || resp.StatusCode != 206 {
		t.Errorf("range: %d %q %v", resp.StatusCode, got, err)
	}
	resp, err = c.Head(base + "/range")
	if err != nil || resp.ContentLength != int64(len(big)) {
		t.Errorf("head: %v %v", resp, err)
	}
}

// TestClientsKeptApart: T21. Answers of many clients at once never cross.
func TestClientsKeptApart(t *testing.T) {
	o := origin(t, func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, strings.Repeat(r.URL.Query().Get("mark")+" ", 500))
	})
	b := newBox(t, nil)
	failed := make(chan string, 20)
	for i := range 20 {
		go func() {
			mark := "client" + strconv.Itoa(i)
			c := b.client("127.0.0.1")
			for range 20 {
				resp, err := c.Get("http://open.test:" + portOf(t, o) + "/?mark=" + mark)
				if err != nil {
					failed <- err.Error()
					return
				}
				body, err := io.ReadAll(resp.Body)
				resp.Body.Close()
				if err != nil || strings.ReplaceAll(string(body), mark+" ", "") != "" {
					failed <- fmt.Sprintf("%s got %.80q, %v", mark, body, err)
					return
				}
			}
			failed <- ""
		}()
	}
	for range 20 {
		if why := <-failed; why != "" {
			t.Error(why)
		}
	}
}

// TestGoproxysDefaultsAreOff: G1-G3. What goproxy brings of its own would
// tunnel, skip verification or sign with a public key.
func TestGoproxysDefaultsAreOff(t *testing.T) {
	b := newBox(t, nil)
	g := b.server.goproxy
	if _, err := g.ConnectDial("tcp", "127.0.0.1:1"); err != origins.ErrNoRoute || g.ConnectDialWithReq != nil {
		t.Errorf("goproxy's dialler reaches out: %v", err)
	}
	if g.Tr != b.server.origins.HTTP() || g.Tr.TLSClientConfig.MinVersion < tls.VersionTLS12 {
		t.Error("goproxy has a transport of its own")
	}
	if _, err := g.Tr.DialContext(t.Context(), "tcp", "127.0.0.1:1"); err != origins.ErrNoRoute {
		t.Errorf("the transport dials without a checked route: %v", err)
	}
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	rooms, err := filepath.Glob("*/*.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range append(files, rooms...) {
		if strings.HasSuffix(f, "_test.go") {
			continue
		}
		source, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		for _, word := range []string{"InsecureSkipVerify", "GoproxyCa", "OkConnect", "MitmConnect", "ProxyFromEnvironment"} {
			if strings.Contains(string(source), word) {
				t.Errorf("%s uses %s", f, word)
			}
		}
	}
}

// TestUnaskedSwitch: an origin that switches protocols when nobody asked gets
// an error page, and holds nothing open.
func TestUnaskedSwitch(t *testing.T) {
	port := rawOrigin(t, func(conn net.Conn) {
		io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n")
	})
	b := newBox(t, nil)
	if resp, _ := b.get("http://open.test:" + port + "/"); resp.StatusCode != 502 {
		t.Errorf("status %d, want 502", resp.StatusCode)
	}
}

// TestTakesGzip: a page of ours is compressed only for who says that it may be.
func TestTakesGzip(t *testing.T) {
	for _, c := range []struct {
		lines []string
		want  bool
	}{
		{nil, false},
		{[]string{""}, false},
		{[]string{"gzip, deflate, br"}, true},
		{[]string{"br", "deflate , GZIP"}, true},
		{[]string{"br;q=1.0, gzip;q=0.8, *;q=0.1"}, true},
		{[]string{"gzip; q=0"}, false},
		{[]string{"gzip;q=0.000, br"}, false},
		{[]string{"identity"}, false},
		{[]string{"xgzip, gzip2"}, false},
	} {
		if got := takesGzip(http.Header{"Accept-Encoding": c.lines}); got != c.want {
			t.Errorf("takesGzip(%q) = %v, want %v", c.lines, got, c.want)
		}
	}
}
