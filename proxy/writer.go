package proxy

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"sync"
	"time"
)

// promptWriter sends what it is given soon. Go and goproxy hold small replies
// back until there are kilobytes of them (G5); here at most flushAfter passes
// between the origin's byte and the client's. A reply that is whole by then
// still leaves in one write.
type promptWriter struct {
	http.ResponseWriter
	control *http.ResponseController
	idle    time.Duration // a write that takes longer ends the connection

	mu      sync.Mutex
	timer   *time.Timer
	armed   bool // a flush is under way
	done    bool // the handler has returned: the writer is dead
	wrote   bool
	bounded time.Time // when the write deadline was last moved

	hijacked bool   // the connection was taken over
	early    []byte // what the client sent behind its request (G7)
}

const flushAfter = 500 * time.Microsecond

// takenOver is how long a connection taken over may take until somebody sets
// deadlines of their own.
const takenOver = 10 * time.Second

func newPromptWriter(w http.ResponseWriter, idle time.Duration) *promptWriter {
	return &promptWriter{ResponseWriter: w, control: http.NewResponseController(w), idle: idle}
}

// WriteHeader sends the headers on, soon. An origin's 1xx is not passed on.
func (w *promptWriter) WriteHeader(status int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.wrote = true
	w.bound()
	w.ResponseWriter.WriteHeader(status)
	w.arm()
}

// Write sends p on, soon.
func (w *promptWriter) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.wrote = true
	w.bound()
	n, err := w.ResponseWriter.Write(p)
	w.arm()
	return n, err
}

// ReadFrom copies a body through a pooled buffer.
func (w *promptWriter) ReadFrom(src io.Reader) (int64, error) {
	buf := relayBuffers.Get().(*[32 << 10]byte)
	defer relayBuffers.Put(buf)
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
		if err == io.EOF {
			return total, nil
		}
		if err != nil {
			return total, err
		}
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
	if t := now(); t.Sub(w.bounded) > time.Second {
		w.bounded = t
		w.control.SetWriteDeadline(t.Add(w.idle)) // fails only on a dead connection
	}
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
