package proxy

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sync/atomic"
)

// inside is every range that is not the public internet: an address in it is
// reached only if the school lists it (T2). Documentation ranges are not here:
// they lead nowhere, and labs use them as their internet.
var inside = func() []netip.Prefix {
	var list []netip.Prefix
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

// destinations says which addresses may be dialled.
type destinations struct {
	allowed []netip.Prefix
	school  []netip.Prefix                      // the school's own, whatever kind of address they have
	own     atomic.Pointer[map[netip.Addr]bool] // the box's addresses, loopback apart
}

func newDestinations(allowed []netip.Prefix, school ...netip.Prefix) (*destinations, error) {
	d := &destinations{school: school}
	for _, p := range allowed {
		d.allowed = append(d.allowed, p.Masked())
	}
	return d, d.refresh()
}

// refresh reads the box's own addresses anew. If they cannot be read the last
// known ones stay.
func (d *destinations) refresh() error {
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		return fmt.Errorf("own addresses: %w", err)
	}
	own := map[netip.Addr]bool{}
	for _, a := range addrs {
		if p, err := netip.ParsePrefix(a.String()); err == nil && !p.Addr().IsLoopback() {
			own[p.Addr().Unmap().WithZone("")] = true
		}
	}
	d.own.Store(&own)
	return nil
}

// listed reports whether the school opened the range that holds a. The box's own
// addresses must be listed alone: a range of the intranet does not open the
// console.
func (d *destinations) listed(a netip.Addr) bool {
	own := d.isOwn(a)
	for _, p := range d.allowed {
		if p.Contains(a) && (!own || p.IsSingleIP()) {
			return true
		}
	}
	return false
}

func (d *destinations) isOwn(a netip.Addr) bool {
	own := d.own.Load()
	return own != nil && (*own)[a]
}

// permitted reports whether a may be dialled.
func (d *destinations) permitted(a netip.Addr) bool {
	a = a.WithZone("")
	if !a.IsValid() {
		return false
	}
	if d.listed(a) {
		return true
	}
	if d.isOwn(a) {
		return false
	}
	holds := func(p netip.Prefix) bool { return p.Contains(a) }
	return !slices.ContainsFunc(inside, holds) && !slices.ContainsFunc(d.school, holds)
}

// permittedOf keeps what may be dialled, and says whether the school listed all
// of it. Of mixed answers only the permitted addresses are used.
func (d *destinations) permittedOf(addrs []netip.Addr) (kept []netip.Addr, listed bool) {
	listed = true
	for _, a := range addrs {
		if d.permitted(a) {
			kept = append(kept, a.WithZone(""))
			listed = listed && d.listed(a)
		}
	}
	return kept, listed && len(kept) > 0
}
