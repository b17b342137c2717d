package policy

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"

	"golang.org/x/net/idna"
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

// MaxHost is the longest name, in bytes (RFC 1035 section 2.3.4).
const MaxHost = 253

var lookupProfile = idna.New(idna.MapForLookup(), idna.BidiRule(), idna.CheckJoiners(true),
	idna.Transitional(false), idna.StrictDomainName(false), idna.CheckHyphens(false), idna.VerifyDNSLength(false))

// ParseHost reads a host as a browser would (WHATWG URL, host parsing).
func ParseHost(raw string) (Host, error) {
	name := strings.TrimSuffix(raw, ".")
	if addr, err := netip.ParseAddr(strings.Trim(name, "[]")); err == nil {
		addr = addr.Unmap().WithZone("")
		return Host{name: addr.String(), addr: addr}, nil
	}
	ascii, err := lookupProfile.ToASCII(name)
	if err != nil || ascii == "" || len(ascii) > MaxHost {
		return Host{}, fmt.Errorf("%w: %q", ErrBadHost, raw)
	}
	return Host{name: ascii}, nil
}

// String is the canonical form.
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
