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
	patient := &idleConn{Conn: origin, idle: o.config.Limits.OriginReply}
	head := &io.LimitedReader{R: patient, N: o.http.MaxResponseHeaderBytes}
	br := bufio.NewReader(head)
	for range MaxInterim {
		resp, err := http.ReadResponse(br, r)
		if err != nil {
			return nil, nil, err
		}
		if resp.StatusCode >= 200 {
			patient.idle, head.N = o.config.Limits.IdleStream, math.MaxInt64
			return resp, nil, nil
		}
		if resp.StatusCode == http.StatusSwitchingProtocols {
			ahead, err := br.Peek(br.Buffered())
			return resp, ahead, err
		}
	}
	return nil, nil, errInterim
}

// MaxInterim is how many 1xx replies an origin may send before the real one.
const MaxInterim = 6
