package upstream

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"sync"
	"syscall"
	"time"
)

const (
	// slots is how many sockets a busy server has open for queries that leave by no
	// lane; a quiet one has a fresh socket, and so a fresh random port, for every query.
	slots      = 8
	busy       = 8   // queries in flight from which sockets are shared
	socketUses = 256 // queries a shared socket sends before its port is given up
	maxForged  = 8   // wrong replies to one query before it is asked over TCP
)

var errForged = errors.New("too many replies that match nothing")

// receiver hears once how a query ended. A reply is valid during the call only.
type receiver interface {
	received(reply []byte, err error, b Batch)
}

// sockets sends queries to one address. The ports are the kernel's random ones,
// connected, so that a reply from any other address never arrives.
type sockets struct {
	addr    netip.AddrPort
	forged  func() // counts replies that match no query
	batches func() Batch
	readers sync.WaitGroup

	mu       sync.Mutex
	closed   bool
	inFlight int
	slots    [slots]*socket
	open     map[*socket]struct{}
}

// socket is one connected port. mu of its owner guards what changes.
type socket struct {
	owner   *sockets
	conn    *net.UDPConn
	raw     syscall.RawConn
	lane    bool // it has fd in place of conn, which only the lane closes
	fd      int
	opened  time.Time // of a lane's, like used
	used    time.Time // a query was sent last
	calls   map[uint16]*call
	uses    int
	retired bool // gets no more queries; closes with the last call
}

// call is one query on its way.
type call struct {
	id    uint16
	query []byte
	wrong int
	to    receiver
}

// delivery is a call that has ended, to be told without the lock.
type delivery struct {
	call  *call
	reply []byte
	err   error
}

func newSockets(addr netip.AddrPort, forged func(), batches func() Batch) *sockets {
	return &sockets{addr: addr, forged: forged, batches: batches, open: make(map[*socket]struct{})}
}

// soon is a receiver for a caller that waits.
type soon chan result

type result struct {
	reply []byte
	err   error
}

func (s soon) received(reply []byte, err error, _ Batch) {
	s <- result{append([]byte(nil), reply...), err} // there is room: it is called once
}

// exchange sends a query and waits for the reply that matches it.
func (s *sockets) exchange(ctx context.Context, q Question, plain, edns bool) ([]byte, error) {
	answer := make(soon, 1)
	c := &call{to: answer, query: make([]byte, 0, 300)}
	s.mu.Lock()
	sock, err := s.pick(1)
	if err != nil {
		s.mu.Unlock()
		return nil, err
	}
	sock.begin(c, q, plain, edns)
	s.mu.Unlock()
	defer s.end(sock, c)
	if deadline, ok := ctx.Deadline(); ok {
		// Concurrent queries only push the shared deadline on.
		_ = sock.conn.SetWriteDeadline(deadline)
	}
	if _, err := sock.conn.Write(c.query); err != nil {
		s.retire(sock)
		return nil, err
	}
	select {
	case r := <-answer:
		return r.reply, r.err
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// depart sends the queries of flights, all over one socket, which is of the lane if
// there is one. It waits for none.
func (s *sockets) depart(flights []*flight, out *outbox, l *lane, plain, edns bool) error {
	s.mu.Lock()
	sock, err := s.pickFor(l, len(flights))
	if err != nil {
		s.mu.Unlock()
		return err
	}
	for _, f := range flights {
		f.sock.Store(sock)
		sock.begin(&f.call, f.q, plain, edns)
		if f.landed.Load() { // the long way was faster
			sock.forget(&f.call)
		}
	}
	s.mu.Unlock()
	if err = out.send(sock, flights); err != nil {
		s.retire(sock)
	}
	return err
}

// pickFor needs the lock.
func (s *sockets) pickFor(l *lane, n int) (*socket, error) {
	if l == nil || s.closed || s.addr.Addr().Zone() != "" {
		return s.pick(n)
	}
	return l.pick(s, n)
}

// shares reports whether n more queries would be so many in flight that they share
// ports; it needs the lock.
func (s *sockets) shares(n int) bool { return s.inFlight+n > busy }

// begin gives a call an ID that nobody can guess and writes its query; it needs
// the lock.
func (sock *socket) begin(c *call, q Question, plain, edns bool) {
	id := randomID()
	for sock.calls[id] != nil {
		id = randomID()
	}
	c.id = id
	c.query = appendQuery(c.query[:0], id, q, plain, edns)
	sock.calls[id] = c
	sock.owner.inFlight++
}

// pick gives the socket for n queries; it needs the lock.
func (s *sockets) pick(n int) (*socket, error) {
	if s.closed {
		return nil, net.ErrClosed
	}
	share := s.shares(n)
	slot := &s.slots[rand.IntN(slots)]
	if sock := *slot; sock != nil {
		sock.uses += n
		if !share || sock.uses >= socketUses {
			sock.retired, *slot = true, nil
		}
		if share {
			return sock, nil
		}
		s.drop(sock)
	}
	conn, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(s.addr))
	if err != nil {
		return nil, err
	}
	raw, err := conn.SyscallConn()
	if err != nil {
		_ = conn.Close()
		return nil, err
	}
	sock := &socket{owner: s, conn: conn, raw: raw, calls: make(map[uint16]*call), uses: n}
	if share {
		*slot = sock
	} else {
		sock.retired = true
	}
	s.open[sock] = struct{}{}
	s.readers.Go(sock.read)
	return sock, nil
}

// end forgets a call, if it has not ended.
func (s *sockets) end(sock *socket, c *call) {
	s.mu.Lock()
	defer s.mu.Unlock()
	sock.forget(c)
	s.drop(sock)
}

// forget needs the lock.
func (sock *socket) forget(c *call) {
	if sock.calls[c.id] == c {
		delete(sock.calls, c.id)
		sock.owner.inFlight--
	}
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

// drop closes a retired socket that nobody waits on, if it is not a lane's; it needs
// the lock.
func (s *sockets) drop(sock *socket) {
	if sock.retired && len(sock.calls) == 0 && !sock.lane {
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
	in := inboxes.Get().(*inbox)
	defer inboxes.Put(in)
	for {
		if err := in.read(sock.raw); err != nil {
			sock.fail(err) // an ICMP "port unreachable" comes up here: ask elsewhere at once
			return
		}
		sock.deliver(in)
		sock.owner.tell(in.done)
	}
}

// tell lets the receivers know, as one batch.
func (s *sockets) tell(done []delivery) {
	if len(done) == 0 {
		return
	}
	b := s.batches()
	for _, d := range done {
		d.call.to.received(d.reply, d.err, b)
	}
	b.Flush()
}

func (sock *socket) fail(err error) {
	s := sock.owner
	s.retire(sock)
	s.mu.Lock()
	var done []delivery
	for _, c := range sock.calls {
		done = append(done, delivery{call: c, err: err})
	}
	clear(sock.calls)
	s.inFlight -= len(done)
	s.drop(sock)
	s.mu.Unlock()
	s.tell(done)
}

// deliver finds the calls that what came has ended.
func (sock *socket) deliver(in *inbox) {
	s := sock.owner
	s.mu.Lock()
	defer s.mu.Unlock()
	in.done = in.done[:0]
	for i := range in.received {
		reply := in.packet(i)
		if len(reply) < headerLen {
			s.forged()
			continue
		}
		c := sock.calls[binary.BigEndian.Uint16(reply)]
		if c == nil {
			s.forged()
			if sock.uses == 1 { // on a shared port it may be a late reply to another query
				for _, c := range sock.calls {
					in.count(sock, c)
				}
			}
			continue
		}
		switch err := matches(c.query, reply); err {
		case nil, errCase:
			sock.forget(c)
			in.done = append(in.done, delivery{c, reply, err})
		default:
			s.forged()
			in.count(sock, c)
		}
	}
	s.drop(sock)
}

// count gives UDP up for a query that somebody seems to guess at.
func (in *inbox) count(sock *socket, c *call) {
	if c.wrong++; c.wrong >= maxForged {
		sock.forget(c)
		in.done = append(in.done, delivery{call: c, err: errForged})
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

// readMessage reads one message with its length before it.
func readMessage(r io.Reader) ([]byte, error) {
	var length [2]byte
	if _, err := io.ReadFull(r, length[:]); err != nil {
		return nil, err
	}
	msg := make([]byte, binary.BigEndian.Uint16(length[:]))
	if len(msg) < headerLen {
		return nil, io.ErrUnexpectedEOF
	}
	_, err := io.ReadFull(r, msg)
	return msg, err
}
