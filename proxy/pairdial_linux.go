package proxy

import (
	"net/netip"
	"os"
	"slices"

	"golang.org/x/sys/unix"

	"schoolgate/proxy/origins"
	"schoolgate/proxy/socket"
)

// dial begins to connect to where the outcome leads.
func (p *pair) dial() {
	p.entrance.left(p)
	switch p.begin() {
	case hangUp:
		p.tn.close()
	case leaveIt:
		p.leave()
	}
}

func (p *pair) begin() step {
	s, tn := p.tn.server, &p.tn
	tn.mu.Lock()
	defer tn.mu.Unlock()
	if tn.closed {
		return stayHere
	}
	if p.entered = s.tunnels.admit(tn); !p.entered {
		return hangUp // the door is closing
	}
	p.client.unwait()
	addrs := tn.outcome.route.Addrs
	p.left = addrs[:min(len(addrs), origins.MaxAddresses)]
	p.by = now().Add(s.limits.Dial)
	p.stage = dials
	return p.try()
}

// try begins a dial, to the next address that one can be begun to.
func (p *pair) try() step {
	s := p.tn.server
	for len(p.left) > 0 {
		addr := netip.AddrPortFrom(p.left[0], p.tn.outcome.route.Port)
		p.left = p.left[1:]
		fd, err := s.connect(addr)
		if err != nil {
			p.note(err)
			continue
		}
		t := &end{pair: p, fd: fd, slot: noSlot}
		if err := t.wait(s.flows.loop, unix.EPOLLIN|unix.EPOLLOUT|unix.EPOLLRDHUP|edge); err != nil {
			t.close()
			p.note(err)
			continue
		}
		p.tries = append(p.tries, t)
		by := p.by
		if stagger := now().Add(origins.NextAddress); len(p.left) > 0 && stagger.Before(by) {
			by = stagger
		}
		s.flows.await(p, by)
		return stayHere
	}
	if len(p.tries) == 0 {
		return leaveIt
	}
	s.flows.await(p, p.by)
	return stayHere
}

func (p *pair) note(err error) {
	if p.failed == nil {
		p.failed = err
	}
}

// connect begins a connection. The address is looked at once more, here where it is
// dialled: whatever led here, the inside is not.
func (s *Server) connect(a netip.AddrPort) (fd int, err error) {
	if err := s.destinations.Look(a.Addr()); err != nil {
		return socket.None, err
	}
	return socket.Connect(a)
}

// answered deals with what came of a dial.
func (p *pair) answered(t *end, l *loop, events uint32) step {
	switch {
	case events&(unix.EPOLLERR|unix.EPOLLHUP) != 0:
		errno, err := unix.GetsockoptInt(t.fd, unix.SOL_SOCKET, unix.SO_ERROR)
		if err == nil {
			err = unix.Errno(errno)
		}
		p.note(os.NewSyscallError("connect", err))
		t.close()
		p.tries = slices.DeleteFunc(p.tries, func(other *end) bool { return other == t })
		return p.try() // the next address at once
	case events&unix.EPOLLOUT == 0:
		return stayHere
	}
	p.closeTries(t)
	p.origin = t
	t.news = events &^ unix.EPOLLOUT
	l.came(p)
	if p.entrance.listener.kind.tls {
		return p.stand(l, p.ahead)
	}
	return p.accepted(l)
}
