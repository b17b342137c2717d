package upstream

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync"
	"time"
)

const (
	maxStreams  = 16                     // connections to one server; more questions share them
	maxOnStream = 256                    // questions that wait on one of them; more are refused
	streamIdle  = 20 * time.Second       // an idle one is closed after that
	streamWrite = 2 * time.Second        // for a server to take a question
	silentFor   = 200 * time.Millisecond // a connection may be, before who gives up on it closes it
)

var (
	errStreamLost = errors.New("upstream closed the connection")
	errStreamFull = errors.New("too many questions wait for the upstream")
)

// streams asks one server over TLS (RFC 7858), on connections that are used again
// and shared: a question whose answer takes long holds up no other (RFC 7766 section
// 6.2.1.1). The server's certificate is checked against the name it was configured
// with; there is no way round that.
type streams struct {
	addr    netip.AddrPort
	config  *tls.Config
	readers sync.WaitGroup

	mu      sync.Mutex
	closed  bool
	open    []*stream
	dialing int
	dialed  chan struct{} // closed, and made anew, whenever a dial has ended
}

// stream is one connection with the questions that wait on it.
type stream struct {
	of      *streams
	conn    net.Conn
	writing sync.Mutex

	// The lock of streams guards the rest.
	gone    bool // no longer among the open ones
	waiting map[uint16]chan<- []byte
	heard   time.Time // of the last reply
}

// parseTLS reads tls://addr:port#name; the port may be left out, for 853.
func parseTLS(s string, roots *x509.CertPool) (*streams, error) {
	where, name, ok := strings.Cut(strings.TrimPrefix(s, "tls://"), "#")
	addr, err := netip.ParseAddrPort(where)
	if err != nil {
		var ip netip.Addr
		ip, err = netip.ParseAddr(where)
		addr = netip.AddrPortFrom(ip, 853)
	}
	if err != nil || !ok || name == "" || addr.Port() == 0 {
		return nil, fmt.Errorf("upstream %q: want an address and the name in its certificate, such as tls://192.0.2.53:853#dns.example", s)
	}
	return &streams{addr: addr, dialed: make(chan struct{}), config: &tls.Config{
		ServerName: name, RootCAs: roots, MinVersion: tls.VersionTLS12, NextProtos: []string{"dot"},
		ClientSessionCache: tls.NewLRUClientSessionCache(maxStreams),
	}}, nil
}

// exchange asks on a connection that stands, or on a new one; a server may have
// closed the one that stood, so that one failing says nothing yet.
func (s *streams) exchange(ctx context.Context, q Question, plain, edns bool) ([]byte, error) {
	c, fresh, err := s.take(ctx)
	if err != nil {
		return nil, err
	}
	reply, err := c.ask(ctx, q, plain, edns)
	for errors.Is(err, errStreamLost) && !fresh && ctx.Err() == nil {
		if c, fresh, err = s.take(ctx); err != nil {
			return nil, err
		}
		reply, err = c.ask(ctx, q, plain, edns)
	}
	return reply, err
}

// take gives a connection on which nothing waits, a new one, or where there may be no
// more the one on which least waits.
func (s *streams) take(ctx context.Context) (c *stream, fresh bool, err error) {
	for {
		s.mu.Lock()
		least := s.least()
		switch {
		case s.closed:
			s.mu.Unlock()
			return nil, false, ErrClosed
		case least != nil && (len(least.waiting) == 0 || len(s.open)+s.dialing >= maxStreams && len(least.waiting) < maxOnStream):
			s.mu.Unlock()
			return least, false, nil
		case len(s.open)+s.dialing < maxStreams:
			s.dialing++
			s.mu.Unlock()
			c, err = s.dial(ctx)
			return c, true, err
		case s.dialing == 0:
			s.mu.Unlock()
			return nil, false, errStreamFull
		}
		dialed := s.dialed
		s.mu.Unlock()
		select {
		case <-dialed:
		case <-ctx.Done():
			return nil, false, context.Cause(ctx)
		}
	}
}

// least needs the lock. Of several on which as much waits it is the one used last, so
// that those not needed any more grow idle.
func (s *streams) least() (least *stream) {
	for _, c := range s.open {
		if least == nil || len(c.waiting) < len(least.waiting) || len(c.waiting) == len(least.waiting) && c.heard.After(least.heard) {
			least = c
		}
	}
	return least
}

// dial opens a connection, for which there has to be room.
func (s *streams) dial(ctx context.Context) (*stream, error) {
	d := tls.Dialer{Config: s.config}
	conn, err := d.DialContext(ctx, "tcp", s.addr.String())
	s.mu.Lock()
	defer s.mu.Unlock()
	s.dialing--
	close(s.dialed)
	s.dialed = make(chan struct{})
	switch {
	case err != nil:
		return nil, err
	case s.closed:
		_ = conn.Close()
		return nil, ErrClosed
	}
	c := &stream{of: s, conn: conn, waiting: make(map[uint16]chan<- []byte), heard: time.Now()}
	s.open = append(s.open, c)
	s.readers.Go(c.read)
	return c, nil
}

// ask asks and waits for the reply.
func (c *stream) ask(ctx context.Context, q Question, plain, edns bool) ([]byte, error) {
	replies := make(chan []byte, 1)
	id, ok := c.enter(replies)
	if !ok {
		return nil, errStreamLost
	}
	asked := time.Now()
	query := appendQuery(make([]byte, 2, 302), id, q, plain, edns)
	binary.BigEndian.PutUint16(query, uint16(len(query)-2))
	if err := c.write(query); err != nil {
		c.close()
		return nil, errStreamLost
	}
	select {
	case reply, ok := <-replies:
		if !ok {
			return nil, errStreamLost
		}
		return reply, matches(query[2:], reply)
	case <-ctx.Done():
		c.leave(id, asked)
		return nil, context.Cause(ctx)
	}
}

// enter gives the question an ID that no other on the connection has; false if the
// connection is gone.
func (c *stream) enter(replies chan<- []byte) (id uint16, ok bool) {
	c.of.mu.Lock()
	defer c.of.mu.Unlock()
	if c.gone {
		return 0, false
	}
	for id = randomID(); c.waiting[id] != nil; {
		id = randomID()
	}
	if len(c.waiting) == 0 {
		_ = c.conn.SetReadDeadline(time.Time{}) // of a closed one: its reader has seen that
	}
	c.waiting[id] = replies
	return id, true
}

// leave gives up waiting. If the server has said nothing at all since the question was
// asked, the connection may be dead: it is closed, and the others on it are asked again.
func (c *stream) leave(id uint16, asked time.Time) {
	c.of.mu.Lock()
	c.take(id)
	silent := time.Since(asked) >= silentFor && c.heard.Before(asked)
	c.of.mu.Unlock()
	if silent {
		c.close()
	}
}

// take needs the lock. It gives who waits under an ID, who does so no more.
func (c *stream) take(id uint16) chan<- []byte {
	replies := c.waiting[id]
	delete(c.waiting, id)
	if replies != nil && len(c.waiting) == 0 {
		_ = c.conn.SetReadDeadline(time.Now().Add(streamIdle)) // as in enter
	}
	return replies
}

func (c *stream) write(query []byte) error {
	c.writing.Lock()
	defer c.writing.Unlock()
	if err := c.conn.SetWriteDeadline(time.Now().Add(streamWrite)); err != nil {
		return err
	}
	_, err := c.conn.Write(query)
	return err
}

// read hands replies to who waits for them until the connection ends. One that nobody
// waits for came too late.
func (c *stream) read() {
	defer c.close()
	for {
		reply, err := readMessage(c.conn)
		if err != nil {
			return
		}
		c.of.mu.Lock()
		replies := c.take(binary.BigEndian.Uint16(reply))
		c.heard = time.Now()
		c.of.mu.Unlock()
		if replies != nil {
			replies <- reply
		}
	}
}

// close ends the connection; who waits on it hears that.
func (c *stream) close() {
	c.of.mu.Lock()
	defer c.of.mu.Unlock()
	c.end()
}

// end needs the lock.
func (c *stream) end() {
	if c.gone {
		return
	}
	c.gone = true
	under := c.conn.(*tls.Conn).NetConn() // a farewell of TLS could wait for the server
	_ = under.Close()                     // the error that matters is the one we have
	for i, other := range c.of.open {
		if other == c {
			c.of.open = append(c.of.open[:i], c.of.open[i+1:]...)
			break
		}
	}
	for id, replies := range c.waiting {
		delete(c.waiting, id)
		close(replies)
	}
}

func (s *streams) close() {
	s.mu.Lock()
	s.closed = true
	for len(s.open) > 0 {
		s.open[0].end()
	}
	s.mu.Unlock()
	s.readers.Wait()
}
