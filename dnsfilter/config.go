package dnsfilter

import (
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"time"

	"github.com/miekg/dns"
	"github.com/prometheus/client_golang/prometheus"

	"schoolgate/dnsfilter/upstream"
	"schoolgate/policy"
)

// Decider is who decides: [policy.Engine].
type Decider interface {
	Decide(policy.Request) policy.Ruling
}

// Blocking is the form of the answer to a blocked question.
type Blocking uint8

// The forms.
const (
	Sinkhole Blocking = iota // our address, where the block page is
	NXDOMAIN                 // no such name
	Refused                  // REFUSED; some devices then ask elsewhere
)

// ParseBlocking reads the form's name as configuration files write it.
func ParseBlocking(s string) (Blocking, bool) {
	switch s {
	case "", "sinkhole":
		return Sinkhole, true
	case "nxdomain":
		return NXDOMAIN, true
	case "refused":
		return Refused, true
	}
	return Sinkhole, false
}

// DNSSEC is who checks the signatures of answers.
type DNSSEC uint8

// The choices.
const (
	DNSSECUpstream DNSSEC = iota // the upstreams, and they are believed if TrustAD says so
	DNSSECValidate               // this box
	DNSSECOff                    // nobody: signatures are neither asked for nor passed on
)

// ParseDNSSEC reads the choice's name as configuration files write it.
func ParseDNSSEC(s string) (DNSSEC, bool) {
	switch s {
	case "", "upstream":
		return DNSSECUpstream, true
	case "validate":
		return DNSSECValidate, true
	case "off":
		return DNSSECOff, true
	}
	return DNSSECUpstream, false
}

// Config is what a Server is built from. Zero values get the defaults named.
type Config struct {
	Listen  []string // addr:port, each for UDP and TCP
	Decider Decider
	Sink    policy.Sink

	ListenTLS   []string    // addr:port for DNS over TLS, for the school's own devices
	ListenHTTPS []string    // addr:port for DNS over HTTPS, likewise
	TLS         *tls.Config // their certificate

	Upstreams    []string            // resolvers to ask: addr:port, tls://addr:port#name or https://addr/path#name
	Ordered      bool                // the first of them that is well, not the fastest
	Zones        map[string][]string // resolvers of a zone of the school's own
	PrivateZones []string            // names below may have private addresses
	PrivateNets  []netip.Prefix      // addresses any name may have

	DNSSEC      DNSSEC
	TrustAD     bool      // the upstreams validate, and the way to them is safe
	Anchors     []*dns.DS // what validation trusts; none is the keys of the root as IANA publishes them
	Unvalidated []string  // zones that validation leaves out, besides Zones and PrivateZones

	// Clients are the networks that are served; none is the private networks
	// of RFC 1918, 4193 and 6598, loopback and link-local. Anyone else gets
	// REFUSED at ten a second in all, and above that nothing.
	Clients []netip.Prefix

	Blocking   Blocking
	Sinkhole   []netip.Addr  // the block page; none is 0.0.0.0 and ::
	EDEText    string        // what an adult's device may show of a refusal, before the category; "" for nothing
	BlockedTTL time.Duration // at most and by default a minute
	AnswerTTL  time.Duration // what a client may keep an answer: by default a minute, so that a changed rule is felt (Y34)

	Rate        int // questions a second from one client: 1,000; negative for no limit
	Burst       int // what it may ask at once: 5,000
	MaxInFlight int // questions that wait for an upstream: 4,096; more are SERVFAIL
	MaxPerGuest int // of one client: 512
	MaxConns    int // TCP connections: 2,048; a new one then closes the longest idle
	MaxPerAddr  int // of one client: 128
	CacheBytes  int // 32 MiB

	Log     *slog.Logger
	Metrics prometheus.Registerer

	minTTL time.Duration // for tests that see an answer grow old
}

const (
	maxBlockedTTL = time.Minute
	rememberNames = 1 << 17 // in their read form
	givenBytes    = 8 << 20
)

func (c Config) withDefaults() (Config, error) {
	var errs []error
	if len(c.Listen) == 0 {
		errs = append(errs, errors.New("listen: give at least one address"))
	}
	if c.Decider == nil || c.Sink == nil {
		errs = append(errs, errors.New("a decider and a sink are needed: nothing is answered undecided or unrecorded"))
	}
	if len(c.ListenTLS)+len(c.ListenHTTPS) > 0 && c.TLS == nil {
		errs = append(errs, errors.New("listen for TLS: a certificate is needed"))
	}
	if c.BlockedTTL < 0 || c.BlockedTTL > maxBlockedTTL {
		errs = append(errs, fmt.Errorf("blocked TTL %s: want at most %s, or a lifted block is not felt", c.BlockedTTL, maxBlockedTTL))
	}
	if len(c.Clients) == 0 {
		c.Clients = homeNetworks
	}
	if len(c.Sinkhole) == 0 {
		c.Sinkhole = []netip.Addr{netip.IPv4Unspecified(), netip.IPv6Unspecified()}
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.BlockedTTL == 0 {
		c.BlockedTTL = maxBlockedTTL
	}
	if c.AnswerTTL <= 0 {
		c.AnswerTTL = time.Minute
	}
	for _, d := range []struct {
		v   *int
		def int
	}{
		{&c.Rate, 1000}, {&c.Burst, 5000}, {&c.MaxInFlight, 4096}, {&c.MaxPerGuest, 512},
		{&c.MaxConns, 2048}, {&c.MaxPerAddr, 128}, {&c.CacheBytes, 32 << 20},
	} {
		if *d.v == 0 {
			*d.v = d.def
		}
	}
	return c, errors.Join(errs...)
}

func (c Config) upstream(batch func() upstream.Batch, front func(owner, front string, key uint8)) upstream.Config {
	return upstream.Config{
		Servers: c.Upstreams, Ordered: c.Ordered, Zones: c.Zones, PrivateZones: c.PrivateZones, PrivateNets: c.PrivateNets,
		TrustAD: c.TrustAD, Validate: c.DNSSEC == DNSSECValidate, Anchors: c.Anchors, Unvalidated: c.Unvalidated,
		Log: c.Log, CacheBytes: c.CacheBytes, MinTTL: c.minTTL, NewBatch: batch, Front: front, Metrics: c.Metrics,
	}
}
