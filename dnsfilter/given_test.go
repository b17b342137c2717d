package dnsfilter

import (
	"fmt"
	"net/netip"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/miekg/dns"

	"schoolgate/dnsfilter/upstream"
	"schoolgate/policy"
)

// What a client was told is remembered for that client, until it ends and within
// its bound (item 6 of the issue: a connection without a name).
func TestGiven(t *testing.T) {
	g := newGiven(1 << 20)
	tablet, other := netip.MustParseAddr("10.2.0.7"), netip.MustParseAddr("10.2.0.8")
	one, two := netip.MustParseAddr("203.0.113.1"), netip.MustParseAddr("2001:db8::2")
	tell := func(client netip.Addr, name string, at time.Duration, addrs ...netip.Addr) {
		wire, _ := upstream.WireName(name)
		a := answer{client: client, name: wire, qtype: dns.TypeA, addrs: addrs, until: g.start.Add(at + time.Minute), clear: true}
		if !g.renew(&a) {
			g.add(&a)
		}
	}
	tell(tablet, "first.example", 0, one, two)
	tell(tablet, "second.example", 10*time.Second, one)
	tell(tablet, "first.example", 20*time.Second, two, one) // again, rotated
	tell(tablet, "other.example", 30*time.Second, two)
	tell(tablet, "first.example", 40*time.Second, two) // it has moved
	tell(other, "secret.example", 40*time.Second, one)
	for _, tc := range []struct {
		promise      string
		client, addr netip.Addr
		at           time.Duration
		want         []string
	}{
		{"the name told last comes first", tablet, one, time.Minute, []string{"first.example", "second.example"}},
		{"each address for itself, each name once", tablet, two, time.Minute, []string{"first.example", "other.example"}},
		{"another client's names are its own", other, one, time.Minute, []string{"secret.example"}},
		{"an address nobody was told", other, two, time.Minute, nil},
		{"an address lives a little longer than its time", tablet, one, time.Minute + 15*time.Second + givenGrace, []string{"first.example"}},
		{"and then no more", tablet, one, time.Minute + 25*time.Second + givenGrace, nil},
	} {
		if diff := cmp.Diff(tc.want, g.names(tc.client, tc.addr, g.start.Add(tc.at))); diff != "" {
			t.Errorf("%s: -want +got\n%s", tc.promise, diff)
		}
	}
	crowd := make([]netip.Addr, maxGiven+1)
	for i := range crowd {
		crowd[i] = netip.AddrFrom4([4]byte{203, 0, 113, byte(i)})
	}
	many := answer{client: tablet, name: []byte("\x04many\x07example\x00"), qtype: dns.TypeA, addrs: crowd, clear: true}
	g.add(&many)
	crowd[maxGiven] = two
	if g.renew(&many) {
		t.Error("an address beyond those that are kept is taken for judged")
	}
	for i := range 50_000 { // more than there is room for: the oldest go
		tell(tablet, fmt.Sprintf("name%d.example", i), time.Minute, one)
	}
	names := g.names(tablet, one, g.start.Add(time.Minute))
	if len(names) == 0 || len(names) > 2000 || names[len(names)-1] == "first.example" {
		t.Errorf("%d names of a client that asked for 50,000 in 1 MiB", len(names))
	}
	room := 0
	for i := range g.shards {
		room += cap(g.shards[i].young.bytes) + cap(g.shards[i].old.bytes)
	}
	if room > 1<<20 {
		t.Errorf("%d bytes are held, want at most 1 MiB", room)
	}
	if n := testing.AllocsPerRun(100, func() { tell(other, "secret.example", time.Minute, one) }); n > 2 { // the wire name of this test
		t.Errorf("telling again allocates %v times", n)
	}
}

// The door remembers what it answered, of plain, rewritten and HTTPS questions,
// and nothing of a blocked one.
func TestNamesOfTheDoor(t *testing.T) {
	d := openDoor(t, rules{"": allowed(), "casino.example": blocked(policy.Gambling), "www.google.com": safe(t, "forcesafesearch.google.com"), "yandex.example": safe(t, "213.180.193.56")}, nil,
		"open.example. 300 IN A 203.0.113.1", "open.example. 300 IN AAAA 2001:db8::1", "forcesafesearch.google.com. 300 IN A 216.239.38.120",
		`hint.example. 300 IN HTTPS 1 . alpn="h2" ipv4hint=203.0.113.1 ipv6hint=2001:db8::9`, "alias.example. 300 IN CNAME open.example.")
	for range 2 { // from upstream and from the cache
		d.ask(t, "open.example", dns.TypeA)
		d.ask(t, "Open.Example", dns.TypeAAAA)
		d.ask(t, "www.google.com", dns.TypeA)
		d.ask(t, "yandex.example", dns.TypeA)
		d.ask(t, "casino.example", dns.TypeA)
		d.ask(t, "hint.example", dns.TypeHTTPS)
		d.ask(t, "alias.example", dns.TypeA)
	}
	me := netip.MustParseAddr("::ffff:127.0.0.1")
	for addr, want := range map[string][]string{
		"203.0.113.1":    {"alias.example", "hint.example", "open.example"},
		"2001:db8::1":    {"open.example"},
		"2001:db8::9":    {"hint.example"},
		"216.239.38.120": {"www.google.com"},
		"213.180.193.56": {"yandex.example"},
		"192.0.2.80":     nil,
	} {
		got := d.Names(me, netip.MustParseAddr(addr), time.Now())
		slices.Sort(got) // within one second their order is open
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("names of %s: -want +got\n%s", addr, diff)
		}
	}
}

// An address that is on a list where its name is on none is refused (Y4), for
// each client by its own rules and anew when the rules change.
func TestListedAddresses(t *testing.T) {
	resolver := blocked(policy.DoH)
	resolver.Facts.Categories = policy.SetOf(policy.DoH)
	mandatory := ruling(policy.Block, policy.ReasonMandatory, policy.Terrorism, ks2)
	person := ruling(policy.Allow, policy.ReasonException, policy.Uncategorised, ks2)
	before := rules{"": allowed(), "203.0.113.53": resolver, "203.0.113.66": mandatory, "opened.example": person}
	after := rules{"": allowed(), "203.0.113.66": mandatory}
	stricter := rules{"": allowed(), "203.0.113.1": resolver}
	for name, r := range stricter {
		r.PolicyVersion = "next"
		stricter[name] = r
	}
	var current swapped
	current.Store(&before)
	d := openDoor(t, &current, nil, "doh.example. 300 IN A 203.0.113.1", "doh.example. 300 IN A 203.0.113.53",
		"opened.example. 300 IN A 203.0.113.53", "bad.example. 300 IN A 203.0.113.66", "plain.example. 300 IN A 203.0.113.1",
		`hint.example. 300 IN HTTPS 1 . alpn="h2" ipv4hint=203.0.113.53`)
	for _, tc := range []struct {
		promise string
		rules   *rules
		name    string
		qtype   uint16
		want    string
		finding string
	}{
		{"a resolver's address under another name", &before, "doh.example", dns.TypeA, "NOERROR | A 192.0.2.80", "listed_address"},
		{"from the cache, too", &before, "doh.example", dns.TypeA, "NOERROR | A 192.0.2.80", "listed_address"},
		{"as a hint", &before, "hint.example", dns.TypeHTTPS, "NOERROR", "listed_address"},
		{"where a person opened the name", &before, "opened.example", dns.TypeA, "NOERROR | A 203.0.113.53", ""},
		{"a mandatory list outranks that", &before, "bad.example", dns.TypeA, "NOERROR | A 192.0.2.80", ""},
		{"no list knows it", &before, "plain.example", dns.TypeA, "NOERROR | A 203.0.113.1", ""},
		{"again", &before, "plain.example", dns.TypeA, "NOERROR | A 203.0.113.1", ""},
		{"a new policy blocks the address", &stricter, "plain.example", dns.TypeA, "NOERROR | A 192.0.2.80", "listed_address"},
		{"and is taken back", &after, "plain.example", dns.TypeA, "NOERROR | A 203.0.113.1", ""},
	} {
		current.Store(tc.rules)
		got := said(d.ask(t, tc.name, tc.qtype))
		if e := d.journal.last(t); got != tc.want || e.Finding != tc.finding && e.Reason != policy.ReasonMandatory {
			t.Errorf("%s: %s = %s (%q), want %s (%q)", tc.promise, tc.name, got, e.Finding, tc.want, tc.finding)
		}
	}
}

// What was judged for one device is not judged for the next that has its address.
func TestListedAddressOfTheNextDevice(t *testing.T) {
	var device atomic.Pointer[string]
	staff, tablet := "office-pc", "tablet"
	device.Store(&staff)
	d := openDoor(t, deciderFunc(func(q policy.Request) policy.Ruling {
		r := allowed()
		if q.Host.String() == "203.0.113.1" && device.Load() == &tablet {
			r = ruling(policy.Block, policy.ReasonException, policy.Uncategorised, ks2)
		}
		r.Client.Device = *device.Load()
		return r
	}), nil, "open.example. 300 IN A 203.0.113.1")
	for _, tc := range []struct {
		device *string
		want   string
	}{{&staff, "NOERROR | A 203.0.113.1"}, {&staff, "NOERROR | A 203.0.113.1"}, {&tablet, "NOERROR | A 192.0.2.80"}} {
		device.Store(tc.device)
		if got := said(d.ask(t, "open.example", dns.TypeA)); got != tc.want {
			t.Errorf("%s: %s, want %s", *tc.device, got, tc.want)
		}
	}
}
