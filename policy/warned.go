package policy

import (
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

// warnings are the sites that a client went on to past a page that warned. The zero
// value has none. They are in memory alone: after a restart the page warns again.
type warnings struct {
	any  atomic.Bool // since nearly nobody has one, and every warning asks
	mu   sync.RWMutex
	ends map[warned]time.Time
}

type warned struct {
	client netip.Addr
	site   Host // with all below it
}

const maxWarnings = 10_000 // at once; beyond it the page warns again

func (w *warnings) goOn(client netip.Addr, site Host, now, until time.Time) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.ends == nil {
		w.ends = map[warned]time.Time{}
	}
	if len(w.ends) >= maxWarnings {
		for k, end := range w.ends {
			if !end.After(now) {
				delete(w.ends, k)
			}
		}
		if len(w.ends) >= maxWarnings {
			return false
		}
	}
	w.ends[warned{client.Unmap().WithZone(""), site}] = until
	w.any.Store(true)
	return true
}

func (w *warnings) passed(client netip.Addr, h Host, now time.Time) bool {
	if w == nil || !w.any.Load() {
		return false
	}
	w.mu.RLock()
	defer w.mu.RUnlock()
	k := warned{client.Unmap().WithZone(""), h}
	for more := true; more; k.site, more = k.site.Parent() {
		if w.ends[k].After(now) {
			return true
		}
	}
	return false
}

// GoOn opens a site that the policy warns of, a host with all below it, to one
// client until a time: somebody has read the warning and goes on. It lifts nothing
// but a warning, and reports whether there was room.
func (e *Engine) GoOn(client netip.Addr, site Host, now, until time.Time) bool {
	return e.warnings.goOn(client, site, now, until)
}
