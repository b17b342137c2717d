package dnsfilter

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"schoolgate/policy"
)

// Data carried in names is noticed, reported once and cut off (Y29); what a
// scanner or a content network asks is not.
func TestTunnel(t *testing.T) {
	scanner := ruling(policy.Allow, policy.ReasonException, policy.Uncategorised, ks2)
	open := ruling(policy.Allow, policy.ReasonUncategorised, policy.Uncategorised, staff)
	d := openDoor(t, rules{"": allowed(), "scanner.example": scanner, "staff.example": open}, nil,
		"www.tunnel.example. 300 IN A 203.0.113.1", "www.cdn.example. 300 IN A 203.0.113.2")
	label := func(i int) string { return fmt.Sprintf("%04d%s", i, strings.Repeat("x", 46)) }
	flagged := func() (n int) {
		d.journal.mu.Lock()
		defer d.journal.mu.Unlock()
		for _, e := range d.journal.events {
			if e.Flagged() {
				n++
				if e.Finding != "dns_tunnel" || e.Category != policy.VPNProxy || e.Host == "" || e.Verdict != policy.Block {
					t.Errorf("flagged event = %+v", e)
				}
			}
		}
		return n
	}
	if got := said(d.ask(t, "www.tunnel.example", dns.TypeA)); got != "NOERROR | A 203.0.113.1" {
		t.Fatalf("before: %s", got)
	}
	counts := map[string]map[string]int{}
	for i := range 500 {
		for name, qtype := range map[string]uint16{
			label(i) + ".tunnel.example":        dns.TypeA, // 500 unique 50-byte labels in a minute
			label(i) + ".scanner.example":       dns.TypeA, // the same, where a person has opened it
			label(i%100) + ".cdn.example":       dns.TypeA, // a hundred names, again and again
			fmt.Sprintf("p%d.img.example", i):   dns.TypeA, // many, but short
			fmt.Sprintf("t%d.txt.example", i):   dns.TypeTXT,
			fmt.Sprintf("t%d.staff.example", i): dns.TypeTXT,
		} {
			domain := domainOf(name)
			if counts[domain] == nil {
				counts[domain] = map[string]int{}
			}
			counts[domain][said(d.ask(t, name, qtype))]++
		}
	}
	for domain, most := range map[string]int{"scanner.example": 0, "cdn.example": 0, "img.example": 0, "staff.example": 0} {
		if n := counts[domain]["REFUSED"]; n != most {
			t.Errorf("%s: %d refused, want none", domain, n)
		}
	}
	if n := counts["txt.example"]["REFUSED"]; n != 500-tunnelTexts {
		t.Errorf("%d TXT questions of a pupil refused, want all but %d", n, tunnelTexts)
	}
	if n := counts["tunnel.example"]["REFUSED"]; n < 260 || n > 340 {
		t.Errorf("%d of 500 tunnel names refused, want about 300", n)
	}
	if got := said(d.ask(t, "www.tunnel.example", dns.TypeA)); got != "REFUSED" {
		t.Errorf("the domain after that = %s, want REFUSED", got)
	}
	if n := flagged(); n != 1 {
		t.Errorf("%d flagged events, want one", n)
	}
}

// The watch is bounded, forgets its window, and opens a domain again.
func TestTunnelTable(t *testing.T) {
	w := newTunnels()
	me, now := netip.MustParseAddr("10.2.0.7"), time.Now()
	long := func(i int, domain string) string { return fmt.Sprintf("%s%08d.%s", strings.Repeat("y", 42), i, domain) }
	flood := func(domain string, n int, at time.Time) (last suspicion) {
		for i := range n {
			if last = w.count(me, long(i, domain), dns.TypeA, true, at); last == tunnelNew {
				return last
			}
		}
		return last
	}
	for _, tc := range []struct {
		promise string
		n       int
		at      time.Duration
		want    suspicion
	}{
		{"half of it", 120, 0, innocent},
		{"the same again", 120, time.Second, innocent},
		{"the other half in the next window", 120, tunnelWindow, innocent},
		{"all in one", 300, 2 * tunnelWindow, tunnelNew},
	} {
		if got := flood("one.example", tc.n, now.Add(tc.at)); got != tc.want {
			t.Errorf("%s = %d, want %d", tc.promise, got, tc.want)
		}
	}
	closed := now.Add(2 * tunnelWindow)
	for _, tc := range []struct {
		promise string
		client  netip.Addr
		host    string
		at      time.Time
		want    bool
	}{
		{"all of the domain", me, "www.one.example", closed, true},
		{"for this client", netip.MustParseAddr("10.2.0.8"), "www.one.example", closed, false},
		{"and no other domain", me, "www.two.example", closed, false},
		{"until the time is over", me, "one.example", closed.Add(tunnelClosed), false},
		{"and then it is forgotten", me, "one.example", closed, false},
	} {
		if got := w.shut(tc.client, tc.host, tc.at); got != tc.want {
			t.Errorf("%s: shut = %t, want %t", tc.promise, got, tc.want)
		}
	}
	if w.closed.Load() != 0 {
		t.Errorf("%d pairs count as closed, want none", w.closed.Load())
	}
	flood("kept.example", 300, now)
	for i := range 3 * tunnelsMax {
		w.count(me, long(0, fmt.Sprintf("d%d.example", i)), dns.TypeA, true, now)
	}
	if len(w.pairs) > tunnelsMax || !w.shut(me, "kept.example", now) {
		t.Errorf("%d pairs under watch, want at most %d and the closed one among them", len(w.pairs), tunnelsMax)
	}
}
