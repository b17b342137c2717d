package upstream

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"strings"
	"sync"
	"time"

	"github.com/miekg/dns"
	"github.com/prometheus/client_golang/prometheus"

	"schoolgate/dnsfilter/dnssec"
)

// Config says whom to ask and how long to keep what they said. Zero values get
// the defaults named.
type Config struct {
	Servers []string            // addr:port; the port may be left out; or tls://addr:port#name or https://addr/path#name
	Ordered bool                // ask the first that is well, not the fastest
	Zones   map[string][]string // servers of a zone of the school's own, such as its Active Directory

	// Private zones and networks: names below these zones, and addresses within
	// these networks, may have what no public name has. The zones of Zones are
	// among them.
	PrivateZones []string
	PrivateNets  []netip.Prefix

	Roots *x509.CertPool // that servers over TLS and HTTPS are checked against; nil is the system's

	TrustAD bool // an authentic-data bit of the upstreams is believed: they are ours, and validate

	// Validate checks signatures here, from Anchors (none is the root's own) down, but
	// not in Unvalidated, Zones and PrivateZones. It excludes TrustAD.
	Validate    bool
	Anchors     []*dns.DS
	Unvalidated []string
	Log         *slog.Logger // what validation tells the operator; nil for nothing

	CacheBytes  int           // 32 MiB
	MinTTL      time.Duration // 5 s
	MaxTTL      time.Duration // a day
	MaxNegative time.Duration // an hour
	StaleFor    time.Duration // a day; negative for never
	MaxInFlight int           // 4,096 questions; more are refused

	// Front hears of each key for encrypted hellos (ECH) that is taken out of a record
	// of owner: what a browser with that key would show, and the key's number. nil hears
	// nothing.
	Front func(owner, front string, key uint8)

	// NewBatch gives what waiters are told with; nil if they finish one by one.
	NewBatch func() Batch

	Metrics prometheus.Registerer
}

// batches is NewBatch, never nil.
func (c *Config) batches() Batch {
	if c.NewBatch == nil {
		return noBatch{}
	}
	return c.NewBatch()
}

const (
	budget     = 4 * time.Second         // for one question, all servers together (fault F9)
	staleAfter = 1800 * time.Millisecond // a stale answer does not make its reader wait longer (RFC 8767)
	failedFor  = 5                       // seconds a failure is remembered (RFC 9520)
	bogusFor   = 10                      // seconds that an answer stays bogus (RFC 4035 section 4.7)
	recheck    = 30                      // seconds a stale answer serves before the upstreams are asked again
	maxDepth   = 4                       // answers in a row that stop at a CNAME
)

// The ways a question goes unanswered.
var (
	ErrBusy    = errors.New("too many questions in flight")
	ErrFailed  = errors.New("no upstream can answer")
	ErrClosed  = errors.New("resolver is closed")
	errBadName = errors.New("name cannot be asked for")
	errTwoMind = errors.New("dnssec: either the upstreams are believed or signatures are checked here, not both")
)

// BogusError is the answer of a name whose signatures do not hold: the Extended DNS
// Error (RFC 8914) that says why.
type BogusError uint16

func (e BogusError) Error() string {
	return "DNSSEC validation: " + dns.ExtendedErrorCodeToString[uint16(e)]
}

// Resolver answers questions from its cache and from the servers.
type Resolver struct {
	cfg     Config
	limits  limits
	root    *pool
	zones   map[string]*pool // by zone, lower case and fully qualified
	private []string
	cache   *cache
	metrics *metrics

	validator *dnssec.Validator // nil if signatures are not checked here

	started time.Time

	ctx    context.Context
	cancel context.CancelFunc
	done   sync.WaitGroup

	outboxes sync.Pool
	readers  sync.Pool // of usual replies

	mu       sync.Mutex
	closed   bool
	sweeping bool
	flights  map[string]*flight
}

// New checks cfg. Nothing is asked before the first question. Close it.
func New(cfg Config) (*Resolver, error) {
	r := &Resolver{cfg: cfg.withDefaults(), zones: map[string]*pool{}, flights: map[string]*flight{}, started: time.Now()}
	r.outboxes.New = func() any { return newOutbox() }
	r.readers.New = func() any { return new(plainReader) }
	r.cache = newCache(r.cfg.CacheBytes)
	r.metrics = newMetrics(cfg.Metrics, r)
	r.limits = limits{
		minTTL: seconds(r.cfg.MinTTL), maxTTL: seconds(r.cfg.MaxTTL), maxNegative: seconds(r.cfg.MaxNegative),
		private: r.forbidden, front: r.cfg.Front,
	}
	var errs []error
	var err error
	if r.root, err = r.newPool(cfg.Servers); err != nil {
		errs = append(errs, err)
	}
	for zone, servers := range r.cfg.Zones {
		p, err := r.newPool(servers)
		if err != nil {
			errs = append(errs, fmt.Errorf("zone %q: %w", zone, err))
			continue
		}
		zone = strings.ToLower(dns.Fqdn(zone))
		r.zones[zone] = p
		r.private = append(r.private, zone)
	}
	r.private = append(r.private, "ipv4only.arpa.") // its addresses tell of NAT64, and lead nowhere (RFC 8880)
	for _, zone := range cfg.PrivateZones {
		r.private = append(r.private, strings.ToLower(dns.Fqdn(zone)))
	}
	if cfg.Validate && cfg.TrustAD {
		errs = append(errs, errTwoMind)
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	if cfg.Validate {
		r.newValidator()
	}
	r.ctx, r.cancel = context.WithCancel(context.Background())
	return r, nil
}

func (c Config) withDefaults() Config {
	setDefault(&c.CacheBytes, 32<<20)
	setDefault(&c.MinTTL, 5*time.Second)
	setDefault(&c.MaxTTL, 24*time.Hour)
	setDefault(&c.MaxNegative, time.Hour)
	setDefault(&c.StaleFor, 24*time.Hour)
	setDefault(&c.MaxInFlight, 4096)
	return c
}

func setDefault[T int | time.Duration](v *T, def T) {
	if *v == 0 {
		*v = def
	}
}

func seconds(d time.Duration) uint32 { return uint32(max(d, 0) / time.Second) }

func (r *Resolver) newPool(addrs []string) (*pool, error) {
	if len(addrs) == 0 {
		return nil, errors.New("no upstream: give at least one address")
	}
	p := &pool{ordered: r.cfg.Ordered}
	for _, a := range addrs {
		s, err := newServer(a, r.cfg.Roots, r.metrics, r.cfg.batches)
		if err != nil {
			return nil, err
		}
		p.servers = append(p.servers, s)
	}
	for i, s := range p.servers {
		b := s.named()
		if b == nil {
			continue
		}
		if b.pool = p.byAddress(); len(b.pool.servers) == 0 {
			return nil, fmt.Errorf("upstream %q: its name cannot be looked up: give its address, or another upstream by address", addrs[i])
		}
	}
	return p, nil
}

// parseServer reads addr:port, [addr]:port or an address alone, for port 53.
func parseServer(s string) (netip.AddrPort, error) {
	if addr, err := netip.ParseAddr(s); err == nil {
		return netip.AddrPortFrom(addr, 53), nil
	}
	addr, err := netip.ParseAddrPort(s)
	if err != nil || addr.Port() == 0 {
		return netip.AddrPort{}, fmt.Errorf("upstream %q: want an address such as 192.0.2.53:53", s)
	}
	return addr, nil
}

// Close ends every question under way and waits for it.
func (r *Resolver) Close() {
	r.mu.Lock()
	r.closed = true
	r.mu.Unlock()
	r.cancel()
	if r.validator != nil {
		r.validator.Close()
	}
	r.done.Wait()
	defer r.abandon()
	for _, s := range r.root.servers {
		s.close()
	}
	for _, p := range r.zones {
		for _, s := range p.servers {
			s.close()
		}
	}
}

// abandon tells who still waits that there is no answer.
func (r *Resolver) abandon() {
	r.mu.Lock()
	left := make([]*flight, 0, len(r.flights))
	for _, f := range r.flights {
		left = append(left, f)
	}
	r.mu.Unlock()
	for _, f := range left {
		r.land(f, nil, noBatch{})
	}
}

// HasZone reports whether the zone, or one above it, has servers of its own.
func (r *Resolver) HasZone(name string) bool { return r.poolFor(name) != r.root }

func (r *Resolver) poolFor(name string) *pool {
	if len(r.zones) == 0 {
		return r.root
	}
	for zone := name; zone != ""; {
		if p, ok := r.zones[zone]; ok {
			return p
		}
		_, zone, _ = strings.Cut(zone, ".")
	}
	return r.root
}

// forbidden reports whether the name may not have the address.
func (r *Resolver) forbidden(name string, a netip.Addr) bool {
	if !Special(a) {
		return false
	}
	a = a.Unmap()
	for _, p := range r.cfg.PrivateNets {
		if p.Contains(a) {
			return false
		}
	}
	for _, zone := range r.private {
		if within(name, zone) {
			return false
		}
	}
	return true
}

func (r *Resolver) inFlight() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.flights)
}

// now is in seconds since a day before the start, so that nothing is before 0.
func (r *Resolver) now() uint32 { return uint32(time.Since(r.started)/time.Second) + 86400 }

// Cached fills a if the cache can answer now, and starts no question that its
// caller would wait for.
func (r *Resolver) Cached(a *Answer, q Question) bool {
	a.now, a.stale = r.now(), false
	a.key = q.appendKey(a.key[:0])
	var ok bool
	if a.e, ok = r.cache.get(a.e, a.key); !ok {
		return false
	}
	switch {
	case a.now < a.e.expires():
		if a.ageing() {
			r.refresh(q, a.key)
		}
	case r.usable(a) && a.now < a.e.retry():
		a.stale = true
		r.metrics.stale.Inc()
	default:
		return false
	}
	r.metrics.hits.Inc()
	return !a.e.has(flagFailure)
}

// ageing reports whether the last tenth of an answer's time has come.
func (a *Answer) ageing() bool {
	life := a.e.expires() - a.e.stored()
	return life >= 10 && a.e.expires()-a.now <= life/10 && a.now >= a.e.retry()
}

// usable reports whether an expired answer may still serve.
func (r *Resolver) usable(a *Answer) bool {
	return r.cfg.StaleFor > 0 && len(a.e) > 0 && !a.e.has(flagFailure) && a.now < a.e.expires()+seconds(r.cfg.StaleFor)
}

// refresh asks for an answer before it ends. A refusal changes nothing: the
// answer still serves, and is asked for again when it has ended.
func (r *Resolver) refresh(q Question, key []byte) {
	r.cache.postpone(key, r.now()+recheck)
	if f, err := r.join(key, q, time.Now(), nil); err == nil && f != nil {
		r.departAlone(f)
	}
}

// Resolve fills a, from the cache or from the servers, stale where there is
// nothing better. It waits at most four seconds.
func (r *Resolver) Resolve(ctx context.Context, a *Answer, q Question) error {
	if r.Cached(a, q) {
		return nil
	}
	own := &Answer{e: append(entry(nil), a.e...), key: append([]byte(nil), a.key...), now: a.now} // ctx may end first
	done := make(told, 1)
	ready, err := r.Start(q, own, done, nil)
	if err == nil && !ready {
		select {
		case err = <-done:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	if err == nil {
		a.e, a.now, a.stale = append(a.e[:0], own.e...), own.now, own.stale
	}
	return err
}

// told is a [Waiter] for a caller that waits.
type told chan error

func (t told) Answered(err error, _ Batch) { t <- err }

// remember notes a failure: on the stale answer if there is one, else in its
// place.
func (r *Resolver) remember(key []byte) {
	var a Answer
	a.now = r.now()
	if e, ok := r.cache.get(nil, key); ok {
		a.e = e
	}
	if r.usable(&a) {
		r.cache.postpone(key, a.now+recheck)
		return
	}
	r.cache.put(failureEntry(key, a.now, failedFor))
}

// ask gets a vetted answer, following a chain that a server left unfinished.
func (r *Resolver) ask(ctx context.Context, key []byte, q Question) (entry, error) {
	name, err := q.presentation()
	if err != nil {
		return nil, errBadName
	}
	j := r.newJudgement()
	v, err := r.askVetted(ctx, name, q, r.limits, j)
	if err != nil {
		return nil, err
	}
	for depth := 0; v.unfinished(q); depth++ {
		if depth == maxDepth {
			return nil, errLoop
		}
		next := v.chain[len(v.chain)-1]
		wire, ok := WireName(next)
		if !ok {
			break
		}
		rest, err := r.askVetted(ctx, next, Question{Name: wire, Type: q.Type, DO: q.DO, CD: q.CD}, r.behind(name), j)
		if err != nil {
			return nil, err
		}
		if err := v.join(rest); err != nil {
			return nil, err
		}
		if len(rest.chain) == 0 {
			break // that was the end of it, with or without an SOA
		}
	}
	j.settle(v)
	return r.finish(key, q, v)
}

// behind is the limits of an answer that an alias leads to. What the alias may not have
// it may not have by way of a zone of the school's own either: that would be rebinding.
func (r *Resolver) behind(alias string) limits {
	l := r.limits
	l.private = func(name string, a netip.Addr) bool { return r.forbidden(alias, a) || r.forbidden(name, a) }
	return l
}

// finish makes the entry of a vetted answer.
func (r *Resolver) finish(key []byte, q Question, v *vetted) (entry, error) {
	if v.flags&flagPrivate != 0 {
		r.metrics.private.Inc()
	}
	if !r.cfg.TrustAD && !v.judged {
		v.flags &^= flagAD
	}
	return newEntry(key, len(q.Name), v, r.now())
}

func (r *Resolver) askVetted(ctx context.Context, name string, q Question, l limits, j *judgement) (v *vetted, err error) {
	if r.validates(name, q) {
		return r.askJudged(ctx, name, q, l, j)
	}
	err = r.poolFor(name).ask(ctx, q, func(m *dns.Msg) error {
		v, err = vet(m, name, q, l)
		if err != nil {
			r.metrics.vetoed.Inc()
		}
		return err
	})
	j.unjudged()
	return v, err
}

// unfinished reports whether the answer stops at a CNAME and nothing says that
// its target has no such records.
func (v *vetted) unfinished(q Question) bool {
	return v.msg.Rcode == dns.RcodeSuccess && v.flags&flagPrivate == 0 && len(v.chain) > 0 && !hasType(v.msg.Ns, dns.TypeSOA) &&
		q.Type != dns.TypeCNAME && !hasType(v.msg.Answer, q.Type)
}

// join appends the answer for the last name of the chain.
func (v *vetted) join(rest *vetted) error {
	for _, name := range rest.chain {
		if name == v.msg.Question[0].Name || len(v.chain) >= maxChain {
			return errLoop
		}
		for _, seen := range v.chain {
			if seen == name {
				return errLoop
			}
		}
		v.chain = append(v.chain, name)
	}
	v.msg.Answer = append(v.msg.Answer, rest.msg.Answer...)
	v.msg.Ns = append(v.msg.Ns, rest.msg.Ns...) // what there was is the proof of a wildcard
	v.msg.Rcode = rest.msg.Rcode
	v.flags = v.flags&rest.flags&flagAD | (v.flags|rest.flags)&flagPrivate
	v.ttl = min(v.ttl, rest.ttl)
	return nil
}
