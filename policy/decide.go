package policy

// question is a request with its facts gathered.
type question struct {
	Request
	client  Client
	facts   Facts
	group   string
	profile *Profile
}

// decide walks the steps in order; the first that speaks wins.
func (p *Policy) decide(q question, t *Trace) Decision {
	d := Decision{Profile: q.profile}
	if q.profile == nil {
		t.add(ReasonNotReady, Pos{}, "no profile applies")
		return d
	}
	if q.facts.Unreadable { // a mandatory list may hold the host: nothing is let through
		t.add(ReasonNotReady, Pos{}, "the category store cannot be read: everything is refused")
		return d
	}
	_ = p.mandatory(&q, &d, t) ||
		p.neverBlock(&q, &d, t) ||
		p.cutOff(&q, &d, t) ||
		p.pass(&q, &d, t) ||
		p.exception(&q, &d, t) ||
		p.approvedOnly(&q, &d, t) ||
		p.category(&q, &d, t) ||
		p.uncategorised(&q, &d, t)
	if d.Verdict == Allow {
		d.Safe = p.safeHost(&q)
	}
	if d.Reason != ReasonNeverBlock {
		d.Severity = p.severity(&q, &d)
	}
	t.add(d.Reason, d.Rule, "%s for %s", d.Verdict, q.profile.Name)
	return d
}

// severity is the gravest alert that the facts raise under the profile. Alerts
// follow what the host is and not what the verdict was, save that a category
// which an except outranked raises nothing.
func (p *Policy) severity(q *question, d *Decision) uint8 {
	var s uint8
	if d.Reason == ReasonMandatory {
		return q.profile.severity[d.Category]
	}
	if d.Verdict == Allow {
		return 0
	}
	for cats := q.facts.Categories; !cats.Empty(); {
		c := cats.First()
		cats = cats.Without(c)
		s = max(s, q.profile.severity[c])
	}
	return s
}

func (p *Policy) mandatory(q *question, d *Decision, t *Trace) bool {
	switch {
	case q.facts.Mandatory != Uncategorised:
		d.Verdict, d.Reason, d.Category = Block, ReasonMandatory, q.facts.Mandatory
		t.add(ReasonMandatory, Pos{}, "on a mandatory list (%s); nothing lifts it", d.Category)
		return true
	case q.facts.MandatoryPaths != Uncategorised && q.Path == "":
		d.Inspect = true
		if q.profile.Unsettled == Allow {
			t.add(ReasonMandatory, q.profile.Rule, "pages of this host are on a mandatory list (%s) and the page cannot be seen: gap declared by the profile", q.facts.MandatoryPaths)
			return false
		}
		d.Verdict, d.Reason, d.Category, d.Rule = Block, ReasonMandatory, q.facts.MandatoryPaths, q.profile.Rule
		t.add(ReasonMandatory, d.Rule, "pages of this host are on a mandatory list (%s) and the page cannot be seen", d.Category)
		return true
	}
	t.add(ReasonMandatory, Pos{}, "on no mandatory list")
	return false
}

func (p *Policy) neverBlock(q *question, d *Decision, t *Trace) bool {
	if r := p.helpLines.Find(q.Host, q.Path, q.Time); r != nil {
		d.Verdict, d.Reason, d.Category, d.Rule, d.Note, d.Shielded = Allow, ReasonNeverBlock, HelpLine, r.Rule, r.Note, true
		t.add(ReasonNeverBlock, r.Rule, "a help-line: always open, never recorded by person")
		return true
	}
	r := p.essentials.Find(q.Host, q.Path, q.Time)
	// A check that is one path of a big site opens that path, and the name in the
	// DNS, where there are no paths; it does not open the site's TLS door.
	if r == nil || (r.Path != "" && q.Path == "" && q.Door != DoorDNS) {
		t.add(ReasonNeverBlock, Pos{}, "not in the never-block set")
		return false
	}
	d.Verdict, d.Reason, d.Category, d.Rule, d.Note = Allow, ReasonNeverBlock, Infrastructure, r.Rule, r.Note
	t.add(ReasonNeverBlock, r.Rule, "in the never-block set")
	return true
}

func (p *Policy) cutOff(q *question, d *Decision, t *Trace) bool {
	switch {
	case q.client.Quarantined:
		d.Verdict, d.Reason = Block, ReasonQuarantine
		t.add(ReasonQuarantine, Pos{}, "device %q is in quarantine", q.client.Device)
	case q.client.Unsigned:
		d.Verdict, d.Reason = Block, ReasonUnsigned
		t.add(ReasonUnsigned, Pos{}, "no signed acceptable-use policy on record")
	default:
		return false
	}
	return true
}

// find gives the rule of the nearest scope that speaks of the request.
func (s *scoped) find(q *question) *HostRule {
	if r := s.address[q.client.Addr].Find(q.Host, q.Path, q.Time); r != nil {
		return r
	}
	if q.client.Device != "" {
		if r := s.device[q.client.Device].Find(q.Host, q.Path, q.Time); r != nil {
			return r
		}
	}
	if r := s.group[q.group].Find(q.Host, q.Path, q.Time); r != nil {
		return r
	}
	if r := s.profile[q.profile.Name].Find(q.Host, q.Path, q.Time); r != nil {
		return r
	}
	return s.everyone.Find(q.Host, q.Path, q.Time)
}

func (p *Policy) pass(q *question, d *Decision, t *Trace) bool {
	r := p.passes.find(q)
	if r == nil {
		return false
	}
	d.Verdict, d.Reason, d.Rule, d.Note = r.Verdict, ReasonPass, r.Rule, r.Note
	t.add(ReasonPass, r.Rule, "a live pass until %s", r.Until)
	return true
}

func (p *Policy) exception(q *question, d *Decision, t *Trace) bool {
	r := p.exceptions.find(q)
	if r == nil {
		t.add(ReasonException, Pos{}, "no pass and no exception speaks of it")
		return false
	}
	d.Verdict, d.Reason, d.Rule, d.Note = r.Verdict, ReasonException, r.Rule, r.Note
	if d.Verdict != Allow {
		d.Category = q.facts.Categories.First()
	}
	t.add(ReasonException, r.Rule, "the school's exception: %s", r.Note)
	return true
}

func (p *Policy) approvedOnly(q *question, d *Decision, t *Trace) bool {
	if !q.profile.ApprovedOnly {
		return false
	}
	if r := q.profile.approved.Find(q.Host, q.Path, q.Time); r != nil {
		d.Verdict, d.Reason, d.Rule, d.Note = Allow, ReasonApproved, r.Rule, r.Note
		t.add(ReasonApproved, r.Rule, "on an approved list")
		return true
	}
	d.Verdict, d.Reason, d.Rule = Block, ReasonNotApproved, q.profile.Rule
	// Say what it is, too: a pornography attempt by a young child is still one.
	d.Category = q.facts.Categories.Intersect(q.profile.table(p, q).block).First()
	t.add(ReasonNotApproved, d.Rule, "%s sees approved sites only, and this is on no approved list", q.profile.Name)
	return true
}

func (pr *Profile) table(p *Policy, q *question) *table {
	if len(pr.tables) == 1 {
		return &pr.tables[0]
	}
	i := p.Timetable.At(q.Time)
	if i < 0 {
		i = len(pr.tables) - 1
	}
	return &pr.tables[i]
}

func (p *Policy) category(q *question, d *Decision, t *Trace) bool {
	cats := q.facts.Categories
	if cats.Empty() {
		return false
	}
	rules := q.profile.table(p, q)
	against := cats.Intersect(rules.block.Union(rules.warn))
	if !against.Empty() {
		for i := range rules.excepts {
			x := &rules.excepts[i]
			if cats.Has(x.Category) && against.Minus(x.Over).Empty() {
				d.Verdict, d.Reason, d.Category, d.Rule = Allow, ReasonExcept, x.Category, x.Rule
				t.add(ReasonExcept, x.Rule, "%s outranks %v", x.Category, against.IDs())
				return true
			}
		}
		d.Verdict, d.Category = Warn, against.First()
		if hard := cats.Intersect(rules.block); !hard.Empty() {
			d.Verdict, d.Category = Block, hard.First()
		}
		d.Reason, d.Rule = ReasonCategory, rules.rules[d.Category]
		t.add(ReasonCategory, d.Rule, "%v: %s by category %s", cats.IDs(), d.Verdict, d.Category)
		return true
	}
	if ok := cats.Intersect(rules.allow); !ok.Empty() {
		d.Category = ok.First()
		d.Verdict, d.Reason, d.Rule = Allow, ReasonCategory, rules.rules[d.Category]
		t.add(ReasonCategory, d.Rule, "%v: allow by category %s", cats.IDs(), d.Category)
		return true
	}
	d.Verdict, d.Reason, d.Category, d.Rule = Allow, ReasonDefault, cats.First(), q.profile.Rule
	t.add(ReasonDefault, d.Rule, "%v: no rule of %s speaks of it", cats.IDs(), q.profile.Name)
	return true
}

func (p *Policy) uncategorised(q *question, d *Decision, t *Trace) bool {
	d.Verdict, d.Reason, d.Rule = q.profile.Uncategorised, ReasonUncategorised, q.profile.UncategorisedRule
	t.add(ReasonUncategorised, d.Rule, "on no list")
	return true
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
