package dnssec

import (
	"fmt"

	"github.com/miekg/dns"
)

// Status is what validation says of an answer (RFC 4033 section 5).
type Status uint8

// The zero Status refuses.
const (
	Bogus    Status = iota // it should be signed, and is not as it should be
	Insecure               // proven to lie in a part of the DNS that nobody signs
	Secure                 // signed, from the trust anchor down
)

func (s Status) String() string {
	switch s {
	case Secure:
		return "secure"
	case Insecure:
		return "insecure"
	}
	return "bogus"
}

// Verdict is what came of one reply.
type Verdict struct {
	Status Status
	Code   uint16 // why, as an Extended DNS Error (RFC 8914); 0 where there is nothing to say
	Fault  *Fault // of a bogus reply
	TTL    uint32 // seconds the records that were proof may be relied on
}

// Fault is why a reply is bogus.
type Fault struct {
	Code  uint16 // the Extended DNS Error that says so
	What  string
	Bound bool // a bound was reached, so it was not judged to its end
}

func (f *Fault) Error() string { return "dnssec: " + f.What }

// The faults that need no more words. They are never changed.
var (
	faultSignature = &Fault{Code: dns.ExtendedErrorCodeDNSBogus, What: "no signature holds"}
	faultWildcard  = &Fault{Code: dns.ExtendedErrorCodeDNSBogus, What: "a set is from a wildcard that may not be, or is not proven to apply"}
	faultChain     = &Fault{Code: dns.ExtendedErrorCodeDNSBogus, What: "the chain of aliases does not hold together"}
	faultExpired   = &Fault{Code: dns.ExtendedErrorCodeSignatureExpired, What: "a signature is past its time"}
	faultEarly     = &Fault{Code: dns.ExtendedErrorCodeSignatureNotYetValid, What: "a signature is from the future"}
	faultNoKey     = &Fault{Code: dns.ExtendedErrorCodeDNSKEYMissing, What: "no key is as the zone above it says"}
	faultUnsigned  = &Fault{Code: dns.ExtendedErrorCodeRRSIGsMissing, What: "a set of a signed zone has no signature"}
	faultZoneBit   = &Fault{Code: dns.ExtendedErrorCodeNoZoneKeyBitSet, What: "the key that the zone above it names is no zone key"}
	faultNoProof   = &Fault{Code: dns.ExtendedErrorCodeNSECMissing, What: "nothing proves that there is nothing"}
)

func bound(what string, n int) *Fault {
	return &Fault{Code: dns.ExtendedErrorCodeDNSSECIndeterminate, What: fmt.Sprintf("more than %d %s", n, what), Bound: true}
}

// The bounds of one question, all its replies together. An honest name needs a lookup
// and three checks for each zone on the way to it and one check for each set; what is
// known of zones is kept, so few need as much.
const (
	maxLookups  = 40 // names on the way down that are not known yet; each is a question for DS and perhaps one for keys
	maxChecks   = 64 // signatures checked
	maxFailures = 16 // checks in vain (KeyTrap, CVE-2023-50387)
	maxHashes   = 64 // names hashed for NSEC3 proofs (CVE-2023-50868)

	maxPerSet     = 8   // signatures of one set that are checked
	maxSameTag    = 4   // keys with the same tag and algorithm that are tried
	maxDS         = 8   // DS records of a zone that are looked at
	maxKeys       = 64  // keys of a zone; with more, it is bogus
	maxIterations = 100 // of an NSEC3 hash; beyond that a proof is insecure (RFC 9276)
	maxDenials    = 24  // NSEC and NSEC3 sets of a reply; it needs three, and one for each wildcard
	maxSigners    = 3   // names that claim to have signed one set
)

// Budget is what the judging of one question may still cost. One goroutine owns it.
type Budget struct{ lookups, checks, failures, hashes int }

// NewBudget is for one question, with the replies it takes.
func NewBudget() *Budget { return &Budget{maxLookups, maxChecks, maxFailures, maxHashes} }

// stepBudget is for what is learnt of one name on the way down, which others may
// wait for as well, so that nobody spends what is another's.
func stepBudget() *Budget { return &Budget{0, 24, maxPerSet, maxHashes} }

func (b *Budget) lookup() error {
	if b.lookups == 0 {
		return bound("lookups for one question", maxLookups)
	}
	b.lookups--
	return nil
}

func (b *Budget) check() error {
	if b.checks == 0 {
		return bound("signatures checked for one question", maxChecks)
	}
	b.checks--
	return nil
}

func (b *Budget) failed() error {
	if b.failures == 0 {
		return bound("signatures checked in vain for one question", maxFailures)
	}
	b.failures--
	return nil
}

func (b *Budget) hash() error {
	if b.hashes == 0 {
		return bound("names hashed for one question", maxHashes)
	}
	b.hashes--
	return nil
}

// charge takes what a step spent of its own budget from the budget of the question
// it was made for; there is no debt, the next thing to cost is refused.
func (b *Budget) charge(step *Budget) {
	fresh := stepBudget()
	b.checks = max(0, b.checks-(fresh.checks-step.checks))
	b.failures = max(0, b.failures-(fresh.failures-step.failures))
	b.hashes = max(0, b.hashes-(fresh.hashes-step.hashes))
}
