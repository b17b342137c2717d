package audit

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"slices"

	"schoolgate/policy"
)

// GapError is a stretch of the journal that cannot be read: removed, damaged or
// with its key erased. Reading goes on behind it, if the caller goes on.
type GapError struct {
	First, Last policy.EventID
	Segment     string
	Offset      int64
	Err         error
}

func (e *GapError) Error() string {
	return fmt.Sprintf("events %s to %s cannot be read (%s at %d): %v", e.First, e.Last, e.Segment, e.Offset, e.Err)
}

func (e *GapError) Unwrap() error { return e.Err }

var (
	// ErrAhead: a reader's cursor names an event this journal never had, as when
	// the journal was lost or replaced under it.
	ErrAhead = errors.New("cursor is ahead of the journal")
	errGone  = errors.New("no segment holds them")
)

// Follow yields the events after a number, in order, and then each new one,
// until ctx is done, the journal is closed or the caller stops. It yields only
// what is on disk: a cursor kept by the caller stays true after a power cut.
// Unflagged events so arrive within a second, flagged ones at once. A stretch
// that cannot be read is yielded as a [*GapError]. The strings of an event share
// its frame's memory, up to 320 KiB: clone those you keep for long.
func (j *Journal) Follow(ctx context.Context, after policy.EventID) iter.Seq2[policy.Event, error] {
	return func(yield func(policy.Event, error) bool) {
		c := cursor{dir: j.dir, keys: j.keys, next: after + 1}
		defer c.close()
		if last, _, _ := j.durable(); after > last && after > j.Head().Seq {
			yield(policy.Event{}, fmt.Errorf("%w: cursor %s, journal ends at %s", ErrAhead, after, last))
			return
		}
		for ctx.Err() == nil {
			last, more, closed := j.durable()
			if !c.read(ctx, last, yield) || closed {
				return
			}
			select {
			case <-ctx.Done():
			case <-more:
			}
		}
	}
}

// cursor reads the journal forward by event number.
type cursor struct {
	dir  string
	keys *keyring
	next policy.EventID // the event to read next

	passed policy.EventID // the segment last opened

	seg     *segment
	damaged bool // something before off could not be read
	sealed  bool // the last frame read was the segment's seal
	sealer  *sealer
	off     int64
	plain   []byte
}

func (c *cursor) close() {
	if c.seg != nil {
		_ = c.seg.close() // read-only: nothing to lose
		c.seg = nil
	}
}

// read yields events up to and including last; false if the caller stopped.
func (c *cursor) read(ctx context.Context, last policy.EventID, yield func(policy.Event, error) bool) bool {
	if c.seg != nil {
		c.seg.buf = c.seg.buf[:0] // what lay behind the last frame read may have changed
	}
	for c.next <= last {
		if ctx.Err() != nil {
			return false
		}
		if c.seg == nil {
			if gap := c.openNext(last); gap != nil && !c.skip(gap, yield) {
				return false
			}
			continue
		}
		f, err := c.seg.frame(c.off)
		switch {
		case err == nil:
			if !c.events(&f, yield) {
				return false
			}
		case errors.Is(err, errTorn), errors.Is(err, errBadFrame), errors.Is(err, io.EOF):
			c.pass(err)
		default:
			yield(policy.Event{}, fmt.Errorf("%s: %w", c.seg.name, err))
			return false
		}
	}
	return true
}

// skip yields a gap and goes on behind it.
func (c *cursor) skip(gap *GapError, yield func(policy.Event, error) bool) bool {
	c.next = gap.Last + 1
	return yield(policy.Event{}, gap)
}

// events yields a frame's events from c.next on.
func (c *cursor) events(f *frame, yield func(policy.Event, error) bool) bool {
	c.off, c.sealed = f.end(), f.Kind == frameSeal
	if f.Kind != frameEvents || f.Count == 0 || f.last() < c.next {
		return true
	}
	if f.First > c.next && c.seg.kept != nil && !c.damaged {
		c.next = f.First // removed by retention, as its receipt says
	}
	c.damaged = false
	if f.First > c.next {
		gap := &GapError{First: c.next, Last: f.First - 1, Segment: c.seg.name, Offset: f.Off, Err: errGone}
		if !c.skip(gap, yield) {
			return false
		}
	}
	more := true
	err := c.decode(f, func(e *policy.Event) bool {
		if e.ID >= c.next {
			more = yield(*e, nil)
			c.next = e.ID + 1
		}
		return more
	})
	if err != nil {
		return c.skip(&GapError{First: c.next, Last: f.last(), Segment: c.seg.name, Offset: f.Off, Err: err}, yield)
	}
	return more
}

func (c *cursor) decode(f *frame, yield func(*policy.Event) bool) error {
	if c.sealer == nil {
		var err error
		if c.sealer, err = c.seg.sealer(c.keys); err != nil {
			return err
		}
	}
	plain, err := c.sealer.open(c.plain[:0], f)
	if err != nil {
		return errAltered
	}
	c.plain = plain
	return decodeEvents(string(plain), f.First, int(f.Count), yield)
}

var errAltered = errors.New("does not open with its key: altered, moved or forged")

// pass goes on where no frame can be read: behind the damage, or in the next
// segment. What was lost shows by the numbers found there.
func (c *cursor) pass(err error) {
	if !errors.Is(err, io.EOF) {
		if at, ok := c.seg.resync(c.off); ok {
			c.off, c.damaged = at, true
			return
		}
	} else if k := c.seg.kept; k != nil && c.sealed && !c.damaged {
		c.next = max(c.next, k.Last+1)
	}
	c.close()
}

// openNext opens the segment that holds c.next, or gives the gap up to the next
// event there is.
func (c *cursor) openNext(last policy.EventID) *GapError {
	firsts, err := segments(c.dir)
	if err != nil {
		return &GapError{First: c.next, Last: last, Segment: c.dir, Err: err}
	}
	i, found := slices.BinarySearch(firsts, c.next)
	if !found && i > 0 && firsts[i-1] > c.passed {
		i--
	}
	end := last // of the segment, as far as it may be read
	if i+1 < len(firsts) {
		end = min(end, firsts[i+1]-1)
	}
	switch {
	case i == len(firsts):
		return &GapError{First: c.next, Last: last, Segment: c.dir, Err: errGone}
	case firsts[i] > c.next:
		return &GapError{First: c.next, Last: min(last, firsts[i]-1), Segment: c.dir, Err: errGone}
	}
	c.passed, c.off, c.sealer, c.damaged, c.sealed = firsts[i], headerSize, nil, false, false
	if c.seg, err = openSegment(c.dir, firsts[i]); err != nil {
		c.close()
		return &GapError{First: c.next, Last: max(end, c.next), Segment: segmentName(firsts[i]), Err: err}
	}
	return nil
}
