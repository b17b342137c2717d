package alerts

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"schoolgate/policy"
)

// State is how far people have got with an alert.
type State string

// The states.
const (
	StateNew    State = ""          // nobody has answered for it
	StateReview State = "in review" // somebody has acknowledged it
	StateClosed State = "closed"    // with an outcome
)

// String is the state as people read it. On disk it is the word itself.
func (s State) String() string {
	switch s {
	case StateNew:
		return "new"
	case StateReview:
		return "acknowledged"
	}
	return string(s)
}

// Review is what people did with an alert. All of it is in the journal too, as
// acts of staff, from where it is read: see [ActAck].
type Review struct {
	State   State     `json:"state,omitempty"`
	Acked   time.Time `json:"acked,omitzero"` // first
	AckedBy string    `json:"acked_by,omitempty"`
	Outcome Outcome   `json:"outcome,omitempty"`
	Reason  string    `json:"reason,omitempty"` // of the outcome
	Ended   time.Time `json:"ended,omitzero"`
	EndedBy string    `json:"ended_by,omitempty"`
	Notes   []Note    `json:"notes,omitempty"`
}

// Note is a remark that somebody left on an alert.
type Note struct {
	At   time.Time `json:"at"`
	By   string    `json:"by"`
	Text string    `json:"text"`
}

// Outcome says what came of an alert (M9).
type Outcome string

// The outcomes.
const (
	OutcomeNoConcern      Outcome = "no_concern"      // a false alarm
	OutcomeTermAdjusted   Outcome = "term_adjusted"   // a false alarm, and a watched term was changed
	OutcomeFilterAdjusted Outcome = "filter_adjusted" // a false alarm, and a list or a rule was changed
	OutcomeSupport        Outcome = "support"         // somebody talked with the child
	OutcomeConcern        Outcome = "concern"         // a safeguarding concern, recorded where the school records those
	OutcomeReferred       Outcome = "referred"        // handed to others: the police, CEOP, IWF, LADO, Prevent
	OutcomeTest           Outcome = "test"            // somebody tried the box out
)

// Outcomes is every outcome, the false alarms first.
func Outcomes() []Outcome {
	return []Outcome{
		OutcomeNoConcern, OutcomeTermAdjusted, OutcomeFilterAdjusted,
		OutcomeSupport, OutcomeConcern, OutcomeReferred, OutcomeTest,
	}
}

// ParseOutcome reads an outcome.
func ParseOutcome(s string) (Outcome, error) {
	if slices.Contains(Outcomes(), Outcome(s)) {
		return Outcome(s), nil
	}
	words := make([]string, 0, len(Outcomes()))
	for _, o := range Outcomes() {
		words = append(words, string(o))
	}
	return "", fmt.Errorf("unknown outcome %q: want one of %s", s, strings.Join(words, ", "))
}

// FalseAlarm reports whether there was nothing to it.
func (o Outcome) FalseAlarm() bool {
	return o == OutcomeNoConcern || o == OutcomeTermAdjusted || o == OutcomeFilterAdjusted
}

// The acts of staff by which people answer alerts. Their subject is the alert's
// reference; the note is the remark or, of ActClose, the outcome, a colon and the
// reason. A service learns of them by reading the journal, like of everything
// else: an act that was recorded is never lost, and a state that is built again
// knows who answered for what.
const (
	ActAck   = "alerts.ack"
	ActNote  = "alerts.note"
	ActClose = "alerts.close"
	ActShow  = "alerts.show" // somebody read the detail
)

// CloseNote is the note of an ActClose.
func CloseNote(o Outcome, reason string) string { return string(o) + ": " + reason }

const maxNotes = 50 // on one alert; the journal has all

// isAct reports whether an event is an answer to an alert.
func isAct(ev *policy.Event) bool {
	return ev.Door == policy.DoorStaff && (ev.Act == ActAck || ev.Act == ActNote || ev.Act == ActClose)
}

// act carries out what somebody did. What cannot be carried out (there is no such
// alert any more, say) changes nothing: the alert is told on.
func (t *tx) act(ev *policy.Event) error {
	id, err := ParseReference(ev.Subject)
	if err != nil {
		return nil //nolint:nilerr // the journal is not to be argued with
	}
	var a Alert
	ok, err := t.get(bucketAlerts, number(uint64(id)), &a)
	if err != nil || !ok || t.cfg.Plan.isAbout(&a, ev.Person) {
		return err
	}
	switch ev.Act {
	case ActAck:
		err = t.acknowledge(&a, ev)
	case ActClose:
		err = t.conclude(&a, ev)
	case ActNote:
		if len(a.Notes) < maxNotes {
			a.Notes = append(a.Notes, Note{ev.Time, ev.Person, ev.Note})
		}
	}
	if err != nil {
		return err
	}
	return t.putAlert(&a)
}

// acknowledge stops the clock: somebody answers for the alert now.
func (t *tx) acknowledge(a *Alert, ev *policy.Event) error {
	if a.State != StateNew {
		return nil
	}
	a.State = StateReview
	if a.Acked.IsZero() {
		a.Acked, a.AckedBy = ev.Time, ev.Person
		t.acked = append(t.acked, answered{a.Severity, a.answerTime()})
		if err := t.tally(a, func(y *Tally) { y.acknowledged(a.answerTime()) }); err != nil {
			return err
		}
	}
	return errors.Join(t.stopClock(a), t.takeBack(a))
}

// takeBack spares people the call for an alert that somebody answers for by now.
// What told of the alert itself is sent all the same.
func (t *tx) takeBack(a *Alert) error {
	calls := func(k mailKind) bool { return k == kindOverdue || k == kindReminder }
	list, err := t.mails()
	if err != nil {
		return err
	}
	for _, m := range list {
		if !calls(m.Kind) || len(m.Alerts) != 1 || m.Alerts[0] != a.ID {
			continue
		}
		if m.Dead {
			a.Undelivered--
		} else {
			a.Waiting--
		}
		if err := t.Bucket(bucketMails).Delete(number(m.ID)); err != nil {
			return err
		}
	}
	for _, way := range a.ToldTo {
		var o owed
		ok, err := t.get(bucketHeld, heldKey(way, a.ID), &o)
		if err != nil {
			return err
		}
		if ok && calls(o.Kind) {
			a.Waiting--
			if err := t.Bucket(bucketHeld).Delete(heldKey(way, a.ID)); err != nil {
				return err
			}
		}
	}
	return nil
}

// answerTime is how long the alert waited for a person.
func (a *Alert) answerTime() time.Duration { return max(0, a.Acked.Sub(a.First)) }

// conclude ends an alert with its outcome. What the client does next is a new
// alert.
func (t *tx) conclude(a *Alert, ev *policy.Event) error {
	word, reason, _ := strings.Cut(ev.Note, ": ")
	outcome, err := ParseOutcome(word)
	if err != nil || a.State == StateClosed {
		return nil //nolint:nilerr // as in act
	}
	if err := t.acknowledge(a, ev); err != nil {
		return err
	}
	a.State, a.Outcome, a.Reason, a.Ended, a.EndedBy = StateClosed, outcome, reason, ev.Time, ev.Person
	if err := t.tally(a, func(y *Tally) { y.closed(outcome) }); err != nil {
		return err
	}
	if !a.From.IsZero() { // nobody was told yet, and now somebody knows
		if err := t.stopWaiting(a); err != nil {
			return err
		}
		a.Told = a.Count
	}
	if a.Over {
		return nil
	}
	return t.endQuiet([]byte(a.Key), a)
}

// reopen asks for an answer again, from the first of the chain on: it has become
// graver since.
func (a *Alert) reopen() {
	if a.State == StateReview {
		a.State, a.Late, a.ToldTo = StateNew, 0, nil
	}
}

// isAbout reports whether a named person is one whom the alert is about.
func (p *Plan) isAbout(a *Alert, name string) bool {
	for _, i := range p.about(a) {
		if p.People[i].Is(name) {
			return true
		}
	}
	return a.Person != "" && strings.EqualFold(a.Person, name)
}

// Reader is who looks at alerts on the box: a role, or somebody by their mail
// address or log-in.
type Reader struct {
	As string // a role or a name
	By string // the name given besides; may be ""
}

// Sees reports whether a reader may see an alert: IT none, the subject none of
// their own, the DSL and deputy those on pupils, the Headteacher also those on
// staff, and the chair of governors and others those that they were told of.
func (p *Plan) Sees(r Reader, a *Alert) bool {
	if p.CheckReader(r.As) != nil {
		return false
	}
	roles, known := []string{r.As}, false
	for i := range p.People {
		if p.People[i].Is(r.As) {
			roles, known = p.People[i].Roles, true
		}
	}
	if p.isAbout(a, r.By) || p.isAbout(a, r.As) {
		return false
	}
	s := p.scopeOf(a, a.First)
	subjects := p.about(a)
	return slices.ContainsFunc(roles, func(role string) bool {
		safeguards := role == RoleDSL || role == RoleDeputy || role == RoleHead
		if !s.permits(role) || s.open() && !safeguards && !p.wasTold(role, a) {
			return false
		}
		// Who says no more than a role that a subject holds may be that subject.
		return known || !slices.ContainsFunc(subjects, func(i int) bool { return p.People[i].holds(role) })
	})
}

func (p *Plan) wasTold(role string, a *Alert) bool {
	for _, way := range p.holders(role) {
		if slices.ContainsFunc(a.ToldTo, func(t string) bool { return strings.EqualFold(t, way) }) {
			return true
		}
	}
	return false
}

// CheckReader says why a name can see no alerts at all; nil if it may see some.
func (p *Plan) CheckReader(as string) error {
	var all []string
	for i := range p.People {
		if p.People[i].Is(as) {
			all = append(all, p.People[i].Roles...)
		}
	}
	roles := append([]string{RoleDSL, RoleDeputy, RoleHead, RoleChair}, p.roleNames()...)
	if len(all) == 0 {
		all = []string{as}
	}
	for _, role := range all {
		if role == RoleIT || role == RoleLeadership {
			continue
		}
		if slices.Contains(roles, role) {
			return nil
		}
	}
	if slices.Contains(all, RoleIT) || slices.Contains(all, RoleLeadership) {
		return fmt.Errorf("%s sees how the box fares and no alerts: they are for the safeguarding lead, the deputy, the Headteacher and the chair of governors", as)
	}
	return fmt.Errorf("unknown reader %q: want a role (dsl, deputy, head, chair) or the mail address of somebody who holds one", as)
}

func (p *Plan) roleNames() (names []string) {
	for i := range p.People {
		names = append(names, p.People[i].Roles...)
	}
	return names
}
