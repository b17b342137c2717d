package appliance

import (
	"runtime"
	"testing"
)

// TestTrim: memory is given back when little is done and there is much of it, and at no
// other time.
func TestTrim(t *testing.T) {
	var at memory
	freed := 0
	trim := &trimmer{read: func() memory { return at }, free: func() { freed++; at.spare = 0 }}
	for _, step := range []struct {
		name      string
		allocated uint64 // since the step before
		spare     uint64
		want      bool
	}{
		{"busy", 500 << 20, 60 << 20, false},
		{"still busy", 2 * quietHeap, 60 << 20, false},
		{"quiet", quietHeap / 2, 60 << 20, true},
		{"quiet, and nothing left", 0, 0, false},
		{"quiet, and little left", 0, spareHeap - 1, false},
		{"busy again", 50 << 20, 90 << 20, false},
	} {
		at.allocated, at.spare = at.allocated+step.allocated, step.spare
		if got := trim.look(); got != step.want {
			t.Errorf("%s: given back: %v", step.name, got)
		}
	}
	if freed != 1 {
		t.Errorf("given back %d times", freed)
	}
}

var garbage []byte

// TestTrimReads: what the runtime tells is what is meant.
func TestTrimReads(t *testing.T) {
	trim := newTrimmer()
	before := trim.read()
	garbage = make([]byte, 64<<20)
	runtime.KeepAlive(garbage)
	garbage = nil
	if after := trim.read(); after.allocated-before.allocated < 64<<20 {
		t.Errorf("%d bytes allocated after 64 MiB were", after.allocated-before.allocated)
	}
	trim.free()
	if left := trim.read().spare; left > spareHeap {
		t.Errorf("%d bytes to spare after all was given back", left)
	}
}
