// Package inside says which addresses are not the public internet: whoever lets a name
// from outside decide where to connect reaches them only if the school lists them (T2).
package inside

import (
	"net/netip"
	"slices"
)

// ranges are all of them. Documentation ranges are not here: they lead nowhere, and labs
// use them as their internet.
var ranges = func() (list []netip.Prefix) {
	for _, s := range []string{
		"0.0.0.0/8",      // unspecified, "this host"
		"10.0.0.0/8",     // private
		"100.64.0.0/10",  // shared by carriers (CGNAT)
		"127.0.0.0/8",    // loopback
		"169.254.0.0/16", // link-local, cloud metadata
		"172.16.0.0/12",  // private
		"192.0.0.0/24",   // protocol assignments
		"192.88.99.0/24", // 6to4 relays
		"192.168.0.0/16", // private
		"198.18.0.0/15",  // benchmarking of inside networks
		"224.0.0.0/4",    // multicast
		"240.0.0.0/4",    // reserved, broadcast
		"::/96",          // unspecified, loopback, v4-compatible
		"::ffff:0:0/96",  // v4-mapped: no resolver has a reason to answer so
		"64:ff9b::/96",   // NAT64
		"64:ff9b:1::/48", // NAT64, local
		"100::/64",       // discard
		"2001::/23",      // Teredo and other tunnels
		"2002::/16",      // 6to4
		"fc00::/7",       // unique local
		"fe80::/10",      // link-local
		"fec0::/10",      // site-local
		"ff00::/8",       // multicast
	} {
		list = append(list, netip.MustParsePrefix(s))
	}
	return list
}()

// Holds reports whether an address, without its zone, is of the inside. An IPv4 address
// in IPv6 clothes is: unmap it first where it is to be seen as what it stands for.
func Holds(a netip.Addr) bool {
	return slices.ContainsFunc(ranges, func(p netip.Prefix) bool { return p.Contains(a) })
}

// Ranges are all of them.
func Ranges() []netip.Prefix { return slices.Clone(ranges) }
