package audit

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"

	"schoolgate/policy"
)

// acked is what a journal has promised to keep.
type acked struct {
	mu     sync.Mutex
	events map[policy.EventID]policy.Event
}

func newAcked() *acked { return &acked{events: map[policy.EventID]policy.Event{}} }

func (a *acked) record(t testing.TB, j *Journal, e policy.Event) error {
	t.Helper()
	err := j.Record(&e)
	if err == nil {
		a.mu.Lock()
		defer a.mu.Unlock()
		if old, twice := a.events[e.ID]; twice {
			t.Errorf("number %d given to %v and %v", e.ID, old, e)
		}
		a.events[e.ID] = e
	}
	return err
}

// check reopens a journal with the real disk and looks for every event that
// must is true of. Numbers must be dense.
func (a *acked) check(t testing.TB, dir string, must func(policy.Event) bool) {
	t.Helper()
	got := map[policy.EventID]policy.Event{}
	events, gaps := readGaps(t, dir)
	for i, e := range events {
		if len(gaps) == 0 && e.ID != policy.EventID(i+1) {
			t.Fatalf("event %d has number %d", i+1, e.ID)
		}
		got[e.ID] = e
	}
	for id, e := range a.events {
		if must(e) && got[id] != e {
			t.Errorf("acknowledged event %d:\n got %+v\nwant %+v", id, got[id], e)
		}
	}
}

func every(policy.Event) bool { return true }

func verify(t testing.TB, dir string) Report {
	t.Helper()
	r, err := Dir{Path: dir}.Verify(context.Background(), VerifyOptions{})
	if err != nil {
		t.Fatalf("Verify: %v", err)
	}
	return r
}

// workload records until it has tried all; errors are the disk's business.
func workload(t testing.TB, j *Journal, a *acked, n, from int) (failed int) {
	for i := range n {
		e := event(from + i)
		if i%3 == 0 {
			e = flagged(from + i)
		}
		if a.record(t, j, e) != nil {
			failed++
		}
	}
	return failed
}

// F3, F4: whichever call to the disk fails, and however, what was acknowledged
// is there, nothing is doubled, and recording goes on by itself once the disk
// works again. The journal is also opened from a copy taken before Close, as
// kill -9 would leave it.
func TestEveryDiskCallFailing(t *testing.T) {
	kinds := []struct {
		name    string
		err     error
		lasting bool
	}{
		{"full", syscall.ENOSPC, false},
		{"full for a while", syscall.ENOSPC, true},
		{"broken once", syscall.EIO, false},
		{"read-only for a while", syscall.EROFS, true},
	}
	for _, kind := range kinds {
		t.Run(kind.name, func(t *testing.T) {
			for n := 1; ; n++ {
				if calls := failNth(t, n, kind.err, kind.lasting); calls < n || t.Failed() {
					if t.Failed() {
						t.Logf("failed call: %d", n)
					}
					return
				}
			}
		})
	}
}

func failNth(t *testing.T, n int, fault error, lasting bool) (calls int) {
	dir := t.TempDir()
	d := newSimDisk()
	d.fail = func(call int, _ string) error {
		if call == n || lasting && call > n {
			return fault
		}
		return nil
	}
	opts := Options{SegmentSize: 800, disk: d}
	a := newAcked()
	j, err := Open(dir, opts)
	if err == nil {
		workload(t, j, a, 12, 0)
		d.mu.Lock()
		calls = d.calls
		d.fail = func(int, string) error { return nil }
		d.mu.Unlock()
		if failed := workload(t, j, a, 5, 1000); failed > 1 {
			t.Errorf("call %d: %d of 5 not recorded after the disk came back", n, failed)
		}
		a.check(t, copyDir(t, dir), every)
		if err := j.Close(); err != nil {
			t.Errorf("call %d: Close: %v", n, err)
		}
	} else if !errors.Is(err, fault) {
		t.Errorf("call %d: Open = %v, want %v", n, err, fault)
	} else {
		calls = n
	}
	a.check(t, dir, every)
	if r := verify(t, dir); !r.OK() {
		t.Errorf("call %d: verify: %v", n, r.Problems)
	}
	return calls
}

// F1: after a power cut every flagged event that was acknowledged is there, and
// every event a follower was given; numbers go on without a gap.
func TestPowerCut(t *testing.T) {
	for seed := range uint64(120) {
		rnd := rand.New(rand.NewPCG(seed, 1))
		dir, after := t.TempDir(), t.TempDir()
		d := newSimDisk()
		a := newAcked()
		strict := seed%5 == 0
		opts := Options{SegmentSize: 1 << 10 << rnd.IntN(4), disk: d}
		if strict {
			opts.Durability = Strict
		}
		j, err := Open(dir, opts)
		if err != nil {
			t.Fatal(err)
		}
		stop := rnd.IntN(200)
		d.mu.Lock()
		d.fail = func(call int, _ string) error {
			if call > stop {
				d.dead = true
				return syscall.EIO
			}
			return nil
		}
		d.mu.Unlock()
		var wg sync.WaitGroup
		for c := range 4 {
			wg.Go(func() { workload(t, j, a, 20, c*20) })
		}
		wg.Wait()
		d.cut()
		followed, _, _ := j.durable()
		_ = j.Close() // may fail or have had nothing to do: the power is out
		d.survivors(t, dir, after, rnd)
		a.check(t, after, func(e policy.Event) bool { return strict || e.Flagged() || e.ID <= followed })
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
}

const childEnv = "SCHOOLGATE_AUDIT_CHILD_DIR"

// F2: a process that records under load is killed with SIGKILL, again and again;
// every id it had printed is in the journal.
func TestKillNine(t *testing.T) {
	if dir := os.Getenv(childEnv); dir != "" {
		recordForEver(t, dir)
		return
	}
	dir := t.TempDir()
	rnd := rand.New(rand.NewPCG(7, 7))
	promised := map[policy.EventID]string{}
	for range 5 {
		killOnce(t, dir, 200+rnd.IntN(3000), promised)
		if r := verify(t, dir); len(r.Problems) > 1 || !r.OK() && !strings.Contains(r.Problems[0].What, "torn tail") {
			t.Fatalf("verify after kill: %v", r.Problems)
		}
	}
	got := map[policy.EventID]string{}
	for _, e := range readAll(t, dir) {
		got[e.ID] = e.Client
	}
	for id, client := range promised {
		if got[id] != client {
			t.Errorf("event %d: got client %q, want %q", id, got[id], client)
		}
	}
	if r := verify(t, dir); !r.OK() {
		t.Errorf("verify: %v", r.Problems)
	}
	t.Logf("%d acknowledged events over 5 kills, none lost", len(promised))
}

func killOnce(t *testing.T, dir string, lines int, promised map[policy.EventID]string) {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^TestKillNine$")
	cmd.Env = append(os.Environ(), childEnv+"="+dir)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	in := bufio.NewScanner(out)
	for n := 0; in.Scan(); n++ {
		if n == lines {
			if err := cmd.Process.Kill(); err != nil {
				t.Fatal(err)
			}
		}
		id, client, ok := strings.Cut(in.Text(), " ") // also what was printed before it died
		num, err := strconv.ParseUint(id, 10, 64)
		if ok && err == nil && strings.HasSuffix(client, ".") {
			promised[policy.EventID(num)] = strings.TrimSuffix(client, ".")
		}
	}
	if err := cmd.Wait(); err == nil {
		t.Fatal("the child ended by itself")
	}
}

func recordForEver(t *testing.T, dir string) {
	j, err := Open(dir, Options{SegmentSize: 64 << 10})
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for c := range 8 {
		wg.Go(func() {
			for i := 0; ; i++ {
				e := event(i)
				e.Client = fmt.Sprintf("c%d-%d-%d", os.Getpid(), c, i)
				if i%50 == 0 {
					e.Severity = 3
				}
				if err := j.Record(&e); err != nil {
					t.Error(err)
					return
				}
				fmt.Printf("%d %s.\n", e.ID, e.Client)
			}
		})
	}
	wg.Wait()
}
