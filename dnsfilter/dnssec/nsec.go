package dnssec

import (
	"slices"

	"github.com/miekg/dns"
)

// denial is the records of one zone that say what is not in it. Their signatures
// have been checked, and none is made from a wildcard.
type denial struct {
	zone  string
	nsec  []*dns.NSEC
	nsec3 hashes
}

// proof is what a denial amounts to.
type proof uint8

const (
	unproven proof = iota
	optedOut       // there may be an unsigned delegation (RFC 5155 section 6)
	tooDear        // there are more hash iterations than anybody should have (RFC 9276)
	proven
)

// cut is what a denial of DS records says of a name.
type cut uint8

const (
	unknown    cut = iota
	noCut          // no zone begins here
	unsigned       // a zone begins here, and is not signed
	unsignedBy     // the same, as far as hashes with too many iterations can say
)

// noData proves that a name has no records of a type: itself, as an empty
// non-terminal, or by the wildcard that stands for it.
func (d *denial) noData(name string, rrtype uint16, b *Budget) (proof, error) {
	for _, n := range d.nsec {
		owner := canon(n.Hdr.Name)
		switch {
		case owner == name && lacks(n.TypeBitMap, name, rrtype):
			return proven, nil
		case d.covers(n, name) && empty(n, name):
			return proven, nil
		case d.covers(n, name):
			w := wildcard(suffix(name, encloserOf(n, name)))
			for _, m := range d.nsec {
				if canon(m.Hdr.Name) == w && lacks(m.TypeBitMap, w, rrtype) {
					return proven, nil
				}
			}
		}
	}
	return d.nsec3.noData(d.zone, name, rrtype, b)
}

// noName proves that neither a name nor a wildcard for it exists.
func (d *denial) noName(name string, b *Budget) (proof, error) {
	for _, n := range d.nsec {
		if !d.covers(n, name) || empty(n, name) {
			continue
		}
		w := wildcard(suffix(name, encloserOf(n, name)))
		for _, m := range d.nsec {
			if d.covers(m, w) && !empty(m, w) {
				return proven, nil
			}
		}
	}
	return d.nsec3.noName(d.zone, name, b)
}

// noCloser proves that a name does not exist, nor any above it up to the encloser,
// so that the encloser's wildcard stands for it.
func (d *denial) noCloser(name, encloser string, b *Budget) (proof, error) {
	for _, n := range d.nsec {
		if d.covers(n, name) && encloserOf(n, name) <= dns.CountLabel(encloser) {
			return proven, nil
		}
	}
	return d.nsec3.noCloser(d.zone, name, encloser, b)
}

// noDS says what begins at a name below the zone that has no DS records. That it is
// no cut needs no full proof: what is below must then be signed by this zone.
func (d *denial) noDS(name string, b *Budget) (cut, error) {
	for _, n := range d.nsec {
		switch {
		case canon(n.Hdr.Name) == name:
			return delegation(n.TypeBitMap), nil
		case d.covers(n, name):
			return noCut, nil
		}
	}
	return d.nsec3.noDS(d.zone, name, b)
}

// delegation reads the types at a name: those of the zone above, which know of NS but
// of no SOA.
func delegation(types []uint16) cut {
	switch {
	case has(types, dns.TypeSOA), has(types, dns.TypeDS):
		return unknown
	case has(types, dns.TypeNS):
		return unsigned
	}
	return noCut
}

// covers reports whether the record says that the name does not exist, or is an empty
// non-terminal. A delegation or DNAME says nothing of what is below it (RFC 6840
// section 4.1).
func (d *denial) covers(n *dns.NSEC, name string) bool {
	owner, next := canon(n.Hdr.Name), canon(n.NextDomain)
	if !encloses(d.zone, name) || !encloses(d.zone, next) || below(owner, name) && cutsOff(n.TypeBitMap) {
		return false
	}
	after, ok1 := compare(owner, name)
	before, ok2 := compare(name, next)
	order, ok3 := compare(owner, next)
	switch {
	case !ok1 || !ok2 || !ok3 || after >= 0:
		return false
	case order < 0:
		return before < 0
	}
	return next == d.zone // the last name of the zone
}

// empty reports whether the covered name has names below it, and so exists.
func empty(n *dns.NSEC, name string) bool { return below(name, canon(n.NextDomain)) }

// encloserOf is how many labels the nearest existing name above a covered one has.
func encloserOf(n *dns.NSEC, name string) int {
	return max(common(name, canon(n.Hdr.Name)), common(name, canon(n.NextDomain)))
}

// lacks reports whether the types at a name prove that it has none of a type. At a
// delegation the zone above speaks for DS alone, and the zone below for all else.
func lacks(types []uint16, name string, rrtype uint16) bool {
	switch {
	case has(types, rrtype), has(types, dns.TypeCNAME):
		return false
	case rrtype == dns.TypeDS:
		return name == "." || !has(types, dns.TypeSOA)
	}
	return !has(types, dns.TypeNS) || has(types, dns.TypeSOA)
}

// cutsOff reports whether what is below a name with these types is not the zone's.
func cutsOff(types []uint16) bool {
	return has(types, dns.TypeDNAME) || has(types, dns.TypeNS) && !has(types, dns.TypeSOA)
}

func has(types []uint16, t uint16) bool { return slices.Contains(types, t) }
