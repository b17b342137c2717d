package appliance

import (
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"

	"github.com/miekg/dns"

	"schoolgate/configs"
	"schoolgate/dnsfilter"
	"schoolgate/dnsfilter/dnssec"
)

func (a *Appliance) openDNS(context.Context) (err error) {
	c := a.box().DNS
	blocking, ok := dnsfilter.ParseBlocking(string(c.Answer))
	if !ok {
		return fmt.Errorf("dns: there is no answer %q", c.Answer)
	}
	config := dnsfilter.Config{
		Listen: texts(c.Listen), ListenTLS: texts(c.DoTListen), ListenHTTPS: texts(c.DoHListen),
		Decider: a.nameDecider(), Sink: a.sink,
		Upstreams: c.Upstreams, Ordered: c.Order == configs.Written, Zones: c.Zones,
		PrivateZones: c.PrivateZones, PrivateNets: a.box().Proxy.AllowDestinations, TrustAD: c.TrustAD, Unvalidated: c.Unvalidated,
		Clients: c.Networks, Blocking: blocking, Sinkhole: c.Addresses, EDEText: c.EDEText,
		Rate: c.Rate, Burst: c.Burst, CacheBytes: int(c.CacheBytes),
		Log: a.log, Metrics: a.registry,
	}
	if config.DNSSEC, ok = dnsfilter.ParseDNSSEC(string(c.DNSSEC)); !ok {
		return fmt.Errorf("dns: nobody called %q checks signatures", c.DNSSEC)
	}
	if c.TrustAnchors != "" && config.DNSSEC == dnsfilter.DNSSECValidate {
		if config.Anchors, err = readAnchors(c.TrustAnchors); err != nil {
			return fmt.Errorf("dns: trust anchors: %w", err)
		}
	}
	if c.Rate == 0 {
		config.Rate = -1 // to the door, zero is its default
	}
	if c.Certificate != "" {
		config.TLS = &tls.Config{GetCertificate: a.openKeyPair("dns", c.Certificate, c.Key).get}
	}
	if a.dns, err = dnsfilter.New(config); err != nil {
		return fmt.Errorf("dns: %w", err)
	}
	a.onClose(func() error { a.dns.Close(); return nil })
	return nil
}

func readAnchors(name string) ([]*dns.DS, error) {
	file, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer file.Close() // read only: nothing can be lost
	return dnssec.ReadAnchors(file, name)
}

// dnssecCheck says whether names can be validated, where this box is to.
func (a *Appliance) dnssecCheck() []Check {
	if a.box().DNS.DNSSEC != configs.Validate {
		return nil
	}
	return []Check{{Name: "dnssec", Say: "answers are validated by this box", Err: a.dns.DNSSECTrouble()}}
}

// openKeyPair reads the certificate of a door. One that cannot be read keeps only those
// from being served who come over TLS there: it is tried again, and /readyz says so
// (fault F18).
func (a *Appliance) openKeyPair(door, certificate, key string) *keyPair {
	p := &keyPair{door: door, certificate: certificate, key: key, log: a.log}
	if err := p.load(time.Now()); err != nil {
		a.log.Error("certificate cannot be used: nobody is served over TLS with it", "door", door, "err", err)
	}
	a.pairs = append(a.pairs, p)
	return p
}

// keyPairChecks says which certificates of doors cannot be used.
func (a *Appliance) keyPairChecks() (checks []Check) {
	for _, p := range a.pairs {
		if c, bad := p.check(); bad {
			checks = append(checks, c)
		}
	}
	return checks
}

// keyPair is a certificate and its key in files. When they are renewed, the new
// pair is taken up within a minute; a broken one leaves the old one in place.
type keyPair struct {
	door             string
	certificate, key string
	log              *slog.Logger

	mu      sync.Mutex
	pair    *tls.Certificate // nil before one could be read
	changed time.Time        // of the certificate's file
	checked time.Time
	trouble error // of the last look
}

const keyPairCheck = time.Minute

// get is a [tls.Config.GetCertificate].
func (p *keyPair) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	if p.pair == nil {
		err := p.load(now)
		return p.pair, err
	}
	if now.Sub(p.checked) >= keyPairCheck {
		if err := p.load(now); err != nil {
			p.log.Warn("certificate not renewed, keeping the one in use", "err", err)
		}
	}
	return p.pair, nil
}

// check looks whether the pair on the disk can be used.
func (p *keyPair) check() (c Check, bad bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := p.load(time.Now()); err == nil {
		return Check{}, false
	}
	c = Check{Name: "tls", Say: p.door + " has a certificate in use that is lost with the next start", Err: p.trouble}
	if p.pair == nil {
		c.Say = p.door + " serves nobody over TLS"
	}
	return c, true
}

// load reads the files if they have changed; its caller holds the lock, or is
// alone yet.
func (p *keyPair) load(now time.Time) (err error) {
	defer func() { p.trouble = err }()
	p.checked = now
	info, err := os.Stat(p.certificate)
	if err != nil {
		return fmt.Errorf("certificate: %w", err)
	}
	if p.pair != nil && info.ModTime().Equal(p.changed) {
		return nil
	}
	pair, err := tls.LoadX509KeyPair(p.certificate, p.key)
	if err != nil {
		return fmt.Errorf("certificate %q with key %q: %w", p.certificate, p.key, err)
	}
	p.pair, p.changed = &pair, info.ModTime()
	return nil
}
