package proxy

import (
	"errors"
	"net"
	"os"

	"golang.org/x/sys/unix"

	"schoolgate/proxy/socket"
)

// leave makes a connection of Go's of what is not ordinary, which is decided, refused
// or dialled where every kind of tunnel is. What is known of it is not asked again.
func (p *pair) leave() {
	y, known := p.youth, (*verdict)(nil)
	if y.judged {
		known = &verdict{p.tn.outcome, p.failed}
	}
	conn, err := p.release()
	if err != nil {
		return // it has gone
	}
	l := p.entrance.listener
	client := &peer{Conn: conn, addr: p.addr, gate: l.gate, ahead: append(y.head, y.ahead...), known: known}
	if l.kind.usual != 0 {
		client.dst = l.destination(conn)
	}
	p.entrance.begin(client)
}

// release ends the pair and gives its client's connection.
func (p *pair) release() (net.Conn, error) {
	tn := &p.tn
	tn.mu.Lock()
	if tn.closed {
		tn.mu.Unlock()
		return nil, net.ErrClosed
	}
	tn.closed = true
	fd := p.client.take()
	p.closeAll()
	tn.mu.Unlock()
	p.ended()
	return p.clientConn(fd)
}

// clientConn makes a connection of Go's of the client's socket, or gives its place free.
func (p *pair) clientConn(fd int) (net.Conn, error) {
	conn, err := p.tn.server.flows.netConn(fd)
	if err == nil {
		if err = conn.SetKeepAliveConfig(socket.KeepAliveConfig); err == nil {
			return conn, nil
		}
		conn.Close() // it has gone
	}
	p.tn.server.gate.Leave(p.addr)
	return nil, err
}

// pass makes an ordinary tunnel one of Go's connections: one whose hello has to be
// decided on, or one that stands and needs a goroutine.
func (p *pair) pass() {
	s, tn := p.tn.server, &p.tn
	s.flows.came(p)
	switch err := p.convert(); {
	case err != nil:
		tn.close()
	case tn.flow == nil:
		tn.early = p.ahead
		s.crew.run(s.tunnels.through(tn, tn.runTLS))
	default:
		s.flows.adopt(tn.flow, [2]bool{p.client.over, p.origin.over}, p.carry != &p.client, p.rest)
	}
}

// convert puts connections of Go's in the place of the sockets.
func (p *pair) convert() error {
	tn := &p.tn
	tn.mu.Lock()
	defer tn.mu.Unlock()
	if tn.closed {
		return net.ErrClosed
	}
	conn, err := p.clientConn(p.client.take())
	if err != nil {
		return err
	}
	tn.client = &peer{Conn: conn, addr: p.addr, gate: p.entrance.listener.gate}
	origin, err := p.tn.server.flows.netConn(p.origin.take())
	if err != nil {
		return err
	}
	tn.origin = origin
	if err := origin.SetKeepAlive(false); err != nil { // as where it is Go that dials
		return err
	}
	if p.stage == stands {
		if tn.flow = newFlow(tn); tn.flow == nil {
			return net.ErrClosed
		}
	}
	tn.pair = nil // last: until then it ends as a pair
	return nil
}

// netConn is a connection of Go's on a socket, which it takes. If both sides have ended
// theirs it has no remote address, and there may be bytes in it all the same. The
// connection has a descriptor of its own: for a moment there are two, and where there is
// none left the spare one is given up for that, or who is carried would be hung up on (F14).
func (l *loop) netConn(fd int) (*net.TCPConn, error) {
	file := os.NewFile(uintptr(fd), "socket")
	defer file.Close() // once more does no harm
	conn, err := net.FileConn(file)
	if errors.Is(err, unix.EMFILE) || errors.Is(err, unix.ENFILE) {
		l.sparing.Lock()
		defer l.sparing.Unlock()
		if l.spare != socket.None {
			_ = unix.Close(l.spare) // nothing is in it
		}
		conn, err = net.FileConn(file)
		_ = file.Close() // what it was is in the connection, or lost
		l.spare = l.another()
	}
	if err != nil {
		return nil, err
	}
	tcp, ok := conn.(*net.TCPConn)
	if !ok {
		return nil, errors.Join(net.ErrClosed, conn.Close()) // it is always one
	}
	return tcp, nil
}
