package policy

import (
	"fmt"
	"slices"
)

// Step is one line of a [Trace]: a step of the decision order and what it said.
type Step struct {
	Reason Reason
	Rule   Pos
	Said   string
}

// Trace tells the whole way of a decision, for the person who asks why: each
// step that was passed over, and last the one that spoke.
type Trace []Step

// order is the decision order, with what each step says when it is passed over.
// A step is known by the reasons it can give.
var order = [...]struct {
	reasons []Reason
	passed  string
}{
	{[]Reason{ReasonMandatory}, "on no mandatory list"},
	{[]Reason{ReasonNeverBlock}, "not in the never-block set"},
	{[]Reason{ReasonQuarantine, ReasonUnsigned, ReasonSignIn}, "neither in quarantine nor without a signed policy"},
	{[]Reason{ReasonEmergency}, "not closed in an emergency"},
	{[]Reason{ReasonPass}, "no live pass speaks of it"},
	{[]Reason{ReasonException}, "no exception of the school speaks of it"},
	{[]Reason{ReasonApproved, ReasonNotApproved}, "on no approved list of the profile, which is not held to them"},
	{[]Reason{ReasonCategory, ReasonExcept, ReasonDefault, ReasonWarned}, "in no category"},
}

// trace tells the way of a decision afterwards. Deciding leaves none, so that
// the doors pay nothing for it; the question and the answer hold all there is.
func (q *question) trace(d *Decision) Trace {
	var t Trace
	if d.Reason >= ReasonMandatory {
		for _, step := range order {
			if slices.Contains(step.reasons, d.Reason) {
				break
			}
			s := Step{Reason: step.reasons[0], Said: step.passed}
			if s.Reason == ReasonEmergency && q.closed.Len() == 0 {
				continue // nothing is, on nearly every day
			}
			if s.Reason == ReasonMandatory && q.unsettled() {
				s.Rule = q.profile.Rule
				s.Said = fmt.Sprintf("pages of this host are on a mandatory list (%s) and the page cannot be seen: the profile lets it pass, a declared gap", q.facts.MandatoryPaths)
			}
			t = append(t, s)
		}
	}
	return append(t, Step{Reason: d.Reason, Rule: d.Rule, Said: q.said(d)})
}

// said is what the deciding step says, in a line.
func (q *question) said(d *Decision) string {
	switch d.Reason {
	case ReasonBadHost:
		return "block: the host cannot be read"
	case ReasonMandatory:
		if d.Overblock() {
			return fmt.Sprintf("block: pages of this host are on a mandatory list (%s) and the page cannot be seen", d.Category)
		}
		return fmt.Sprintf("block: on a mandatory list (%s), which nothing lifts", d.Category)
	case ReasonNeverBlock:
		if d.Shielded {
			return "allow: a help-line, always open and never recorded by person"
		}
		return "allow: in the never-block set"
	case ReasonQuarantine:
		if q.client.Device == "" {
			return fmt.Sprintf("block: the device at %s is in quarantine", q.client.Addr)
		}
		return fmt.Sprintf("block: the device %q is in quarantine", q.client.Device)
	case ReasonUnsigned:
		return "block: no signed acceptable-use policy on record"
	case ReasonSignIn:
		return fmt.Sprintf("block: %s asks people to sign in, and nobody has", q.profile.Name)
	case ReasonEmergency:
		return "block: closed for everyone in an emergency"
	case ReasonPass:
		return fmt.Sprintf("%s by a live pass: %s", d.Verdict, d.Note)
	case ReasonException:
		return fmt.Sprintf("%s by the school's exception: %s", d.Verdict, d.Note)
	case ReasonApproved:
		return "allow: on an approved list"
	case ReasonNotApproved:
		return fmt.Sprintf("block: %s sees approved sites only, and this is on no approved list", q.profile.Name)
	case ReasonCategory:
		return fmt.Sprintf("%s by category %s, of %v", d.Verdict, d.Category, q.facts.Categories.IDs())
	case ReasonExcept:
		return fmt.Sprintf("allow: %s outranks the rest of %v", d.Category, q.facts.Categories.IDs())
	case ReasonDefault:
		return fmt.Sprintf("allow: %s has no rule on any of %v", q.profile.Name, q.facts.Categories.IDs())
	case ReasonWarned:
		return "allow: it warns of this, and somebody at the device went on"
	case ReasonUncategorised:
		return fmt.Sprintf("%s: what %s gives to a host on no list", d.Verdict, q.profile.Name)
	}
	if q.facts.Unreadable {
		return "block: the category store cannot be read, so everything is refused"
	}
	return "block: no policy or no category store is loaded, so everything is refused"
}
