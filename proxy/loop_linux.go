package proxy

import (
	"errors"
	"os"
	"runtime"
	"runtime/debug"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"schoolgate/proxy/origins"
	"schoolgate/proxy/socket"
)

// loop waits for sockets in an epoll of its own, on a thread that does nothing else
// but deal with what comes. Go's poller would wake a goroutine for each, and with it
// often another thread, and that costs more than the few bytes that are moved.
//
// Nothing that is done here may wait for long: whoever else is waited for waits too.
type loop struct {
	server      *Server
	epoll, bell int    // the bell, an eventfd, ends a wait
	buf         []byte // of whoever is dealt with

	handed bool // somebody was given work, who is next on this thread

	sparing sync.Mutex
	spare   int // a descriptor to give up when there are no others, or socket.None

	mu      sync.Mutex
	slots   []slot
	free    []int32
	due     map[*pair]time.Time // pairs that must come on by a time
	paused  []*entrance         // there was nothing to accept with
	running bool
	asleep  bool // it waits for sockets alone, and not for a time
	over    bool
}

// slot is a place that an event names. Its turn tells who has it from who had it when
// the event came.
type slot struct {
	who  waiter
	turn int32
}

// waiter is somebody who waits for a socket.
type waiter interface {
	ready(l *loop, events uint32)
	fail() // it panicked
}

const (
	noSlot   = -1
	bellSlot = -2
)

// slice is how long a loop goes on before it lets Go's scheduler see it. Go tells how
// long a goroutine has run by its processor's count of switches, and coming back from
// the kernel is none: a loop that does nothing but wait there looks as if it ran for
// ever, after 10 ms. Its processor is then taken away at every wait and looked for
// after it, and Go's clock thread does not come to rest.
const slice = 7 * time.Millisecond

// beat is how often it looks at the time, while there is anything due.
const beat = origins.NextAddress

// muchAtOnce is the size of a loop's buffer. A tunnel that gives as much as this at
// once is given a goroutine: it is likely to have more.
const muchAtOnce = 64 << 10

// hungUpOn are the events after which no more bytes come.
const hungUpOn = unix.EPOLLRDHUP | unix.EPOLLHUP | unix.EPOLLERR

// edge has a socket's owner told of what is new, and not of what it knows.
const edge = unix.EPOLLET & (1<<32 - 1)

func newLoop(s *Server) (*loop, error) {
	epoll, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("epoll_create1", err)
	}
	bell, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		return nil, errors.Join(os.NewSyscallError("eventfd", err), unix.Close(epoll))
	}
	l := &loop{server: s, epoll: epoll, bell: bell, buf: make([]byte, muchAtOnce), due: map[*pair]time.Time{}}
	l.spare = l.another()
	event := unix.EpollEvent{Events: unix.EPOLLIN | edge, Fd: bellSlot}
	if err := unix.EpollCtl(epoll, unix.EPOLL_CTL_ADD, bell, &event); err != nil {
		return nil, errors.Join(os.NewSyscallError("epoll_ctl", err), l.release())
	}
	return l, nil
}

// release closes what the loop has of its own.
func (l *loop) release() error {
	l.sparing.Lock()
	defer l.sparing.Unlock()
	var err error
	if l.spare != socket.None {
		err = unix.Close(l.spare)
		l.spare = socket.None
	}
	return errors.Join(err, unix.Close(l.bell), unix.Close(l.epoll))
}

// another is one more descriptor, socket.None if there is none.
func (l *loop) another() int {
	fd, err := unix.FcntlInt(uintptr(l.epoll), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return socket.None
	}
	return fd
}

// close ends the waiting. Whoever was waited for has ended by then.
func (l *loop) close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.over {
		return nil
	}
	l.over = true
	if !l.running {
		return l.release()
	}
	return l.ring()
}

// ring ends a wait. The lock is held.
func (l *loop) ring() error {
	one := [8]byte{7: 1} // any number, in any order of bytes
	_, err := unix.Write(l.bell, one[:])
	return os.NewSyscallError("write", err)
}

// start reports whether the loop may run, which close may have forestalled.
func (l *loop) start() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.running = !l.over
	return l.running
}

// run deals with what comes until close.
func (l *loop) run() {
	if !l.start() {
		return
	}
	var events [128]unix.EpollEvent
	var sliced, next time.Time
	for wait := 0; ; {
		n, err := unix.EpollWait(l.epoll, events[:], wait)
		if err != nil && err != unix.EINTR {
			l.server.log.Error("epoll_wait", "err", err) // it was told something impossible
			return
		}
		t := now()
		if t.Sub(sliced) >= slice {
			runtime.Gosched()
			sliced = t
		}
		for i := range events[:max(n, 0)] {
			if !l.deal(&events[i]) {
				l.mu.Lock()
				defer l.mu.Unlock()
				l.release() // of descriptors of our own: there is nothing to lose
				return
			}
		}
		wait = int(beat.Milliseconds())
		if !t.Before(next) {
			next = t.Add(beat)
			if l.tick(t, n == 0) {
				wait = -1
			}
		}
		if l.handed { // or that work would wait here with us, until another thread steals it
			l.handed = false
			runtime.Gosched()
			sliced = t
		}
	}
}

// deal has an event dealt with; false ends the loop.
func (l *loop) deal(e *unix.EpollEvent) bool {
	l.mu.Lock()
	if e.Fd == bellSlot {
		defer l.mu.Unlock()
		l.asleep = false
		var count [8]byte
		_, _ = unix.Read(l.bell, count[:]) // it is edge-triggered: to read it is mere tidiness
		return !l.over
	}
	s := l.slots[e.Fd]
	l.mu.Unlock()
	if s.who == nil || s.turn != e.Pad {
		return true
	}
	defer func() {
		if v := recover(); v != nil {
			l.panicked(s.who)
		}
	}()
	s.who.ready(l, e.Events)
	return true
}

// panicked ends somebody who panicked, and nobody else (F26).
func (l *loop) panicked(w waiter) {
	l.server.metrics.panics.Inc()
	l.server.log.Error("panic in a tunnel, tunnel closed", "stack", string(debug.Stack()))
	w.fail()
}

// tick tells those whose time has come, and reports whether to wait without an end:
// nothing is due, and it was quiet for a while.
func (l *loop) tick(t time.Time, quiet bool) (asleep bool) {
	var late []*pair
	l.mu.Lock()
	for p, by := range l.due {
		if !t.Before(by) {
			delete(l.due, p)
			late = append(late, p)
		}
	}
	paused := l.paused
	l.paused = nil
	l.asleep = quiet && len(l.due)+len(late)+len(paused) == 0
	asleep = l.asleep
	l.mu.Unlock()
	for _, p := range late {
		p.late(l, t)
	}
	for _, e := range paused {
		e.resume()
	}
	return asleep
}

// await has a pair told when a time has come.
func (l *loop) await(p *pair, by time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.due[p] = by
	if l.asleep && !l.over {
		l.asleep = false
		_ = l.ring() // it is deaf only where it has ended
	}
}

// came takes back what await asked for.
func (l *loop) came(p *pair) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.due, p)
}

// take finds a slot for somebody. The lock is held.
func (l *loop) take(w waiter) (n, turn int32) {
	if last := len(l.free) - 1; last >= 0 {
		n, l.free = l.free[last], l.free[:last]
	} else {
		n = int32(len(l.slots))
		l.slots = append(l.slots, slot{})
	}
	l.slots[n].who = w
	return n, l.slots[n].turn
}

// leave gives a slot back: events of it that came are forgotten. The lock is held.
func (l *loop) leave(n int32) {
	s := &l.slots[n]
	s.who, s.turn = nil, s.turn+1
	l.free = append(l.free, n)
}

// add waits for a socket, and gives the slot.
func (l *loop) add(fd int, w waiter, events uint32) (int32, error) {
	l.mu.Lock()
	n, turn := l.take(w)
	l.mu.Unlock()
	event := unix.EpollEvent{Events: events, Fd: n, Pad: turn}
	if err := unix.EpollCtl(l.epoll, unix.EPOLL_CTL_ADD, fd, &event); err != nil {
		l.forget(n)
		return noSlot, os.NewSyscallError("epoll_ctl", err)
	}
	return n, nil
}

// forget gives a slot back whose socket is closed, and with that waited for no more.
func (l *loop) forget(n int32) {
	if n == noSlot {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.leave(n)
}

// remove waits for a socket no more.
func (l *loop) remove(fd int, n int32) error {
	l.forget(n)
	return os.NewSyscallError("epoll_ctl", unix.EpollCtl(l.epoll, unix.EPOLL_CTL_DEL, fd, nil))
}
