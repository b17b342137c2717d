package upstream

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"

	"schoolgate/internal/testkit"
)

func newResolver(t testing.TB, cfg Config, servers ...*testkit.Upstream) *Resolver {
	t.Helper()
	for _, u := range servers {
		cfg.Servers = append(cfg.Servers, u.Addr)
	}
	r, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Close)
	return r
}

// later makes it so much later for the resolver, which must be idle.
func (r *Resolver) later(d time.Duration) { r.started = r.started.Add(-d) }

func ask(t testing.TB, r *Resolver, name string, qtype uint16) string {
	t.Helper()
	return askQuestion(t, r, name, Question{Type: qtype})
}

func askQuestion(t testing.TB, r *Resolver, name string, q Question) string {
	t.Helper()
	q.Name, _ = WireName(name)
	var a Answer
	if err := r.Resolve(t.Context(), &a, q); err != nil {
		return err.Error()
	}
	return read(t, &a, q)
}

// read is an answer in one line, with what it says of itself.
func read(t testing.TB, a *Answer, q Question) string {
	t.Helper()
	an, ns := a.Counts()
	m := dns.Msg{MsgHdr: dns.MsgHdr{Response: true, Rcode: a.Rcode()}}
	name, _ := q.presentation()
	m.SetQuestion(name, q.Type)
	wire, err := m.Pack()
	if err != nil {
		t.Fatal(err)
	}
	wire[7], wire[9] = byte(an), byte(ns)
	wire = a.AppendBody(wire, 1<<31-1)
	if err := m.Unpack(wire); err != nil {
		t.Fatalf("answer %x: %v", wire, err)
	}
	words := []string{dns.RcodeToString[a.Rcode()]}
	for _, rr := range m.Answer {
		f := strings.Fields(rr.String())
		words = append(words, "| "+strings.Join(append(f[:1], f[3:]...), " "))
	}
	for _, rr := range m.Ns {
		words = append(words, "+"+dns.TypeToString[rr.Header().Rrtype])
	}
	for flag, on := range map[string]bool{"private": a.Private(), "stale": a.Stale(), "AD": a.AD()} {
		if on {
			words = append(words, flag)
		}
	}
	return strings.Join(words, " ")
}

func TestResolve(t *testing.T) {
	u := testkit.NewUpstream(t,
		"www.example. 300 IN A 203.0.113.1", "www.example. 300 IN A 203.0.113.2",
		"alias.example. 300 IN CNAME www.example.", "alias2.example. 300 IN CNAME alias.example.",
		"dangling.example. 300 IN CNAME gone.example.",
		"inside.example. 300 IN A 10.1.2.3", "mixed.example. 300 IN A 203.0.113.1", "mixed.example. 300 IN A 127.0.0.1",
		"mapped.example. 300 IN AAAA ::ffff:10.0.0.1", "nat64.example. 300 IN AAAA 64:ff9b::a00:1", "six.example. 300 IN AAAA 2002:a00:1::1",
		"school.test. 300 IN A 10.9.9.9", "nas.school.test. 300 IN A 10.9.9.10", "notschool.test. 300 IN A 10.9.9.11", "lan.example. 300 IN A 10.200.0.1",
		`hints.example. 300 IN HTTPS 1 . ipv4hint=192.168.0.1`,
		`h.example. 300 IN HTTPS 1 . mandatory=alpn alpn="h2,h3" port=8443 ipv4hint=203.0.113.1 ech="AEX+DQBBpQAgACB=" key65400="abc"`,
		`only3.example. 300 IN HTTPS 1 . alpn="h3" no-default-alpn=""`,
		`must.example. 300 IN HTTPS 1 . mandatory=ech alpn="h2" ech="AEX+DQBBpQAgACB="`,
		`plain.example. 300 IN HTTPS 1 . alpn="h2" ipv6hint=2001:db8::1`,
		`target.example. 300 IN HTTPS 0 www.example.`,
		"ipv4only.arpa. 300 IN A 192.0.0.170", "ipv4only.arpa. 300 IN AAAA 64:ff9b::c000:aa",
	)
	r := newResolver(t, Config{PrivateZones: []string{"School.test"}, PrivateNets: []netip.Prefix{netip.MustParsePrefix("10.200.0.0/16")}}, u)
	for _, tc := range []struct {
		promise, name string
		qtype         uint16
		want          string
	}{
		{"addresses", "www.example", dns.TypeA, "NOERROR | www.example. A 203.0.113.1 | www.example. A 203.0.113.2"},
		{"a type that is not there, with the SOA", "www.example", dns.TypeMX, "NOERROR +SOA"},
		{"a name that is not there", "gone.example", dns.TypeA, "NXDOMAIN +SOA"},
		{"a chain in order", "alias2.example", dns.TypeA, "NOERROR | alias2.example. CNAME alias.example. | alias.example. CNAME www.example. | www.example. A 203.0.113.1 | www.example. A 203.0.113.2"},
		{"a chain to nowhere", "dangling.example", dns.TypeA, "NXDOMAIN | dangling.example. CNAME gone.example. +SOA"},
		{"the CNAME itself", "alias.example", dns.TypeCNAME, "NOERROR | alias.example. CNAME www.example."},
		{"a private address is taken out", "inside.example", dns.TypeA, "NOERROR private"},
		{"and told of among public ones", "mixed.example", dns.TypeA, "NOERROR | mixed.example. A 203.0.113.1 private"},
		{"IPv4 in IPv6", "mapped.example", dns.TypeAAAA, "NOERROR private"},
		{"NAT64", "nat64.example", dns.TypeAAAA, "NOERROR private"},
		{"6to4", "six.example", dns.TypeAAAA, "NOERROR private"},
		{"in a hint", "hints.example", dns.TypeHTTPS, "NOERROR private"},
		{"the school's own zone may", "school.test", dns.TypeA, "NOERROR | school.test. A 10.9.9.9"},
		{"and below", "nas.school.test", dns.TypeA, "NOERROR | nas.school.test. A 10.9.9.10"},
		{"but not a name that ends alike", "notschool.test", dns.TypeA, "NOERROR private"},
		{"a device finds out about NAT64", "ipv4only.arpa", dns.TypeA, "NOERROR | ipv4only.arpa. A 192.0.0.170"},
		{"", "ipv4only.arpa", dns.TypeAAAA, "NOERROR | ipv4only.arpa. AAAA 64:ff9b::c000:aa"},
		{"an address the school lists", "lan.example", dns.TypeA, "NOERROR | lan.example. A 10.200.0.1"},
		{"ech and h3 go, all else stays", "h.example", dns.TypeHTTPS, `NOERROR | h.example. HTTPS 1 . mandatory="alpn" alpn="h2" port="8443" ipv4hint="203.0.113.1" key65400="abc"`},
		{"a record of h3 alone goes", "only3.example", dns.TypeHTTPS, "NOERROR"},
		{"a record that cannot do without ech goes", "must.example", dns.TypeHTTPS, "NOERROR"},
		{"a record without either is untouched", "plain.example", dns.TypeHTTPS, `NOERROR | plain.example. HTTPS 1 . alpn="h2" ipv6hint="2001:db8::1"`},
		{"an alias", "target.example", dns.TypeHTTPS, "NOERROR | target.example. HTTPS 0 www.example."},
	} {
		for _, state := range []string{"asked", "cached"} {
			if got := ask(t, r, tc.name, tc.qtype); got != tc.want {
				t.Errorf("%s, %s: Resolve(%s) = %s, want %s", tc.promise, state, tc.name, got, tc.want)
			}
		}
	}
	wire, _ := WireName("target.example")
	var a Answer
	if err := r.Resolve(t.Context(), &a, Question{Name: wire, Type: dns.TypeHTTPS}); err != nil {
		t.Fatal(err)
	}
	for name := range a.Chain() {
		if want, _ := WireName("www.example"); string(name) != string(want) {
			t.Errorf("chain leads to %q", name)
		}
	}
}

// lies are what a lying upstream says, and what comes of a question for www.example.
var lies = []struct {
	promise string
	lie     testkit.Lie
	want    string
}{
	{"a loop is no answer", testkit.Loop, "no upstream can answer"},
	{"nor a chain without end", testkit.LongChain, "no upstream can answer"},
	{"records nobody asked for are left out", testkit.Unasked, "NOERROR | www.example. A 203.0.113.1"},
	{"a private address", testkit.Private, "NOERROR private"},
	{"truncated everywhere", testkit.TruncateAll, "no upstream can answer"},
	{"truncated over UDP", testkit.TruncateUDP, "NOERROR | www.example. A 203.0.113.1"},
	{"too large for UDP", testkit.Oversize, "NOERROR | www.example. A 203.0.113.1"},
	{"SERVFAIL", testkit.ServFail, "no upstream can answer"},
	{"REFUSED", testkit.RefuseAll, "no upstream can answer"},
	{"no EDNS", testkit.NoEDNS, "NOERROR | www.example. A 203.0.113.1"},
	{"no case kept", testkit.LowerCase, "NOERROR | www.example. A 203.0.113.1"},
	{"forged replies before the true one", testkit.SpoofThenAns, "NOERROR | www.example. A 203.0.113.1"},
	{"half a chain is followed", testkit.CNAMEOnly, "NOERROR | www.example. A 203.0.113.1"},
	{"a bare FORMERR", testkit.BareFormErr, "no upstream can answer"},
}

// What a lying upstream says is not believed (T3, fault F10).
func TestLies(t *testing.T) {
	for _, tc := range lies {
		t.Run(tc.promise, func(t *testing.T) {
			u := testkit.NewUpstream(t, "www.example. 300 IN A 203.0.113.1", "bank.example. 300 IN A 203.0.113.99", "alias.example. 300 IN CNAME www.example.")
			r := newResolver(t, Config{}, u)
			u.Tell(tc.lie)
			if got := ask(t, r, "www.example", dns.TypeA); got != tc.want {
				t.Errorf("Resolve = %s, want %s", got, tc.want)
			}
			if tc.lie == testkit.CNAMEOnly {
				if got, want := ask(t, r, "alias.example", dns.TypeA), "NOERROR | alias.example. CNAME www.example. | www.example. A 203.0.113.1"; got != want {
					t.Errorf("Resolve = %s, want %s", got, want)
				}
			}
			if tc.lie == testkit.Unasked {
				u.Tell(testkit.Honest)
				if got, want := ask(t, r, "bank.example", dns.TypeA), "NOERROR | bank.example. A 203.0.113.99"; got != want {
					t.Errorf("the record nobody asked for was kept: %s", got)
				}
			}
		})
	}
}

// A FORMERR takes EDNS, and the signatures with it, from nobody's questions for long: it
// may be about a question that a pupil chose, or forged.
func TestEDNSIsTriedAgain(t *testing.T) {
	u := testkit.NewUpstream(t, "www.example. 300 IN A 203.0.113.1", "www.example. 300 IN RRSIG A 13 2 300 20380101000000 20260101000000 1 example. AAAA")
	r := newResolver(t, Config{MinTTL: -1, MaxTTL: -1}, u)
	signed := func() bool {
		return strings.Contains(askQuestion(t, r, "www.example", Question{Type: dns.TypeA, DO: true}), "RRSIG")
	}
	for _, tc := range []struct {
		promise string
		lie     testkit.Lie
		signed  bool
	}{
		{"the question is what is wrong", testkit.BareFormErr, false},
		{"which says nothing of the next", testkit.Honest, true},
		{"EDNS is", testkit.NoEDNS, false},
		{"so it is left out for a while", testkit.Honest, false},
	} {
		u.Tell(tc.lie)
		if signed() != tc.signed {
			t.Errorf("%s: signatures %t, want %t", tc.promise, !tc.signed, tc.signed)
		}
		r.later(time.Minute) // a failure is forgotten
	}
	s := r.root.servers[0]
	s.noEDNS = s.noEDNS.Add(-noEDNSFor)
	if !signed() {
		t.Error("EDNS is never tried again")
	}
}

// Replies to nothing we asked, and none at all: the answer comes from the other
// server, and in time (fault F9).
func TestSecondServer(t *testing.T) {
	for name, lie := range map[string]testkit.Lie{
		"wrong ID": testkit.WrongID, "wrong question": testkit.WrongName, "garbage": testkit.Garbage, "silent": testkit.Silent,
		"slow": testkit.Slow, "SERVFAIL": testkit.ServFail, "loop": testkit.Loop, "half-open TCP": testkit.HalfOpenTCP, "dead": -1,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			bad := testkit.NewUpstream(t)
			good := testkit.NewUpstream(t, "www.example. 300 IN A 203.0.113.1")
			bad.Tell(lie)
			if lie == -1 {
				bad.Stop()
			}
			r := newResolver(t, Config{}, bad, good)
			if got, want := ask(t, r, "www.example", dns.TypeA), "NOERROR | www.example. A 203.0.113.1"; got != want {
				t.Errorf("Resolve = %s, want %s", got, want)
			}
			bad.Release()
		})
	}
}

// Many who ask the same are one question upstream (T3: birthday).
func TestSingleFlight(t *testing.T) {
	u := testkit.NewUpstream(t, "www.example. 300 IN A 203.0.113.1")
	r := newResolver(t, Config{}, u)
	u.Tell(testkit.Slow)
	var wg sync.WaitGroup
	for range 100 {
		wg.Go(func() {
			if got := ask(t, r, "www.example", dns.TypeA); got != "NOERROR | www.example. A 203.0.113.1" {
				t.Errorf("Resolve = %s", got)
			}
		})
	}
	for r.inFlight() == 0 {
		time.Sleep(time.Millisecond)
	}
	u.Release()
	wg.Wait()
	if n := u.Asked("www.example"); n > 4 {
		t.Errorf("asked %d times, want one question and its repeats", n)
	}
}

func TestPortsAndIDs(t *testing.T) {
	u := testkit.NewUpstream(t)
	r := newResolver(t, Config{}, u)
	for i := range 200 {
		ask(t, r, fmt.Sprintf("name-with-many-letters-%d.example", i), dns.TypeA)
	}
	checkSeen(t, u)
}

// checkSeen looks at the 200 queries that an upstream has seen.
func checkSeen(t *testing.T, u *testkit.Upstream) {
	t.Helper()
	ports, ids, names := u.Seen()
	if ports < 150 || ids < 190 {
		t.Errorf("200 queries came from %d ports with %d IDs, want nearly all different", ports, ids)
	}
	mixed := 0
	for _, name := range names {
		if name != strings.ToLower(name) && name != strings.ToUpper(name) {
			mixed++
		}
	}
	if mixed < 190 {
		t.Errorf("%d of %d names in mixed case", mixed, len(names))
	}
}

func TestInFlightIsBounded(t *testing.T) {
	u := testkit.NewUpstream(t)
	r := newResolver(t, Config{MaxInFlight: 3}, u)
	u.Tell(testkit.Slow)
	var wg sync.WaitGroup
	for i := range 3 {
		wg.Go(func() { ask(t, r, fmt.Sprintf("n%d.example", i), dns.TypeA) })
	}
	for r.inFlight() < 3 {
		time.Sleep(time.Millisecond)
	}
	if got := ask(t, r, "one-more.example", dns.TypeA); got != ErrBusy.Error() {
		t.Errorf("a fourth question = %s, want %s", got, ErrBusy)
	}
	u.Release()
	wg.Wait()
	if got := ask(t, r, "one-more.example", dns.TypeA); got != "NXDOMAIN +SOA" {
		t.Errorf("afterwards = %s", got)
	}
}

func TestTimes(t *testing.T) {
	u := testkit.NewUpstream(t, "short.example. 60 IN A 203.0.113.1", "zero.example. 0 IN A 203.0.113.1",
		"long.example. 999999999 IN A 203.0.113.1", "high.example. 4294967295 IN A 203.0.113.1", "mix.example. 3600 IN CNAME short.example.")
	r := newResolver(t, Config{StaleFor: -1}, u)
	for _, tc := range []struct {
		promise, name string
		kept, gone    time.Duration
	}{
		{"as long as its TTL", "short.example", 50 * time.Second, 61 * time.Second},
		{"as long as the shortest of the chain", "mix.example", 50 * time.Second, 61 * time.Second},
		{"TTL 0 for a moment, or a flood would pass", "zero.example", 2 * time.Second, 6 * time.Second},
		{"a day at most", "long.example", 20 * time.Hour, 25 * time.Hour},
		{"a TTL with its highest bit is 0 (RFC 2181)", "high.example", 2 * time.Second, 6 * time.Second},
		{"a negative answer as its SOA says (RFC 2308)", "none.example", 50 * time.Second, 61 * time.Second},
	} {
		ask(t, r, tc.name, dns.TypeA)
		before := u.Asked(tc.name)
		r.later(tc.kept)
		ask(t, r, tc.name, dns.TypeA)
		if u.Asked(tc.name) != before {
			t.Errorf("%s: asked again after %s", tc.promise, tc.kept)
		}
		r.later(tc.gone - tc.kept)
		ask(t, r, tc.name, dns.TypeA)
		if u.Asked(tc.name) == before {
			t.Errorf("%s: not asked again after %s", tc.promise, tc.gone)
		}
	}
}

// TTLs count down, and the last tenth of an answer's time renews it unseen.
func TestPrefetch(t *testing.T) {
	u := testkit.NewUpstream(t, "www.example. 100 IN A 203.0.113.1")
	r := newResolver(t, Config{}, u)
	ask(t, r, "www.example", dns.TypeA)
	r.later(95 * time.Second)
	wire, _ := WireName("www.example")
	q := Question{Name: wire, Type: dns.TypeA}
	var a Answer
	if !r.Cached(&a, q) {
		t.Fatal("not in the cache after 95 s of 100")
	}
	body := a.AppendBody(nil, 1<<30)
	if ttl := uint32(body[6])<<24 | uint32(body[7])<<16 | uint32(body[8])<<8 | uint32(body[9]); ttl > 5 || ttl < 4 {
		t.Errorf("TTL after 95 s of 100 = %d", ttl)
	}
	r.done.Wait()
	if n := u.Asked("www.example"); n != 2 {
		t.Errorf("asked %d times, want a second time unseen", n)
	}
	r.later(50 * time.Second)
	if !r.Cached(&a, q) {
		t.Error("the renewed answer is not there")
	}
}

// Upstream gone: yesterday's answers serve, new names fail fast; and back
// (fault F9, RFC 8767, RFC 9520).
func TestStale(t *testing.T) {
	u := testkit.NewUpstream(t, "www.example. 60 IN A 203.0.113.1", "new.example. 60 IN A 203.0.113.2")
	r := newResolver(t, Config{}, u)
	ask(t, r, "www.example", dns.TypeA)
	u.Tell(testkit.ServFail)
	r.later(time.Hour)
	for range 3 {
		if got, want := ask(t, r, "www.example", dns.TypeA), "NOERROR | www.example. A 203.0.113.1 stale"; got != want {
			t.Errorf("an hour without upstream: %s, want %s", got, want)
		}
	}
	if n := u.Asked("www.example"); n > 4 {
		t.Errorf("asked %d times while it failed, want a pause", n)
	}
	for range 3 {
		if got := ask(t, r, "new.example", dns.TypeA); got != ErrFailed.Error() {
			t.Errorf("a new name: %s, want %s", got, ErrFailed)
		}
	}
	if n := u.Asked("new.example"); n > 3 { // the short way, and the long way twice
		t.Errorf("a failing name was asked %d times, want a pause", n)
	}
	u.Tell(testkit.Honest)
	r.later(time.Minute)
	for name, want := range map[string]string{
		"www.example": "NOERROR | www.example. A 203.0.113.1", "new.example": "NOERROR | new.example. A 203.0.113.2",
	} {
		if got := ask(t, r, name, dns.TypeA); got != want {
			t.Errorf("upstream is back: %s = %s, want %s", name, got, want)
		}
	}
	u.Tell(testkit.ServFail)
	r.later(26 * time.Hour)
	if got := ask(t, r, "www.example", dns.TypeA); got != ErrFailed.Error() {
		t.Errorf("after a day: %s, want %s", got, ErrFailed)
	}
}

func TestZones(t *testing.T) {
	world := testkit.NewUpstream(t, "pc.ad.school.test. 300 IN A 203.0.113.66", "www.example. 300 IN A 203.0.113.1")
	school := testkit.NewUpstream(t, "pc.ad.school.test. 300 IN A 10.0.0.5")
	r := newResolver(t, Config{Zones: map[string][]string{"AD.school.test": {school.Addr}}}, world)
	if got, want := ask(t, r, "pc.ad.school.test", dns.TypeA), "NOERROR | pc.ad.school.test. A 10.0.0.5"; got != want {
		t.Errorf("the school's zone = %s, want %s", got, want)
	}
	if got, want := ask(t, r, "www.example", dns.TypeA), "NOERROR | www.example. A 203.0.113.1"; got != want {
		t.Errorf("another = %s, want %s", got, want)
	}
	if world.Asked("pc.ad.school.test") != 0 {
		t.Error("a name of the school's own was asked outside")
	}
	// An outside name that points into the school is rebinding, whoever has the address.
	world.Add(t, "sneaky.example. 300 IN CNAME pc.ad.school.test.")
	world.Tell(testkit.CNAMEOnly)
	if got, want := ask(t, r, "sneaky.example", dns.TypeA), "NOERROR | sneaky.example. CNAME pc.ad.school.test. private"; got != want {
		t.Errorf("an alias into the school's zone = %s, want %s", got, want)
	}
}

// A server that refers to others has not said that there is nothing (RFC 2308 section
// 2.2.1): the next one is asked.
func TestReferral(t *testing.T) {
	lame := testkit.NewUpstream(t)
	lame.Tell(testkit.Referral)
	good := testkit.NewUpstream(t, "www.example. 300 IN A 203.0.113.1")
	r := newResolver(t, Config{Ordered: true}, lame, good)
	if got, want := ask(t, r, "www.example", dns.TypeA), "NOERROR | www.example. A 203.0.113.1"; got != want {
		t.Errorf("beside a server that refers = %s, want %s", got, want)
	}
}

// AD is believed of trusted upstreams only, and never of a changed answer.
func TestAuthenticData(t *testing.T) {
	u := testkit.NewUpstream(t, "www.example. 300 IN A 203.0.113.1", `h.example. 300 IN HTTPS 1 . alpn="h3,h2"`,
		"www.example. 300 IN RRSIG A 8 2 300 20300101000000 20200101000000 1 example. c2lnbmF0dXJl")
	u.Authentic(true)
	trusting, doubting := newResolver(t, Config{TrustAD: true}, u), newResolver(t, Config{}, u)
	for _, tc := range []struct {
		r    *Resolver
		name string
		q    Question
		want string
	}{
		{trusting, "www.example", Question{Type: dns.TypeA}, "NOERROR | www.example. A 203.0.113.1 AD"},
		{doubting, "www.example", Question{Type: dns.TypeA}, "NOERROR | www.example. A 203.0.113.1"},
		{trusting, "h.example", Question{Type: dns.TypeHTTPS}, `NOERROR | h.example. HTTPS 1 . alpn="h2"`},
		{trusting, "www.example", Question{Type: dns.TypeA, DO: true}, "NOERROR | www.example. A 203.0.113.1 | www.example. RRSIG A 8 2 300 20300101000000 20200101000000 1 example. c2lnbmF0dXJl AD"},
	} {
		if got := askQuestion(t, tc.r, tc.name, tc.q); got != tc.want {
			t.Errorf("%s DO %t = %s, want %s", tc.name, tc.q.DO, got, tc.want)
		}
	}
}

func TestConfigErrors(t *testing.T) {
	for _, cfg := range []Config{
		{}, {Servers: []string{"dns.example:53"}}, {Servers: []string{"192.0.2.1:0"}}, {Servers: []string{"192.0.2.1:99999"}},
		{Servers: []string{"192.0.2.1"}, Zones: map[string][]string{"a.test": nil}},
	} {
		if r, err := New(cfg); err == nil {
			r.Close()
			t.Errorf("New(%v) = nil error, want one", cfg)
		}
	}
}

func TestClosed(t *testing.T) {
	u := testkit.NewUpstream(t)
	r := newResolver(t, Config{}, u)
	u.Tell(testkit.Silent)
	result := make(chan string, 1)
	go func() { result <- ask(t, r, "www.example", dns.TypeA) }()
	for r.inFlight() == 0 {
		time.Sleep(time.Millisecond)
	}
	r.Close()
	if got := <-result; got != ErrFailed.Error() {
		t.Errorf("a question under way when we close = %s, want %s", got, ErrFailed)
	}
	if got := ask(t, r, "other.example", dns.TypeA); got != ErrClosed.Error() {
		t.Errorf("a question after that = %s, want %s", got, ErrClosed)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	var a Answer
	wire, _ := WireName("third.example")
	if err := r.Resolve(ctx, &a, Question{Name: wire, Type: 1}); !errors.Is(err, ErrClosed) {
		t.Errorf("Resolve = %v", err)
	}
}
