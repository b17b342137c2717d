package dnssec

import (
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/miekg/dns"
)

// Judge says what a reply is worth. m holds the question, the chain of records that
// answers it and nothing else, and in the authority section an SOA and the proofs. An
// open reply stops at an alias whose target another reply will tell of. Names of owners
// are put in lower case and TTLs cut to what was signed, nothing else is changed.
//
// A reply that is bogus is a Verdict; an error says that it could not be judged, since
// nobody answered or the context ended.
func (v *Validator) Judge(ctx context.Context, m *dns.Msg, open bool, b *Budget) (Verdict, error) {
	if len(m.Question) != 1 {
		return Verdict{Fault: faultChain, Code: faultChain.Code}, nil
	}
	q := m.Question[0]
	if q.Qtype == dns.TypeRRSIG || q.Qtype == dns.TypeANY {
		return Verdict{Status: Insecure, TTL: maxTTL}, nil // signatures are not signed
	}
	j := judging{v: v, ctx: ctx, b: b, Verdict: Verdict{Status: Secure, TTL: maxTTL}}
	err := j.reply(m, canon(q.Name), q.Qtype, open)
	var fault *Fault
	switch {
	case errors.As(err, &fault):
		v.reportDates(fault)
		return Verdict{Status: Bogus, Code: fault.Code, Fault: fault}, nil
	case err != nil:
		return Verdict{}, err
	}
	if v.ClockBehind() {
		j.weaken(Insecure, 0)
		j.TTL = min(j.TTL, uint32(undated.Seconds()))
	}
	return j.Verdict, nil
}

const (
	maxTTL   = 1<<31 - 1
	maxLinks = 32
)

// judging is the judging of one reply.
type judging struct {
	v   *Validator
	ctx context.Context
	b   *Budget
	Verdict

	answer  []*set
	denials []*denial
}

// weaken lowers the status to that of the weakest part.
func (j *judging) weaken(s Status, code uint16) {
	j.Status = min(j.Status, s)
	if j.Code == 0 {
		j.Code = code
	}
}

func (j *judging) reply(m *dns.Msg, name string, rrtype uint16, open bool) error {
	j.answer = setsOf(m.Answer)
	for _, s := range j.answer {
		if j.synthesised(s) {
			continue
		}
		if err := j.set(s); err != nil {
			return err
		}
	}
	if err := j.authority(m.Ns); err != nil {
		return err
	}
	for _, s := range j.answer {
		if err := j.wildcard(s); err != nil {
			return err
		}
	}
	return j.chain(name, rrtype, m.Rcode, open)
}

// synthesised reports whether a CNAME is made from a DNAME of the reply, and needs no
// signature of its own (RFC 6672 section 5.3).
func (j *judging) synthesised(s *set) bool {
	if s.rrtype != dns.TypeCNAME || len(s.rrs) != 1 || len(s.sigs) > 0 {
		return false
	}
	for _, from := range j.answer {
		if from.rrtype != dns.TypeDNAME || len(from.rrs) != 1 || !below(from.owner, s.owner) {
			continue
		}
		d, ok1 := from.rrs[0].(*dns.DNAME)
		c, ok2 := s.rrs[0].(*dns.CNAME)
		if !ok1 || !ok2 {
			continue
		}
		head := s.owner
		if from.owner != "." {
			head = strings.TrimSuffix(s.owner, from.owner)
		}
		want := head + canon(d.Target)
		if d.Target == "." {
			want = head
		}
		if canon(c.Target) == want {
			return true
		}
	}
	return false
}

// set judges one set of records: a signature holds, or the zone it lies in is proven
// to have none.
func (j *judging) set(s *set) error {
	top := s.owner
	if s.rrtype == dns.TypeDS { // the zone above speaks
		top = parent(s.owner)
	}
	if j.v.Excepted(top) {
		j.weaken(Insecure, 0)
		return nil
	}
	var why error = faultUnsigned
	for _, signer := range signers(s, top) {
		n, err := j.v.walk(j.ctx, signer, j.b)
		switch {
		case err != nil:
			return err
		case n.status == Insecure:
			j.weaken(Insecure, n.code)
			return nil
		case n.status == Bogus:
			why = n.fault
			continue
		case n.zone.name != signer:
			why = faultSignature // no zone begins there
			continue
		}
		if why = j.v.verify(s, n.zone, j.b); why == nil {
			j.TTL = min(j.TTL, s.ttl())
			return nil
		} else if bounded(why) {
			return why
		}
	}
	return j.unsigned(top, why)
}

// signers are the names that claim to have signed a set and could have, the nearest
// first.
func signers(s *set, top string) []string {
	var names []string
	for _, sig := range s.sigs {
		name := canon(sig.SignerName)
		if encloses(name, top) && !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	slices.SortFunc(names, func(a, b string) int { return len(b) - len(a) })
	return names[:min(len(names), maxSigners)]
}

// unsigned is right where a zone on the way to the name is not signed. Else it is why.
func (j *judging) unsigned(name string, why error) error {
	n, err := j.v.walk(j.ctx, name, j.b)
	switch {
	case err != nil:
		return err
	case n.status == Insecure:
		j.weaken(Insecure, n.code)
		return nil
	case n.status == Bogus:
		return n.fault
	}
	return why
}

// authority judges the SOA and collects the proofs, by the zone that signed them.
func (j *judging) authority(section []dns.RR) error {
	seen := 0
	for _, s := range setsOf(section) {
		switch s.rrtype {
		case dns.TypeNSEC, dns.TypeNSEC3:
			if seen++; seen > maxDenials {
				return bound("proofs in one reply", maxDenials)
			}
		case dns.TypeSOA:
		default:
			return faultChain // nothing else was asked to be judged
		}
		if err := j.set(s); err != nil {
			return err
		}
		if s.signer == "" || s.rrtype == dns.TypeSOA {
			continue
		}
		at := slices.IndexFunc(j.denials, func(d *denial) bool { return d.zone == s.signer })
		if at < 0 {
			at = len(j.denials)
			j.denials = append(j.denials, &denial{zone: s.signer})
		}
		j.denials[at].add(s)
	}
	return nil
}

// chain walks from the question's name to its end. Every set on it has been judged.
func (j *judging) chain(name string, rrtype uint16, rcode int, open bool) error {
	seen := map[string]bool{}
	for range maxLinks {
		seen[name] = true
		if findSet(j.answer, name, rrtype) != nil {
			if rcode != dns.RcodeSuccess { // the code is not signed: it has to fit
				return faultChain
			}
			return nil
		}
		s := findSet(j.answer, name, dns.TypeCNAME)
		if s == nil {
			if open && len(seen) > 1 {
				return nil
			}
			return j.nothing(name, rrtype, rcode)
		}
		c, ok := s.rrs[0].(*dns.CNAME)
		if !ok || len(s.rrs) != 1 {
			return faultChain
		}
		if name = canon(c.Target); seen[name] {
			return faultChain
		}
	}
	return faultChain
}

// wildcard wants the proof that a wildcard stands for the set's name, if the set is
// made from one.
func (j *judging) wildcard(s *set) error {
	if s.encloser == "" {
		return nil
	}
	for _, d := range j.denials {
		if d.zone != s.signer {
			continue
		}
		p, err := d.noCloser(s.owner, s.encloser, j.b)
		if err != nil {
			return err
		}
		if j.proven(p) {
			return nil
		}
	}
	return faultWildcard
}

// proven takes note of what a proof is worth.
func (j *judging) proven(p proof) bool {
	switch p {
	case proven:
	case optedOut:
		j.weaken(Insecure, 0)
	case tooDear:
		j.weaken(Insecure, extendedIterations)
	default:
		return false
	}
	return true
}

// nothing wants the proof that the name has no records of the type, or is none. The
// nearest zone that speaks of it is heard first.
func (j *judging) nothing(name string, rrtype uint16, rcode int) error {
	top := name
	if rrtype == dns.TypeDS {
		top = parent(name)
	}
	if j.v.Excepted(top) {
		j.weaken(Insecure, 0)
		return nil
	}
	slices.SortStableFunc(j.denials, func(a, b *denial) int { return len(b.zone) - len(a.zone) })
	for _, d := range j.denials {
		if !encloses(d.zone, top) {
			continue
		}
		var p proof
		var err error
		switch rcode {
		case dns.RcodeNameError:
			p, err = d.noName(name, j.b)
		case dns.RcodeSuccess:
			p, err = d.noData(name, rrtype, j.b)
		}
		if err != nil {
			return err
		}
		if j.proven(p) {
			return nil
		}
	}
	return j.unsigned(top, faultNoProof)
}
