package dnsfilter

import (
	"context"
	"net/netip"
	"strconv"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"schoolgate/dnsfilter/upstream"
	"schoolgate/policy"
)

// batchSize is how many packets one system call takes or sends at most. A quiet
// socket gives one at a time, so nobody waits for a batch to fill.
const batchSize = 64

const receivePause = 10 * time.Millisecond // after an error, which should not be

// batchSink is a [policy.Sink] that takes the events of a batch in one go.
type batchSink interface {
	RecordBatch([]policy.Event) error
}

// batch is the packets of one receive: read with one call, decided one after the
// other, their events recorded with one write, and their answers sent with one
// call. x/net's batches allocate an address for each packet; this allocates
// nothing once it stands. One goroutine owns it.
type batch struct {
	port *port
	jobs [batchSize]*job
	in   [batchSize]header
	inV  [batchSize]unix.Iovec

	near    [batchSize]*name // what the hashes of the questions lead to
	touched byte             // so that reaching for them is not left out

	recorded []*job // answered, with an event
	answers  []*job // to be sent
	books
	out   outgoing
	stage *upstream.Stage // queries of this batch to upstreams

	received int
}

// header is the kernel's struct mmsghdr.
type header struct {
	unix.Msghdr
	length uint32
	_      [4]byte
}

// sockaddr has room for either family.
type sockaddr = unix.RawSockaddrInet6

func (s *Server) newBatch(p *port) *batch {
	b := &batch{
		port: p, recorded: make([]*job, 0, batchSize), answers: make([]*job, 0, batchSize),
		books: books{make([]policy.Event, 0, batchSize)},
	}
	for i := range b.jobs {
		b.fill(i, s.getJob())
	}
	return b
}

// fill puts a fresh job in a place of the batch.
func (b *batch) fill(i int, j *job) {
	b.jobs[i], j.port = j, b.port
	j.pkt, j.control = j.pkt[:maxPacket], j.control[:controlLen]
	b.inV[i].Base = &j.pkt[0]
	b.inV[i].SetLen(maxPacket)
	h := &b.in[i]
	h.Name = (*byte)(unsafe.Pointer(&j.sockaddr))
	h.Iov = &b.inV[i]
	h.SetIovlen(1)
	if b.port.any {
		h.Control = &j.control[0]
	}
	b.rearm(i)
}

// rearm undoes what the kernel wrote into a header.
func (b *batch) rearm(i int) {
	b.in[i].Namelen = unix.SizeofSockaddrInet6
	if b.port.any {
		b.in[i].SetControllen(controlLen)
	}
	b.in[i].Flags = 0
}

// receive waits for packets, and sees to replies of upstreams meanwhile; false if
// reading has been stopped.
func (b *batch) receive() (more bool, err error) {
	b.received, err = b.port.receive(b.in[:], b.stage)
	return b.received > 0 || err != nil, err
}

// servePackets answers what comes in at one socket until reading is stopped.
func (s *Server) servePackets(ctx context.Context, p *port) {
	b := s.newBatch(p)
	b.stage = s.resolver.NewStage()
	defer b.stage.Close()
	for {
		more, err := b.receive()
		switch {
		case !more:
			return
		case err != nil: // the kernel is short of memory, at worst
			s.cfg.Log.Warn("packets not read", "err", err)
			time.Sleep(receivePause)
			continue
		}
		s.answerBatch(ctx, b)
		p.rounds.Add(1)
	}
}

// answerBatch takes every packet of the batch as far as it goes, records the
// events, and only then sends; and then asks upstreams what it must.
func (s *Server) answerBatch(ctx context.Context, b *batch) {
	s.decideBatch(ctx, b)
	s.sendAll(b.port, b.answers, &b.out)
	b.stage.Depart()
	for i := range b.received {
		j := b.jobs[i]
		j.pkt, j.control = j.pkt[:maxPacket], j.control[:controlLen]
		b.rearm(i)
	}
}

// decideBatch writes the answers of a batch, those that need not wait, and records
// their events.
func (s *Server) decideBatch(ctx context.Context, b *batch) {
	now := time.Now()
	b.recorded, b.answers = b.recorded[:0], b.answers[:0]
	s.readBatch(b, now)
	for i, j := range b.jobs[:b.received] {
		switch s.begin(j) {
		case drop:
		case reply:
			b.answers = append(b.answers, j)
		case record:
			b.recorded, b.answers = append(b.recorded, j), append(b.answers, j)
		case await:
			s.await(ctx, j, b.stage)
			b.fill(i, s.getJob())
		}
	}
	s.recordAll(b.recorded, &b.books)
}

// readBatch reads the packets and reaches for what is known of their names. With
// many names each of those is far away in memory: the way there is gone for all
// of them at once, and not for one after the other.
func (s *Server) readBatch(b *batch, now time.Time) {
	for i, j := range b.jobs[:b.received] {
		j.pkt, j.control = j.pkt[:b.in[i].length], j.control[:b.in[i].Controllen]
		j.peer, j.nameLen = j.sockaddrPeer(), b.in[i].Namelen
		j.from, j.start = j.peer.Addr().Unmap().WithZone(""), now
		s.read(j)
		if j.came == readQuery {
			b.near[i] = s.names.group(j.hash).find(j.hash)
		}
	}
	for i, j := range b.jobs[:b.received] {
		if n := b.near[i]; n != nil && j.came == readQuery && len(n.wire) > 0 {
			b.touched += n.wire[0]
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
