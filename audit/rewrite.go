package audit

import (
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"io"
	"path/filepath"
	"time"

	"schoolgate/policy"
)

// keptWriter writes a segment anew.
type keptWriter struct {
	f       file
	off     int64
	index   uint32
	sealer  *sealer
	chain   chain
	header  frameHeader // of the frame being filled
	buf     []byte
	prev    policy.Event
	prevT   int64
	seal    frameHeader // the span of all
	receipt Receipt
}

// rewrite writes what stays of a segment to a file beside it; nil if nothing goes.
func (t *retainer) rewrite(s *segment, due uint32, after *surveyed) (_ *keptWriter, err error) {
	last := after.first - 1
	k, err := t.weigh(s, due, last)
	if err == nil && k != nil && (after.bad != nil || after.prev != k.kept.End) {
		err = s.gap(last, 0, errApart)
	}
	if err != nil || k == nil {
		return nil, err
	}
	month, err := t.j.keys.get(s.header.Key)
	if err != nil {
		return nil, err
	}
	h := s.header
	h.Version = formatKept
	rand.Read(h.Salt[:])
	content := h.appendTo(nil)
	w := &keptWriter{off: int64(len(content)), receipt: k.receipt, buf: make([]byte, frameHeaderSize, 8<<10)}
	copy(w.chain[:], content[headerBody:])
	if w.sealer, err = newSealer(month, &h, w.chain); err != nil {
		return nil, err
	}
	tmp := filepath.Join(t.j.dir, keptTmp)
	if w.f, err = t.j.disk.Create(tmp); err != nil {
		return nil, err
	}
	_, err = w.f.WriteAt(content, 0)
	if err == nil {
		err = w.own(frameKept, k.kept.encode(), s.header.First, k.kept.Min, k.kept.Max)
	}
	if err == nil {
		err = t.copyFrames(s, due, w)
	}
	if err == nil {
		w.seal.Min, w.seal.Max = k.kept.Min, k.kept.Max
		err = w.own(frameSeal, nil, last+1, w.seal.Min, w.seal.Max)
	}
	if err == nil {
		err = w.f.Sync()
	}
	if err = errors.Join(err, w.f.Close()); err != nil {
		return nil, errors.Join(err, removeIfThere(t.j.disk, tmp))
	}
	w.receipt.After = hexChain(w.chain)
	return w, nil
}

// weighed is what will be left of a segment.
type weighed struct {
	kept    kept
	receipt Receipt
}

// errApart: what is missing after a segment must not pass for removed by retention.
var errApart = errors.New("the next segment does not follow it")

// weigh reads a segment through and counts. nil: nothing of it goes.
func (t *retainer) weigh(s *segment, due uint32, last policy.EventID) (*weighed, error) {
	w := &weighed{receipt: Receipt{
		At: t.now, Segment: s.name, First: s.header.First, Last: last, Removed: map[Class]int{}, Policy: t.r.Policy,
		Days: map[Class]float64{},
	}}
	for c, keep := range t.r.Keep {
		w.receipt.Days[c] = keep.Hours() / 24
	}
	if s.kept != nil {
		w.kept = *s.kept
	} else {
		size, err := s.size()
		if err != nil {
			return nil, err
		}
		w.kept = kept{Last: last, Size: size, Min: 1<<63 - 1, Max: -1 << 63}
	}
	going := 0
	end, err := t.walk(s, func(f *frame, plain string) error {
		if f.Kind != frameEvents {
			return nil
		}
		return decodeEvents(plain, f.First, int(f.Count), func(e *policy.Event) bool {
			if s.kept == nil {
				n := unixNano(e.Time)
				w.kept.Min, w.kept.Max = min(w.kept.Min, n), max(w.kept.Max, n)
			}
			fate, c, held := t.r.fateOf(e, due, t.held)
			switch {
			case held:
				w.receipt.Held++
			case fate == goes:
				w.receipt.Removed[c]++
				going++
			case fate == isCut:
				w.receipt.Cut++
			}
			if fate != goes {
				w.receipt.Kept++
			}
			return true
		})
	})
	if err != nil || going+w.receipt.Cut == 0 {
		return nil, err
	}
	if s.kept == nil {
		w.kept.End = end
	}
	w.kept.Events = uint64(w.receipt.Kept)
	if w.kept.Done = due; w.receipt.Held > 0 {
		w.kept.Done = 0
	}
	w.receipt.Before = hexChain(end)
	w.receipt.From, w.receipt.To = time.Unix(0, w.kept.Min).UTC(), time.Unix(0, w.kept.Max).UTC()
	return w, nil
}

func (t *retainer) held(e *policy.Event) bool {
	for i := range t.ledger.Holds {
		if t.ledger.Holds[i].matches(e) {
			return true
		}
	}
	return false
}

// walk gives every frame of a segment, opened, and the chain at its end. A segment
// that is not whole is not walked to its end: a [*GapError].
func (t *retainer) walk(s *segment, each func(f *frame, plain string) error) (end chain, err error) {
	sealer, err := s.sealer(t.j.keys)
	if err != nil {
		return end, s.gap(s.header.First, 0, err)
	}
	var plain []byte
	end, next := s.start, s.header.First
	for off := int64(headerSize); ; {
		f, err := s.frame(off)
		switch {
		case errors.Is(err, io.EOF):
			return end, nil
		case errors.Is(err, errTorn) || errors.Is(err, errBadFrame):
			if _, more := s.resync(off); !more && s.kept == nil { // left over from a failed write: no event was in it
				return end, nil
			}
			return end, s.gap(next, off, err)
		case err != nil:
			return end, err
		case !f.follows(end):
			return end, s.gap(next, off, errAltered)
		}
		if f.Kind.inClear() {
			plain = append(plain[:0], f.raw[frameHeaderSize:]...)
		} else if plain, err = sealer.open(plain[:0], &f); err != nil {
			return end, s.gap(next, off, errAltered)
		}
		end, next = f.sum, f.First+policy.EventID(f.Count)
		off = f.end()
		if err := each(&f, string(plain)); err != nil {
			return end, err
		}
		if t.o.Pause > 0 {
			if err := t.j.wait(t.ctx, t.o.Pause); err != nil {
				return end, err
			}
		}
		if t.ctx.Err() != nil {
			return end, t.ctx.Err()
		}
	}
}

func (s *segment) gap(first policy.EventID, off int64, err error) *GapError {
	return &GapError{First: first, Last: first, Segment: s.name, Offset: off, Err: err}
}

// copyFrames writes what stays.
func (t *retainer) copyFrames(s *segment, due uint32, w *keptWriter) error {
	_, err := t.walk(s, func(f *frame, plain string) error {
		switch f.Kind {
		case frameKept, frameSeal:
			return nil
		case frameEvents:
			var failed error
			err := decodeEvents(plain, f.First, int(f.Count), func(e *policy.Event) bool {
				fate, _, _ := t.r.fateOf(e, due, t.held)
				if fate == goes {
					return true
				}
				stays := *e
				if fate == isCut {
					stays.Path, stays.Words = "", ""
				}
				failed = w.add(&stays, f.Elapsed)
				return failed == nil
			})
			return errors.Join(err, failed)
		}
		if err := w.flush(); err != nil {
			return err
		}
		return w.own(f.Kind, []byte(plain), f.First, f.Min, f.Max)
	})
	if err == nil {
		err = w.flush()
	}
	return err
}

// add puts an event into the frame being filled.
func (w *keptWriter) add(e *policy.Event, elapsed int64) error {
	h := &w.header
	if h.Count > 0 && (e.ID-h.First >= maxEvents || len(w.buf) >= maxPlain) {
		if err := w.flush(); err != nil {
			return err
		}
	}
	n := unixNano(e.Time)
	if h.Count == 0 {
		*h = frameHeader{Kind: frameEvents, First: e.ID, Min: n, Max: n, Elapsed: elapsed}
		w.prev, w.prevT = policy.Event{}, 0
	} else if gone := e.ID - h.last() - 1; gone > 0 {
		w.buf = appendGone(w.buf, int(gone))
	}
	w.buf = appendEvent(w.buf, e, &w.prev, n, w.prevT)
	w.prev, w.prevT = *e, n
	h.Count = uint32(e.ID-h.First) + 1
	h.Min, h.Max = min(h.Min, n), max(h.Max, n)
	if e.Flagged() {
		h.Flags |= flagFlagged
		w.seal.Flags |= flagFlagged
	}
	return nil
}

// flush writes the frame being filled.
func (w *keptWriter) flush() error {
	if w.header.Count == 0 {
		return nil
	}
	h := w.header
	h.Size = uint32(len(w.buf) - frameHeaderSize + tagSize)
	w.header = frameHeader{}
	return w.put(h, w.buf)
}

// own writes a frame that holds no event.
func (w *keptWriter) own(kind frameKind, plain []byte, first policy.EventID, from, to int64) error {
	h := frameHeader{Kind: kind, Flags: w.seal.Flags, First: first, Min: from, Max: to, Size: uint32(len(plain) + tagSize)}
	if kind.inClear() {
		h.Size = uint32(len(plain))
	}
	return w.put(h, append(w.buf[:frameHeaderSize], plain...))
}

func (w *keptWriter) put(h frameHeader, buf []byte) error {
	h.Index = w.index
	w.index++
	h.put(buf[:frameHeaderSize])
	if !h.Kind.inClear() {
		buf = w.sealer.seal(buf, h.Index)
	}
	sum := sha256.New()
	sum.Write(w.chain[:])
	sum.Write(buf)
	sum.Sum(w.chain[:0])
	buf = append(buf, w.chain[:]...)
	_, err := w.f.WriteAt(buf, w.off)
	w.off += int64(len(buf))
	w.buf = buf[:frameHeaderSize]
	return err
}
