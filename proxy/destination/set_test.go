package destination

import (
	"net/netip"
	"testing"

	"schoolgate/internal/inside"
)

// TestDestinations: T2. Every range of the inside is refused, at its first and
// last address, unless the school lists it.
func TestDestinations(t *testing.T) {
	d, err := New(nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range inside.Ranges() {
		last := p.Addr().AsSlice()
		for i := p.Bits(); i < len(last)*8; i++ {
			last[i/8] |= 0x80 >> (i % 8)
		}
		end, _ := netip.AddrFromSlice(last)
		for _, a := range []netip.Addr{p.Addr(), end} {
			if d.Permitted(a) {
				t.Errorf("%s of %s is permitted", a, p)
			}
		}
	}
	for _, s := range []string{"8.8.8.8", "1.1.1.1", "198.51.100.2", "2606:4700::1111", "2001:db8:77::2", "172.32.0.1", "100.128.0.1", "11.0.0.0"} {
		if !d.Permitted(netip.MustParseAddr(s)) {
			t.Errorf("%s is not permitted", s)
		}
	}
	if d.Permitted(netip.Addr{}) || d.Permitted(netip.MustParseAddr("fe80::1%eth0")) {
		t.Error("no address, or one with a zone, is permitted")
	}
}

// TestListedDestinations: a listed range opens, but never the box's own address
// in it: that must be listed alone.
func TestListedDestinations(t *testing.T) {
	own := netip.MustParseAddr("10.0.0.1")
	for _, c := range []struct {
		allowed, addr string
		want          bool
	}{
		{"10.0.0.0/8", "10.9.9.9", true},
		{"10.0.0.7/8", "10.9.9.9", true}, // written with host bits
		{"10.0.0.0/8", "10.0.0.1", false},
		{"10.0.0.1/32", "10.0.0.1", true},
		{"10.0.0.1/32", "10.0.0.2", false},
		{"127.0.0.0/8", "127.0.0.1", true},
		{"10.0.0.0/8", "::ffff:10.9.9.9", false},
		{"fd00::/8", "fd12::1", true},
		{"0.0.0.0/0", "fd12::1", false},
	} {
		d, err := New([]netip.Prefix{netip.MustParsePrefix(c.allowed)})
		if err != nil {
			t.Fatal(err)
		}
		d.own.Store(&map[netip.Addr]bool{own: true})
		if got := d.Permitted(netip.MustParseAddr(c.addr)); got != c.want {
			t.Errorf("with %s listed, permitted(%s) = %v, want %v", c.allowed, c.addr, got, c.want)
		}
	}
	d, err := New(nil)
	if err != nil {
		t.Fatal(err)
	}
	public := netip.MustParseAddr("203.0.113.7")
	d.own.Store(&map[netip.Addr]bool{public: true})
	if d.Permitted(public) {
		t.Error("the box's own public address is permitted")
	}
}

// A school's networks often have public addresses over IPv6: the proxy leads from
// one of them into none, unless the school opened it.
func TestSchoolsOwnNetworks(t *testing.T) {
	school := netip.MustParsePrefix("2001:db8:7003::/64")
	staff, outside := netip.MustParseAddr("2001:db8:7003::7"), netip.MustParseAddr("2001:db8:7004::7")
	shut, err := New(nil, school)
	if err != nil {
		t.Fatal(err)
	}
	opened, err := New([]netip.Prefix{netip.PrefixFrom(staff, 128)}, school)
	if err != nil {
		t.Fatal(err)
	}
	if shut.Permitted(staff) || !shut.Permitted(outside) || !opened.Permitted(staff) {
		t.Errorf("permitted(staff) = %t, %t once listed; permitted(outside) = %t; want false, true, true",
			shut.Permitted(staff), opened.Permitted(staff), shut.Permitted(outside))
	}
}
