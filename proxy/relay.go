package proxy

import (
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"schoolgate/proxy/pipe"
	"schoolgate/proxy/socket"
)

// relay copies both ways until both sides have ended, one side breaks, or
// nothing moved for the idle time. A side that ends is told to the other by a
// half-close, so an origin may answer after the client has said its last.
// Between plain sockets the flows go on with it.
func (tn *tunnel) relay() {
	if !tn.replay() {
		return
	}
	tn.prelude = nil
	if tn.server.tunnels.hand(tn) {
		return
	}
	var both sync.WaitGroup
	both.Go(func() { tn.pump(tn.origin, tn.client, tn.server.metrics.up) })
	tn.pump(tn.client, tn.origin, tn.server.metrics.down)
	both.Wait()
}

// replay sends on what was read before the tunnel stood.
func (tn *tunnel) replay() bool {
	m := tn.server.metrics
	return tn.send(tn.origin, tn.early, m.up) && tn.send(tn.client, tn.ahead, m.down)
}

func (tn *tunnel) send(to net.Conn, p []byte, direction prometheus.Counter) bool {
	if len(p) == 0 {
		return true
	}
	if to.SetWriteDeadline(now().Add(tn.server.limits.IdleStream)) != nil {
		return false
	}
	n, err := to.Write(p)
	tn.count(direction, int64(n))
	return err == nil
}

// pump copies one way.
func (tn *tunnel) pump(dst, src net.Conn, direction prometheus.Counter) {
	if !tn.copy(dst, src, direction) || socket.CloseWrite(dst) != nil {
		tn.close()
	}
}

// copy reports whether src came to its end. Between bytes it holds neither a
// buffer nor a pipe, so an idle tunnel costs two small stacks.
func (tn *tunnel) copy(dst, src net.Conn, direction prometheus.Counter) bool {
	p := pipe.New(dst, src)
	idle := tn.server.limits.IdleStream
	seen := tn.moved.Load()
	var by time.Time // the deadline in force
	for {
		if limit := now().Add(idle); !socket.Near(by, limit, idle) {
			by = limit
			if src.SetReadDeadline(limit) != nil || dst.SetWriteDeadline(limit.Add(idle)) != nil {
				return false
			}
		}
		n, err := p.Some()
		if n > 0 {
			tn.count(direction, n)
		}
		switch {
		case err == nil:
		case err == io.EOF:
			return true
		case errors.Is(err, os.ErrDeadlineExceeded):
			// Nothing came from here; if the other way was busy, it is alive.
			total := tn.moved.Load()
			if total == seen {
				return false
			}
			seen, by = total, time.Time{}
		default:
			return false
		}
	}
}
