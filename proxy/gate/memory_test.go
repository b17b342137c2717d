package gate

import (
	"math"
	"runtime/debug"
	"testing"
	"time"
)

// TestScarcity: who has many connections is turned away first, then everybody, and while
// it is so a collection each second finds out whether it still is.
func TestScarcity(t *testing.T) {
	const limit = 1000 << 20
	used, freed := uint64(0), make(chan struct{}, 100)
	s := &scarcity{read: func() (uint64, uint64) { return used, limit }, free: func() { freed <- struct{}{} }}
	at := time.Now()
	for _, c := range []struct {
		used      uint64 // in a hundred
		few, many bool   // are let in
	}{{10, true, true}, {scarce - 1, true, true}, {scarce, true, false}, {exhausted - 1, true, false}, {exhausted, false, false}, {150, false, false}, {10, true, true}} {
		used = c.used * limit / 100
		at = at.Add(scarceEach)
		if few, many := s.admits(at, fewInScarce-1), s.admits(at, fewInScarce); few != c.few || many != c.many {
			t.Errorf("with %d in a hundred in use: %v, %v, want %v, %v", c.used, few, many, c.few, c.many)
		}
	}
	<-freed
	used = limit
	for range 3 * time.Second / scarceEach {
		at = at.Add(scarceEach)
		s.admits(at, 0)
	}
	for range 3 {
		<-freed
	}
	if n := len(freed); n > 0 {
		t.Errorf("%d collections too many", n)
	}
	if used, limit := newScarcity().read(); used > limit || debug.SetMemoryLimit(-1) == math.MaxInt64 && used != 0 {
		t.Errorf("%d of %d in use", used, limit)
	}
}
