package http1

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"schoolgate/proxy/socket"
)

// Server serves HTTP/1.0 and HTTP/1.1 in place of net/http's server, which parses a
// head before anyone can look at it and pays for every request with a goroutine
// that watches the client (docs/decisions/0010). Requests are parsed by Go's
// parser all the same, and handlers see what they would of net/http.
type Server struct {
	config Config
	dates  dates

	mu      sync.Mutex
	open    map[*clientConn]struct{}
	doors   map[net.Listener]struct{}
	closing bool
	running sync.WaitGroup
	waiting sync.WaitGroup // for running, beyond a Shutdown that had no more time
}

// Config is what a Server needs of whoever has it. All of it must be set.
type Config struct {
	// Accept gives a listener's connections to begin until the listener is closed.
	Accept func(l net.Listener, begin func(net.Conn)) error
	// Run has f done at once, on a goroutine that its owner waits for.
	Run func(f func())
	// Ahead is what was read from a connection before it came here. It is asked once.
	Ahead func(net.Conn) []byte
	// Context is what the requests of a connection begin with.
	Context func(context.Context, net.Conn) context.Context
	// Begin gives the Answer of a request, which nobody has used, and the context that
	// the handler is to see. The Answer may be a part of what the handler needs besides:
	// it is one piece of memory then.
	Begin   func(context.Context) (*Answer, context.Context)
	Handler http.Handler
	// Unreadable hears of a connection that ends over bytes that never became a request,
	// before it is told so.
	Unreadable func(net.Conn)
	// Panicked hears of a handler or a parser that panicked: its connection ends, and no
	// other (F26).
	Panicked func()

	Limits Limits
}

// Limits bounds size and time.
type Limits struct {
	HeaderBytes int           // request line and headers
	HeaderTime  time.Duration // to read them
	IdleClient  time.Duration // a kept connection without a request
	IdleStream  time.Duration // to begin an answer; see [Answer.WriteWithin]
}

// New makes a Server that serves nothing yet.
func New(c Config) *Server {
	return &Server{config: c, open: map[*clientConn]struct{}{}, doors: map[net.Listener]struct{}{}}
}

// Serve takes connections until the listener is closed.
func (h *Server) Serve(l net.Listener) error {
	h.mu.Lock()
	h.doors[l] = struct{}{}
	closing := h.closing
	h.mu.Unlock()
	if closing {
		l.Close()
	}
	return h.config.Accept(l, func(conn net.Conn) {
		if c := h.admit(conn); c != nil {
			c.goesOn = true
			h.config.Run(func() { h.serve(c) })
		}
	})
}

// serve serves a connection and then what it became, a tunnel say, for which nothing of
// the server is kept.
func (h *Server) serve(c *clientConn) {
	if then := c.serve(); then != nil {
		c = nil
		then()
	}
}

// ServeConn serves one connection, until it is over; true if a handler took it over.
func (h *Server) ServeConn(ctx context.Context, conn net.Conn) (taken bool) {
	c := h.admit(conn)
	if c == nil {
		return false
	}
	c.base = ctx
	c.serve()
	return c.hijacked.Load()
}

func (h *Server) admit(conn net.Conn) *clientConn {
	c := &clientConn{owner: h, conn: conn, from: conn.RemoteAddr().String(), tcp: socket.TCP(conn), base: context.Background()}
	c.in.conn = conn
	if ahead := h.config.Ahead(conn); len(ahead) > 0 {
		c.in.buf, c.in.w = ahead, len(ahead)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closing {
		conn.Close()
		return nil
	}
	h.open[c] = struct{}{}
	h.running.Add(1)
	return c
}

func (h *Server) left(c *clientConn) {
	h.mu.Lock()
	delete(h.open, c)
	h.mu.Unlock()
	h.running.Done()
}

// Shutdown lets no more in, ends the connections that wait for a request and gives
// the others until ctx is done to finish theirs.
func (h *Server) Shutdown(ctx context.Context) error {
	h.stop(func(c *clientConn) bool { return c.state.CompareAndSwap(waiting, over) })
	ended := make(chan struct{})
	h.waiting.Go(func() { h.running.Wait(); close(ended) })
	select {
	case <-ended:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Close ends every connection and waits for their handlers.
func (h *Server) Close() error {
	h.stop(func(c *clientConn) bool { return !c.hijacked.Load() })
	h.running.Wait()
	h.waiting.Wait()
	return nil
}

func (h *Server) stop(which func(*clientConn) bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.closing = true
	for l := range h.doors {
		l.Close()
	}
	for c := range h.open {
		if which(c) {
			c.abort()
		}
	}
}

// Look finds requests whose client has gone while they wait for their origin: it is
// called now and then, in place of a goroutine for each.
func (h *Server) Look(before time.Time) {
	h.mu.Lock()
	var old []*clientConn
	for c := range h.open {
		if c.state.Load() == busy && !c.hijacked.Load() && c.since.Load() < before.UnixNano() {
			old = append(old, c)
		}
	}
	h.mu.Unlock()
	for _, c := range old {
		if socket.HungUp(c.conn) {
			c.abort()
		}
	}
}

// States of a connection: between requests it may be ended at any time.
const (
	waiting int32 = iota
	busy
	over
)

// clientConn is a client's connection.
type clientConn struct {
	owner *Server
	conn  net.Conn
	from  string       // the client's address, as http.Request has it
	tcp   *net.TCPConn // the socket where nothing lies between, else nil
	base  context.Context
	end   context.CancelFunc

	in     intake
	parser *bufio.Reader // Go's parser reads the head and the body from it
	out    []byte        // written and not sent; from outBuffers, while there is a request
	broken error         // of an earlier write: nothing may come behind half of one
	served bool          // at least one request
	left   bool          // the client went, between two requests
	parts  [3][]byte     // what is being sent

	readBy, writeBy time.Time // deadlines in force
	state           atomic.Int32
	since           atomic.Int64 // when the request began
	hijacked        atomic.Bool
	goesOn          bool   // whoever serves it does then as well...
	then            func() // ...when it was taken over
}

var (
	parsers    = sync.Pool{New: func() any { return bufio.NewReaderSize(nil, 4<<10) }}
	outBuffers = sync.Pool{New: func() any { b := make([]byte, 0, 16<<10); return &b }}
)

// maxOutBuffer is how large a buffer is kept for others: a huge header makes it grow.
const maxOutBuffer = 64 << 10

// abort ends the connection, and what is done for it.
func (c *clientConn) abort() {
	if end := c.end; end != nil {
		end()
	}
	c.conn.Close() // it may be closed already
}

var errGone = errors.New("connection over")

// serve answers its requests, and returns what is to be done when it was taken over.
func (c *clientConn) serve() (then func()) {
	defer c.owner.left(c)
	defer func() { // of the parsers: a handler's is dealt with where it is called (F26)
		if recover() != nil {
			c.owner.config.Panicked()
			c.conn.Close()
			then = c.then // it was promised, and finds the connection closed
		}
	}()
	ctx, end := context.WithCancel(c.owner.config.Context(c.base, c.conn))
	ctx = context.WithValue(ctx, http.LocalAddrContextKey, c.conn.LocalAddr())
	c.setEnd(end)
	defer end()
	c.parser = parsers.Get().(*bufio.Reader)
	defer func() {
		c.parser.Reset(nil)
		parsers.Put(c.parser)
	}()
	for {
		r, err := c.next(ctx)
		if err != nil {
			c.refuse(err)
			break
		}
		again := c.answer(ctx, r)
		if c.hijacked.Load() {
			return c.then
		}
		if !again || !c.rest() {
			break
		}
	}
	c.close()
	return nil
}

// close closes the connection. To a client that has gone nothing is said, not in TLS
// either: all it was answered was whole.
func (c *clientConn) close() {
	if t, ok := c.conn.(*tls.Conn); ok && c.left {
		t.NetConn().Close()
		return
	}
	c.conn.Close()
}

func (c *clientConn) setEnd(end context.CancelFunc) {
	c.owner.mu.Lock()
	defer c.owner.mu.Unlock()
	c.end = end
}

// rest makes the connection wait for its next request.
func (c *clientConn) rest() bool {
	c.owner.mu.Lock()
	closing := c.owner.closing
	c.owner.mu.Unlock()
	return !closing && c.state.CompareAndSwap(busy, waiting)
}

// next reads the head of the next request.
func (c *clientConn) next(ctx context.Context) (*http.Request, error) {
	limits := &c.owner.config.Limits
	if len(c.in.there()) == 0 {
		patience := limits.IdleClient
		if !c.served {
			patience = limits.HeaderTime
		}
		if err := c.readWithin(patience); err != nil {
			return nil, errGone
		}
		if err := c.in.fill(); err != nil {
			c.left = !errors.Is(err, os.ErrDeadlineExceeded)
			return nil, errGone // nothing was begun, so nothing is said
		}
	}
	c.served = true
	if !c.state.CompareAndSwap(waiting, busy) {
		return nil, errGone
	}
	t := time.Now()
	c.since.Store(t.UnixNano())
	bounded := false
	h, err := c.in.readHead(limits.HeaderBytes+firstHead, func() error {
		if bounded {
			return nil
		}
		bounded = true
		c.readBy = t.Add(limits.HeaderTime)
		return c.conn.SetReadDeadline(c.readBy)
	})
	if err != nil {
		return nil, err
	}
	c.parser.Reset(&c.in)
	r, err := http.ReadRequest(c.parser)
	if err != nil {
		return nil, err
	}
	if r.ProtoMajor != 1 {
		return nil, errVersion
	}
	r.RemoteAddr = c.from
	if h.lengths+h.codings == 0 {
		r.Body, r.ContentLength = http.NoBody, 0
	}
	return r, nil
}

var errVersion = errors.New("a version of HTTP that is not spoken here")

// readWithin moves the read deadline, unless it is nearly there already: a deadline
// for each request costs more than most of what is done for it.
func (c *clientConn) readWithin(d time.Duration) error {
	by := time.Now().Add(d)
	if socket.Near(c.readBy, by, d) {
		return nil
	}
	c.readBy = by
	return c.conn.SetReadDeadline(by)
}

// refuse answers bytes that are no request, and has them recorded.
func (c *clientConn) refuse(err error) {
	if errors.Is(err, errGone) {
		return
	}
	status := http.StatusBadRequest
	switch {
	case errors.Is(err, errHeadTooLarge):
		status = http.StatusRequestHeaderFieldsTooLarge
	case errors.Is(err, errVersion):
		status = http.StatusHTTPVersionNotSupported
	}
	c.owner.config.Unreadable(c.conn)
	var lost *net.OpError // not any net.Error: a bad URL is one too
	if errors.Is(err, io.EOF) || errors.As(err, &lost) {
		return // it went, or came too slowly: there is nobody to tell
	}
	text := http.StatusText(status)
	reply := "HTTP/1.1 " + itoa(status) + " " + text + "\r\nContent-Type: text/plain; charset=utf-8\r\nConnection: close\r\n\r\n" + itoa(status) + " " + text
	if c.conn.SetWriteDeadline(time.Now().Add(time.Second)) != nil {
		return
	}
	if _, err := io.WriteString(c.conn, reply); err == nil {
		c.linger()
	}
}

// linger lets the client read our last words: closing over bytes that were not read
// would reset the connection and take them away.
func (c *clientConn) linger() {
	const patience, most = 500 * time.Millisecond, 256 << 10
	if socket.CloseWrite(c.conn) != nil || c.conn.SetReadDeadline(time.Now().Add(patience)) != nil {
		return
	}
	_, _ = io.CopyN(io.Discard, c.conn, most) // whatever it says, the connection is closed
}

// answer has the handler answer a request; false ends the connection.
func (c *clientConn) answer(ctx context.Context, r *http.Request) (again bool) {
	w, ctx := c.owner.config.Begin(ctx)
	r = r.WithContext(ctx)
	w.conn, w.request, w.wantsClose = c, r, r.Close
	if r.Body != http.NoBody {
		w.body = &body{answer: w, from: r.Body}
		w.expected = strings.EqualFold(r.Header.Get("Expect"), "100-continue") && r.ProtoAtLeast(1, 1)
		r.Body = w.body
	}
	_ = c.writeWithin(c.owner.config.Limits.IdleStream) // fails only on a dead connection
	buf := outBuffers.Get().(*[]byte)
	c.out = (*buf)[:0]
	defer func() {
		if cap(c.out) <= maxOutBuffer {
			*buf = c.out[:0]
			outBuffers.Put(buf)
		}
		c.out = nil
	}()
	defer func() {
		if v := recover(); v != nil {
			if v != http.ErrAbortHandler {
				c.owner.config.Panicked()
			}
			w.stopBody()
			again = false
		}
	}()
	c.owner.config.Handler.ServeHTTP(w, r)
	if c.hijacked.Load() {
		return false
	}
	return w.finish()
}

func (c *clientConn) setReadDeadline(t time.Time) error {
	c.readBy = t
	return c.conn.SetReadDeadline(t)
}

func (c *clientConn) writeWithin(d time.Duration) error {
	by := time.Now().Add(d)
	if socket.Near(c.writeBy, by, d) {
		return nil
	}
	c.writeBy = by
	return c.conn.SetWriteDeadline(by)
}

// send adds p to what is written, and sends all of it if it is much.
func (c *clientConn) send(p []byte, behind string) error {
	if c.broken != nil {
		return c.broken
	}
	if len(c.out)+len(p)+len(behind) <= cap(c.out) {
		c.out = append(append(c.out, p...), behind...)
		return nil
	}
	if c.tcp != nil { // one system call for all of it
		c.parts = [3][]byte{c.out, p, []byte(behind)}
		bufs := net.Buffers(c.parts[:])
		_, err := bufs.WriteTo(c.tcp)
		c.parts = [3][]byte{}
		c.out, c.broken = c.out[:0], err
		return err
	}
	n := min(len(p), cap(c.out)-len(c.out))
	c.out = append(c.out, p[:n]...)
	if err := c.flush(); err != nil {
		return err
	}
	if _, c.broken = c.conn.Write(p[n:]); c.broken != nil {
		return c.broken
	}
	c.out = append(c.out, behind...)
	return nil
}

func (c *clientConn) flush() error {
	if len(c.out) == 0 || c.broken != nil {
		return c.broken
	}
	_, c.broken = c.conn.Write(c.out)
	c.out = c.out[:0]
	return c.broken
}
