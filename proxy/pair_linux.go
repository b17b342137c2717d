package proxy

import (
	"bytes"
	"context"
	"net"
	"net/netip"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sys/unix"

	"schoolgate/policy"
	"schoolgate/proxy/socket"
)

// pair is an ordinary tunnel on two sockets that Go's poller does not know. Until it is
// dialled it belongs to the loop of the arrivals, from then on to that of the flows, so
// that what stands never waits for a decision.
//
// The tunnel's lock guards its sockets, which are closed and touched under it, so that
// a number never means another's socket, and its stage, which says who may touch the
// rest.
type pair struct {
	tn       tunnel
	entrance *entrance
	addr     netip.Addr // of the client
	stage    stage
	entered  bool // it is one of the tunnels
	client   end
	origin   *end   // nil until a dial is answered
	*youth          // nil once it stands
	carry    *end   // what needs a goroutine...
	rest     []byte // ...which has this to send first
}

// youth is what a pair needs until it stands.
type youth struct {
	parts  int    // in which the hello has come so far
	head   []byte // the CONNECT
	ahead  []byte // what the client sent behind it, for the origin
	asked  target // as it is judged
	ruling policy.Ruling
	judged bool         // and the event recorded
	tries  []*end       // dials under way
	left   []netip.Addr // that have not been tried
	by     time.Time    // until then one must have answered
	failed error        // of the first dial
}

// stage is how far a pair has come.
type stage uint8

const (
	greets  stage = iota // the client has not said what it wants
	weighed              // it is being decided on
	dials
	connected // the client has its 200 and has sent no hello yet
	stands
)

// stands reports whether nothing is decided about it any more.
func (p *pair) stands() bool { return p.stage == stands }

// end is one of its sockets.
type end struct {
	pair *pair
	fd   int // socket.None for none
	slot int32
	loop *loop  // that waits for it
	over bool   // it has said its last
	news uint32 // the events that came before the tunnel stood
}

func newPair(e *entrance, fd int, from netip.Addr) *pair {
	p := &pair{entrance: e, addr: from, youth: &youth{}}
	p.tn.server, p.tn.pair, p.tn.prelude = e.listener.server, p, &prelude{}
	p.client = end{pair: p, fd: fd, slot: noSlot}
	return p
}

// wait has an end waited for in a loop. The lock is held, here and below.
func (e *end) wait(l *loop, events uint32) (err error) {
	if e.fd == socket.None {
		return net.ErrClosed
	}
	e.loop = l
	e.slot, err = l.add(e.fd, e, events)
	return err
}

// unwait has it waited for no more.
func (e *end) unwait() {
	if e.slot != noSlot {
		_ = e.loop.remove(e.fd, e.slot) // it is there
		e.slot = noSlot
	}
}

// close closes it, and with that it is waited for no more.
func (e *end) close() {
	if e.fd == socket.None {
		return
	}
	_ = unix.Close(e.fd) // what has not left by now is lost with the tunnel
	if e.slot != noSlot {
		e.loop.forget(e.slot)
	}
	e.fd, e.slot = socket.None, noSlot
}

// take takes the socket away.
func (e *end) take() (fd int) {
	e.unwait()
	fd, e.fd = e.fd, socket.None
	return fd
}

// closeAll closes what it has.
func (p *pair) closeAll() {
	if p.client.fd != socket.None {
		p.tn.server.gate.Leave(p.addr)
	}
	p.client.close()
	if p.origin != nil {
		p.origin.close()
	}
	if p.youth != nil {
		p.closeTries(nil)
	}
}

// closeTries hangs up on the dials under way but one.
func (p *pair) closeTries(but *end) {
	for _, t := range p.tries {
		if t != but {
			t.close()
		}
	}
	p.tries, p.left = nil, nil
}

// ended tells everybody who knew of it, once, without the lock.
func (p *pair) ended() {
	p.entrance.left(p)
	s := p.tn.server
	s.arrivals.came(p)
	s.flows.came(p)
	if p.entered {
		s.tunnels.ended(&p.tn)
	}
}

// step is what comes next, once the lock is given back.
type step uint8

const (
	goOn     step = iota // with what was read
	stayHere             // and wait for more
	hangUp
	leaveIt // to Go's connections, as a client that has only just come
	judgeIt
	passOn // to Go's connections, as a tunnel
)

// ready deals with an event of one end.
func (e *end) ready(l *loop, events uint32) {
	p := e.pair
	switch p.next(e, l, events) {
	case hangUp:
		p.tn.close()
	case leaveIt:
		p.leave()
		l.handed = true
	case judgeIt:
		l.came(p)
		l.handed = p.judge() || l.handed
	case passOn:
		p.pass()
		l.handed = true
	}
}

// next does what an event calls for under the lock, and says what is left to do.
func (p *pair) next(e *end, l *loop, events uint32) step {
	tn := &p.tn
	tn.mu.Lock()
	defer tn.mu.Unlock()
	switch {
	case tn.closed || e.fd == socket.None || tn.pair == nil:
	case p.stage == greets:
		next := p.greeted(l)
		switch {
		case next == judgeIt:
			p.stage = weighed
		case next == stayHere && events&hungUpOn != 0:
			return leaveIt // no more will come, of which nobody is told again
		}
		return next
	case p.stage == dials && e != &p.client:
		return p.answered(e, l, events)
	case p.stage == connected && e == p.origin:
		e.news |= events
	case p.stage == connected:
		return p.introduced(l, events)
	case p.stage == stands:
		return p.move(l, e, events)
	}
	return stayHere
}

func (e *end) fail() { e.pair.tn.close() }

// elsewhere has a part of judging done that waits.
func (p *pair) elsewhere(f func()) {
	p.tn.server.crew.run(func() {
		defer p.panicked()
		f()
	})
}

// late is called when a time has passed that was set for it.
func (p *pair) late(l *loop, t time.Time) {
	switch p.tooLate(t) {
	case hangUp:
		p.tn.close()
	case leaveIt:
		p.leave()
		l.handed = true
	}
}

func (p *pair) tooLate(t time.Time) step {
	tn := &p.tn
	tn.mu.Lock()
	defer tn.mu.Unlock()
	switch {
	case tn.closed || tn.pair == nil || p.stage == stands || p.stage == weighed:
		return stayHere // what it was set for has come
	case p.stage == dials && t.Before(p.by):
		return p.try()
	case p.stage == dials:
		p.note(context.DeadlineExceeded)
		return leaveIt
	}
	return p.silent()
}

// silent hangs up on a client that has gone, or said nothing in time.
func (p *pair) silent() step {
	if p.stage == connected || p.entrance.listener.kind.tls {
		p.tn.server.metrics.hellos.WithLabelValues("ended").Inc()
	}
	return hangUp
}

// accepted says 200 to a CONNECT.
func (p *pair) accepted(l *loop) step {
	reply := p.tn.outcome.established()
	if n, err := socket.Write(p.client.fd, reply); err != nil || n < len(reply) {
		return hangUp
	}
	p.stage = connected
	l.await(p, now().Add(p.tn.server.limits.Hello))
	if p.client.wait(l, unix.EPOLLIN|unix.EPOLLRDHUP|edge) != nil {
		return hangUp
	}
	if len(p.ahead) > 0 {
		return p.introduce(l, p.ahead)
	}
	return stayHere
}

// introduced reads the hello of a client that has its 200.
func (p *pair) introduced(l *loop, events uint32) step {
	text, next := p.hear(l)
	if next == goOn {
		if events&hungUpOn != 0 || len(text) >= len(l.buf) { // there is more, of which nobody is told again
			p.client.news = events
		}
		next = p.introduce(l, text)
	}
	if next == leaveIt || next == stayHere && p.stage == connected && events&hungUpOn != 0 {
		return passOn // in the latter case no more will come, of which nobody is told again
	}
	return next
}

// introduce goes on with a hello that names the host of the CONNECT, which was decided
// on. Any other is decided on elsewhere.
func (p *pair) introduce(l *loop, text []byte) step {
	hello, next := p.hello(text)
	if next == leaveIt {
		return passOn
	} else if next != goOn {
		return next
	}
	tn := &p.tn
	t := tn.target
	if same, _ := t.introduce(hello.SNI); !same || tn.server.hides(&hello, &t) {
		return passOn
	}
	l.came(p)
	return p.stand(l, hello.Raw)
}

// stand sends on what the client said first. From now on nothing is decided any more.
func (p *pair) stand(l *loop, hello []byte) step {
	tn := &p.tn
	tn.server.metrics.wellHello.Inc()
	tn.judged.Store(&[]target{tn.target})
	tn.prelude, p.youth, p.stage = nil, nil, stands
	if p.client.slot == noSlot && p.client.wait(l, unix.EPOLLIN|unix.EPOLLRDHUP|edge) != nil {
		return hangUp
	}
	next := p.send(&p.client, p.origin, tn.server.metrics.up, hello)
	for _, e := range []*end{p.origin, &p.client} {
		if next == stayHere && e.news != 0 {
			next = p.move(l, e, e.news)
		}
	}
	return next
}

// send sends bytes on. What does not go at once is left to a goroutine: somebody reads
// slowly.
func (p *pair) send(from, to *end, direction prometheus.Counter, part []byte) step {
	for len(part) > 0 {
		n, err := socket.Write(to.fd, part)
		if err != nil && err != unix.EAGAIN {
			return hangUp
		}
		p.tn.count(direction, int64(n))
		part = part[n:]
		if err != nil {
			p.carry, p.rest = from, bytes.Clone(part)
			return passOn
		}
	}
	return stayHere
}

// move moves what is there.
func (p *pair) move(l *loop, from *end, events uint32) step {
	to, direction := p.origin, p.tn.server.metrics.up
	if from == p.origin {
		to, direction = &p.client, p.tn.server.metrics.down
	}
	if from.over {
		if events&(unix.EPOLLERR|unix.EPOLLHUP) != 0 {
			return hangUp // it does not listen either
		}
		return stayHere
	}
	for {
		n, err := socket.Read(from.fd, l.buf)
		switch {
		case err == unix.EAGAIN:
			return stayHere
		case err != nil:
			return hangUp
		case n == 0:
			return p.last(from, to)
		}
		if next := p.send(from, to, direction, l.buf[:n]); next != stayHere {
			return next
		}
		switch {
		case n == len(l.buf):
			p.carry = from
			return passOn
		case events&hungUpOn == 0: // a read that did not fill the buffer has taken all there was
			return stayHere
		}
	}
}

// last tells one side that the other has said its last. Once both have, closing says
// the same.
func (p *pair) last(from, to *end) step {
	from.over = true
	if to.over || unix.Shutdown(to.fd, unix.SHUT_WR) != nil {
		return hangUp
	}
	return stayHere
}
