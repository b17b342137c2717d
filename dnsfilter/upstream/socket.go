package upstream

import (
	"context"
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"net"
	"net/netip"
	"sync"
	"time"
)

const (
	// slots is how many sockets a busy server has open; a quiet one has a fresh
	// socket, and so a fresh random port, for every query.
	slots       = 16
	busy        = 8  // queries in flight from which sockets are shared
	socketUses  = 64 // queries a shared socket sends before its port is given up
	maxForged   = 8  // wrong replies to one query before it is asked over TCP
	maxUDPReply = 4096
)

var errForged = errors.New("too many replies that match nothing")

// sockets sends queries to one address. The ports are the kernel's random ones,
// connected, so that a reply from any other address never arrives.
type sockets struct {
	addr    netip.AddrPort
	forged  func() // counts replies that match no query
	readers sync.WaitGroup

	mu       sync.Mutex
	closed   bool
	inFlight int
	slots    [slots]*socket
	open     map[*socket]struct{}
}

// socket is one connected port. mu of its owner guards it.
type socket struct {
	owner   *sockets
	conn    *net.UDPConn
	calls   map[uint16]*call
	uses    int
	retired bool // gets no more queries; closes with the last call
}

// call waits for the reply to one query.
type call struct {
	query  []byte
	wrong  int
	result chan result // has room for the one result
}

type result struct {
	reply []byte
	err   error
}

func newSockets(addr netip.AddrPort, forged func()) *sockets {
	return &sockets{addr: addr, forged: forged, open: make(map[*socket]struct{})}
}

// exchange sends a query and waits for the reply that matches it.
func (s *sockets) exchange(ctx context.Context, q Question, plain, edns bool) ([]byte, error) {
	sock, id, c, err := s.begin(q, plain, edns)
	if err != nil {
		return nil, err
	}
	defer s.end(sock, id)
	if deadline, ok := ctx.Deadline(); ok {
		// Concurrent queries only push the shared deadline on.
		_ = sock.conn.SetWriteDeadline(deadline)
	}
	if _, err := sock.conn.Write(c.query); err != nil {
		s.retire(sock)
		return nil, err
	}
	select {
	case r := <-c.result:
		return r.reply, r.err
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// begin puts a query with a fresh ID on a socket.
func (s *sockets) begin(q Question, plain, edns bool) (*socket, uint16, *call, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	sock, err := s.pick()
	if err != nil {
		return nil, 0, nil, err
	}
	id := randomID()
	for sock.calls[id] != nil {
		id = randomID()
	}
	c := &call{query: appendQuery(make([]byte, 0, 300), id, q, plain, edns), result: make(chan result, 1)}
	sock.calls[id] = c
	s.inFlight++
	return sock, id, c, nil
}

// pick needs the lock.
func (s *sockets) pick() (*socket, error) {
	if s.closed {
		return nil, net.ErrClosed
	}
	slot := &s.slots[rand.IntN(slots)]
	if sock := *slot; sock != nil && !sock.retired {
		sock.uses++
		if sock.uses >= socketUses || s.inFlight < busy {
			sock.retired, *slot = true, nil
		}
		if s.inFlight >= busy {
			return sock, nil
		}
		s.drop(sock)
	}
	conn, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(s.addr))
	if err != nil {
		return nil, err
	}
	sock := &socket{owner: s, conn: conn, calls: make(map[uint16]*call), uses: 1}
	if s.inFlight < busy {
		sock.retired = true
	} else {
		*slot = sock
	}
	s.open[sock] = struct{}{}
	s.readers.Go(sock.read)
	return sock, nil
}

func (s *sockets) end(sock *socket, id uint16) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.inFlight--
	delete(sock.calls, id)
	s.drop(sock)
}

func (s *sockets) retire(sock *socket) {
	s.mu.Lock()
	defer s.mu.Unlock()
	sock.retired = true
	for i := range s.slots {
		if s.slots[i] == sock {
			s.slots[i] = nil
		}
	}
	s.drop(sock)
}

// drop closes a retired socket that nobody waits on; it needs the lock.
func (s *sockets) drop(sock *socket) {
	if sock.retired && len(sock.calls) == 0 {
		_ = sock.conn.Close() // its reader ends
		delete(s.open, sock)
	}
}

// close ends every call and waits for the readers.
func (s *sockets) close() {
	s.mu.Lock()
	s.closed = true
	for sock := range s.open {
		_ = sock.conn.Close()
	}
	s.mu.Unlock()
	s.readers.Wait()
}

// read hands replies to the calls they match until the socket is closed.
func (sock *socket) read() {
	buf := make([]byte, maxUDPReply+1)
	for {
		n, err := sock.conn.Read(buf)
		if err != nil {
			sock.fail(err) // an ICMP "port unreachable" comes up here: ask elsewhere at once
			return
		}
		if n > maxUDPReply {
			buf[2] |= bitTC >> 8 // the kernel cut it
		}
		sock.deliver(buf[:n])
	}
}

func (sock *socket) fail(err error) {
	sock.owner.retire(sock)
	sock.owner.mu.Lock()
	defer sock.owner.mu.Unlock()
	for _, c := range sock.calls {
		c.finish(result{err: err})
	}
}

func (sock *socket) deliver(reply []byte) {
	if len(reply) < headerLen {
		sock.owner.forged()
		return
	}
	sock.owner.mu.Lock()
	defer sock.owner.mu.Unlock()
	c := sock.calls[binary.BigEndian.Uint16(reply)]
	if c == nil {
		sock.owner.forged()
		if sock.uses == 1 { // on a shared port it may be a late reply to another query
			for _, c := range sock.calls {
				c.count()
			}
		}
		return
	}
	switch err := matches(c.query, reply); err {
	case nil:
		c.finish(result{reply: append([]byte(nil), reply...)})
	case errCase:
		c.finish(result{err: err})
	default:
		sock.owner.forged()
		c.count()
	}
}

// count gives UDP up for a query that somebody seems to guess at.
func (c *call) count() {
	if c.wrong++; c.wrong >= maxForged {
		c.finish(result{err: errForged})
	}
}

func (c *call) finish(r result) {
	select {
	case c.result <- r:
	default: // it has one already
	}
}

// exchangeTCP asks over a connection of its own.
func exchangeTCP(ctx context.Context, addr netip.AddrPort, q Question, plain, edns bool) ([]byte, error) {
	var d net.Dialer
	conn, err := d.DialContext(ctx, "tcp", addr.String())
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	query := appendQuery(make([]byte, 2, 302), randomID(), q, plain, edns)
	binary.BigEndian.PutUint16(query, uint16(len(query)-2))
	if _, err := conn.Write(query); err != nil {
		return nil, err
	}
	reply, err := readMessage(conn)
	if err != nil {
		return nil, err
	}
	return reply, matches(query[2:], reply)
}
