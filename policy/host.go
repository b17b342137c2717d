package policy

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
)

// Host is a host in canonical form: a lower-case ASCII name (A-labels, no
// trailing dot) or an IP address. Only [ParseHost] makes one, so two hosts are
// the same exactly if they compare equal.
type Host struct {
	name string
	addr netip.Addr // valid if the host is an address
}

// ErrBadHost is what every refusal of ParseHost wraps.
var ErrBadHost = errors.New("not a host")

// The bounds of a name, in bytes (RFC 1035 section 2.3.4).
const (
	MaxHost  = 253
	maxLabel = 63

	maxRawHost = 1 << 10 // no spelling of a host needs more
)

// ParseHost reads a host as a browser would (WHATWG URL, host parsing), so that
// every spelling of a host meets the same list entry: any case, %-escapes, full
// width, ideographic dots, soft hyphens, punycode, one trailing dot, IPv4 in
// octal, hex, one number or short, IPv6 with or without brackets, and IPv4
// inside IPv6.
//
// It is stricter than a browser where the strictness costs no real site: a name
// holds letters, digits, "-" and "_" only, within the lengths the DNS carries;
// an address has no zone. A name that is canonical already is returned as it is,
// without a copy.
func ParseHost(raw string) (Host, error) {
	if name := strings.TrimSuffix(raw, "."); plainName(name) {
		return Host{name: name}, nil
	}
	h, trouble := readHost(raw)
	if trouble != "" {
		return Host{}, fmt.Errorf("%w: %s: %s", ErrBadHost, quoted(raw), trouble)
	}
	return h, nil
}

// String is the canonical form; an IPv6 address has no brackets.
func (h Host) String() string { return h.name }

// IsZero reports whether h is no host at all.
func (h Host) IsZero() bool { return h.name == "" }

// Addr is the address, if the host is one.
func (h Host) Addr() (netip.Addr, bool) { return h.addr, h.addr.IsValid() }

// Within reports whether h is parent or lies below it.
func (h Host) Within(parent Host) bool {
	if h == parent {
		return true
	}
	if h.addr.IsValid() || parent.addr.IsValid() || parent.name == "" {
		return false
	}
	rest, ok := strings.CutSuffix(h.name, parent.name)
	return ok && strings.HasSuffix(rest, ".")
}

// Parent is the name one label up. An address and a name of one label have none.
func (h Host) Parent() (Host, bool) {
	if h.addr.IsValid() {
		return Host{}, false
	}
	_, up, ok := strings.Cut(h.name, ".")
	return Host{name: up}, ok
}

// quoted is hostile input made fit for an error message.
func quoted(raw string) string {
	const enough = 80
	if len(raw) > enough {
		return fmt.Sprintf("%q...", raw[:enough])
	}
	return fmt.Sprintf("%q", raw)
}
