package proxy

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"schoolgate/policy"
)

// smuggled are requests of which two parsers could make two things (T7). T is where
// they go; what hides in them asks for a host that is blocked.
var smuggled = []struct{ name, request string }{
	{"CL.TE", "POST http://T/ HTTP/1.1\r\nHost: T\r\nContent-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nG"},
	{"TE.CL", "POST http://T/ HTTP/1.1\r\nHost: T\r\nTransfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n5c\r\nGET http://blocked.test/ HTTP/1.1\r\n\r\n0\r\n\r\n"},
	{"TE.TE, one of them unknown", "POST http://T/ HTTP/1.1\r\nHost: T\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: cow\r\n\r\n0\r\n\r\n"},
	{"TE.TE, twice the same", "POST http://T/ HTTP/1.1\r\nHost: T\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"},
	{"a list of codings", "POST http://T/ HTTP/1.1\r\nHost: T\r\nTransfer-Encoding: identity, chunked\r\n\r\n0\r\n\r\n"},
	{"a coding with a tab before it", "POST http://T/ HTTP/1.1\r\nHost: T\r\nTransfer-Encoding:\x0bchunked\r\n\r\n0\r\n\r\n"},
	{"a coding in HTTP/1.0", "POST http://T/ HTTP/1.0\r\nHost: T\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"},
	{"two lengths", "POST http://T/ HTTP/1.1\r\nHost: T\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nxx"},
	{"two lengths, the same", "POST http://T/ HTTP/1.1\r\nHost: T\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\nx"},
	{"a list of lengths", "POST http://T/ HTTP/1.1\r\nHost: T\r\nContent-Length: 1, 1\r\n\r\nx"},
	{"a length with a sign", "POST http://T/ HTTP/1.1\r\nHost: T\r\nContent-Length: +1\r\n\r\nx"},
	{"a length in hexadecimal", "POST http://T/ HTTP/1.1\r\nHost: T\r\nContent-Length: 0x1\r\n\r\nx"},
	{"a negative length", "POST http://T/ HTTP/1.1\r\nHost: T\r\nContent-Length: -1\r\n\r\nx"},
	{"a length that is empty", "POST http://T/ HTTP/1.1\r\nHost: T\r\nContent-Length:\r\n\r\nx"},
	{"a length beyond numbers", "POST http://T/ HTTP/1.1\r\nHost: T\r\nContent-Length: 99999999999999999999\r\n\r\nx"},
	{"obs-fold", "GET http://T/ HTTP/1.1\r\nHost: T\r\nX: a\r\n Content-Length: 5\r\n\r\n"},
	{"obs-fold of the first field", "GET http://T/ HTTP/1.1\r\n Host: T\r\nHost: T\r\n\r\n"},
	{"bare LF", "GET http://T/ HTTP/1.1\nHost: T\n\n"},
	{"bare LF after a field", "GET http://T/ HTTP/1.1\r\nHost: T\r\nX: a\nY: b\r\n\r\n"},
	{"bare LF before the blank line", "GET http://T/ HTTP/1.1\r\nHost: T\r\n\nGET http://blocked.test/ HTTP/1.1\r\nHost: x\r\n\r\n"},
	{"bare CR in a value", "GET http://T/ HTTP/1.1\r\nHost: T\r\nX: a\rTransfer-Encoding: chunked\r\n\r\n"},
	{"two Hosts", "GET http://T/ HTTP/1.1\r\nHost: T\r\nHost: blocked.test\r\n\r\n"},
	{"two Hosts, the same", "GET http://T/ HTTP/1.1\r\nHost: T\r\nHost: T\r\n\r\n"},
	{"no Host", "GET http://T/ HTTP/1.1\r\nX: a\r\n\r\n"},
	{"a Host that is none", "GET http://T/ HTTP/1.1\r\nHost: T/\\x\r\n\r\n"},
	{"a space before the colon", "POST http://T/ HTTP/1.1\r\nHost: T\r\nContent-Length : 5\r\n\r\nhello"},
	{"a tab before the colon", "POST http://T/ HTTP/1.1\r\nHost: T\r\nTransfer-Encoding\t: chunked\r\n\r\n0\r\n\r\n"},
	{"NUL in a name", "GET http://T/ HTTP/1.1\r\nHost: T\r\nX\x00Y: a\r\n\r\n"},
	{"NUL in a value", "GET http://T/ HTTP/1.1\r\nHost: T\r\nX: a\x00b\r\n\r\n"},
	{"a field without a colon", "GET http://T/ HTTP/1.1\r\nHost: T\r\nContent-Length\r\n\r\n"},
	{"a field without a name", "GET http://T/ HTTP/1.1\r\nHost: T\r\n: a\r\n\r\n"},
	{"a chunk size with a bare LF", "POST http://T/ HTTP/1.1\r\nHost: T\r\nTransfer-Encoding: chunked\r\n\r\n1;a\nx\r\n0\r\n\r\n"},
	{"a chunk size that is none", "POST http://T/ HTTP/1.1\r\nHost: T\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\nx\r\n0\r\n\r\n"},
	{"a chunk longer than it says", "POST http://T/ HTTP/1.1\r\nHost: T\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nxxGET http://blocked.test/ HTTP/1.1\r\n0\r\n\r\n"},
	{"HTTP/2 that nobody agreed on", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"},
	{"another version", "GET http://T/ HTTP/3.0\r\nHost: T\r\n\r\n"},
	{"no version", "GET http://T/\r\n\r\n"},
	{"a line break in the address", "GET http://T/\r\nX: a HTTP/1.1\r\nHost: T\r\n\r\n"},
}

// wire is an origin that keeps every byte it is sent.
type wire struct {
	net.Listener
	mu   sync.Mutex
	sent strings.Builder
}

func newWire(t *testing.T, secure *tls.Config) *wire {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	w := &wire{Listener: l}
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			if secure != nil {
				conn = tls.Server(conn, secure)
			}
			go w.serve(conn)
		}
	}()
	return w
}

func (w *wire) serve(conn net.Conn) {
	defer conn.Close()
	br := bufio.NewReader(io.TeeReader(conn, w))
	for {
		r, err := http.ReadRequest(br)
		if err != nil {
			return
		}
		if _, err := io.Copy(io.Discard, r.Body); err != nil {
			return
		}
		io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
	}
}

// Write keeps what was read.
func (w *wire) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.sent.Write(p)
}

func (w *wire) all() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.sent.String()
}

func (w *wire) port() string {
	_, port, _ := net.SplitHostPort(w.Addr().String())
	return port
}

// TestSmuggling: T7. What could be read in two ways is refused, recorded, and ends
// the connection; not one request comes out of it, and nothing of it is carried on.
func TestSmuggling(t *testing.T) {
	for _, c := range smuggled {
		t.Run(c.name, func(t *testing.T) {
			o := newWire(t, nil)
			b := newBox(t, func(c *Config) { c.Limits.HeaderTime = 300 * time.Millisecond })
			request := strings.ReplaceAll(c.request, "http://T", "http://open.test:"+o.port())
			reply := b.raw(strings.ReplaceAll(request, "Host: T", "Host: open.test"))
			b.stop()
			if strings.Contains(reply, "200 OK") || strings.Count(reply, "HTTP/1.1 ") > 1 {
				t.Errorf("reply %q", reply)
			}
			if strings.Contains(o.all(), "blocked.test") || strings.HasSuffix(o.all(), "0\r\n\r\n") {
				t.Errorf("the origin was sent %q", o.all())
			}
			for _, e := range b.journal.all() {
				if e.Host == "blocked.test" {
					t.Errorf("a request came out of it: %+v", e)
				}
			}
			if e := b.journal.last(t); strings.HasPrefix(reply, "HTTP/1.1 400") && (e.Finding != findingMalformed || e.Verdict != policy.Block) && o.all() == "" {
				t.Errorf("event %+v", e)
			}
		})
	}
}

// TestSmugglingInside: the same inside TLS.
func TestSmugglingInside(t *testing.T) {
	for _, c := range smuggled {
		t.Run(c.name, func(t *testing.T) {
			reached := ""
			g := newGlass(t, func(w http.ResponseWriter, r *http.Request) {
				body, err := io.ReadAll(r.Body)
				if err == nil {
					reached = r.Host + " " + string(body)
				}
			}, func(c *Config) { c.Limits.HeaderTime = 300 * time.Millisecond })
			conn, _ := g.connect("open.test:" + g.port)
			inner := tls.Client(conn, &tls.Config{RootCAs: g.school, ServerName: "open.test", NextProtos: []string{"http/1.1"}})
			request := strings.ReplaceAll(c.request, "http://T", "")
			fmt.Fprint(inner, strings.ReplaceAll(request, "Host: T", "Host: open.test:"+g.port))
			reply, _ := io.ReadAll(inner) // however it ends
			g.stop()
			if strings.Contains(string(reply), "200 OK") || reached != "" {
				t.Errorf("reply %q; the origin got %q", reply, reached)
			}
		})
	}
}

// TestUnsmuggled: what only looks odd goes through, as one request.
func TestUnsmuggled(t *testing.T) {
	for _, c := range []struct{ name, request, want string }{
		{"chunk extensions are left out", "POST http://T/ HTTP/1.1\r\nHost: T\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n2;a=b\r\nxy\r\n0;c\r\n\r\n", "\r\n\r\n2\r\nxy\r\n0\r\n\r\n"},
		{"another Host than the address has no effect", "GET http://T/ HTTP/1.1\r\nHost: blocked.test\r\nConnection: close\r\n\r\n", "Host: open.test:"},
		{"h2c is not offered on", "GET http://T/ HTTP/1.1\r\nHost: T\r\nConnection: Upgrade, HTTP2-Settings, close\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n", "GET / HTTP/1.1"},
		{"HTTP/1.0 without Host", "GET http://T/ HTTP/1.0\r\n\r\n", "Host: open.test:"},
		{"a long way of writing chunked", "POST http://T/ HTTP/1.1\r\nHost: T\r\ntransfer-ENCODING:   ChunKed  \r\nConnection: close\r\n\r\n0\r\n\r\n", "Transfer-Encoding: chunked"},
	} {
		t.Run(c.name, func(t *testing.T) {
			o := newWire(t, nil)
			b := newBox(t, nil)
			request := strings.ReplaceAll(c.request, "http://T", "http://open.test:"+o.port())
			reply := b.raw(strings.ReplaceAll(request, "Host: T", "Host: open.test"))
			if !strings.Contains(reply, "200 OK") || !strings.HasSuffix(reply, "ok") || strings.Count(reply, "HTTP/1.") != 1 {
				t.Errorf("reply %q", reply)
			}
			sent := o.all()
			if !strings.Contains(sent, c.want) || strings.Contains(sent, "blocked.test") || strings.Contains(strings.ToLower(sent), "h2c") || strings.Contains(sent, "HTTP2-Settings") {
				t.Errorf("the origin was sent %q", sent)
			}
		})
	}
}

// TestPipelined: T7, Y18. Requests sent ahead are judged one by one and answered in
// order, bodies between them or not.
func TestPipelined(t *testing.T) {
	o := newWire(t, nil)
	b := newBox(t, nil)
	at := "http://open.test:" + o.port()
	reply := b.raw("GET " + at + "/1 HTTP/1.1\r\nHost: x\r\n\r\n" +
		"POST " + at + "/2 HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc" +
		"GET http://blocked.test/3 HTTP/1.1\r\nHost: x\r\n\r\n" +
		"POST " + at + "/4 HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n" +
		"POST http://blocked.test/5 HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc" +
		"GET " + at + "/6 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
	var statuses []string
	for line := range strings.Lines(reply) {
		if _, rest, ok := strings.Cut(line, "HTTP/1.1 "); ok {
			statuses = append(statuses, rest[:3])
		}
	}
	if got := strings.Join(statuses, " "); got != "200 200 403 200 403 200" {
		t.Errorf("statuses %s\n%s", got, reply)
	}
	for _, path := range []string{"/1", "/2", "/4", "/6"} {
		if strings.Count(o.all(), " "+path+" HTTP/1.1\r\n") != 1 {
			t.Errorf("%s was not sent once: %q", path, o.all())
		}
	}
	if strings.Contains(o.all(), "/3") || strings.Contains(o.all(), "/5") || len(b.journal.all()) != 6 {
		t.Errorf("%d events; the origin was sent %q", len(b.journal.all()), o.all())
	}
}
