package categories

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"schoolgate/policy"
)

// publish builds the next version, in which only vN.example is listed.
func publish(t *testing.T, d *Dir) uint64 {
	t.Helper()
	v, err := d.Next()
	if err != nil {
		t.Fatal(err)
	}
	b, err := Create(d.Path(v), BuildOptions{Version: v, Key: testKey})
	if err != nil {
		t.Fatal(err)
	}
	id := b.Source(Source{Name: "public"})
	if err := b.Add(id, Entry{Host: host(t, "poker.example"), Category: policy.Gambling}); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Finish(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := d.Publish(v); err != nil {
		t.Fatal(err)
	}
	return v
}

func openLastGood(t *testing.T, d *Dir) (version uint64, skipped []Skipped) {
	t.Helper()
	s, skipped, err := d.OpenLastGood(testKey)
	if err != nil {
		t.Fatal(err)
	}
	defer s.release()
	if s.Classify(host(t, "poker.example"), "").Categories.Empty() {
		t.Errorf("version %d: Classify(poker.example) is empty", s.Version())
	}
	return s.Version(), skipped
}

func TestVersions(t *testing.T) {
	d, err := OpenDir(filepath.Join(t.TempDir(), "stores"))
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := d.OpenLastGood(testKey); !errors.Is(err, ErrNoStore) {
		t.Errorf("OpenLastGood of nothing = %v, want ErrNoStore", err)
	}
	for range 5 {
		publish(t, d)
	}
	if got, err := d.Versions(); err != nil || !slices.Equal(got, []uint64{5, 4, 3}) {
		t.Errorf("Versions = %v, %v; want the last three", got, err)
	}
	if err := d.Rollback(4, testKey); err != nil {
		t.Fatal(err)
	}
	if v, skipped := openLastGood(t, d); v != 4 || skipped != nil {
		t.Errorf("after Rollback(4) = version %d, skipped %v; want 4", v, skipped)
	}
	if next, err := d.Next(); err != nil || next != 6 {
		t.Errorf("Next after a rollback = %d, %v; want 6: numbers are never used twice", next, err)
	}
	if err := d.Rollback(1, testKey); err == nil {
		t.Error("Rollback to a version that is gone = nil, want an error")
	}
}

func TestLastGoodPassesOverDamage(t *testing.T) {
	d, err := OpenDir(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		publish(t, d)
	}
	content, err := os.ReadFile(d.Path(3))
	if err != nil {
		t.Fatal(err)
	}
	content[5000] ^= 4
	if err := os.WriteFile(d.Path(3), content, 0o600); err != nil {
		t.Fatal(err)
	}
	v, skipped := openLastGood(t, d)
	if v != 2 || len(skipped) != 1 || skipped[0].Version != 3 || !errors.Is(skipped[0].Err, ErrCorrupt) {
		t.Errorf("OpenLastGood = version %d, skipped %v; want 2, and 3 named as damaged", v, skipped)
	}
	if err := d.Rollback(3, testKey); !errors.Is(err, ErrCorrupt) {
		t.Errorf("Rollback to a damaged version = %v, want ErrCorrupt", err)
	}
	if _, _, err := d.OpenLastGood(bytes.Repeat([]byte{9}, KeySize)); err != nil {
		t.Errorf("OpenLastGood with any key, no mandatory list = %v, want nil", err)
	}
}

func TestDeadBuildsAreSwept(t *testing.T) {
	d, err := OpenDir(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	dead := d.Path(1) + buildingMark + "123"
	if err := os.WriteFile(dead, []byte("half a store"), 0o600); err != nil {
		t.Fatal(err)
	}
	live, err := Create(d.Path(9), BuildOptions{Version: 9})
	if err != nil {
		t.Fatal(err)
	}
	publish(t, d)
	if _, err := os.Stat(dead); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a dead build is still there: %v", err)
	}
	if _, err := os.Stat(live.temp); err != nil {
		t.Errorf("a live build was swept: %v", err)
	}
	live.Abort()
	if _, err := os.Stat(live.temp); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("Abort left %s: %v", live.temp, err)
	}
}

func TestStoppedBuildLeavesNothing(t *testing.T) {
	b, ids := create(t)
	if err := b.Add(ids["public"], Entry{Host: host(t, "poker.example"), Category: policy.Gambling}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := b.Finish(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("Finish of a stopped build = %v, want context.Canceled", err)
	}
	if left, err := os.ReadDir(filepath.Dir(b.path)); err != nil || len(left) != 0 {
		t.Errorf("a stopped build left %v, %v", left, err)
	}
	if err := b.Add(ids["public"], Entry{Host: host(t, "poker.example"), Category: policy.Gambling}); err == nil {
		t.Error("Add after Finish = nil, want an error")
	}
}

// A swap under load: readers of the old store finish on it, though it was closed
// and its file removed.
func TestReadersOutliveTheirStore(t *testing.T) {
	d, err := OpenDir(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	publish(t, d)
	m := NewMetrics(prometheus.NewRegistry())
	s, _, err := d.OpenLastGood(testKey, WithMetrics(m))
	if err != nil {
		t.Fatal(err)
	}
	poker, ready := host(t, "poker.example"), make(chan struct{}, 4)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for i := range 5000 {
				if f := s.Classify(poker, ""); f.Unreadable || f.Categories.Empty() {
					t.Errorf("Classify during a swap = %+v, want gambling", f)
					return
				}
				if i == 100 {
					ready <- struct{}{}
				}
			}
		})
	}
	for range 4 {
		<-ready
	}
	if err := errors.Join(s.Close(), os.Remove(d.Path(1))); err != nil {
		t.Fatal(err)
	}
	wg.Wait()
}
