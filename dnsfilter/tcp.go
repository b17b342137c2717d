package dnsfilter

import (
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/netip"
	"sync"
	"time"
)

const (
	idleTimeout  = 10 * time.Second // between questions (RFC 7766 6.2.3)
	readTimeout  = 5 * time.Second  // for the rest of one that has begun
	writeTimeout = 5 * time.Second
	maxPipelined = 64 // questions of one connection that wait; then its reading waits
)

// conns are the open connections, TCP and TLS alike, bounded in all and for one client. A new
// one that finds no room takes the place of the one idle longest, of that client
// if it is the client that has too many.
type conns struct {
	max, perAddr int
	served       sync.WaitGroup

	mu      sync.Mutex
	stopped bool
	open    map[*conn]struct{}
	byAddr  map[netip.Addr]int
}

// conn is one connection. mu orders its answers.
type conn struct {
	net.Conn
	from netip.Addr
	http bool // net/http reads it, and stops by itself
	mu   sync.Mutex

	last    time.Time // of the last question; the lock of conns guards it
	waiting int       // questions under way; the lock of conns guards it
}

func (c *conns) init(max, perAddr int) {
	c.max, c.perAddr = max, perAddr
	c.open, c.byAddr = make(map[*conn]struct{}), make(map[netip.Addr]int)
}

// cut closes what lies beneath TLS: a farewell could wait for the client. The
// reader ends.
func (c *conn) cut() {
	under := c.Conn
	if t, ok := under.(*tls.Conn); ok {
		under = t.NetConn()
	}
	_ = under.Close() // it may be closed already
}

// add takes a connection in; false if all others are at work.
func (c *conns) add(nc *conn) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.stopped,
		c.byAddr[nc.from] >= c.perAddr && !c.closeIdlest(nc.from),
		len(c.open) >= c.max && !c.closeIdlest(netip.Addr{}):
		return false
	}
	c.open[nc] = struct{}{}
	c.byAddr[nc.from]++
	return true
}

// closeIdlest needs the lock. The zero address is any client.
func (c *conns) closeIdlest(of netip.Addr) bool {
	var idlest *conn
	for nc := range c.open {
		if of.IsValid() && nc.from != of {
			continue
		}
		if nc.waiting == 0 && (idlest == nil || nc.last.Before(idlest.last)) {
			idlest = nc
		}
	}
	if idlest == nil {
		return false
	}
	c.forget(idlest)
	idlest.cut()
	return true
}

func (c *conns) remove(nc *conn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.forget(nc)
}

func (c *conns) forget(nc *conn) {
	if _, ok := c.open[nc]; !ok {
		return
	}
	delete(c.open, nc)
	if c.byAddr[nc.from]--; c.byAddr[nc.from] == 0 {
		delete(c.byAddr, nc.from)
	}
}

// note notes that a question began (1) or ended (-1).
func (c *conns) note(nc *conn, by int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	nc.last = time.Now()
	nc.waiting += by
}

// stop ends the reading of all connections.
func (c *conns) stop() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stopped = true
	for nc := range c.open {
		if !nc.http {
			_ = nc.SetReadDeadline(time.Unix(1, 0))
		}
	}
}

func (c *conns) count() float64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return float64(len(c.open))
}

func (c *conns) wait() { c.served.Wait() }

// accept takes connections until the listener is closed. Where the box has no
// descriptors left it waits a little longer each time (fault F14).
func (s *Server) accept(ctx context.Context, l net.Listener) {
	pause := time.Duration(0)
	for {
		nc, err := l.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			pause = min(max(2*pause, 5*time.Millisecond), time.Second)
			s.cfg.Log.Warn("connection not accepted", "err", err, "pause", pause)
			time.Sleep(pause)
			continue
		}
		pause = 0
		s.take(ctx, nc)
	}
}

// take serves a connection if its client is served and there is room.
func (s *Server) take(ctx context.Context, nc net.Conn) {
	if c, ok := s.admit(nc, false); ok {
		s.conns.served.Go(func() { s.serveConn(ctx, c) })
	}
}

// admit takes a connection into the table, or closes it.
func (s *Server) admit(nc net.Conn, http bool) (*conn, bool) {
	from, err := netip.ParseAddrPort(nc.RemoteAddr().String())
	c := &conn{Conn: nc, http: http, from: from.Addr().Unmap().WithZone(""), last: time.Now()}
	s.metrics.tcpOpen.Inc()
	if err != nil || !s.clients.serve(c.from) || !s.conns.add(c) {
		s.metrics.tcpRefused.Inc()
		_ = nc.Close()
		return nil, false
	}
	return c, true
}

// serveConn reads questions one after the other; answers leave as they are ready,
// in any order (RFC 7766 6.2.1.1). An answer under way when the client stops
// asking is still sent.
func (s *Server) serveConn(ctx context.Context, c *conn) {
	var under sync.WaitGroup
	slots := make(chan struct{}, maxPipelined)
	defer func() {
		under.Wait()
		s.conns.remove(c)
		_ = c.Close()
	}()
	for {
		n, err := c.length(&s.conns)
		if err != nil {
			return
		}
		j := s.getJob() // not sooner: thousands of connections may be idle
		if err := c.read(&s.conns, j, n); err != nil {
			s.putJob(j)
			return
		}
		slots <- struct{}{} // full: the client reads answers before it asks on
		s.conns.note(c, 1)
		under.Add(1)
		j.stream, j.from, j.start = true, c.from, time.Now()
		j.send = func(j *job) {
			c.write(j.buf)
			s.putJob(j)
			s.conns.note(c, -1)
			<-slots
			under.Done()
		}
		s.read(j)
		switch s.begin(j) {
		case drop: // what is no question does not come over a connection by chance
			j.buf = j.buf[:0]
			j.send(j)
			return
		case reply:
			j.send(j)
		case record:
			s.record(j)
			j.send(j)
		case await:
			s.await(ctx, j, nil)
		}
	}
}

// length waits for a question and gives its length.
func (c *conn) length(all *conns) (int, error) {
	if !c.deadline(all, idleTimeout) {
		return 0, net.ErrClosed
	}
	var length [2]byte
	if _, err := io.ReadFull(c, length[:]); err != nil {
		return 0, err
	}
	n := int(binary.BigEndian.Uint16(length[:]))
	if n < headerLen || n > maxPacket { // a question is never that long
		return 0, io.ErrUnexpectedEOF
	}
	return n, nil
}

// read reads the question itself.
func (c *conn) read(all *conns, j *job, n int) error {
	if !c.deadline(all, readTimeout) {
		return net.ErrClosed
	}
	j.pkt = j.pkt[:n]
	_, err := io.ReadFull(c, j.pkt)
	return err
}

// deadline sets one unless all reading has ended.
func (c *conn) deadline(all *conns, d time.Duration) bool {
	all.mu.Lock()
	defer all.mu.Unlock()
	return !all.stopped && c.SetReadDeadline(time.Now().Add(d)) == nil
}

// write sends one answer; after an error the connection is closed, and its
// reader sees that.
func (c *conn) write(answer []byte) {
	if len(answer) == 0 {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	framed := make([]byte, 2, 2+len(answer))
	binary.BigEndian.PutUint16(framed, uint16(len(answer)))
	err := c.SetWriteDeadline(time.Now().Add(writeTimeout))
	if err == nil {
		_, err = c.Write(append(framed, answer...))
	}
	if err != nil {
		c.cut()
	}
}
