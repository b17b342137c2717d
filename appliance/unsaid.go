package appliance

import (
	"time"

	"schoolgate/categories"
	"schoolgate/incidents"
	"schoolgate/policy"
	"schoolgate/redaction"
)

// lists are the lists in force; nil before there are any.
func (a *Appliance) lists() policy.Classifier {
	if s := a.store.Load(); s != nil {
		return categories.Suffixed{Classifier: s}
	}
	return nil
}

// helpLine reports whether a host is a help-line's by the policy in force, also with
// a suffix of the school's behind it where suffix says so.
func (a *Appliance) helpLine(name string, suffix bool) bool {
	now := a.engine.Current()
	host, err := policy.ParseHost(name)
	if now == nil || now.Policy == nil || err != nil {
		return false
	}
	is := func(h policy.Host) bool {
		return now.Policy.HelpLine(h, time.Now()) || now.Lists.Classify(h, "").Categories.Has(policy.HelpLine)
	}
	if is(host) {
		return true
	}
	if suffix {
		for front := range categories.Fronts(host) {
			if is(front) {
				return true
			}
		}
	}
	return false
}

// unsaidChange takes them out of what goes into the register of incidents.
func unsaidChange(lists policy.Classifier, c *incidents.Change) {
	for _, text := range []*string{&c.Text, &c.To, &c.Number, &c.Changed} {
		*text = redaction.Text(lists, *text)
	}
}
