package clients

import (
	"net"
	"net/netip"
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
	all := table.CutOff(Quarantine{All: true})
	if !all.Identify(at("192.0.2.1")).Quarantined {
		t.Error("all are cut off, and one is not")
	}
	if h, ok := table.Hardware(at("10.2.15.20")); !ok || h.String() != "02:00:5e:10:64:01" {
		t.Errorf("Hardware = %s, %v", h, ok)
	}
}
