package policy

import (
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"
)

// chance makes random schools out of few enough parts that rules often meet.
type chance struct{ *rand.Rand }

func (c chance) yes() bool          { return c.IntN(2) == 0 }
func (c chance) verdict() Verdict   { return Verdict(c.IntN(3)) }
func (c chance) set() CategorySet   { return CategorySet{c.Uint64() & c.Uint64() &^ 1, c.Uint64() & 7} }
func (c chance) at() time.Time      { return tuesday.Add(time.Duration(c.IntN(400)-200) * time.Hour) }
func (c chance) addr() netip.Addr   { return netip.AddrFrom4([4]byte{10, 0, 0, byte(c.IntN(4))}) }
func (c chance) group() string      { return []string{"", "a", "b", "nobody's"}[c.IntN(4)] }
func (c chance) device() string     { return []string{"", "tablet", "laptop"}[c.IntN(3)] }
func (c chance) path() string       { return []string{"", "/a", "/a/b", "/?q"}[c.IntN(4)] }
func (c chance) category() Category { return 1 + Category(c.IntN(int(endOfCategories)-1)) }

func (c chance) host() Host {
	h, err := ParseHost([]string{
		"x.example", "www.x.example", "a.x.example", "y.example", "example", "192.0.2.1", "2001:db8::1", "help.x.example",
	}[c.IntN(8)])
	if err != nil {
		panic(err)
	}
	return h
}

func (c chance) rule() HostRule {
	r := HostRule{Host: c.host(), Path: c.path(), Exact: c.yes(), Verdict: c.verdict(), Rule: line(c.IntN(99))}
	if c.yes() {
		r.Until = c.at()
	}
	return r
}

func (c chance) exception() Exception {
	x := Exception{HostRule: c.rule()}
	switch c.IntN(5) {
	case 0:
		x.Address = c.addr()
	case 1:
		x.Device = "tablet"
	case 2:
		x.Group = "a"
	case 3:
		x.Profile = "child"
	}
	return x
}

func (c chance) profile(name string, band AgeBand) Profile {
	p := Profile{
		Name: name, Band: band, ApprovedOnly: c.yes(), Approved: []string{"list"}, Uncategorised: c.verdict(),
		Unsettled: c.verdict(), SafeSearch: Restriction(c.IntN(3)), YouTube: Restriction(c.IntN(3)),
	}
	for range c.IntN(20) {
		r := CategoryRule{Category: c.category(), Verdict: c.verdict(), During: []string{"", "club"}[c.IntN(2)]}
		if r.Category.Mandatory() {
			r.Verdict = Block
		}
		p.Categories = append(p.Categories, r)
	}
	for range c.IntN(4) {
		p.Excepts = append(p.Excepts, Except{Category: c.category(), Over: c.set().Minus(SetOf(ChildAbuse, Terrorism))})
	}
	return p
}

func (c chance) spec() Spec {
	s := Spec{
		Profiles:  []Profile{c.profile("child", AgeBand(c.IntN(3))), c.profile("adult", Staff)},
		Groups:    []Group{{Name: "a", Profile: "child"}, {Name: "b", Profile: "adult"}},
		Timetable: Timetable{Periods: []Period{{Name: "club", From: c.IntN(1440), To: c.IntN(1440)}}},
		Lists:     map[string][]HostRule{"list": {c.rule(), c.rule()}},
	}
	for range c.IntN(6) {
		s.Exceptions = append(s.Exceptions, c.exception())
	}
	for range c.IntN(4) {
		p := c.exception()
		p.Verdict, p.Until = Allow, c.at()
		if p.Profile != "" || p.Device == "" && p.Group == "" && !p.Address.IsValid() {
			p.Profile, p.Group = "", "b"
		}
		s.Passes = append(s.Passes, p)
	}
	for range c.IntN(4) {
		n := NeverBlock{HostRule: c.rule(), HelpLine: c.yes()}
		if n.HelpLine {
			n.Path = ""
		}
		s.NeverBlock = append(s.NeverBlock, n)
	}
	for range c.IntN(4) {
		s.Alerts = append(s.Alerts, AlertRule{Categories: c.set(), Bands: [5]bool{c.yes(), c.yes(), c.yes(), c.yes(), c.yes()}, Severity: uint8(1 + c.IntN(5)), Allowed: c.yes()})
	}
	s.SafeHosts = []SafeHost{{Host: c.host(), Strict: c.host(), Moderate: c.host(), YouTube: c.yes()}}
	return s
}

func (c chance) facts() Facts {
	f := Facts{Paths: c.yes()}
	if c.yes() {
		f.Categories = c.set()
	}
	if c.IntN(3) == 0 {
		f.Mandatory = c.category()
	}
	f.Unreadable = c.IntN(20) == 0
	if c.IntN(3) == 0 {
		f.MandatoryPaths = c.category()
	}
	return f
}

// anyone is a client of any kind at any address.
type anyone Client

func (a anyone) Identify(addr netip.Addr) Client {
	c := Client(a)
	c.Addr = addr
	return c
}

// What holds in every school, for everyone, at any time, through any door.
func TestDecideProperties(t *testing.T) {
	for seed := range uint64(4_000) {
		c := chance{rand.New(rand.NewPCG(seed, 1))}
		p, problems := Compile(c.spec())
		if problems != nil {
			t.Fatalf("seed %d: the random school is refused: %v", seed, problems)
		}
		s := &Snapshot{Policy: p, Clients: anyone{Device: c.device(), Group: c.group(), Quarantined: c.yes(), Unsigned: c.yes()}}
		for range 5 {
			facts := c.facts()
			s.Lists = fixed(facts)
			q := Request{Door: Door(c.IntN(8)), Client: c.addr(), Host: c.host(), Path: c.path(), Time: c.at()}
			r, trace := s.Explain(q)
			for _, broken := range brokenPromises(s, q, facts, r, trace) {
				t.Fatalf("seed %d: %s: %+v decided %+v", seed, broken, q, r)
			}
		}
	}
}

func brokenPromises(s *Snapshot, q Request, facts Facts, r Ruling, trace Trace) (broken []string) {
	promise := func(holds bool, what string) {
		if !holds {
			broken = append(broken, what)
		}
	}
	if facts.Unreadable {
		promise(r.Verdict == Block && r.Reason == ReasonNotReady && r.Safe.IsZero() && !r.Inspect, "a broken store lets nothing through (F5, F6)")
		return broken
	}
	listed := facts.Mandatory != Uncategorised
	helpLine := s.Policy.HelpLine(q.Host, q.Time)
	e := r.Event(q)

	promise(!listed || r.Verdict == Block && r.Reason == ReasonMandatory && r.Severity == mandatorySeverity && r.Safe.IsZero(), "nothing lifts a mandatory list (I5)")
	promise(listed || r.Overblock() || !helpLine || r.Verdict == Allow && r.Shielded && r.Severity == 0, "a help-line is open (F10)")
	promise(!r.Shielded || helpLine && r.Reason == ReasonNeverBlock || facts.Categories.Has(HelpLine), "only a help-line is shielded")
	promise(r.Shielded || !facts.Categories.Has(HelpLine) || r.Severity > 0 || r.Reason == ReasonMandatory || r.Inspect, "what the lists call a help-line is shielded")
	promise(!r.Overblock() || facts.MandatoryPaths != Uncategorised && q.Path == "" && !listed, "over-block only where a page cannot be seen (I3)")
	promise(r.Severity == 0 || r.Verdict != Allow || !r.Shielded && r.Profile.watched[r.Category] == r.Severity, "what is allowed raises what is watched, and no more (M11)")
	promise(r.Safe.IsZero() || r.Verdict != Block, "what is refused is not rewritten")
	promise(!r.Inspect || q.Path == "" && !r.Shielded, "nothing to inspect where the path is known, or on a help-line")
	promise(r.Profile != nil && r.Reason != ReasonNotReady && r.Reason != ReasonBadHost, "every client has a profile")
	promise(trace[len(trace)-1].Reason == r.Reason && trace[0].Reason == ReasonMandatory, "the trace ends with the decision")
	promise(s.Decide(q) == r, "explaining changes nothing, and deciding is pure")
	promise(r.Reason != ReasonMandatory || e.Host == "" && e.Path == "" && e.Client != "", "a mandatory hit keeps no host (F2)")
	promise(e.Shielded == r.Shielded && !r.Shielded || e.Host == "" && e.Path == "" && e.Client == "" && e.Device == "" && e.Group == "" && e.Profile == "" && !e.Flagged(), "a help-line keeps nothing of the person (F10)")
	return broken
}
