package audit

import (
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"time"

	"schoolgate/policy"
)

// damagedSuffix is added to the name of a segment nothing can be read from.
const damagedSuffix = ".damaged"

// OpenReport is what Open found at the end of the journal.
type OpenReport struct {
	Last    policy.EventID // the last event, 0 in an empty journal
	Segment string         // the segment that was checked, "" if there was none
	Offset  int64          // where a torn tail was cut
	Cut     int64          // bytes cut: never part of an acknowledged event after a crash
	Damaged string         // what is wrong with the segment, "" if it is whole
	Missing policy.EventID // events the head knows of that are not there: a power cut never does this
}

// recover finds the end of the journal, cuts a torn tail, sees the rest to the
// disk, and sets the writer to go on behind it in a new segment: a new one, as
// to go on in the old would seal different bytes with a nonce already used.
func (j *Journal) recover() error {
	w := &j.w
	w.next, w.min = 1, 1
	for _, tmp := range []string{"new.tmp", keptTmp} {
		if err := removeIfThere(j.disk, filepath.Join(j.dir, tmp)); err != nil {
			return err
		}
	}
	at, err := j.findEnd()
	if err != nil {
		return err
	}
	w.chain, w.next, w.prevSize = at.chain, at.next, at.off
	j.end = mark{seq: at.next - 1, chain: at.last, at: time.Now()}
	if err := j.mindHead(at); err != nil {
		return err
	}
	r := &j.opened
	r.Last = w.next - 1
	j.synced = r.Last
	if r.Cut > 0 {
		j.note("torn tail cut", fmt.Sprintf("torn tail of %d bytes cut from %s at %d", r.Cut, r.Segment, r.Offset))
	}
	if r.Damaged != "" {
		j.note("journal segment is damaged", r.Segment+": "+r.Damaged)
	}
	if r.Missing > 0 {
		j.note("journal is shorter than its head says", fmt.Sprintf("%d events before %s are missing at opening", r.Missing, w.next))
	}
	return nil
}

// note tells the operator at once and the journal's readers for ever.
func (j *Journal) note(msg, text string) {
	j.log.Warn(msg, "journal", j.dir, "what", text)
	j.w.notes = append(j.w.notes, text)
}

// place is an end of the journal: what a new segment has to follow.
type place struct {
	next  policy.EventID
	chain chain
	last  chain // after the last event; only notes and a seal may follow
	off   int64
}

// findEnd reads the last segment that holds an event. Ones that hold none, left
// by a crash just after they were begun, are removed, and ones nothing can be
// read from are kept aside.
func (j *Journal) findEnd() (place, error) {
	firsts, err := segments(j.dir)
	if err != nil {
		return place{}, err
	}
	for i := len(firsts) - 1; i >= 0; i-- {
		at, err := j.checkLast(firsts[i])
		if err != nil {
			return place{}, fmt.Errorf("%s: %w", segmentName(firsts[i]), err)
		}
		if at.next > firsts[i] {
			return at, nil
		}
		if err := j.clearPlace(firsts[i]); err != nil {
			return place{}, err
		}
	}
	return place{next: 1}, nil
}

// checkLast reads a segment to its end and cuts a torn tail. Bytes that are
// wrong but have whole frames behind them are not a tail: they stay as they
// are, and are told.
func (j *Journal) checkLast(first policy.EventID) (place, error) {
	s, err := openSegment(j.dir, first)
	if s == nil {
		return place{}, err
	}
	defer s.close()
	j.opened.Segment = s.name
	if s.kept != nil { // nothing is appended to it, so it has no torn end
		k := s.kept
		return place{next: k.Last + 1, chain: k.End, last: k.End, off: k.Size}, nil
	}
	at := place{next: first, chain: s.start, off: headerSize}
	if err != nil {
		j.damaged(err.Error())
		at.off = 0
	}
	for {
		f, err := s.frame(at.off)
		if err == nil {
			if !f.follows(at.chain) {
				if first := f.First; j.half(s, &f) {
					j.log.Warn("last frame of the journal is half written", "segment", s.name, "first", first)
					return at, j.cutTail(s, at)
				}
				j.damaged(fmt.Sprintf("changed at %d after it was written", at.off))
			}
			at.chain, at.off = f.sum, f.end()
			if f.Count > 0 {
				at.next, at.last = max(at.next, f.last()+1), f.sum
			}
			continue
		}
		next, ok := int64(0), false
		switch {
		case errors.Is(err, io.EOF):
		case errors.Is(err, errTorn), errors.Is(err, errBadFrame):
			next, ok = s.resync(at.off)
		default:
			return at, err
		}
		if !ok {
			return at, j.cutTail(s, at)
		}
		j.damaged(fmt.Sprintf("unreadable from %d to %d", at.off, next))
		at.off = next
	}
}

// half reports whether a frame that is not what was written is the last one, as
// a power cut may leave it: with its header there and not its body. Where the
// head vouches for it, it was whole once, and stays as evidence.
func (j *Journal) half(s *segment, f *frame) bool {
	end, first := f.end(), f.First
	if _, more := s.resync(end - 1); more {
		return false
	}
	h, ok, err := readHead(j.dir)
	return err == nil && (!ok || h.Seq < first)
}

// damaged keeps the first thing found wrong.
func (j *Journal) damaged(what string) {
	if j.opened.Damaged == "" {
		j.opened.Damaged = what
	}
}

// cutTail cuts what lies behind the last whole frame, and sees the rest to the
// disk: followers may be told of nothing that a power cut could still take.
func (j *Journal) cutTail(s *segment, at place) error {
	if at.next == s.header.First || at.off == 0 {
		return nil // nothing in it to keep
	}
	size, err := s.size()
	if err != nil {
		return err
	}
	f, err := j.disk.Modify(filepath.Join(j.dir, s.name))
	if err != nil {
		return err
	}
	if size > at.off {
		j.opened.Offset, j.opened.Cut = at.off, size-at.off
		err = f.Truncate(at.off)
	}
	return errors.Join(err, f.Sync(), f.Close())
}

// clearPlace makes way for a segment to begin with an event that was not found
// in the journal. A segment without events is removed, its notes are told
// again; a file nothing can be read from is kept aside for a person to look at.
func (j *Journal) clearPlace(first policy.EventID) error {
	path := filepath.Join(j.dir, segmentName(first))
	s, err := openSegment(j.dir, first)
	if s == nil {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return err
	}
	defer s.close()
	if err != nil || s.holdsEvents() {
		j.log.Error("unreadable journal segment kept aside", "segment", s.name)
		return j.disk.Rename(path, path+damagedSuffix)
	}
	j.w.notes = append(s.notes(j.keys), j.w.notes...)
	return j.disk.Remove(path)
}

// holdsEvents reports whether a whole frame of events is in the segment.
func (s *segment) holdsEvents() bool {
	for off := int64(headerSize); ; {
		f, err := s.frame(off)
		if err != nil {
			return false
		}
		if f.Count > 0 {
			return true
		}
		off = f.end()
	}
}

// notes reads the notes before the first event, as far as they can be read.
func (s *segment) notes(keys *keyring) (texts []string) {
	sealer, err := s.sealer(keys)
	if err != nil {
		return nil
	}
	for off := int64(headerSize); ; {
		f, err := s.frame(off)
		if err != nil || f.Count > 0 {
			return texts
		}
		if text, err := sealer.open(nil, &f); err == nil && f.Kind == frameNote {
			texts = append(texts, string(text))
		}
		off = f.end()
	}
}

// mindHead keeps numbers from being used twice where the head knows of events
// that are gone.
func (j *Journal) mindHead(at place) error {
	h, ok, err := readHead(j.dir)
	if err != nil || !ok {
		return err
	}
	if h.Seq >= at.next {
		j.opened.Missing = h.Seq - at.next + 1
		j.w.next = h.Seq + 1
		sum, err := hex.DecodeString(h.Chain)
		if err != nil {
			return err
		}
		copy(j.w.chain[:], sum) // what is missing must be shown, not bridged
		j.end = mark{seq: h.Seq, chain: j.w.chain, at: h.Time}
	}
	return nil
}
