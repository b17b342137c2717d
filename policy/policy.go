package policy

import (
	"fmt"
	"net/netip"
	"time"
)

// CategoryRule gives a verdict on a category, always or during one period.
type CategoryRule struct {
	Category Category
	Verdict  Verdict
	During   string // name of a period; "" for always
	Rule     Pos
}

// Except names a category that outranks others within a profile: a site that is
// sex education and on a pornography list is sex education.
type Except struct {
	Category Category
	Over     CategorySet
	Rule     Pos
}

// Profile is the settings a group shares.
type Profile struct {
	Name  string
	Title string
	Band  AgeBand
	Rule  Pos

	ApprovedOnly bool     // only what an approved list holds
	Approved     []string // names of lists in Spec.Lists
	Categories   []CategoryRule
	Excepts      []Except
	// Uncategorised is the verdict on a host that no list holds.
	Uncategorised     Verdict
	UncategorisedRule Pos
	// Unsettled is the verdict on a host with path-level entries on a mandatory
	// list where the path cannot be seen (I3): Block is logged as an over-block,
	// Allow as a gap.
	Unsettled Verdict

	SafeSearch Restriction // forced on search engines
	YouTube    Restriction // Restricted Mode

	approved *HostSet
	tables   []table // by period; the last is for no period
	severity [NumCategories]uint8
}

// Restriction is how tightly a service's own safety mode is forced.
type Restriction uint8

// The restrictions; the zero value is the strictest.
const (
	Strict Restriction = iota
	Moderate
	Off
)

// table is a profile's category rules compiled for one period.
type table struct {
	block, warn, allow CategorySet
	rules              [NumCategories]Pos
	excepts            []Except
}

// Group is a set of clients that share a profile. Who is in it, package clients
// knows.
type Group struct {
	Name    string
	Profile string
	Rule    Pos
}

// Exception is the school's own word on a host.
type Exception struct {
	HostRule
	// For whom: exactly one of these is set, or none for everyone.
	Address netip.Addr
	Device  string
	Group   string
	Profile string
}

// AlertRule says which decisions a person must hear of.
type AlertRule struct {
	Categories CategorySet
	Bands      [5]bool // by AgeBand
	Severity   uint8   // 1 to 5
	Rule       Pos
}

// NeverBlock is a host that only a mandatory list outranks.
type NeverBlock struct {
	HostRule
	HelpLine bool // nothing of the person who used it is recorded (F10)
}

// SafeHost says which host serves a service in its safety mode (REQUIREMENTS
// 4.1, 4.2): the doors resolve and dial that one, and leave the TLS name alone.
type SafeHost struct {
	Host             Host // this very name, nothing below it
	Strict, Moderate Host // Moderate is Strict where the service has one mode
	YouTube          bool // follows Profile.YouTube and not Profile.SafeSearch
}

// Spec is what a policy is compiled from: the policy file, read.
type Spec struct {
	Version    string // names this revision in every event
	Profiles   []Profile
	Groups     []Group
	Timetable  Timetable
	Lists      map[string][]HostRule // approved and lesson lists by name
	Exceptions []Exception
	Passes     []Exception // live passes: always with an end
	NeverBlock []NeverBlock
	SafeHosts  []SafeHost
	Alerts     []AlertRule
}

// scoped is rules by whom they are for.
type scoped struct {
	address  map[netip.Addr]*HostSet
	device   map[string]*HostSet
	group    map[string]*HostSet
	profile  map[string]*HostSet
	everyone *HostSet
}

// Policy is the school's decision, compiled and immutable.
type Policy struct {
	Version   string
	Timetable Timetable

	profiles   map[string]*Profile
	order      []*Profile
	groups     map[string]*Profile
	strictest  *Profile
	helpLines  *HostSet
	essentials *HostSet
	exceptions scoped
	passes     scoped
	safe       map[Host]SafeHost
}

// Compile checks a spec as a whole and makes a policy of it. All problems are
// reported at once; with any, there is no policy.
func Compile(spec Spec) (*Policy, []Problem) {
	c := compiler{spec: &spec, policy: &Policy{
		Version: spec.Version, Timetable: spec.Timetable,
	}}
	c.profiles()
	c.groups()
	c.policy.exceptions = c.scope(spec.Exceptions, "exception")
	c.policy.passes = c.scope(spec.Passes, "pass")
	c.passes()
	c.neverBlock()
	for _, s := range spec.SafeHosts {
		c.policy.safe[s.Host] = s
	}
	if len(c.problems) > 0 {
		return nil, c.problems
	}
	return c.policy, nil
}

type compiler struct {
	spec     *Spec
	policy   *Policy
	problems []Problem
}

func (c *compiler) problem(at Pos, format string, args ...any) {
	c.problems = append(c.problems, Problem{Pos: at, Text: fmt.Sprintf(format, args...)})
}

func (c *compiler) profiles() {
	for i := range c.spec.Profiles {
		p := c.spec.Profiles[i] // a copy: a Spec may be compiled twice
		if prev, ok := c.policy.profiles[p.Name]; ok {
			c.problem(p.Rule, "profile %q: already defined at %s", p.Name, prev.Rule)
			continue
		}
		c.approved(&p)
		c.tables(&p)
		for _, a := range c.spec.Alerts {
			if !a.Bands[p.Band] {
				continue
			}
			for cat := range a.Categories.All() {
				p.severity[cat] = max(p.severity[cat], a.Severity)
			}
		}
		c.policy.profiles[p.Name] = &p
		c.policy.order = append(c.policy.order, &p)
		if p.Band.Pupil() && stricter(&p, c.policy.strictest) {
			c.policy.strictest = &p
		}
	}
	if c.policy.strictest == nil {
		c.problem(Pos{}, "no profile for pupils: an unknown client must get the strictest pupil profile, so there must be one (band: eyfs, ks1 or ks2)")
	}
}

// stricter reports whether a suits an unknown client better than b: approved-only
// first, then the younger band, then the one written first.
func stricter(a, b *Profile) bool {
	if b == nil {
		return true
	}
	if a.ApprovedOnly != b.ApprovedOnly {
		return a.ApprovedOnly
	}
	return a.Band < b.Band
}

func (c *compiler) approved(p *Profile) {
	var rules []HostRule
	for _, name := range p.Approved {
		list, ok := c.spec.Lists[name]
		if !ok {
			c.problem(p.Rule, "profile %q: there is no list %q", p.Name, name)
		}
		rules = append(rules, list...)
	}
	if p.ApprovedOnly && len(rules) == 0 {
		c.problem(p.Rule, "profile %q: approved-only, but its approved lists hold nothing, so everything would be refused", p.Name)
	}
	p.approved = NewHostSet(rules...)
}

func (c *compiler) tables(p *Profile) {
	periods := c.spec.Timetable.Periods
	p.tables = make([]table, len(periods)+1)
	for i := range p.tables {
		t := &p.tables[i]
		for _, r := range p.Categories {
			if r.During == "" {
				t.set(r)
			}
		}
		if i < len(periods) {
			for _, r := range p.Categories {
				if r.During == periods[i].Name {
					t.set(r)
				}
			}
		}
		t.excepts = p.Excepts
	}
	known := map[string]bool{"": true}
	for i := range periods {
		known[periods[i].Name] = true
	}
	for _, r := range p.Categories {
		if !known[r.During] {
			c.problem(r.Rule, "profile %q: there is no period %q in the timetable", p.Name, r.During)
		}
	}
}

func (t *table) set(r CategoryRule) {
	t.block, t.warn, t.allow = t.block.Without(r.Category), t.warn.Without(r.Category), t.allow.Without(r.Category)
	switch r.Verdict {
	case Allow:
		t.allow = t.allow.With(r.Category)
	case Warn:
		t.warn = t.warn.With(r.Category)
	default:
		t.block = t.block.With(r.Category)
	}
	t.rules[r.Category] = r.Rule
}

func (c *compiler) groups() {
	for _, g := range c.spec.Groups {
		p, ok := c.policy.profiles[g.Profile]
		if !ok {
			c.problem(g.Rule, "group %q: there is no profile %q", g.Name, g.Profile)
			continue
		}
		if c.policy.groups[g.Name] != nil {
			c.problem(g.Rule, "group %q: already defined", g.Name)
		}
		c.policy.groups[g.Name] = p
	}
}

func (c *compiler) scope(list []Exception, kind string) scoped {
	address, device := map[netip.Addr][]HostRule{}, map[string][]HostRule{}
	group, profile := map[string][]HostRule{}, map[string][]HostRule{}
	var everyone []HostRule
	for _, x := range list {
		switch {
		case x.Address.IsValid():
			address[x.Address.Unmap()] = append(address[x.Address.Unmap()], x.HostRule)
		case x.Device != "":
			device[x.Device] = append(device[x.Device], x.HostRule)
		case x.Group != "":
			if c.policy.groups[x.Group] == nil {
				c.problem(x.Rule, "%s for %q: there is no group %q", kind, x.Host, x.Group)
			}
			group[x.Group] = append(group[x.Group], x.HostRule)
		case x.Profile != "":
			if c.policy.profiles[x.Profile] == nil {
				c.problem(x.Rule, "%s for %q: there is no profile %q", kind, x.Host, x.Profile)
			}
			profile[x.Profile] = append(profile[x.Profile], x.HostRule)
		default:
			everyone = append(everyone, x.HostRule)
		}
	}
	return scoped{
		address: hostSets(address), device: hostSets(device), group: hostSets(group),
		profile: hostSets(profile), everyone: NewHostSet(everyone...),
	}
}

func hostSets[K comparable](rules map[K][]HostRule) map[K]*HostSet {
	sets := make(map[K]*HostSet, len(rules))
	for k, list := range rules {
		sets[k] = NewHostSet(list...)
	}
	return sets
}

func (c *compiler) passes() {
	for _, p := range c.spec.Passes {
		if p.Until.IsZero() {
			c.problem(p.Rule, "pass for %q: it has no end; give until", p.Host)
		}
		if !p.Address.IsValid() && p.Device == "" && p.Group == "" {
			c.problem(p.Rule, "pass for %q: it is for one class or client; name a group, device or address", p.Host)
		}
	}
}

func (c *compiler) neverBlock() {
	var help, essential []HostRule
	for _, n := range c.spec.NeverBlock {
		if n.HelpLine {
			help = append(help, n.HostRule)
		} else {
			essential = append(essential, n.HostRule)
		}
	}
	c.policy.helpLines, c.policy.essentials = NewHostSet(help...), NewHostSet(essential...)
}

// Profiles lists the profiles in the order they were written.
func (p *Policy) Profiles() []*Profile { return p.order }

// Strictest is the profile of an unknown client.
func (p *Policy) Strictest() *Profile { return p.strictest }

// ProfileOf is the profile of a group, the strictest pupil profile for a group
// that is unknown.
func (p *Policy) ProfileOf(group string) *Profile {
	_, profile := p.place(group)
	return profile
}

// HelpLine reports whether the host is a help-line, whose users leave no record.
func (p *Policy) HelpLine(h Host, at time.Time) bool { return p.helpLines.Find(h, "", at) != nil }

func (p *Policy) place(group string) (string, *Profile) {
	if profile := p.groups[group]; profile != nil {
		return group, profile
	}
	return "", p.strictest
}
