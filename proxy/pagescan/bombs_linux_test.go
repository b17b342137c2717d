package pagescan

import (
	"bytes"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestBombs: T6. However far a reply unpacks, it takes little memory and time, and
// is told for what it is.
func TestBombs(t *testing.T) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	set := shippedSet(t)
	zeros := make([]byte, 8<<20)
	for _, c := range []struct {
		promise, codings string
		body             []byte
	}{
		{"gzip", "gzip", packed(t, "gzip", zeros)},
		{"deflate", "deflate", packed(t, "deflate", zeros)},
		{"brotli", "br", packed(t, "br", zeros)},
		{"zstd", "zstd", packed(t, "zstd", zeros)},
		{"gzip in gzip: 10 GB of a few kilobytes", "gzip, gzip", packed(t, "gzip", bytes.Repeat(packed(t, "gzip", zeros), 1280))},
		{"empty parts in gzip", "gzip, gzip", packed(t, "gzip", bytes.Repeat(packed(t, "gzip", nil), 1<<19))},
	} {
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		began := cpuTime(t)
		p := set.Read(c.body, "text/html", c.codings)
		took := cpuTime(t) - began
		runtime.ReadMemStats(&after)
		if !p.Bomb() || p.Length() > MaxPage || took > 2*time.Second || after.TotalAlloc-before.TotalAlloc > 32<<20 {
			t.Errorf("%s (%d bytes): bomb %t, %d bytes read, %v, %d MB allocated", c.promise, len(c.body), p.Bomb(), p.Length(), took,
				(after.TotalAlloc-before.TotalAlloc)>>20)
		}
	}
	// What packs well is no bomb: a page of one long table.
	table := "<table>" + strings.Repeat("<tr><td class=\"cell number\">0.00</td><td class=\"cell number\">0.00</td></tr>\n", 1000) + "</table>"
	if set.Read(packed(t, "gzip", []byte(table)), "text/html", "gzip").Bomb() {
		t.Error("a long table is taken for a bomb")
	}
}

// cpuTime is what this thread has worked, which other work on the machine does not stretch.
func cpuTime(t *testing.T) time.Duration {
	t.Helper()
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_THREAD, &u); err != nil {
		t.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
