package dnssec

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/miekg/dns"
)

// node is what is known of one name on the way down from the root. It is immutable.
type node struct {
	status  Status
	zone    *zone  // of a secure one: the zone the name lies in
	code    uint16 // of an insecure one: why, if there is more to say
	fault   *Fault // of a bogus one
	expires time.Time
}

// size is roughly what a node takes.
func (n *node) size(name string) int {
	size := 256 + len(name)
	if n.zone != nil && n.zone.name == name {
		for _, k := range n.zone.keys {
			size += 200 + len(k.PublicKey)
		}
	}
	return size
}

// step is the way from a name to one below it, for all who need it.
type step struct {
	done  chan struct{}
	node  *node
	spent *Budget
	err   error
}

var (
	errClosed = errors.New("validator is closed")
	errClock  = errors.New("the clock of this box is behind: signatures from its future are taken for good, and no answer is called authentic")
)

// walk goes down from the root to a name, and ends early at a zone that is not
// signed, or where something is bogus.
func (v *Validator) walk(ctx context.Context, name string, b *Budget) (*node, error) {
	n, err := v.learn(ctx, nil, ".", b)
	at := dns.Split(name)
	for i := len(at) - 1; i >= 0 && err == nil && n.status == Secure; i-- {
		if v.except[name[at[i]:]] {
			return &node{status: Insecure}, nil
		}
		n, err = v.learn(ctx, n.zone, name[at[i]:], b)
	}
	return n, err
}

// learn finds out what a name is, from what is known or by asking, once for all who
// need it now.
func (v *Validator) learn(ctx context.Context, above *zone, name string, b *Budget) (*node, error) {
	v.mu.Lock()
	n := v.known(name)
	if n != nil {
		v.mu.Unlock()
		return n, nil
	}
	if err := b.lookup(); err != nil {
		v.mu.Unlock()
		return nil, err
	}
	s := v.steps[name]
	mine := s == nil
	if mine {
		if v.closed {
			v.mu.Unlock()
			return nil, errClosed
		}
		s = &step{done: make(chan struct{})}
		v.steps[name] = s
		v.running.Go(func() { v.take(s, above, name) })
	}
	v.mu.Unlock()
	select {
	case <-s.done:
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	if mine {
		b.charge(s.spent)
	}
	return s.node, s.err
}

// known needs the lock.
func (v *Validator) known(name string) *node {
	n := v.young[name]
	if n == nil {
		if n = v.old[name]; n != nil {
			delete(v.old, name)
			v.keep(name, n)
		}
	}
	if n == nil || !time.Now().Before(n.expires) {
		return nil
	}
	return n
}

// keep needs the lock. When half of the room is full, what was not used since the
// last time goes.
func (v *Validator) keep(name string, n *node) {
	if v.youngBytes += n.size(name); v.youngBytes > nodesBytes/2 {
		v.old, v.young, v.youngBytes = v.young, map[string]*node{}, n.size(name)
	}
	v.young[name] = n
}

// take takes a step and tells who waits.
func (v *Validator) take(s *step, above *zone, name string) {
	ctx, cancel := context.WithTimeout(v.ctx, stepTime)
	defer cancel()
	s.spent = stepBudget()
	s.node, s.err = v.find(ctx, above, name, s.spent)
	var fault *Fault
	if errors.As(s.err, &fault) {
		s.node, s.err = &node{status: Bogus, fault: fault, expires: time.Now().Add(bogusFor)}, nil
	}
	if name == "." {
		v.report(s.node, s.err)
	}
	v.mu.Lock()
	if s.err == nil {
		v.keep(name, s.node)
	}
	delete(v.steps, name)
	v.mu.Unlock()
	close(s.done)
}

// expiry is until when something with this TTL is kept.
func (v *Validator) expiry(ttl uint32) time.Time {
	now := time.Now()
	if v.clockBehind(now) {
		return now.Add(undated)
	}
	return now.Add(min(max(time.Duration(ttl)*time.Second, minKept), maxKept))
}

// find asks for what is between a zone and a name below it: the DS records, and the
// keys if there are any.
func (v *Validator) find(ctx context.Context, above *zone, name string, b *Budget) (*node, error) {
	ds, ttl := v.cfg.Anchors, uint32(maxKept/time.Second)
	if name != "." {
		var n *node
		err := v.cfg.Ask(ctx, name, dns.TypeDS, func(m *dns.Msg) (err error) {
			ds, n, err = v.readDS(m, above, name, b)
			return err
		})
		if err != nil || n != nil {
			return n, err
		}
		ttl = ds[0].Hdr.Ttl
	}
	var n *node
	err := v.cfg.Ask(ctx, name, dns.TypeDNSKEY, func(m *dns.Msg) error {
		keys, keyTTL, err := v.readKeys(m, name, ds, b, false)
		if name == "." {
			late := errors.Is(err, faultEarly)
			if late {
				keys, keyTTL, err = v.readKeys(m, name, ds, b, true)
			}
			v.behind.Store(late && err == nil)
		}
		if err == nil {
			n = &node{status: Secure, zone: &zone{name, keys}, expires: v.expiry(min(ttl, keyTTL))}
		}
		return err
	})
	return n, err
}

// readDS reads the reply to a question for DS records: those that can be used, or what
// the name is if there are none.
func (v *Validator) readDS(m *dns.Msg, above *zone, name string, b *Budget) ([]*dns.DS, *node, error) {
	answer := setsOf(m.Answer)
	if s := findSet(answer, name, dns.TypeDS); s != nil {
		if err := v.verify(s, above, b); err != nil {
			return nil, nil, err
		}
		ds, code := choose(s)
		if len(ds) == 0 {
			return nil, &node{status: Insecure, code: code, expires: v.expiry(s.ttl())}, nil
		}
		return ds, nil, nil
	}
	for _, s := range answer { // an alias is no place for a zone to begin
		if s.rrtype == dns.TypeCNAME && s.owner == name || s.rrtype == dns.TypeDNAME && below(s.owner, name) {
			if err := v.verify(s, above, b); err == nil {
				return nil, &node{status: Secure, zone: above, expires: v.expiry(s.ttl())}, nil
			} else if bounded(err) {
				return nil, nil, err
			}
		}
	}
	n, err := v.readNoDS(setsOf(m.Ns), above, name, b)
	return nil, n, err
}

// readNoDS reads the proof that there are no DS records.
func (v *Validator) readNoDS(sets []*set, above *zone, name string, b *Budget) (*node, error) {
	d := &denial{zone: above.name}
	why, ttl, seen := error(faultNoProof), uint32(maxKept/time.Second), 0
	for _, s := range sets {
		if s.rrtype != dns.TypeNSEC && s.rrtype != dns.TypeNSEC3 || !encloses(above.name, s.owner) {
			continue
		}
		if seen++; seen > maxDenials {
			return nil, bound("proofs in one reply", maxDenials)
		}
		if err := v.verify(s, above, b); err != nil {
			if bounded(err) {
				return nil, err
			}
			why = err
			continue
		}
		d.add(s)
		ttl = min(ttl, s.ttl())
	}
	what, err := d.noDS(name, b)
	if err != nil {
		return nil, err
	}
	n := &node{expires: v.expiry(ttl)}
	switch what {
	case noCut:
		n.status, n.zone = Secure, above
	case unsigned:
		n.status = Insecure
	case unsignedBy:
		n.status, n.code = Insecure, extendedIterations
	default:
		return nil, why
	}
	return n, nil
}

// extendedIterations is "Unsupported NSEC3 Iterations Value", which miekg/dns does not
// name.
const extendedIterations = 27

func bounded(err error) bool {
	var f *Fault
	return errors.As(err, &f) && f.Bound
}

// add takes a set whose signature has been checked.
func (d *denial) add(s *set) {
	for _, rr := range s.rrs {
		switch n := rr.(type) {
		case *dns.NSEC:
			d.nsec = append(d.nsec, n)
		case *dns.NSEC3:
			d.nsec3.add(d.zone, n)
		}
	}
}

// usable reports whether keys can be held against a DS record.
func usable(ds *dns.DS) bool {
	return supported(ds.Algorithm) && (ds.DigestType == dns.SHA1 || ds.DigestType == dns.SHA256 || ds.DigestType == dns.SHA384)
}

// choose gives the DS records that can be used; if there are none, why. SHA-1 is looked
// at only where there is nothing better (RFC 4509 section 3).
func choose(s *set) (chosen []*dns.DS, code uint16) {
	code = dns.ExtendedErrorCodeUnsupportedDNSKEYAlgorithm
	var weak []*dns.DS
	for _, rr := range s.rrs {
		ds, ok := rr.(*dns.DS)
		switch {
		case !ok || !supported(ds.Algorithm):
		case !usable(ds):
			code = dns.ExtendedErrorCodeUnsupportedDSDigestType
		case ds.DigestType == dns.SHA1:
			weak = append(weak, ds)
		default:
			chosen = append(chosen, ds)
		}
	}
	if len(chosen) == 0 {
		chosen = weak
	}
	return chosen[:min(len(chosen), maxDS)], code
}

// readKeys reads a zone's keys: they are its own if one that the zone above named signed
// them all (RFC 4035 section 5.2), if need be in the future.
func (v *Validator) readKeys(m *dns.Msg, name string, ds []*dns.DS, b *Budget, future bool) ([]key, uint32, error) {
	s := findSet(setsOf(m.Answer), name, dns.TypeDNSKEY)
	if s == nil {
		return nil, 0, faultNoKey
	}
	s.future = future
	if len(s.rrs) > maxKeys {
		return nil, 0, bound("keys of one zone", maxKeys)
	}
	var keys, named []key
	why := faultNoKey
	for _, rr := range s.rrs {
		k, ok := rr.(*dns.DNSKEY)
		if !ok || !supported(k.Algorithm) || k.Protocol != 3 {
			continue
		}
		kk := key{k, k.KeyTag()}
		is, err := v.isNamed(kk, ds, b)
		switch {
		case err != nil:
			return nil, 0, err
		case k.Flags&dns.ZONE == 0:
			if is {
				why = faultZoneBit
			}
			continue
		case k.Flags&dns.REVOKE != 0: // RFC 5011 section 2.1
			continue
		case is:
			named = append(named, kk)
		}
		keys = append(keys, kk)
	}
	if len(named) == 0 {
		return nil, 0, why
	}
	if err := v.verify(s, &zone{name, named}, b); err != nil {
		return nil, 0, err
	}
	return keys, s.ttl(), nil
}

// isNamed reports whether a DS record is of the key.
func (v *Validator) isNamed(k key, ds []*dns.DS, b *Budget) (bool, error) {
	for _, d := range ds {
		if d.KeyTag != k.tag || d.Algorithm != k.Algorithm {
			continue
		}
		if err := b.check(); err != nil { // a digest is cheap, but there may be many
			return false, err
		}
		if made := k.ToDS(d.DigestType); made != nil && strings.EqualFold(made.Digest, d.Digest) {
			return true, nil
		}
	}
	return false, nil
}

// reportDates tells the operator each hour that signatures were refused for their
// dates. A few are their owners' own fault.
func (v *Validator) reportDates(f *Fault) {
	if f != faultExpired && f != faultEarly {
		return
	}
	now := time.Now()
	v.mu.Lock()
	quiet := now.Sub(v.datesAt) < sayAgain
	if !quiet {
		v.datesAt = now
	}
	v.mu.Unlock()
	if !quiet {
		v.cfg.Log.Warn("answers refused for the dates of their DNSSEC signatures; if there are many, is the clock right?", "clock", now.UTC().Format(time.RFC3339), "err", f)
	}
}

// report tells the operator, once and then each hour, when no name can be validated
// any more, or again.
func (v *Validator) report(n *node, err error) {
	now := time.Now()
	say := ""
	switch {
	case v.clockBehind(now):
		err, say = errClock, "the clock is behind: DNSSEC signatures from its future are taken for good, and no answer is called authentic"
	case err != nil:
		return // nobody answers: the upstreams' own health tells
	case n.status == Secure:
	case n.fault == faultExpired:
		err, say = n.fault, "no name can be validated: the signatures of the root are past their time; is the clock ahead?"
	case n.fault == faultUnsigned || n.fault == faultNoKey:
		err, say = n.fault, "no name can be validated: the upstreams do not pass on DNSSEC signatures, or not those of this root"
	default:
		err, say = n.fault, "no name can be validated: the keys of the root do not match the trust anchors"
	}
	v.mu.Lock()
	before := v.said
	quiet := say == before && (say == "" || now.Sub(v.saidAt) < sayAgain)
	v.trouble = nil
	if say != "" {
		v.trouble = err
	}
	if !quiet {
		v.said, v.saidAt = say, now
	}
	v.mu.Unlock()
	switch {
	case quiet:
	case say == "":
		v.cfg.Log.Info("names can be validated again")
	default:
		v.cfg.Log.Error(say, "clock", now.UTC().Format(time.RFC3339), "err", err)
	}
}
