package policy

import "strings"

// question is a request with its facts gathered.
type question struct {
	Request
	client  Client
	facts   Facts
	group   string
	profile *Profile
	closed  *HostSet // in an emergency, for everyone

	warnings *warnings // that people went on past
	written  written
	narrow   bool // the rule that decided is for pages, and the page was not seen
}

// written says of which kinds there are rules for a host or its parents, so that
// a decision on a host nobody wrote about, nearly every one, asks no rules.
type written uint8

const (
	inNeverBlock written = 1 << iota
	inPasses
	inExceptions
	inApproved
	inSafeHosts
)

// writtenOf finds what is written of a host.
func (p *Policy) writtenOf(h Host) (w written) {
	for name, more := h.name, true; more; _, name, more = strings.Cut(name, ".") {
		w |= p.written[name]
	}
	return w
}

// mandatorySeverity is what a hit on a mandatory list raises, whatever the alert
// rules say: nobody at the school can switch it off (I5).
const mandatorySeverity = 5

// decide walks the steps in order; the first that speaks wins.
func (p *Policy) decide(q *question) Decision {
	d := Decision{Profile: q.profile}
	switch {
	case q.profile == nil || q.facts.Unreadable: // a mandatory list may hold the host: nothing is let through
		return d
	case q.Host.IsZero():
		d.Reason = ReasonBadHost
		return d
	case p.mandatory(q, &d):
	case q.written&inNeverBlock != 0 && p.neverBlock(q, &d):
	case p.cutOff(q, &d):
	case p.emergency(q, &d):
	case q.written&inPasses != 0 && p.pass(q, &d):
	case q.written&inExceptions != 0 && p.exception(q, &d):
	case p.approved(q, &d):
	case p.category(q, &d):
	default:
		p.uncategorised(q, &d)
	}
	if d.Verdict == Warn && q.warnings.passed(q.Client, q.Host, q.Time) {
		d.Verdict, d.Reason = Allow, ReasonWarned
	}
	if d.Verdict != Block {
		if q.written&inSafeHosts != 0 {
			d.Safe = p.safeHost(q)
		}
		d.Inspect = !d.Shielded && q.Path == "" && (q.facts.Paths || q.facts.MandatoryPaths != Uncategorised)
	}
	d.Inspect = d.Inspect || q.narrow
	if d.Verdict == Allow && q.Path != "" && q.profile.Scan > 0 {
		d.Scan = p.scan(q, &d)
	}
	d.Severity = p.severity(q, &d)
	// What the lists call a help-line is one, where nothing graver is said of it.
	if q.facts.Categories.Has(HelpLine) && d.Severity == 0 && d.Reason != ReasonMandatory && !d.Inspect {
		d.Shielded = true
	}
	return d
}

// severity is how fast a person must hear of it. What was allowed raises only what
// is watched all the same. A refusal raises the gravest alert of all that the host is, whichever
// step refused it: a pornography attempt by a quarantined device is still one.
func (p *Policy) severity(q *question, d *Decision) (s uint8) {
	switch {
	case d.Overblock():
		return min(1, q.profile.severity[d.Category]) // nobody knows that the listed page was meant
	case d.Reason == ReasonMandatory:
		return mandatorySeverity
	case d.Verdict == Allow:
		return q.profile.watch(q.facts.Categories, d)
	}
	for c := range q.facts.Categories.All() {
		s = max(s, q.profile.severity[c])
	}
	return s
}

// watch is how fast a person must hear of what was allowed: hearing of it does not
// depend on the rule that blocks (M11). What an adult approved, what never blocks and
// what is taken for something better than its list says raise nothing.
func (p *Profile) watch(cats CategorySet, d *Decision) (s uint8) {
	switch d.Reason {
	case ReasonPass, ReasonException, ReasonCategory, ReasonDefault, ReasonWarned:
	default:
		return 0
	}
	for c := range cats.All() {
		if p.watched[c] > s {
			s, d.Category = p.watched[c], c
		}
	}
	return s
}

// vouched are categories whose pages speak of everything, and are not read for it: a
// list that says what a site is knows more than the words on one page.
var vouched = SetOf(Education, Government, Health, SexEducation, HelpLine, SchoolServices, Charity, News, Finance,
	Children, ChildSearch, SearchEngines, YouTube, Reference, Updates)

// anybodys are categories where anybody can put a page up, whatever else the host is.
var anybodys = SetOf(WebHosting, Forums, FileSharing, Translation, Shortener)

// scan is what an allowed page is to be read for: nothing where the school or a list
// vouches for it.
func (p *Policy) scan(q *question, d *Decision) CategorySet {
	switch d.Reason {
	case ReasonCategory, ReasonUncategorised, ReasonDefault:
	default:
		return CategorySet{}
	}
	cats := q.facts.Categories
	if !cats.Intersect(vouched).Empty() && cats.Intersect(anybodys).Empty() {
		return CategorySet{}
	}
	return p.rules(q).block
}

func (p *Policy) mandatory(q *question, d *Decision) bool {
	switch {
	case q.facts.Mandatory != Uncategorised:
		d.Verdict, d.Reason, d.Category = Block, ReasonMandatory, q.facts.Mandatory
		return true
	case q.unsettled() && q.profile.Unsettled != Allow:
		d.Verdict, d.Reason, d.Category, d.Rule = Block, ReasonMandatory, q.facts.MandatoryPaths, q.profile.Rule
		d.Inspect = true
		return true
	}
	return false
}

// unsettled reports whether pages of the host are on a mandatory list and the
// page asked for cannot be seen (I3).
func (q *question) unsettled() bool {
	return q.facts.MandatoryPaths != Uncategorised && q.Path == ""
}

func (p *Policy) neverBlock(q *question, d *Decision) bool {
	if r := p.helpLines.Find(q.Host, q.Path, q.Time); r != nil {
		d.Verdict, d.Reason, d.Category, d.Rule, d.Note, d.Shielded = Allow, ReasonNeverBlock, HelpLine, r.Rule, r.Note, true
		return true
	}
	// A check that is one page of a site opens that page alone: neither the name
	// nor a tunnel to it is the check.
	path := q.Path
	if path == "" {
		path = "/"
	}
	r := p.essentials.Find(q.Host, path, q.Time)
	if r == nil {
		return false
	}
	d.Verdict, d.Reason, d.Category, d.Rule, d.Note = Allow, ReasonNeverBlock, Infrastructure, r.Rule, r.Note
	return true
}

func (p *Policy) cutOff(q *question, d *Decision) bool {
	switch {
	case q.client.Quarantined:
		d.Verdict, d.Reason = Block, ReasonQuarantine
	case q.client.Unsigned:
		d.Verdict, d.Reason = Block, ReasonUnsigned
	case q.profile.SignIn == SignInRequired && q.client.Person == "" && q.Door.web():
		d.Verdict, d.Reason, d.Rule = Block, ReasonSignIn, q.profile.Rule
	default:
		return false
	}
	return true
}

// emergency closes what staff closed at once for everyone (R25): nothing but the
// steps before it opens that.
func (p *Policy) emergency(q *question, d *Decision) bool {
	r := q.closed.Find(q.Host, q.Path, q.Time)
	if r == nil {
		return false
	}
	d.Verdict, d.Reason, d.Rule = Block, ReasonEmergency, r.Rule // its reason is of the incident, and on no page
	d.Category = q.facts.Categories.First()
	q.narrow = q.Path == "" && r.Path != ""
	return true
}

// find gives the rule of the nearest scope that speaks of the request. A client
// is known by address and device alike, so of those two the nearer host wins.
func (s *scoped) find(q *question) *HostRule {
	address := s.address[q.client.Addr].Find(q.Host, q.Path, q.Time)
	device := s.device[q.client.Device].Find(q.Host, q.Path, q.Time)
	switch {
	case address != nil && device != nil:
		return nearerRule(address, device, q.Path)
	case address != nil:
		return address
	case device != nil:
		return device
	}
	if r := s.group[q.group].Find(q.Host, q.Path, q.Time); r != nil {
		return r
	}
	if r := s.profile[q.profile.Name].Find(q.Host, q.Path, q.Time); r != nil {
		return r
	}
	return s.everyone.Find(q.Host, q.Path, q.Time)
}

func nearerRule(a, b *HostRule, path string) *HostRule {
	if n, m := len(a.Host.name), len(b.Host.name); n > m || n == m && a.nearerThan(b, path) {
		return a
	}
	return b
}

func (p *Policy) pass(q *question, d *Decision) bool {
	r := p.passes.find(q)
	if r == nil {
		return false
	}
	d.Verdict, d.Reason, d.Rule, d.Note = r.Verdict, ReasonPass, r.Rule, r.Note
	q.narrow = q.Path == "" && r.Path != ""
	return true
}

func (p *Policy) exception(q *question, d *Decision) bool {
	r := p.exceptions.find(q)
	if r == nil {
		return false
	}
	d.Verdict, d.Reason, d.Rule, d.Note = r.Verdict, ReasonException, r.Rule, r.Note
	q.narrow = q.Path == "" && r.Path != ""
	if d.Verdict != Allow {
		d.Category = q.facts.Categories.First()
	}
	return true
}

// approved opens what an adult has approved, whatever category lists hold it; an
// approved-only profile gets nothing else.
func (p *Policy) approved(q *question, d *Decision) bool {
	if r := q.findApproved(); r != nil {
		d.Verdict, d.Reason, d.Rule, d.Note = Allow, ReasonApproved, r.Rule, r.Note
		q.narrow = q.Path == "" && r.Path != ""
		return true
	}
	if !q.profile.ApprovedOnly {
		return false
	}
	d.Verdict, d.Reason, d.Rule = Block, ReasonNotApproved, q.profile.Rule
	// Say what it is, too: a pornography attempt by a young child is still one.
	d.Category = q.facts.Categories.Intersect(p.rules(q).block).First()
	return true
}

func (q *question) findApproved() *HostRule {
	if q.written&inApproved == 0 {
		return nil
	}
	return q.profile.approved.Find(q.Host, q.Path, q.Time)
}

// rules is the category rules of the profile in the period in force.
func (p *Policy) rules(q *question) *table {
	tables := q.profile.tables
	if i := p.Timetable.At(q.Time); i >= 0 {
		return &tables[i]
	}
	return &tables[len(tables)-1]
}

func (p *Policy) category(q *question, d *Decision) bool {
	cats := q.facts.Categories
	if cats.Empty() {
		return false
	}
	rules := p.rules(q)
	hard, soft := cats.Intersect(rules.block), cats.Intersect(rules.warn)
	if against := hard.Union(soft); !against.Empty() {
		if x := rules.except(cats, against); x != nil {
			d.Verdict, d.Reason, d.Category, d.Rule = Allow, ReasonExcept, x.Category, x.Rule
			return true
		}
		d.Verdict, d.Category = Block, hard.First()
		if hard.Empty() {
			d.Verdict, d.Category = Warn, soft.First()
		}
		d.Reason, d.Rule = ReasonCategory, rules.rules[d.Category]
		return true
	}
	if ok := cats.Intersect(rules.allow); !ok.Empty() {
		d.Verdict, d.Reason, d.Category = Allow, ReasonCategory, ok.First()
		d.Rule = rules.rules[d.Category]
		return true
	}
	d.Verdict, d.Reason, d.Category, d.Rule = Allow, ReasonDefault, cats.First(), q.profile.Rule
	return true
}

// except is the first except that outranks everything against the host.
func (t *table) except(cats, against CategorySet) *Except {
	for i := range t.excepts {
		if x := &t.excepts[i]; cats.Has(x.Category) && against.Minus(x.Over).Empty() {
			return x
		}
	}
	return nil
}

func (p *Policy) uncategorised(q *question, d *Decision) {
	d.Verdict, d.Reason, d.Rule = q.profile.Uncategorised, ReasonUncategorised, q.profile.UncategorisedRule
}

// safeHost is the host to reach instead of the one asked for, where the profile
// holds the service to its safety mode; the zero Host for none.
func (p *Policy) safeHost(q *question) Host {
	safe, ok := p.safe[q.Host]
	if !ok {
		return Host{}
	}
	mode := q.profile.SafeSearch
	if safe.YouTube {
		mode = q.profile.YouTube
	}
	switch mode {
	case Strict:
		return safe.Strict
	case Moderate:
		return safe.Moderate
	}
	return Host{}
}
