package audit

import (
	"bytes"
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"schoolgate/policy"
)

// A follower gets flagged events at once, the rest within a second, nothing
// before the disk has it, and its end when the journal is closed.
func TestFollowTail(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		j := openTest(t, dir, Options{})
		var last atomic.Uint64
		var wg sync.WaitGroup
		wg.Go(func() {
			for e, err := range j.Follow(t.Context(), 0) {
				if err != nil || uint64(e.ID) != last.Add(1) {
					t.Errorf("Follow gave %s, %v after %d", e.ID, err, last.Load())
				}
			}
		})
		record := func(e policy.Event) {
			if err := j.Record(&e); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
		}
		seen := func(when string, want uint64) {
			if got := last.Load(); got != want {
				t.Errorf("%s the follower has %d events, want %d", when, got, want)
			}
		}
		record(event(1))
		record(event(2))
		seen("before the sync", 0)
		record(flagged(3))
		seen("after a flagged event", 3)
		record(event(4))
		seen("before the next sync", 3)
		time.Sleep(time.Second)
		synctest.Wait()
		seen("a second later", 4)
		record(event(5))
		if err := j.Close(); err != nil {
			t.Fatal(err)
		}
		wg.Wait()
		seen("after Close", 5)
		if err := j.Close(); err != nil {
			t.Errorf("second Close = %v", err)
		}
	})
}

func TestFollowEnds(t *testing.T) {
	dir := sample(t, 900, 20)
	j := openTest(t, dir, Options{})
	for _, err := range j.Follow(t.Context(), 21) {
		if !errors.Is(err, ErrAhead) {
			t.Errorf("Follow past the end = %v, want ErrAhead", err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	n := 0
	for range j.Follow(ctx, 0) { // in the middle of what is there
		if n++; n == 5 {
			cancel()
		}
	}
	if n != 5 {
		t.Errorf("Follow gave %d events, want 5 until its context was done", n)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	for range j.Follow(t.Context(), 20) {
		t.Error("Follow after Close gave an event")
		break
	}
}

// What cannot be read is told by number, and reading goes on behind it.
func TestFollowGap(t *testing.T) {
	dir := sample(t, 900, 40)
	firsts, err := segments(dir)
	if err != nil {
		t.Fatal(err)
	}
	remove(t, dir, firsts[2])
	_, raws := frames(t, dir, firsts[1])
	rewrite(t, dir, firsts[1], func(b []byte) []byte { return bytes.Replace(b, raws[0], raws[0][:30], 1) })
	got, gaps := readGaps(t, dir)
	h, _ := parseFrameHeader(raws[0])
	lost := int(h.Count) + int(firsts[3]-firsts[2])
	if len(got) != 40-lost || len(gaps) != 2 {
		t.Errorf("Follow gave %d events and %v, want %d and 2 gaps", len(got), gaps, 40-lost)
	}
}

// F27: while the disk hangs, callers wait up to the bound, and the next is
// refused at once. When it goes on, those who waited are recorded.
func TestOverload(t *testing.T) {
	d := newSimDisk()
	j := openTest(t, t.TempDir(), Options{MaxWaiting: 10, disk: d})
	hang := make(chan struct{})
	d.fail = func(_ int, op string) error {
		if op == "write" {
			d.mu.Unlock() // only writers hang
			<-hang
			d.mu.Lock()
		}
		return nil
	}
	var wg sync.WaitGroup
	refused := make(chan error, 100)
	for i := range 100 {
		wg.Go(func() {
			e := event(i)
			if err := j.Record(&e); err != nil {
				refused <- err
			}
		})
	}
	for range 90 {
		if err := <-refused; !errors.Is(err, ErrOverloaded) {
			t.Errorf("Record = %v, want ErrOverloaded", err)
		}
	}
	close(hang)
	wg.Wait()
	if got := j.Head().Seq; got != 10 {
		t.Errorf("%d events recorded, want the 10 that waited", got)
	}
}

// A batch larger than a frame is split; one that fails part of the way says by
// its numbers what was recorded.
func TestRecordBatchInPart(t *testing.T) {
	d := newSimDisk()
	dir := t.TempDir()
	j := openTest(t, dir, Options{disk: d})
	evs := make([]policy.Event, 2*maxEvents+100)
	for i := range evs {
		evs[i] = event(i)
	}
	if err := j.RecordBatch(evs); err != nil || evs[len(evs)-1].ID != policy.EventID(len(evs)) {
		t.Fatalf("RecordBatch: %v, last number %d", err, evs[len(evs)-1].ID)
	}
	writes := 0
	d.fail = func(_ int, op string) error {
		if op == "write" {
			if writes++; writes == 2 {
				return syscall.ENOSPC
			}
		}
		return nil
	}
	err := j.RecordBatch(evs)
	if !errors.Is(err, syscall.ENOSPC) || j.Err() == nil {
		t.Errorf("RecordBatch on a full disk = %v, Err = %v", err, j.Err())
	}
	recorded := 0
	for _, e := range evs {
		if e.ID != 0 {
			recorded++
		}
	}
	if want := int(j.Head().Seq) - len(evs); recorded != want || recorded == 0 || recorded == len(evs) {
		t.Errorf("%d events have a number, want %d", recorded, want)
	}
}

// Readers take a journal that grows under them as it is at that moment.
func TestReadWhileWriting(t *testing.T) {
	dir := t.TempDir()
	j := openTest(t, dir, Options{SegmentSize: 8 << 10})
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for c := range 4 {
		wg.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				default:
				}
				e := event(i*4 + c)
				if err := j.Record(&e); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	d := Dir{Path: dir}
	for n := 0; n < 20 || j.Head().Seq < 2000; n++ {
		if r := verify(t, dir); !r.OK() || !r.Live {
			t.Errorf("Verify of a live journal: %v, live %v", r.Problems, r.Live)
		}
		next := policy.EventID(1)
		for e, err := range d.Search(t.Context(), Query{}) {
			if err != nil || e.ID != next {
				t.Fatalf("Search of a live journal: %d, %v, want %d", e.ID, err, next)
			}
			next++
		}
	}
	close(stop)
	wg.Wait()
}

// F3: the reserve is freed when the disk is full, and taken again later.
func TestReserve(t *testing.T) {
	d := newSimDisk()
	dir := t.TempDir()
	j := openTest(t, dir, Options{Reserve: 4096, disk: d})
	writes := 0
	d.fail = func(_ int, op string) error {
		if op == "write" {
			if writes++; writes == 2 { // the first event; the header went through
				return syscall.ENOSPC
			}
		}
		return nil
	}
	size := dirBytes(dir)
	e := event(1)
	if err := j.Record(&e); err != nil {
		t.Errorf("Record on a full disk with a reserve = %v", err)
	}
	if now := dirBytes(dir); now > size {
		t.Errorf("the reserve was not freed: %d bytes before, %d after", size, now)
	}
}

// F3 on a real full disk, which needs root to mount one.
func TestRealDiskFull(t *testing.T) {
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=256k"); err != nil {
		t.Skipf("SKIPPED: a small disk cannot be mounted here: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	j := openTest(t, dir, Options{SegmentSize: 32 << 10})
	a := newAcked()
	var err error
	for i := 0; err == nil && i < 10000; i++ {
		err = a.record(t, j, event(i))
	}
	if !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("Record on a full disk = %v", err)
	}
	if err := (osDisk{}).Remove(dir + "/" + segmentName(1)); err != nil { // someone makes room
		t.Fatal(err)
	}
	for i := range 50 {
		if err := a.record(t, j, flagged(i)); err != nil {
			t.Fatalf("Record with room again = %v", err)
		}
	}
	got := searchAll(t, dir)
	if last := got[len(got)-1]; int(last.ID) != len(a.events) {
		t.Errorf("the last event is %d, %d were acknowledged", last.ID, len(a.events))
	}
}

func TestMetrics(t *testing.T) {
	reg := prometheus.NewPedanticRegistry()
	j := openTest(t, t.TempDir(), Options{Metrics: reg})
	e := flagged(1)
	e.Host = string(make([]byte, 2000))
	if err := j.Record(&e); err != nil {
		t.Fatal(err)
	}
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]float64{
		"schoolgate_audit_events_total": 1, "schoolgate_audit_flagged_events_total": 1, "schoolgate_audit_cut_events_total": 1,
		"schoolgate_audit_frames_total": 1, "schoolgate_audit_errors_total": 0, "schoolgate_audit_unsynced_events": 0,
	}
	for _, f := range families {
		m := f.Metric[0]
		if len(m.Label) > 0 {
			t.Errorf("%s has labels %v", f.GetName(), m.Label)
		}
		if w, ok := want[f.GetName()]; ok && m.GetCounter().GetValue()+m.GetGauge().GetValue() != w {
			t.Errorf("%s = %v, want %v", f.GetName(), m, w)
		}
		delete(want, f.GetName())
	}
	if len(want) > 0 {
		t.Errorf("not registered: %v", want)
	}
}
