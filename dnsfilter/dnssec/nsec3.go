package dnssec

import (
	"strings"

	"github.com/miekg/dns"
)

// hashes is the NSEC3 records of one zone that share their parameters.
type hashes struct {
	records []hashed
	dear    bool // there were records with too many iterations; they are not here
	known   map[string]string
}

type hashed struct {
	*dns.NSEC3
	owner string // its hash, in upper case
}

const hashLen = 32 // of SHA-1, in base 32

// add takes a record whose signature has been checked. One that this zone cannot
// have, of an unknown kind (RFC 5155 section 8.1, 8.2) or with other parameters than
// those before it is left out.
func (h *hashes) add(zone string, n *dns.NSEC3) {
	owner, rest := strings.ToUpper(n.Hdr.Name), parent(canon(n.Hdr.Name))
	if rest != zone || n.Hash != dns.SHA1 || n.Flags&^1 != 0 || len(owner) < hashLen+1 || owner[hashLen] != '.' {
		return
	}
	if n.Iterations > maxIterations {
		h.dear = true
		return
	}
	if len(h.records) > 0 && (h.records[0].Iterations != n.Iterations || !strings.EqualFold(h.records[0].Salt, n.Salt)) {
		return
	}
	h.records = append(h.records, hashed{n, owner[:hashLen]})
}

// hash is the hash of a name, made once.
func (h *hashes) hash(name string, b *Budget) (string, error) {
	if sum, ok := h.known[name]; ok {
		return sum, nil
	}
	if err := b.hash(); err != nil {
		return "", err
	}
	if h.known == nil {
		h.known = map[string]string{}
	}
	sum := dns.HashName(name, dns.SHA1, h.records[0].Iterations, h.records[0].Salt)
	h.known[name] = sum
	return sum, nil
}

// match finds the record of an existing name.
func (h *hashes) match(name string, b *Budget) (*dns.NSEC3, error) {
	sum, err := h.hash(name, b)
	if err != nil || sum == "" {
		return nil, err
	}
	for _, r := range h.records {
		if r.owner == sum {
			return r.NSEC3, nil
		}
	}
	return nil, nil
}

// cover finds a record that says that a name does not exist.
func (h *hashes) cover(name string, b *Budget) (*dns.NSEC3, error) {
	sum, err := h.hash(name, b)
	if err != nil || sum == "" {
		return nil, err
	}
	for _, r := range h.records {
		next := strings.ToUpper(r.NextDomain)
		switch {
		case len(next) != hashLen:
		case r.owner < next && r.owner < sum && sum < next,
			r.owner >= next && (sum > r.owner || sum < next): // the last of the zone
			return r.NSEC3, nil
		}
	}
	return nil, nil
}

// closest is the closest encloser proof (RFC 5155 section 8.3): the nearest name above
// that exists, and the record that says that the name just below it does not. It is
// looked for from the zone down, so that a name of many labels costs no more than one
// of few.
func (h *hashes) closest(zone, name string, b *Budget) (encloser string, covering *dns.NSEC3, err error) {
	for n := dns.CountLabel(zone); n < dns.CountLabel(name); n++ {
		encloser = suffix(name, n)
		found, err := h.match(encloser, b)
		if err != nil {
			return "", nil, err
		}
		covering, err := h.cover(suffix(name, n+1), b)
		if err != nil {
			return "", nil, err
		}
		if covering == nil {
			continue
		}
		if found == nil || cutsOff(found.TypeBitMap) {
			return "", nil, nil
		}
		return encloser, covering, nil
	}
	return "", nil, nil
}

func optOut(n *dns.NSEC3) bool { return n.Flags&1 != 0 }

// otherwise is what is left to say where nothing is proven.
func (h *hashes) otherwise() proof {
	if h.dear {
		return tooDear
	}
	return unproven
}

func (h *hashes) noData(zone, name string, rrtype uint16, b *Budget) (proof, error) {
	if len(h.records) == 0 || !encloses(zone, name) {
		return h.otherwise(), nil
	}
	found, err := h.match(name, b)
	if err != nil {
		return unproven, err
	}
	if found != nil {
		if lacks(found.TypeBitMap, name, rrtype) {
			return proven, nil
		}
		return unproven, nil
	}
	encloser, covering, err := h.closest(zone, name, b)
	if err != nil || covering == nil {
		return h.otherwise(), err
	}
	w := wildcard(encloser)
	if found, err = h.match(w, b); err != nil {
		return unproven, err
	}
	if found != nil && lacks(found.TypeBitMap, w, rrtype) {
		if optOut(covering) {
			return optedOut, nil
		}
		return proven, nil
	}
	if optOut(covering) { // an unsigned delegation, or a name that only such have made
		return optedOut, nil
	}
	return h.otherwise(), nil
}

func (h *hashes) noName(zone, name string, b *Budget) (proof, error) {
	if len(h.records) == 0 || !encloses(zone, name) {
		return h.otherwise(), nil
	}
	if found, err := h.match(name, b); err != nil || found != nil {
		return unproven, err
	}
	encloser, covering, err := h.closest(zone, name, b)
	if err != nil || covering == nil {
		return h.otherwise(), err
	}
	covered, err := h.cover(wildcard(encloser), b)
	if err != nil || covered == nil {
		return h.otherwise(), err
	}
	if optOut(covering) {
		return optedOut, nil
	}
	return proven, nil
}

func (h *hashes) noCloser(zone, name, encloser string, b *Budget) (proof, error) {
	if len(h.records) == 0 || !encloses(zone, encloser) || !below(encloser, name) {
		return h.otherwise(), nil
	}
	covering, err := h.cover(suffix(name, dns.CountLabel(encloser)+1), b)
	switch {
	case err != nil:
		return unproven, err
	case covering == nil:
		return h.otherwise(), nil
	case optOut(covering):
		return optedOut, nil
	}
	return proven, nil
}

func (h *hashes) noDS(zone, name string, b *Budget) (cut, error) {
	dear := unknown
	if h.dear {
		dear = unsignedBy
	}
	if len(h.records) == 0 || !encloses(zone, name) {
		return dear, nil
	}
	found, err := h.match(name, b)
	if err != nil {
		return unknown, err
	}
	if found != nil {
		return delegation(found.TypeBitMap), nil
	}
	_, covering, err := h.closest(zone, name, b)
	switch {
	case err != nil:
		return unknown, err
	case covering == nil:
		return dear, nil
	case optOut(covering):
		return unsigned, nil
	}
	return noCut, nil
}
