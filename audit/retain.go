package audit

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"schoolgate/policy"
)

// Removing what is due writes a segment anew, without it, beside the old one; then
// a receipt of it goes to the journal's end, and is on disk; then the new file takes
// the old one's place. Whatever breaks off in between, the journal is whole: the old
// segment still stands and the next run begins again. Numbers stay, with gaps that
// the receipt accounts for. The last segment is never touched.

// RetainOptions are how a run goes.
type RetainOptions struct {
	TrustClock bool          // a person says that the clock is right, however far it has jumped
	Pause      time.Duration // between frames' worth of work; 0 is none
}

// RetainReport is what a run did.
type RetainReport struct {
	Receipts []Receipt
	Keys     int           // month keys destroyed, as nothing of their month is left
	Behind   time.Duration // how far the clock that was believed is behind the box's
	Unread   []error       // segments left as they are, since they cannot be read whole
}

// RetainDue reports whether the daily run is due.
func (j *Journal) RetainDue(now time.Time) bool {
	l, err := j.ledger()
	return err != nil || now.Sub(l.Ran) >= runEvery || l.Ran.After(now.Add(runEvery))
}

// Retain removes what is due. One run at a time; recording goes on.
func (j *Journal) Retain(ctx context.Context, r Retention, o RetainOptions) (report RetainReport, err error) {
	j.retaining.Lock()
	defer j.retaining.Unlock()
	l, err := j.ledger()
	if err != nil {
		return report, err
	}
	run := &retainer{j: j, r: r, o: o, ctx: ctx, report: &report, ledger: &l}
	if err := run.survey(); err != nil {
		return report, err
	}
	now := time.Now().UTC()
	run.now, report.Behind = l.believed(now, run.recorded(), o.TrustClock)
	l.Trusted, l.Ran = run.now, now
	if err := j.writeLedger(l); err != nil { // also so that it is there before anything is removed
		return report, err
	}
	for i := range run.list {
		if err := run.segment(i); err != nil {
			return report, fmt.Errorf("%s: %w", segmentName(run.list[i].first), err)
		}
	}
	report.Keys, err = run.keys()
	return report, err
}

// retainer is one run.
type retainer struct {
	j      *Journal
	r      Retention
	o      RetainOptions
	ctx    context.Context
	report *RetainReport
	ledger *ledger
	now    time.Time
	list   []surveyed
}

// surveyed is a segment by its header and its seal.
type surveyed struct {
	first   policy.EventID
	created int64
	max     int64 // of its events' clocks, as far as the seal tells
	sealed  bool
	kept    *kept
	key     keyID
	prev    chain // of the segment before, as this one's header has it
	bad     error
}

func (t *retainer) survey() error {
	firsts, err := segments(t.j.dir)
	if err != nil {
		return err
	}
	for _, first := range firsts {
		v := surveyed{first: first}
		s, err := openSegment(t.j.dir, first)
		if s == nil {
			return err
		}
		if v.bad = err; err == nil {
			v.created, v.key, v.kept, v.prev = s.header.Created, s.header.Key, s.kept, s.header.Prev
			var h frameHeader
			if h, v.sealed = s.seal(); v.sealed {
				v.max = h.Max
			}
			if v.kept != nil {
				v.max = v.kept.Max
			}
		}
		t.list = append(t.list, v)
		_ = s.close() // read-only
	}
	return nil
}

// recorded is the latest beginning of a segment but the last, which this process,
// with whatever clock it has, may have begun.
func (t *retainer) recorded() (at time.Time) {
	for i := range t.list[:max(len(t.list)-1, 0)] {
		if c := time.Unix(0, t.list[i].created); c.After(at) {
			at = c
		}
	}
	return at
}

// newest is the moment a segment's events are not newer than, even if the clock
// stood wrong while they were recorded: a segment between two others is of their time.
func (t *retainer) newest(i int) int64 {
	before, after := t.list[i].created, int64(1<<63-1)
	for k, v := range t.list {
		if k <= i {
			before = max(before, v.created)
		} else {
			after = min(after, v.created)
		}
	}
	return max(t.list[i].max, min(before, after))
}

// segment sees to one segment.
func (t *retainer) segment(i int) error {
	v := &t.list[i]
	if i == len(t.list)-1 || v.bad != nil {
		return t.ctx.Err()
	}
	due := uint32(0)
	if v.sealed || v.kept != nil {
		if due = t.r.due(t.newest(i), t.now); due == 0 || v.kept != nil && v.kept.Done&due == due || v.kept != nil && v.kept.Events == 0 {
			return t.ctx.Err()
		}
	}
	s, err := openSegment(t.j.dir, v.first)
	if s == nil {
		return err
	}
	defer s.close()
	if !v.sealed && v.kept == nil { // left by a crash: its times are in its frames
		v.max = s.latest()
		if due = t.r.due(t.newest(i), t.now); due == 0 {
			return t.ctx.Err()
		}
	}
	w, err := t.rewrite(s, due, &t.list[i+1])
	if gap := (*GapError)(nil); errors.As(err, &gap) {
		t.report.Unread = append(t.report.Unread, err)
		return nil // evidence of something: it stays, and Verify tells of it
	}
	if err != nil || w == nil {
		return err
	}
	return t.replace(s, w)
}

// latest is the latest clock of a segment's events.
func (s *segment) latest() (last int64) {
	last = s.header.Created
	for off := int64(headerSize); ; {
		h, err := s.scanner.header(off)
		if err != nil {
			return last
		}
		if h.Kind == frameEvents {
			last = max(last, h.Max)
		}
		off += h.length()
	}
}

// replace puts a finished segment in the old one's place, its receipt first.
func (t *retainer) replace(s *segment, w *keptWriter) error {
	tmp, path := filepath.Join(t.j.dir, keptTmp), segmentPath(t.j.dir, s.header.First)
	err := t.j.putReceipt(&w.receipt)
	if err == nil {
		old, openErr := os.OpenFile(path, os.O_WRONLY, 0)
		if err = errors.Join(openErr, t.j.disk.Rename(tmp, path)); err == nil {
			err = t.j.disk.SyncDir(t.j.dir)
		}
		if old != nil && err == nil {
			// The salt in the old header makes its key: without it, what a disk still
			// has of the old file opens no more.
			_, err = old.WriteAt(make([]byte, headerSize), 0)
			err = errors.Join(err, old.Sync())
		}
		if old != nil {
			err = errors.Join(err, old.Close())
		}
	}
	if err != nil {
		return errors.Join(err, removeIfThere(t.j.disk, tmp))
	}
	t.report.Receipts = append(t.report.Receipts, w.receipt)
	t.j.log.Info("retention: removed what was due", "segment", s.name, "kept", w.receipt.Kept)
	return nil
}

// keys destroys the keys of months nothing is left of.
func (t *retainer) keys() (n int, err error) {
	t.list = nil
	if err := t.survey(); err != nil {
		return 0, err
	}
	used := map[string]bool{}
	for _, v := range t.list {
		if v.bad != nil {
			return 0, nil // whose key it needs is not known
		}
		if v.kept == nil || v.kept.Events > 0 {
			used[v.key.String()] = true
		}
	}
	names, err := filepath.Glob(filepath.Join(t.j.dir, "keys", "????-??-????????.key"))
	if err != nil {
		return 0, err
	}
	for _, name := range names {
		id := strings.TrimSuffix(filepath.Base(name), ".key")
		month, err := time.Parse("2006-01", id[:7])
		if err != nil || used[id] || !month.AddDate(0, 2, 0).Before(t.now) {
			continue // of this month or the last: it may be needed yet
		}
		if err := shred(name); err != nil {
			return n, err
		}
		t.j.keys.forget(id)
		n++
	}
	return n, nil
}
