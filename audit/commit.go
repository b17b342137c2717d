package audit

import (
	"runtime"
	"time"

	"schoolgate/policy"
)

// batch is one frame being gathered. Callers add their events under the
// journal's lock and wait; one of them, the leader, writes it for all.
type batch struct {
	buf      []byte // room for the frame header, then the events
	count    int
	flagged  int
	cut      int           // events with an oversized field
	prev     *policy.Event // the last added, which its caller keeps until the batch is done
	prevTime int64
	min, max int64

	refs int           // callers that have still to read the outcome; under the journal's lock
	turn chan struct{} // tells one of the waiting callers to lead
	done chan struct{} // closed with the outcome; nil while nobody waits

	// The outcome, set before done is closed.
	first policy.EventID
	err   error
	round *syncRound // the sync to wait for, if one is needed
}

// syncRound is one trip to the disk and the callers that wait for it.
type syncRound struct {
	done chan struct{}
	err  error // set before done is closed
}

func newRound() *syncRound { return &syncRound{done: make(chan struct{})} }

func newBatch() *batch {
	return &batch{buf: make([]byte, frameHeaderSize, 8<<10), turn: make(chan struct{}, 1)}
}

// noEvent is what the first event of a frame is compared with.
var noEvent policy.Event

// add writes the event into the batch and gives its place.
func (b *batch) add(e *policy.Event) (place int) {
	t := unixNano(e.Time)
	prev := b.prev
	if prev == nil {
		prev, b.min, b.max = &noEvent, t, t
	}
	b.buf = appendEvent(b.buf, e, prev, t, b.prevTime)
	b.prev, b.prevTime = e, t
	b.min, b.max = min(b.min, t), max(b.max, t)
	if e.Flagged() {
		b.flagged++
	}
	if oversized(e) {
		b.cut++
	}
	b.count++
	return b.count - 1
}

// full reports whether the frame has reached its bounds.
func (b *batch) full() bool { return len(b.buf) >= maxPlain || b.count >= maxEvents }

// reset makes the batch ready to gather again.
func (b *batch) reset() {
	*b = batch{buf: b.buf[:frameHeaderSize], turn: b.turn}
}

// Record writes one event and sets its ID (and its Time, if it has none). When
// it returns nil, the event has been handed to the kernel, and is on disk if it
// is durable ([policy.Event.Durable]). An error means that it is not known to be recorded: the answer
// must be a refusal. Waiting callers share a write; when more than
// Options.MaxWaiting wait, the rest get [ErrOverloaded] at once.
func (j *Journal) Record(ev *policy.Event) error {
	stamp(ev)
	b, lead, err := j.join()
	if err != nil {
		return err
	}
	place := b.add(ev)
	j.mu.Unlock()
	return j.commit(b, lead, func(first policy.EventID) { ev.ID = first + policy.EventID(place) }, ev.Durable())
}

// Waits reports whether Record will wait for the disk with an event, and not only for
// the kernel to take it.
func (j *Journal) Waits(ev *policy.Event) bool {
	return ev.Durable() || j.opts.Durability == Strict
}

// RecordBatch writes events in order, sharing frames, and sets their IDs. On an
// error, the events that were recorded have an ID and the others none.
func (j *Journal) RecordBatch(evs []policy.Event) error {
	for i := range evs {
		evs[i].ID = 0
		stamp(&evs[i])
	}
	for len(evs) > 0 {
		n, err := j.recordSome(evs)
		if err != nil {
			return err
		}
		evs = evs[n:]
	}
	return nil
}

// recordSome records as many events as one frame has room for.
func (j *Journal) recordSome(evs []policy.Event) (n int, err error) {
	b, lead, err := j.join()
	if err != nil {
		return 0, err
	}
	place, durable := b.count, false
	for n < len(evs) && !b.full() {
		b.add(&evs[n])
		durable = durable || evs[n].Durable()
		n++
	}
	j.mu.Unlock()
	err = j.commit(b, lead, func(first policy.EventID) {
		for i := range evs[:n] {
			evs[i].ID = first + policy.EventID(place+i)
		}
	}, durable)
	return n, err
}

func stamp(ev *policy.Event) {
	if ev.Time.IsZero() {
		ev.Time = time.Now()
	}
}

// join finds room in the batch being gathered and returns with the lock held;
// lead is true for the caller who must write it.
func (j *Journal) join() (b *batch, lead bool, err error) {
	j.mu.Lock()
	for !j.closed && j.waiting < j.opts.MaxWaiting && j.pending.full() {
		j.waiting++
		j.room.Wait()
		j.waiting--
	}
	switch {
	case j.closed:
		err = ErrClosed
	case j.waiting >= j.opts.MaxWaiting:
		err = ErrOverloaded
		j.metrics.refused.Inc()
	}
	if err != nil {
		j.mu.Unlock()
		return nil, false, err
	}
	j.waiting++
	b = j.pending
	b.refs++
	if lead = !j.leading; lead {
		j.leading = true
	} else if b.done == nil {
		b.done = make(chan struct{})
	}
	return b, lead, nil
}

// commit sees the batch written, by this caller or another, gives the number of
// its first event to assign, and waits for the disk if that is promised.
func (j *Journal) commit(b *batch, lead bool, assign func(first policy.EventID), flagged bool) error {
	if lead {
		j.lead(b)
	} else {
		select {
		case <-b.done:
		case <-b.turn:
			j.lead(b)
		}
	}
	err, round := b.err, b.round
	if err == nil {
		assign(b.first)
	}
	j.leave(b)
	if err != nil || round == nil || !flagged && j.opts.Durability != Strict {
		return err
	}
	<-round.done
	return round.err
}

// leave gives the batch up; the last to do so lets it be filled again.
func (j *Journal) leave(b *batch) {
	j.mu.Lock()
	j.waiting--
	b.refs--
	if b.refs == 0 && j.spare == nil {
		b.reset()
		j.spare = b
	}
	j.mu.Unlock()
}

// A write costs as much for twenty events as for one, and without waiting there was one
// for nearly every event, however many came: so a leader lets others run first, who may
// be about to record something too. Only if one of the last remembered batches was
// shared, for who records alone would wait for nobody; and not if enough are there.
const remembered, enough = 16, 8

// lead writes the batch being gathered, which is b, and passes the lead on to a
// caller of the next one, if there is any.
func (j *Journal) lead(b *batch) {
	j.mu.Lock()
	if j.w.company > 0 && b.count < enough {
		j.mu.Unlock()
		runtime.Gosched()
		j.mu.Lock()
	}
	if j.w.company = max(0, j.w.company-1); b.refs > 1 {
		j.w.company = remembered
	}
	if j.spare == nil {
		j.spare = newBatch()
	}
	j.pending, j.spare = j.spare, nil
	drop := j.drop
	j.room.Broadcast()
	j.mu.Unlock()

	end, err := j.write(b, drop)

	j.mu.Lock()
	b.err, j.failure = err, err
	if err == nil {
		b.first = end.seq - policy.EventID(b.count) + 1
		j.wrote(b, end)
	}
	j.passOn()
	done := b.done // set only under the lock, and by nobody once b is not pending
	j.mu.Unlock()
	if done != nil {
		close(done)
	}
}

// passOn gives the lead to whoever waits for it. The lock is held.
func (j *Journal) passOn() {
	switch {
	case len(j.asking) > 0:
		close(j.asking[0])
		j.asking = j.asking[1:]
	case j.pending.count > 0:
		j.pending.turn <- struct{}{}
	default:
		j.leading = false
		j.idle.Broadcast()
	}
}

// aside runs f as the one who may write, between two batches.
func (j *Journal) aside(f func(drop bool) error) error {
	j.mu.Lock()
	if j.closed {
		j.mu.Unlock()
		return ErrClosed
	}
	turn := make(chan struct{})
	if j.leading {
		j.asking = append(j.asking, turn)
	} else {
		j.leading = true
		close(turn)
	}
	j.mu.Unlock()
	<-turn
	j.mu.Lock()
	drop := j.drop
	j.mu.Unlock()
	err := f(drop)
	j.mu.Lock()
	j.passOn()
	j.mu.Unlock()
	return err
}

// wrote takes note of a batch handed to the kernel. The lock is held.
func (j *Journal) wrote(b *batch, end mark) {
	j.end = end
	if b.flagged > 0 || j.opts.Durability == Strict {
		b.round = j.round
		wake(j.flagged)
	}
	if !j.armed { // also for flagged ones: the timer keeps the head file up
		j.armed = true
		wake(j.unsynced)
	}
}

func wake(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
