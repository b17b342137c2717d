package audit

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"schoolgate/policy"
)

// Problem is one place where the journal is not as it was written.
type Problem struct {
	Segment     string
	Offset      int64
	First, Last policy.EventID // the events concerned; Last < First if none is known of
	What        string
}

func (p Problem) String() string {
	ids := ""
	switch {
	case p.Last == p.First && p.First > 0:
		ids = fmt.Sprintf(" event %s:", p.First)
	case p.Last > p.First:
		ids = fmt.Sprintf(" events %s to %s:", p.First, p.Last)
	}
	return fmt.Sprintf("%s: byte %d:%s %s", p.Segment, p.Offset, ids, p.What)
}

// Report is what Verify found.
type Report struct {
	Segments    int
	Events      uint64
	First, Last policy.EventID
	Head        Head      // what the chain comes to: compare it with one kept elsewhere
	Problems    []Problem // altered, removed, reordered or torn
	Notes       []Problem // worth knowing, and nothing lost by it
	Untold      int       // problems beyond the first thousand
	Unopened    uint64    // events whose seal was not tried, for want of their key
	Removed     uint64    // events that retention removed, as receipts say
	Receipts    []Receipt
	Live        bool // a process is writing the journal
}

const maxProblems = 1000

// OK reports whether everything is as it was written.
func (r *Report) OK() bool { return len(r.Problems) == 0 }

// VerifyOptions are what Verify may compare with.
type VerifyOptions struct {
	Heads []Head // kept elsewhere: a mail, a sheet of paper
}

// Verify reads the whole journal and checks that every byte of it is what was
// written: each frame by the hash chain, its numbers and its seal, each segment
// by the one before, the end by the head file and by heads kept elsewhere.
// Without keys (or with erased ones) the seals are left out and the chain still
// holds. Each problem is told once, at its place. The error is for a journal
// that cannot be read at all.
func (d Dir) Verify(ctx context.Context, o VerifyOptions) (Report, error) {
	v := verifier{dir: d.Path, heads: o.Heads, next: 1, began: time.Now().UTC().Truncate(time.Second)}
	v.report.Live = live(d.Path)
	var err error
	if v.keys, err = d.keyring(); err != nil {
		v.note("keys", 0, fmt.Sprintf("seals not tried: %v", err))
	}
	head, ok, err := readHead(d.Path) // before the segments: they only grow
	if err != nil {
		return v.report, err
	}
	if ok {
		v.heads = append(v.heads[:len(v.heads):len(v.heads)], head)
	}
	firsts, err := segments(d.Path)
	if err != nil {
		return v.report, err
	}
	for i, first := range firsts {
		if err := v.segment(ctx, first, i == len(firsts)-1); err != nil {
			return v.report, fmt.Errorf("%s: %w", segmentName(first), err)
		}
	}
	v.finish()
	v.account()
	return v.report, v.damagedFiles()
}

// verifier is one Verify under way.
type verifier struct {
	dir    string
	keys   *keyring
	heads  []Head
	report Report
	began  time.Time // when the head that is reported was read

	next   policy.EventID // the number the next event must have
	chain  chain          // what the next frame must follow
	end    int64          // of the last segment's last whole frame
	torn   int64          // bytes behind it
	name   string         // of the segment being read
	events bool           // one has been read
	plain  []byte

	kept     *kept // of the segment being read, if retention wrote it anew
	rewrites []rewritten
}

// rewritten is a segment that a receipt must account for.
type rewritten struct {
	name  string
	first policy.EventID
	end   string // the chain at its end, in hex
	kept  bool   // false: as first recorded
}

func (v *verifier) problem(off int64, first, last policy.EventID, format string, args ...any) {
	if len(v.report.Problems) >= maxProblems {
		v.report.Untold++
		return
	}
	v.report.Problems = append(v.report.Problems,
		Problem{Segment: v.name, Offset: off, First: first, Last: last, What: fmt.Sprintf(format, args...)})
}

func (v *verifier) note(name string, off int64, what string) {
	v.report.Notes = append(v.report.Notes, Problem{Segment: name, Offset: off, Last: 0, First: 1, What: what})
}

func (v *verifier) segment(ctx context.Context, first policy.EventID, last bool) error {
	s, err := openSegment(v.dir, first)
	if s == nil {
		return err
	}
	defer s.close()
	prev, prevEnd, prevTorn := v.name, v.end, v.torn
	v.name = s.name
	v.report.Segments++
	if err != nil {
		return v.unreadable(ctx, s, err, last)
	}
	v.join(s, first, prev, prevEnd, prevTorn)
	sealer, err := s.sealer(v.keys)
	if err != nil && v.keys != nil && (s.kept == nil || s.kept.Events > 0) {
		v.note(s.name, 0, fmt.Sprintf("seals not tried: %v", err))
	}
	v.kept = s.kept
	err = v.frames(ctx, s, headerSize, []chain{v.chain}, sealer, last)
	v.rewrites = append(v.rewrites, rewritten{s.name, first, hexChain(v.chain), s.kept != nil})
	if k := s.kept; k != nil { // what comes after it follows what it was
		if v.torn > 0 {
			v.problem(v.end, first, k.Last, "torn: %d bytes are no frame", v.torn)
		}
		v.report.Events += k.Events
		v.report.Removed += uint64(k.Last-first) + 1 - k.Events
		v.next, v.chain, v.end, v.torn, v.kept = max(v.next, k.Last+1), k.End, k.Size, 0, nil
		v.report.Last, v.events = max(v.report.Last, k.Last), true
	}
	return err
}

// unreadable checks what can be of a segment whose header is bad. One that
// belongs elsewhere tells nothing of this place.
func (v *verifier) unreadable(ctx context.Context, s *segment, err error, last bool) error {
	v.problem(0, 1, 0, "%v", err)
	v.torn = 0
	if errors.Is(err, errMisnamed) {
		return nil
	}
	at, ok := s.resync(-1)
	if !ok {
		return nil
	}
	return v.frames(ctx, s, at, nil, nil, last)
}

// join checks that the segment continues the one before.
func (v *verifier) join(s *segment, first policy.EventID, prev string, prevEnd, prevTorn int64) {
	h := &s.header
	switch {
	case prev == "" && first > 1:
		v.problem(0, 1, first-1, "the journal begins here: earlier segments are gone")
	case prev == "":
	case first > v.next:
		v.problem(0, v.next, first-1, "missing: a segment was removed, or the end of %s was cut off", prev)
	case first < v.next:
		v.problem(0, first, v.next-1, "numbers come twice: a segment was copied in or put back")
	case h.Prev != v.chain:
		v.problem(0, first, first-1, "does not follow %s: one of the two was altered or exchanged", prev)
	case prevTorn > 0 && h.PrevSize <= prevEnd:
		v.note(prev, prevEnd, fmt.Sprintf("%d bytes left over from a failed write; no event was in them", prevTorn))
	}
	if prevTorn > 0 && h.PrevSize > prevEnd {
		v.name = prev
		v.problem(prevEnd, v.next, first-1, "torn: %d bytes are no frame", prevTorn)
		v.name = s.name
	}
	v.next, v.chain = max(first, v.next), s.start
	if !v.events && v.report.Segments == 1 {
		v.report.First, v.next = first, first
	}
}

// frames checks the frames of a segment from off on, the first of which must
// follow one of the given chains, if it is known what it follows.
func (v *verifier) frames(ctx context.Context, s *segment, off int64, follow []chain, sealer *sealer, last bool) error {
	index := int64(-1)
	for v.torn = 0; ctx.Err() == nil; {
		f, err := s.frame(off)
		switch {
		case err == nil:
			v.frame(&f, follow, &index, sealer)
			follow = []chain{f.sum}
			if got := f.after(v.chain); got != f.sum {
				follow = append(follow, got) // should it be the stored hash that was altered
			}
			v.chain, off = f.sum, f.end()
			v.end = off
			v.witness(&f)
		case errors.Is(err, io.EOF):
			v.end = off
			return nil
		case errors.Is(err, errTorn), errors.Is(err, errBadFrame):
			at, ok := s.resync(off)
			if !ok {
				return v.tail(s, off, last)
			}
			next, err := s.frame(at)
			if err != nil {
				return err
			}
			v.problem(off, v.next, next.First-1, "%d bytes are no frame: altered", at-off)
			v.next = max(v.next, next.First)
			follow, off = nil, at // it cannot be known what the next one follows
		default:
			return err
		}
	}
	return ctx.Err()
}

// tail takes note of bytes behind the last whole frame. Only in the last
// segment is it known what they are; for others the next segment's header says.
func (v *verifier) tail(s *segment, off int64, last bool) error {
	size, err := s.size()
	if err != nil {
		return err
	}
	v.end, v.torn = off, size-off
	switch {
	case !last || v.torn <= 0:
	case v.report.Live:
		v.note(s.name, off, fmt.Sprintf("%d bytes are being written", v.torn))
	default:
		v.problem(off, v.next, v.next-1, "torn tail: the last %d bytes are no whole frame", v.torn)
	}
	return nil
}

// frame checks one frame: its place by number, itself by hash and seal. One
// trouble has one line, so the first that is found is told.
func (v *verifier) frame(f *frame, follow []chain, index *int64, sealer *sealer) {
	intact := follow == nil
	for _, c := range follow {
		if f.follows(c) {
			intact, v.chain = true, c
		}
	}
	switch {
	case f.First > v.next && v.kept == nil:
		v.problem(f.Off, v.next, f.First-1, "missing: removed before this frame")
	case f.First < v.next && f.Count > 0:
		v.problem(f.Off, f.First, f.last(), "out of order: moved or copied here")
	case int64(f.Index) <= *index:
		v.problem(f.Off, f.First, f.last(), "out of order: moved or copied here")
	case !intact:
		v.problem(f.Off, f.First, f.last(), "altered after it was written")
	default:
		v.seal(f, sealer)
	}
	*index = int64(f.Index)
	if f.Count > 0 {
		v.next = max(v.next, f.First+policy.EventID(f.Count))
		if v.kept == nil {
			v.report.Events += uint64(f.Count)
		}
		v.report.Last = max(v.report.Last, f.last())
		v.events = true
	}
}

// seal opens the frame, so that a chain computed anew over altered frames does
// not pass.
func (v *verifier) seal(f *frame, sealer *sealer) {
	if f.Kind == frameReceipt {
		v.receipt(f)
	}
	if f.Kind.inClear() {
		return
	}
	if sealer == nil {
		v.report.Unopened += uint64(f.Count)
		return
	}
	plain, err := sealer.open(v.plain[:0], f)
	if err != nil {
		v.problem(f.Off, f.First, f.last(), "%v", errAltered)
		return
	}
	v.plain = plain
	switch f.Kind {
	case frameEvents:
		if err := decodeEvents(string(plain), f.First, int(f.Count), func(*policy.Event) bool { return true }); err != nil {
			v.problem(f.Off, f.First, f.last(), "%v", err)
		}
	case frameNote:
		v.note(v.name, f.Off, "the journal noted: "+string(plain))
	}
}

// witness compares the chain with heads that name this frame's last event.
func (v *verifier) witness(f *frame) {
	if f.Count == 0 || v.kept != nil {
		return
	}
	sum := hex.EncodeToString(f.sum[:])
	v.report.Head = Head{Seq: f.last(), Chain: sum, Time: v.began}
	for _, h := range v.heads {
		if h.Seq == f.last() && h.Chain != sum {
			v.problem(f.Off, v.report.First, h.Seq, "not what the head of %s says: rewritten", h.Time.Format("2006-01-02 15:04:05"))
		}
		if h.Seq > f.First && h.Seq < f.last() {
			v.problem(f.Off, f.First, f.last(), "the head of %s ends within this frame: rewritten", h.Time.Format("2006-01-02 15:04:05"))
		}
	}
}

// finish checks that the end is not before a head.
func (v *verifier) finish() {
	for _, h := range v.heads {
		if h.Seq >= v.next {
			v.problem(v.end, v.next, h.Seq, "missing: the head of %s names them, the end was cut off", h.Time.Format("2006-01-02 15:04:05"))
			v.next = h.Seq + 1
		}
	}
}

// damagedFiles tells of segments that were kept aside.
func (v *verifier) damagedFiles() error {
	entries, err := os.ReadDir(v.dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if strings.HasSuffix(e.Name(), damagedSuffix) {
			v.name = filepath.Base(e.Name())
			v.problem(0, 1, 0, "kept aside: nothing could be read from it")
		}
	}
	return nil
}

// receipt takes note of what retention says it removed.
func (v *verifier) receipt(f *frame) {
	var mac []byte
	if v.keys != nil {
		mac = v.keys.mac
	}
	r, err := parseReceipt(f.raw[frameHeaderSize:], mac)
	if err != nil {
		v.problem(f.Off, f.First, f.First-1, "%v", err)
		return
	}
	v.report.Receipts = append(v.report.Receipts, r)
}

// account holds every segment against the last receipt for it: one that was written
// anew must be what a receipt says, and one that was not must not have been.
func (v *verifier) account() {
	last, any := map[string]Receipt{}, map[string]bool{}
	for _, r := range v.report.Receipts {
		if old, ok := last[r.Segment]; !ok || !r.At.Before(old.At) {
			last[r.Segment] = r
		}
		any[r.Segment+" "+r.After] = true
	}
	for _, w := range v.rewrites {
		v.name = w.name
		r, ok := last[w.name]
		switch {
		case w.kept && !any[w.name+" "+w.end]:
			v.problem(0, w.first, w.first-1, "written anew, and no receipt says so")
		case ok && r.After != w.end && r.Before != w.end:
			v.problem(0, r.First, r.Last, "not what retention left of it on %s: an older state was put back", r.At.Format("2006-01-02"))
		case ok && r.After != w.end:
			v.note(w.name, 0, "retention has said that it removes events here, and has not done it yet")
		}
	}
	for _, h := range v.heads {
		for _, r := range last {
			if h.Seq >= r.First && h.Seq <= r.Last {
				v.note(r.Segment, 0, fmt.Sprintf("the head of %s names an event in what retention wrote anew; the chain after it holds", h.Time.Format("2006-01-02")))
			}
		}
	}
}
