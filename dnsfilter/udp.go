package dnsfilter

import (
	"context"
	"net"
	"net/netip"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"schoolgate/dnsfilter/upstream"
)

const (
	maxPacket  = 4096 // of a query; a longer one is cut by the kernel and does not read
	controlLen = 64

	// receiveBuffer holds a flood until it has been looked at and dropped, so that
	// it does not push out what others ask. The usual one is full in a millisecond.
	receiveBuffer = 8 << 20

	sendTimeout = 1 // second that an answer waits for a network that takes nothing

	hurried = -10 // the nice value of a reader's thread

	// crowd is how many packets at once show that more come than one at a time can
	// be answered. The reader then lets whoever else is due on its core go first, and
	// the next batch is larger, which makes each answer cheaper. One name, and a
	// class of them, is never made to wait.
	crowd = 8

	// slice is how long a reader goes on before it lets the scheduler see it. Go
	// tells how long a goroutine has run by its processor's count of switches, and
	// coming back from the kernel is none: a loop that does nothing but wait there
	// looks as if it ran for ever, after 10 ms. Its processor is then taken away at
	// every wait and looked for at every packet, which costs as much as the answer.
	slice = 4 * time.Millisecond
)

// packets is one address bound for UDP, with a socket for each core (and not for
// each of Go's processors, of which there are more: see cmd/schoolgate).
type packets struct {
	addr  netip.AddrPort
	ports []*port
}

// port is one of the sockets. It is none of the net package's: whose poller hears
// of each packet sent as well as of each received, which costs as much as deciding
// it. A thread waits in the kernel instead.
type port struct {
	fd      uintptr
	any     bool // bound to every address of the box: the answer must leave from the one that was asked
	stopped atomic.Bool
	readers sync.WaitGroup
	rounds  atomic.Uint64 // batches answered, for Beat
	got     int           // packets of the last receive
	sliced  time.Time     // when the reader's slice began

	mu     sync.RWMutex // held while something is sent, so that fd is still ours
	closed bool
}

func listenPackets(addr string) (*packets, error) {
	p := &packets{}
	for range runtime.NumCPU() {
		lc := net.ListenConfig{Control: setOptions}
		conn, err := lc.ListenPacket(context.Background(), "udp", addr)
		if err != nil {
			p.close()
			return nil, err
		}
		p.addr = conn.LocalAddr().(*net.UDPAddr).AddrPort()
		addr = p.addr.String() // the others share what the first one got
		fd, err := takeSocket(conn.(*net.UDPConn))
		if err != nil {
			p.close()
			return nil, err
		}
		p.ports = append(p.ports, &port{fd: uintptr(fd), any: p.addr.Addr().IsUnspecified()})
	}
	return p, nil
}

// takeSocket takes a socket away from the net package.
func takeSocket(conn *net.UDPConn) (fd int, err error) {
	defer conn.Close()
	raw, err := conn.SyscallConn()
	if err != nil {
		return 0, err
	}
	if cerr := raw.Control(func(theirs uintptr) {
		if fd, err = unix.FcntlInt(theirs, unix.F_DUPFD_CLOEXEC, 0); err == nil {
			err = unix.SetNonblock(fd, false)
		}
	}); cerr != nil {
		return 0, cerr
	}
	return fd, err
}

// setOptions lets the sockets share the port and, where they are bound to every
// address, tell the one each packet was sent to. The kernel gives every client to
// one of the sockets.
func setOptions(network, address string, c syscall.RawConn) error {
	addr, err := netip.ParseAddrPort(address)
	if err != nil {
		return err
	}
	every := addr.Addr().IsUnspecified()
	if cerr := c.Control(func(fd uintptr) {
		err = unix.SetsockoptTimeval(int(fd), unix.SOL_SOCKET, unix.SO_SNDTIMEO, &unix.Timeval{Sec: sendTimeout})
		if err == nil && unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, receiveBuffer) != nil {
			err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUF, receiveBuffer) // as much as we may
		}
		if err == nil {
			err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEPORT, 1)
		}
		if err == nil && every && network == "udp6" {
			err = unix.SetsockoptInt(int(fd), unix.IPPROTO_IPV6, unix.IPV6_RECVPKTINFO, 1)
		}
		if err == nil && every && network == "udp4" {
			err = unix.SetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_PKTINFO, 1)
		}
	}); cerr != nil {
		return cerr
	}
	return os.NewSyscallError("setsockopt", err)
}

func (p *packets) serve(owner *sync.WaitGroup, loop func(*port)) {
	for _, port := range p.ports {
		port.readers.Add(1)
		owner.Go(func() {
			defer port.readers.Done()
			hurry() // the thread ends with the goroutine
			loop(port)
		})
	}
}

// stop ends the reading; what is under way still leaves by the sockets.
func (p *packets) stop() {
	for _, port := range p.ports {
		port.stop()
	}
}

func (p *port) stop() {
	if p.stopped.Swap(true) {
		return
	}
	// It wakes the reader, although the kernel complains that nobody is connected.
	_ = unix.Shutdown(int(p.fd), unix.SHUT_RD)
}

func (p *packets) close() {
	for _, port := range p.ports {
		port.close()
	}
}

func (p *port) close() {
	p.stop()
	p.readers.Wait()
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.closed {
		p.closed = true
		_ = unix.Close(int(p.fd)) // nothing is lost with it
	}
}

// hurry puts the calling goroutine on a thread of its own, ahead of the program's
// others where the system lets it (LimitNICE= of the service): beside a busy web door
// names come first (fault F16). A name costs microseconds, so nobody else waits.
func hurry() {
	runtime.LockOSThread()
	// Without the right to it everything works, only later beside other work.
	_ = unix.Setpriority(unix.PRIO_PROCESS, 0, hurried)
}

// receive waits for packets and takes as many as there are, or none if reading has
// been stopped. Meanwhile replies of upstreams to questions of the stage are seen to.
func (p *port) receive(headers []header, stage *upstream.Stage) (n int, err error) {
	for !p.stopped.Load() {
		if p.got >= crowd {
			_, _, _ = unix.RawSyscall(unix.SYS_SCHED_YIELD, 0, 0, 0) // it cannot fail, sched_yield(2)
		}
		flags, replies := unix.MSG_WAITFORONE, 0
		if stage != nil && stage.Waiting() {
			more := false
			replies, more = stage.Await(p.fd)
			p.yield()
			if !more {
				p.got = replies
				continue
			}
			flags = unix.MSG_DONTWAIT
		}
		got, _, errno := unix.Syscall6(unix.SYS_RECVMMSG, p.fd, uintptr(unsafe.Pointer(&headers[0])), uintptr(len(headers)), uintptr(flags), 0, 0)
		switch {
		case errno == unix.EINTR, errno == unix.EAGAIN:
		case errno != 0:
			return 0, os.NewSyscallError("recvmmsg", errno)
		case p.stopped.Load() && headers[0].length == 0: // woken by nothing
			return 0, nil
		default:
			p.yield()
			p.got = int(got) + replies
			return int(got), nil
		}
	}
	return 0, nil
}

// yield begins another slice where it is time. It comes after the wait, so that
// the slice is fresh while a quiet socket waits for its next packet.
func (p *port) yield() {
	if time.Since(p.sliced) >= slice {
		runtime.Gosched()
		p.sliced = time.Now()
	}
}

// send sends packets and gives how many of them the kernel refused.
func (p *port) send(headers []header) (refused int) {
	p.mu.RLock()
	defer p.mu.RUnlock()
	if p.closed {
		return len(headers)
	}
	for len(headers) > 0 {
		sent, _, errno := unix.Syscall6(unix.SYS_SENDMMSG, p.fd, uintptr(unsafe.Pointer(&headers[0])), uintptr(len(headers)), 0, 0, 0)
		switch {
		case errno == unix.EINTR:
			continue
		case errno == unix.EAGAIN: // for a whole second: the others need not try
			return refused + len(headers)
		case errno != 0: // the client of the first one is gone, or the way to it: it asks again
			refused++
			sent = 1
		}
		headers = headers[sent:]
	}
	return refused
}
