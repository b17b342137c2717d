package dnsfilter

import (
	"hash/maphash"
	"math/bits"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/miekg/dns"
	"golang.org/x/net/publicsuffix"

	"schoolgate/policy"
)

// Data can be carried in names (Y29: iodine and kin): many long names that nobody
// asked for before, all below one domain. tunnels counts them for each client and
// domain, only where an upstream would have to be asked, and closes the domain to
// that client when it is more than any page needs.
const (
	tunnelWindow = time.Minute
	tunnelLong   = 40               // bytes below the domain that make a name long
	tunnelNames  = 200              // long names in a window, each counted once
	tunnelTexts  = 60               // TXT questions of a pupil's device to one domain in a window
	tunnelClosed = 10 * time.Minute // how long the domain stays closed
	tunnelsMax   = 4096             // pairs of client and domain under watch
)

// tunnelWords is a bitmap in which that many names, each a random bit, set about
// tunnelBits (linear counting): a name asked for twice counts once.
const (
	tunnelWords = 16
	tunnelBits  = 182 // 1024 × (1 − e^(−200/1024))
)

type tunnels struct {
	seed   maphash.Seed
	closed atomic.Int32 // pairs that are closed, or were not long ago

	mu    sync.Mutex
	pairs map[tunnelPair]*tunnel
}

type tunnelPair struct {
	client netip.Addr
	domain string
}

// tunnel is what one client asked of one domain in this window.
type tunnel struct {
	since  time.Time
	seen   [tunnelWords]uint64
	texts  int
	closed time.Time // until then; zero if it is open
}

// suspicion is what is thought of a question.
type suspicion uint8

const (
	innocent  suspicion = iota
	tooMany             // this one is refused, no more
	tunnelNew           // the domain was closed by this one
	tunnelOld           // the domain is closed
)

func newTunnels() *tunnels {
	return &tunnels{seed: maphash.MakeSeed(), pairs: make(map[tunnelPair]*tunnel)}
}

// domainOf is what somebody registered, of a name in canonical form.
func domainOf(host string) string {
	if domain, err := publicsuffix.EffectiveTLDPlusOne(host); err == nil {
		return domain
	}
	return host
}

// count takes a question that the cache cannot answer.
func (t *tunnels) count(client netip.Addr, host string, qtype uint16, pupil bool, now time.Time) suspicion {
	text := pupil && qtype == dns.TypeTXT
	if len(host) <= tunnelLong && !text { // nearly all: what the domain is need not be known
		return innocent
	}
	pair := tunnelPair{client, domainOf(host)}
	long := len(host)-len(pair.domain) > tunnelLong
	if !long && !text {
		return innocent
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	c := t.pairs[pair]
	if c == nil {
		t.makeRoom(now)
		c = &tunnel{since: now}
		t.pairs[pair] = c
	}
	if now.Sub(c.since) >= tunnelWindow {
		c.since, c.seen, c.texts = now, [tunnelWords]uint64{}, 0
	}
	if text {
		if c.texts++; c.texts > tunnelTexts {
			return tooMany
		}
	}
	if long && c.names(maphash.String(t.seed, host)) >= tunnelBits {
		if c.closed.IsZero() {
			t.closed.Add(1)
		}
		c.closed = now.Add(tunnelClosed)
		return tunnelNew
	}
	return innocent
}

// names adds a name by its hash and gives the bits that are set.
func (c *tunnel) names(hash uint64) (set int) {
	bit := hash % (64 * tunnelWords)
	c.seen[bit/64] |= 1 << (bit % 64)
	for _, w := range c.seen {
		set += bits.OnesCount64(w)
	}
	return set
}

// shut reports whether the domain of a name is closed to the client. While none is
// closed to anybody it costs nothing.
func (t *tunnels) shut(client netip.Addr, host string, now time.Time) bool {
	if t.closed.Load() == 0 {
		return false
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	pair := tunnelPair{client, domainOf(host)}
	c := t.pairs[pair]
	if c == nil || c.closed.IsZero() {
		return false
	}
	if now.Before(c.closed) {
		return true
	}
	t.forget(pair, c)
	return false
}

// makeRoom needs the lock. Of a few pairs the one begun longest ago goes, and one
// that is closed only if all of them are.
func (t *tunnels) makeRoom(now time.Time) {
	if len(t.pairs) < tunnelsMax {
		return
	}
	var oldest tunnelPair
	var worst *tunnel
	tried := 0
	for pair, c := range t.pairs {
		if worst == nil || now.Before(worst.closed) && !now.Before(c.closed) ||
			now.Before(worst.closed) == now.Before(c.closed) && c.since.Before(worst.since) {
			oldest, worst = pair, c
		}
		if tried++; tried >= 16 {
			break
		}
	}
	t.forget(oldest, worst)
}

func (t *tunnels) forget(pair tunnelPair, c *tunnel) {
	if !c.closed.IsZero() {
		t.closed.Add(-1)
	}
	delete(t.pairs, pair)
}

// tunnelSeverity is how grave a found tunnel is: somebody has set it up to pass
// the filter. One event in ten minutes has it, the others are refused without.
const tunnelSeverity = 3

// suspect looks at an allowed question before an upstream is asked; false if it is
// refused. What a person has opened is not watched: some virus scanners ask like
// that, and updates are in the never-block set.
func (s *Server) suspect(j *job) bool {
	switch {
	case j.form != formAnswer || j.ruling.Verdict != policy.Allow:
		return false
	case opened(j.ruling.Reason):
		return false
	}
	how := s.tunnels.count(j.from, j.name.host().String(), j.q.qtype, j.ruling.Band().Pupil(), j.start)
	if how == innocent {
		return false
	}
	s.refuseTunnel(j, how)
	return true
}

// refuseTunnel makes the answer a refusal.
func (s *Server) refuseTunnel(j *job, how suspicion) {
	j.finding = "dns_tunnel"
	if how == tooMany {
		j.finding = "dns_texts"
	}
	j.block(policy.ReasonProtocol)
	if how == tunnelNew {
		j.ruling.Category, j.ruling.Severity = policy.VPNProxy, tunnelSeverity
	}
	j.form, j.rcode = formRefusal, dns.RcodeRefused
}

// opened: a person has opened the name, or the never-block set has.
func opened(r policy.Reason) bool {
	switch r {
	case policy.ReasonNeverBlock, policy.ReasonPass, policy.ReasonException, policy.ReasonApproved:
		return true
	}
	return false
}
