package pipe

import (
	"errors"
	"io"
	"net"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// Fast relays between two TCP sockets. It waits for bytes without holding
// anything, copies small amounts through a pooled buffer (two system calls) and
// lets the kernel splice large ones, which never reach our memory.
type Fast struct {
	dst, src *net.TCPConn
	raw      syscall.RawConn
	read     func(fd uintptr) bool // kept, so that waiting allocates nothing

	buf   *[32 << 10]byte // held from a read to its write
	n     int
	err   error
	limit io.LimitedReader
}

// NewFast is a Fast, nil if one of the connections is nil or closed already.
func NewFast(dst, src *net.TCPConn) *Fast {
	if dst == nil || src == nil {
		return nil
	}
	raw, err := src.SyscallConn()
	if err != nil {
		return nil
	}
	p := &Fast{dst: dst, src: src, raw: raw}
	p.read = p.tryRead
	return p
}

// tryRead reads without waiting; false asks to be called again when there is
// something. The buffer is given back before the wait.
func (p *Fast) tryRead(fd uintptr) bool {
	p.buf = Buffers.Get().(*[32 << 10]byte)
	for {
		p.n, p.err = unix.Read(int(fd), p.buf[:])
		if p.err != unix.EINTR {
			break
		}
	}
	if p.err == unix.EAGAIN {
		p.release()
		return false
	}
	return true
}

func (p *Fast) release() {
	if p.buf != nil {
		Buffers.Put(p.buf)
		p.buf = nil
	}
}

// Some moves what is there.
func (p *Fast) Some() (int64, error) {
	defer p.release()
	if err := p.raw.Read(p.read); err != nil {
		return 0, err
	}
	if p.err != nil {
		return 0, p.err
	}
	if p.n <= 0 {
		return 0, io.EOF
	}
	if _, err := p.dst.Write(p.buf[:p.n]); err != nil {
		return 0, brokenWrite(err)
	}
	moved := int64(p.n)
	if p.n == len(p.buf) {
		p.release()
		more, err := p.splice()
		return moved + more, err
	}
	return moved, nil
}

// spliceFrom is how much must be waiting before splicing pays, and spliceAtOnce how
// much goes at once: what moved is counted after it, and a slow reader must be seen to
// be alive.
const (
	spliceFrom   = 32 << 10
	spliceAtOnce = 1 << 20
)

// splice moves what waits in the socket from kernel to kernel. It asks for no
// more than is there, so that it never waits with a pipe in hand.
func (p *Fast) splice() (int64, error) {
	waiting := 0
	err := p.raw.Control(func(fd uintptr) { waiting, _ = unix.IoctlGetInt(int(fd), unix.TIOCINQ) })
	if err != nil || waiting < spliceFrom {
		return 0, err
	}
	p.limit = io.LimitedReader{R: p.src, N: int64(min(waiting, spliceAtOnce))}
	n, err := p.dst.ReadFrom(&p.limit)
	if errors.Is(err, os.ErrDeadlineExceeded) && p.writable() {
		return n, nil // the reader was slow, and the time of the source went by
	}
	if err != nil {
		return n, brokenWrite(err)
	}
	return n, nil
}

// writable reports whether the deadline of the destination is still ahead, so that one
// which passed was the source's. Then nothing is lost: what had left its socket was
// written before it was asked for more.
func (p *Fast) writable() bool {
	raw, err := p.dst.SyscallConn()
	return err == nil && raw.Write(func(uintptr) bool { return true }) == nil
}
