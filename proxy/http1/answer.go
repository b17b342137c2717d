package http1

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/net/http/httpguts"
)

func itoa(n int) string { return strconv.Itoa(n) }

// Answer is the http.ResponseWriter of a request. It is used by one
// goroutine at a time.
type Answer struct {
	conn    *clientConn
	request *http.Request
	header  http.Header
	body    *body // nil without a body

	status     int
	length     int64 // as the header says; -1 if it does not
	written    int64
	chunked    bool
	bodyless   bool
	wantsClose bool // the connection ends with this answer
	trailers   []string

	mu       sync.Mutex // guards what a body and a reply both touch
	expected bool       // the client waits for a 100 before its body
	begun    bool       // the head of the final reply is written
}

// Header is the reply's header.
func (w *Answer) Header() http.Header {
	if w.header == nil {
		w.header = http.Header{}
	}
	return w.header
}

// WriteHeader passes a 1xx on at once, and begins the reply for any other status.
func (w *Answer) WriteHeader(status int) {
	switch {
	case w.status != 0:
	case status >= 100 && status < 200 && status != http.StatusSwitchingProtocols:
		w.interim(status)
	default:
		w.status = status
	}
}

// interim sends a 1xx. HTTP/1.0 knows none, and one in the midst of an upload would
// be taken for the answer to Expect.
func (w *Answer) interim(status int) {
	if !w.request.ProtoAtLeast(1, 1) || status == http.StatusContinue {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	c := w.conn
	c.out = append(c.out, "HTTP/1.1 "+itoa(status)+" "+http.StatusText(status)+"\r\n"...)
	w.fields(nil)
	c.out = append(c.out, "\r\n"...)
	_ = c.flush() // a client that has gone is found at the next write
}

// begin writes the head of the reply, once, and settles how its end is told.
func (w *Answer) begin() {
	if w.status == 0 {
		w.status = http.StatusOK
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.begun {
		return
	}
	w.begun = true
	w.frame()
	c := w.conn
	c.out = append(c.out, "HTTP/1.1 "...)
	c.out = strconv.AppendInt(c.out, int64(w.status), 10)
	c.out = append(c.out, ' ')
	c.out = append(c.out, http.StatusText(w.status)...)
	c.out = append(c.out, "\r\n"...)
	w.fields(w.trailers)
	if w.header["Date"] == nil {
		c.out = c.owner.dates.append(c.out, time.Now())
	}
	switch {
	case w.chunked:
		c.out = append(c.out, "Transfer-Encoding: chunked\r\n"...)
	case w.length >= 0 && len(w.header["Content-Length"]) == 0 && !w.bodyless:
		c.out = append(c.out, "Content-Length: 0\r\n"...)
	}
	switch {
	case w.wantsClose:
		c.out = append(c.out, "Connection: close\r\n"...)
	case !w.request.ProtoAtLeast(1, 1):
		c.out = append(c.out, "Connection: keep-alive\r\n"...)
	}
	c.out = append(c.out, "\r\n"...)
}

// dates writes the line that says when, which is the same for a second.
type dates struct{ last atomic.Pointer[dateLine] }

type dateLine struct {
	second int64
	text   string
}

func (d *dates) append(out []byte, t time.Time) []byte {
	line := d.last.Load()
	if line == nil || line.second != t.Unix() {
		line = &dateLine{t.Unix(), "Date: " + t.UTC().Format(http.TimeFormat) + "\r\n"}
		d.last.Store(line)
	}
	return append(out, line.text...)
}

// frame settles how the client knows where the body ends: by a length, by chunks,
// or by the end of the connection.
func (w *Answer) frame() {
	if w.expected || httpguts.HeaderValuesContainsToken(w.header["Connection"], "close") {
		w.wantsClose = true // who was never told to go on with a body may do so or not
	}
	w.bodyless = w.request.Method == http.MethodHead || w.status == http.StatusNoContent || w.status == http.StatusNotModified
	for _, line := range w.header["Trailer"] {
		for name := range strings.SplitSeq(line, ",") {
			w.trailers = append(w.trailers, http.CanonicalHeaderKey(strings.TrimSpace(name)))
		}
	}
	if w.status == http.StatusNoContent {
		delete(w.header, "Content-Length") // it has none, and who believes it waits (RFC 9110 section 8.6)
	}
	w.length = -1
	if text := w.header["Content-Length"]; len(text) > 0 {
		if n, err := strconv.ParseUint(text[0], 10, 63); err == nil && len(text) == 1 {
			w.length = int64(n)
		} else {
			delete(w.header, "Content-Length")
		}
	}
	switch {
	case w.bodyless || w.length >= 0:
		w.trailers = nil
	case w.request.ProtoAtLeast(1, 1):
		w.chunked = true
	default:
		w.wantsClose = true
	}
}

// fields writes the header, without what is settled by frame and without those in
// not, which come as trailers.
func (w *Answer) fields(not []string) {
	for name, values := range w.header {
		switch name {
		case "Connection", "Transfer-Encoding":
			continue
		}
		if strings.HasPrefix(name, http.TrailerPrefix) || listed(not, name) {
			continue
		}
		w.field(name, values)
	}
}

func listed(list []string, name string) bool {
	for _, n := range list {
		if n == name {
			return true
		}
	}
	return false
}

func (w *Answer) field(name string, values []string) {
	if !httpguts.ValidHeaderFieldName(name) {
		return
	}
	out := w.conn.out
	for _, v := range values {
		out = append(out, name...)
		out = append(out, ": "...)
		if strings.ContainsAny(v, "\r\n\x00") {
			v = strings.Map(func(r rune) rune {
				if r == '\r' || r == '\n' || r == 0 {
					return ' '
				}
				return r
			}, v)
		}
		out = append(out, v...)
		out = append(out, "\r\n"...)
	}
	w.conn.out = out
}

// Write writes a part of the body.
func (w *Answer) Write(p []byte) (int, error) {
	if w.conn.hijacked.Load() {
		return 0, http.ErrHijacked
	}
	w.begin()
	switch {
	case w.request.Method == http.MethodHead:
		return len(p), nil // whoever writes a page need not know
	case w.bodyless:
		return 0, http.ErrBodyNotAllowed
	case w.length >= 0 && w.written+int64(len(p)) > w.length:
		return 0, http.ErrContentLength
	case len(p) == 0:
		return 0, nil
	}
	w.written += int64(len(p))
	behind := ""
	if w.chunked {
		c := w.conn
		c.out = strconv.AppendInt(c.out, int64(len(p)), 16)
		c.out = append(c.out, "\r\n"...)
		behind = "\r\n"
	}
	if err := w.conn.send(p, behind); err != nil {
		return 0, err
	}
	return len(p), nil
}

// Adopt takes a header for the reply's own, as it is: nobody else has it.
func (w *Answer) Adopt(header http.Header) { w.header = header }

// Then has run called when the handler has taken the connection over and returned, on
// the same goroutine; false where nobody serves on it but for this request.
func (w *Answer) Then(run func()) bool {
	if w.conn.goesOn {
		w.conn.then = run
	}
	return w.conn.goesOn
}

// WriteWithin bounds the writes from now on, unless the bound in force is nearly that.
func (w *Answer) WriteWithin(d time.Duration) error { return w.conn.writeWithin(d) }

// Whole reports whether all of the reply has been written.
func (w *Answer) Whole() bool {
	return w.begun && (w.bodyless || w.length >= 0 && w.written == w.length)
}

// FlushError sends what is written.
func (w *Answer) FlushError() error {
	if w.conn.hijacked.Load() {
		return http.ErrHijacked
	}
	w.begin()
	return w.conn.flush()
}

// Flush is FlushError for those who do not look.
func (w *Answer) Flush() { _ = w.FlushError() }

// SetReadDeadline, SetWriteDeadline, EnableFullDuplex and Hijack are what
// http.ResponseController asks for. Both ways at once is what this server does anyway.
func (w *Answer) SetReadDeadline(t time.Time) error { return w.conn.setReadDeadline(t) }

// SetWriteDeadline sets when writing must be done.
func (w *Answer) SetWriteDeadline(t time.Time) error {
	w.conn.writeBy = t
	return w.conn.conn.SetWriteDeadline(t)
}

// EnableFullDuplex has nothing to do.
func (w *Answer) EnableFullDuplex() error { return nil }

// Hijack gives the connection away, with what came behind the request.
func (w *Answer) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	c := w.conn
	if w.begun || c.hijacked.Swap(true) {
		return nil, nil, errors.New("hijack: the reply has begun")
	}
	rest := bytes.Clone(c.in.there())
	if n := c.parser.Buffered(); n > 0 {
		ahead, _ := c.parser.Peek(n) // so many are there
		rest = append(bytes.Clone(ahead), rest...)
	}
	if err := c.conn.SetDeadline(time.Time{}); err != nil {
		return nil, nil, err
	}
	br := bufio.NewReaderSize(io.MultiReader(bytes.NewReader(rest), c.conn), max(16, len(rest)))
	if len(rest) > 0 {
		if _, err := br.Peek(len(rest)); err != nil {
			return nil, nil, err
		}
	}
	return c.conn, bufio.NewReadWriter(br, bufio.NewWriterSize(c.conn, 512)), nil
}

// finish ends the reply; true keeps the connection for another request.
func (w *Answer) finish() bool {
	c := w.conn
	if w.status == 0 {
		w.status = http.StatusOK
	}
	if !w.begun && w.header["Content-Length"] == nil && w.header["Trailer"] == nil {
		w.Header()["Content-Length"] = []string{"0"}
		if w.status == http.StatusNoContent || w.status == http.StatusNotModified || w.request.Method == http.MethodHead {
			delete(w.header, "Content-Length")
		}
	}
	w.begin()
	if w.chunked {
		c.out = append(c.out, "0\r\n"...)
		w.trail()
		c.out = append(c.out, "\r\n"...)
	}
	if !w.bodyless && w.length >= 0 && w.written != w.length {
		_ = c.flush() // what there is of it
		w.stopBody()
		return false // half of a reply is shown to be half (G4)
	}
	if c.flush() != nil {
		w.stopBody()
		return false
	}
	if w.body == nil {
		return !w.wantsClose
	}
	if !w.body.settle() {
		w.stopBody()
		c.linger()
		return false
	}
	return !w.wantsClose
}

func (w *Answer) trail() {
	for name, values := range w.header {
		if rest, ok := strings.CutPrefix(name, http.TrailerPrefix); ok {
			w.field(rest, values)
		} else if listed(w.trailers, name) {
			w.field(name, values)
		}
	}
}

// stopBody has whoever still reads the request's body stop.
func (w *Answer) stopBody() {
	if w.body != nil {
		w.body.stop()
	}
}

// body is the body of a request. A transport may read it beyond the handler's end.
type body struct {
	answer *Answer
	from   io.ReadCloser

	mu          sync.Mutex // held while reading
	ended, over bool
}

// Read reads on; the first time it says 100 to a client that waits for it.
func (b *body) Read(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.over {
		return 0, http.ErrBodyReadAfterClose
	}
	if b.ended {
		return 0, io.EOF
	}
	b.answer.goOn()
	n, err := b.from.Read(p)
	if err == io.EOF {
		b.ended = true
	}
	return n, err
}

// Close does nothing: what is left over is seen to when the handler has ended.
func (b *body) Close() error { return nil }

func (w *Answer) goOn() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.expected {
		return
	}
	w.expected = false
	if !w.begun {
		_, _ = io.WriteString(w.conn.conn, "HTTP/1.1 100 Continue\r\n\r\n") // a client that has gone sends no body either
	}
}

// settle takes the end of a body that nobody read, if it is near, and reports
// whether the next request begins where we are.
func (b *body) settle() bool {
	c := b.answer.conn
	if !b.mu.TryLock() {
		return false // somebody is still waiting for a part of it
	}
	defer b.mu.Unlock()
	if b.over {
		return false
	}
	if !b.ended {
		if b.answer.expected {
			return false // it was never told to go on, and may or may not
		}
		if c.setReadDeadline(time.Now().Add(c.owner.config.Limits.HeaderTime)) != nil {
			return false
		}
		if n, err := io.CopyN(io.Discard, b.from, most); err != io.EOF || n == most {
			return false
		}
	}
	b.over, b.ended = true, true
	ahead, err := c.parser.Peek(c.parser.Buffered())
	if err != nil {
		return false
	}
	c.in.unread(ahead)
	return true
}

// most is how much of an unwanted body is read for the sake of the connection.
const most = 64 << 10

// stop makes a Read that waits return, and keeps later ones away.
func (b *body) stop() {
	_ = b.answer.conn.setReadDeadline(time.Unix(1, 0)) // a dead connection needs none
	b.mu.Lock()
	b.over = true
	b.mu.Unlock()
}
