package destination

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sync/atomic"

	"schoolgate/internal/inside"
)

// Set says which addresses may be dialled.
type Set struct {
	allowed []netip.Prefix
	school  []netip.Prefix                      // the school's own, whatever kind of address they have
	own     atomic.Pointer[map[netip.Addr]bool] // the box's addresses, loopback apart
}

// New opens ranges of the inside, and names those that are the school's own whatever
// kind of address they have. It reads the addresses of the box.
func New(allowed []netip.Prefix, school ...netip.Prefix) (*Set, error) {
	d := &Set{school: school}
	for _, p := range allowed {
		d.allowed = append(d.allowed, p.Masked())
	}
	return d, d.Refresh()
}

// Refresh reads the box's own addresses anew. If they cannot be read the last
// known ones stay.
func (d *Set) Refresh() error {
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

// Listed reports whether the school opened the range that holds a. The box's own
// addresses must be listed alone: a range of the intranet does not open the
// console.
func (d *Set) Listed(a netip.Addr) bool {
	own := d.isOwn(a)
	for _, p := range d.allowed {
		if p.Contains(a) && (!own || p.IsSingleIP()) {
			return true
		}
	}
	return false
}

func (d *Set) isOwn(a netip.Addr) bool {
	own := d.own.Load()
	return own != nil && (*own)[a]
}

// Permitted reports whether a may be dialled.
func (d *Set) Permitted(a netip.Addr) bool {
	a = a.WithZone("")
	if !a.IsValid() {
		return false
	}
	if d.Listed(a) {
		return true
	}
	if d.isOwn(a) {
		return false
	}
	holds := func(p netip.Prefix) bool { return p.Contains(a) }
	return !inside.Holds(a) && !slices.ContainsFunc(d.school, holds)
}

// PermittedOf keeps what may be dialled, and says whether the school listed all
// of it. Of mixed answers only the permitted addresses are used.
func (d *Set) PermittedOf(addrs []netip.Addr) (kept []netip.Addr, listed bool) {
	listed = true
	for _, a := range addrs {
		if d.Permitted(a) {
			kept = append(kept, a.WithZone(""))
			listed = listed && d.Listed(a)
		}
	}
	return kept, listed && len(kept) > 0
}

// ErrForbidden is what an address that may not be dialled is refused with.
var ErrForbidden = errors.New("no permitted address")

// Look is Permitted as an error.
func (d *Set) Look(a netip.Addr) error {
	if !d.Permitted(a) {
		return fmt.Errorf("%w: %v", ErrForbidden, a)
	}
	return nil
}
