package dnsfilter

import (
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"

	"schoolgate/internal/testkit"
	"schoolgate/policy"
)

// A snapshot swapped under load loses no question, and every verdict is of one
// version (fault F17).
func TestSwapUnderLoad(t *testing.T) {
	open := rules{"": allowed()}
	shut := rules{"": blocked(policy.Gambling)}
	var current swapped
	current.Store(&open)
	d := openDoor(t, &current, nil, "open.example. 300 IN A 203.0.113.1")
	stop := make(chan struct{})
	var swaps, questions atomic.Int64
	var swapper, askers sync.WaitGroup
	swapper.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
				if swaps.Add(1)%2 == 0 {
					current.Store(&open)
				} else {
					current.Store(&shut)
				}
				time.Sleep(50 * time.Microsecond)
			}
		}
	})
	for i := range 4 {
		network := []string{"udp", "tcp"}[i%2]
		askers.Go(func() {
			c := dns.Client{Net: network, Timeout: 10 * time.Second}
			conn, err := c.Dial(d.addr)
			if err != nil {
				t.Error(err)
				return
			}
			defer conn.Close()
			for range 500 {
				r, _, err := c.ExchangeWithConn(question("open.example", dns.TypeA), conn)
				if err != nil {
					t.Errorf("a question was lost: %v", err)
					return
				}
				if got := said(r); got != "NOERROR | A 203.0.113.1" && got != "NOERROR | A 192.0.2.80" {
					t.Errorf("answer %s is of no version", got)
				}
				questions.Add(1)
			}
		})
	}
	askers.Wait()
	close(stop)
	swapper.Wait()
	if n := d.journal.count.Load(); n != questions.Load() {
		t.Errorf("%d events for %d answers", n, questions.Load())
	}
	t.Logf("%d questions over %d swaps", questions.Load(), swaps.Load())
}

// A changed rule works at once, whatever is in the cache.
func TestRuleBeforeCache(t *testing.T) {
	open, shut := rules{"": allowed()}, rules{"": blocked(policy.Gambling)}
	var current swapped
	current.Store(&open)
	d := openDoor(t, &current, nil, "open.example. 300 IN A 203.0.113.1")
	for _, tc := range []struct {
		rules rules
		want  string
	}{{open, "NOERROR | A 203.0.113.1"}, {shut, "NOERROR | A 192.0.2.80"}, {open, "NOERROR | A 203.0.113.1"}} {
		current.Store(&tc.rules)
		if got := said(d.ask(t, "open.example", dns.TypeA)); got != tc.want {
			t.Errorf("answer = %s, want %s", got, tc.want)
		}
	}
	if n := d.upstream.Asked("open.example"); n != 1 {
		t.Errorf("asked upstream %d times, want once", n)
	}
}

// A stale answer is judged like a fresh one (fault F9).
func TestStaleIsJudged(t *testing.T) {
	open, shut := rules{"": allowed()}, rules{"": blocked(policy.Gambling)}
	var current swapped
	current.Store(&open)
	d := openDoor(t, &current, func(c *Config) { c.minTTL = time.Second }, "open.example. 1 IN A 203.0.113.1")
	d.ask(t, "open.example", dns.TypeA)
	d.upstream.Tell(testkit.ServFail)
	deadline := time.Now().Add(10 * time.Second)
	for { // until the answer's second is over
		r := d.ask(t, "open.example", dns.TypeA)
		if codes, _ := edeOf(r); len(codes) == 1 && codes[0] == dns.ExtendedErrorCodeStaleAnswer {
			if r.Answer[0].Header().Ttl != 30 {
				t.Errorf("stale TTL = %d, want 30", r.Answer[0].Header().Ttl)
			}
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("no stale answer: %v", r)
		}
		time.Sleep(20 * time.Millisecond)
	}
	current.Store(&shut)
	if got := said(d.ask(t, "open.example", dns.TypeA)); got != "NOERROR | A 192.0.2.80" {
		t.Errorf("a stale answer of a name blocked since = %s", got)
	}
}

// One client may ask so much and no more; the next client is not its concern.
func TestRateLimit(t *testing.T) {
	g := newGuests(10, 20, 5)
	now := time.Now()
	noisy, quiet := netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("10.0.0.2")
	ask := func(a netip.Addr, n int, at time.Time) (admitted int) {
		for range n {
			if _, ok := g.admit(a, at); ok {
				admitted++
			}
		}
		return admitted
	}
	for _, tc := range []struct {
		promise string
		addr    netip.Addr
		n       int
		at      time.Duration
		want    int
	}{
		{"a burst", noisy, 100, 0, 20},
		{"then nothing", noisy, 100, 0, 0},
		{"another client", quiet, 20, 0, 20},
		{"a second later the rate", noisy, 100, time.Second, 10},
		{"a clock that goes back gives nothing", noisy, 100, 0, 0},
		{"an hour later the burst, not more", noisy, 100, time.Hour, 20},
	} {
		if got := ask(tc.addr, tc.n, now.Add(tc.at)); got != tc.want {
			t.Errorf("%s: %d of %d admitted, want %d", tc.promise, got, tc.n, tc.want)
		}
	}
	for i := range 100_000 { // forged addresses do not grow the table
		a := netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)})
		g.admit(a, now)
	}
	for i := range g.shards {
		if n := len(g.shards[i].byAddr); n > guestsInShard {
			t.Errorf("shard %d holds %d clients", i, n)
		}
	}
}

// What is answered without being looked at counts as well: a forger inside could have
// each packet answered otherwise (T5).
func TestRateOfTheUnread(t *testing.T) {
	d := openDoor(t, rules{"": allowed()}, func(c *Config) { c.Rate, c.Burst = 1, 3 })
	j := newJob()
	j.from, j.start = netip.MustParseAddr("127.0.0.1"), time.Now()
	for i, m := range []dns.MsgHdr{{Opcode: dns.OpcodeNotify}, {Opcode: dns.OpcodeStatus}, {}, {}, {Opcode: dns.OpcodeStatus}} {
		pkt, err := (&dns.Msg{MsgHdr: m}).Pack()
		if err != nil {
			t.Fatal(err)
		}
		j.pkt, j.stream = append(j.pkt[:0], pkt...), i == 4
		d.read(j)
		want := reply
		if i == 3 {
			want = drop
		}
		if o := d.begin(j); o != want {
			t.Errorf("packet %d: outcome %d, want %d", i, o, want)
		}
	}
	if rcode := j.buf[3] & 0xF; rcode != dns.RcodeRefused {
		t.Errorf("beyond the rate, over a connection: rcode %d, want REFUSED", rcode)
	}
}

// Names that wait for a dead upstream fill the share of the client that asks for
// them, not everybody's (T5, fault F10).
func TestFloodOfSlowNames(t *testing.T) {
	grave := ruling(policy.Block, policy.ReasonMandatory, policy.Terrorism, ks2)
	grave.Severity = 5
	d := openDoor(t, rules{"": allowed(), "casino.example": blocked(policy.Gambling), "grave.example": grave}, func(c *Config) { c.MaxPerGuest, c.MaxInFlight = 20, 20 },
		"open.example. 300 IN A 203.0.113.1")
	if got := said(d.ask(t, "open.example", dns.TypeA)); got != "NOERROR | A 203.0.113.1" {
		t.Fatal(got)
	}
	d.upstream.Tell(testkit.Slow)
	c := dns.Client{Net: "tcp", Timeout: 10 * time.Second}
	conn, err := c.Dial(d.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	for i := range 30 {
		if err := conn.WriteMsg(question(fmt.Sprintf("slow%d.example", i), dns.TypeA)); err != nil {
			t.Fatal(err)
		}
	}
	for range 10 { // those beyond the share are told at once
		r, err := conn.ReadMsg()
		if err != nil || r.Rcode != dns.RcodeServerFailure {
			t.Fatalf("beyond the share: %v, %v; want SERVFAIL", r, err)
		}
	}
	for name, want := range map[string]string{"open.example": "NOERROR | A 203.0.113.1", "casino.example": "NOERROR | A 192.0.2.80", "grave.example": "NOERROR | A 192.0.2.80"} {
		recorded := d.journal.count.Load()
		if got := said(d.ask(t, name, dns.TypeA)); got != want {
			t.Errorf("beside the flood: %s = %s, want %s", name, got, want)
		}
		if d.journal.count.Load() == recorded {
			t.Errorf("beside the flood: no event of %s", name)
		}
	}
	d.upstream.Release()
}

func TestNames(t *testing.T) {
	table := newNames(8, func(policy.Host) bool { return false })
	for i := range 100 { // the table forgets and reads again
		for _, tc := range []struct {
			wire, host string
			odd        bool
		}{
			{"\x03www\x07example\x00", "www.example", false},
			{"\x04_sip\x04_tcp\x07example\x00", "_sip._tcp.example", false},
			{"\x00", "", false},
			{"\x03a.b\x07example\x00", "example", true},
			{"\x01\x00\x07example\x00", "example", true},
			{"\x02\xc3\xbc\x00", "", true},
			{"\x07www\x20com\x00", "", true},
			{"\x011\x012\x013\x014\x00", "1.2.3.4", false},
		} {
			if got := table.read([]byte(tc.wire)); got.host().String() != tc.host || got.odd != tc.odd {
				t.Fatalf("read %q = %q, %t; want %q, %t", tc.wire, got.host(), got.odd, tc.host, tc.odd)
			}
		}
		table.read([]byte("\x04" + fmt.Sprintf("x%03d", i) + "\x00"))
	}
	busy := []byte("\x03www\x07example\x00")
	table = newNames(groupNames, func(policy.Host) bool { return false }) // one group, whatever the hashes
	table.read(busy)
	kept := table.read(busy)
	for i := range 3 * groupNames { // strangers go first
		table.read([]byte(fmt.Sprintf("\x02%02d\x00", i)))
		if table.read(busy) != kept {
			t.Fatal("a name in use was forgotten for one nobody asked for again")
		}
	}
	long := strings.Repeat("abcdefghi.", 25)
	if h, err := policy.ParseHost(long + "com"); err == nil {
		if wire, ok := wireName(h); !ok || len(wire) > 255 {
			t.Errorf("wireName of %d bytes: %t", len(long)+3, ok)
		}
	}
}

func TestConfigErrors(t *testing.T) {
	good := func() Config {
		return Config{Listen: []string{"127.0.0.1:0"}, Decider: rules{}, Sink: &journal{}, Upstreams: []string{"192.0.2.53"}}
	}
	for name, spoil := range map[string]func(*Config){
		"no listener":       func(c *Config) { c.Listen = nil },
		"bad listener":      func(c *Config) { c.Listen = []string{"nowhere"} },
		"no decider":        func(c *Config) { c.Decider = nil },
		"no sink":           func(c *Config) { c.Sink = nil },
		"no upstream":       func(c *Config) { c.Upstreams = nil },
		"long blocked TTL":  func(c *Config) { c.BlockedTTL = time.Hour },
		"upstream by name":  func(c *Config) { c.Upstreams = []string{"dns.example"} },
		"address not local": func(c *Config) { c.Listen = []string{"192.0.2.1:5300"} },
	} {
		c := good()
		spoil(&c)
		if s, err := New(c); err == nil {
			s.Close()
			t.Errorf("%s: New = nil error, want one", name)
		}
	}
	s, err := New(good())
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	c := good()
	c.Listen = []string{s.Addrs()[0].String()}
	if second, err := New(c); err == nil {
		second.Close()
		t.Error("a port that is taken is not reported")
	}
}

// The door with the real policy behind it: the root, a child of a listed name, an
// unknown client, and a snapshot that is not there yet.
func TestWithThePolicy(t *testing.T) {
	spec := policy.Spec{Version: "7", Profiles: []policy.Profile{{
		Name: "ks2", Band: policy.KS2, Uncategorised: policy.Allow,
		Categories: []policy.CategoryRule{{Category: policy.Gambling, Verdict: policy.Block, Rule: policy.Pos{File: "policy.yaml", Line: 7}}},
	}}}
	compiled, problems := policy.Compile(spec)
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	lists := benchLists{listed: map[string]struct{}{"casino.example": {}}}
	var engine policy.Engine
	d := openDoor(t, &engine, nil, "open.example. 300 IN A 203.0.113.1", ". 300 IN NS a.root.example.")
	if got := said(d.ask(t, "open.example", dns.TypeA)); got != "SERVFAIL" {
		t.Errorf("before there is a policy: %s, want SERVFAIL", got)
	}
	engine.Swap(&policy.Snapshot{Policy: compiled, Lists: lists, Clients: lists, StoreVersion: 3})
	for _, tc := range []struct {
		name  string
		qtype uint16
		want  string
		rule  string
	}{
		{"open.example", dns.TypeA, "NOERROR | A 203.0.113.1", ""},
		{"www.casino.example", dns.TypeA, "NOERROR | A 192.0.2.80", "policy.yaml:7"},
		{".", dns.TypeNS, "NOERROR | NS a.root.example.", ""},
	} {
		if got := said(d.ask(t, tc.name, tc.qtype)); got != tc.want {
			t.Errorf("%s = %s, want %s", tc.name, got, tc.want)
		}
		e := d.journal.last(t)
		if e.Rule != tc.rule || e.PolicyVersion != "7" || e.StoreVersion != 3 || e.Client != "127.0.0.1" || e.Profile != "ks2" || !e.Pupil || e.Door != policy.DoorDNS || e.Method != dns.TypeToString[tc.qtype] {
			t.Errorf("event of %s = %+v", tc.name, e)
		}
	}
}

// What is remembered of a name or an address ends with the lists and the policy it
// is from: the next question is decided by the new ones.
func TestSwapEndsWhatIsRemembered(t *testing.T) {
	spec := policy.Spec{Version: "test", Profiles: []policy.Profile{{
		Name: "ks2", Band: policy.KS2, Uncategorised: policy.Allow,
		Categories: []policy.CategoryRule{{Category: policy.Gambling, Verdict: policy.Block}},
	}}}
	compiled, problems := policy.Compile(spec)
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	var engine policy.Engine
	lists := func(names ...string) {
		listed := map[string]struct{}{}
		for _, name := range names {
			listed[name] = struct{}{}
		}
		engine.Swap(&policy.Snapshot{Policy: compiled, Lists: benchLists{listed}, Clients: benchLists{}, StoreVersion: uint64(len(names))})
	}
	lists()
	d := openDoor(t, &engine, nil, "www.open.example. 300 IN A 203.0.113.1", "alias.example. 300 IN CNAME www.open.example.")
	const open, closed = "NOERROR | A 203.0.113.1", "NOERROR | A 192.0.2.80"
	for _, step := range []struct {
		listed      []string
		name, alias string
	}{
		{nil, open, "NOERROR | CNAME www.open.example. | A 203.0.113.1"},
		{[]string{"open.example"}, closed, closed},
		{[]string{"other.example", "203.0.113.1"}, closed, closed}, // the address alone
		{[]string{"alias.example"}, open, closed},
		{nil, open, "NOERROR | CNAME www.open.example. | A 203.0.113.1"},
	} {
		lists(step.listed...)
		for range 3 {
			if name, alias := said(d.ask(t, "www.open.example", dns.TypeA)), said(d.ask(t, "alias.example", dns.TypeA)); name != step.name || alias != step.alias {
				t.Fatalf("with %v listed: %s and %s, want %s and %s", step.listed, name, alias, step.name, step.alias)
			}
		}
	}
}
