package dnsfilter

import (
	"context"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"schoolgate/dnsfilter/upstream"
	"schoolgate/policy"
)

// await sees to a job that has to wait for an upstream, or for the disk. At the
// bounds, of all questions and of one client's, the answer is SERVFAIL at once: a
// device asks again, and nobody else is held up. A job of a stream is handed to
// its send; one that came in a packet is answered from the port it came to.
func (s *Server) await(ctx context.Context, j *job, stage *upstream.Stage) {
	if j.waits = forUpstream; j.ruling.Severity > 0 {
		j.waits = forDisk
	}
	if !s.guests.takeOff(j.guest, j.waits) {
		s.metrics.dropped.WithLabelValues("client_in_flight").Inc()
		s.overloaded(j)
		return
	}
	if int(s.flying[j.waits].Add(1)) > j.waits.share(s.cfg.MaxInFlight) {
		s.flying[j.waits].Add(-1)
		s.guests.land(j.guest, j.waits)
		s.metrics.dropped.WithLabelValues("in_flight").Inc()
		s.overloaded(j)
		return
	}
	s.waits.Add(1)
	if j.waits == forDisk {
		s.waits.Go(func() {
			s.finish(ctx, j)
			s.depart(j)
		})
		return
	}
	j.owner = s
	s.ask(j, stage)
}

func (s *Server) overloaded(j *job) {
	s.fail(j)
	s.deliver(j)
}

// finish takes a job to its end in a goroutine that may wait.
func (s *Server) finish(ctx context.Context, j *job) {
	var o outcome
	defer s.rescue(j, &o)
	s.work(ctx, j)
	s.described(j)
	s.record(j)
}

// ask has the resolver ask what j needs next, which is not in the cache.
func (s *Server) ask(j *job, stage *upstream.Stage) {
	q, _ := j.needs()
	ready, err := s.resolver.Start(q, &j.answer, j, stage)
	if ready || err != nil {
		j.Answered(err, nil)
	}
}

// Answered goes on with a job whose answer has come. It is an [upstream.Waiter]:
// it waits for nothing but the record of one that nobody else's answers wait for.
func (j *job) Answered(err error, b upstream.Batch) {
	s := j.owner
	o := s.resume(j, err)
	landing, together := b.(*landing)
	switch {
	case o == await:
		s.ask(j, nil)
	case together && (j.send != nil || j.ruling.Severity > 0): // a slow client, or the disk first
		s.waits.Go(func() { s.conclude(j, o) })
	case together && o == record:
		landing.add(j)
	default:
		s.conclude(j, o)
	}
}

// conclude records and sends one job's answer by itself.
func (s *Server) conclude(j *job, o outcome) {
	if o == record {
		s.record(j)
	}
	s.depart(j)
}

// resume follows the answer as far as the cache allows.
func (s *Server) resume(j *job, err error) (o outcome) {
	defer s.rescue(j, &o)
	switch {
	case err != nil:
		j.failed(err)
		s.compose(j)
	case s.follow(j):
		s.compose(j)
	case !s.advance(j):
		return await
	}
	return s.described(j)
}

// depart sends the answer of a job that waited and gives its place back.
func (s *Server) depart(j *job) {
	s.settle(j)
	s.deliver(j)
	s.waits.Done()
}

func (s *Server) settle(j *job) {
	s.flying[j.waits].Add(-1)
	s.guests.land(j.guest, j.waits)
}

// deliver sends an answer the way its question came.
func (s *Server) deliver(j *job) {
	if j.send != nil {
		j.send(j)
		return
	}
	l := s.landings.Get().(*landing)
	s.sendAll(j.port, []*job{j}, &l.out)
	s.landings.Put(l)
	s.putJob(j)
}

// landing is jobs whose answers came together: their events are recorded with one
// write, and their answers sent with as few calls as there are ports.
type landing struct {
	s    *Server
	jobs []*job
	books
	out outgoing
}

// newLanding is an [upstream.Config.NewBatch].
func (s *Server) newLanding() upstream.Batch { return s.landings.Get().(*landing) }

func (l *landing) add(j *job) {
	if l.jobs = append(l.jobs, j); len(l.jobs) == batchSize {
		l.settle()
	}
}

// Flush finishes them all; the landing is used again by others after that.
func (l *landing) Flush() {
	l.settle()
	l.s.landings.Put(l)
}

func (l *landing) settle() {
	if len(l.jobs) == 0 {
		return
	}
	l.s.recordAll(l.jobs, &l.books)
	for _, j := range l.jobs {
		l.s.settle(j)
	}
	for i := 0; i < len(l.jobs); {
		n := 1
		for i+n < len(l.jobs) && l.jobs[i+n].port == l.jobs[i].port {
			n++
		}
		l.s.deliverAll(l.jobs[i:i+n], &l.out)
		i += n
	}
	for range l.jobs {
		l.s.waits.Done()
	}
	clear(l.jobs)
	l.jobs = l.jobs[:0]
}

// deliverAll sends the answers of jobs that came to the same port, or by streams.
func (s *Server) deliverAll(jobs []*job, out *outgoing) {
	if jobs[0].send != nil {
		for _, j := range jobs {
			j.send(j)
		}
		return
	}
	s.sendAll(jobs[0].port, jobs, out)
	for _, j := range jobs {
		s.putJob(j)
	}
}

// books is what a batch of events is written with.
type books struct{ events []policy.Event }

// recordAll puts the events of jobs into the journal; if that fails, none of their
// answers leaves.
func (s *Server) recordAll(jobs []*job, b *books) {
	if len(jobs) == 0 {
		return
	}
	if s.batchSink == nil {
		for _, j := range jobs {
			s.record(j)
		}
		return
	}
	b.events = b.events[:0]
	for _, j := range jobs {
		b.events = append(b.events, j.event)
	}
	if err := s.guarded(func() error { return s.batchSink.RecordBatch(b.events) }); err != nil {
		for _, j := range jobs {
			if !j.event.Shielded { // that was counted all the same
				s.unrecorded(j, err)
			}
		}
	}
	s.metrics.answered(time.Now(), jobs...)
}

// outgoing is what a batch of answers is sent with. One goroutine at a time owns it.
type outgoing struct {
	headers [batchSize]header
	vectors [batchSize]unix.Iovec
}

// sendAll sends the answers. One that the kernel refuses is passed over: its
// client is gone, or the way to it, and asks again.
func (s *Server) sendAll(p *port, jobs []*job, o *outgoing) {
	for i, j := range jobs {
		o.vectors[i].Base = &j.buf[0]
		o.vectors[i].SetLen(len(j.buf))
		h := &o.headers[i]
		h.Name, h.Namelen = (*byte)(unsafe.Pointer(&j.sockaddr)), j.nameLen
		h.Iov = &o.vectors[i]
		h.SetIovlen(1)
		h.Control, h.Flags = nil, 0
		h.SetControllen(0)
		if p.any && len(j.control) > 0 {
			h.Control = &j.control[0]
			h.SetControllen(len(j.control))
		}
	}
	if refused := p.send(o.headers[:len(jobs)]); refused > 0 {
		s.metrics.dropped.WithLabelValues("send").Add(float64(refused))
	}
}

func (s *Server) makeLanding() any {
	return &landing{s: s, jobs: make([]*job, 0, batchSize)}
}
