package origins

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"math"
	"net"
	"net/http"
	"os"
	"time"

	"schoolgate/proxy/socket"
)

// originConn is a connection to an origin, used by one request at a time.
type originConn struct {
	origins *Transport
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
		if err := c.within(c.origins.config.Limits.IdleStream); err != nil {
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
	by := time.Now().Add(d)
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
		c.key.owner = c.origins.config.Client(r.Context())
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
	if err := c.within(c.origins.config.Limits.OriginReply); err != nil {
		return nil, err
	}
	if err := r.Write(c.out); err != nil {
		return nil, err
	}
	if err := c.out.Flush(); err != nil {
		return nil, err
	}
	c.limit.N = maxReplyHead
	for range MaxInterim {
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
		if x := c.origins.config.Interim(r.Context()); x != nil {
			x.Interim(resp.StatusCode, resp.Header)
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
