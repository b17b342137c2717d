package appliance

import (
	"context"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

// memory is what the runtime says of the heap, in bytes.
type memory struct {
	allocated uint64 // ever
	spare     uint64 // garbage, or free and not given back to the kernel
}

// trimmer gives the kernel back what a busy time left behind. The collector lets
// garbage grow to as much as is in use and then waits for somebody to make more: after
// the last lesson it would lie there until the morning.
type trimmer struct {
	read func() memory
	free func()
	last memory
}

const (
	trimEach  = 2 * time.Second
	quietHeap = 4 << 20  // allocated between two looks: less is quiet
	spareHeap = 24 << 20 // less is not worth a collection
)

func newTrimmer() *trimmer {
	samples := []metrics.Sample{
		{Name: "/gc/heap/allocs:bytes"}, {Name: "/gc/heap/live:bytes"},
		{Name: "/memory/classes/heap/objects:bytes"}, {Name: "/memory/classes/heap/free:bytes"},
	}
	read := func() memory {
		metrics.Read(samples)
		live, objects, free := samples[1].Value.Uint64(), samples[2].Value.Uint64(), samples[3].Value.Uint64()
		return memory{samples[0].Value.Uint64(), objects - min(live, objects) + free}
	}
	return &trimmer{read: read, free: debug.FreeOSMemory}
}

// look collects if little was done since the last look and there is much to collect.
func (t *trimmer) look() (trimmed bool) {
	now := t.read()
	quiet := now.allocated-t.last.allocated < quietHeap
	t.last = now
	if !quiet || now.spare < spareHeap {
		return false
	}
	t.free()
	return true
}

// runTrim looks now and then until ctx is done.
func (a *Appliance) runTrim(ctx context.Context) error {
	t := newTrimmer()
	tick := time.NewTicker(trimEach)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			t.look()
		}
	}
}
