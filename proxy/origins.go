package proxy

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"math"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"schoolgate/proxy/socket"
)

// origins asks origins. A request without a body goes to one that speaks HTTP/1.1 on
// the goroutine that serves the client: net/http's transport hands every request
// from goroutine to goroutine four times, which costs more than all else we do for
// it. Bodies, and origins on HTTP/2, go by the transport.
type origins struct {
	server    *Server
	transport *http.Transport

	mu     sync.Mutex
	idle   map[originKey][]*originConn // the last used at the end
	count  int
	old    map[originKey]time.Time // origins that were offered HTTP/2 and did not take it
	closed bool
}

// originKey says which connections may serve a request: those to the same place,
// and in TLS those that were believed for the same name.
type originKey struct {
	secure bool
	host   string
	owner  *peer // of a connection that knows who asks (NTLM, Negotiate), nil for the others
}

const (
	maxIdleOrigins = 1024
	maxIdlePerHost = 64
	idleOrigin     = 90 * time.Second
	maxOldOrigins  = 4096
	oldFor         = time.Hour
	maxReplyHead   = 256 << 10
)

func newOrigins(s *Server) *origins {
	return &origins{server: s, transport: s.transport, idle: map[originKey][]*originConn{}, old: map[originKey]time.Time{}}
}

// RoundTrip asks the origin of a request that was judged.
func (o *origins) RoundTrip(r *http.Request) (*http.Response, error) {
	key := originKey{secure: r.URL.Scheme == "https", host: r.URL.Host}
	if r.Body != nil && r.Body != http.NoBody || key.secure && !o.isOld(key) {
		return o.byTransport(r, key)
	}
	for {
		asked := now()
		c := o.idleFor(r, key)
		kept := c != nil
		again := kept && repeatable(r)
		if !kept {
			var err error
			if c, err = o.dial(r.Context(), key); err != nil {
				return nil, err
			}
		}
		resp, err := c.ask(r)
		if err == nil {
			return resp, nil
		}
		c.conn.Close()
		var ne net.Error
		late := errors.As(err, &ne) && ne.Timeout()
		if kept && late && !c.heard {
			o.drop(c.key, asked) // the line may have died, and they all wait in vain
		}
		if !again || c.heard || r.Context().Err() != nil || late {
			return nil, err
		}
		// It had been closed out there since it was last used; nothing was answered.
	}
}

// repeatable reports whether a request may be sent once more when nobody knows what
// became of it (RFC 9110 section 9.2.2).
func repeatable(r *http.Request) bool {
	switch r.Method {
	case http.MethodGet, http.MethodHead, http.MethodOptions:
		return true
	}
	return false
}

// idleFor is an idle connection for a request, nil for none: one that knows the
// client already, before one that knows nobody. What must not be asked twice has no
// other than the first kind, for any may be closed already.
func (o *origins) idleFor(r *http.Request, key originKey) *originConn {
	own := key
	if own.owner = peerOf(r.Context()); own.owner != nil {
		if c := o.take(own); c != nil {
			return c
		}
	}
	if !repeatable(r) || knowsClient(r.Header["Authorization"]) {
		return nil
	}
	return o.take(key)
}

// knowsClient reports whether a header speaks of signing a connection in and not a
// request: whoever used it next would be taken for that person (T21).
func knowsClient(lines []string) bool {
	for _, line := range lines {
		scheme, _, _ := strings.Cut(strings.TrimSpace(line), " ")
		if strings.EqualFold(scheme, "NTLM") || strings.EqualFold(scheme, "Negotiate") {
			return true
		}
	}
	return false
}

func (o *origins) byTransport(r *http.Request, key originKey) (*http.Response, error) {
	if x := exchangeOf(r); x != nil {
		defer x.writer.noInterim() // the transport may go on reading when it has given up
		left := maxInterim
		trace := &httptrace.ClientTrace{Got1xxResponse: func(code int, header textproto.MIMEHeader) error {
			if left--; left < 0 {
				return errInterim // the transport has no bound where somebody listens
			}
			x.writer.interim(code, http.Header(header))
			return nil
		}}
		r = r.WithContext(httptrace.WithClientTrace(r.Context(), trace))
	}
	if knowsClient(r.Header["Authorization"]) {
		r = r.WithContext(r.Context())
		r.Close = true // nobody comes after it
	}
	resp, err := o.transport.RoundTrip(r)
	if err == nil && key.secure && resp.ProtoMajor == 1 {
		o.note(key)
	}
	return resp, err
}

func (o *origins) isOld(key originKey) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	since, ok := o.old[key]
	return ok && now().Sub(since) < oldFor
}

func (o *origins) note(key originKey) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for k := range o.old { // any of them: it is learnt anew
		if len(o.old) < maxOldOrigins {
			break
		}
		delete(o.old, k)
	}
	o.old[key] = now()
}

// take is a connection that is idle and whole, nil if there is none.
func (o *origins) take(key originKey) *originConn {
	for {
		o.mu.Lock()
		list := o.idle[key]
		if len(list) == 0 {
			o.mu.Unlock()
			return nil
		}
		c := list[len(list)-1]
		list[len(list)-1] = nil
		if o.idle[key] = list[:len(list)-1]; len(list) == 1 {
			delete(o.idle, key)
		}
		o.count--
		o.mu.Unlock()
		// What came unasked answers nothing: it would be taken for the next reply.
		if c.quiet() {
			return c
		}
		c.conn.Close()
	}
}

// quiet reports whether an idle connection is open and nothing came on it, neither to
// the socket nor to where TLS keeps what it has read.
func (c *originConn) quiet() bool {
	if !socket.Quiet(c.conn) {
		return false
	}
	if _, ok := c.conn.(*tls.Conn); !ok {
		return true
	}
	c.by = time.Unix(1, 0) // nothing is waited for
	if c.conn.SetDeadline(c.by) != nil {
		return false
	}
	n, err := c.conn.Read(make([]byte, 1))
	return n == 0 && errors.Is(err, os.ErrDeadlineExceeded)
}

func (o *origins) put(c *originConn) {
	c.used = now()
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.closed || o.count >= maxIdleOrigins || len(o.idle[c.key]) >= maxIdlePerHost {
		c.conn.Close()
		return
	}
	o.idle[c.key] = append(o.idle[c.key], c)
	o.count++
}

// sweep closes what has been idle for long.
func (o *origins) sweep(before time.Time) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for key := range o.idle {
		o.sweepOne(key, before)
	}
}

// drop closes what is idle to one place since before a moment.
func (o *origins) drop(key originKey, before time.Time) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.sweepOne(key, before)
}

// sweepOne needs the lock.
func (o *origins) sweepOne(key originKey, before time.Time) {
	kept := slices.DeleteFunc(o.idle[key], func(c *originConn) bool {
		old := c.used.Before(before)
		if old {
			c.conn.Close()
			o.count--
		}
		return old
	})
	if o.idle[key] = kept; len(kept) == 0 {
		delete(o.idle, key)
	}
}

// close closes what is idle, and whatever is given back from now on.
func (o *origins) close() {
	o.mu.Lock()
	o.closed = true
	o.mu.Unlock()
	o.sweep(now().Add(time.Hour))
	o.transport.CloseIdleConnections()
}

func (o *origins) dial(ctx context.Context, key originKey) (*originConn, error) {
	r, ok := routeOf(ctx)
	if !ok {
		return nil, errNoRoute
	}
	conn, err := o.server.dial(ctx, r)
	if err != nil {
		o.server.metrics.dialFailed(err)
		return nil, err
	}
	if key.secure {
		if conn, err = o.server.secure(ctx, conn, "http/1.1"); err != nil {
			return nil, err
		}
	}
	c := &originConn{origins: o, key: key, conn: conn}
	c.limit = io.LimitedReader{R: (*originReader)(c)}
	c.in, c.out = bufio.NewReader(&c.limit), bufio.NewWriter(conn)
	return c, nil
}

// originConn is a connection to an origin, used by one request at a time.
type originConn struct {
	origins *origins
	key     originKey
	conn    net.Conn
	in      *bufio.Reader
	out     *bufio.Writer
	limit   io.LimitedReader // bounds the head of a reply
	by      time.Time        // the deadline in force
	heard   bool             // the origin began to answer
	headed  bool             // the head of its reply is whole
	failed  error            // why reading ended: a parser may show half a line instead
	used    time.Time
}

// originReader notes that something came, and keeps the deadline ahead.
type originReader originConn

// Read reads from the origin.
func (r *originReader) Read(p []byte) (int, error) {
	c := (*originConn)(r)
	if c.headed { // before, all of the head has one deadline (F11)
		if err := c.within(c.origins.server.limits.IdleStream); err != nil {
			return 0, err
		}
	}
	n, err := c.conn.Read(p)
	if n > 0 {
		c.heard = true
	}
	if err != nil && err != io.EOF {
		c.failed = err
	}
	return n, err
}

func (c *originConn) within(d time.Duration) error {
	by := now().Add(d)
	if socket.Near(c.by, by, d) {
		return nil
	}
	c.by = by
	return c.conn.SetDeadline(by)
}

// ask sends a request and reads the head of the reply. The body, if there is one,
// keeps the connection until its end.
func (c *originConn) ask(r *http.Request) (*http.Response, error) {
	stop := context.AfterFunc(r.Context(), func() { c.conn.Close() })
	c.heard, c.headed = false, false
	resp, err := c.exchange(r)
	if err != nil {
		stop()
		return nil, err
	}
	if knowsClient(r.Header["Authorization"]) || knowsClient(resp.Header["Www-Authenticate"]) {
		c.key.owner = peerOf(r.Context())
	}
	b := &originBody{conn: c, from: resp.Body, stop: stop, keep: !resp.Close && !r.Close && resp.StatusCode != http.StatusSwitchingProtocols}
	if resp.Body == http.NoBody || resp.ContentLength == 0 || r.Method == http.MethodHead {
		b.end(true)
		resp.Body = http.NoBody
		return resp, nil
	}
	resp.Body = b
	return resp, nil
}

func (c *originConn) exchange(r *http.Request) (*http.Response, error) {
	if err := c.within(c.origins.server.limits.OriginReply); err != nil {
		return nil, err
	}
	if err := r.Write(c.out); err != nil {
		return nil, err
	}
	if err := c.out.Flush(); err != nil {
		return nil, err
	}
	c.limit.N = maxReplyHead
	for range maxInterim {
		resp, err := http.ReadResponse(c.in, r)
		switch {
		case err != nil && c.failed != nil:
			return nil, c.failed
		case err != nil:
			return nil, err
		case resp.StatusCode < 100:
			return nil, errStatus
		case resp.StatusCode == http.StatusSwitchingProtocols, resp.StatusCode >= 200:
			c.limit.N, c.headed = math.MaxInt64, true
			return resp, nil
		}
		if x := exchangeOf(r); x != nil {
			x.writer.interim(resp.StatusCode, resp.Header)
		}
	}
	return nil, errInterim
}

var (
	errInterim = errors.New("too many interim replies")
	errStatus  = errors.New("a status that is none")
)

// originBody is the body of a reply. At its end the connection serves others; left
// before, it is closed.
type originBody struct {
	conn *originConn
	from io.Reader
	stop func() bool
	keep bool
	over bool
	err  error // how it ended
}

// Read reads on.
func (b *originBody) Read(p []byte) (int, error) {
	if b.over {
		return 0, b.err
	}
	n, err := b.from.Read(p)
	if err != nil {
		b.err = err
		b.end(err == io.EOF)
	}
	return n, err
}

// Ready reports whether there is something to read without waiting.
func (b *originBody) Ready() bool { return b.over || b.conn.in.Buffered() > 0 }

// Close leaves the rest.
func (b *originBody) Close() error {
	if !b.over {
		b.err = http.ErrBodyReadAfterClose
		b.end(false)
	}
	return nil
}

func (b *originBody) end(whole bool) {
	b.over = true
	c := b.conn
	if b.stop() && whole && b.keep && c.in.Buffered() == 0 {
		c.origins.put(c)
		return
	}
	c.conn.Close()
}
