package testkit

import (
	"slices"
	"strings"

	"github.com/miekg/dns"
)

// types lists what a name has, for a denial.
func (z *Zone) types(name string, besides ...uint16) []uint16 {
	types := slices.Clone(besides)
	for rrtype := range z.sets[name] {
		types = append(types, rrtype)
	}
	if len(z.sets[name]) > 0 && (!z.cuts[name] || len(z.sets[name][dns.TypeDS]) > 0 || !z.NSEC3) {
		types = append(types, dns.TypeRRSIG)
	}
	slices.Sort(types)
	return slices.Compact(types)
}

func (z *Zone) orderNames() {
	names := make([]string, 0, len(z.sets))
	for name := range z.sets {
		names = append(names, name)
	}
	slices.SortFunc(names, CompareNames)
	for i, name := range names {
		z.denials = append(z.denials, &dns.NSEC{
			Hdr:        dns.RR_Header{Name: name, Rrtype: dns.TypeNSEC, Class: dns.ClassINET, Ttl: 60},
			NextDomain: names[(i+1)%len(names)], TypeBitMap: z.types(name, dns.TypeNSEC),
		})
	}
}

func (z *Zone) hashNames() {
	names := map[string]bool{}
	for name := range z.sets {
		if z.OptOut && z.cuts[name] && len(z.sets[name][dns.TypeDS]) == 0 {
			continue
		}
		for n := name; ; n = nameAbove(n) {
			names[n] = true
			if n == z.Name {
				break
			}
		}
	}
	type hashed struct{ hash, name string }
	var list []hashed
	for name := range names {
		list = append(list, hashed{dns.HashName(name, dns.SHA1, z.Iterations, z.Salt), name})
	}
	slices.SortFunc(list, func(a, b hashed) int { return strings.Compare(a.hash, b.hash) })
	flags := uint8(0)
	if z.OptOut {
		flags = 1
	}
	for i, h := range list {
		owner := strings.ToLower(h.hash) + "." + z.Name
		if z.Name == "." {
			owner = strings.ToLower(h.hash) + "."
		}
		z.denials = append(z.denials, &dns.NSEC3{
			Hdr:  dns.RR_Header{Name: owner, Rrtype: dns.TypeNSEC3, Class: dns.ClassINET, Ttl: 60},
			Hash: dns.SHA1, Flags: flags, Iterations: z.Iterations, SaltLength: uint8(len(z.Salt) / 2), Salt: z.Salt,
			HashLength: 20, NextDomain: list[(i+1)%len(list)].hash, TypeBitMap: z.types(h.name),
		})
	}
}

// CompareNames is the canonical order of names without odd bytes.
func CompareNames(a, b string) int {
	la, lb := dns.SplitDomainName(a), dns.SplitDomainName(b)
	slices.Reverse(la)
	slices.Reverse(lb)
	return slices.Compare(la, lb)
}

// Denials are all that the zone says of what is not in it.
func (z *Zone) Denials() []dns.RR { return z.denials }

func (z *Zone) encloser(name string) string {
	for n := nameAbove(name); ; n = nameAbove(n) {
		if z.exists(n) {
			return n
		}
	}
}

func suffixOf(name string, labels int) string {
	at := dns.Split(name)
	return name[at[len(at)-labels]:]
}

func (z *Zone) nothing(m *dns.Msg, name, encloser, wildcard string) {
	z.put(&m.Ns, z.Name, dns.TypeSOA, z.Name)
	if z.NSEC3 {
		z.match(m, encloser)
		z.deny(m, suffixOf(name, dns.CountLabel(encloser)+1))
	} else {
		z.deny(m, name)
	}
	z.deny(m, wildcard)
}

// match adds what says which types a name has, or what else there is to say of it.
func (z *Zone) match(m *dns.Msg, name string) {
	for _, rr := range z.denials {
		switch n := rr.(type) {
		case *dns.NSEC:
			if n.Hdr.Name == name {
				z.put(&m.Ns, name, dns.TypeNSEC, name)
				return
			}
		case *dns.NSEC3:
			if n.Match(name) {
				z.put(&m.Ns, n.Hdr.Name, dns.TypeNSEC3, n.Hdr.Name)
				return
			}
		}
	}
	if !z.NSEC3 { // an empty non-terminal
		z.deny(m, name)
		return
	}
	next := name // an unsigned delegation that opted out
	for n := nameAbove(name); dns.IsSubDomain(z.Name, n); n = nameAbove(n) {
		if slices.ContainsFunc(z.denials, func(rr dns.RR) bool { return rr.(*dns.NSEC3).Match(n) }) {
			z.match(m, n)
			z.deny(m, next)
			return
		}
		next = n
	}
}

// deny adds what says that there is no such name.
func (z *Zone) deny(m *dns.Msg, name string) {
	for _, rr := range z.denials {
		switch n := rr.(type) {
		case *dns.NSEC:
			after, last := CompareNames(n.Hdr.Name, name) < 0, n.NextDomain == z.Name
			if after && (last || CompareNames(name, n.NextDomain) < 0) {
				z.put(&m.Ns, n.Hdr.Name, dns.TypeNSEC, n.Hdr.Name)
				return
			}
		case *dns.NSEC3:
			if n.Cover(name) {
				z.put(&m.Ns, n.Hdr.Name, dns.TypeNSEC3, n.Hdr.Name)
				return
			}
		}
	}
}
