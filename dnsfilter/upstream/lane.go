package upstream

import (
	"net/netip"
	"os"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// lane is where one reader of questions asks upstreams from: ports of its own, whose
// replies it waits for itself, beside the next questions. So no other thread is woken
// for a reply, and replies gather as questions do while it is at work. Only its reader
// opens, polls and closes the ports; the lock of their owner guards the rest.
type lane struct {
	ports []*socket // at most one of a server's is not retired
	polls []unix.PollFd
	in    *inbox
}

const (
	// portLife is how long a port of a lane is in use, if it has not sent
	// socketUses queries before; and portRest how long it is kept open while nothing
	// is asked, since a reader with such a port needs two system calls and not one.
	portLife = time.Second
	portRest = 20 * time.Millisecond

	laneInbox = 64 // replies read with one system call
)

// pick gives the port to s for n more queries: in quiet times a fresh one, in busy
// times one that is given up after as many as any other. It needs the lock of s.
func (l *lane) pick(s *sockets, n int) (*socket, error) {
	now, share := time.Now(), s.shares(n)
	for _, p := range l.ports {
		if p.owner != s || p.retired {
			continue
		}
		if share && p.uses+n <= socketUses && now.Sub(p.opened) < portLife {
			p.uses, p.used = p.uses+n, now
			return p, nil
		}
		p.retired = true
	}
	fd, err := connect(s.addr)
	if err != nil {
		return nil, err
	}
	p := &socket{owner: s, fd: fd, lane: true, calls: make(map[uint16]*call, n), uses: n, retired: !share, opened: now, used: now}
	l.ports = append(l.ports, p)
	return p, nil
}

// connect opens a UDP port that only replies of addr come to. It is none of the net
// package's, whose poller hears of each packet sent as well as of each received.
func connect(addr netip.AddrPort) (fd int, err error) {
	family, to := unix.AF_INET, unix.Sockaddr(&unix.SockaddrInet4{Port: int(addr.Port())})
	if ip := addr.Addr().Unmap(); ip.Is4() {
		to.(*unix.SockaddrInet4).Addr = ip.As4()
	} else {
		family, to = unix.AF_INET6, &unix.SockaddrInet6{Port: int(addr.Port()), Addr: ip.As16()}
	}
	if fd, err = unix.Socket(family, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0); err != nil {
		return -1, os.NewSyscallError("socket", err)
	}
	if err = unix.Connect(fd, to); err != nil {
		_ = unix.Close(fd)
		return -1, os.NewSyscallError("connect", err)
	}
	return fd, nil
}

// Waiting reports whether replies may come to ports of the stage's own; then Await
// has to be called before each wait for questions.
func (st *Stage) Waiting() bool { return len(st.lane.ports) > 0 }

// Await waits until there is something to read at fd or at a port of the stage, but not
// for more than a second, and hands the replies to who waits for them. It gives how
// many there were, and whether fd has something (or has been shut down).
func (st *Stage) Await(fd uintptr) (replies int, more bool) {
	l := &st.lane
	l.polls = append(l.polls[:0], unix.PollFd{Fd: int32(fd), Events: unix.POLLIN})
	for _, p := range l.ports {
		l.polls = append(l.polls, unix.PollFd{Fd: int32(p.fd), Events: unix.POLLIN})
	}
	// It fails at a signal, or while the kernel is short of memory: the caller comes again.
	_, _, errno := unix.Syscall6(unix.SYS_PPOLL, uintptr(unsafe.Pointer(&l.polls[0])), uintptr(len(l.polls)), uintptr(unsafe.Pointer(&unix.Timespec{Sec: 1})), 0, 0, 0)
	if errno != 0 {
		return 0, false
	}
	for i, p := range l.ports {
		if l.polls[i+1].Revents != 0 {
			replies += l.read(p)
		}
	}
	l.tidy(time.Now())
	return replies, l.polls[0].Revents != 0
}

// read takes the replies that are at a port.
func (l *lane) read(p *socket) int {
	if l.in == nil {
		l.in = newInbox(laneInbox)
	}
	if !l.in.recvmmsg(uintptr(p.fd)) { // it was a packet with a wrong checksum
		return 0
	}
	if l.in.err != nil {
		p.fail(l.in.err) // an ICMP "port unreachable" comes up here: ask elsewhere at once
		return 0
	}
	p.deliver(l.in)
	p.owner.tell(l.in.done)
	return l.in.received
}

// tidy closes the ports that nothing is awaited at any more.
func (l *lane) tidy(now time.Time) {
	kept := l.ports[:0]
	for _, p := range l.ports {
		p.owner.mu.Lock()
		idle := len(p.calls) == 0
		p.retired = p.retired || now.Sub(p.opened) >= portLife || idle && now.Sub(p.used) >= portRest
		over := p.retired && idle
		p.owner.mu.Unlock()
		if over {
			_ = unix.Close(p.fd) // nothing is lost with it
			continue
		}
		kept = append(kept, p)
	}
	clear(l.ports[len(kept):])
	l.ports = kept
}

// Close ends the stage, by its reader; the flights under way take the long way.
func (st *Stage) Close() {
	st.Depart()
	for _, p := range st.lane.ports {
		p.fail(errUnusual)
	}
	st.lane.tidy(time.Now())
}
