package incidents

import (
	"cmp"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
	"sync"
	"time"

	"schoolgate/policy"
)

// Command is one act somebody asks for.
type Command struct {
	Act  string `json:"act"`
	Ref  string `json:"ref,omitempty"` // of which incident; none to open one
	By   string `json:"by"`
	Role Role   `json:"role"`
	Change
}

// Register is every incident, as its events say. It is safe for concurrent use.
type Register struct {
	sink policy.Sink // where steps are recorded; nil for one that is only read

	mu      sync.Mutex
	all     map[policy.EventID]*Incident
	byEvent map[policy.EventID]policy.EventID // what an incident is of, to the incident
	gaps    []error
}

// maxSteps bounds one incident.
const maxSteps = 2000

// ErrUnknown is returned for a reference that names no incident one may see.
var ErrUnknown = errors.New("there is no such incident, or it is not for you to see")

// Read folds the events of a store. What cannot be read is in Gaps; the rest
// stands. A register with a sink takes commands.
func Read(events iter.Seq2[policy.Event, error], sink policy.Sink) *Register {
	r := &Register{sink: sink, all: map[policy.EventID]*Incident{}, byEvent: map[policy.EventID]policy.EventID{}}
	for e, err := range events {
		if err == nil {
			err = r.fold(&e)
		}
		if err != nil {
			r.gaps = append(r.gaps, err)
		}
	}
	return r
}

// Gaps is what of the store could not be read.
func (r *Register) Gaps() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return errors.Join(r.gaps...)
}

func (r *Register) fold(e *policy.Event) error {
	s, of, err := step(e)
	if err != nil {
		return err
	}
	i := r.all[of]
	switch {
	case s.Act == ActOpen:
		i = &Incident{Tasks: map[Task]Step{}}
		r.all[of] = i
		if s.Facts != nil && s.Facts.Event != 0 {
			r.byEvent[s.Facts.Event] = of
		}
	case i == nil:
		return fmt.Errorf("event %s: %s is of %s, whose opening cannot be read", e.ID, s.Act, RefOf(of))
	}
	i.take(&s)
	return nil
}

// Do carries a command out: when it returns nil, the step is on disk. It gives the
// incident as it is then.
func (r *Register) Do(c Command) (Incident, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	i, err := r.check(&c)
	if err != nil {
		return Incident{}, err
	}
	var of policy.EventID
	if i != nil {
		of = i.ID
	}
	e, err := event(time.Now(), c.By, c.Act, of, &c.Change)
	if err != nil {
		return Incident{}, err
	}
	if err := r.sink.Record(&e); err != nil {
		return Incident{}, fmt.Errorf("not done, since it cannot be put on record: %w", err)
	}
	if err := r.fold(&e); err != nil {
		return Incident{}, err
	}
	if of == 0 {
		of = e.ID
	}
	return r.all[of].clone(), nil
}

// Alerted is the command by which the box notes that those who must hear of an
// incident were told, by an event of the log.
func Alerted(ref string, event policy.EventID) Command {
	return Command{Act: ActAlerted, Ref: ref, By: "the box", Role: rolePage, Change: Change{Facts: &Facts{Event: event}}}
}

// Contained is the command by which the box notes on an incident what somebody closed
// or opened again because of it: whoever that was need not be one who may see it.
func Contained(ref, by, said string) Command {
	return Command{Act: ActContain, Ref: ref, By: by, Role: rolePage, Change: Change{Text: said}}
}

// OfEvent is the incident that was opened of an event; ok is false for none.
func (r *Register) OfEvent(id policy.EventID) (Incident, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	of, ok := r.byEvent[id]
	if !ok {
		return Incident{}, false
	}
	return r.all[of].clone(), true
}

// Unalerted are the incidents that a page opened and nobody was told of yet.
func (r *Register) Unalerted() (list []Incident) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, i := range r.all {
		if i.Source == SourcePage && !i.Alerted {
			list = append(list, i.clone())
		}
	}
	slices.SortFunc(list, func(a, b Incident) int { return cmp.Compare(a.ID, b.ID) })
	return list
}

// Get is one incident, for somebody who may see it.
func (r *Register) Get(ref string, role Role) (Incident, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	i, err := r.find(ref, role)
	if err != nil {
		return Incident{}, err
	}
	return i.clone(), nil
}

// List is every incident that a role may see, the oldest first.
func (r *Register) List(role Role) (list []Incident) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, i := range r.all {
		if role.Sees(i.Subject) {
			list = append(list, i.clone())
		}
	}
	slices.SortFunc(list, func(a, b Incident) int { return cmp.Compare(a.ID, b.ID) })
	return list
}

func (r *Register) find(ref string, role Role) (*Incident, error) {
	id, err := ParseRef(ref)
	if err != nil {
		return nil, err
	}
	i := r.all[id]
	if i == nil || !role.Sees(i.Subject) {
		return nil, fmt.Errorf("%s: %w", RefOf(id), ErrUnknown)
	}
	return i, nil
}

// How an incident came to be known.
const (
	SourceEvent = "flagged event"
	SourceAlert = "alert"
	SourcePage  = "block page"
	SourceForm  = "staff form"
)

// check says why a command cannot be carried out, and puts its words in order.
func (r *Register) check(c *Command) (*Incident, error) {
	if err := c.tidy(); err != nil {
		return nil, err
	}
	if r.sink == nil {
		return nil, errors.New("this register is only read")
	}
	if c.Act == ActOpen {
		return nil, r.mayOpen(c)
	}
	i, err := r.find(c.Ref, c.Role)
	if (c.Act == ActAlerted || c.Act == ActContain) && c.Role == rolePage {
		id, perr := ParseRef(c.Ref)
		if i, err = r.all[id], perr; err == nil && i == nil {
			err = ErrUnknown
		}
	}
	switch {
	case err != nil:
		return nil, err
	case len(i.Steps) >= maxSteps:
		return nil, fmt.Errorf("%s has %d entries, which is the most there can be: open another that names it", i.Ref(), maxSteps)
	case i.Status == Closed && c.Act != ActNote && c.Act != ActContain:
		return nil, fmt.Errorf("%s is closed; a note can still be added, or open another that names it", i.Ref())
	}
	return i, i.may(c)
}

// tidy holds every word to its bound.
func (c *Command) tidy() error {
	for _, s := range []*string{&c.By, &c.To, &c.Ref, &c.Number, &c.Second, &c.Source} {
		*s = strings.TrimSpace(policy.Readable(*s))
		if len([]rune(*s)) > maxName || strings.ContainsFunc(*s, func(r rune) bool { return r < ' ' || r == 0x7f }) {
			return fmt.Errorf("names and numbers are one line of at most %d letters", maxName)
		}
	}
	for _, s := range []*string{&c.Text, &c.Changed} {
		*s = strings.TrimSpace(policy.Readable(*s))
		if len([]rune(*s)) > MaxText {
			return fmt.Errorf("a text has at most %d letters", MaxText)
		}
	}
	if c.By == "" {
		return errors.New("it takes a name: --by")
	}
	if c.On != "" {
		if _, err := time.Parse(time.DateOnly, c.On); err != nil {
			return fmt.Errorf("bad day %q: want one such as 2026-11-28", c.On)
		}
	}
	return nil
}

func (r *Register) mayOpen(c *Command) error {
	kind, err := parseKind(string(c.Kind))
	if err != nil {
		return err
	}
	if kind == StaffMisuse && c.Subject == Pupils {
		c.Subject = Staff
	}
	if kind == Told && c.Source != SourcePage {
		return errors.New("say what it is about: --kind")
	}
	if c.Facts == nil {
		c.Facts = &Facts{}
	}
	if of, ok := r.byEvent[c.Facts.Event]; ok && c.Facts.Event != 0 {
		if i := r.all[of]; i != nil && !c.Role.Sees(i.Subject) { // which incident is not for them to know
			return fmt.Errorf("%s is being looked into already", c.Facts.Event)
		}
		return fmt.Errorf("%s was opened of %s already", RefOf(of), c.Facts.Event)
	}
	for _, i := range r.all { // who may open one of an alert may see the alert
		if c.Facts.Alert != "" && i.Facts.Alert == c.Facts.Alert && c.Role.Sees(i.Subject) {
			return fmt.Errorf("%s was opened of %s already", i.Ref(), c.Facts.Alert)
		}
	}
	switch c.Subject {
	case Pupils, Staff, Head:
	default:
		return fmt.Errorf("unknown subject %q: want staff or head, or none for pupils", c.Subject)
	}
	return nil // who reports something need not be one who may see it afterwards
}

// isToCome reports whether a day on which something is said to have been done is later
// than tomorrow, by the box's clock or, where that is behind, by the incident's.
func (i *Incident) isToCome(on string) bool {
	day, err := time.Parse(time.DateOnly, on)
	latest := time.Now()
	for _, at := range []time.Time{i.Facts.Time, i.Opened().At} {
		if at.After(latest) {
			latest = at
		}
	}
	return err == nil && day.After(latest.Add(24*time.Hour))
}

// may says why the incident does not take a command.
func (i *Incident) may(c *Command) error {
	if i.isToCome(c.On) {
		return fmt.Errorf("%s is still to come: say when it has been done", c.On)
	}
	switch c.Act {
	case ActTriage:
		kind, err := parseKind(cmp.Or(string(c.Kind), string(i.Kind)))
		if err != nil {
			return err
		}
		if kind == Told {
			return errors.New("say what it is about: --kind")
		}
		if c.Kind = kind; kind == StaffMisuse && c.Subject == Pupils && i.Subject == Pupils {
			c.Subject = Staff
		}
	case ActEscalate:
		if c.To == "" {
			return errors.New("say to whom: --to")
		}
	case ActReport:
		return i.mayReport(c)
	case ActTask:
		return i.mayTask(c)
	case ActNote:
		if c.Text == "" {
			return errors.New("there is nothing to note: --text")
		}
	case ActHold:
		return i.mayHold(c)
	case ActRelease:
		return i.mayRelease(c)
	case ActAlerted, ActContain:
	case ActClose:
		return i.mayClose()
	default:
		return fmt.Errorf("there is no act %q", c.Act)
	}
	return nil
}

func (i *Incident) mayReport(c *Command) error {
	task, err := parseTask(string(c.Task), true)
	if err != nil {
		return err
	}
	if c.Number == "" {
		return fmt.Errorf("say the reference number that %s gave: --reference (or \"none given\", and who took the report)", task)
	}
	return nil
}

func (i *Incident) mayTask(c *Command) error {
	task, err := parseTask(string(c.Task), false)
	if err != nil {
		return err
	}
	a := task.about()
	switch {
	case c.Waived && len(c.Text) < 10:
		return fmt.Errorf("%s: if it is not done, say why, so that it can be understood later: --reason", task)
	case task == Parents && i.Held:
		return fmt.Errorf("%s: the police asked for silence, so the parents wait until the hold is released (incidents release)", i.Ref())
	case c.Waived:
	case a.agency && c.Number == "":
		return fmt.Errorf("%s is a report: use incidents report, or give the reference number with --reference", task)
	case task == Parents && c.On == "":
		return errors.New("parents: say on which day they were told: --on 2026-11-28")
	case task == Lessons && (c.Text == "" || c.Changed == ""):
		return errors.New("lessons: say what was learnt (--text) and what was changed in policy or lessons, or why nothing needs to be (--change)")
	}
	return nil
}

func (i *Incident) mayHold(c *Command) error {
	switch {
	case i.Held:
		return fmt.Errorf("%s is held already", i.Ref())
	case c.Text == "":
		return errors.New("say who asked for it and why: --reason")
	}
	return nil
}

func (i *Incident) mayRelease(c *Command) error {
	switch {
	case !i.Held:
		return fmt.Errorf("%s is not held", i.Ref())
	case c.Text == "":
		return errors.New("say who of the police agreed, and when: --reason")
	case c.Second == "" || strings.EqualFold(strings.Join(strings.Fields(c.Second), " "), strings.Join(strings.Fields(c.By), " ")):
		return errors.New("releasing takes two different people: --by and --second")
	}
	return nil
}

// mayClose refuses while something is neither done nor explained.
func (i *Incident) mayClose() error {
	switch open := i.Open(); {
	case i.Kind == Told || i.Status == New:
		return fmt.Errorf("%s is not closed: nobody has said yet what it is about (incidents triage)", i.Ref())
	case i.Held:
		return fmt.Errorf("%s is not closed: the police asked for silence, so the parents are not told yet (incidents release)", i.Ref())
	case len(open) > 0:
		lines := make([]string, len(open))
		for n, t := range open {
			lines[n] = fmt.Sprintf("  %-10s  %s", t, t.Title())
		}
		return fmt.Errorf("%s is not closed: to be done first, or given a reason (incidents task --not-done --reason)\n%s", i.Ref(), strings.Join(lines, "\n"))
	}
	return nil
}
