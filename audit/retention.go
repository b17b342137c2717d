package audit

import (
	"context"
	"errors"
	"fmt"
	"time"

	"schoolgate/policy"
)

// Class is a sort of event that is kept for a time of its own (privacy 5).
type Class string

// The classes. ClassPath is no sort of event: after its days, path and search words
// of what is neither flagged nor staff's are removed, and the host stays.
const (
	ClassRequests Class = "requests" // what nobody must hear of
	ClassFlagged  Class = "flagged"  // what a person must hear of
	ClassGuest    Class = "guest"    // of visitors
	ClassStaff    Class = "staff"    // what staff did with the box
	ClassPath     Class = "path"
)

// Classes are all of them, in the order people read them in.
var Classes = [...]Class{ClassRequests, ClassFlagged, ClassGuest, ClassStaff, ClassPath}

// Retention is how long each class is kept, counted from the end of the segment (a
// day or less) that an event is in. A class without a time is kept for ever.
type Retention struct {
	Keep   map[Class]time.Duration
	Guest  func(profile, group string) bool // whose events are visitors'
	Policy string                           // the revision that says so, for receipts
}

// DefaultKeep is what REQUIREMENTS.md, privacy 5, asks for. Help-line sites are kept
// for no time at all: nothing of a person is recorded. Incidents leave the box.
func DefaultKeep() map[Class]time.Duration {
	const day = 24 * time.Hour
	return map[Class]time.Duration{
		ClassRequests: 30 * day, ClassFlagged: 180 * day, ClassGuest: 7 * day, ClassStaff: 365 * day, ClassPath: 14 * day,
	}
}

// classOf is the class of an event.
func (r *Retention) classOf(e *policy.Event) Class {
	switch {
	case e.Door == policy.DoorStaff:
		return ClassStaff
	case e.Flagged():
		return ClassFlagged
	case r.Guest != nil && r.Guest(e.Profile, e.Group):
		return ClassGuest
	}
	return ClassRequests
}

// due is the set of classes whose time is over for what is not newer than last.
func (r *Retention) due(last int64, now time.Time) (set uint32) {
	for i, c := range Classes {
		if keep, ok := r.Keep[c]; ok && time.Duration(unixNano(now)-last) > keep && unixNano(now) > last {
			set |= 1 << i
		}
	}
	return set
}

func has(set uint32, c Class) bool {
	for i, each := range Classes {
		if each == c {
			return set&(1<<i) != 0
		}
	}
	return false
}

// fate is what becomes of an event.
type fate uint8

const (
	stays fate = iota
	isCut      // path and words go
	goes
)

// fateOf decides on one event. A held one stays as it is.
func (r *Retention) fateOf(e *policy.Event, due uint32, held func(*policy.Event) bool) (f fate, c Class, isHeld bool) {
	c = r.classOf(e)
	switch {
	case has(due, c):
		f = goes
	case has(due, ClassPath) && (c == ClassRequests || c == ClassGuest) && (e.Path != "" || e.Words != ""):
		f = isCut
	default:
		return stays, c, false
	}
	if held(e) {
		return stays, c, true
	}
	return f, c, false
}

// Hold is a legal hold: what it matches is not removed while it stands. Fields
// left empty do not narrow it, but one of the first three must be there.
type Hold struct {
	ID     int       `json:"id"`
	Person string    `json:"person,omitempty"`
	Device string    `json:"device,omitempty"`
	Client string    `json:"client,omitempty"` // address
	From   time.Time `json:"from,omitzero"`
	To     time.Time `json:"to,omitzero"` // not included
	Reason string    `json:"reason"`
	By     string    `json:"by"`
	At     time.Time `json:"at"`

	Lifted    time.Time `json:"lifted,omitzero"`
	LiftedBy  string    `json:"lifted_by,omitempty"`
	LiftedWhy string    `json:"lifted_why,omitempty"`
}

// check says what is missing of a hold.
func (h *Hold) check() error {
	switch {
	case h.Person == "" && h.Device == "" && h.Client == "":
		return fmt.Errorf("a hold needs a person, a device or a client")
	case h.Reason == "" || h.By == "":
		return fmt.Errorf("a hold needs a reason, and who asks for it")
	case !h.From.IsZero() && !h.To.IsZero() && !h.From.Before(h.To):
		return fmt.Errorf("a hold must end after it begins")
	}
	return nil
}

// Stands reports whether the hold has not been lifted.
func (h *Hold) Stands() bool { return h.Lifted.IsZero() }

// String is In by universal time, and says so.
func (h Hold) String() string { return h.In(time.UTC) }

// layoutZone is a time that says by which clock it is.
const layoutZone = "2006-01-02 15:04 MST"

// In is what the hold matches, and why, with its times as they are in a place.
func (h Hold) In(loc *time.Location) string {
	text := fmt.Sprintf("hold %d:", h.ID)
	for _, f := range [...]struct{ name, value string }{{"person", h.Person}, {"device", h.Device}, {"client", h.Client}} {
		if f.value != "" {
			text += " " + f.name + " " + f.value
		}
	}
	at := func(t time.Time) string { return t.In(loc).Format(layoutZone) }
	if !h.From.IsZero() {
		text += " from " + at(h.From)
	}
	if !h.To.IsZero() {
		text += " to " + at(h.To)
	}
	text += fmt.Sprintf("; %s, by %s, %s", h.Reason, h.By, at(h.At))
	if !h.Stands() {
		text += fmt.Sprintf("; lifted %s by %s: %s", at(h.Lifted), h.LiftedBy, h.LiftedWhy)
	}
	return escaped(text)
}

// matches reports whether an event is held.
func (h *Hold) matches(e *policy.Event) bool {
	return h.Stands() &&
		(h.Person == "" || h.Person == e.Person) && (h.Device == "" || h.Device == e.Device) &&
		(h.Client == "" || h.Client == e.Client) &&
		(h.From.IsZero() || !e.Time.Before(h.From)) && (h.To.IsZero() || e.Time.Before(h.To))
}

// Holding is what the journal has of a class.
type Holding struct {
	Events int
	Oldest time.Time
}

// Holdings counts what there is of each class; of ClassPath, what still has a path
// or words and will lose them. Stretches that cannot be read are left out.
func (d Dir) Holdings(ctx context.Context, r Retention) (map[Class]Holding, error) {
	all := map[Class]Holding{}
	add := func(c Class, at time.Time) {
		h := all[c]
		if h.Events == 0 || at.Before(h.Oldest) {
			h.Oldest = at
		}
		h.Events++
		all[c] = h
	}
	for e, err := range d.Search(ctx, Query{}) {
		if gap := (*GapError)(nil); errors.As(err, &gap) {
			continue
		}
		if err != nil {
			return nil, err
		}
		c := r.classOf(&e)
		add(c, e.Time)
		if (c == ClassRequests || c == ClassGuest) && (e.Path != "" || e.Words != "") {
			add(ClassPath, e.Time)
		}
	}
	return all, nil
}
