package dnsfilter

import (
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"
)

// F16: whoever answers names goes ahead of the rest of the program.
func TestReadersGoFirst(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("SKIPPED: needs root, or LimitNICE= of a service, to go ahead of others")
	}
	d := openDoor(t, rules{}, nil)
	if err := d.Beat(t.Context()); err != nil { // every reader runs
		t.Fatal(err)
	}
	if first := threadsWithNice(t, hurried); first < runtime.NumCPU() {
		t.Errorf("%d threads with a nice value of %d, want one for each of %d cores", first, hurried, runtime.NumCPU())
	}
	if threadsWithNice(t, 0) == 0 {
		t.Error("the whole program goes first, so nobody does")
	}
}

func threadsWithNice(t *testing.T, nice int) (n int) {
	t.Helper()
	stats, err := filepath.Glob("/proc/self/task/*/stat")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range stats {
		stat, err := os.ReadFile(path)
		if err != nil {
			continue // the thread has ended
		}
		_, fields, _ := strings.Cut(string(stat), ") ") // from the third on, proc(5)
		if f := strings.Fields(fields); len(f) > 16 && f[16] == strconv.Itoa(nice) {
			n++
		}
	}
	return n
}
