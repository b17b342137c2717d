package configs

import (
	"fmt"

	"schoolgate/policy"
)

func (r *schoolReader) readProfiles(v value) {
	v.named("profile", func(name string, v value) {
		r.spec.Profiles = append(r.spec.Profiles, r.readProfile(name, v))
	})
}

// readProfile reads one profile. What it leaves out is the strictest there is,
// except that a category no rule speaks of is open.
func (r *schoolReader) readProfile(name string, v value) policy.Profile {
	p := policy.Profile{
		Name: name, Title: name, Rule: v.pos(), UncategorisedRule: v.pos(),
		Uncategorised: policy.Block, Unsettled: policy.Block,
	}
	rules := &categoryRules{reader: r, profile: &p, subject: v.name, given: map[string]given{}}
	if like, ok := v.child("like"); ok {
		r.inherit(&p, like.as("%s: like", v.name))
	}
	hasBand, hasWatch := false, false
	v.fields(map[string]func(value){
		"title": one(&p.Title, words),
		"like":  func(value) {}, // read above: its rules come before the profile's own
		"band": func(v value) {
			one(&p.Band, band)(v)
			hasBand = true
		},
		"approved_only": one(&p.ApprovedOnly, yesNo),
		"approved": func(v value) {
			v.each(func(v value) {
				p.Approved = append(p.Approved, r.refer(v, "list", func() []string { return keys(r.spec.Lists) }))
			})
		},
		"block": rules.reads(policy.Block, ""),
		"warn":  rules.reads(policy.Warn, ""),
		"allow": rules.reads(policy.Allow, ""),
		"during": func(v value) {
			v.named("period", func(period string, v value) { r.readDuring(rules, period, v) })
		},
		"except": func(v value) { r.readExcepts(&p, rules.subject, v) },
		"uncategorised": func(v value) {
			one(&p.Uncategorised, verdict)(v)
			p.UncategorisedRule = v.pos()
		},
		"unsettled": one(&p.Unsettled, verdict),
		"inspect":   func(v value) { r.readInspected(&p, v) },
		"watch": func(v value) {
			hasWatch = true
			r.readWatch(&p, v)
		},
		"sign_in":     one(&p.SignIn, signIn),
		"scan":        func(v value) { readScan(&p, v) },
		"safe_search": one(&p.SafeSearch, restriction),
		"youtube":     one(&p.YouTube, restriction),
	})
	if p.ScanRule.IsZero() && p.Band.Pupil() {
		p.Scan, p.ScanRule = scanLimits[p.Band], v.pos()
	}
	if !hasBand {
		v.problem("there is no age band (write band: eyfs, ks1, ks2, staff or guest)")
	}
	if !hasWatch {
		p.Watch = usuallyWatched(p.Band)
	}
	if w, ok := v.child("watch"); ok && p.Band == policy.Guest && len(p.Watch) > 0 {
		w.as("%s: watch", v.name).problem("guests are never listened to (leave it out)")
	}
	if u, ok := v.child("unsettled"); ok && p.Unsettled == policy.Warn {
		u.as("%s: unsettled", v.name).problem("nobody may click past a mandatory list (write block or allow)")
	}
	p.Categories = append(p.Categories, rules.own...)
	return p
}

// inherit takes the category rules and excepts of a profile written above.
func (r *schoolReader) inherit(p *policy.Profile, v value) {
	name, ok := v.text()
	if !ok {
		return
	}
	for _, q := range r.spec.Profiles {
		if q.Name == name {
			p.Categories = append(p.Categories, q.Categories...)
			p.Excepts = append(p.Excepts, q.Excepts...)
			return
		}
	}
	v.problem("%v; like names a profile written above this one", unknown("profile", clip(name), r.profileNames()))
}

// categoryRules gathers the block, warn and allow lists of one profile.
type categoryRules struct {
	reader  *schoolReader
	profile *policy.Profile
	subject string
	own     []policy.CategoryRule
	given   map[string]given // by category and period
}

type given struct {
	verdict policy.Verdict
	at      policy.Pos
}

// reads reads a list of categories that get a verdict, always or in a period.
func (c *categoryRules) reads(verdict policy.Verdict, period string) func(value) {
	return func(v value) {
		v.each(func(v value) {
			v = v.as("%s", c.subject)
			cat, ok := read(v, category)
			if !ok {
				return
			}
			key := fmt.Sprint(cat, " ", period)
			if prev, twice := c.given[key]; twice {
				v.problem("category %s is given twice (%s in line %d)", cat, prev.verdict, prev.at.Line)
				return
			}
			if cat.Mandatory() && verdict != policy.Block {
				v.problem("category %s: nobody can lift a mandatory list (take it out of %s)", cat, verdict)
				return
			}
			c.given[key] = given{verdict, v.pos()}
			c.own = append(c.own, policy.CategoryRule{Category: cat, Verdict: verdict, During: period, Rule: v.pos()})
		})
	}
}

func (r *schoolReader) readDuring(rules *categoryRules, period string, v value) {
	at := v.as("%s", rules.subject)
	v.later(func() {
		if !r.periods[period] {
			at.problem("%v", unknown("period", period, keys(r.periods)))
		}
	})
	v = v.as("%s: during %s", rules.subject, period)
	v.fields(map[string]func(value){
		"block": rules.reads(policy.Block, period),
		"warn":  rules.reads(policy.Warn, period),
		"allow": rules.reads(policy.Allow, period),
	})
}

// readExcepts reads which categories outrank which others.
func (r *schoolReader) readExcepts(p *policy.Profile, subject string, v value) {
	v.pairs(func(key, val value) {
		key, val = key.as("%s: except", subject), val.as("%s: except", subject)
		over := policy.CategorySet{}
		val.each(func(v value) {
			c, ok := read(v, category)
			if ok && c.Mandatory() {
				v.problem("category %s: nothing outranks a mandatory list", c)
			}
			over = over.With(c)
		})
		if cat, ok := read(key, category); ok {
			p.Excepts = append(p.Excepts, policy.Except{Category: cat, Over: over, Rule: key.pos()})
		}
	})
}
