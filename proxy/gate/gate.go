package gate

import (
	"context"
	"log/slog"
	"net/netip"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Gate counts client connections over all listeners. At a bound, and while memory is
// short, it refuses the new one and keeps the old (F14, F15, T6): one pupil cannot
// crowd out the rest.
type Gate struct {
	bounds Bounds
	memory *scarcity

	mu    sync.Mutex
	open  int
	by    map[netip.Addr]int
	turns map[netip.Addr]*turns
	told  time.Time // when the log last said that memory runs short
}

// Bounds are what a Gate holds to, and whom it tells. All of them must be set.
type Bounds struct {
	Total, Each int                    // client connections in all, and those of one address
	Refused     *prometheus.CounterVec // connections refused, by bound
	Open        prometheus.Gauge       // connections open
	Log         *slog.Logger           // where it says that memory runs short, once a minute at most
}

// turns are those of one client to be answered over HTTP/2.
type turns struct {
	taken   chan struct{}
	holders int // and those who wait; guarded by Gate.mu
}

// Turn waits until no more than the bound of a client's connections are at work for its
// requests over HTTP/2, of which one connection may carry many: what it asks for and
// does not take lies in our memory (T6). done gives the turn back; false if ctx is done.
func (g *Gate) Turn(ctx context.Context, a netip.Addr) (done func(), ok bool) {
	g.mu.Lock()
	t := g.turns[a]
	if t == nil {
		t = &turns{taken: make(chan struct{}, g.bounds.Each)}
		g.turns[a] = t
	}
	t.holders++
	g.mu.Unlock()
	leave := func() {
		g.mu.Lock()
		defer g.mu.Unlock()
		if t.holders--; t.holders == 0 {
			delete(g.turns, a)
		}
	}
	select {
	case t.taken <- struct{}{}:
		return func() { <-t.taken; leave() }, true
	case <-ctx.Done():
		leave()
		return nil, false
	}
}

// New makes a gate through which nobody has come.
func New(b Bounds) *Gate {
	return &Gate{bounds: b, memory: newScarcity(), by: map[netip.Addr]int{}, turns: map[netip.Addr]*turns{}}
}

// Enter lets a connection of a client in, or refuses it.
func (g *Gate) Enter(a netip.Addr) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	switch {
	case g.open >= g.bounds.Total:
		g.bounds.Refused.WithLabelValues("total").Inc()
		return false
	case g.by[a] >= g.bounds.Each:
		g.bounds.Refused.WithLabelValues("client").Inc()
		return false
	}
	if t := time.Now(); !g.memory.admits(t, g.by[a]) {
		g.bounds.Refused.WithLabelValues("memory").Inc()
		if t.Sub(g.told) > time.Minute {
			g.told = t
			g.bounds.Log.Warn("memory runs short: new connections are turned away", "connections", g.open)
		}
		return false
	}
	g.open++
	g.by[a]++
	g.bounds.Open.Set(float64(g.open))
	return true
}

// Leave gives the place of a connection free that was let in.
func (g *Gate) Leave(a netip.Addr) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.open--
	if g.by[a]--; g.by[a] <= 0 {
		delete(g.by, a)
	}
	g.bounds.Open.Set(float64(g.open))
}

// MemoryInUse is the share of the process's bound on memory in use, in a hundred, 0 if
// there is no bound; and the shares from which clients with many connections get no more,
// and from which nobody gets one.
func (g *Gate) MemoryInUse() (share, scarceFrom, exhaustedFrom int) {
	return g.memory.now(time.Now()), scarce, exhausted
}

// Open is how many connections are counted.
func (g *Gate) Open() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.open
}

// Turns is how many clients have a turn or wait for one.
func (g *Gate) Turns() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return len(g.turns)
}
