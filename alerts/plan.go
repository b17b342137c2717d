package alerts

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"schoolgate/policy"
)

// The roles that have a meaning here. A school may name others, such as "office";
// they hear of pupils where a rule names them.
const (
	RoleDSL        = "dsl"
	RoleDeputy     = "deputy"
	RoleHead       = "head"
	RoleChair      = "chair"      // of governors
	RoleIT         = "it"         // of the box and never of a person (R35)
	RoleLeadership = "leadership" // as IT
)

// Person is somebody who can be told, by mail, by webhook or both.
type Person struct {
	Roles   []string
	Mail    string // address, "" for none
	Webhook string // https URL, "" for none

	// What is theirs. An alert on any of it is about them: they are never told,
	// whatever roles they hold (R36).
	Devices, Logins, Addresses []string

	unmailed bool // there is no mail server
}

func (p *Person) holds(role string) bool { return slices.Contains(p.Roles, role) }

// leads reports whether the person holds a safeguarding role.
func (p *Person) leads() bool {
	return slices.ContainsFunc([]string{RoleDSL, RoleDeputy, RoleHead, RoleChair}, p.holds)
}

// ways are the addresses that reach the person.
func (p *Person) ways() (list []string) {
	if p.Mail != "" && !p.unmailed {
		list = append(list, p.Mail)
	}
	if p.Webhook != "" {
		list = append(list, p.Webhook)
	}
	return list
}

// Is reports whether a name is the person's: their mail address or a log-in.
func (p *Person) Is(name string) bool {
	return name != "" && (strings.EqualFold(name, p.Mail) || slices.ContainsFunc(p.Logins, func(l string) bool { return strings.EqualFold(l, name) }))
}

// Away is a stretch of dates on which a person, or all who hold a role, cannot
// act. The dates are year*10000+month*100+day, both included, by the school's
// calendar.
type Away struct {
	Who         string // a role or a mail address
	First, Last int
}

// Rule says who hears of what. The severity of a category is the policy's own
// business; a theme's may be set here.
type Rule struct {
	Categories policy.CategorySet
	Themes     []string
	Bypass     *Bypass  // tries to get round the filter, counted
	Bands      [5]bool  // by [policy.AgeBand]
	Severity   uint8    // of themes and of bypass; 0 leaves that of the event
	To         []string // roles
}

// Plan says who is told of an alert, when, and who is told next if nobody has
// answered for it. The zero value tells nobody.
type Plan struct {
	People []Person
	Away   []Away
	Rules  []Rule
	// Bands are the age bands of the profiles, by name.
	Bands map[string]policy.AgeBand

	Escalate []string // roles, in the order in which they are told of what was not acknowledged
	Clocks   [6]Clock // by severity: acknowledged within; zero is no clock

	Hours  Hours
	AtOnce uint8    // out of hours only these severities and graver are told; 0 for all
	Night  []string // roles told besides, out of hours
	Digest Digest
	Alive  Every // a mail that says that the box works and can send (T19)
}

// about is who the alert is about, by their place in People: its owners when it
// was opened, and whoever owns by now what it came from.
func (p *Plan) about(a *Alert) (who []int) {
	for i := range p.People {
		person := &p.People[i]
		if slices.ContainsFunc(a.About, func(way string) bool { return sameWay(person, way) }) || person.owns(a.Device, a.Person, a.Client) {
			who = append(who, i)
		}
	}
	return who
}

func sameWay(p *Person, way string) bool {
	return slices.ContainsFunc(p.ways(), func(w string) bool { return strings.EqualFold(w, way) })
}

func (p *Person) owns(device, login, client string) bool {
	has := func(list []string, s string) bool {
		return s != "" && slices.ContainsFunc(list, func(l string) bool { return strings.EqualFold(l, s) })
	}
	return has(p.Devices, device) || has(p.Logins, login) || p.Is(login) || has(p.Addresses, client)
}

// owners are the ways to whoever an event is about, sorted.
func (p *Plan) owners(ev *policy.Event) (ways []string) {
	for i := range p.People {
		if p.People[i].owns(ev.Device, ev.Person, ev.Client) {
			ways = append(ways, p.People[i].ways()...)
		}
	}
	slices.Sort(ways)
	return slices.Compact(ways)
}

// Whose reports whether an event is of somebody whom the plan names, and whether they
// hold a safeguarding role: then it is the matter of the chair of governors (R36).
func (p *Plan) Whose(ev *policy.Event) (named, leads bool) {
	for i := range p.People {
		if person := &p.People[i]; person.owns(ev.Device, ev.Person, ev.Client) {
			named, leads = true, leads || person.leads()
		}
	}
	return named, leads
}

// scope is who may hear of an alert at all.
type scope struct {
	plan   *Plan
	barred []string // ways of those it is about
	roles  []string // that may hear of it, in the order they stand in for each other; nil: all but the keepers'
	date   int
}

// scopeOf finds whom an alert may be told at a moment. Alerts on pupils: everybody
// but IT and leadership. On adults: the Headteacher, in their absence the chair. On
// someone who holds a safeguarding role: the chair of governors; where none is
// named the Headteacher, unless it is about them (R36, F8).
func (p *Plan) scopeOf(a *Alert, at time.Time) scope {
	s := scope{plan: p, date: p.Hours.date(at)}
	subjects := p.about(a)
	lead := false
	for _, i := range subjects {
		s.barred = append(s.barred, p.People[i].ways()...)
		lead = lead || p.People[i].leads()
	}
	switch {
	case lead:
		s.roles = []string{RoleChair, RoleHead}
		if len(s.hold(RoleChair, false)) > 0 {
			s.roles = s.roles[:1]
		}
	case a.Adult || len(subjects) > 0:
		s.roles = []string{RoleHead, RoleChair}
	}
	return s
}

// open reports whether the alert is an ordinary one, on a pupil.
func (s *scope) open() bool { return s.roles == nil }

// permits reports whether holders of a role may hear of the alert.
func (s *scope) permits(role string) bool {
	if s.open() {
		return role != RoleIT && role != RoleLeadership
	}
	return slices.Contains(s.roles, role)
}

// hold is the ways to those who hold a role and may be told; with present, only
// to those who are not away.
func (s *scope) hold(role string, present bool) (ways []string) {
	for i := range s.plan.People {
		person := &s.plan.People[i]
		if !person.holds(role) || present && s.plan.away(person, s.date) {
			continue
		}
		for _, way := range person.ways() {
			if !slices.ContainsFunc(s.barred, func(b string) bool { return strings.EqualFold(b, way) }) {
				ways = append(ways, way)
			}
		}
	}
	return unique(ways)
}

func (p *Plan) away(person *Person, date int) bool {
	return slices.ContainsFunc(p.Away, func(w Away) bool {
		return w.First <= date && date <= w.Last && (person.holds(w.Who) || strings.EqualFold(w.Who, person.Mail))
	})
}

// standIns are the roles that step in for another, in order.
func (s *scope) standIns(role string) []string {
	order := s.roles
	if s.open() {
		order = []string{RoleDSL, RoleDeputy, RoleHead, RoleChair}
	}
	return slices.DeleteFunc(slices.Clone(order), func(r string) bool { return r == role })
}

// reach is who hears for a role: those who hold it and are there, else whoever
// stands in for them.
func (s *scope) reach(role string) []string {
	for _, r := range append([]string{role}, s.standIns(role)...) {
		if ways := s.hold(r, true); len(ways) > 0 {
			return ways
		}
	}
	return nil
}

// To lists who is told of an alert at a moment, without repeats. It is empty only
// where nobody is named who may hear of it: somebody who is away is told before
// nobody is.
func (p *Plan) To(a *Alert, at time.Time) (ways []string) {
	s := p.scopeOf(a, at)
	roles := p.rolesFor(a, &s, at)
	for _, role := range roles {
		ways = append(ways, s.reach(role)...)
	}
	if len(ways) == 0 {
		for _, role := range append(slices.Clone(roles), s.standIns("")...) {
			if ways = s.hold(role, false); len(ways) > 0 {
				break
			}
		}
	}
	return unique(ways)
}

// rolesFor are the roles told first.
func (p *Plan) rolesFor(a *Alert, s *scope, at time.Time) (roles []string) {
	if !s.open() {
		return s.roles[:1]
	}
	for _, role := range a.Roles {
		if s.permits(role) {
			roles = append(roles, role)
		}
	}
	if len(roles) == 0 {
		roles = []string{RoleDSL}
		if a.Severity >= 4 { // so that none waits for a DSL who is absent without saying so (R32)
			roles = append(roles, RoleDeputy)
		}
	}
	if p.AtOnce > 0 && !p.Hours.Open(at) {
		roles = append(roles, p.Night...)
	}
	return slices.DeleteFunc(roles, func(r string) bool { return !s.permits(r) })
}

// next is who hears of an alert that nobody has acknowledged in time: the first
// role of the chain that has somebody who was not told yet. Empty at the chain's
// end.
func (p *Plan) next(a *Alert, at time.Time) (role string, ways []string) {
	s := p.scopeOf(a, at)
	for _, present := range []bool{true, false} { // those away only if there is nobody else
		for _, role := range p.chain(&s) {
			ways := slices.DeleteFunc(s.hold(role, present), func(w string) bool {
				return slices.ContainsFunc(a.ToldTo, func(t string) bool { return strings.EqualFold(t, w) })
			})
			if len(ways) > 0 {
				return role, ways
			}
		}
	}
	return "", nil
}

func (p *Plan) chain(s *scope) (roles []string) {
	if !s.open() {
		return s.roles
	}
	return slices.DeleteFunc(slices.Clone(p.Escalate), func(r string) bool { return !s.permits(r) })
}

// last is who is reminded once the chain has been told: its last role that has
// anybody, else whom the alert was for.
func (p *Plan) last(a *Alert, at time.Time) []string {
	s := p.scopeOf(a, at)
	for _, present := range []bool{true, false} {
		for _, role := range slices.Backward(p.chain(&s)) {
			if ways := s.hold(role, present); len(ways) > 0 {
				return ways
			}
		}
	}
	return p.To(a, at)
}

// May reports whether an address may still be sent an alert: it belongs to
// somebody named whom the alert is not about, in a role that may hear of it.
func (p *Plan) may(way string, a *Alert, at time.Time) bool {
	s := p.scopeOf(a, at)
	for i := range p.People {
		if !sameWay(&p.People[i], way) {
			continue
		}
		for _, role := range p.People[i].Roles {
			if s.permits(role) && slices.ContainsFunc(s.hold(role, false), func(w string) bool { return strings.EqualFold(w, way) }) {
				return true
			}
		}
	}
	return false
}

// route finds the rules that speak of an event: the roles they name and the
// severity they set.
func (p *Plan) route(ev *policy.Event) (roles []string, severity uint8) {
	severity = min(ev.Severity, 5)
	set := uint8(0)
	for i := range p.Rules {
		r := &p.Rules[i]
		if !r.Bands[p.band(ev)] {
			continue
		}
		byTheme := ev.Theme != "" && slices.Contains(r.Themes, ev.Theme)
		if !byTheme && (ev.Category == policy.Uncategorised || !r.Categories.Has(ev.Category)) {
			continue
		}
		roles = append(roles, r.To...)
		if byTheme {
			set = max(set, r.Severity)
		}
	}
	if set > 0 && !ev.Category.Mandatory() {
		severity = set
	}
	return unique(roles), severity
}

// band is the age band of whoever an event is of.
func (p *Plan) band(ev *policy.Event) policy.AgeBand {
	if b, ok := p.Bands[ev.Profile]; ok && b.Pupil() == ev.Pupil {
		return b
	}
	if ev.Pupil {
		return policy.KS2
	}
	return policy.Staff
}

// keepers are told of the box itself.
func (p *Plan) keepers() (ways []string) {
	for _, role := range []string{RoleHead, RoleIT, RoleLeadership} {
		ways = append(ways, p.holders(role)...)
	}
	return unique(ways)
}

func (p *Plan) holders(role string) (ways []string) {
	for i := range p.People {
		if p.People[i].holds(role) {
			ways = append(ways, p.People[i].ways()...)
		}
	}
	return ways
}

// known is every address that anything may be sent to.
func (p *Plan) known() (ways []string) {
	for i := range p.People {
		ways = append(ways, p.People[i].ways()...)
	}
	return unique(ways)
}

// readsAs is the role as which somebody looks at alerts on the box; "" for dsl,
// which is what its commands take them for.
func (p *Plan) readsAs(way string) string {
	for _, role := range []string{RoleHead, RoleChair} {
		if slices.ContainsFunc(p.holders(role), func(w string) bool { return strings.EqualFold(w, way) }) {
			return role
		}
	}
	return ""
}

// listeners is everybody who may hear of some alert.
func (p *Plan) listeners() (ways []string) {
	for i := range p.People {
		if slices.ContainsFunc(p.People[i].Roles, func(r string) bool { return r != RoleIT && r != RoleLeadership }) {
			ways = append(ways, p.People[i].ways()...)
		}
	}
	return unique(ways)
}

// mailOff takes the mail addresses out where there is no server to send by.
func (p *Plan) mailOff() {
	p.People = slices.Clone(p.People)
	for i := range p.People {
		p.People[i].unmailed = true
	}
}

func (p *Plan) check() error {
	for i := range p.People {
		person := &p.People[i]
		if person.Mail != "" {
			if err := checkAddress(person.Mail); err != nil {
				return err
			}
		}
		if person.Webhook != "" {
			if _, err := checkHook(person.Webhook); err != nil {
				return err
			}
		}
		if len(person.Roles) == 0 {
			return fmt.Errorf("alerts: %s has no role", strings.Join(person.ways(), ", "))
		}
	}
	return nil
}

func unique(list []string) []string {
	var out []string
	for _, s := range list {
		if !slices.ContainsFunc(out, func(o string) bool { return strings.EqualFold(o, s) }) {
			out = append(out, s)
		}
	}
	return out
}
