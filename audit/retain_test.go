package audit

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"schoolgate/policy"
)

const day = 24 * time.Hour

func testRetention() Retention {
	return Retention{
		Keep: map[Class]time.Duration{
			ClassRequests: 12 * day, ClassFlagged: 40 * day, ClassGuest: 4 * day, ClassStaff: 50 * day, ClassPath: 8 * day,
		},
		Policy: "rev7",
		Guest:  func(profile, _ string) bool { return profile == "guest" },
	}
}

// dayEvents are some events of each class, all at this moment.
func dayEvents(n int) []policy.Event {
	var evs []policy.Event
	for i := range n {
		e := policy.Event{
			Time: time.Now(), Door: policy.DoorHTTP, Client: fmt.Sprintf("10.2.0.%d", i%5), Device: fmt.Sprintf("d%d", i%5),
			Host: fmt.Sprintf("h%d.example", i), Path: "/p", Words: "some words", Profile: "ks2", Verdict: policy.Allow,
		}
		switch i % 5 {
		case 1:
			e.Severity, e.Theme = 3, "self_harm"
		case 2:
			e.Profile = "guest"
		case 3:
			e = policy.StaffAct(time.Now(), "head", "audit.search", "x", "y")
		}
		evs = append(evs, e)
	}
	return evs
}

// mustBe says what a plain model knows of an event: whether it has to be there, and
// whether it must not be.
func mustBe(r *Retention, e *policy.Event, now time.Time, held bool) (there, gone bool) {
	keep, age := r.Keep[r.classOf(e)], now.Sub(e.Time)
	return held || age < keep, !held && age > keep+49*time.Hour // the day it is in, and the run that comes after
}

// S16: with a fake clock each class is gone after its days and not before, what is
// held stays, receipts account for it, followers and searches see no gap, and the
// journal verifies every day.
func TestRetention(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		j, err := Open(dir, Options{SegmentSize: 4 << 10})
		if err != nil {
			t.Fatal(err)
		}
		r := testRetention()
		model := map[policy.EventID]policy.Event{}
		lastCount := 0
		for d := range 60 {
			n := 10
			if d > 20 {
				n = 5 // the rest of the year is quieter, and the test quicker
			}
			evs := dayEvents(n)
			if err := j.RecordBatch(evs); err != nil {
				t.Fatal(err)
			}
			for _, e := range evs {
				model[e.ID] = e
			}
			if d == 3 {
				if _, err := j.AddHold(Hold{Device: "d0", Reason: "police", By: "head", To: time.Now().Add(36 * time.Hour)}); err != nil {
					t.Fatal(err)
				}
			}
			if d == 30 {
				if _, err := j.LiftHold(1, "head", "closed"); err != nil {
					t.Fatal(err)
				}
			}
			time.Sleep(day)
			report, err := j.Retain(t.Context(), r, RetainOptions{})
			if err != nil || len(report.Unread) > 0 {
				t.Fatalf("day %d: %v %v", d, err, report.Unread)
			}
			if d%4 != 0 && d < 52 {
				continue
			}
			got := map[policy.EventID]policy.Event{}
			for e, err := range (Dir{Path: dir}).Search(t.Context(), Query{}) {
				if err != nil {
					t.Fatalf("day %d: %v", d, err)
				}
				got[e.ID] = e
			}
			for id, e := range model {
				held := d < 30 && e.Device == "d0" && e.Time.Before(time.Date(2000, 1, 5, 12, 0, 0, 0, time.UTC))
				have, ok := got[id]
				there, gone := mustBe(&r, &e, time.Now(), held)
				if there && !ok || gone && ok {
					t.Fatalf("day %d: %v of %v: there: %v", d, id, e.Time, ok)
				}
				cut := !held && (r.classOf(&e) == ClassRequests || r.classOf(&e) == ClassGuest)
				if age := time.Since(e.Time); ok && e.Path != "" && (age < 8*day || !cut) != (have.Path != "") && (age < 8*day || age > 10*day) {
					t.Fatalf("day %d: %v of %v has path %q", d, id, e.Time, have.Path)
				}
				if ok && have.Host != e.Host {
					t.Fatalf("day %d: %v: host %q, want %q", d, id, have.Host, e.Host)
				}
			}
			lastCount = len(got)
			v := verify(t, dir)
			if !v.OK() {
				t.Fatalf("day %d: %v", d, v.Problems)
			}
			if int(v.Events) != len(got) || v.Removed != uint64(v.Last)-uint64(len(got)) {
				t.Errorf("day %d: verify counts %d and %d removed, searched %d of %d", d, v.Events, v.Removed, len(got), v.Last)
			}
		}
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		followed := 0
		for e, err := range j.Follow(ctx, 0) {
			if err != nil {
				t.Fatalf("follow: %v", err)
			}
			if followed++; followed == lastCount || e.ID == j.Head().Seq {
				cancel()
			}
		}
		if followed != lastCount {
			t.Errorf("followed %d events, searched %d", followed, lastCount)
		}
		if keys, _ := filepath.Glob(filepath.Join(dir, "keys", "2000-01*.key")); len(keys) != 1 {
			t.Errorf("January's keys: %v: acts of that month are still there", keys)
		}
		if err := j.Close(); err != nil {
			t.Fatal(err)
		}
		j, err = Open(dir, Options{})
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(j.Close()); err != nil {
			t.Fatal(err)
		}
		if v := verify(t, dir); !v.OK() {
			t.Errorf("opened again: %v", v.Problems)
		}
	})
}

// Privacy 2: a month of which nothing is left loses its key, and still verifies.
func TestRetentionDestroysKeys(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		j, err := Open(dir, Options{})
		if err != nil {
			t.Fatal(err)
		}
		evs := dayEvents(10)
		if err := j.RecordBatch(evs); err != nil {
			t.Fatal(err)
		}
		keys := 0
		for range 130 {
			time.Sleep(day)
			e := event(1)
			e.Time = time.Now()
			if err := j.Record(&e); err != nil {
				t.Fatal(err)
			}
			report, err := j.Retain(t.Context(), testRetention(), RetainOptions{})
			if err != nil {
				t.Fatal(err)
			}
			keys += report.Keys
		}
		if keys == 0 {
			t.Error("no key was destroyed in four months")
		}
		if err := j.Close(); err != nil {
			t.Fatal(err)
		}
		v := verify(t, dir)
		if !v.OK() || v.Unopened > 0 {
			t.Errorf("problems %v, %d unopened", v.Problems, v.Unopened)
		}
		if receipts, err := (Dir{Path: dir}).Receipts(); err != nil || len(receipts) < 70 {
			t.Errorf("%d receipts, %v", len(receipts), err)
		}
	})
}

// F12: a clock that jumps a year ahead costs two days and not a year; back, nothing.
func TestRetentionClockJumps(t *testing.T) {
	var l ledger
	now := time.Date(2026, 11, 24, 3, 0, 0, 0, time.UTC)
	at, _ := l.believed(now.AddDate(1, 0, 0), now.Add(-day), false)
	if at.After(now.Add(2 * day)) {
		t.Errorf("first run believes %v", at)
	}
	l.Trusted = now
	if at, behind := l.believed(now.AddDate(1, 0, 0), now, false); at.After(now.Add(maxStep)) || behind < 300*day {
		t.Errorf("a year ahead: believes %v, behind %v", at, behind)
	}
	if at, _ := l.believed(now.AddDate(1, 0, 0), now, true); !at.Equal(now.AddDate(1, 0, 0)) {
		t.Errorf("a person says the clock is right: believes %v", at)
	}
	if at, _ := l.believed(now.AddDate(-1, 0, 0), now, false); at.After(now) {
		t.Errorf("a year back: believes %v", at)
	}
	run := &retainer{list: []surveyed{
		{created: now.UnixNano(), max: now.UnixNano()},
		{created: now.AddDate(-1, 0, 0).UnixNano(), max: now.AddDate(-1, 0, 0).UnixNano()}, // recorded while the clock was wrong
		{created: now.Add(time.Hour).UnixNano(), max: now.Add(time.Hour).UnixNano()},
	}}
	if got := run.newest(1); got < now.UnixNano() {
		t.Errorf("what was recorded while the clock stood a year back is taken for %v", time.Unix(0, got))
	}
}

// oldJournal is a journal of some days, long ago.
func oldJournal(t *testing.T, d disk) (string, []policy.Event) {
	dir := t.TempDir()
	j, err := Open(dir, Options{disk: d})
	if err != nil {
		t.Fatal(err)
	}
	var all []policy.Event
	for range 3 {
		evs := dayEvents(10)
		if err := j.RecordBatch(evs); err != nil {
			t.Fatal(err)
		}
		all = append(all, evs...)
		time.Sleep(day)
	}
	time.Sleep(45 * day)
	e := event(1)
	e.Time = time.Now()
	if err := errors.Join(j.Record(&e), j.Close()); err != nil {
		t.Fatal(err)
	}
	return dir, append(all, e)
}

// F3, F4: whichever call to the disk fails while retention runs, nothing that stays is
// lost, the journal verifies, and the next run finishes.
func TestRetentionEveryDiskCallFailing(t *testing.T) {
	for _, fault := range []error{syscall.ENOSPC, syscall.EIO} {
		for n := 1; ; n++ {
			calls := 0
			synctest.Test(t, func(t *testing.T) { calls = failRetention(t, n, fault) })
			if calls < n || t.Failed() {
				if t.Failed() {
					t.Fatalf("%v at call %d", fault, n)
				}
				break
			}
		}
	}
}

func failRetention(t *testing.T, n int, fault error) (calls int) {
	d := newSimDisk()
	dir, all := oldJournal(t, d)
	j, err := Open(dir, Options{disk: d})
	if err != nil {
		t.Fatal(err)
	}
	d.mu.Lock()
	d.calls = 0
	d.fail = func(call int, _ string) error {
		if call == n {
			return fault
		}
		return nil
	}
	d.mu.Unlock()
	r := testRetention()
	_, _ = j.Retain(t.Context(), r, RetainOptions{TrustClock: true}) // may fail: that is the point
	d.mu.Lock()
	calls = d.calls
	d.fail = func(int, string) error { return nil }
	d.mu.Unlock()
	checkKept(t, dir, &r, all, false)
	checkKept(t, copyDir(t, dir), &r, all, false) // as kill -9 leaves it
	if _, err := j.Retain(t.Context(), r, RetainOptions{TrustClock: true}); err != nil {
		t.Errorf("next run: %v", err)
	}
	if err := j.Close(); err != nil {
		t.Error(err)
	}
	checkKept(t, dir, &r, all, true)
	return calls
}

func checkKept(t *testing.T, dir string, r *Retention, all []policy.Event, done bool) {
	t.Helper()
	got := map[policy.EventID]policy.Event{}
	for e, err := range (Dir{Path: dir}).Search(t.Context(), Query{}) {
		if err != nil {
			t.Fatal(err)
		}
		got[e.ID] = e
	}
	for _, e := range all {
		_, ok := got[e.ID]
		there, gone := mustBe(r, &e, time.Now(), false)
		if there && !ok || done && gone && ok {
			t.Errorf("event %v of %v: there %v", e.ID, e.Time, ok)
		}
	}
	if v := verify(t, dir); !v.OK() {
		t.Errorf("verify: %v", v.Problems)
	}
}

// F13: what retention left is as much under guard as the rest: no byte of it, no
// receipt and no whole state can be changed unseen.
func TestVerifyAfterRetention(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir, _ := oldJournal(t, osDisk{})
		j, err := Open(dir, Options{})
		if err != nil {
			t.Fatal(err)
		}
		original := copyDir(t, dir)
		if _, err := j.Retain(t.Context(), testRetention(), RetainOptions{TrustClock: true}); err != nil {
			t.Fatal(err)
		}
		if err := j.Close(); err != nil {
			t.Fatal(err)
		}
		if v := verify(t, dir); !v.OK() || v.Removed == 0 {
			t.Fatalf("%d removed; %v", v.Removed, v.Problems)
		}
		firsts, err := segments(dir)
		if err != nil {
			t.Fatal(err)
		}
		for _, first := range firsts {
			name := segmentName(first)
			content, err := os.ReadFile(filepath.Join(dir, name))
			if err != nil {
				t.Fatal(err)
			}
			for range 50 {
				altered := copyDir(t, dir)
				at := rand.IntN(len(content))
				b := append([]byte(nil), content...)
				b[at] ^= 1 << rand.IntN(8)
				if err := os.WriteFile(filepath.Join(altered, name), b, 0o600); err != nil {
					t.Fatal(err)
				}
				if v := verify(t, altered); v.OK() {
					t.Errorf("%s: a bit of byte %d of %d changed, and verify says nothing", name, at, len(content))
				}
			}
			gone := copyDir(t, dir)
			if err := os.Remove(filepath.Join(gone, name)); err != nil {
				t.Fatal(err)
			}
			if v := verify(t, gone); v.OK() {
				t.Errorf("%s removed, and verify says nothing", name)
			}
		}
		// An older state of one segment is put back: at least a note says so.
		if err := copyOver(original, dir, segmentName(firsts[0])); err != nil {
			t.Fatal(err)
		}
		if v := verify(t, dir); v.OK() && len(v.Notes) == 0 {
			t.Error("an older state was put back, and verify says nothing")
		}
	})
}

func copyOver(from, to, name string) error {
	b, err := os.ReadFile(filepath.Join(from, name))
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(to, name), b, 0o600)
}

// A hold that is lost is not forgotten: nothing is removed.
func TestHoldsLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir, _ := oldJournal(t, osDisk{})
		j, err := Open(dir, Options{})
		if err != nil {
			t.Fatal(err)
		}
		defer j.Close()
		if _, err := j.AddHold(Hold{Reason: "x", By: "y"}); err == nil {
			t.Error("a hold on everybody was taken")
		}
		if _, err := j.AddHold(Hold{Device: "d0", Reason: "x", By: "y"}); err != nil {
			t.Fatal(err)
		}
		for i, name := range []string{retentionFile, retentionFile + ".copy"} {
			if err := os.WriteFile(filepath.Join(dir, name), []byte("{"), 0o600); err != nil {
				t.Fatal(err)
			}
			holds, err := Dir{Path: dir}.Holds()
			if i == 0 && (err != nil || len(holds) != 1) {
				t.Errorf("one copy damaged: %v, %v", holds, err)
			}
		}
		if _, err := j.Retain(t.Context(), testRetention(), RetainOptions{}); !errors.Is(err, ErrLedger) {
			t.Errorf("Retain = %v, want ErrLedger", err)
		}
	})
}
