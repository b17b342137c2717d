package proxy

import (
	"bufio"
	"io"
	"maps"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"schoolgate/proxy/http1"
	"schoolgate/proxy/pipe"
)

// promptWriter sends what it is given soon. Go and goproxy hold small replies
// back until there are kilobytes of them (G5); here at most flushAfter passes
// between the origin's byte and the client's. A reply that is whole by then
// still leaves in one write.
type promptWriter struct {
	http.ResponseWriter
	own     *http1.Answer // our own server's writer; nil on HTTP/2
	control *http.ResponseController
	idle    time.Duration // a write that takes longer ends the connection

	mu      sync.Mutex
	timer   *time.Timer
	armed   bool // a flush is under way
	done    bool // the handler has returned: the writer is dead
	settled bool // no more 1xx: the header is the reply's now
	wrote   bool
	bounded time.Time // when the write deadline was last moved
	left    int64     // bytes of the reply still to come, on HTTP/2; below 0 it is not known how many

	hijacked bool   // the connection was taken over
	early    []byte // what the client sent behind its request (G7)
}

const flushAfter = 500 * time.Microsecond

// takenOver is how long a connection taken over may take until somebody sets
// deadlines of their own.
const takenOver = 10 * time.Second

func newPromptWriter(w http.ResponseWriter, idle time.Duration) *promptWriter {
	p := &promptWriter{}
	p.use(w, idle)
	return p
}

func (w *promptWriter) use(under http.ResponseWriter, idle time.Duration) {
	w.own, _ = under.(*http1.Answer)
	w.ResponseWriter, w.control, w.idle = under, http.NewResponseController(under), idle
}

// Interim passes an origin's 1xx on, as long as there is a handler to answer.
func (w *promptWriter) Interim(status int, header http.Header) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.done || w.wrote || w.settled || status == http.StatusContinue {
		return // the client's own 100 comes from whoever reads its body
	}
	foreign(header)
	delete(header, "Content-Length")
	h := w.Header()
	maps.Copy(h, header)
	w.bound()
	w.ResponseWriter.WriteHeader(status)
	clear(h)
}

// NoInterim keeps 1xx away from now on: the header belongs to whoever writes the reply.
func (w *promptWriter) NoInterim() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.settled = true
}

// adopt takes a header for the reply's own.
func (w *promptWriter) adopt(header http.Header) {
	if w.own != nil {
		w.own.Adopt(header)
		return
	}
	maps.Copy(w.Header(), header)
}

// WriteHeader sends the headers on, soon.
func (w *promptWriter) WriteHeader(status int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.wrote = true
	w.bound()
	w.ResponseWriter.WriteHeader(status)
	if w.own == nil {
		w.left = w.length()
	} else if strings.HasPrefix(w.Header().Get("Content-Type"), "text/event-stream") {
		w.own.Flush() // the first event may be long in coming
	}
}

// Write sends p on, soon.
func (w *promptWriter) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.wrote = true
	w.bound()
	n, err := w.ResponseWriter.Write(p)
	switch {
	case w.own == nil:
		if w.left -= int64(n); w.left != 0 { // else it is whole, and leaves with the handler's end
			w.arm()
		}
	case err == nil && !w.own.Whole():
		err = w.own.FlushError() // it is not known when more comes
	}
	return n, err
}

// length is how long the reply will be by its header, -1 if that does not say.
func (w *promptWriter) length() int64 {
	n, err := strconv.ParseInt(w.Header().Get("Content-Length"), 10, 64)
	if err != nil {
		return -1
	}
	return n
}

// readier is a body that knows whether a Read would wait.
type readier interface{ ready() (yes, known bool) }

// ReadFrom copies a body through a pooled buffer.
func (w *promptWriter) ReadFrom(src io.Reader) (int64, error) {
	w.beforeBody(src)
	buf := pipe.Buffers.Get().(*[32 << 10]byte)
	defer pipe.Buffers.Put(buf)
	var total int64
	for {
		n, err := src.Read(buf[:])
		if n > 0 {
			wrote, werr := w.Write(buf[:n])
			total += int64(wrote)
			if werr != nil {
				return total, werr
			}
		}
		switch {
		case err == io.EOF:
			return total, nil
		case err != nil:
			return total, err
		case n > 0 && w.own == nil:
			w.soon() // though it may be whole by its length: the end can be long in coming
		}
	}
}

// beforeBody sends the head of a reply on if its body is not there yet, or soon if
// nobody can tell.
func (w *promptWriter) beforeBody(src io.Reader) {
	yes, known := false, false
	if r, ok := src.(readier); ok {
		yes, known = r.ready()
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case yes:
	case known && w.own != nil:
		w.own.Flush()
	default:
		w.arm()
	}
}

// Flush sends everything now.
func (w *promptWriter) Flush() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.bound()
	w.control.Flush() // an error shows on the next write
}

// bound moves the write deadline, at most once a second: a client that stops
// reading is hung up on (T6).
func (w *promptWriter) bound() {
	if w.own != nil {
		_ = w.own.WriteWithin(w.idle) // fails only on a dead connection
		return
	}
	if t := now(); t.Sub(w.bounded) > time.Second {
		w.bounded = t
		w.control.SetWriteDeadline(t.Add(w.idle)) // fails only on a dead connection
	}
}

// soon has what is written sent, though nothing more comes.
func (w *promptWriter) soon() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.arm()
}

func (w *promptWriter) arm() {
	if w.armed || w.done {
		return
	}
	w.armed = true
	if w.timer == nil {
		w.timer = time.AfterFunc(flushAfter, w.flushLate)
		return
	}
	w.timer.Reset(flushAfter)
}

func (w *promptWriter) flushLate() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.armed = false
	if !w.done {
		w.control.Flush() // an error shows on the next write
	}
}

// sent reports whether anything of an answer has been written.
func (w *promptWriter) sent() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.wrote
}

// finish must be called before the handler returns: no flush comes after it.
func (w *promptWriter) finish() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.done = true
	if w.timer != nil {
		w.timer.Stop()
	}
}

// Unwrap lets http.ResponseController reach the connection.
func (w *promptWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// Hijack takes the connection over and keeps the bytes that came with the
// request, which goproxy would throw away (G7). Whoever takes the connection
// sets its deadlines; until then one holds for what goproxy writes.
func (w *promptWriter) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	conn, rw, err := w.control.Hijack()
	if err != nil {
		return nil, nil, err
	}
	w.done = true
	if w.timer != nil {
		w.timer.Stop()
	}
	if n := rw.Reader.Buffered(); n > 0 {
		buffered, _ := rw.Reader.Peek(n) // n bytes are there
		w.early = append([]byte(nil), buffered...)
	}
	w.hijacked = true
	if err := conn.SetDeadline(now().Add(min(w.idle, takenOver))); err != nil {
		conn.Close()
		return nil, nil, err
	}
	return conn, rw, nil
}
