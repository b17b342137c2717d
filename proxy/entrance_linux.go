package proxy

import (
	"bytes"
	"errors"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"schoolgate/policy"
	"schoolgate/proxy/http1"
	"schoolgate/proxy/sniff"
	"schoolgate/proxy/socket"
)

// entrance is a listener's socket in the loop of the arrivals. What arrives there and is
// an ordinary tunnel, a CONNECT or a ClientHello in one piece for a name that is
// allowed and whose inside nobody wants to see, never meets Go's poller: it is read,
// decided, dialled and carried as a pair. Everything else becomes a connection of
// Go's, with the bytes that were read, and goes the way that it goes on other systems:
// whatever is not ordinary is dealt with in one place only.
type entrance struct {
	listener *listener
	begin    func(net.Conn) // for what is not ordinary
	fd       int
	closed   chan struct{}

	mu    sync.Mutex
	slot  int32 // noSlot once it is closed
	pairs map[*pair]struct{}
}

// enter serves a listener's connections until it is closed; false if it is of no kind
// that is served here.
func (s *Server) enter(l net.Listener, begin func(net.Conn)) bool {
	own, ok := l.(*listener)
	if !ok || own.kind.secure || !own.kind.proxy && !own.kind.tls {
		return false
	}
	tcp, ok := own.Listener.(*net.TCPListener)
	if !ok {
		return false
	}
	fd, err := socket.Take(tcp)
	if err != nil {
		return false // it is closed, which whoever accepts finds out
	}
	e := &entrance{
		listener: own, begin: begin, fd: fd, closed: make(chan struct{}),
		slot: noSlot, pairs: map[*pair]struct{}{},
	}
	if !own.stand(e) {
		_ = unix.Close(fd) // nothing was accepted there
		return true
	}
	<-e.closed
	return true
}

// stand has connections waited for; false if the listener was closed.
func (l *listener) stand(e *entrance) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return false
	}
	l.entrance = e
	e.mu.Lock()
	defer e.mu.Unlock()
	var err error
	s := l.server
	if e.slot, err = s.arrivals.add(e.fd, e, unix.EPOLLIN); err != nil {
		s.log.Error("listener not waited for", "addr", l.Addr(), "err", err)
		return false
	}
	return true
}

// close lets no more in, and ends the connections that have not yet said what they want.
func (e *entrance) close() {
	e.mu.Lock()
	e.listener.server.arrivals.forget(e.slot)
	e.slot = noSlot
	_ = unix.Close(e.fd) // of a listener: nothing is lost with it
	pairs := e.pairs
	e.pairs = nil
	e.mu.Unlock()
	for p := range pairs {
		p.tn.close()
	}
	close(e.closed)
}

func (e *entrance) fail() {}

// ready takes one connection. If there are more, it is called again.
func (e *entrance) ready(l *loop, _ uint32) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.slot == noSlot {
		return
	}
	fd, addr, err := socket.Accept(e.fd)
	switch err {
	case nil:
		e.admit(l, fd, addr)
	case unix.EMFILE, unix.ENFILE, unix.ENOBUFS, unix.ENOMEM: // they come back (F14)
		e.wait(l, 0)
		l.mu.Lock()
		l.paused = append(l.paused, e)
		l.mu.Unlock()
	}
}

// wait waits for connections, or for nothing.
func (e *entrance) wait(l *loop, events uint32) {
	l.mu.Lock()
	event := unix.EpollEvent{Events: events, Fd: e.slot, Pad: l.slots[e.slot].turn}
	l.mu.Unlock()
	if err := unix.EpollCtl(l.epoll, unix.EPOLL_CTL_MOD, e.fd, &event); err != nil {
		l.server.log.Error("epoll_ctl", "err", err) // it was told something impossible
	}
}

// resume looks again whether there is something to accept with.
func (e *entrance) resume() {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.slot != noSlot {
		e.wait(e.listener.server.arrivals, unix.EPOLLIN)
	}
}

// admit has a new connection say what it wants. The lock is held.
func (e *entrance) admit(l *loop, fd int, from netip.Addr) {
	s := e.listener.server
	if !s.gate.Enter(from) {
		_ = unix.Close(fd) // it was never read from
		return
	}
	p := newPair(e, fd, from)
	e.pairs[p] = struct{}{}
	patience := s.limits.HeaderTime
	if e.listener.kind.tls {
		patience = s.limits.Hello
	}
	l.await(p, now().Add(patience))
	p.tn.mu.Lock()
	err := p.client.wait(l, unix.EPOLLIN|unix.EPOLLRDHUP|edge)
	p.tn.mu.Unlock()
	if err != nil {
		s.crew.run(p.tn.close) // which takes the lock
	}
}

func (e *entrance) left(p *pair) {
	e.mu.Lock()
	defer e.mu.Unlock()
	delete(e.pairs, p)
}

// wantsConnect is what a CONNECT in text asks for, and what the client sent behind it;
// false if it is no ordinary one.
func (s *Server) wantsConnect(text []byte, from netip.Addr) (t target, behind []byte, ok bool) {
	name, port, behind, ok := http1.Connect(text, s.limits.HeaderBytes)
	if !ok {
		return t, nil, false
	}
	t = target{Request: policy.Request{Door: policy.DoorCONNECT, Client: from}, method: http.MethodConnect, ports: s.tunnelPort}
	t.asks = s.signIn != nil && s.nearby(from)
	t.port = portNumber(string(port))
	host, err := policy.ParseHost(string(name))
	t.Host = host
	return t, behind, err == nil && t.port != 0
}

// greeted reads what the client says first, and finds out what it asks for.
func (p *pair) greeted(l *loop) step {
	text, next := p.hear(l)
	if next != goOn {
		return next
	}
	tn := &p.tn
	if !p.entrance.listener.kind.tls {
		t, behind, ok := tn.server.wantsConnect(text, p.addr)
		if !ok {
			p.ahead = bytes.Clone(text)
			return leaveIt
		}
		tn.target = t
		p.head, p.ahead = bytes.Clone(text[:len(text)-len(behind)]), bytes.Clone(behind)
		return judgeIt
	}
	hello, next := p.hello(text)
	if next != goOn {
		return next
	}
	tn.target = tn.server.transparentTarget(p.addr, p.meantFor())
	tn.target = tn.named(&hello)[0]
	return judgeIt
}

// hello reads a ClientHello that is there, or says what to do without one.
func (p *pair) hello(text []byte) (sniff.Hello, step) {
	hello, err := sniff.Read(bytes.NewReader(text), sniff.Limits{Buffer: make([]byte, 0, len(text))})
	switch {
	case errors.Is(err, sniff.ErrTruncated) && p.parts < maxParts:
		p.parts++
		p.ahead = bytes.Clone(text)
		return hello, stayHere
	case err != nil || hello.SNI == "" || len(hello.Raw) < len(text):
		p.ahead = bytes.Clone(text)
		return hello, leaveIt
	}
	p.ahead = hello.Raw
	return hello, goOn
}

// maxParts is in how many parts a hello may come here. Each is read from the
// beginning, so one in many is left to who reads on.
const maxParts = 8

// hear reads from the client; what was heard before comes first.
func (p *pair) hear(l *loop) ([]byte, step) {
	n, err := socket.Read(p.client.fd, l.buf)
	switch {
	case err == unix.EAGAIN:
		return nil, stayHere
	case err != nil || n == 0 && len(p.ahead) == 0:
		return nil, p.silent()
	case n == 0:
		return nil, leaveIt // it ends in the midst of something, which is told of
	case len(p.ahead) == 0:
		return l.buf[:n], goOn
	}
	return append(p.ahead, l.buf[:n]...), goOn
}

// meantFor is where a redirected connection was meant to go.
func (p *pair) meantFor() netip.AddrPort {
	return p.entrance.listener.destinationOf(
		func() (netip.AddrPort, bool) { return socket.OriginalOf(p.client.fd, p.addr.Is6()) },
		func() netip.AddrPort { return socket.Own(p.client.fd) },
	)
}

// judge decides on what is asked for. What waits, for a look-up of the name or for the
// disk, waits elsewhere; what may not pass untouched is decided where a page can be
// shown. It reports whether it was handed on to either.
func (p *pair) judge() (handed bool) {
	defer p.panicked()
	s := p.tn.server
	p.asked = p.tn.target
	p.asked.Time = now()
	p.ruling = s.decide(&p.asked)
	switch {
	case p.ruling.Verdict != policy.Allow || s.wanted(&p.asked, &p.ruling):
		p.leave()
	case !s.knows(&p.asked, &p.ruling):
		p.elsewhere(func() { p.weigh(); p.seal() })
	default:
		p.weigh()
		if w, ok := s.sink.(patient); ok && !w.Waits(&p.tn.outcome.event) {
			p.seal()
			return false
		}
		p.elsewhere(p.seal)
	}
	return true
}

// panicked has what panicked answered where a page says so (F26).
func (p *pair) panicked() {
	if recover() != nil {
		p.leave()
	}
}

// patient is a sink that knows whether recording an event waits for the disk.
type patient interface{ Waits(*policy.Event) bool }

func (p *pair) weigh() {
	s := p.tn.server
	p.tn.outcome = s.weighAs(s.life, &p.asked, p.ruling)
}

func (p *pair) seal() {
	s, o := p.tn.server, &p.tn.outcome
	s.seal(o)
	p.judged = true
	if !o.allowed() || s.look(&p.tn.target, o) != spliced {
		p.leave()
		return
	}
	p.dial()
}

// knows reports whether it is known where an allowed target leads.
func (s *Server) knows(t *target, r *policy.Ruling) bool {
	host := t.Host
	if !r.Safe.IsZero() {
		host = r.Safe
	}
	if _, ok := host.Addr(); ok {
		return true
	}
	return s.origins.Knows(host, now().Add(time.Second/10)) // still by the time it is asked for
}
