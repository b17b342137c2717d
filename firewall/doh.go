package firewall

import (
	"bufio"
	"fmt"
	"io"
	"net/netip"
	"strings"
)

// maxAddresses bounds a file of addresses.
const maxAddresses = 200_000

// notPublic are ranges that lists of addresses hold by mistake. Refusing them
// would cut the school's own network off.
var notPublic = []netip.Prefix{
	netip.MustParsePrefix("0.0.0.0/8"), netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("100.64.0.0/10"),
	netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("169.254.0.0/16"), netip.MustParsePrefix("172.16.0.0/12"),
	netip.MustParsePrefix("192.168.0.0/16"), netip.MustParsePrefix("224.0.0.0/3"),
	netip.MustParsePrefix("::/8"), netip.MustParsePrefix("fc00::/7"), netip.MustParsePrefix("fe80::/10"), netip.MustParsePrefix("ff00::/8"),
}

// ReadAddresses reads a list of addresses and ranges, one a line; # begins a
// comment. Ranges that are not public, or wider than /16 (IPv6: /32), are passed
// over and counted.
func ReadAddresses(r io.Reader) (list []netip.Prefix, passedOver int, err error) {
	lines := bufio.NewScanner(r)
	for n := 1; lines.Scan(); n++ {
		field, _, _ := strings.Cut(lines.Text(), "#")
		field = strings.TrimSpace(field)
		if field == "" {
			continue
		}
		p, err := parseRange(field)
		if err != nil {
			return nil, 0, fmt.Errorf("line %d: bad address %.80q", n, field)
		}
		if !usable(p) {
			passedOver++
			continue
		}
		if list = append(list, p); len(list) > maxAddresses {
			return nil, 0, fmt.Errorf("line %d: more than %d addresses", n, maxAddresses)
		}
	}
	return list, passedOver, lines.Err()
}

func parseRange(s string) (netip.Prefix, error) {
	if a, err := netip.ParseAddr(s); err == nil && a.Zone() == "" {
		a = a.Unmap()
		return netip.PrefixFrom(a, a.BitLen()), nil
	}
	p, err := netip.ParsePrefix(s)
	if err == nil && p.Addr().Is4In6() {
		err = fmt.Errorf("bad range %q", s)
	}
	return p.Masked(), err
}

func usable(p netip.Prefix) bool {
	widest := 16
	if p.Addr().Is6() {
		widest = 32
	}
	if p.Bits() < widest {
		return false
	}
	for _, n := range notPublic {
		if n.Overlaps(p) {
			return false
		}
	}
	return true
}
