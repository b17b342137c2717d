package proxy

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"schoolgate/policy"
)

// TestAskedOnce: what an origin may have acted on is not sent again, and neither is
// what it is still thinking about (RFC 9110 section 9.2.2).
func TestAskedOnce(t *testing.T) {
	for _, c := range []struct {
		method string
		stall  bool
		want   int32 // times asked for the second request
		status int
	}{
		{"GET", false, 2, 200}, {"GET", true, 1, 504},
		{"POST", false, 1, 200}, {"DELETE", false, 1, 200}, {"POST", true, 1, 504},
	} {
		t.Run(fmt.Sprint(c.method, " stalled ", c.stall), func(t *testing.T) {
			var asked atomic.Int32
			l, port := listen(t)
			go eachConn(l, func(conn net.Conn) {
				br := bufio.NewReader(conn)
				for n := 0; ; n++ {
					r, err := http.ReadRequest(br)
					if err != nil {
						return
					}
					if r.URL.Path == "/second" {
						asked.Add(1)
						if c.stall {
							io.Copy(io.Discard, br)
						}
						if n > 0 {
							return
						}
					}
					io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
				}
			})
			b := newBox(t, func(c *Config) { c.Limits.OriginReply = 300 * time.Millisecond })
			b.get("http://open.test:" + port + "/first")
			reply := b.raw(c.method + " http://open.test:" + port + "/second HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
			if asked.Load() != c.want || !strings.HasPrefix(reply, fmt.Sprint("HTTP/1.1 ", c.status)) {
				t.Errorf("asked %d times, want %d: %.60q", asked.Load(), c.want, reply)
			}
		})
	}
}

func listen(t testing.TB) (net.Listener, string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	_, port, _ := net.SplitHostPort(l.Addr().String())
	return l, port
}

func eachConn(l net.Listener, serve func(net.Conn)) {
	for {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		go func() {
			defer conn.Close()
			serve(conn)
		}()
	}
}

// TestUnaskedReply: T21. What an origin says beyond its reply is not the next one's,
// wherever it waits: in the socket, or unpacked beside TLS.
func TestUnaskedReply(t *testing.T) {
	twice := func(conn net.Conn) {
		br := bufio.NewReader(conn)
		for {
			r, err := http.ReadRequest(br)
			if err != nil {
				return
			}
			good := fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(r.URL.Path), r.URL.Path)
			bad := "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison"
			if _, ok := conn.(*tls.Conn); ok && r.URL.Path != "/last" {
				burst(conn, good, bad)
				continue
			}
			io.WriteString(conn, good+bad)
		}
	}
	t.Run("clear", func(t *testing.T) {
		l, port := listen(t)
		go eachConn(l, twice)
		b := newBox(t, nil)
		for _, path := range []string{"/one", "/two", "/last"} {
			if _, body := b.get("http://open.test:" + port + path); body != path {
				t.Errorf("%s got %q", path, body)
			}
		}
	})
	t.Run("TLS", func(t *testing.T) {
		g := newGlass(t, func(w http.ResponseWriter, r *http.Request) {}, nil)
		l, port := listen(t)
		g.server.connectPorts = append(g.server.connectPorts, portNumber(port))
		config := g.origin.TLS.Clone()
		config.NextProtos = []string{"http/1.1"}
		go eachConn(l, func(conn net.Conn) {
			merged := &merging{Conn: conn}
			c := tls.Server(merged, config)
			if c.Handshake() == nil {
				twice(c)
			}
		})
		conn, _ := g.connect("open.test:" + port)
		inner := tls.Client(conn, &tls.Config{RootCAs: g.school, ServerName: "open.test", NextProtos: []string{"http/1.1"}})
		br := bufio.NewReader(inner)
		for _, path := range []string{"/zero", "/one", "/two", "/three", "/last"} {
			fmt.Fprintf(inner, "GET %s HTTP/1.1\r\nHost: open.test:%s\r\n\r\n", path, port)
			resp, err := http.ReadResponse(br, nil)
			if err != nil {
				t.Fatal(path, err)
			}
			if body, err := io.ReadAll(resp.Body); err != nil || string(body) != path {
				t.Errorf("%s got %q, %v", path, body, err)
			}
		}
	})
}

// merging holds writes back to send them in one piece.
type merging struct {
	net.Conn
	hold bool
	held []byte
}

func (m *merging) Write(p []byte) (int, error) {
	if m.hold {
		m.held = append(m.held, p...)
		return len(p), nil
	}
	return m.Conn.Write(p)
}

// burst sends records of TLS in one segment.
func burst(conn net.Conn, parts ...string) {
	m := conn.(*tls.Conn).NetConn().(*merging)
	m.hold = true
	for _, p := range parts {
		io.WriteString(conn, p)
	}
	m.hold = false
	m.Conn.Write(m.held)
	m.held = nil
}

// TestReusedTLS: connections inside TLS are used again.
func TestReusedTLS(t *testing.T) {
	var mu sync.Mutex
	from := map[string]int{}
	g := newGlass(t, func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		from[r.RemoteAddr]++
	}, nil)
	g.origin.TLS.NextProtos = []string{"http/1.1"}
	conn, _ := g.connect("open.test:" + g.port)
	inner := tls.Client(conn, &tls.Config{RootCAs: g.school, ServerName: "open.test", NextProtos: []string{"http/1.1"}})
	br := bufio.NewReader(inner)
	for range 8 {
		fmt.Fprintf(inner, "GET / HTTP/1.1\r\nHost: open.test:%s\r\n\r\n", g.port)
		resp, err := http.ReadResponse(br, nil)
		if err != nil {
			t.Fatal(err)
		}
		io.Copy(io.Discard, resp.Body)
	}
	mu.Lock()
	defer mu.Unlock()
	if len(from) > 3 {
		t.Errorf("8 requests came by %d connections", len(from))
	}
}

// TestSignedInConnections: T21. A connection to an origin that was signed in (NTLM) is
// its client's alone.
func TestSignedInConnections(t *testing.T) {
	o := origin(t, nil)
	var mu sync.Mutex
	who := map[string]string{} // by connection
	o.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		if a := r.Header.Get("Authorization"); a != "" {
			who[r.RemoteAddr] = a
		}
		fmt.Fprint(w, "you are ", who[r.RemoteAddr])
	})
	b := newBox(t, nil)
	at := "http://open.test:" + portOf(t, o) + "/"
	ask := func(conn net.Conn, br *bufio.Reader, more string) string {
		fmt.Fprintf(conn, "%s\r\nHost: x\r\n\r\n", more)
		resp, err := http.ReadResponse(br, nil)
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(resp.Body)
		return string(body)
	}
	teacher, pupil := b.dial(), b.dial()
	tr, pr := bufio.NewReader(teacher), bufio.NewReader(pupil)
	get := "GET " + at + " HTTP/1.1"
	if got := ask(teacher, tr, get+"\r\nAuthorization: NTLM teacher"); got != "you are NTLM teacher" {
		t.Fatal(got)
	}
	for range 3 {
		if got := ask(pupil, pr, get); got != "you are " {
			t.Errorf("a pupil: %s", got)
		}
		if got := ask(teacher, tr, get); got != "you are NTLM teacher" {
			t.Errorf("the teacher, later: %s", got)
		}
	}
	post := "POST " + at + " HTTP/1.1\r\nContent-Length: 0"
	if got := ask(teacher, tr, post); got != "you are NTLM teacher" {
		t.Errorf("the teacher posts: %s", got)
	}
	fmt.Fprintf(teacher, "POST %s HTTP/1.1\r\nHost: x\r\nAuthorization: Negotiate teacher\r\nContent-Length: 1\r\n\r\nx", at)
	if resp, err := http.ReadResponse(tr, nil); err != nil || resp.StatusCode != 200 {
		t.Fatal(err)
	}
	fmt.Fprintf(pupil, "POST %s HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\nx", at)
	resp, err := http.ReadResponse(pr, nil)
	if err != nil {
		t.Fatal(err)
	}
	if body, _ := io.ReadAll(resp.Body); string(body) != "you are " {
		t.Errorf("a pupil posts: %s", body)
	}
}

// TestInterimTooLate: a transport that has given up on an origin may still hear 1xx of
// it, and touches nothing of the reply that is being written.
func TestInterimTooLate(t *testing.T) {
	w := newPromptWriter(httptest.NewRecorder(), time.Second)
	w.NoInterim()
	w.Header().Set("Content-Type", "text/plain")
	w.Interim(http.StatusEarlyHints, http.Header{"Link": {"</x>"}})
	if h := w.Header(); h.Get("Content-Type") != "text/plain" || h.Get("Link") != "" {
		t.Errorf("header %v", h)
	}
}

// TestStrangeReplies: what is no status, or has a body where there is none, comes to a
// client as something it can read, and the next request is not touched.
func TestStrangeReplies(t *testing.T) {
	for _, c := range []struct{ name, reply, want string }{
		{"a status of two digits", "HTTP/1.1 050 X\r\nContent-Length: 2\r\n\r\nok", "HTTP/1.1 502"},
		{"no status", "HTTP/1.1 000 X\r\nContent-Length: 2\r\n\r\nok", "HTTP/1.1 502"},
		{"a body behind 204", "HTTP/1.1 204 X\r\nContent-Length: 2\r\n\r\nok", "HTTP/1.1 204"},
	} {
		for _, method := range []string{"GET", "POST"} {
			port := rawOrigin(t, func(conn net.Conn) { io.WriteString(conn, c.reply) })
			b := newBox(t, nil)
			body := ""
			if method == "POST" {
				body = "Content-Length: 1\r\n"
			}
			reply := b.raw(method + " http://open.test:" + port + "/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\n" + body + "\r\n" + body[:min(1, len(body))])
			if !strings.HasPrefix(reply, c.want) || c.want == "HTTP/1.1 204" && (strings.Contains(reply, "Content-Length") || !strings.HasSuffix(reply, "\r\n\r\n")) {
				t.Errorf("%s, %s: %q", c.name, method, reply)
			}
		}
	}
}

// TestConnectWithBody: what comes behind CONNECT is the tunnel's; a request that calls
// it a body is refused. WinINet says that there is none, and may.
func TestConnectWithBody(t *testing.T) {
	b := newBox(t, func(c *Config) { c.ConnectPorts = []uint16{9} })
	for head, want := range map[string]string{
		"Content-Length: 5": "400", "Transfer-Encoding: chunked": "400", "Content-Length: 0": "403",
	} {
		reply := b.raw("CONNECT blocked.test:443 HTTP/1.1\r\nHost: blocked.test\r\nConnection: close\r\n" + head + "\r\n\r\n5\r\nabc")
		if !strings.HasPrefix(reply, "HTTP/1.1 "+want) {
			t.Errorf("%s: %.80q", head, reply)
		}
	}
}

// TestTypeTricks: S4. A page is read whatever it does to hide its type from us that a
// browser sees through.
func TestTypeTricks(t *testing.T) {
	bad := "<p>xxx porn hardcore porn videos free sex cams, porn tube, xxx sex videos, hardcore sex"
	for name, head := range map[string]string{
		"named in Connection":   "Content-Type: image/png\r\nConnection: content-type\r\n",
		"two, the last of HTML": "Content-Type: image/png\r\nContent-Type: text/html\r\n",
		"a list of types":       "Content-Type: image/png, text/html\r\n",
		"XHTML as XML":          "Content-Type: text/xml\r\n",
		"a type that is none":   "Content-Type: html\r\n",
		"announced as trailer":  "Content-Type: image/png\r\nTrailer: Content-Type\r\nTransfer-Encoding: chunked\r\n",
	} {
		r := newReader(t, func(http.ResponseWriter, *http.Request) {}, nil)
		body := bad
		if strings.Contains(head, "chunked") {
			body = fmt.Sprintf("%x\r\n%s\r\n0\r\n\r\n", len(bad), bad)
		}
		port := rawOrigin(t, func(conn net.Conn) { io.WriteString(conn, "HTTP/1.1 200 OK\r\n"+head+"\r\n"+body) })
		resp, got := r.get("http://open.test:" + port + "/")
		shown := resp.StatusCode == http.StatusOK && strings.Contains(got, "porn")
		if kinds := resp.Header["Content-Type"]; shown && (len(kinds) != 1 || kinds[0] != "image/png") {
			t.Errorf("%s: shown as %q", name, kinds)
		}
		if e := r.journal.last(t); !shown && e.Reason != policy.ReasonContent {
			t.Errorf("%s: event %+v", name, e)
		}
	}
}

// TestHeadOfPages: a refusal and an error answer HEAD too, and the connection goes on.
func TestHeadOfPages(t *testing.T) {
	b := newBox(t, nil)
	reply := b.raw("HEAD http://blocked.test/ HTTP/1.1\r\nHost: x\r\n\r\n" + "HEAD http://nowhere.test/ HTTP/1.1\r\nHost: x\r\n\r\n" +
		"GET http://blocked.test/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
	if strings.Count(reply, "HTTP/1.1 403") != 2 || strings.Count(reply, "HTTP/1.1 502") != 1 || strings.Count(reply, "\npage ") != 1 {
		t.Errorf("%q", reply)
	}
}
