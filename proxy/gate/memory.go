package gate

import (
	"math"
	"runtime"
	"runtime/debug"
	runtimemetrics "runtime/metrics"
	"sync"
	"time"
)

// scarcity tells how much of the memory that the process is to keep to (GOMEMLIMIT, F15)
// is in use and no collection can give back.
type scarcity struct {
	read func() (used, limit uint64) // bytes
	free func()                      // has what nobody uses counted as such

	mu    sync.Mutex
	next  time.Time // when it is looked at again
	share int       // in a hundred
	freed time.Time // when free was last called
}

const (
	scarceEach = 20 * time.Millisecond // a look costs some microseconds
	freeEach   = time.Second

	// Shares of the limit. From the first on, newcomers are let in who have few
	// connections, so that those who have many do not crowd them out; from the second
	// on the collector hardly rests, and nobody is.
	scarce      = 75
	exhausted   = 88
	fewInScarce = 8
)

func newScarcity() *scarcity {
	samples := []runtimemetrics.Sample{
		{Name: "/memory/classes/total:bytes"}, {Name: "/memory/classes/heap/released:bytes"}, {Name: "/memory/classes/heap/free:bytes"},
		{Name: "/memory/classes/heap/objects:bytes"}, {Name: "/gc/heap/live:bytes"},
	}
	read := func() (used, limit uint64) {
		if limit = uint64(debug.SetMemoryLimit(-1)); limit >= math.MaxInt64 {
			return 0, limit // nobody set one
		}
		runtimemetrics.Read(samples)
		of := func(i int) uint64 { return samples[i].Value.Uint64() }
		total, released, free, objects, live := of(0), of(1), of(2), of(3), of(4)
		garbage := objects - min(objects, live) // and what came since the last collection
		return total - min(total, released+free+garbage), limit
	}
	return &scarcity{read: read, free: runtime.GC}
}

// now is the share in use. While it is high, a collection now and then finds out whether
// it still is: where all newcomers are turned away, nobody allocates, and nothing else
// would cause one.
func (s *scarcity) now(t time.Time) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	if t.Before(s.next) {
		return s.share
	}
	s.next = t.Add(scarceEach)
	used, limit := s.read()
	s.share = int(used / max(1, limit/100))
	if s.share >= scarce && t.Sub(s.freed) >= freeEach {
		s.freed = t
		go s.free() // it ends by itself, soon
	}
	return s.share
}

// admits reports whether a client that has some connections may have another.
func (s *scarcity) admits(t time.Time, has int) bool {
	share := s.now(t)
	return share < scarce || share < exhausted && has < fewInScarce
}
