package proxy

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"schoolgate/policy"
	"schoolgate/proxy/socket"
)

// TestInsideBodies: uploads, downloads, trailers, ranges, streams and broken
// replies pass inside TLS as they would without us (G4, G5).
func TestInsideBodies(t *testing.T) {
	big := bytes.Repeat([]byte("0123456789abcdef"), 256<<10) // 4 MiB
	released := make(chan struct{})
	handler := func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/echo":
			io.Copy(w, r.Body)
		case "/range":
			http.ServeContent(w, r, "x.bin", time.Time{}, bytes.NewReader(big))
		case "/trailer":
			w.Header().Set("Trailer", "X-Sum")
			io.WriteString(w, "body")
			w.Header().Set("X-Sum", "42")
		case "/stream":
			w.Header().Set("Content-Type", "text/event-stream")
			io.WriteString(w, "data: 1\n\n")
			w.(http.Flusher).Flush()
			<-released
		case "/broken":
			w.Header().Set("Content-Length", "100")
			io.WriteString(w, "half")
			w.(http.Flusher).Flush()
			panic(http.ErrAbortHandler)
		case "/slow":
			<-r.Context().Done()
		}
	}
	g := newGlass(t, handler, nil)
	for _, h2 := range []bool{false, true} {
		t.Run(fmt.Sprintf("h2=%v", h2), func(t *testing.T) {
			c := g.device(g.school, h2)
			resp, err := c.Post(g.url("open.test", "/echo"), "application/octet-stream", bytes.NewReader(big))
			if got := bodyOf(t, resp, err); got != string(big) {
				t.Errorf("echo: %d bytes of %d", len(got), len(big))
			}
			r, _ := http.NewRequest("GET", g.url("open.test", "/range"), nil)
			r.Header.Set("Range", "bytes=16-31")
			resp, err = c.Do(r)
			if got := bodyOf(t, resp, err); got != "0123456789abcdef" || resp.StatusCode != 206 {
				t.Errorf("range: %q", got)
			}
			resp, err = c.Get(g.url("open.test", "/trailer"))
			if got := bodyOf(t, resp, err); got != "body" || resp.Trailer.Get("X-Sum") != "42" || resp.ContentLength >= 0 {
				t.Errorf("trailer: %q %v, length %d: clients that have a length look for no trailer", got, resp.Trailer, resp.ContentLength)
			}
			resp, err = c.Head(g.url("open.test", "/range"))
			if got := bodyOf(t, resp, err); got != "" || resp.ContentLength != int64(len(big)) {
				t.Errorf("HEAD: %q, length %d", got, resp.ContentLength)
			}
			resp, err = c.Get(g.url("open.test", "/stream"))
			if err != nil {
				t.Fatal(err)
			}
			first := make([]byte, 9)
			if _, err := io.ReadFull(resp.Body, first); err != nil || string(first) != "data: 1\n\n" {
				t.Errorf("stream: %q %v", first, err)
			}
			resp.Body.Close()
			resp, err = c.Get(g.url("open.test", "/broken"))
			if err == nil {
				_, err = io.ReadAll(resp.Body)
				resp.Body.Close()
			}
			if err == nil {
				t.Error("half a reply looks whole")
			}
		})
	}
	close(released)
}

// TestNeighbours: two hundred requests at once, each with its own mark: none gets
// another's, over connections to the origin that they share (T21).
func TestNeighbours(t *testing.T) {
	g := newGlass(t, func(w http.ResponseWriter, r *http.Request) {
		http.SetCookie(w, &http.Cookie{Name: "mark", Value: r.Header.Get("X-Mark")})
		io.Copy(w, r.Body)
	}, nil)
	clients := []*http.Client{g.device(g.school, true), g.device(g.school, false), g.device(g.school, true)}
	done := make(chan error, 200)
	for i := range cap(done) {
		go func() {
			mark := fmt.Sprintf("mark-%d", i)
			r, err := http.NewRequest("POST", g.url("open.test", "/"), strings.NewReader(strings.Repeat(mark, 500)))
			if err != nil {
				done <- err
				return
			}
			r.Header.Set("X-Mark", mark)
			resp, err := clients[i%len(clients)].Do(r)
			if err != nil {
				done <- err
				return
			}
			defer resp.Body.Close()
			body, err := io.ReadAll(resp.Body)
			if string(body) != strings.Repeat(mark, 500) || !strings.Contains(resp.Header.Get("Set-Cookie"), mark) {
				err = fmt.Errorf("%s got %q and %d bytes", mark, resp.Header.Get("Set-Cookie"), len(body))
			}
			done <- err
		}()
	}
	for range cap(done) {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

// TestSafeHostInside: a host held to its safety mode is asked of the safe host by
// its own name, and never on a connection to the other (4.1).
func TestSafeHostInside(t *testing.T) {
	g := newGlass(t, hello, func(c *Config) {
		c.Resolver.(names)["open.test"] = []string{"127.0.0.9"} // nobody listens there
	})
	held := insideRuling
	held.Safe = hosts("safe.test")[0]
	g.box.school.set("open.test", held)
	resp, err := g.device(g.school, true).Get(g.url("open.test", "/"))
	if got := bodyOf(t, resp, err); got != "hello from the origin" {
		t.Errorf("got %q", got)
	}
	g.box.school.set("open.test", insideRuling)
	resp, err = g.device(g.school, true).Get(g.url("open.test", "/"))
	if got := bodyOf(t, resp, err); !strings.HasPrefix(got, "page 502") {
		t.Errorf("one who is not held to it got the safe host's connection: %q", got)
	}
}

// TestNoAuthority: where none can sign, nothing is looked into; what should have
// been seen is carried or refused as chosen, pages on mandatory lists refuse
// their host (F19).
func TestNoAuthority(t *testing.T) {
	for _, refuse := range []bool{false, true} {
		g := newGlass(t, hello, func(c *Config) { c.Inspection.Leaves, c.Inspection.RefuseUnseen = nil, refuse })
		resp, err := g.device(g.server.inspector.Verifier.Roots, true).Get(g.url("open.test", "/"))
		if got := bodyOf(t, resp, err); (got == "hello from the origin") == refuse {
			t.Errorf("refuse %v: %q", refuse, got)
		}
		g.box.school.set("open.test", policy.Ruling{Decision: policy.Decision{
			Verdict: policy.Block, Reason: policy.ReasonMandatory, Category: policy.ChildAbuse, Inspect: true}})
		if _, resp := g.connect("open.test:" + g.port); resp.StatusCode != 403 {
			t.Errorf("a host with listed pages: %s", resp.Status)
		}
	}
}

// TestSlowHandshake: a client that never finishes TLS is hung up on (G8).
func TestSlowHandshake(t *testing.T) {
	g := newGlass(t, hello, func(c *Config) { c.Limits.Hello = time.Second })
	// The oldest one that is spoken here has a word of its own.
	old, err := g.tls("open.test", "open.test", "http/1.0")
	if err != nil {
		t.Fatal(err)
	}
	defer old.Close()
	fmt.Fprintf(old, "GET / HTTP/1.0\r\nHost: open.test:%s\r\n\r\n", g.port)
	if reply, err := io.ReadAll(old); err != nil || !bytes.HasPrefix(reply, []byte("HTTP/1.1 200 ")) {
		t.Errorf("HTTP/1.0: %q, %v", reply, err)
	}
	conn, _ := g.connect("open.test:" + g.port)
	conn.Write(clientHelloFor(t, "open.test"))
	if _, err := io.Copy(io.Discard, conn); err != nil {
		t.Errorf("it was not closed: %v", err)
	}
	waitFor(t, func() bool { return len(g.server.tunnels.list()) == 0 })
}

// TestOddProtocols: a client that speaks no HTTP inside is refused by TLS itself.
func TestOddProtocols(t *testing.T) {
	g := newGlass(t, hello, nil)
	if _, err := g.tls("open.test", "open.test", "imap"); err == nil {
		t.Error("a handshake for imap succeeded")
	}
	conn, _ := g.connect("open.test:" + g.port)
	if err := tls.Client(conn, &tls.Config{RootCAs: g.school, ServerName: "open.test", MaxVersion: tls.VersionTLS11}).Handshake(); err == nil {
		t.Error("a handshake with TLS 1.1 succeeded")
	}
	if got := g.server.Untrusting(); len(got) != 0 {
		t.Errorf("such clients are taken for ones that do not trust us: %v", got)
	}
}

// TestUpstreamProtocol: an origin that speaks only TLS 1.1 is no origin.
func TestUpstreamProtocol(t *testing.T) {
	g := newGlass(t, hello, nil)
	l, err := tls.Listen("tcp", "127.0.0.7:"+g.port, &tls.Config{Certificates: g.origin.TLS.Certificates, MaxVersion: tls.VersionTLS11, MinVersion: tls.VersionTLS10})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go http.Serve(l, http.HandlerFunc(hello))
	g.names.(names)["other.test"] = []string{"127.0.0.7"}
	resp, err := g.device(g.school, true).Get(g.url("other.test", "/"))
	if got := bodyOf(t, resp, err); !strings.HasPrefix(got, "page 502") {
		t.Errorf("got %q", got)
	}
	if e := g.journal.last(t); e.Finding != "certificate" {
		t.Errorf("event %+v", e)
	}
}

// TestUnreadableInside: what is no request, or could be read as two, is refused and
// recorded inside TLS as it is in clear (T7).
func TestUnreadableInside(t *testing.T) {
	g := newGlass(t, hello, nil)
	for _, text := range []string{
		"GET / HTTP/1.1\r\nHost: open.test\r\nHost: other.test\r\n\r\n",
		"POST / HTTP/1.1\r\nHost: open.test\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		"HELO open.test\r\n\r\n",
	} {
		before := len(g.events())
		conn, err := g.tls("open.test", "open.test", "http/1.1")
		if err != nil {
			t.Fatal(err)
		}
		io.WriteString(conn, text)
		reply, _ := io.ReadAll(conn) // however it ends
		conn.Close()
		if !strings.HasPrefix(string(reply), "HTTP/1.1 400 ") {
			t.Errorf("%q: answered by %q", text, reply)
		}
		if all := g.events()[before:]; len(all) != 2 || all[1] != "inspect open.test block malformed" {
			t.Errorf("%q: events = %q", text, all)
		}
	}
}

// TestStreamsGoTheShortWay: a request without a body is asked of an origin on HTTP/1.1
// in place, of HTTP/2 as well, where net/http gives every request a body; and on the
// connection that the last one was asked on.
func TestStreamsGoTheShortWay(t *testing.T) {
	g := newGlass(t, hello, nil)
	l, err := tls.Listen("tcp", "127.0.0.7:"+g.port, &tls.Config{Certificates: g.origin.TLS.Certificates}) // knows no HTTP/2
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go http.Serve(l, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, r.Proto+" "+r.RemoteAddr) }))
	g.names.(names)["other.test"] = []string{"127.0.0.7"}
	c := g.device(g.school, true)
	resp, err := c.Get(g.url("other.test", "/")) // by net/http's transport: what it speaks is learnt from that
	bodyOf(t, resp, err)
	var first string
	for range 3 {
		resp, err := c.Get(g.url("other.test", "/"))
		from := bodyOf(t, resp, err)
		if resp.ProtoMajor != 2 || !strings.HasPrefix(from, "HTTP/1.1 ") || first != "" && first != from {
			t.Errorf("HTTP/%d, asked as %s, before as %q", resp.ProtoMajor, from, first)
		}
		first = from
	}
	if n := g.box.server.origins.Idle(); n != 1 {
		t.Errorf("%d connections kept, want 1", n)
	}
}

// TestNothingToWhoHasGone: a client that went after a whole answer gets no parting word in
// TLS; one that was waited for too long does.
func TestNothingToWhoHasGone(t *testing.T) {
	for _, goes := range []bool{true, false} {
		t.Run(fmt.Sprintf("goes=%v", goes), func(t *testing.T) {
			t.Parallel()
			g := newGlass(t, func(http.ResponseWriter, *http.Request) {}, func(c *Config) {
				if !goes {
					c.Limits.IdleClient = 50 * time.Millisecond
				}
			})
			c, err := g.tls("open.test", "open.test", "http/1.1")
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			fmt.Fprintf(c, "GET / HTTP/1.1\r\nHost: open.test:%s\r\n\r\n", g.port)
			resp, err := http.ReadResponse(bufio.NewReader(c), nil)
			bodyOf(t, resp, err)
			under := c.NetConn()
			if goes {
				if err := socket.CloseWrite(under); err != nil {
					t.Fatal(err)
				}
			}
			rest, err := io.ReadAll(under)
			if err != nil || len(rest) > 0 == goes {
				t.Errorf("%d bytes behind the answer, %v", len(rest), err)
			}
		})
	}
}

// flushing is a writer that says when it is flushed.
type flushing struct {
	http.ResponseWriter
	once    sync.Once
	flushed chan struct{}
}

func (f *flushing) Flush() { f.once.Do(func() { close(f.flushed) }) }

// readsOf is a body that gives one part for each read; before the last it waits.
type readsOf struct {
	parts []string
	wait  <-chan struct{}
}

func (r *readsOf) Read(p []byte) (int, error) {
	if len(r.parts) == 0 {
		<-r.wait
		return 0, io.EOF
	}
	n := copy(p, r.parts[0])
	if r.parts = r.parts[1:]; len(r.parts) == 0 && r.wait == nil {
		return n, io.EOF
	}
	return n, nil
}

func (r *readsOf) ready() (yes, known bool) { return true, true }

// TestOneWriteNeedsNoTimer: a reply of HTTP/2 that is there at once leaves with its
// handler; one that is whole by its length, but whose end is long in coming, leaves too.
func TestOneWriteNeedsNoTimer(t *testing.T) {
	prompt := func(body *readsOf) *promptWriter {
		f := &flushing{ResponseWriter: httptest.NewRecorder(), flushed: make(chan struct{})}
		if body.wait == nil {
			f.once.Do(func() {})
		} else {
			body.wait = f.flushed
		}
		w := newPromptWriter(f, time.Minute)
		w.Header().Set("Content-Length", "5")
		w.WriteHeader(200)
		if n, err := io.Copy(w, body); n != 5 || err != nil {
			t.Errorf("%d bytes, %v", n, err)
		}
		w.finish()
		return w
	}
	if w := prompt(&readsOf{parts: []string{"hello"}}); w.timer != nil {
		t.Error("a timer for a reply that was there at once")
	}
	prompt(&readsOf{parts: []string{"hello"}, wait: make(chan struct{})}) // does not end where nothing is flushed
	if w := prompt(&readsOf{parts: []string{"he", "llo"}}); w.timer == nil {
		t.Error("no timer for a reply that came in two parts")
	}
}
