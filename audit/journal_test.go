package audit

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"schoolgate/policy"
)

// open opens a journal that is closed with the test, and checked once closed:
// whatever a test did, the journal must verify.
func openTest(t testing.TB, dir string, o Options) *Journal {
	t.Helper()
	j, err := Open(dir, o)
	if err != nil {
		t.Fatalf("Open(%s): %v", dir, err)
	}
	t.Cleanup(func() {
		if err := j.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return j
}

func event(n int) policy.Event {
	e := policy.Event{
		Time: time.Unix(1790000000, int64(n)).UTC(), Door: policy.DoorDNS, Client: fmt.Sprintf("10.2.%d.%d", n>>8&255, n&255),
		Device: "tablet-7", Group: "year5", Profile: "ks2", Pupil: true, Host: fmt.Sprintf("host%d.example", n%97),
		Method: "A", Verdict: policy.Allow, Reason: policy.ReasonDefault, Rule: "policy.yaml:12", PolicyVersion: "v3", StoreVersion: 42,
	}
	switch n % 7 {
	case 5: // a search inside an inspected tunnel
		e.Door, e.Person, e.Port, e.Use, e.Words = policy.DoorInspect, "zoe", 8443, policy.UsePerson, fmt.Sprintf("volcanoes %d", n)
		e.Theme, e.Term, e.Type, e.Size = "weapons", "volcano", "text/html", int64(n)
	case 6:
		e = policy.StaffAct(e.Time, "dsl", "audit.search", fmt.Sprintf("device tablet-%d", n), "a parent asked")
	}
	return e
}

func flagged(n int) policy.Event {
	e := event(n)
	e.Severity, e.Verdict, e.Reason, e.Category = 4, policy.Block, policy.ReasonCategory, policy.Gambling
	return e
}

// readAll opens a journal again and reads all of it, which must be possible.
func readAll(t testing.TB, dir string) []policy.Event {
	t.Helper()
	got, gaps := readGaps(t, dir)
	if len(gaps) > 0 {
		t.Fatalf("Follow: %v", gaps)
	}
	return got
}

// readGaps opens a journal again and reads what can be read of it.
func readGaps(t testing.TB, dir string) (got []policy.Event, gaps []error) {
	t.Helper()
	j := openTest(t, dir, Options{})
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	for e, err := range j.Follow(context.Background(), 0) {
		if gap := (*GapError)(nil); errors.As(err, &gap) {
			gaps = append(gaps, err)
			continue
		} else if err != nil {
			t.Fatalf("Follow: %v", err)
		}
		got = append(got, e)
	}
	return got, gaps
}

func TestRecordNumbersAndKeeps(t *testing.T) {
	dir := t.TempDir()
	var want []policy.Event
	for range 3 { // three openings, the numbers go on
		j := openTest(t, dir, Options{SegmentSize: 4 << 10})
		for i := range 50 {
			e := event(len(want))
			if i%7 == 0 {
				e = flagged(len(want))
			}
			if err := j.Record(&e); err != nil {
				t.Fatal(err)
			}
			want = append(want, e)
			if e.ID != policy.EventID(len(want)) {
				t.Fatalf("Record gave %d, want %d", e.ID, len(want))
			}
		}
		evs := []policy.Event{event(1), event(2), flagged(3)}
		if err := j.RecordBatch(evs); err != nil {
			t.Fatal(err)
		}
		want = append(want, evs...)
		if err := j.Close(); err != nil {
			t.Fatal(err)
		}
		if err := j.Record(new(policy.Event)); !errors.Is(err, ErrClosed) {
			t.Errorf("Record after Close = %v, want ErrClosed", err)
		}
	}
	if diff := cmp.Diff(want, readAll(t, dir)); diff != "" {
		t.Errorf("events differ (-want +got):\n%s", diff)
	}
}

func TestRecordConcurrently(t *testing.T) {
	dir := t.TempDir()
	j := openTest(t, dir, Options{SegmentSize: 16 << 10})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	const callers, each = 24, 200
	var wg sync.WaitGroup
	var mu sync.Mutex
	byID := map[policy.EventID]string{}
	for c := range callers {
		wg.Go(func() {
			for i := range each / 4 {
				evs := []policy.Event{event(c*each + i), event(i), event(c)}
				one := event(c + i)
				if i%10 == 0 {
					one = flagged(c + i)
				}
				if err := errors.Join(j.Record(&one), j.RecordBatch(evs)); err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				for _, e := range append(evs, one) {
					byID[e.ID] = e.Host + e.Client
				}
				mu.Unlock()
			}
		})
	}
	got := map[policy.EventID]string{}
	next := policy.EventID(1)
	for e, err := range j.Follow(ctx, 0) {
		if err != nil {
			t.Fatal(err)
		}
		if e.ID != next {
			t.Fatalf("Follow gave %d, want %d", e.ID, next)
		}
		next++
		got[e.ID] = e.Host + e.Client
		if len(got) == callers*each {
			break
		}
	}
	wg.Wait()
	if diff := cmp.Diff(byID, got); diff != "" {
		t.Errorf("what was recorded and what was followed differ:\n%s", diff)
	}
}

func TestOneWriter(t *testing.T) {
	dir := t.TempDir()
	openTest(t, dir, Options{})
	if _, err := Open(dir, Options{}); !errors.Is(err, ErrLocked) {
		t.Errorf("second Open = %v, want ErrLocked", err)
	}
}
