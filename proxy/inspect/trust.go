package inspect

import (
	"maps"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"schoolgate/policy"
)

const (
	rememberedFor  = time.Hour          // then a client or host is tried again
	trustedFor     = 7 * 24 * time.Hour // a client that took a certificate is believed to have the authority...
	fewInRow       = 4                  // ...until it has refused so many hosts and taken none
	listedFor      = 24 * time.Hour     // hosts that apps refuse are shown to IT
	maxClients     = 4096
	maxPinned      = 64 // hosts of one client
	silentFailures = 3  // handshakes broken off without a word, to count as one refusal
)

// Trust remembers which clients refuse certificates of the school's authority. A
// client that has not taken one within the week is not looked into at all for an
// hour; one that took others is spared for the one host, whose app carries
// certificates of its own. At its bounds it forgets the oldest client, and takes a
// client with very many such hosts for one that trusts nothing.
//
// A week, and not the hour: a tablet whose first app of the morning is such a one
// would go unseen for its first lesson. An address may meanwhile be another
// device's, so a few refusals in a row end it.
type Trust struct {
	mu      sync.Mutex
	clients map[netip.Addr]*trusting
}

type trusting struct {
	good    time.Time // it last took a certificate
	refused time.Time // it last refused one
	silent  int       // handshakes broken off without a word since the last good one
	inRow   int       // hosts refused since then
	hosts   map[policy.Host]refusals
}

// refusals are those of one host by one client.
type refusals struct {
	first, last time.Time
	missed      bool // the host is open to the client, so that something does not work
}

// trusts reports whether the client is believed to have the authority.
func (c *trusting) trusts(at time.Time) bool {
	since := at.Sub(c.good)
	return !c.good.IsZero() && (since < rememberedFor || since < trustedFor && c.inRow < fewInRow)
}

// NewTrust remembers nothing yet.
func NewTrust() *Trust { return &Trust{clients: map[netip.Addr]*trusting{}} }

// Good notes that a client took a certificate. It forgives nothing that the host
// itself refused: another app may have asked.
func (t *Trust) Good(client netip.Addr, at time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	c := t.of(client)
	c.good, c.silent, c.inRow = at, 0, 0
}

// Refusal is how a client refused a certificate.
type Refusal struct {
	Told bool // by an alert; else it broke off without a word
	Open bool // the host is open to it: without us it would have been served
}

// Refused notes that a client refused a certificate for a host.
func (t *Trust) Refused(client netip.Addr, h policy.Host, r Refusal, at time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	c := t.of(client)
	if !r.Told {
		if c.silent++; c.silent < silentFailures {
			return
		}
		c.silent = 0
	}
	c.refused = at
	of, known := c.hosts[h]
	if !recent(of.last, at) {
		c.inRow++
	}
	if !known && len(c.hosts) >= maxPinned {
		maps.DeleteFunc(c.hosts, func(_ policy.Host, of refusals) bool { return !recent(of.last, at) })
	}
	if !known && len(c.hosts) >= maxPinned {
		c.good = time.Time{}
		return
	}
	if of.first.IsZero() || at.Sub(of.last) > trustedFor {
		of.first = at
	}
	of.last, of.missed = at, r.Open
	c.hosts[h] = of
}

// Refuses reports whether a client is not to be looked into on a host.
func (t *Trust) Refuses(client netip.Addr, h policy.Host, at time.Time) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	c := t.clients[client]
	switch {
	case c == nil:
		return false
	case c.trusts(at):
		return recent(c.hosts[h].last, at)
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
		if c.untrusting(at) {
			list = append(list, a)
		}
	}
	slices.SortFunc(list, netip.Addr.Compare)
	return list
}

func (c *trusting) untrusting(at time.Time) bool { return recent(c.refused, at) && !c.trusts(at) }

// Pinned is a host that clients refuse though they trust the authority: an app of
// theirs knows by which certificates the host is to be believed.
type Pinned struct {
	Host        policy.Host
	Clients     int       // that refused it
	Since, Last time.Time // of their refusals
}

// Pinned lists such hosts that were open and refused within the day, for IT. It holds
// no client: what a device asks for is the record's to say.
func (t *Trust) Pinned(at time.Time) []Pinned {
	t.mu.Lock()
	defer t.mu.Unlock()
	found := map[policy.Host]Pinned{}
	for _, c := range t.clients {
		if c.good.IsZero() || c.untrusting(at) {
			continue
		}
		for h, of := range c.hosts {
			if !of.missed || at.Sub(of.last) >= listedFor {
				continue
			}
			p, known := found[h]
			if !known || of.first.Before(p.Since) {
				p.Since = of.first
			}
			if of.last.After(p.Last) {
				p.Last = of.last
			}
			p.Host, p.Clients = h, p.Clients+1
			found[h] = p
		}
	}
	return slices.SortedFunc(maps.Values(found), func(a, b Pinned) int { return strings.Compare(a.Host.String(), b.Host.String()) })
}

func (t *Trust) of(client netip.Addr) *trusting {
	c := t.clients[client]
	if c == nil {
		if len(t.clients) >= maxClients {
			t.forget()
		}
		c = &trusting{hosts: map[policy.Host]refusals{}}
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
