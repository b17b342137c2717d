package proxy

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// dice makes choices of bytes that a fuzzer controls.
type dice struct {
	left []byte
	odd  bool // something was chosen that no honest program sends
}

func (d *dice) n(most int) int {
	if len(d.left) == 0 {
		return 0
	}
	c := d.left[0]
	d.left = d.left[1:]
	return int(c) % most
}

// pick is one of honest, or once in a while one of the others.
func (d *dice) pick(honest, others []string) string {
	if i := d.n(4*len(honest) + len(others)); i < 4*len(honest) {
		return honest[i%len(honest)]
	} else {
		d.odd = true
		return others[i-4*len(honest)]
	}
}

// requests is a stream of what a client may send: one request behind the other.
func (d *dice) requests(at, mark string) string {
	var b strings.Builder
	for i := range 1 + d.n(4) {
		method := d.pick([]string{"GET", "POST", "HEAD", "PUT"}, []string{"get", "G\tT", "POST ", "OPTIONS"})
		target := d.pick([]string{at, at}, []string{"HTTP" + at[4:], at + "//", "http://x@" + at[7:], "/" + at, at + "/\t"})
		version := d.pick([]string{"HTTP/1.1"}, []string{"HTTP/1.0", "HTTP/1.10", "HTTP/2.0", "http/1.1", "HTTP/1.1 "})
		end := d.pick([]string{"\r\n", "\r\n", "\r\n"}, []string{"\n", "\r\r\n", "\r", "\r\n\r\n"})
		fmt.Fprintf(&b, "%s %s/%s-%d %s%s", method, target, mark, i, version, end)
		b.WriteString(d.pick([]string{"Host: x\r\n", "host: x:80\r\n"}, []string{"", "Host: x\r\nHost: x\r\n", "Host: a b\r\n", " Host: x\r\n", "Host : x\r\n", "Host: x\n"}))
		for range d.n(3) {
			b.WriteString(d.pick(
				[]string{"X-A: b\r\n", "Connection: keep-alive\r\n", "Connection: close\r\n", "Expect: 100-continue\r\n", "Te: trailers\r\n", "X-A: \r\n"},
				[]string{"X-A: b\r\n c\r\n", "X-A: b\rc\r\n", "X-A: b\n", "X A: b\r\n", "X-A\x00: b\r\n", ": b\r\n", "Connection: x-c, close\r\n", "Connection: content-length\r\n", "\r", "Upgrade: h2c\r\nConnection: upgrade\r\n"}))
		}
		hidden := fmt.Sprintf("GET %s/%s-hidden HTTP/1.1\r\nHost: x\r\n\r\n", at, mark)
		body := d.pick([]string{"", "abc", "0\r\n\r\n"}, []string{hidden, "5\r\n" + hidden})
		length := fmt.Sprintf("Content-Length: %d\r\n", len(body))
		chunks := fmt.Sprintf("%x\r\n%s\r\n0\r\n\r\n", len(body), body)
		if body == "" {
			chunks = "0\r\n\r\n"
		}
		b.WriteString(d.pick(
			[]string{length + "\r\n" + body, "Transfer-Encoding: chunked\r\n\r\n" + chunks, length + "\r\n" + body},
			[]string{
				length + "Transfer-Encoding: chunked\r\n\r\n" + chunks, "Transfer-Encoding: chunked\r\n" + length + "\r\n" + body, "\r\n" + body,
				length + length + "\r\n" + body, length + "Content-Length: 1\r\n\r\n" + body, "Content-Length: +3\r\n\r\n" + body, "Content-Length:\r\n\r\n" + body,
				"Content-Length: 3, 3\r\n\r\n" + body, "Transfer-Encoding: xchunked\r\n\r\n" + chunks, "Transfer-Encoding: chunked, chunked\r\n\r\n" + chunks,
				"Transfer-Encoding:\x0bchunked\r\n\r\n" + chunks, "Transfer-Encoding: chunked\r\n\r\n" + strings.ReplaceAll(chunks, "\r\n", "\n"), "Content-Length : 3\r\n\r\n" + body,
				"Transfer-Encoding: chunked\r\n\r\n3;a=\"\r\n\"\r\nabc\r\n0\r\n\r\n", "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX-T: a\r\n\r\n", "Transfer-Encoding: chunked\r\n\r\n3\r\nabcdef\r\n0\r\n\r\n",
				"Transfer-Encoding: chunked\r\n\r\n0\r\nX: a\n\n" + hidden, "Content-Length: 999\r\n\r\n" + body, length + "\n" + body, length + "\r\n" + body + "\r\n",
			}))
	}
	return b.String()
}

// seen are requests as a program understood them.
type seen struct {
	mu   sync.Mutex
	list []string
}

// take notes a request whose body came to its end.
func (s *seen) take(r *http.Request) error {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.list = append(s.list, fmt.Sprintf("%s %s %q %q", r.Method, r.URL.Path, r.Header["X-A"], body))
	return nil
}

func (s *seen) of(mark string) (list []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, l := range s.list {
		if strings.Contains(l, "/"+mark+"-") {
			list = append(list, l)
		}
	}
	s.list = nil
	return list
}

// exchangeRaw sends bytes, ends our half and reads what there is to read.
func exchangeRaw(t *testing.T, addr, request string) string {
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	io.WriteString(conn, request) // may be refused midway
	conn.(*net.TCPConn).CloseWrite()
	reply, _ := io.ReadAll(conn) // however it ends
	return string(reply)
}

// FuzzRequests: T7. Of whatever a client sends, an origin sees no request that Go's own
// server would not have seen there, in that order and with that body; and all of them,
// if the stream is honest.
func FuzzRequests(f *testing.F) {
	f.Add([]byte{})
	for i := range 60 {
		seed := make([]byte, 40)
		for j := range seed {
			seed[j] = byte(i*j*7 + i*3 + j*11)
		}
		f.Add(seed)
	}
	var ours, reference seen
	l, port := listen(f)
	go eachConn(l, func(conn net.Conn) {
		br := bufio.NewReader(conn)
		for {
			r, err := http.ReadRequest(br)
			if err != nil || ours.take(r) != nil {
				return
			}
			io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
		}
	})
	rl, _ := listen(f)
	server := &http.Server{ErrorLog: discard, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if reference.take(r) != nil {
			panic(http.ErrAbortHandler)
		}
	})}
	go server.Serve(rl)
	f.Cleanup(func() { server.Close() })
	b := newBox(f, func(c *Config) { c.Limits.HeaderTime = time.Second })
	n := 0
	f.Fuzz(func(t *testing.T, data []byte) {
		n++
		d := &dice{left: data[:min(len(data), 200)]}
		mark := fmt.Sprint("run", n)
		stream := d.requests("http://open.test:"+port, mark)
		reply := exchangeRaw(t, b.addr, stream)
		exchangeRaw(t, rl.Addr().String(), stream)
		got, want := ours.of(mark), reference.of(mark)
		rest := want
		for _, r := range got {
			i := slices.Index(rest, r)
			if i < 0 {
				t.Fatalf("%q\nthe origin saw %q\nGo's server %q\nreply %q", stream, got, want, reply)
			}
			rest = rest[i+1:]
		}
		if !d.odd && len(got) != len(want) {
			t.Fatalf("honest %q\nthe origin saw %q\nGo's server %q\nreply %q", stream, got, want, reply)
		}
		b.journal.mu.Lock()
		b.journal.events = b.journal.events[:0]
		b.journal.mu.Unlock()
	})
}

// reply is what an origin may answer; whole if all of it is framed as it should be.
func (d *dice) reply() (raw string, whole bool) {
	var b strings.Builder
	for range d.n(3) {
		b.WriteString(d.pick([]string{"", "HTTP/1.1 103 Early\r\nLink: </x>\r\n\r\n", "HTTP/1.1 100 Continue\r\n\r\n"}, []string{"HTTP/1.1 102 X\r\nContent-Length: 3\r\n\r\n", "HTTP/1.1 199 X\r\nTransfer-Encoding: chunked\r\n\r\n"}))
	}
	status := d.pick([]string{"200", "404", "200"}, []string{"204", "304", "500", "999", "099", "20", "2000", "205"})
	fmt.Fprintf(&b, "%s %s %s\r\n", d.pick([]string{"HTTP/1.1", "HTTP/1.1", "HTTP/1.0"}, []string{"HTTP/1.2", "HTTP/2.0", "http/1.1", "ICY"}), status, d.pick([]string{"OK"}, []string{"", "a\rb", "\x00"}))
	for range d.n(3) {
		b.WriteString(d.pick([]string{"X-A: b\r\n", "Connection: keep-alive\r\n", "Connection: close\r\n", "Content-Type: text/plain\r\n"},
			[]string{"X-A: b\r\n c\r\n", "X-A: b\n", "X-A: b\rc\r\n", "X A: b\r\n", "Connection: content-length\r\n", "Trailer: X-T\r\n", "Trailer: Content-Type\r\n", "Content-Length: 1\r\n", "X-A: a\x00b\r\n", ": b\r\n", "Upgrade: h2c\r\n"}))
	}
	body := d.pick([]string{"abc", "", "0\r\n\r\n"}, []string{"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nhidden", strings.Repeat("x", 5000)})
	length := fmt.Sprintf("Content-Length: %d\r\n", len(body))
	chunks := fmt.Sprintf("%x\r\n%s\r\n0\r\n\r\n", len(body), body)
	if body == "" {
		chunks = "0\r\n\r\n"
	}
	b.WriteString(d.pick([]string{length + "\r\n" + body, "Transfer-Encoding: chunked\r\n\r\n" + chunks}, []string{
		"\r\n" + body, length + "Transfer-Encoding: chunked\r\n\r\n" + chunks, length + length + "\r\n" + body, length + "Content-Length: 1\r\n\r\n" + body, "Content-Length: 9999\r\n\r\n" + body,
		"Transfer-Encoding: chunked\r\n\r\n" + strings.TrimSuffix(chunks, "\r\n"), "Transfer-Encoding: chunked\r\n\r\n" + chunks[:1], "Transfer-Encoding: gzip, chunked\r\n\r\n" + chunks, "Content-Length: -1\r\n\r\n" + body,
		"Content-Length: 3, 3\r\n\r\n" + body, length + "\r\n" + body + "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nhidden", "Transfer-Encoding: chunked\r\n\r\n3\r\nabcd\r\n0\r\n\r\n", "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX-T: a\r\n\r\n", "", "\n" + body,
	}))
	return b.String(), !d.odd
}

// FuzzReplies: G4, T21. Whatever an origin answers, a client gets what Go's own client
// would have got, broken where that was broken, and the next reply is its own.
func FuzzReplies(f *testing.F) {
	f.Add([]byte{})
	for i := range 60 {
		seed := make([]byte, 24)
		for j := range seed {
			seed[j] = byte(i*j*5 + i*13 + j*3)
		}
		f.Add(seed)
	}
	var mu sync.Mutex
	raw := ""
	l, port := listen(f)
	go eachConn(l, func(conn net.Conn) {
		br := bufio.NewReader(conn)
		for {
			r, err := http.ReadRequest(br)
			if err != nil {
				return
			}
			if r.URL.Path == "/next" {
				io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nnext")
				continue
			}
			mu.Lock()
			text, keep := strings.CutSuffix(raw, "KEEP")
			mu.Unlock()
			io.WriteString(conn, text)
			if !keep {
				return
			}
		}
	})
	b := newBox(f, func(c *Config) { c.Limits.OriginReply, c.Limits.IdleStream = 2*time.Second, 2*time.Second })
	f.Fuzz(func(t *testing.T, data []byte) {
		d := &dice{left: data[:min(len(data), 100)]}
		method := []string{"GET", "HEAD"}[d.n(2)]
		text, whole := d.reply()
		mu.Lock()
		raw = text
		if whole && !strings.HasPrefix(text, "HTTP/1.0") {
			raw += "KEEP"
		}
		mu.Unlock()
		status, body, ok := asGo(t, method, "http://"+l.Addr().String()+"/raw")
		conn, err := net.Dial("tcp", b.addr)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if err := conn.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
			t.Fatal(err)
		}
		br := bufio.NewReader(conn)
		for _, part := range []string{method + " http://open.test:" + port + "/raw", "GET http://open.test:" + port + "/next"} {
			fmt.Fprintf(conn, "%s HTTP/1.1\r\nHost: x\r\n\r\n", part)
		}
		got, gotBody, gotOK := readFinal(br, method)
		switch {
		case status == 0 && got >= 500 && gotOK, !ok && !gotOK:
		case ok && gotOK && got == status && gotBody == body:
		case status < 200 && got == http.StatusBadGateway:
		default:
			t.Fatalf("%s %q\nto us: %d %.80q %t\nto Go: %d %.80q %t", method, text, got, gotBody, gotOK, status, body, ok)
		}
		if next, nextBody, nextOK := readFinal(br, "GET"); nextOK && (next != 200 || nextBody != "next") || !nextOK && ok {
			t.Fatalf("%s %q\nthe next request got %d %q %t", method, text, next, nextBody, nextOK)
		}
		if reply := exchangeRaw(t, b.addr, "GET http://open.test:"+port+"/next HTTP/1.0\r\n\r\n"); !strings.HasSuffix(reply, "\r\n\r\nnext") {
			t.Fatalf("%s %q\nanother client got %q", method, text, reply)
		}
		b.journal.mu.Lock()
		b.journal.events = b.journal.events[:0]
		b.journal.mu.Unlock()
	})
}

// asGo is what Go's client makes of a reply; a status of 0 if nothing.
func asGo(t *testing.T, method, url string) (status int, body string, ok bool) {
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, method, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{DisableKeepAlives: true, DisableCompression: true}
	resp, err := transport.RoundTrip(r)
	if err != nil {
		return 0, "", false
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	return resp.StatusCode, string(text), err == nil
}

// readFinal reads a reply and the 1xx before it.
func readFinal(br *bufio.Reader, method string) (status int, body string, ok bool) {
	for {
		resp, err := http.ReadResponse(br, &http.Request{Method: method})
		if err != nil {
			return 0, "", false
		}
		if resp.StatusCode < 200 {
			continue
		}
		text, err := io.ReadAll(resp.Body)
		return resp.StatusCode, string(text), err == nil
	}
}
