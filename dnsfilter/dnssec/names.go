package dnssec

import (
	"bytes"
	"strings"

	"github.com/miekg/dns"
)

// Names here are as miekg/dns writes what it has read: fully qualified, with odd
// bytes escaped, and in lower case. So two are the same if their strings are.

// canon is a name in that form.
func canon(name string) string { return strings.ToLower(dns.Fqdn(name)) }

// encloses reports whether name is zone or lies below it.
func encloses(zone, name string) bool { return dns.IsSubDomain(zone, name) }

// below reports whether name lies below zone and is not zone itself.
func below(zone, name string) bool { return zone != name && encloses(zone, name) }

// parent is the name without its first label; the root's is the root.
func parent(name string) string {
	if at, end := dns.NextLabel(name, 0); !end {
		return name[at:]
	}
	return "."
}

// suffix is the last n labels of a name.
func suffix(name string, n int) string {
	if n == 0 {
		return "."
	}
	labels := dns.Split(name)
	if n >= len(labels) {
		return name
	}
	return name[labels[len(labels)-n]:]
}

// common is how many labels two names have in common, from the right.
func common(a, b string) int { return dns.CompareDomainName(a, b) }

// wildcard is the wildcard of a name. Where there is no room for it, it is no name, and
// nothing proves anything of it.
func wildcard(name string) string { return "*." + strings.TrimPrefix(name, ".") }

// compare orders names as zones do (RFC 4034 section 6.1): by the last label first,
// as bytes. It is false for what is no name.
func compare(a, b string) (order int, ok bool) {
	var memoryA, memoryB [256]byte
	la, okA := labels(memoryA[:], a)
	lb, okB := labels(memoryB[:], b)
	if !okA || !okB {
		return 0, false
	}
	for i := 1; i <= len(la) && i <= len(lb); i++ {
		if c := bytes.Compare(la[len(la)-i], lb[len(lb)-i]); c != 0 {
			return c, true
		}
	}
	return len(la) - len(lb), true
}

// labels are the bytes of each label.
func labels(memory []byte, name string) ([][]byte, bool) {
	n, err := dns.PackDomainName(name, memory, 0, nil, false)
	if err != nil {
		return nil, false
	}
	var list [][]byte
	for wire := memory[:n]; wire[0] != 0; wire = wire[1+wire[0]:] {
		list = append(list, bytes.ToLower(wire[1:1+wire[0]]))
	}
	return list, true
}
