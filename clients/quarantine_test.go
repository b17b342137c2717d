package clients

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"testing"
)

// A quarantine cuts off the device it means, by whichever address, and nobody
// else; it never frees one that the register cuts off (R29).
func TestCutOff(t *testing.T) {
	table := school(t)
	at := netip.MustParseAddr
	cut := table.CutOff(Quarantine{
		Devices: []string{"tablet-1"}, Addresses: []netip.Addr{at("10.2.15.77")}, Hardware: []net.HardwareAddr{hw(t, "02:00:5e:10:64:01")},
	})
	for _, c := range []struct {
		name, addr string
		want       bool
	}{
		{"the device by IPv4", "10.2.15.21", true},
		{"the device by IPv6", "fd00::21", true},
		{"an address", "10.2.15.77", true},
		{"the same, written as IPv6", "::ffff:10.2.15.77", true},
		{"an address beside it", "10.2.15.78", false},
		{"a hardware address", "10.2.15.20", true},
		{"another device", "10.2.15.99", false},
		{"the register's own quarantine", "10.2.15.8", true},
		{"nobody known", "192.0.2.1", false},
	} {
		who := cut.Identify(at(c.addr))
		if who.Quarantined != c.want {
			t.Errorf("%s (%s): cut off %v, want %v", c.name, c.addr, who.Quarantined, c.want)
		}
		if was := table.Identify(at(c.addr)); was.Group != who.Group || was.Device != who.Device || was.Addr != who.Addr {
			t.Errorf("%s: %+v became %+v", c.name, was, who)
		}
	}
	// What a packet filter can know them by holds all of them, and none of the others.
	known := cut.Known()
	for _, a := range []string{"10.2.15.21", "fd00::21", "10.2.15.77", "10.2.15.20", "10.2.15.8"} {
		if !slices.Contains(known.Addresses, at(a)) {
			t.Errorf("Known has no %s: %+v", a, known)
		}
	}
	for _, a := range []string{"10.2.15.78", "10.2.15.99"} {
		if slices.Contains(known.Addresses, at(a)) {
			t.Errorf("Known has %s, which is not cut off", a)
		}
	}
	hardware := fmt.Sprint(known.Hardware) // of the register's, of the quarantine's
	if hardware != "[02:00:5e:10:06:01 02:00:5e:10:64:01]" || known.All {
		t.Errorf("Known = %+v", known)
	}
	if own := table.Known(); !slices.Contains(own.Addresses, at("10.2.15.8")) || slices.Contains(own.Addresses, at("10.2.15.77")) {
		t.Errorf("the register's own: %+v", own)
	}
	all := table.CutOff(Quarantine{All: true})
	if !all.Known().All {
		t.Error("all are cut off, and Known does not say so")
	}
	if !all.Identify(at("192.0.2.1")).Quarantined {
		t.Error("all are cut off, and one is not")
	}
	if h, ok := table.Hardware(at("10.2.15.20")); !ok || h.String() != "02:00:5e:10:64:01" {
		t.Errorf("Hardware = %s, %v", h, ok)
	}
}
