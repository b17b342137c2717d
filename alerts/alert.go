package alerts

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"schoolgate/policy"
)

// Alert is what a person must look at: the flagged events of one client and one
// theme within one quiet period. It names the client for the DSL on the box; no
// mail is written from those fields.
type Alert struct {
	// ID is the number of the event that opened it. A state built again from the
	// journal gives the same alerts the same references.
	ID       policy.EventID `json:"id"`
	Severity uint8          `json:"severity"` // the gravest of its events
	Theme    string         `json:"theme"`
	Client   string         `json:"client,omitempty"`
	Device   string         `json:"device,omitempty"`
	Person   string         `json:"person,omitempty"` // who had signed in, where somebody had
	Adult    bool           `json:"adult,omitempty"`  // staff or guest: the Headteacher's, never the DSL's (R36)
	About    []string       `json:"about,omitempty"`  // ways to those named in the plan whom it is about, when it was opened
	Shared   bool           `json:"shared,omitempty"` // of several clients: more were open than are kept apart
	Sealed   bool           `json:"sealed,omitempty"` // a mandatory list was hit: its page is nobody's to see (F7)
	Roles    []string       `json:"roles,omitempty"`  // that the rules send it to
	Key      string         `json:"key,omitempty"`    // of the quiet period

	First  time.Time        `json:"first"` // of its events
	Last   time.Time        `json:"last"`
	Count  int              `json:"count"`
	Events []policy.EventID `json:"events"` // the first hundred, the gravest among them
	// Kinds counts the tries to get round the filter by their kind; nil for other alerts.
	Kinds map[string]int `json:"kinds,omitempty"`

	Until time.Time `json:"until"`          // end of the quiet period
	Began time.Time `json:"began,omitzero"` // of the event that began it
	Over  bool      `json:"over,omitempty"`

	Seq  int `json:"seq"`  // mails made; numbers the next one's Message-ID
	Told int `json:"told"` // the count that the last mail carried

	Waiting     int       `json:"waiting,omitempty"`     // people still to be told
	Unaddressed bool      `json:"unaddressed,omitempty"` // nobody is configured to be told
	Undelivered int       `json:"undelivered,omitempty"` // mails given up after a week
	Sent        int       `json:"sent,omitempty"`        // mails the server took
	LastSent    time.Time `json:"last_sent,omitzero"`

	// From is when it may be told, while it waits for the morning or the digest.
	From time.Time `json:"from,omitzero"`
	// Due is when somebody must have acknowledged it; zero while no clock runs.
	Due    time.Time `json:"due,omitzero"`
	Late   int       `json:"late,omitempty"`    // clocks that ran out
	ToldTo []string  `json:"told_to,omitempty"` // everybody for whom a mail was made

	Review
}

// Reference is the alert's name in mails and commands, e.g. "AL-1F-1".
func (a *Alert) Reference() string { return reference(a.ID) }

func reference(id policy.EventID) string {
	return policy.FormatReference("AL-", uint64(id))
}

// ParseReference reads what FormatReference wrote, in either case.
func ParseReference(s string) (policy.EventID, error) {
	n, ok := policy.ParseReference("AL-", s)
	if !ok {
		return 0, fmt.Errorf("bad alert reference %q: want one such as AL-1F-1 (is a character of it misread?)", s)
	}
	return policy.EventID(n), nil
}

// Mail says in a word or three how far the telling got.
func (a *Alert) Mail() string {
	switch {
	case a.Unaddressed:
		return "no recipient"
	case a.Undelivered > 0:
		return "not delivered"
	case !a.From.IsZero():
		return "waits for its hour"
	case a.Waiting > 0:
		return "waiting"
	case a.Sent > 0:
		return "sent"
	}
	return "none"
}

// theme is what the event is about: what was searched for, or the theme its
// category covers, so that two lists naming one thing differently make one alert.
func theme(ev *policy.Event) string {
	if ev.Theme != "" {
		return ev.Theme
	}
	if class := ev.Category.Class(); class.Theme != "" {
		return class.Theme
	}
	if ev.Category != policy.Uncategorised {
		return ev.Category.String()
	}
	return ev.Reason.String()
}

// key is whose alert the event belongs to. A device of the register is the same
// device at a new address; without one, the address is all that is known, and
// nobody is guessed (privacy 11). Who had signed in, and whose device it is, keep
// alerts apart that different people may hear of (R36).
func key(ev *policy.Event, theme string, owners []string) string {
	who := "device " + ev.Device
	if ev.Device == "" {
		who = "address " + ev.Client
	}
	return strings.Join(append([]string{who, theme, strconv.FormatBool(ev.Pupil), ev.Person}, owners...), "\x00")
}

// sharedKey is the alert of all clients beyond the bound.
func sharedKey(ev *policy.Event, theme string, owners []string) string {
	return strings.Join(append([]string{"shared", theme, strconv.FormatBool(ev.Pupil)}, owners...), "\x00")
}

// opening is what an alert is opened from.
type opening struct {
	event    *policy.Event
	theme    string
	roles    []string
	severity uint8
	owners   []string
	shared   bool

	kind  string // of a try to get round the filter
	tries []try  // those that came before it, and it
}

func (o *opening) key() string {
	if o.shared {
		return sharedKey(o.event, o.theme, o.owners)
	}
	return key(o.event, o.theme, o.owners)
}

func (o *opening) alert(until time.Time) *Alert {
	ev := o.event
	a := &Alert{
		ID: ev.ID, Theme: o.theme, Adult: !ev.Pupil, Shared: o.shared, First: ev.Time, Until: until, Began: ev.Time,
		About: o.owners, Roles: o.roles, Key: o.key(),
	}
	if !o.shared {
		a.Client, a.Device, a.Person = ev.Client, ev.Device, ev.Person
	}
	a.add(o)
	if len(o.tries) > 0 {
		a.First, a.Count, a.Events, a.Kinds = o.tries[0].At, len(o.tries), nil, map[string]int{}
	}
	for _, y := range o.tries {
		a.Kinds[y.Kind]++
		if len(a.Events) < maxEventID {
			a.Events = append(a.Events, y.ID)
		}
	}
	return a
}

// add counts one more event and reports whether it is graver than all before.
func (a *Alert) add(o *opening) (graver bool) {
	ev := o.event
	graver = o.severity > a.Severity
	a.Severity = max(a.Severity, o.severity)
	if o.kind != "" {
		if a.Kinds == nil {
			a.Kinds = map[string]int{}
		}
		a.Kinds[o.kind]++
	}
	a.Sealed = a.Sealed || ev.Category.Mandatory()
	a.Count++
	if ev.Time.After(a.Last) {
		a.Last = ev.Time
	}
	switch {
	case len(a.Events) < maxEventID:
		a.Events = append(a.Events, ev.ID)
	case graver: // a hundred lesser ones must not hide what somebody was just told of
		a.Events[maxEventID-1] = ev.ID
	}
	return graver
}

// over reports whether a period ending at until has ended. One that ends
// further away than it is long was begun before the clock was set back (F12).
func over(until, now time.Time, length time.Duration) bool {
	return !now.Before(until) || until.Sub(now) > length
}
