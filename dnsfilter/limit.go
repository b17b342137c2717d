package dnsfilter

import (
	"hash/maphash"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

// guests are clients as the limits see them: each has a bucket of questions that
// fills at a steady rate, and a share of what may be in flight. The table is
// bounded; when it is full, whoever has been quiet longest of a few is forgotten,
// which gives that client a full bucket again.
type guests struct {
	rate   float64 // questions a second; 0 for no limit
	burst  float64
	flying int // in flight, for one client
	seed   maphash.Seed
	shards [guestShards]guestShard
}

const (
	guestShards   = 16
	guestsInShard = 512
)

type guestShard struct {
	mu     sync.Mutex
	byAddr map[netip.Addr]*guest
}

// guest is one client. The shard's lock guards all but flying.
type guest struct {
	text   string // the address as events write it
	tokens float64
	last   time.Time
	flying [numWaits]atomic.Int32
}

// wait is what a question waits for. Flagged ones have places of their own, or a device
// could keep its attempts out of the record by names that wait in vain.
type wait uint8

const (
	forUpstream wait = iota
	forDisk          // its event is flagged, and goes there first
	numWaits
)

// share is the part of a bound: what waits for the disk leaves as fast as that writes.
func (w wait) share(bound int) int {
	if w == forDisk {
		return (bound + 3) / 4
	}
	return bound
}

func newGuests(rate, burst, flying int) *guests {
	g := &guests{rate: float64(rate), burst: float64(burst), flying: flying, seed: maphash.MakeSeed()}
	for i := range g.shards {
		g.shards[i].byAddr = make(map[netip.Addr]*guest)
	}
	return g
}

// admit takes a question from the client's bucket; false if it is empty.
func (g *guests) admit(addr netip.Addr, now time.Time) (*guest, bool) {
	s := &g.shards[maphash.Comparable(g.seed, addr)%guestShards]
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.byAddr[addr]
	if c == nil {
		c = &guest{text: addr.String(), tokens: g.burst, last: now}
		s.makeRoom()
		s.byAddr[addr] = c
	}
	if g.rate <= 0 {
		return c, true
	}
	if gone := now.Sub(c.last); gone > 0 {
		c.tokens = min(c.tokens+gone.Seconds()*g.rate, g.burst)
		c.last = now
	}
	if c.tokens < 1 {
		return c, false
	}
	c.tokens--
	return c, true
}

// makeRoom needs the lock. Map order is random, so a few candidates are a fair
// sample; a client with questions in flight stays.
func (s *guestShard) makeRoom() {
	if len(s.byAddr) < guestsInShard {
		return
	}
	var oldest netip.Addr
	var last time.Time
	tried := 0
	for addr, c := range s.byAddr {
		if c.idle() && (!oldest.IsValid() || c.last.Before(last)) {
			oldest, last = addr, c.last
		}
		if tried++; tried >= 16 && oldest.IsValid() {
			break
		}
	}
	delete(s.byAddr, oldest)
}

// takeOff counts a question that waits; false if the client has too many.
func (g *guests) takeOff(c *guest, w wait) bool {
	if int(c.flying[w].Add(1)) > w.share(g.flying) {
		c.flying[w].Add(-1)
		return false
	}
	return true
}

func (g *guests) land(c *guest, w wait) { c.flying[w].Add(-1) }

func (c *guest) idle() bool { return c.flying[forUpstream].Load()+c.flying[forDisk].Load() == 0 }

// networks are the clients that are served.
type networks []netip.Prefix

// homeNetworks are served where none are configured: what is no address of the
// internet, so that a box on a public address is no open resolver.
var homeNetworks = networks{
	netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("10.0.0.0/8"),
	netip.MustParsePrefix("172.16.0.0/12"), netip.MustParsePrefix("192.168.0.0/16"),
	netip.MustParsePrefix("169.254.0.0/16"), netip.MustParsePrefix("100.64.0.0/10"),
	netip.MustParsePrefix("::1/128"), netip.MustParsePrefix("fc00::/7"), netip.MustParsePrefix("fe80::/10"),
}

func (n networks) serve(a netip.Addr) bool {
	for _, p := range n {
		if p.Contains(a) {
			return true
		}
	}
	return false
}
