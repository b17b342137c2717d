package policy

import (
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/net/publicsuffix"
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
	site   string
}

const maxWarnings = 10_000 // at once; beyond it the page warns again

// site is what a person means by one: a page's pictures come from names beside its
// own. A host below no registered domain is its own.
func (h Host) site() string {
	if h.addr.IsValid() {
		return h.name
	}
	if s, err := publicsuffix.EffectiveTLDPlusOne(h.name); err == nil {
		return s
	}
	return h.name
}

func (w *warnings) goOn(client netip.Addr, h Host, now, until time.Time) bool {
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
	w.ends[warned{client.Unmap().WithZone(""), h.site()}] = until
	w.any.Store(true)
	return true
}

func (w *warnings) passed(client netip.Addr, h Host, now time.Time) bool {
	if w == nil || !w.any.Load() {
		return false
	}
	w.mu.RLock()
	defer w.mu.RUnlock()
	return w.ends[warned{client.Unmap().WithZone(""), h.site()}].After(now)
}

// GoOn opens a site that the policy warns of, a host with all names of its
// registered domain, to one client until a time: somebody has read the warning and
// goes on. It lifts nothing but a warning, and reports whether there was room.
func (e *Engine) GoOn(client netip.Addr, h Host, now, until time.Time) bool {
	return e.warnings.goOn(client, h, now, until)
}
