package upstream

import (
	"errors"
	"net/netip"
	"slices"
	"strings"

	"github.com/miekg/dns"
)

// maxChain is how many CNAMEs an answer may hold, maxRecords how many records.
const (
	maxChain   = 16
	maxRecords = 1024
)

var (
	errLoop   = errors.New("CNAME chain is a loop or too long")
	errAnswer = errors.New("answer is not one to the question")
	// RFC 2308 section 2.2.1 tells one from an answer that there is nothing.
	errReferral = errors.New("upstream refers to others instead of answering")
)

// limits is what a vetted answer is held to.
type limits struct {
	minTTL, maxTTL, maxNegative uint32
	private                     func(name string, a netip.Addr) bool // an address this name may not have
	front                       func(owner, front string, key uint8) // hears of keys for encrypted hellos; may be nil
}

// vet keeps of an answer what was asked for and nothing else (T3, T4): the chain
// from the question's name to the records of its type, or the SOA that says there
// are none. What it leaves out is neither cached nor passed on.
func vet(m *dns.Msg, name string, q Question, l limits) (*vetted, error) {
	v, err := gather(m, name, q)
	if err == nil {
		v.seal(name, q, l)
	}
	return v, err
}

// gather is the first half of vet: what is kept is as the upstream sent it.
func gather(m *dns.Msg, name string, q Question) (*vetted, error) {
	v := &vetted{}
	v.msg.SetQuestion(name, q.Type)
	v.msg.Response, v.msg.Rcode = true, m.Rcode
	if m.AuthenticatedData {
		v.flags |= flagAD
	}
	if len(m.Answer) > maxRecords || len(m.Ns) > maxRecords {
		return nil, errAnswer
	}
	end, err := v.follow(m.Answer, name, q)
	if err != nil {
		return nil, err
	}
	v.authority(m.Ns, end, q, v.negative(q))
	if len(v.msg.Answer) == 0 && m.Rcode == dns.RcodeSuccess && hasType(m.Ns, dns.TypeNS) && !hasType(m.Ns, dns.TypeSOA) {
		return nil, errReferral
	}
	return v, nil
}

// seal is the second half: what a device must not learn goes, and TTLs are bounded.
func (v *vetted) seal(name string, q Question, l limits) {
	negative := v.negative(q)
	v.scrub(name, q, l)
	v.setTTL(l, negative)
}

func (v *vetted) negative(q Question) bool {
	return len(v.msg.Answer) == 0 || !hasType(v.msg.Answer, q.Type)
}

// follow walks the chain and keeps its records, in order; end is the last name.
func (v *vetted) follow(records []dns.RR, name string, q Question) (end string, err error) {
	for range maxChain + 1 {
		var next string
		for _, rr := range records {
			if !strings.EqualFold(rr.Header().Name, name) || rr.Header().Class != dns.ClassINET {
				v.keepDNAME(rr, name, q)
				continue
			}
			rr.Header().Name = name // the case may be ours, from hardening the question
			switch {
			case rr.Header().Rrtype == q.Type:
				v.keep(rr)
			case rr.Header().Rrtype == dns.TypeCNAME:
				target := strings.ToLower(rr.(*dns.CNAME).Target)
				if next != "" && next != target {
					return "", errAnswer // two CNAMEs at one name
				}
				next = target
				v.keep(rr)
			case q.DO && covers(rr, q.Type), q.DO && covers(rr, dns.TypeCNAME):
				v.keep(rr)
			}
		}
		if err := v.targets(name, q); err != nil {
			return "", err
		}
		switch {
		case next == "":
			return name, nil
		case hasOwner(v.msg.Answer, name, q.Type):
			v.dropAlias(name)
			return name, nil
		case next == name || slices.Contains(v.chain, next):
			return "", errLoop
		}
		v.chain = append(v.chain, next)
		name = next
	}
	return "", errLoop
}

// dropAlias leaves out the CNAME of a name that has what was asked for itself: it is no
// alias, and nobody shall be told so.
func (v *vetted) dropAlias(name string) {
	v.msg.Answer = slices.DeleteFunc(v.msg.Answer, func(rr dns.RR) bool {
		return rr.Header().Rrtype == dns.TypeCNAME && rr.Header().Name == name
	})
}

func (v *vetted) keep(rr dns.RR) {
	for _, kept := range v.msg.Answer {
		if dns.IsDuplicate(kept, rr) {
			return
		}
	}
	v.msg.Answer = append(v.msg.Answer, rr)
}

// keepDNAME keeps the record that a CNAME of the chain was made from.
func (v *vetted) keepDNAME(rr dns.RR, name string, q Question) {
	owner := strings.ToLower(rr.Header().Name)
	kept := rr.Header().Rrtype == dns.TypeDNAME || q.DO && covers(rr, dns.TypeDNAME)
	if kept && rr.Header().Class == dns.ClassINET && owner != name && within(name, owner) {
		v.keep(rr)
	}
}

// targets adds the names that HTTPS and SVCB records lead to, as a browser goes there
// like along a CNAME, and those of aliases that were themselves asked for. There may be
// no more than can be kept: each of them has to be judged.
func (v *vetted) targets(name string, q Question) error {
	for _, rr := range v.msg.Answer {
		target := strings.ToLower(leadsTo(rr, q.Type))
		if target == "" || target == "." || target == name || slices.Contains(v.chain, target) {
			continue
		}
		if len(v.chain) == maxChain {
			return errLoop
		}
		v.chain = append(v.chain, target)
	}
	return nil
}

// leadsTo gives the name that a record of the type asked for leads to.
func leadsTo(rr dns.RR, qtype uint16) string {
	if rr.Header().Rrtype != qtype {
		return ""
	}
	switch rr := rr.(type) {
	case *dns.HTTPS:
		return rr.Target
	case *dns.SVCB:
		return rr.Target
	case *dns.CNAME:
		return rr.Target
	case *dns.DNAME:
		return rr.Target
	}
	return ""
}

// authority keeps the SOA of a negative answer if it can speak for the name, and
// for a client that checks signatures the proof that comes with it.
func (v *vetted) authority(records []dns.RR, end string, q Question, negative bool) {
	for _, rr := range records {
		owner := strings.ToLower(rr.Header().Name)
		proof := rr.Header().Rrtype == dns.TypeNSEC || rr.Header().Rrtype == dns.TypeNSEC3
		switch {
		case rr.Header().Class != dns.ClassINET:
		case rr.Header().Rrtype == dns.TypeSOA && negative && within(end, owner),
			q.DO && proof,
			q.DO && (covers(rr, dns.TypeNSEC) || covers(rr, dns.TypeNSEC3)),
			q.DO && negative && covers(rr, dns.TypeSOA) && within(end, owner):
			v.msg.Ns = append(v.msg.Ns, rr)
		}
	}
}

// scrub takes out what a filtered network must not learn: private addresses of
// public names (T4), ech and h3 (Y6, Y7). A changed answer is authentic no more.
func (v *vetted) scrub(name string, q Question, l limits) {
	changed := false
	kept := v.msg.Answer[:0]
	for _, rr := range v.msg.Answer {
		tellFronts(rr, strings.TrimSuffix(name, "."), l.front)
		ok, touched := scrubRecord(rr, func(a netip.Addr) bool { return l.private(name, a) }, &v.flags)
		changed = changed || touched || !ok
		if ok {
			kept = append(kept, rr)
		}
	}
	v.msg.Answer = kept
	if changed {
		v.flags &^= flagAD
		v.msg.Answer = slices.DeleteFunc(v.msg.Answer, func(rr dns.RR) bool { return covers(rr, q.Type) })
	}
}

// scrubRecord reports whether the record may stay and whether it was changed.
func scrubRecord(rr dns.RR, private func(netip.Addr) bool, flags *byte) (ok, changed bool) {
	var addrs []netip.Addr
	switch rr := rr.(type) {
	case *dns.A:
		a, _ := netip.AddrFromSlice(rr.A)
		addrs = append(addrs, a)
	case *dns.AAAA:
		a, _ := netip.AddrFromSlice(rr.AAAA)
		addrs = append(addrs, a)
	default:
		s := svcb(rr)
		if s == nil {
			return true, false
		}
		addrs = hints(s)
		if ok, changed = stripSVCB(s); !ok {
			return false, true
		}
	}
	if slices.ContainsFunc(addrs, private) {
		*flags |= flagPrivate
		return false, true
	}
	return true, changed
}

// setTTL bounds the records' TTLs and sets how long the answer may be kept:
// as long as its shortest record, and a negative one as its SOA says (RFC 2308).
func (v *vetted) setTTL(l limits, negative bool) {
	ttl, soa := uint32(0), false
	first := true
	for _, rr := range append(slices.Clone(v.msg.Answer), v.msg.Ns...) {
		h := rr.Header()
		if h.Ttl > 1<<31-1 {
			h.Ttl = 0 // RFC 2181 section 8
		}
		h.Ttl = min(max(h.Ttl, l.minTTL), l.maxTTL)
		if s, ok := rr.(*dns.SOA); ok && negative {
			soa = true
			h.Ttl = min(h.Ttl, max(s.Minttl, l.minTTL), l.maxNegative)
		}
		if first || h.Ttl < ttl {
			ttl, first = h.Ttl, false
		}
	}
	if negative && !soa && v.flags&flagPrivate == 0 {
		ttl = min(ttl, l.minTTL) // nothing says how long there is nothing
	}
	if v.flags&flagPrivate != 0 {
		ttl = max(ttl, 30) // the refusal is ours: do not ask again for each question
	}
	v.ttl = ttl
}

func hasType(records []dns.RR, t uint16) bool {
	return slices.ContainsFunc(records, func(rr dns.RR) bool { return rr.Header().Rrtype == t })
}

func hasOwner(records []dns.RR, name string, t uint16) bool {
	return slices.ContainsFunc(records, func(rr dns.RR) bool { return rr.Header().Rrtype == t && rr.Header().Name == name })
}

func covers(rr dns.RR, t uint16) bool {
	sig, ok := rr.(*dns.RRSIG)
	return ok && sig.TypeCovered == t
}
