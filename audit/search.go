package audit

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"iter"
	"slices"

	"schoolgate/policy"
)

// Search yields the events a query asks for, in order of their numbers (which
// is not the order of their clocks, if the clock was set), or the newest first.
// It holds one frame and the places of one segment's frames in memory, passes
// over frames and segments by the times in their headers, and takes the journal
// as it is: a frame being written at that moment is not yet there. A stretch
// that cannot be read is yielded as a [*GapError]; Search goes on behind it.
func (d Dir) Search(ctx context.Context, q Query) iter.Seq2[policy.Event, error] {
	return func(yield func(policy.Event, error) bool) {
		keys, err := d.keyring()
		if err != nil {
			yield(policy.Event{}, err)
			return
		}
		firsts, err := segments(d.Path)
		if err != nil {
			yield(policy.Event{}, err)
			return
		}
		s := search{filter: newFilter(q), ctx: ctx, keys: keys, yield: yield}
		for i := range firsts {
			if q.Newest {
				i = len(firsts) - 1 - i
			}
			if !s.segment(d.Path, firsts, i) {
				return
			}
		}
	}
}

// search is one search under way. Its methods return false to end it.
type search struct {
	filter
	ctx   context.Context
	keys  *keyring
	yield func(policy.Event, error) bool
	found int
	plain []byte
}

// fail yields an error, unless it is a gap in what nobody asked for.
func (s *search) fail(err error) bool {
	if gap := (*GapError)(nil); errors.As(err, &gap) && !s.spans(gap.First, gap.Last) {
		return true
	}
	return s.yield(policy.Event{}, err)
}

func (s *search) segment(dir string, firsts []policy.EventID, i int) bool {
	if s.ctx.Err() != nil {
		return s.fail(s.ctx.Err()) && false
	}
	if i+1 < len(firsts) && !s.spans(firsts[i], firsts[i+1]-1) || !s.spans(firsts[i], maxID) {
		return true
	}
	seg, err := openSegment(dir, firsts[i])
	if errors.Is(err, fs.ErrNotExist) {
		return true // retention was faster
	}
	var until policy.EventID // where the next segment begins; 0 for the last
	gap := &GapError{First: firsts[i], Last: firsts[i], Segment: segmentName(firsts[i]), Err: err}
	if i+1 < len(firsts) {
		until = firsts[i+1]
		gap.Last = until - 1
	}
	if err != nil {
		if seg != nil {
			gap.Err = errors.Join(err, seg.close())
		}
		return s.fail(gap)
	}
	defer seg.close()
	if h, ok := seg.seal(); ok && !s.mayHold(&h) {
		return true
	}
	places, gaps := seg.places(&s.filter, until)
	for _, g := range gaps {
		if !s.fail(g) {
			return false
		}
	}
	if len(places) == 0 {
		return true
	}
	sealer, err := seg.sealer(s.keys)
	if err != nil {
		gap.Err = err
		return s.fail(gap)
	}
	if s.Newest {
		slices.Reverse(places)
	}
	for _, off := range places {
		if !s.frame(seg, sealer, off) {
			return false
		}
	}
	return true
}

// frame yields what is asked for of one frame.
func (s *search) frame(seg *segment, sealer *sealer, off int64) bool {
	if s.ctx.Err() != nil {
		return s.fail(s.ctx.Err()) && false
	}
	f, err := seg.frame(off)
	if errors.Is(err, errTorn) {
		return true // being written, or Verify tells of it
	}
	if err == nil {
		s.plain, err = sealer.open(s.plain[:0], &f)
	}
	if err != nil {
		return s.fail(&GapError{First: f.First, Last: f.last(), Segment: seg.name, Offset: off, Err: errAltered})
	}
	if s.Newest {
		return s.backward(seg, &f)
	}
	more := true
	err = decodeEvents(string(s.plain), f.First, int(f.Count), func(e *policy.Event) bool {
		more = !s.matches(e) || s.give(*e)
		return more
	})
	if err != nil {
		return s.fail(&GapError{First: f.First, Last: f.last(), Segment: seg.name, Offset: off, Err: err})
	}
	return more
}

func (s *search) backward(seg *segment, f *frame) bool {
	var hits []policy.Event
	err := decodeEvents(string(s.plain), f.First, int(f.Count), func(e *policy.Event) bool {
		if s.matches(e) {
			hits = append(hits, *e)
		}
		return true
	})
	if err != nil && !s.fail(&GapError{First: f.First, Last: f.last(), Segment: seg.name, Offset: f.Off, Err: err}) {
		return false
	}
	for _, e := range slices.Backward(hits) {
		if !s.give(e) {
			return false
		}
	}
	return true
}

func (s *search) give(e policy.Event) bool {
	s.found++
	if s.Veil != nil {
		s.Veil(&e)
	}
	return s.yield(e, nil) && (s.Limit <= 0 || s.found < s.Limit)
}

// seal is the summary at the end of a finished segment.
func (s *segment) seal() (frameHeader, bool) {
	size, err := s.size()
	if err != nil || size < headerSize+frameHeaderSize+tagSize+chainSize {
		return frameHeader{}, false
	}
	b := make([]byte, frameHeaderSize)
	if _, err := s.file.ReadAt(b, size-frameHeaderSize-tagSize-chainSize); err != nil {
		return frameHeader{}, false
	}
	h, ok := parseFrameHeader(b)
	return h, ok && h.Kind == frameSeal && h.Size == tagSize
}

// places walks the headers of a segment and gives where frames lie that may
// hold what is asked for, and the stretches that cannot be read, up to where the
// next segment begins. What is torn at the end of the last segment is being
// written, or Verify tells of it.
func (s *segment) places(f *filter, until policy.EventID) (places []int64, gaps []*GapError) {
	next := s.header.First
	missing := func(before policy.EventID, off int64, err error) {
		if before > next {
			gaps = append(gaps, &GapError{First: next, Last: before - 1, Segment: s.name, Offset: off, Err: err})
		}
	}
	whole, sealed := true, false
	for off := int64(headerSize); ; {
		h, err := s.scanner.header(off)
		if err != nil {
			at, ok := s.resync(off)
			if errors.Is(err, io.EOF) || !ok {
				if s.kept != nil && errors.Is(err, io.EOF) && whole && sealed {
					next = max(next, s.kept.Last+1)
				}
				missing(until, off, errGone)
				return places, gaps
			}
			off, whole = at, false
			continue
		}
		if s.kept != nil && whole { // what is not there was removed, and its receipt says so
			next = max(next, h.First)
		}
		whole, sealed = true, h.Kind == frameSeal
		missing(h.First, off, errGone)
		if h.Kind == frameEvents && f.mayHold(&h) && f.spans(h.First, h.last()) {
			places = append(places, off)
		}
		off, next = off+h.length(), max(next, h.First+policy.EventID(h.Count))
	}
}
