package incidents

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"schoolgate/policy"
)

// The acts of the register, as its events call them.
const (
	ActOpen     = "incident.opened"
	ActTriage   = "incident.triaged"
	ActEscalate = "incident.escalated"
	ActReport   = "incident.reported"
	ActTask     = "incident.task"
	ActNote     = "incident.note"
	ActHold     = "incident.held"
	ActRelease  = "incident.released"
	ActAlerted  = "incident.alerted"   // the box: those who must hear were told of it
	ActContain  = "incident.contained" // a device was cut off, or a site closed, or either opened again
	ActClose    = "incident.closed"
)

// Bounds on what a person writes.
const (
	MaxText    = 2000 // letters
	maxName    = 200
	maxPayload = 8000 // bytes: what a journal keeps of a note
)

// Facts is what the log says of what happened, so that nobody opens the page
// again (R19).
type Facts struct {
	Event    policy.EventID   `json:"event,omitzero"` // the reference a page showed
	More     []policy.EventID `json:"more,omitempty"` // further events of it
	Alert    string           `json:"alert,omitempty"`
	Time     time.Time        `json:"time,omitzero"`
	URL      string           `json:"url,omitempty"`    // never of a mandatory hit
	Sealed   bool             `json:"sealed,omitempty"` // of a mandatory hit
	Blob     []byte           `json:"blob,omitempty"`   // its address, if the box seals; only two keys open it
	Client   string           `json:"client,omitempty"`
	Device   string           `json:"device,omitempty"`
	Group    string           `json:"group,omitempty"`
	Profile  string           `json:"profile,omitempty"`
	Person   string           `json:"person,omitempty"`
	Category string           `json:"category,omitempty"`
	Theme    string           `json:"theme,omitempty"`
	Words    string           `json:"words,omitempty"` // of a search
	Verdict  string           `json:"verdict,omitempty"`
	Severity uint8            `json:"severity,omitempty"`
}

// Change is what one act says; which of it is set depends on the act.
type Change struct {
	Text    string  `json:"text,omitempty"` // in the person's own words
	Kind    Kind    `json:"kind,omitempty"`
	Subject Subject `json:"subject,omitempty"`
	Source  string  `json:"source,omitempty"` // how it came to be known
	Facts   *Facts  `json:"facts,omitempty"`
	To      string  `json:"to,omitempty"` // whom it was escalated to
	Task    Task    `json:"task,omitempty"`
	Waived  bool    `json:"waived,omitempty"` // not done, and Text says why
	On      string  `json:"on,omitempty"`     // the day it was done, 2026-11-28
	Number  string  `json:"number,omitempty"` // an agency's reference number
	Changed string  `json:"changed,omitempty"`
	Second  string  `json:"second,omitempty"`
}

// Step is one act on an incident.
type Step struct {
	ID  policy.EventID
	At  time.Time
	By  string
	Act string
	Change
}

// Incident is what its steps together say.
type Incident struct {
	ID      policy.EventID
	Status  Status
	Kind    Kind
	Subject Subject
	Source  string
	Facts   Facts
	Held    bool // police asked for silence: parents wait (R28)
	Alerted bool
	Tasks   map[Task]Step
	Steps   []Step
}

// Ref is the number people use, e.g. "IN-1A-B".
func (i *Incident) Ref() string { return RefOf(i.ID) }

// RefOf is the reference of the incident that an event opened.
func RefOf(id policy.EventID) string {
	return policy.FormatReference("IN-", uint64(id))
}

// ParseRef reads what RefOf wrote, in either case.
func ParseRef(s string) (policy.EventID, error) {
	n, ok := policy.ParseReference("IN-", strings.TrimSpace(s))
	if !ok {
		return 0, fmt.Errorf("bad reference %q: want one such as IN-1A-B (is a character of it misread?)", s)
	}
	return policy.EventID(n), nil
}

// Opened is when and by whom the incident was opened.
func (i *Incident) Opened() Step { return i.Steps[0] }

// Required are the tasks that must be settled before it is closed, in order.
func (i *Incident) Required() []Task { return i.Kind.required() }

// Open are the required tasks that are not settled yet.
func (i *Incident) Open() (open []Task) {
	for _, t := range i.Required() {
		if _, ok := i.Tasks[t]; !ok {
			open = append(open, t)
		}
	}
	return open
}

// clone is the incident with nothing shared that a later step changes.
func (i *Incident) clone() Incident {
	c := *i
	c.Steps = slices.Clip(i.Steps)
	c.Tasks = make(map[Task]Step, len(i.Tasks))
	for t, d := range i.Tasks {
		c.Tasks[t] = d
	}
	return c
}

// take folds one step in.
func (i *Incident) take(s *Step) {
	i.Steps = append(i.Steps, *s)
	raise := func(to Status) { i.Status = max(i.Status, to) }
	switch s.Act {
	case ActOpen:
		i.ID, i.Kind, i.Subject, i.Source = s.ID, s.Kind, s.Subject, s.Source
		if s.Facts != nil {
			i.Facts = *s.Facts
		}
	case ActTriage:
		i.Kind = s.Kind
		if s.Subject != Pupils {
			i.Subject = s.Subject
		}
		raise(Triaged)
	case ActEscalate:
		raise(Escalated)
	case ActReport:
		i.Tasks[s.Task] = *s
		raise(Reported)
	case ActTask:
		i.Tasks[s.Task] = *s
	case ActHold:
		i.Held = true
	case ActRelease:
		i.Held = false
	case ActAlerted:
		i.Alerted = true
	case ActClose:
		raise(Closed)
	}
}

// event is a step as the store keeps it.
func event(at time.Time, by, act string, of policy.EventID, c *Change) (policy.Event, error) {
	payload, err := json.Marshal(c)
	if err != nil {
		return policy.Event{}, err
	}
	if len(payload) > maxPayload {
		return policy.Event{}, fmt.Errorf("that is more than a record holds (%d bytes): write less, and add a note for the rest", maxPayload)
	}
	subject := ""
	if of != 0 {
		subject = RefOf(of)
	}
	return policy.StaffAct(at, by, act, subject, string(payload)), nil
}

var errNoStep = errors.New("no step of an incident")

// step reads what event wrote.
func step(e *policy.Event) (s Step, of policy.EventID, err error) {
	if e.Door != policy.DoorStaff || !strings.HasPrefix(e.Act, "incident.") {
		return s, 0, errNoStep
	}
	s = Step{ID: e.ID, At: e.Time, By: strings.Clone(e.Person), Act: strings.Clone(e.Act)}
	if err := json.Unmarshal([]byte(e.Note), &s.Change); err != nil {
		return s, 0, fmt.Errorf("%w: event %s: %w", errNoStep, e.ID, err)
	}
	if of = e.ID; e.Act != ActOpen {
		of, err = ParseRef(e.Subject)
	}
	return s, of, err
}
