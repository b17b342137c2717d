package upstream

import (
	"sync"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	stageSize = 64 // queries sent with one system call
	inboxSize = 16 // replies read with one, of a socket with a reader of its own

	// maxUDPReply is more than was asked for (ednsSize); what is longer still is
	// cut by the kernel and asked for again over TCP.
	maxUDPReply = 1536
)

// mmsghdr is the kernel's struct of that name.
type mmsghdr struct {
	unix.Msghdr
	length uint32
	_      [4]byte
}

// outbox sends the queries of one stage over one connected socket. One goroutine
// at a time owns it.
type outbox struct {
	headers  [stageSize]mmsghdr
	vectors  [stageSize]unix.Iovec
	sent, to int
	err      error
	transmit func(fd uintptr) bool
}

func newOutbox() *outbox {
	o := &outbox{}
	o.transmit = o.sendmmsg
	return o
}

func (o *outbox) sendmmsg(fd uintptr) bool {
	n, _, errno := unix.Syscall6(unix.SYS_SENDMMSG, fd, uintptr(unsafe.Pointer(&o.headers[o.sent])), uintptr(o.to-o.sent), unix.MSG_DONTWAIT, 0, 0)
	o.err = nil
	switch errno {
	case 0:
		o.sent += int(n)
		return true
	case unix.EAGAIN:
		return false
	}
	o.err = errno
	return true
}

// send sends at most stageSize queries. A lane's reader has others to answer: where the
// network takes no more, it does not wait.
func (o *outbox) send(sock *socket, flights []*flight) error {
	for i, f := range flights {
		o.vectors[i].Base = &f.call.query[0]
		o.vectors[i].SetLen(len(f.call.query))
		o.headers[i].Iov = &o.vectors[i]
		o.headers[i].SetIovlen(1)
	}
	o.sent, o.to = 0, len(flights)
	for o.sent < o.to {
		switch {
		case !sock.lane:
			if err := sock.raw.Write(o.transmit); err != nil {
				return err
			}
		case !o.sendmmsg(uintptr(sock.fd)):
			return unix.EAGAIN
		}
		if o.err != nil {
			return o.err
		}
	}
	return nil
}

// inbox is what one receive reads.
type inbox struct {
	headers  []mmsghdr
	vectors  []unix.Iovec
	packets  [][maxUDPReply + 1]byte
	received int
	err      error
	receive  func(fd uintptr) bool

	done []delivery
}

// inboxes are used again: a quiet server has a socket for each query.
var inboxes = sync.Pool{New: func() any { return newInbox(inboxSize) }}

func newInbox(size int) *inbox {
	in := &inbox{
		headers: make([]mmsghdr, size), vectors: make([]unix.Iovec, size), packets: make([][maxUDPReply + 1]byte, size),
		done: make([]delivery, 0, size),
	}
	for i := range in.headers {
		in.vectors[i].Base = &in.packets[i][0]
		in.vectors[i].SetLen(len(in.packets[i]))
		in.headers[i].Iov = &in.vectors[i]
		in.headers[i].SetIovlen(1)
	}
	in.receive = in.recvmmsg
	return in
}

func (in *inbox) recvmmsg(fd uintptr) bool {
	n, _, errno := unix.Syscall6(unix.SYS_RECVMMSG, fd, uintptr(unsafe.Pointer(&in.headers[0])), uintptr(len(in.headers)), unix.MSG_DONTWAIT, 0, 0)
	in.received, in.err = int(n), nil
	switch errno {
	case 0:
		return true
	case unix.EAGAIN:
		return false
	}
	in.received, in.err = 0, errno
	return true
}

// read waits for replies; none without an error is not possible.
func (in *inbox) read(raw syscall.RawConn) error {
	if err := raw.Read(in.receive); err != nil {
		return err
	}
	return in.err
}

func (in *inbox) packet(i int) []byte {
	p := in.packets[i][:in.headers[i].length]
	if len(p) > maxUDPReply {
		p[2] |= bitTC >> 8 // the kernel cut it
	}
	return p
}
