package audit

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"schoolgate/policy"
)

// What the decoder takes, it gives back the same after being written again.
func FuzzDecodeEvents(f *testing.F) {
	b := newBatch()
	evs := []policy.Event{event(1), flagged(2), event(1)} // short: the fuzzer does best with short ones
	for i := range evs {
		b.add(&evs[i])
	}
	f.Add(string(b.buf[frameHeaderSize:]), len(evs))
	f.Add("\x00\x00", 1)
	f.Fuzz(func(t *testing.T, plain string, count int) {
		var got []policy.Event
		keep := func(e *policy.Event) bool { got = append(got, *e); return true }
		if decodeEvents(plain, 1, min(max(count, 0), 2000), keep) != nil {
			return
		}
		b, want := newBatch(), got
		got = nil
		for i := range want {
			if oversized(&want[i]) {
				return
			}
			b.add(&want[i])
		}
		if err := decodeEvents(string(b.buf[frameHeaderSize:]), 1, len(want), keep); err != nil {
			t.Fatalf("written again: %v", err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("written again (-want +got):\n%s", diff)
		}
	})
}

// Whatever lies where a segment should, it is read to an end, and the journal
// opens and goes on behind it.
func FuzzSegment(f *testing.F) {
	dir := sample(f, 1<<20, 3)
	b, err := os.ReadFile(filepath.Join(dir, segmentName(1)))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Add(b[:headerSize])
	f.Add(b[:len(b)-150])
	f.Fuzz(func(t *testing.T, content []byte) {
		dir := copyDir(t, dir)
		if err := os.Remove(filepath.Join(dir, headFile)); err != nil {
			t.Fatal(err)
		}
		rewrite(t, dir, 1, func([]byte) []byte { return content })
		verify(t, dir)
		found := searchAll(t, dir)
		j, err := Open(dir, Options{})
		if err != nil {
			return // told, not opened over
		}
		e := event(1)
		if err := j.Record(&e); err != nil {
			t.Errorf("Record: %v", err)
		}
		if err := j.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
		if after := searchAll(t, dir); len(found) > 0 && len(after) != len(found)+1 {
			t.Errorf("%d events before, %d after one more", len(found), len(after))
		}
	})
}

func FuzzParseHead(f *testing.F) {
	f.Add(mark{seq: 7}.head().String())
	f.Add("schoolgate-head 1 00 x 00000000")
	f.Fuzz(func(t *testing.T, line string) {
		if h, err := ParseHead(line); err == nil {
			if again, err := ParseHead(h.String()); err != nil || again != h {
				t.Errorf("ParseHead(%q) = %v; again %v, %v", line, h, again, err)
			}
		}
	})
}
