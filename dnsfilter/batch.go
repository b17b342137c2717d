package dnsfilter

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"strconv"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"schoolgate/policy"
)

// batchSize is how many packets one system call takes or sends at most. A quiet
// socket gives one at a time, so nobody waits for a batch to fill.
const batchSize = 64

// batchSink is a [policy.Sink] that takes the events of a batch in one go.
type batchSink interface {
	RecordBatch([]policy.Event) error
}

// batch is the packets of one receive: read with one call, decided one after the
// other, their events recorded with one write, and their answers sent with one
// call. x/net's batches allocate an address for each packet; this allocates
// nothing once it stands. One goroutine owns it.
type batch struct {
	raw  syscall.RawConn
	jobs [batchSize]*job
	in   [batchSize]header
	inV  [batchSize]unix.Iovec
	out  [batchSize]header
	outV [batchSize]unix.Iovec

	recorded []*job // answered, with an event
	answers  []*job // to be sent
	events   []policy.Event

	received, sent, toSend int
	err                    error
	receive, transmit      func(fd uintptr) bool
}

// header is the kernel's struct mmsghdr.
type header struct {
	unix.Msghdr
	length uint32
	_      [4]byte
}

// sockaddr has room for either family.
type sockaddr = unix.RawSockaddrInet6

func (s *Server) newBatch(p *port) (*batch, error) {
	raw, err := p.conn.SyscallConn()
	if err != nil {
		return nil, err
	}
	b := &batch{raw: raw, recorded: make([]*job, 0, batchSize), answers: make([]*job, 0, batchSize), events: make([]policy.Event, 0, batchSize)}
	for i := range b.jobs {
		b.fill(i, s.getJob())
	}
	b.receive, b.transmit = b.recvmmsg, b.sendmmsg
	return b, nil
}

// fill puts a fresh job in a place of the batch.
func (b *batch) fill(i int, j *job) {
	b.jobs[i] = j
	j.pkt, j.control = j.pkt[:maxPacket], j.control[:controlLen]
	b.inV[i].Base = &j.pkt[0]
	b.inV[i].SetLen(maxPacket)
	h := &b.in[i]
	h.Name = (*byte)(unsafe.Pointer(&j.sockaddr))
	h.Iov = &b.inV[i]
	h.SetIovlen(1)
	h.Control = &j.control[0]
	b.rearm(i)
}

// rearm undoes what the kernel wrote into a header.
func (b *batch) rearm(i int) {
	b.in[i].Namelen = unix.SizeofSockaddrInet6
	b.in[i].SetControllen(controlLen)
	b.in[i].Flags = 0
}

func (b *batch) recvmmsg(fd uintptr) bool {
	n, _, errno := unix.Syscall6(unix.SYS_RECVMMSG, fd, uintptr(unsafe.Pointer(&b.in[0])), batchSize, unix.MSG_DONTWAIT, 0, 0)
	b.received, b.err = int(n), nil
	switch errno {
	case 0:
		return true
	case unix.EAGAIN:
		return false // wait until there is something
	}
	b.received, b.err = 0, errno
	return true
}

func (b *batch) sendmmsg(fd uintptr) bool {
	n, _, errno := unix.Syscall6(unix.SYS_SENDMMSG, fd, uintptr(unsafe.Pointer(&b.out[b.sent])), uintptr(b.toSend-b.sent), unix.MSG_DONTWAIT, 0, 0)
	b.err = nil
	switch errno {
	case 0:
		b.sent += int(n)
		return true
	case unix.EAGAIN:
		return false
	}
	b.err = errno
	return true
}

// servePackets answers what comes in at one socket until reading is stopped.
func (s *Server) servePackets(ctx context.Context, p *port) {
	b, err := s.newBatch(p)
	if err != nil {
		s.cfg.Log.Error("socket cannot be read", "err", err)
		return
	}
	alone := func(j *job) {
		s.sendPacket(p, j)
		s.putJob(j)
	}
	for {
		if err := b.raw.Read(b.receive); err != nil {
			if !errors.Is(err, os.ErrDeadlineExceeded) && !errors.Is(err, net.ErrClosed) {
				s.cfg.Log.Error("socket is read no more", "err", err)
			}
			return
		}
		if b.err != nil {
			s.cfg.Log.Warn("packets not read", "err", b.err)
			continue
		}
		s.answerBatch(ctx, p, b, alone)
	}
}

// answerBatch takes every packet of the batch as far as it goes, records the
// events, and only then sends.
func (s *Server) answerBatch(ctx context.Context, p *port, b *batch, alone func(*job)) {
	now := time.Now()
	b.recorded, b.answers = b.recorded[:0], b.answers[:0]
	for i := range b.received {
		j := b.jobs[i]
		j.pkt, j.control = j.pkt[:b.in[i].length], j.control[:b.in[i].Controllen]
		j.peer = j.sockaddrPeer()
		j.nameLen = b.in[i].Namelen
		j.from, j.start = j.peer.Addr().Unmap().WithZone(""), now
		switch s.begin(ctx, j) {
		case drop:
		case reply:
			b.answers = append(b.answers, j)
		case record:
			b.recorded, b.answers = append(b.recorded, j), append(b.answers, j)
		case await:
			s.await(ctx, j, alone)
			b.fill(i, s.getJob())
		}
	}
	s.recordBatch(b)
	s.sendBatch(p, b)
	for i := range b.received {
		j := b.jobs[i]
		j.pkt, j.control = j.pkt[:maxPacket], j.control[:controlLen]
		b.rearm(i)
	}
}

// recordBatch puts the events of the batch into the journal; if that fails, none
// of its answers leaves.
func (s *Server) recordBatch(b *batch) {
	if len(b.recorded) == 0 {
		return
	}
	if s.batchSink == nil {
		for _, j := range b.recorded {
			s.record(j)
		}
		return
	}
	b.events = b.events[:0]
	for _, j := range b.recorded {
		b.events = append(b.events, j.event)
	}
	if err := s.guarded(func() error { return s.batchSink.RecordBatch(b.events) }); err != nil {
		for _, j := range b.recorded {
			s.unrecorded(j, err)
		}
	}
	took := time.Since(b.recorded[0].start).Seconds()
	for range b.recorded {
		s.metrics.latency.Observe(took)
	}
}

// sendBatch sends the answers. One that the kernel refuses is passed over: its
// client is gone, or the way to it, and asks again.
func (s *Server) sendBatch(p *port, b *batch) {
	for i, j := range b.answers {
		b.outV[i].Base = &j.buf[0]
		b.outV[i].SetLen(len(j.buf))
		h := &b.out[i]
		h.Name, h.Namelen = (*byte)(unsafe.Pointer(&j.sockaddr)), j.nameLen
		h.Iov = &b.outV[i]
		h.SetIovlen(1)
		h.Control, h.Flags = nil, 0
		h.SetControllen(0)
		if p.any && len(j.control) > 0 {
			h.Control = &j.control[0]
			h.SetControllen(len(j.control))
		}
	}
	b.sent, b.toSend = 0, len(b.answers)
	for b.sent < b.toSend {
		if err := b.raw.Write(b.transmit); err != nil {
			return // closed: there is no way to answer any more
		}
		if b.err != nil {
			s.metrics.dropped.WithLabelValues("send").Inc()
			b.sent++
		}
	}
}

// sockaddrPeer reads the address that the kernel wrote.
func (j *job) sockaddrPeer() netip.AddrPort {
	if j.sockaddr.Family == unix.AF_INET {
		v4 := (*unix.RawSockaddrInet4)(unsafe.Pointer(&j.sockaddr))
		return netip.AddrPortFrom(netip.AddrFrom4(v4.Addr), netPort(&v4.Port))
	}
	addr := netip.AddrFrom16(j.sockaddr.Addr)
	if j.sockaddr.Scope_id != 0 && addr.IsLinkLocalUnicast() {
		addr = addr.WithZone(strconv.FormatUint(uint64(j.sockaddr.Scope_id), 10))
	}
	return netip.AddrPortFrom(addr, netPort(&j.sockaddr.Port))
}

// netPort reads a port that lies in memory in network order.
func netPort(p *uint16) uint16 {
	b := (*[2]byte)(unsafe.Pointer(p))
	return uint16(b[0])<<8 | uint16(b[1])
}
