package inspect

import (
	"net/netip"
	"slices"
	"sync"
	"time"

	"schoolgate/policy"
)

const (
	rememberedFor  = time.Hour // then a client or host is tried again
	maxClients     = 4096
	maxPinned      = 64 // hosts of one client
	silentFailures = 3  // handshakes broken off without a word, to count as one refusal
)

// Trust remembers which clients refuse certificates of the school's authority. A
// client that has never taken one is not looked into at all for an hour; one
// that took others is spared for the one host, whose app carries certificates of
// its own. At its bounds it forgets the oldest client, and takes a client with
// very many such hosts for one that trusts nothing.
type Trust struct {
	mu      sync.Mutex
	clients map[netip.Addr]*trusting
}

type trusting struct {
	good    time.Time // it last took a certificate
	refused time.Time // it last refused one
	silent  int       // handshakes broken off without a word since the last good one
	hosts   map[policy.Host]time.Time
}

// NewTrust remembers nothing yet.
func NewTrust() *Trust { return &Trust{clients: map[netip.Addr]*trusting{}} }

// Good notes that a client took a certificate. It forgives nothing that the host
// itself refused: another app may have asked.
func (t *Trust) Good(client netip.Addr, at time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	c := t.of(client)
	c.good, c.silent = at, 0
}

// Refused notes that a client refused a certificate: told so by an alert, or
// broke off without a word.
func (t *Trust) Refused(client netip.Addr, h policy.Host, told bool, at time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	c := t.of(client)
	if !told {
		if c.silent++; c.silent < silentFailures {
			return
		}
		c.silent = 0
	}
	c.refused = at
	if len(c.hosts) < maxPinned {
		c.hosts[h] = at
	} else {
		c.good = time.Time{}
	}
}

// Refuses reports whether a client is not to be looked into on a host.
func (t *Trust) Refuses(client netip.Addr, h policy.Host, at time.Time) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	c := t.clients[client]
	if c == nil {
		return false
	}
	if recent(c.good, at) {
		return recent(c.hosts[h], at)
	}
	return recent(c.refused, at)
}

func recent(then, at time.Time) bool { return !then.IsZero() && at.Sub(then) < rememberedFor }

// Untrusting lists the clients that trust nothing of ours, for IT. It holds no
// host.
func (t *Trust) Untrusting(at time.Time) []netip.Addr {
	t.mu.Lock()
	defer t.mu.Unlock()
	var list []netip.Addr
	for a, c := range t.clients {
		if recent(c.refused, at) && !recent(c.good, at) {
			list = append(list, a)
		}
	}
	slices.SortFunc(list, netip.Addr.Compare)
	return list
}

func (t *Trust) of(client netip.Addr) *trusting {
	c := t.clients[client]
	if c == nil {
		if len(t.clients) >= maxClients {
			t.forget()
		}
		c = &trusting{hosts: map[policy.Host]time.Time{}}
		t.clients[client] = c
	}
	return c
}

// forget drops the client heard of longest ago.
func (t *Trust) forget() {
	var oldest netip.Addr
	var when time.Time
	for a, c := range t.clients {
		last := c.good
		if c.refused.After(last) {
			last = c.refused
		}
		if !oldest.IsValid() || last.Before(when) {
			oldest, when = a, last
		}
	}
	delete(t.clients, oldest)
}
