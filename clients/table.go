// Package clients says who is behind an address: a device of the register, a
// group, or nobody known. The nearest knowledge wins:
//
//  1. a device by its address
//  2. a device by its hardware address
//  3. a group by hardware address
//  4. a group by the longest address range
//
// Hardware addresses come from the kernel's neighbour table, which holds only
// devices on the same network as the box, and an entry is believed for a limited
// time: an address that changes hands must not carry a teacher's profile with it
// (RELIABILITY T20). Two addresses of one device (IPv4 and IPv6) are the same
// device; two devices that show one hardware address, as behind a repeater, are
// one to us, and a forged one is believed: staff belong on a network of their own.
//
// It never guesses and never asks a client: X-Forwarded-For and names that
// devices give themselves are not looked at. Whoever is not known gets a Client
// without a group, which package policy treats most strictly.
package clients

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync/atomic"

	"github.com/gaissmai/bart"

	"schoolgate/policy"
)

// Member says that whoever is at an address or has a hardware address is in a
// group, and which device it is. Exactly one of Prefix and MAC is set.
type Member struct {
	Group, Device string // Device is "" for anyone of the group
	Prefix        netip.Prefix
	MAC           net.HardwareAddr
	Quarantined   bool // cut off while an incident is open (R29)
	Unsigned      bool // no signed acceptable-use policy on record (R64)
	Rule          policy.Pos
}

// mac is a hardware address as a key.
type mac [6]byte

// Table is who is where: the members, which never change, and the neighbours,
// which Run keeps up. Identifying allocates nothing and takes no lock.
type Table struct {
	devices map[netip.Addr]policy.Client
	byMAC   map[mac]policy.Client // a device's entry has replaced its group's
	ranges  *bart.Table[string]   // to the group

	neighbours atomic.Pointer[map[netip.Addr]mac]
	watch      watch
}

// New builds a table. Members that contradict each other are an error that holds
// a [policy.Problem] for each.
func New(members []Member, o Options) (*Table, error) {
	t := &Table{
		devices: map[netip.Addr]policy.Client{}, byMAC: map[mac]policy.Client{}, ranges: &bart.Table[string]{},
		watch: newWatch(o),
	}
	t.neighbours.Store(&map[netip.Addr]mac{})
	var errs []error
	for _, m := range members {
		if trouble := t.add(m); trouble != "" {
			errs = append(errs, policy.Problem{Pos: m.Rule, Text: trouble})
		}
	}
	if len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	return t, nil
}

// add places one member and says what is wrong with it, "" for nothing.
func (t *Table) add(m Member) string {
	switch {
	case m.Group == "":
		return "a member without a group"
	case m.Prefix.IsValid() == (m.MAC != nil):
		return fmt.Sprintf("group %q: a member is known by an address or by a hardware address, not both", m.Group)
	case m.MAC != nil && len(m.MAC) != len(mac{}):
		return fmt.Sprintf("group %q: hardware address %s: want six bytes", m.Group, m.MAC)
	case m.MAC != nil:
		return t.addMAC(m)
	}
	p := netip.PrefixFrom(m.Prefix.Addr(), m.Prefix.Bits()).Masked()
	if a := p.Addr(); a.Is4In6() {
		return fmt.Sprintf("group %q: %s: write it as IPv4", m.Group, p)
	}
	if m.Device != "" {
		if !p.IsSingleIP() {
			return fmt.Sprintf("device %q: %s is more than one address", m.Device, p)
		}
		if prev, taken := t.devices[p.Addr()]; taken {
			return fmt.Sprintf("device %q: %s already belongs to device %q", m.Device, p.Addr(), prev.Device)
		}
		t.devices[p.Addr()] = m.client()
		return ""
	}
	if prev, taken := t.ranges.Get(p); taken {
		return fmt.Sprintf("group %q: %s already belongs to group %q", m.Group, p, prev)
	}
	t.ranges.Insert(p, m.Group)
	return ""
}

// addMAC places a hardware address; a device of the register outranks a group.
func (t *Table) addMAC(m Member) string {
	prev, taken := t.byMAC[mac(m.MAC)]
	switch {
	case taken && (prev.Device == "") == (m.Device == ""):
		return fmt.Sprintf("%s %s: it already belongs to %s", m.who(), m.MAC, who(prev.Group, prev.Device))
	case taken && m.Device == "":
		return "" // the device was written first
	}
	t.byMAC[mac(m.MAC)] = m.client()
	return ""
}

func (m Member) who() string { return who(m.Group, m.Device) }

func who(group, device string) string {
	if device != "" {
		return fmt.Sprintf("device %q", device)
	}
	return fmt.Sprintf("group %q", group)
}

func (m Member) client() policy.Client {
	return policy.Client{Device: m.Device, Group: m.Group, Quarantined: m.Quarantined, Unsigned: m.Unsigned}
}

// Identify says who is at an address. It implements [policy.Identifier].
func (t *Table) Identify(addr netip.Addr) policy.Client {
	addr = addr.Unmap()
	if addr.Zone() != "" {
		addr = addr.WithZone("")
	}
	if c, ok := t.devices[addr]; ok {
		c.Addr = addr
		return c
	}
	if m, ok := (*t.neighbours.Load())[addr]; ok {
		if c, ok := t.byMAC[m]; ok {
			c.Addr = addr
			return c
		}
	}
	group, _ := t.ranges.Lookup(addr) // "" for an address in no range
	return policy.Client{Addr: addr, Group: group}
}
