package origins

import (
	"bufio"
	"io"
	"math"
	"net"
	"net/http"
	"time"
)

// Upgrade sends an upgrade request and reads the reply. What the origin sent behind
// a 101 is returned, read ahead.
func (o *Transport) Upgrade(origin net.Conn, r *http.Request) (*http.Response, []byte, error) {
	if err := origin.SetDeadline(time.Now().Add(o.config.Limits.OriginReply)); err != nil {
		return nil, nil, err
	}
	if err := r.Write(origin); err != nil {
		return nil, nil, err
	}
	reply := &frankReader{from: origin}
	head := &io.LimitedReader{R: reply, N: o.http.MaxResponseHeaderBytes} // all of it has one deadline (F11)
	br := bufio.NewReader(head)
	for range MaxInterim {
		resp, err := http.ReadResponse(br, r)
		switch {
		case err != nil && reply.failed != nil:
			return nil, nil, reply.failed
		case err != nil:
			return nil, nil, err
		}
		if resp.StatusCode >= 200 {
			reply.from, head.N = &idleConn{Conn: origin, idle: o.config.Limits.IdleStream}, math.MaxInt64
			return resp, nil, nil
		}
		if resp.StatusCode == http.StatusSwitchingProtocols {
			ahead, err := br.Peek(br.Buffered())
			return resp, ahead, err
		}
	}
	return nil, nil, errInterim
}

// frankReader remembers why reading ended: a parser may show half a line instead.
type frankReader struct {
	from   io.Reader
	failed error
}

// Read reads on.
func (r *frankReader) Read(p []byte) (int, error) {
	n, err := r.from.Read(p)
	if err != nil && err != io.EOF {
		r.failed = err
	}
	return n, err
}

// MaxInterim is how many 1xx replies an origin may send before the real one.
const MaxInterim = 6
