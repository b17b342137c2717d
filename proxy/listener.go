package proxy

import (
	"context"
	"crypto/tls"
	"net"
	"net/netip"
	"sync"

	"schoolgate/policy"
	"schoolgate/proxy/gate"
	"schoolgate/proxy/socket"
)

// listener hands out connections that the gate let in.
type listener struct {
	net.Listener
	gate     *gate.Gate
	kind     kind
	tls      *tls.Config                                 // of a secure one
	original func(netip.AddrPort) (netip.AddrPort, bool) // tests: where a transparent connection was meant to go, by its own address
	server   *Server

	mu       sync.Mutex
	closed   bool
	entrance *entrance // what accepts in its place, if anything
}

// Close lets no more in.
func (l *listener) Close() error {
	l.mu.Lock()
	e := l.entrance
	l.entrance, l.closed = nil, true
	l.mu.Unlock()
	if e != nil {
		e.close()
		return nil
	}
	return l.Listener.Close()
}

// Accept passes over connections beyond the bound: they are closed at once.
func (l *listener) Accept() (net.Conn, error) {
	for {
		conn, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		addr := clientAddr(conn.RemoteAddr())
		if !l.gate.Enter(addr) {
			conn.Close()
			continue
		}
		p := &peer{Conn: conn, addr: addr, gate: l.gate, secure: l.kind.secure}
		if l.kind.usual != 0 {
			p.dst = l.destination(conn)
		}
		if l.kind.secure {
			return tls.Server(p, l.tls), nil // the handshake comes with the first read, within its time
		}
		return p, nil
	}
}

// peer is one client connection. The address is the connection's own: nothing a
// client writes into a header changes who it is (T20).
type peer struct {
	net.Conn
	addr   netip.Addr
	dst    netip.AddrPort // transparent doors: where it was meant to go
	gate   *gate.Gate
	secure bool     // TLS ends around it, so nobody else reads what is sent
	ahead  []byte   // what was read from it before it became a peer
	known  *verdict // what became of that, if it was judged
	once   sync.Once
}

// verdict is what became of a connection before it was left to another way of carrying
// it: it is not judged, or dialled, once more.
type verdict struct {
	outcome outcome
	failed  error // of dialling
}

// takeKnown is what is known of the connection's first request, once.
func (p *peer) takeKnown() (known *verdict) {
	if p != nil {
		known, p.known = p.known, nil
	}
	return known
}

// Close closes the connection and gives its place free, once.
func (p *peer) Close() error {
	err := p.Conn.Close()
	p.once.Do(func() { p.gate.Leave(p.addr) })
	return err
}

// RemoteAddr is the client's address, also where the socket has forgotten it because the
// client has gone: what it asked for is decided on and recorded all the same.
func (p *peer) RemoteAddr() net.Addr {
	if a := p.Conn.RemoteAddr(); a != nil {
		return a
	}
	return net.TCPAddrFromAddrPort(netip.AddrPortFrom(p.addr, 0))
}

// NetConn is the connection that the client was accepted on, as [tls.Conn] has it.
func (p *peer) NetConn() net.Conn { return p.Conn }

// TCP is its socket, if it is a plain one: what passes need not be seen here.
func (p *peer) TCP() *net.TCPConn { return socket.TCP(p.Conn) }

// CloseWrite ends our half, if the connection has halves.
func (p *peer) CloseWrite() error { return socket.CloseWrite(p.Conn) }

// reset makes the next Close tell the other side that something broke: a reply
// without a length would otherwise look whole (G4).
func (p *peer) reset() {
	if tcp, ok := p.Conn.(*net.TCPConn); ok {
		tcp.SetLinger(0) // an error here means the connection is gone already
	}
}

func clientAddr(a net.Addr) netip.Addr {
	if tcp, ok := a.(*net.TCPAddr); ok {
		return tcp.AddrPort().Addr().Unmap().WithZone("")
	}
	ap, err := netip.ParseAddrPort(a.String())
	if err != nil {
		return netip.Addr{} // an unknown client: the strictest pupil profile
	}
	return ap.Addr().Unmap().WithZone("")
}

type peerKey struct{}

func withPeer(ctx context.Context, c net.Conn) context.Context {
	if p := peerUnder(c); p != nil {
		return context.WithValue(ctx, peerKey{}, p)
	}
	return ctx
}

// peerUnder is the client's connection under what a server holds, nil for none.
func peerUnder(c net.Conn) *peer {
	if t, ok := c.(*tls.Conn); ok {
		c = t.NetConn()
	}
	p, _ := c.(*peer)
	return p
}

// takeAhead is what was read from a connection before it became a peer, once.
func takeAhead(c net.Conn) (ahead []byte) {
	if p := peerUnder(c); p != nil {
		ahead, p.ahead = p.ahead, nil
	}
	return ahead
}

func peerOf(ctx context.Context) *peer {
	p, _ := ctx.Value(peerKey{}).(*peer)
	return p
}

// unreadable is called when a connection ends after bytes that never became a
// request: Go's parser refused them, or they came too slowly. Nothing was
// forwarded and no verdict was taken, but it is not silent either.
func (s *Server) unreadable(c net.Conn) {
	q := policy.Request{Door: policy.DoorHTTP, Time: now()}
	if in := insideOf(c); in != nil {
		t := &in.tunnel.target
		q.Door, q.Client, q.Login, q.Host = policy.DoorInspect, t.Client, t.Login, t.Host
	} else if p := peerUnder(c); p != nil {
		q.Client = p.addr
	} else {
		return
	}
	s.metrics.unreadable.Inc()
	r := s.decider.Decide(q)
	r = refuse(r, policy.ReasonBadHost)
	e := r.Event(q)
	e.Finding, e.Status = findingMalformed, 400
	s.record(&e)
}
