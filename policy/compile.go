package policy

import (
	"fmt"
	"net/netip"
	"strings"
)

// Compile checks a spec as a whole and makes a policy of it. All problems are
// reported at once; with any, there is no policy.
func Compile(spec Spec) (*Policy, []Problem) {
	c := compiler{spec: &spec, policy: &Policy{
		Version: spec.Version, Timetable: spec.Timetable,
		profiles: map[string]*Profile{}, groups: map[string]*Profile{}, safe: map[Host]SafeHost{}, written: map[string]written{},
	}}
	c.profiles()
	c.groups()
	c.policy.exceptions = c.scope(spec.Exceptions, "exception", inExceptions)
	c.policy.passes = c.scope(spec.Passes, "pass", inPasses)
	c.passes()
	c.neverBlock()
	for _, s := range spec.SafeHosts {
		c.policy.safe[s.Host] = s
		c.policy.written[s.Host.name] |= inSafeHosts
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
		if int(p.Band) >= len(bandNames) {
			c.problem(p.Rule, "profile %q: there is no age band %d", p.Name, p.Band)
			continue
		}
		c.approved(&p)
		c.tables(&p)
		c.alerts(&p)
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
		for _, r := range list {
			c.write(r, inApproved)
		}
		rules = append(rules, list...)
	}
	if p.ApprovedOnly && len(rules) == 0 {
		c.problem(p.Rule, "profile %q: approved-only, but its approved lists hold nothing, so everything would be refused", p.Name)
	}
	p.approved = NewHostSet(rules...)
}

// tables compiles the category rules for each period, and last for none. A rule
// for a period comes after the rules for always, wherever it is written.
func (c *compiler) tables(p *Profile) {
	c.checkRules(p)
	periods := c.spec.Timetable.Periods
	p.tables = make([]table, len(periods)+1)
	for i := range p.tables {
		t := &p.tables[i]
		t.excepts = p.Excepts
		t.setAll(p.Categories, "")
		if i < len(periods) && periods[i].Name != "" {
			t.setAll(p.Categories, periods[i].Name)
		}
	}
}

// checkRules refuses what could never work or would seem to lift a mandatory
// list (I5).
func (c *compiler) checkRules(p *Profile) {
	known := map[string]bool{"": true}
	for _, period := range c.spec.Timetable.Periods {
		known[period.Name] = true
	}
	for _, r := range p.Categories {
		if !known[r.During] {
			c.problem(r.Rule, "profile %q: there is no period %q in the timetable", p.Name, r.During)
		}
		if r.Category.Mandatory() && r.Verdict != Block {
			c.problem(r.Rule, "profile %q: %s is mandatory: nothing lifts it, so it can only be blocked", p.Name, r.Category)
		}
	}
	for _, x := range p.Excepts {
		if both := x.Over.Intersect(SetOf(ChildAbuse, Terrorism)); !both.Empty() {
			c.problem(x.Rule, "profile %q: %s cannot outrank %v: nothing lifts what is mandatory", p.Name, x.Category, both.IDs())
		}
	}
}

func (t *table) setAll(rules []CategoryRule, during string) {
	for _, r := range rules {
		if r.During == during {
			t.set(r)
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

func (c *compiler) alerts(p *Profile) {
	for _, a := range c.spec.Alerts {
		if !a.Bands[p.Band] {
			continue
		}
		for cat := range a.Categories.All() {
			p.severity[cat] = max(p.severity[cat], a.Severity)
			if a.Allowed {
				p.watched[cat] = max(p.watched[cat], a.Severity)
			}
		}
	}
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
			continue
		}
		c.policy.groups[g.Name] = p
	}
}

// scope sorts exceptions or passes by whom they are for.
func (c *compiler) scope(list []Exception, kind string, step written) scoped {
	address, device := map[netip.Addr][]HostRule{}, map[string][]HostRule{}
	group, profile := map[string][]HostRule{}, map[string][]HostRule{}
	var everyone []HostRule
	for _, x := range list {
		c.checkException(x, kind)
		c.write(x.HostRule, step)
		switch {
		case x.Address.IsValid():
			address[x.Address.Unmap()] = append(address[x.Address.Unmap()], x.HostRule)
		case x.Device != "":
			device[x.Device] = append(device[x.Device], x.HostRule)
		case x.Group != "":
			group[x.Group] = append(group[x.Group], x.HostRule)
		case x.Profile != "":
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

func (c *compiler) checkException(x Exception, kind string) {
	if x.Host.IsZero() {
		c.problem(x.Rule, "%s: it names no host", kind)
	}
	scopes := 0
	for _, set := range []bool{x.Address.IsValid(), x.Device != "", x.Group != "", x.Profile != ""} {
		if set {
			scopes++
		}
	}
	if scopes > 1 {
		c.problem(x.Rule, "%s for %q: it is for more than one of address, device, group and profile; write one %[1]s for each", kind, x.Host)
	}
	if x.Group != "" && c.policy.groups[x.Group] == nil {
		c.problem(x.Rule, "%s for %q: there is no group %q", kind, x.Host, x.Group)
	}
	if x.Profile != "" && c.policy.profiles[x.Profile] == nil {
		c.problem(x.Rule, "%s for %q: there is no profile %q", kind, x.Host, x.Profile)
	}
}

// write notes that a step has a rule for a host, and for its bare name, which the
// rule may speak of too.
func (c *compiler) write(r HostRule, step written) {
	c.policy.written[r.Host.name] |= step
	c.policy.written[strings.TrimPrefix(r.Host.name, "www.")] |= step
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
		if p.Verdict != Allow {
			c.problem(p.Rule, "pass for %q: a pass opens a site; write an exception to %s one", p.Host, p.Verdict)
		}
		if !p.Address.IsValid() && p.Device == "" && p.Group == "" {
			c.problem(p.Rule, "pass for %q: it is for one class or client; name a group, device or address", p.Host)
		}
	}
}

// neverBlock parts the help-lines from the essentials. A help-line is a whole
// host, so that no door ever takes its user for another's. A check that is one
// page of a site opens no name below it.
func (c *compiler) neverBlock() {
	var help, essential []HostRule
	for _, n := range c.spec.NeverBlock {
		c.write(n.HostRule, inNeverBlock)
		if n.Host.IsZero() {
			c.problem(n.Rule, "never-block: it names no host")
		}
		if n.HelpLine {
			if n.Path != "" && n.Path != "/" {
				c.problem(n.Rule, "help-line %q: it is one page (%s), but a help-line is a whole host; leave the path out", n.Host, n.Path)
			}
			help = append(help, n.HostRule)
		} else {
			n.Exact = n.Exact || n.Path != ""
			essential = append(essential, n.HostRule)
		}
	}
	c.policy.helpLines, c.policy.essentials = NewHostSet(help...), NewHostSet(essential...)
}
