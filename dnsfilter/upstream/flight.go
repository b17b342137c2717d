package upstream

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/miekg/dns"
)

// A question that the cache cannot answer is a flight, however many wait for it.
// Nearly all take the short way: one query over UDP with those of other flights,
// and a reply that is read in place, without a goroutine or a message for any of
// them. Whatever is not as usual, a reply that is late, cut, refused or odd in any
// way, takes the long way ([Resolver.fly]): a goroutine, other servers, TCP.

const (
	shortWay   = 300 * time.Millisecond // then another server is asked as well
	sweepEvery = 50 * time.Millisecond
)

// Waiter hears once that the answer it waits for is there, or that there is none.
// It is called by a goroutine that has others to tell: it must not wait.
type Waiter interface {
	Answered(err error, b Batch)
}

// Batch is what waiters told together may finish together, in Flush.
type Batch interface{ Flush() }

type noBatch struct{}

func (noBatch) Flush() {}

// flight is one question on its way, for all who ask it.
type flight struct {
	r       *Resolver
	key     string
	q       Question
	started time.Time
	server  *server // whom the short way asks; nil if there is no short way
	call    call
	sock    atomic.Pointer[socket] // the call is on
	cancel  atomic.Pointer[context.CancelFunc]
	landed  atomic.Bool

	// The resolver's lock guards the rest.
	long    bool // the long way has begun
	waiters []waiting
	first   [1]waiting
}

// waiting is one who waits, and what the answer is to be written to.
type waiting struct {
	w     Waiter
	a     *Answer
	stale bool // what a holds already will do if nothing better comes
	since time.Time
}

// Stage collects the queries of flights that begin together, to be sent with one
// call. One goroutine owns it.
type Stage struct {
	r       *Resolver
	flights []*flight
	out     *outbox
	lane    lane
}

// NewStage gives one for Start.
func (r *Resolver) NewStage() *Stage {
	return &Stage{r: r, flights: make([]*flight, 0, stageSize), out: newOutbox()}
}

// Depart sends what has been collected.
func (st *Stage) Depart() {
	for len(st.flights) > 0 {
		n := 1
		for n < len(st.flights) && st.flights[n].server == st.flights[0].server {
			n++
		}
		st.r.depart(st.flights[:n], st.out, &st.lane)
		clear(st.flights[:n])
		st.flights = append(st.flights[:0], st.flights[n:]...)
	}
}

// Start asks for what [Resolver.Cached] could not give; a is as Cached left it and
// belongs to the resolver until w has heard. If ready, or with an error, w hears
// nothing: a is filled already, or there is no answer. With a nil stage the query
// leaves at once.
func (r *Resolver) Start(q Question, a *Answer, w Waiter, st *Stage) (ready bool, err error) {
	if len(a.e) > 0 && a.e.has(flagFailure) && a.now < a.e.expires() {
		return false, a.e.failure()
	}
	r.metrics.misses.Inc()
	who := waiting{w: w, a: a, stale: r.usable(a), since: time.Now()}
	f, err := r.join(a.key, q, who.since, &who)
	switch {
	case err != nil && who.stale:
		a.stale = true
		r.metrics.stale.Inc()
		return true, nil
	case err != nil:
		return false, err
	case f == nil: // somebody asks already
	case st != nil && f.server != nil:
		if st.flights = append(st.flights, f); len(st.flights) == stageSize {
			st.Depart()
		}
	default:
		r.departAlone(f)
	}
	return false, nil
}

// join finds the flight of a question and waits in it; or makes one, which is to
// be sent.
func (r *Resolver) join(key []byte, q Question, now time.Time, who *waiting) (*flight, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if f := r.flights[string(key)]; f != nil {
		if who != nil {
			f.waiters = append(f.waiters, *who)
		}
		return nil, nil
	}
	switch {
	case r.closed:
		return nil, ErrClosed
	case len(r.flights) >= r.cfg.MaxInFlight:
		r.metrics.refused.Inc()
		return nil, ErrBusy
	}
	f := r.newFlight(key, q, now)
	if who != nil {
		f.first[0] = *who
		f.waiters = f.first[:]
	}
	r.flights[f.key] = f
	if !r.sweeping {
		r.sweeping = true
		r.done.Go(r.sweep)
	}
	return f, nil
}

// newFlight keeps the question beyond the call.
func (r *Resolver) newFlight(key []byte, q Question, now time.Time) *flight {
	memory := make([]byte, len(q.Name), 2*len(q.Name)+headerLen+4+11)
	copy(memory, q.Name)
	f := &flight{r: r, key: string(key), q: q, started: now}
	f.q.Name = memory[:len(q.Name):len(q.Name)]
	f.call.query, f.call.to = memory[len(q.Name):], f
	pool := r.root
	if len(r.zones) > 0 || r.validator != nil {
		name, err := f.q.presentation()
		if err == nil {
			pool = r.poolFor(name)
		}
		if err != nil || r.validates(name, f.q) {
			return f // by the long way alone
		}
	}
	if s := pool.best(f.started); s.secure == nil {
		f.server = s
	}
	return f
}

func (r *Resolver) departAlone(f *flight) {
	if f.server == nil {
		r.takeLongWay(f)
		return
	}
	out := r.outboxes.Get().(*outbox)
	defer r.outboxes.Put(out)
	r.depart([]*flight{f}, out, nil)
}

// depart sends flights to the server that all of them have in common.
func (r *Resolver) depart(flights []*flight, out *outbox, l *lane) {
	s := flights[0].server
	if err := s.sockets.depart(flights, out, l, s.plain.Load(), s.edns()); err == nil {
		return
	}
	for _, f := range flights {
		r.takeLongWay(f)
	}
}

// received is the end of the short way.
func (f *flight) received(reply []byte, err error, b Batch) {
	r, took := f.r, time.Since(f.started)
	var e entry
	p := r.readers.Get().(*plainReader)
	defer r.readers.Put(p)
	if err == nil {
		e, err = r.read(p, f, reply)
	}
	if err != nil {
		if !errors.Is(err, errUnusual) { // the long way sees for itself how the server does
			r.metrics.exchange(err, took)
			f.server.note(err, took)
		}
		r.takeLongWay(f)
		return
	}
	r.metrics.exchange(nil, took)
	f.server.note(nil, took)
	r.land(f, e, b)
}

// errUnusual is a reply that says nothing against its server, but needs more than
// the short way does.
var errUnusual = errors.New("reply needs another question")

// read makes an entry of a reply: in place if it is a usual one. It is valid until p is
// used again.
func (r *Resolver) read(p *plainReader, f *flight, reply []byte) (entry, error) {
	if e, ok := r.readPlain(p, f.key, f.q, reply); ok {
		return e, nil
	}
	if reply[2]&(bitTC>>8) != 0 {
		return nil, errUnusual
	}
	m, err := unpack(reply)
	if err != nil {
		return nil, err
	}
	if m.Rcode != dns.RcodeSuccess && m.Rcode != dns.RcodeNameError {
		if m.Rcode == dns.RcodeFormatError {
			return nil, errUnusual
		}
		return nil, errServer
	}
	name, err := f.q.presentation()
	if err != nil {
		return nil, errUnusual
	}
	v, err := vet(m, name, f.q, r.limits)
	switch {
	case err != nil:
		r.metrics.vetoed.Inc()
		return nil, err
	case v.unfinished(f.q):
		return nil, errUnusual
	}
	return r.finish([]byte(f.key), f.q, v)
}

// takeLongWay has a goroutine see to the flight, once.
func (r *Resolver) takeLongWay(f *flight) {
	r.mu.Lock()
	if r.flights[f.key] != f || f.long {
		r.mu.Unlock()
		return
	}
	if r.closed {
		r.mu.Unlock()
		r.land(f, nil, noBatch{})
		return
	}
	f.long = true
	r.done.Go(func() { r.fly(f) })
	r.mu.Unlock()
}

// fly asks the servers until one answers or the time is over.
func (r *Resolver) fly(f *flight) {
	ctx, cancel := context.WithDeadlineCause(r.ctx, f.started.Add(budget), errTimeout)
	defer cancel()
	f.cancel.Store(&cancel)
	e, err := r.ask(ctx, []byte(f.key), f.q)
	if err != nil {
		e = nil
		if why := BogusError(0); errors.As(err, &why) {
			e = bogusEntry([]byte(f.key), r.now(), why)
		}
	}
	b := r.cfg.batches()
	r.land(f, e, b)
	b.Flush()
}

// land ends a flight, once: the answer, nil if there is none, goes into the cache
// and to those who wait, each of whom gets a copy.
func (r *Resolver) land(f *flight, e entry, b Batch) {
	switch {
	case e == nil || e.expires() <= e.stored():
	case e.has(flagFailure) && r.serves([]byte(f.key)):
		r.cache.postpone([]byte(f.key), r.now()+recheck) // what it was to replace is good until its end
	default:
		r.cache.put(e)
	}
	r.mu.Lock()
	if r.flights[f.key] != f {
		r.mu.Unlock()
		return
	}
	if e == nil {
		r.remember([]byte(f.key))
	}
	delete(r.flights, f.key)
	waiters := f.waiters
	f.waiters = nil
	long := f.long
	r.mu.Unlock()
	f.landed.Store(true)
	if cancel := f.cancel.Load(); cancel != nil {
		(*cancel)()
	}
	if sock := f.sock.Load(); sock != nil && long {
		sock.owner.end(sock, &f.call)
	}
	for i := range waiters {
		waiters[i].tell(r, e, b)
	}
}

// tell hands the answer over; nil is none. A bogus answer is not made good by a stale
// one: that nobody can forge what we have told is no reason to go on telling it.
func (w *waiting) tell(r *Resolver, e entry, b Batch) {
	switch {
	case e != nil && e.has(flagFailure):
		r.metrics.failures.Inc()
		w.w.Answered(e.failure(), b)
	case e != nil:
		w.a.e, w.a.now, w.a.stale = append(w.a.e[:0], e...), e.stored(), false
		w.w.Answered(nil, b)
	case w.stale:
		w.a.stale = true
		r.metrics.stale.Inc()
		w.w.Answered(nil, b)
	default:
		r.metrics.failures.Inc()
		w.w.Answered(ErrFailed, b)
	}
}

// sweep looks after flights that take long, while there are any: those whose
// reply is late take the long way besides, and who has a stale answer waits no
// longer than that is worth.
func (r *Resolver) sweep() {
	tick := time.NewTicker(sweepEvery)
	defer tick.Stop()
	for {
		select {
		case <-r.ctx.Done():
			return
		case <-tick.C:
		}
		late, stale, more := r.late(time.Now())
		for _, f := range late {
			r.metrics.exchange(errTimeout, shortWay)
			f.server.note(errTimeout, shortWay)
			r.takeLongWay(f)
		}
		if len(stale) > 0 {
			b := r.cfg.batches()
			for i := range stale {
				stale[i].tell(r, nil, b)
			}
			b.Flush()
		}
		if !more {
			return
		}
	}
}

// late finds them; without more the sweeping ends with this.
func (r *Resolver) late(now time.Time) (late []*flight, stale []waiting, more bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, f := range r.flights {
		if !f.long && f.server != nil && now.Sub(f.started) >= shortWay {
			late = append(late, f)
		}
		if now.Sub(f.started) < staleAfter {
			continue
		}
		waiting := f.waiters[:0]
		for _, w := range f.waiters {
			if w.stale && now.Sub(w.since) >= staleAfter {
				stale = append(stale, w)
			} else {
				waiting = append(waiting, w)
			}
		}
		f.waiters = waiting
	}
	r.sweeping = len(r.flights) > 0
	return late, stale, r.sweeping
}
