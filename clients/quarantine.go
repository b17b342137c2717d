package clients

import (
	"maps"
	"net"
	"net/netip"
	"slices"

	"schoolgate/policy"
)

// Quarantine is the devices that are cut off besides those of the register (R29).
type Quarantine struct {
	All       bool // every client is: who is meant cannot be read
	Devices   []string
	Addresses []netip.Addr
	Hardware  []net.HardwareAddr
}

// Cut is the table with devices cut off. It implements [policy.Identifier].
type Cut struct {
	table     *Table
	all       bool
	devices   map[string]bool
	addresses map[netip.Addr]bool
	hardware  map[mac]bool
}

// CutOff is the table with a quarantine laid over it. What the register cuts off
// stays so.
func (t *Table) CutOff(q Quarantine) *Cut {
	c := &Cut{
		table: t, all: q.All,
		devices: map[string]bool{}, addresses: map[netip.Addr]bool{}, hardware: map[mac]bool{},
	}
	for _, d := range q.Devices {
		c.devices[d] = true
	}
	for _, a := range q.Addresses {
		c.addresses[a.Unmap().WithZone("")] = true
	}
	for _, h := range q.Hardware {
		if len(h) == len(mac{}) {
			c.hardware[mac(h)] = true
		}
	}
	return c
}

// Identify says who is at an address, and whether it is cut off.
func (c *Cut) Identify(addr netip.Addr) policy.Client {
	who := c.table.Identify(addr)
	who.Quarantined = who.Quarantined || c.all || c.devices[who.Device] || c.addresses[who.Addr] || c.shows(who.Addr)
	return who
}

// shows reports whether an address shows the hardware address of a device cut off.
func (c *Cut) shows(addr netip.Addr) bool {
	if len(c.hardware) == 0 {
		return false
	}
	m, ok := (*c.table.neighbours.Load())[addr]
	return ok && c.hardware[m]
}

// Hardware is the hardware address that a device on the same network shows; ok is
// false for an address that is not there, or farther away.
func (t *Table) Hardware(addr netip.Addr) (h net.HardwareAddr, ok bool) {
	m, ok := (*t.neighbours.Load())[addr.Unmap().WithZone("")]
	return m[:], ok
}

// Known is where the devices that are cut off can be known by a packet filter: all
// clients, or their addresses and hardware addresses as far as they are known now.
func (c *Cut) Known() Quarantine { return c.table.known(c) }

// Known is [Cut.Known] of what the register itself cuts off.
func (t *Table) Known() Quarantine { return t.known(&Cut{table: t}) }

func (t *Table) known(c *Cut) Quarantine {
	addresses, hardware := maps.Clone(c.addresses), maps.Clone(c.hardware)
	if addresses == nil {
		addresses, hardware = map[netip.Addr]bool{}, map[mac]bool{}
	}
	for a, who := range t.devices {
		if who.Quarantined || c.devices[who.Device] {
			addresses[a] = true
		}
	}
	for h, who := range t.byMAC {
		if who.Quarantined || who.Device != "" && c.devices[who.Device] {
			hardware[h] = true
		}
	}
	for a, h := range *t.neighbours.Load() {
		if hardware[h] {
			addresses[a] = true
		}
	}
	q := Quarantine{All: c.all, Addresses: slices.SortedFunc(maps.Keys(addresses), netip.Addr.Compare)}
	for h := range hardware {
		q.Hardware = append(q.Hardware, net.HardwareAddr(h[:]))
	}
	slices.SortFunc(q.Hardware, func(a, b net.HardwareAddr) int { return slices.Compare(a, b) })
	return q
}
