package proxy

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"schoolgate/policy"
	"schoolgate/proxy/origins"
)

// drip writes a byte at a time until it may not.
func drip(w io.Writer, text string, pause time.Duration) {
	for i := range len(text) {
		if _, err := io.WriteString(w, text[i:i+1]); err != nil {
			return
		}
		time.Sleep(pause)
	}
}

// TestByteByByte: T6, F11. A byte now and then buys nobody more time: the time for
// headers is for all of them, the client's and the origin's. A body may be slow, as
// long as it moves.
func TestByteByByte(t *testing.T) {
	const pause = 20 * time.Millisecond
	port := rawOrigin(t, func(conn net.Conn) {
		drip(conn, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", pause)
	})
	slow := rawOrigin(t, func(conn net.Conn) {
		io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\n")
		drip(conn, strings.Repeat("x", 20), pause)
	})
	b := newBox(t, func(c *Config) {
		c.Limits.HeaderTime, c.Limits.OriginReply, c.Limits.IdleStream = 200*time.Millisecond, 200*time.Millisecond, 400*time.Millisecond
	})
	conn := b.dial()
	go drip(conn, "GET http://open.test/ HTTP/1.1\r\nHost: open.test\r\nX: "+strings.Repeat("x", 5000)+"\r\n\r\n", pause)
	if _, err := io.Copy(io.Discard, conn); err != nil && strings.Contains(err.Error(), "timeout") {
		t.Errorf("a client of one byte at a time was heard out: %v", err)
	}
	if reply := b.raw("GET http://open.test:" + port + "/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"); !strings.HasPrefix(reply, "HTTP/1.1 504") {
		t.Errorf("an origin of one byte at a time: %.60q", reply)
	}
	if reply := b.raw("GET http://open.test:" + slow + "/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"); !strings.HasSuffix(reply, strings.Repeat("x", 20)) {
		t.Errorf("a slow body: %.200q", reply)
	}
}

// TestHugeHeads: a head of 1 MB and one of 100,000 fields are refused, and many of
// them at once take little memory.
func TestHugeHeads(t *testing.T) {
	b := newBox(t, nil)
	for name, fields := range map[string]string{
		"1 MB":           "X: " + strings.Repeat("a", 1<<20) + "\r\n",
		"100,000 fields": strings.Repeat("A: b\r\n", 100_000),
		"no end":         strings.Repeat("a", 1<<20),
	} {
		before := heap()
		var all sync.WaitGroup
		for range 50 {
			conn := b.dial()
			all.Go(func() {
				go io.WriteString(conn, "GET http://open.test/ HTTP/1.1\r\nHost: open.test\r\n"+fields+"\r\n") // it is cut off in the middle
				reply, err := io.ReadAll(conn)
				if !bytes.HasPrefix(reply, []byte("HTTP/1.1 431")) && err == nil {
					t.Errorf("%s: %.80q", name, reply)
				}
			})
		}
		all.Wait()
		if more := heap() - before; more > 32<<20 {
			t.Errorf("%s: %d MiB more in use", name, more>>20)
		}
	}
	if e := b.journal.last(t); e.Finding != findingMalformed {
		t.Errorf("event %+v", e)
	}
}

// heap is what is in use, garbage apart.
func heap() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// endless writes chunks until it may not, and says how many bytes it was rid of.
func endless(w io.Writer) int64 {
	chunk := "8000\r\n" + strings.Repeat("x", 0x8000) + "\r\n"
	for total := int64(0); ; total += 0x8000 {
		if _, err := io.WriteString(w, chunk); err != nil {
			return total
		}
	}
}

// TestEndlessBodies: a body that never ends is not read for its own sake, and
// ends with whoever wanted it.
func TestEndlessBodies(t *testing.T) {
	ended := make(chan struct{}, 1)
	down := rawOrigin(t, func(conn net.Conn) {
		io.WriteString(conn, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
		endless(conn)
		ended <- struct{}{}
	})
	early := origin(t, func(w http.ResponseWriter, _ *http.Request) {
		http.Error(w, "enough", http.StatusRequestEntityTooLarge)
	})
	b := newBox(t, func(c *Config) { c.Limits.HeaderTime = 500 * time.Millisecond })
	for _, to := range []string{"blocked.test", "open.test:" + portOf(t, early)} {
		conn := b.dial()
		fmt.Fprintf(conn, "POST http://%s/ HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n", to)
		status := make(chan string, 1)
		go func() {
			line, _ := bufio.NewReader(conn).ReadString('\n')
			status <- line
		}()
		if n := endless(conn); n > 256<<20 {
			t.Errorf("%s: %d MiB of a body that nobody wanted were taken", to, n>>20)
		}
		if line := <-status; !strings.Contains(line, " 403 ") && !strings.Contains(line, " 413 ") && line != "" {
			t.Errorf("%s: %q", to, line)
		}
	}
	before := heap()
	conn := b.dial()
	fmt.Fprintf(conn, "GET http://open.test:%s/ HTTP/1.1\r\nHost: x\r\n\r\n", down)
	if _, err := io.CopyN(io.Discard, conn, 64<<20); err != nil {
		t.Fatal(err)
	}
	if more := heap() - before; more > 16<<20 {
		t.Errorf("%d MiB more in use in the middle of an endless reply", more>>20)
	}
	conn.Close()
	<-ended
}

// TestClientGone: half-open sockets. A client that leaves while its origin thinks
// takes the request to the origin with it, and so does one on HTTP/2 inside.
func TestClientGone(t *testing.T) {
	asked, left := make(chan struct{}, 1), make(chan struct{}, 1)
	port := rawOrigin(t, func(conn net.Conn) {
		asked <- struct{}{}
		_, _ = conn.Read(make([]byte, 1))
		left <- struct{}{}
	})
	b := newBox(t, nil)
	conn := b.dial()
	fmt.Fprintf(conn, "GET http://open.test:%s/ HTTP/1.1\r\nHost: x\r\n\r\n", port)
	<-asked
	conn.Close()
	select {
	case <-left:
	case <-time.After(10 * time.Second):
		t.Error("the origin is still waited for, for nobody")
	}
}

// TestInterim: 1xx replies of an origin reach the client, in clear and inside, on
// HTTP/1.1 and HTTP/2; a 100 is between the client and us, and HTTP/1.0 knows none.
func TestInterim(t *testing.T) {
	hints := func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Link", "</style.css>; rel=preload")
		for r.URL.Path == "/flood" && r.Context().Err() == nil {
			w.WriteHeader(http.StatusEarlyHints)
		}
		w.WriteHeader(http.StatusEarlyHints)
		w.WriteHeader(http.StatusProcessing)
		io.Copy(io.Discard, r.Body)
		io.WriteString(w, "hello")
	}
	get := func(t *testing.T, c *http.Client, url string, body io.Reader) string {
		var got []string
		trace := &httptrace.ClientTrace{Got1xxResponse: func(code int, h textproto.MIMEHeader) error {
			got = append(got, strconv.Itoa(code)+" "+h.Get("Link"))
			return nil
		}}
		req, err := http.NewRequestWithContext(httptrace.WithClientTrace(context.Background(), trace), "POST", url, body)
		if err != nil {
			t.Fatal(err)
		}
		if body == nil {
			req.Method = "GET"
		}
		resp, err := c.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		text, err := io.ReadAll(resp.Body)
		return fmt.Sprint(got, resp.Proto, resp.StatusCode, string(text), err)
	}
	const link = "</style.css>; rel=preload"
	o := origin(t, hints)
	b := newBox(t, nil)
	for name, body := range map[string]io.Reader{"GET": nil, "POST": strings.NewReader("body")} {
		if got := get(t, b.client("127.0.0.1"), "http://open.test:"+portOf(t, o)+"/", body); got != "[103 "+link+" 102 "+link+"]HTTP/1.1200hello<nil>" {
			t.Errorf("%s in clear: %s", name, got)
		}
		if got := get(t, b.client("127.0.0.1"), "http://open.test:"+portOf(t, o)+"/flood", body); strings.Count(got, "103") > origins.MaxInterim || !strings.Contains(got, "HTTP/1.1502") {
			t.Errorf("%s in clear, of an origin that says nothing else: %.200s", name, got)
		}
	}
	if reply := b.raw("GET http://open.test:" + portOf(t, o) + "/ HTTP/1.0\r\n\r\n"); strings.Count(reply, "HTTP/1.") != 1 {
		t.Errorf("HTTP/1.0: %q", reply)
	}
	g := newGlass(t, hints, nil)
	for _, proto := range []string{"http/1.1", "h2"} {
		conn, _ := g.connect("open.test:" + g.port)
		c := tls.Client(conn, &tls.Config{RootCAs: g.school, ServerName: "open.test", NextProtos: []string{proto}})
		tr := &http.Transport{ForceAttemptHTTP2: true, DialTLSContext: func(context.Context, string, string) (net.Conn, error) { return c, c.Handshake() }}
		got := get(t, &http.Client{Transport: tr}, "https://open.test:"+g.port+"/", nil)
		if !strings.HasPrefix(got, "[103 "+link+" 102 "+link+"]HTTP/") || !strings.HasSuffix(got, "200hello<nil>") {
			t.Errorf("%s inside: %s", proto, got)
		}
		got = get(t, &http.Client{Transport: tr}, "https://open.test:"+g.port+"/flood", nil)
		if strings.Count(got, "103") > origins.MaxInterim || !strings.Contains(got, "502") {
			t.Errorf("%s inside, of an origin that says nothing else: %.200s", proto, got)
		}
		tr.CloseIdleConnections()
	}
}

// TestOldClients: HTTP/1.0, HEAD, and replies that have no body.
func TestOldClients(t *testing.T) {
	o := origin(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/204":
			w.WriteHeader(http.StatusNoContent)
		case "/304":
			w.Header().Set("Etag", `"x"`)
			w.WriteHeader(http.StatusNotModified)
		case "/stream":
			io.WriteString(w, "one ")
			w.(http.Flusher).Flush()
			io.WriteString(w, "two")
		default:
			w.Header().Set("Content-Length", "5")
			io.WriteString(w, "hello")
		}
	})
	b := newBox(t, nil)
	at := "http://open.test:" + portOf(t, o)
	const end = "GET http://blocked.test/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
	for _, c := range []struct{ name, request, want, not string }{
		{"HTTP/1.0", "GET " + at + "/ HTTP/1.0\r\n\r\n" + end, "Connection: close\r\n\r\nhello", "403"},
		{"HTTP/1.0, kept", "GET " + at + "/ HTTP/1.0\r\nConnection: keep-alive\r\n\r\n" + end, "HTTP/1.1 403", "Transfer-Encoding"},
		{"HTTP/1.0, no length", "GET " + at + "/stream HTTP/1.0\r\nConnection: keep-alive\r\n\r\n" + end, "\r\n\r\none two", "Transfer-Encoding"},
		{"HEAD", "HEAD " + at + "/ HTTP/1.1\r\nHost: x\r\n\r\n" + end, "Content-Length: 5\r\n", "hello"},
		{"204", "GET " + at + "/204 HTTP/1.1\r\nHost: x\r\n\r\n" + end, "HTTP/1.1 403", "Transfer-Encoding"},
		{"304", "GET " + at + "/304 HTTP/1.1\r\nHost: x\r\n\r\n" + end, `Etag: "x"`, "Transfer-Encoding"},
		{"no length", "GET " + at + "/stream HTTP/1.1\r\nHost: x\r\n\r\n" + end, "two\r\n0\r\n\r\nHTTP/1.1 403", "Content-Length: 7"},
	} {
		reply := b.raw(c.request)
		if !strings.Contains(reply, c.want) || strings.Contains(reply, c.not) {
			t.Errorf("%s: %q", c.name, reply)
		}
	}
}

// TestLargeBodies: what is large goes up and down in constant memory, in clear, in a
// tunnel and inside. SCHOOLGATE_ENDURE_GB=10 has ten of them instead of an eighth.
func TestLargeBodies(t *testing.T) {
	size := int64(128 << 20)
	if gb, err := strconv.Atoi(os.Getenv("SCHOOLGATE_ENDURE_GB")); err == nil {
		size = int64(gb) << 30
	}
	handler := func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost {
			n, err := io.Copy(io.Discard, r.Body)
			fmt.Fprint(w, n, err)
			return
		}
		w.Header().Set("Content-Length", strconv.FormatInt(size, 10))
		io.Copy(w, io.LimitReader(zeros{}, size))
	}
	o := origin(t, handler)
	b := newBox(t, nil)
	g := newGlass(t, handler, nil)
	spliced := newGlass(t, handler, func(c *Config) { c.Inspection = nil })
	inside := func(g *glass, trust *tls.Config) *http.Client {
		return &http.Client{Transport: &http.Transport{DialTLSContext: func(context.Context, string, string) (net.Conn, error) {
			conn, _ := g.connect("open.test:" + g.port)
			conn.SetDeadline(time.Time{})
			c := tls.Client(conn, trust)
			return c, c.Handshake()
		}}}
	}
	clear := b.client("127.0.0.1")
	clear.Timeout = 0
	for _, c := range []struct {
		name, url string
		client    *http.Client
	}{
		{"in clear", "http://open.test:" + portOf(t, o) + "/", clear},
		{"inside", "https://open.test:" + g.port + "/", inside(g, &tls.Config{RootCAs: g.school, ServerName: "open.test"})},
		{"in a tunnel", "https://open.test:" + spliced.port + "/", inside(spliced, &tls.Config{RootCAs: spliced.roots, ServerName: "open.test"})},
	} {
		before := heap()
		var most atomic.Int64
		done := make(chan struct{})
		go watchHeap(&most, done)
		resp, err := c.client.Get(c.url)
		if err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		n, err := io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
		if n != size || err != nil {
			t.Errorf("%s, down: %d of %d, %v", c.name, n, size, err)
		}
		resp, err = c.client.Post(c.url, "application/octet-stream", io.LimitReader(zeros{}, size))
		if err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		text, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		if string(text) != fmt.Sprint(size, nil) {
			t.Errorf("%s, up: %s of %d", c.name, text, size)
		}
		close(done)
		t.Logf("%s: %d MiB each way, at most %d MiB of heap beyond what was", c.name, size>>20, (most.Load()-before)>>20)
		if most.Load()-before > 48<<20 {
			t.Errorf("%s: memory grew by %d MiB", c.name, (most.Load()-before)>>20)
		}
		c.client.CloseIdleConnections()
	}
}

// zeros is a body without an end.
type zeros struct{}

// Read gives what is there already.
func (zeros) Read(p []byte) (int, error) { return len(p), nil }

func watchHeap(most *atomic.Int64, done chan struct{}) {
	for tick := time.NewTicker(50 * time.Millisecond); ; {
		select {
		case <-done:
			tick.Stop()
			return
		case <-tick.C:
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			most.Store(max(most.Load(), int64(m.HeapAlloc)))
		}
	}
}

// TestManyUpgrades: G6. Thousands of WebSockets come and go, and every descriptor is
// given back.
func TestManyUpgrades(t *testing.T) {
	const rounds, together = 50, 100
	port := rawOrigin(t, func(conn net.Conn) {
		io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nfirst")
		_, _ = conn.Read(make([]byte, 1)) // until it goes
	})
	b := newBox(t, nil)
	upgrade := func() {
		conn, err := net.Dial("tcp", b.addr)
		if err != nil {
			t.Error(err)
			return
		}
		defer conn.Close()
		fmt.Fprintf(conn, "GET http://open.test:%s/chat HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n", port)
		br := bufio.NewReader(conn)
		resp, err := http.ReadResponse(br, nil)
		if err != nil || resp.StatusCode != 101 {
			t.Errorf("%v %v", resp, err)
			return
		}
		if _, err := io.ReadFull(br, make([]byte, 5)); err != nil {
			t.Error(err)
		}
	}
	upgrade()
	before := descriptors(t)
	for range rounds {
		var all sync.WaitGroup
		for range together {
			all.Go(upgrade)
		}
		all.Wait()
	}
	after := 0
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if after = descriptors(t); after <= before+2 {
			break
		}
	}
	if after > before+2 {
		t.Errorf("%d descriptors before, %d after %d upgrades", before, after, rounds*together)
	}
}

// TestBytesCounted: what a tunnel carried is counted to the byte, spliced or copied.
func TestBytesCounted(t *testing.T) {
	const size = 4 << 20
	hello := clientHelloFor(t, "open.test")
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
		_, _ = io.CopyN(io.Discard, conn, int64(len(hello)+size))
		_, _ = io.CopyN(conn, zeros{}, 2*size)
	}()
	_, port, _ := net.SplitHostPort(l.Addr().String())
	b := newBox(t, func(c *Config) { c.ConnectPorts = []uint16{portNumber(port)} })
	conn, _ := b.connect("open.test:" + port)
	conn.Write(hello)
	io.CopyN(conn, zeros{}, size)
	if n, err := io.Copy(io.Discard, conn); n != 2*size || err != nil {
		t.Fatalf("down: %d, %v", n, err)
	}
	b.stop()
	up, down := testutil.ToFloat64(b.server.metrics.up), testutil.ToFloat64(b.server.metrics.down)
	if int(up) != len(hello)+size || int(down) != 2*size {
		t.Errorf("counted %.0f up and %.0f down, not %d and %d", up, down, len(hello)+size, 2*size)
	}
}

// TestUnderPressure: F16, Y35. A flood of blocked requests over many connections
// opens nothing: each is refused, whatever else is going on.
func TestUnderPressure(t *testing.T) {
	o := origin(t, hello)
	b := newBox(t, nil)
	var all sync.WaitGroup
	for range 50 {
		all.Go(func() {
			conn := b.dial()
			br := bufio.NewReader(conn)
			for i := range 40 {
				to, want := "blocked.test", 403
				if i%4 == 0 {
					to, want = "open.test", 200
				}
				fmt.Fprintf(conn, "GET http://%s:%s/ HTTP/1.1\r\nHost: x\r\n\r\n", to, portOf(t, o))
				resp, err := http.ReadResponse(br, nil)
				if err != nil || resp.StatusCode != want {
					t.Errorf("%s: %v %v", to, resp, err)
					return
				}
				io.Copy(io.Discard, resp.Body)
			}
		})
	}
	all.Wait()
	for _, e := range b.journal.all() {
		if e.Host == "blocked.test" && e.Verdict != policy.Block {
			t.Errorf("%+v", e)
		}
	}
}
