package dnssec

import (
	"slices"
	"strings"
	"time"

	"github.com/miekg/dns"
)

// set is the records of one name and type, and what claims to sign them.
type set struct {
	owner  string
	rrtype uint16
	rrs    []dns.RR
	sigs   []*dns.RRSIG
	future bool // a signature from the future will do as well

	// After a signature held:
	signer   string
	encloser string // of a set made from a wildcard: the name the wildcard is at; else ""
}

// setsOf puts a section in order. Owners are put in lower case, which changes
// nothing that is signed.
func setsOf(section []dns.RR) []*set {
	var sets []*set
	find := func(owner string, rrtype uint16) *set {
		for _, s := range sets {
			if s.rrtype == rrtype && s.owner == owner {
				return s
			}
		}
		s := &set{owner: owner, rrtype: rrtype}
		sets = append(sets, s)
		return s
	}
	for _, rr := range section {
		h := rr.Header()
		if h.Class != dns.ClassINET {
			continue
		}
		h.Name = strings.ToLower(h.Name)
		if sig, ok := rr.(*dns.RRSIG); ok {
			s := find(h.Name, sig.TypeCovered)
			s.sigs = append(s.sigs, sig)
			continue
		}
		s := find(h.Name, h.Rrtype)
		s.rrs = append(s.rrs, rr)
	}
	return slices.DeleteFunc(sets, func(s *set) bool { return len(s.rrs) == 0 })
}

func findSet(sets []*set, owner string, rrtype uint16) *set {
	for _, s := range sets {
		if s.rrtype == rrtype && s.owner == owner {
			return s
		}
	}
	return nil
}

// ttl is the shortest of a set.
func (s *set) ttl() uint32 {
	least := s.rrs[0].Header().Ttl
	for _, rr := range s.rrs {
		least = min(least, rr.Header().Ttl)
	}
	return least
}

// zone is one whose keys are known to be its own.
type zone struct {
	name string
	keys []key
}

type key struct {
	*dns.DNSKEY
	tag uint16
}

// verify looks for a signature of the set that one of the zone's keys made and that
// holds now (RFC 4035 section 5.3). At the end the TTLs are no longer than what was
// signed.
func (v *Validator) verify(s *set, z *zone, b *Budget) error {
	why, tried := faultUnsigned, 0
	for _, sig := range s.sigs {
		if canon(sig.SignerName) != z.name {
			continue
		}
		if why == faultUnsigned {
			why = faultSignature
		}
		encloser, fault := v.plausible(s, sig)
		if fault != nil {
			why = worse(why, fault)
			continue
		}
		same := 0
		for _, k := range z.keys {
			if k.tag != sig.KeyTag || k.Algorithm != sig.Algorithm {
				continue
			}
			if same++; same > maxSameTag {
				return bound("keys with the same tag", maxSameTag)
			}
			if tried++; tried > maxPerSet {
				return bound("signatures checked of one set", maxPerSet)
			}
			if err := b.check(); err != nil {
				return err
			}
			if v.holds(s, sig, k) {
				s.signer, s.encloser = z.name, encloser
				v.limitTTL(s, sig)
				return nil
			}
			if err := b.failed(); err != nil {
				return err
			}
		}
	}
	return why
}

// worse keeps the fault that says more.
func worse(a, b *Fault) *Fault {
	if b == faultSignature {
		return a
	}
	return b
}

// plausible checks all of a signature but the signature.
func (v *Validator) plausible(s *set, sig *dns.RRSIG) (encloser string, fault *Fault) {
	signer := canon(sig.SignerName)
	own := dns.CountLabel(s.owner)
	literal := strings.HasPrefix(s.owner, "*.") // the wildcard itself
	if literal {
		own--
	}
	switch {
	case !supported(sig.Algorithm), !encloses(signer, s.owner), !exactLength(sig):
		return "", faultSignature
	case s.rrtype == dns.TypeDS && signer == s.owner: // a zone does not vouch for itself
		return "", faultSignature
	case int(sig.Labels) > own, int(sig.Labels) < dns.CountLabel(signer):
		return "", faultSignature
	case int(sig.Labels) < own:
		// What says where names end or zones begin is not made from a wildcard: its
		// owner is part of what it says.
		switch s.rrtype {
		case dns.TypeNSEC, dns.TypeNSEC3, dns.TypeDS, dns.TypeDNSKEY, dns.TypeSOA, dns.TypeNS, dns.TypeDNAME:
			return "", faultWildcard
		}
		encloser = suffix(s.owner, int(sig.Labels))
	}
	return encloser, v.timely(sig, s.future)
}

// exactLength: an elliptic signature has one length; miekg/dns splits any in half.
func exactLength(sig *dns.RRSIG) bool {
	switch sig.Algorithm {
	case dns.ECDSAP256SHA256, dns.ED25519:
		return len(sig.Signature) == 88 // base64 of 64 bytes
	case dns.ECDSAP384SHA384:
		return len(sig.Signature) == 128
	}
	return true
}

// timely holds the signature's dates against the clock, in serial arithmetic (RFC
// 4034 section 3.1.5). What is past its time is never good; see [Validator.ClockBehind]
// for what is from the future.
func (v *Validator) timely(sig *dns.RRSIG, future bool) *Fault {
	now := time.Now()
	at := uint32(now.Unix())
	switch {
	case int32(sig.Expiration-sig.Inception) < 0:
		return faultExpired
	case int32(at-sig.Inception) < -skew && !future && !v.clockBehind(now):
		return faultEarly
	case int32(sig.Expiration-at) < -skew:
		return faultExpired
	}
	return nil
}

// holds is the arithmetic. It leaves half of the cores to others, whatever is asked.
func (v *Validator) holds(s *set, sig *dns.RRSIG, k key) bool {
	v.cores <- struct{}{}
	defer func() { <-v.cores }()
	return sig.Verify(k.DNSKEY, s.rrs) == nil
}

// limitTTL: no record is kept for longer than its owner said or its signature lasts.
func (v *Validator) limitTTL(s *set, sig *dns.RRSIG) {
	left := int32(sig.Expiration - uint32(time.Now().Unix()))
	limit := min(sig.OrigTtl, uint32(max(left, 0)))
	for _, rr := range s.rrs {
		rr.Header().Ttl = min(rr.Header().Ttl, limit)
	}
	for _, rr := range s.sigs {
		rr.Header().Ttl = min(rr.Header().Ttl, limit)
	}
}

// supported algorithms are those that Go's library checks and that are still good.
// SHA-1 is not (RFC 9905): zones signed with nothing else are insecure.
func supported(algorithm uint8) bool {
	switch algorithm {
	case dns.RSASHA256, dns.RSASHA512, dns.ECDSAP256SHA256, dns.ECDSAP384SHA384, dns.ED25519:
		return true
	}
	return false
}
