package audit

import (
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"schoolgate/policy"
)

// BenchmarkRecord has n callers recording one event at a time.
func BenchmarkRecord(b *testing.B) {
	for _, callers := range []int{1, 16, 64, 256} {
		b.Run(fmt.Sprintf("callers=%d", callers), func(b *testing.B) {
			j := openTest(b, b.TempDir(), Options{})
			b.ReportAllocs()
			b.ResetTimer()
			var wg sync.WaitGroup
			for c := range callers {
				wg.Go(func() {
					e := event(c)
					for range b.N / callers {
						if err := j.Record(&e); err != nil {
							b.Error(err)
							return
						}
					}
				})
			}
			wg.Wait()
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "events/s")
		})
	}
}

// BenchmarkRecordBatch is the DNS door's way: whole batches, one caller.
func BenchmarkRecordBatch(b *testing.B) {
	for _, size := range []int{32, 256} {
		b.Run(fmt.Sprintf("events=%d", size), func(b *testing.B) {
			j := openTest(b, b.TempDir(), Options{})
			evs := make([]policy.Event, size)
			for i := range evs {
				evs[i] = event(i)
			}
			b.ReportAllocs()
			b.ResetTimer()
			for range b.N {
				if err := j.RecordBatch(evs); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.N*size)/b.Elapsed().Seconds(), "events/s")
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*size), "ns/event")
			b.ReportMetric(float64(dirBytes(j.dir))/float64(b.N*size), "B/event")
		})
	}
}

// BenchmarkBareWrite is the ceiling: the kernel alone, with writes of the size
// the journal makes.
func BenchmarkBareWrite(b *testing.B) {
	for _, size := range []int{300, 2 << 10, 12 << 10} {
		b.Run(fmt.Sprintf("bytes=%d", size), func(b *testing.B) {
			f, err := os.Create(filepath.Join(b.TempDir(), "f"))
			if err != nil {
				b.Fatal(err)
			}
			defer f.Close()
			buf := make([]byte, size)
			b.ReportAllocs()
			b.SetBytes(int64(size))
			for i := range b.N {
				if _, err := f.WriteAt(buf, int64(i*size)&(64<<20-1)); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkRead is what readers behind the journal get: half a day of a school
// in frames of 32 events.
func BenchmarkRead(b *testing.B) {
	const events = 256 << 10
	dir := b.TempDir()
	j := openTest(b, dir, Options{})
	evs := make([]policy.Event, 32)
	for n := 0; n < events; n += len(evs) {
		for i := range evs {
			evs[i] = event(n + i)
		}
		if err := j.RecordBatch(evs); err != nil {
			b.Fatal(err)
		}
	}
	if err := j.Close(); err != nil {
		b.Fatal(err)
	}
	d := Dir{Path: dir}
	read := map[string]func() error{
		"follow": func() error {
			for _, err := range j.Follow(b.Context(), 0) {
				if err != nil {
					return err
				}
			}
			return nil
		},
		"search": func() error {
			for _, err := range d.Search(b.Context(), Query{Host: "nowhere.example"}) {
				return err
			}
			return nil
		},
		"verify": func() error {
			_, err := d.Verify(b.Context(), VerifyOptions{})
			return err
		},
	}
	for _, name := range []string{"follow", "search", "verify"} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for range b.N {
				if err := read[name](); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.N*events)/b.Elapsed().Seconds(), "events/s")
		})
	}
}
