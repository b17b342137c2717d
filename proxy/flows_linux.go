package proxy

import (
	"errors"
	"io"
	"os"
	"slices"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"schoolgate/proxy/pipe"
	"schoolgate/proxy/socket"
)

// flows carries what stands: tunnels about which nothing is decided any more but
// whether they go on. A loop waits for all of them, so a tunnel on which nothing moves
// costs neither a stack nor a buffer nor a timer, and a few bytes that move cost no
// change of goroutine. Whatever would have it wait, a reader that is slow or bytes
// without an end, gets a goroutine for as long as that lasts.
//
// A tunnel is a pair of sockets of its own, or two of Go's connections. The latter's
// descriptors are only touched through them, which know when they are closed.
type flows struct {
	*loop

	// What one system call is told and says: one goroutine runs them all.
	part        []byte
	n           int
	err         error
	read, write func(fd uintptr)
}

// flow is a tunnel that stands. The flows' lock guards it.
type flow struct {
	halves [2]half // up, down
	left   int     // halves that have not ended
}

// half is one direction.
type half struct {
	tunnel   *tunnel
	src, dst syscall.RawConn
	up       bool
	slot     int32 // noSlot while a goroutine has it
	taken    bool  // an event of it is being dealt with
	over     bool
}

// lull is how long a goroutine waits for more before it gives its half back.
const lull = time.Second

func newFlows(s *Server) (*flows, error) {
	l, err := newLoop(s)
	if err != nil {
		return nil, err
	}
	f := &flows{loop: l}
	f.read = func(fd uintptr) { f.n, f.err = socket.Read(int(fd), f.buf) }
	f.write = func(fd uintptr) { f.n, f.err = socket.Write(int(fd), f.part) }
	return f, nil
}

// begin takes a tunnel over; false if it cannot be carried here. Whatever becomes of
// it, it is ended by the flows.
func (f *flows) begin(tn *tunnel) bool {
	fl := newFlow(tn)
	if fl == nil {
		return false
	}
	tn.mu.Lock()
	tn.flow = fl // a tunnel that is closed already fails at once below
	tn.mu.Unlock()
	for i := range fl.halves {
		f.attach(&fl.halves[i])
	}
	return true
}

// newFlow is a tunnel as the flows carry it, nil if they cannot.
func newFlow(tn *tunnel) *flow {
	client, origin := socket.TCP(tn.client), socket.TCP(tn.origin)
	if client == nil || origin == nil {
		return nil
	}
	c, errC := client.SyscallConn()
	o, errO := origin.SyscallConn()
	if errC != nil || errO != nil {
		return nil
	}
	fl := &flow{left: 2}
	fl.halves[0] = half{tunnel: tn, src: c, dst: o, up: true, slot: noSlot}
	fl.halves[1] = half{tunnel: tn, src: o, dst: c, slot: noSlot}
	return fl
}

// adopt takes over what was a pair. Of its halves one needs a goroutine, and has bytes
// that are to be sent first.
func (f *flows) adopt(fl *flow, over [2]bool, down bool, rest []byte) {
	busy := &fl.halves[0]
	if down {
		busy = &fl.halves[1]
	}
	f.mu.Lock()
	for i := range fl.halves {
		if over[i] {
			fl.halves[i].over = true
			fl.left--
		}
	}
	f.mu.Unlock()
	for i := range fl.halves {
		if h := &fl.halves[i]; h != busy {
			f.attach(h)
		}
	}
	go f.carry(busy, rest)
}

// attach has a half waited for.
func (f *flows) attach(h *half) {
	f.mu.Lock()
	if h.over {
		f.mu.Unlock()
		return
	}
	var turn int32
	h.slot, turn = f.take(h)
	h.taken = false
	event := unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLRDHUP | edge, Fd: h.slot, Pad: turn}
	f.mu.Unlock()
	var err error
	if closed := h.src.Control(func(fd uintptr) { err = unix.EpollCtl(f.epoll, unix.EPOLL_CTL_ADD, int(fd), &event) }); closed != nil || err != nil {
		f.end(h, false)
	}
}

// leaveSlot has it waited for no more. The lock is held.
func (f *flows) leaveSlot(h *half) {
	if h.slot != noSlot {
		f.leave(h.slot)
		h.slot = noSlot
	}
}

// ready deals with an event of a half.
func (h *half) ready(_ *loop, events uint32) {
	f := h.tunnel.server.flows
	f.mu.Lock()
	if h.slot == noSlot {
		f.mu.Unlock()
		return
	}
	h.taken = true
	f.mu.Unlock()
	switch next, rest := f.turn(h, events&hungUpOn != 0); next {
	case ended:
		f.end(h, true)
	case broken:
		f.end(h, false)
	case carried:
		f.handOver(h, rest)
	case waits:
		f.mu.Lock()
		h.taken = false
		f.mu.Unlock()
		if h.tunnel.isClosed() { // meanwhile: then it was left to us to end it
			f.end(h, false)
		}
	}
}

func (h *half) fail() { h.tunnel.server.flows.end(h, false) }

// What comes of an event.
type outcomeOfTurn uint8

const (
	waits   outcomeOfTurn = iota
	ended                 // its source has said its last
	broken                // the tunnel is over
	carried               // it needs a goroutine
)

// turn moves what is there, without waiting. gone says that no more will come.
func (f *flows) turn(h *half, gone bool) (outcomeOfTurn, []byte) {
	for {
		switch err := h.src.Control(f.read); {
		case err != nil:
			return broken, nil
		case f.err == unix.EAGAIN:
			return waits, nil
		case f.err != nil:
			return broken, nil
		case f.n == 0:
			return ended, nil
		}
		got := f.n
		for f.part = f.buf[:got]; len(f.part) > 0; f.part = f.part[f.n:] {
			if h.dst.Control(f.write) != nil || f.err != nil && f.err != unix.EAGAIN {
				return broken, nil
			}
			h.count(int64(f.n))
			if f.err == unix.EAGAIN {
				return carried, slices.Clone(f.part) // it reads slowly
			}
		}
		switch {
		case got == len(f.buf):
			return carried, nil
		case !gone: // a read that did not fill the buffer has taken all there was
			return waits, nil
		}
	}
}

func (h *half) count(n int64) {
	m := h.tunnel.server.metrics
	direction := m.down
	if h.up {
		direction = m.up
	}
	h.tunnel.count(direction, n)
}

// handOver gives a half to a goroutine.
func (f *flows) handOver(h *half, rest []byte) {
	f.mu.Lock()
	f.leaveSlot(h)
	f.mu.Unlock()
	var err error
	if closed := h.src.Control(func(fd uintptr) { err = unix.EpollCtl(f.epoll, unix.EPOLL_CTL_DEL, int(fd), nil) }); closed != nil || err != nil {
		f.end(h, false)
		return
	}
	go f.carry(h, rest)
}

// carry moves bytes as long as there are many. Its owner is the tunnel, which has not
// ended before its halves have.
func (f *flows) carry(h *half, rest []byte) {
	defer func() {
		if v := recover(); v != nil {
			f.panicked(h)
		}
	}()
	tn := h.tunnel
	dst, src := socket.TCP(tn.client), socket.TCP(tn.origin)
	if h.up {
		dst, src = src, dst
	}
	p := pipe.NewFast(dst, src)
	idle := f.server.limits.IdleStream
	if p == nil || dst.SetWriteDeadline(now().Add(idle)) != nil {
		f.end(h, false)
		return
	}
	if len(rest) > 0 {
		if _, err := dst.Write(rest); err != nil {
			f.end(h, false)
			return
		}
		h.count(int64(len(rest)))
	}
	var read, write time.Time // the deadlines in force
	for {
		t := now()
		if by := t.Add(lull); !socket.Near(read, by, lull) {
			read = by
			if src.SetReadDeadline(by) != nil {
				break
			}
		}
		if by := t.Add(idle); !socket.Near(write, by, idle) {
			write = by
			if dst.SetWriteDeadline(by) != nil {
				break
			}
		}
		n, err := p.Some()
		if n > 0 {
			h.count(n)
		}
		switch {
		case err == nil:
			continue
		case err == io.EOF:
			f.end(h, true)
			return
		case errors.Is(err, os.ErrDeadlineExceeded):
			f.attach(h)
			return
		}
		break
	}
	f.end(h, false)
}

// end ends a half: well if its source came to its end, which the other side is told.
func (f *flows) end(h *half, well bool) {
	tn := h.tunnel
	if well && f.alone(h) { // the other way has ended: closing both says the same
		tn.hangUp()
	} else if well {
		dst := tn.client
		if h.up {
			dst = tn.origin
		}
		well = socket.CloseWrite(dst) == nil
	}
	f.mu.Lock()
	last := f.markOver(h)
	f.mu.Unlock()
	if !well {
		tn.close()
	}
	if last {
		f.server.tunnels.ended(tn)
	}
}

// alone reports whether a half is the last of its tunnel.
func (f *flows) alone(h *half) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return !h.over && h.tunnel.flow.left == 1
}

// markOver notes that a half has ended, and reports whether it was the last of its
// tunnel. The lock is held.
func (f *flows) markOver(h *half) (last bool) {
	f.leaveSlot(h)
	if h.over {
		return false
	}
	h.over = true
	fl := h.tunnel.flow
	fl.left--
	return fl.left == 0
}

// closed ends the halves that nobody is at work on: of a connection that was closed
// nothing more is heard. The others find out by themselves.
func (f *flows) closed(fl *flow) {
	last := false
	f.mu.Lock()
	for i := range fl.halves {
		if h := &fl.halves[i]; h.slot != noSlot && !h.taken {
			last = f.markOver(h) || last
		}
	}
	f.mu.Unlock()
	if last {
		f.server.tunnels.ended(fl.halves[0].tunnel)
	}
}
