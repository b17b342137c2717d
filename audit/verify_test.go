package audit

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"schoolgate/policy"
)

// sample writes a journal of several segments, single and batched events, and
// gives its directory.
func sample(t testing.TB, size int64, n int) string {
	t.Helper()
	dir := t.TempDir()
	j := openTest(t, dir, Options{SegmentSize: size})
	for i := 0; i < n; i++ {
		if i%5 == 0 && i+3 <= n {
			evs := []policy.Event{event(i), event(i + 1), flagged(i + 2)}
			if err := j.RecordBatch(evs); err != nil {
				t.Fatal(err)
			}
			i += 2
			continue
		}
		e := event(i)
		if err := j.Record(&e); err != nil {
			t.Fatal(err)
		}
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	return dir
}

// frames lists the frames of a segment as bytes, in order.
func frames(t testing.TB, dir string, first policy.EventID) (offs []int64, raws [][]byte) {
	t.Helper()
	s, err := openSegment(dir, first)
	if err != nil {
		t.Fatal(err)
	}
	defer s.close()
	for off := int64(headerSize); ; {
		f, err := s.frame(off)
		if err != nil {
			return offs, raws
		}
		offs, raws = append(offs, off), append(raws, append(bytes.Clone(f.raw), f.sum[:]...))
		off = f.end()
	}
}

func rewrite(t testing.TB, dir string, first policy.EventID, change func([]byte) []byte) {
	t.Helper()
	name := filepath.Join(dir, segmentName(first))
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, change(b), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestVerifyWhole(t *testing.T) {
	dir := sample(t, 2000, 60)
	r := verify(t, dir)
	if !r.OK() || len(r.Notes) > 0 || r.Events != 60 || r.First != 1 || r.Last != 60 || r.Segments < 3 || r.Unopened > 0 {
		t.Errorf("Verify of a whole journal = %+v", r)
	}
	// F13: the chain is checked without any key, as by a governor.
	if err := os.RemoveAll(filepath.Join(dir, "keys")); err != nil {
		t.Fatal(err)
	}
	if r := verify(t, dir); !r.OK() || r.Unopened != 60 {
		t.Errorf("Verify without keys = %+v, want it whole and 60 unopened", r)
	}
}

// T12: every flipped bit is found, and the place told is in the very frame.
func TestVerifyFlippedBit(t *testing.T) {
	whole := sample(t, 600, 8)
	firsts, err := segments(whole)
	if err != nil {
		t.Fatal(err)
	}
	for _, first := range firsts {
		offs, raws := frames(t, whole, first)
		end := offs[len(offs)-1] + int64(len(raws[len(raws)-1]))
		for at := int64(0); at < end; at++ {
			b, err := os.ReadFile(filepath.Join(whole, segmentName(first)))
			if err != nil {
				t.Fatal(err)
			}
			rewrite(t, whole, first, func(b []byte) []byte { b[at] ^= 1 << (at % 8); return b })
			r := verify(t, whole)
			rewrite(t, whole, first, func([]byte) []byte { return b })
			from := int64(0)
			for i, off := range offs {
				if at >= off && at < off+int64(len(raws[i])) {
					from = off
				}
			}
			if r.OK() || !slices.ContainsFunc(r.Problems, func(p Problem) bool { return p.Segment == segmentName(first) && p.Offset == from }) {
				t.Errorf("bit flipped at %s:%d (frame at %d): %v", segmentName(first), at, from, r.Problems)
			}
		}
	}
}

func TestVerifyTampering(t *testing.T) {
	tests := []struct {
		name   string
		tamper func(t *testing.T, dir string, firsts []policy.EventID)
		want   string
	}{
		{"frame removed", func(t *testing.T, dir string, firsts []policy.EventID) {
			_, raws := frames(t, dir, firsts[1])
			rewrite(t, dir, firsts[1], func(b []byte) []byte { return bytes.Replace(b, raws[1], nil, 1) })
		}, "missing: removed before this frame"},
		{"frames exchanged", func(t *testing.T, dir string, firsts []policy.EventID) {
			_, raws := frames(t, dir, firsts[1])
			both := slices.Concat(raws[0], raws[1])
			rewrite(t, dir, firsts[1], func(b []byte) []byte { return bytes.Replace(b, both, slices.Concat(raws[1], raws[0]), 1) })
		}, "out of order"},
		{"frame doubled", func(t *testing.T, dir string, firsts []policy.EventID) {
			_, raws := frames(t, dir, firsts[1])
			rewrite(t, dir, firsts[1], func(b []byte) []byte { return bytes.Replace(b, raws[1], slices.Concat(raws[1], raws[1]), 1) })
		}, "out of order: moved or copied here"},
		{"torn tail", func(t *testing.T, dir string, firsts []policy.EventID) {
			last := firsts[len(firsts)-1]
			offs, _ := frames(t, dir, last)
			rewrite(t, dir, last, func(b []byte) []byte { return b[:offs[len(offs)-1]+20] })
		}, "torn tail: the last 20 bytes"},
		{"end cut off at a frame", func(t *testing.T, dir string, firsts []policy.EventID) {
			last := firsts[len(firsts)-1]
			rewrite(t, dir, last, func(b []byte) []byte { return b[:headerSize] })
		}, "the end was cut off"},
		{"end of a middle segment cut off", func(t *testing.T, dir string, firsts []policy.EventID) {
			offs, _ := frames(t, dir, firsts[1])
			rewrite(t, dir, firsts[1], func(b []byte) []byte { return b[:offs[len(offs)-2]] })
		}, "missing: a segment was removed, or the end of"},
		{"seal of a middle segment cut off", func(t *testing.T, dir string, firsts []policy.EventID) {
			offs, _ := frames(t, dir, firsts[1])
			rewrite(t, dir, firsts[1], func(b []byte) []byte { return b[:offs[len(offs)-1]] })
		}, "does not follow"},
		{"middle segment removed", func(t *testing.T, dir string, firsts []policy.EventID) {
			remove(t, dir, firsts[1])
		}, "missing: a segment was removed"},
		{"last segment removed", func(t *testing.T, dir string, firsts []policy.EventID) {
			remove(t, dir, firsts[len(firsts)-1])
		}, "the end was cut off"},
		{"first segment removed", func(t *testing.T, dir string, firsts []policy.EventID) {
			remove(t, dir, firsts[0])
		}, "earlier segments are gone"},
		{"segments exchanged", func(t *testing.T, dir string, firsts []policy.EventID) {
			a, b := filepath.Join(dir, segmentName(firsts[1])), filepath.Join(dir, segmentName(firsts[2]))
			tmp := filepath.Join(dir, "x")
			if err := errors.Join(os.Rename(a, tmp), os.Rename(b, a), os.Rename(tmp, b)); err != nil {
				t.Fatal(err)
			}
		}, "renamed or copied"},
		{"segment of another journal", func(t *testing.T, dir string, firsts []policy.EventID) {
			other := sample(t, 900, 30)
			b, err := os.ReadFile(filepath.Join(other, segmentName(firsts[1])))
			if err != nil {
				t.Fatal(err)
			}
			rewrite(t, dir, firsts[1], func([]byte) []byte { return b })
		}, "does not follow"},
		{"event forged and the chain computed anew", func(t *testing.T, dir string, firsts []policy.EventID) {
			last := firsts[len(firsts)-1]
			rewrite(t, dir, last, func(b []byte) []byte { return rechain(t, dir, last, b) })
		}, errAltered.Error()},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dir := sample(t, 900, 30)
			firsts, err := segments(dir)
			if err != nil {
				t.Fatal(err)
			}
			tt.tamper(t, dir, firsts)
			r := verify(t, dir)
			if !slices.ContainsFunc(r.Problems, func(p Problem) bool { return strings.Contains(p.String(), tt.want) }) {
				t.Errorf("Verify = %v, want a problem with %q", r.Problems, tt.want)
			}
			if len(r.Problems) > 3 {
				t.Errorf("Verify tells one trouble %d times: %v", len(r.Problems), r.Problems)
			}
			searchAll(t, dir) // reading never panics and never ends early without a word
		})
	}
}

func remove(t testing.TB, dir string, first policy.EventID) {
	t.Helper()
	if err := os.Remove(filepath.Join(dir, segmentName(first))); err != nil {
		t.Fatal(err)
	}
}

// rechain flips a sealed bit of the first frame and makes every hash behind it
// right again, as someone without the key can.
func rechain(t testing.TB, dir string, first policy.EventID, b []byte) []byte {
	s, err := openSegment(dir, first)
	if err != nil {
		t.Fatal(err)
	}
	defer s.close()
	b[headerSize+frameHeaderSize+3] ^= 1
	prev := s.start
	for off := int64(headerSize); off < int64(len(b)); {
		h, _ := parseFrameHeader(b[off:])
		f := frame{frameHeader: h, raw: b[off : off+h.length()-chainSize]}
		prev = f.after(prev)
		copy(b[off+h.length()-chainSize:], prev[:])
		off += h.length()
	}
	return b
}

func searchAll(t testing.TB, dir string) (got []policy.Event) {
	t.Helper()
	for _, newest := range []bool{true, false} {
		got = got[:0]
		for e, err := range (Dir{Path: dir}).Search(context.Background(), Query{Newest: newest}) {
			if err == nil {
				got = append(got, e)
			}
		}
	}
	return got
}

// T12: a head kept elsewhere convicts a journal that was rewritten whole.
func TestVerifyAgainstHead(t *testing.T) {
	a, b := sample(t, 2000, 20), sample(t, 2000, 20)
	kept := verify(t, a).Head
	if kept.Time.IsZero() {
		t.Errorf("head %q does not say when it was read", kept)
	}
	kept.Time = time.Date(2026, 3, 3, 10, 0, 0, 0, time.UTC)
	parsed, err := ParseHead(kept.String())
	if err != nil || parsed != kept {
		t.Fatalf("ParseHead(%q) = %v, %v", kept, parsed, err)
	}
	for dir, want := range map[string]bool{a: true, b: false} {
		r, err := Dir{Path: dir}.Verify(t.Context(), VerifyOptions{Heads: []Head{parsed}})
		if err != nil || r.OK() != want {
			t.Errorf("Verify against a kept head: OK = %v, %v, want %v: %v", r.OK(), err, want, r.Problems)
		}
	}
}

// A torn tail is cut at opening, told in the report, and noted for ever.
func TestOpenCutsTornTail(t *testing.T) {
	dir := t.TempDir()
	j := openTest(t, dir, Options{})
	for i := range 5 {
		e := event(i)
		if err := j.Record(&e); err != nil {
			t.Fatal(err)
		}
	}
	crashed := copyDir(t, dir) // unsealed, as kill -9 leaves it
	offs, raws := frames(t, crashed, 1)
	end := offs[4] + int64(len(raws[4]))
	rewrite(t, crashed, 1, func(b []byte) []byte { return append(b, raws[4][:70]...) })
	j2 := openTest(t, crashed, Options{})
	if r := j2.Opened(); r.Cut != 70 || r.Offset != end || r.Segment != segmentName(1) || r.Last != 5 {
		t.Errorf("Opened() = %+v, want 70 bytes cut at %d", r, end)
	}
	e := event(6)
	if err := j2.Record(&e); err != nil || e.ID != 6 {
		t.Errorf("Record after a cut = %d, %v, want 6", e.ID, err)
	}
	r := verify(t, crashed)
	if !r.OK() || !slices.ContainsFunc(r.Notes, func(p Problem) bool { return strings.Contains(p.What, "torn tail of 70 bytes cut") }) {
		t.Errorf("Verify after a cut: %v, notes %v", r.Problems, r.Notes)
	}
}

// Where the head knows of events that are gone, their numbers are not used again.
func TestOpenMindsHead(t *testing.T) {
	dir := sample(t, 900, 30)
	firsts, err := segments(dir)
	if err != nil {
		t.Fatal(err)
	}
	last := firsts[len(firsts)-1]
	remove(t, dir, last)
	j := openTest(t, dir, Options{})
	if r := j.Opened(); r.Missing != 31-last || r.Last != 30 {
		t.Errorf("Opened() = %+v, want %d missing", r, 31-last)
	}
	e := event(1)
	if err := j.Record(&e); err != nil || e.ID != 31 {
		t.Errorf("Record = %d, %v, want 31", e.ID, err)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	if r := verify(t, dir); len(r.Problems) != 1 || r.Problems[0].First != last || r.Problems[0].Last != 30 {
		t.Errorf("Verify = %v, want events %d to 30 missing", r.Problems, last)
	}
}

// An unreadable last segment is kept aside; nothing is written over it.
func TestOpenKeepsDamagedAside(t *testing.T) {
	dir := sample(t, 900, 30)
	firsts, err := segments(dir)
	if err != nil {
		t.Fatal(err)
	}
	last := firsts[len(firsts)-1]
	rewrite(t, dir, last, func([]byte) []byte { return bytes.Repeat([]byte("\x00junk"), 300) })
	j := openTest(t, dir, Options{})
	e := event(1)
	if err := j.Record(&e); err != nil || e.ID != 31 {
		t.Errorf("Record = %d, %v, want 31", e.ID, err)
	}
	if _, err := os.Stat(filepath.Join(dir, segmentName(last)+damagedSuffix)); err != nil {
		t.Error(err)
	}
	if r := verify(t, dir); r.OK() {
		t.Error("Verify is content with a segment lost")
	}
}

// Privacy 2: a month's key destroyed erases its events; the chain still holds.
func TestEraseMonth(t *testing.T) {
	dir := sample(t, 2000, 20)
	month := time.Now().UTC().Format("2006-01")
	if n, err := (Dir{Path: dir}).EraseMonth(month); n != 1 || err != nil {
		t.Fatalf("EraseMonth = %d, %v, want 1 key", n, err)
	}
	for e, err := range (Dir{Path: dir}).Search(t.Context(), Query{}) {
		if !errors.Is(err, ErrErased) {
			t.Errorf("Search after erasure = %v, %v", e, err)
		}
	}
	if r := verify(t, dir); !r.OK() || r.Unopened != 20 {
		t.Errorf("Verify after erasure = %+v", r)
	}
	j := openTest(t, dir, Options{})
	e := event(1)
	if err := j.Record(&e); err != nil || e.ID != 21 {
		t.Errorf("Record after erasure = %d, %v, want 21", e.ID, err)
	}
}

// A wrapping key that is gone is refused, not quietly made anew.
func TestOpenWithoutWrapKey(t *testing.T) {
	dir := sample(t, 2000, 3)
	if err := os.Remove(filepath.Join(dir, "keys", wrapKeyFile)); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(dir, Options{}); err == nil || !strings.Contains(err.Error(), "put it back from the backup") {
		t.Errorf("Open without its wrapping key = %v", err)
	}
}
