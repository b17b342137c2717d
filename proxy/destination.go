package proxy

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sync/atomic"

	"schoolgate/internal/inside"
)

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
	return !inside.Holds(a) && !slices.ContainsFunc(d.school, holds)
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
