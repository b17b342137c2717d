package clients

import (
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"

	"schoolgate/policy"
)

func hw(t testing.TB, s string) net.HardwareAddr {
	t.Helper()
	m, err := net.ParseMAC(s)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func newTable(t testing.TB, members ...Member) *Table {
	t.Helper()
	none := func() ([]Neighbour, error) { return nil, nil }
	table, err := New(members, Options{ReadIPv4: none, ReadIPv6: none})
	if err != nil {
		t.Fatal(err)
	}
	return table
}

// setNeighbours puts devices on the network as if the kernel had seen them.
func setNeighbours(t testing.TB, table *Table, at map[string]string) {
	t.Helper()
	found := map[netip.Addr]mac{}
	for a, m := range at {
		found[netip.MustParseAddr(a)] = mac(hw(t, m))
	}
	table.neighbours.Store(&found)
}

// school is a school with every way of being known.
func school(t testing.TB) *Table {
	table := newTable(t,
		Member{Group: "school", Prefix: netip.MustParsePrefix("10.2.0.0/16")},
		Member{Group: "year5", Prefix: netip.MustParsePrefix("10.2.15.0/24")},
		Member{Group: "year5", Prefix: netip.MustParsePrefix("fd00:2:15::/64")},
		Member{Group: "staff", MAC: hw(t, "02:00:5e:10:64:01")},
		Member{Group: "year6", MAC: hw(t, "02:00:5e:10:06:01")},
		Member{Group: "year6", Device: "tablet-1", MAC: hw(t, "02:00:5e:10:06:01"), Unsigned: true},
		Member{Group: "year3", Device: "board", Prefix: netip.MustParsePrefix("10.2.15.9/32")},
		Member{Group: "year4", Device: "lost", Prefix: netip.MustParsePrefix("10.2.15.8/32"), Quarantined: true},
	)
	setNeighbours(t, table, map[string]string{
		"10.2.15.20": "02:00:5e:10:64:01", // a head's laptop on a classroom network
		"10.2.15.21": "02:00:5e:10:06:01",
		"fd00::21":   "02:00:5e:10:06:01",
		"10.2.15.9":  "02:00:5e:10:64:01", // the board's address with a staff laptop's hardware
		"10.2.15.30": "02:00:5e:99:99:99", // a device that is in no list
	})
	return table
}

func TestIdentify(t *testing.T) { // R7, S8
	table := school(t)
	for _, tt := range []struct {
		promise, addr string
		want          policy.Client
	}{
		{"longest range", "10.2.15.7", policy.Client{Group: "year5"}},
		{"wider range", "10.2.99.7", policy.Client{Group: "school"}},
		{"IPv6 range", "fd00:2:15::7", policy.Client{Group: "year5"}},
		{"IPv4 mapped into IPv6", "::ffff:10.2.15.7", policy.Client{Group: "year5"}},
		{"a zone is not part of who it is", "fd00:2:15::7%eth0", policy.Client{Group: "year5"}},
		{"group by hardware beats range", "10.2.15.20", policy.Client{Group: "staff"}},
		{"device by hardware beats group by hardware", "10.2.15.21", policy.Client{Group: "year6", Device: "tablet-1", Unsigned: true}},
		{"a device's other address", "fd00::21", policy.Client{Group: "year6", Device: "tablet-1", Unsigned: true}},
		{"device by address beats hardware", "10.2.15.9", policy.Client{Group: "year3", Device: "board"}},
		{"quarantine is carried", "10.2.15.8", policy.Client{Group: "year4", Device: "lost", Quarantined: true}},
		{"hardware in no list changes nothing", "10.2.15.30", policy.Client{Group: "year5"}},
		{"unknown", "192.0.2.1", policy.Client{}},
	} {
		addr := netip.MustParseAddr(tt.addr)
		tt.want.Addr = addr.Unmap().WithZone("")
		if diff := cmp.Diff(tt.want, table.Identify(addr), cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); diff != "" {
			t.Errorf("%s: Identify(%s): -want +got\n%s", tt.promise, tt.addr, diff)
		}
	}
}

func TestContradictionsAreRefused(t *testing.T) {
	at := func(line int) policy.Pos { return policy.Pos{File: "policy.yaml", Line: line} }
	p := netip.MustParsePrefix("10.2.0.0/24")
	one := netip.MustParsePrefix("10.2.0.7/32")
	m := hw(t, "02:00:5e:10:06:01")
	for _, tt := range []struct {
		members []Member
		want    string
	}{
		{[]Member{{Group: "a", Prefix: p}, {Group: "b", Prefix: p, Rule: at(7)}}, `policy.yaml:7: group "b": 10.2.0.0/24 already belongs to group "a"`},
		{[]Member{{Group: "a", Device: "x", Prefix: one}, {Group: "a", Device: "y", Prefix: one, Rule: at(8)}}, `policy.yaml:8: device "y": 10.2.0.7 already belongs to device "x"`},
		{[]Member{{Group: "a", MAC: m}, {Group: "b", MAC: m, Rule: at(9)}}, `policy.yaml:9: group "b" 02:00:5e:10:06:01: it already belongs to group "a"`},
		{[]Member{{Group: "a", Device: "x", MAC: m}, {Group: "a", Device: "y", MAC: m, Rule: at(9)}}, `policy.yaml:9: device "y" 02:00:5e:10:06:01: it already belongs to device "x"`},
		{[]Member{{Group: "a", Rule: at(3)}}, `policy.yaml:3: group "a": a member is known by an address or by a hardware address, not both`},
		{[]Member{{Prefix: p, Rule: at(3)}}, `policy.yaml:3: a member without a group`},
		{[]Member{{Group: "a", Device: "x", Prefix: p, Rule: at(3)}}, `policy.yaml:3: device "x": 10.2.0.0/24 is more than one address`},
		{[]Member{{Group: "a", MAC: m[:4], Rule: at(3)}}, `policy.yaml:3: group "a": hardware address 02:00:5e:10: want six bytes`},
	} {
		if _, err := New(tt.members, Options{}); err == nil || err.Error() != tt.want {
			t.Errorf("New(%v) = %v, want %s", tt.members, err, tt.want)
		}
	}
}

func TestAllContradictionsAreReportedAtOnce(t *testing.T) {
	_, err := New([]Member{{}, {Group: "a"}, {}}, Options{})
	if got := len(strings.Split(fmt.Sprint(err), "\n")); got != 3 {
		t.Errorf("New reports %d problems, want 3: %v", got, err)
	}
}

func TestARebuiltTableKeepsCounting(t *testing.T) {
	r := prometheus.NewRegistry()
	for range 2 {
		if _, err := New(nil, Options{Metrics: r}); err != nil {
			t.Fatal(err)
		}
	}
}

// large is a table with 2,000 ranges, 500 devices and 1,000 neighbours.
func large(t testing.TB) *Table {
	var members []Member
	for i := range 2000 {
		p := netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(i >> 8), byte(i), 0}), 24)
		members = append(members, Member{Group: fmt.Sprint("g", i%40), Prefix: p})
	}
	for i := range 500 {
		members = append(members, Member{Group: "g1", Device: fmt.Sprint("d", i), MAC: net.HardwareAddr{2, 0, 0, 0, byte(i >> 8), byte(i)}})
	}
	table := newTable(t, members...)
	found := map[netip.Addr]mac{}
	for i := range 1000 {
		found[netip.AddrFrom4([4]byte{10, 1, byte(i >> 8), byte(i)})] = mac{2, 0, 0, 0, byte(i >> 8), byte(i)}
	}
	table.neighbours.Store(&found)
	return table
}

func TestIdentifyAllocatesNothing(t *testing.T) {
	table := large(t)
	for _, s := range []string{"10.0.7.9", "10.1.0.9", "::ffff:10.0.7.9", "fd00::1", "192.0.2.1"} {
		addr := netip.MustParseAddr(s)
		if n := testing.AllocsPerRun(100, func() { table.Identify(addr) }); n != 0 {
			t.Errorf("Identify(%s) allocates %v times, want 0", s, n)
		}
	}
}

func BenchmarkIdentify(b *testing.B) {
	table := large(b)
	for _, tt := range []struct{ name, addr string }{{"range", "10.0.7.9"}, {"device", "10.1.0.9"}, {"unknown", "192.0.2.1"}} {
		addr := netip.MustParseAddr(tt.addr)
		b.Run(tt.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				table.Identify(addr)
			}
		})
	}
}
