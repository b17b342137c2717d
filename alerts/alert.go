package alerts

import (
	"fmt"
	"slices"
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
	Adult    bool           `json:"adult,omitempty"`  // staff or guest: the Headteacher's, never the DSL's (R36)
	Shared   bool           `json:"shared,omitempty"` // of several clients: more were open than are kept apart

	First  time.Time        `json:"first"` // of its events
	Last   time.Time        `json:"last"`
	Count  int              `json:"count"`
	Events []policy.EventID `json:"events"` // the first hundred

	Until  time.Time `json:"until"` // end of the quiet period
	Closed bool      `json:"closed,omitempty"`

	Seq  int `json:"seq"`  // mails made; numbers the next one's Message-ID
	Told int `json:"told"` // the count that the last mail carried

	Waiting     int       `json:"waiting,omitempty"`     // people still to be told
	Unaddressed bool      `json:"unaddressed,omitempty"` // nobody is configured to be told
	Undelivered int       `json:"undelivered,omitempty"` // mails given up after a week
	Sent        int       `json:"sent,omitempty"`        // mails the server took
	LastSent    time.Time `json:"last_sent,omitzero"`
}

// Reference is the alert's name in mails and commands, e.g. "AL-1F".
func (a *Alert) Reference() string { return reference(a.ID) }

func reference(id policy.EventID) string {
	return "AL-" + strings.ToUpper(strconv.FormatUint(uint64(id), 36))
}

// ParseReference reads what Reference wrote, in either case.
func ParseReference(s string) (policy.EventID, error) {
	digits, ok := strings.CutPrefix(strings.ToUpper(s), "AL-")
	n, err := strconv.ParseUint(digits, 36, 64)
	if !ok || err != nil || n == 0 {
		return 0, fmt.Errorf("bad alert reference %q: want one such as AL-1F", s)
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
// nobody is guessed (privacy 11).
func key(ev *policy.Event) string {
	who := "device " + ev.Device
	if ev.Device == "" {
		who = "address " + ev.Client
	}
	return strings.Join([]string{who, theme(ev), strconv.FormatBool(ev.Pupil)}, "\x00")
}

// sharedKey is the alert of all clients beyond the bound.
func sharedKey(ev *policy.Event) string {
	return strings.Join([]string{"shared", theme(ev), strconv.FormatBool(ev.Pupil)}, "\x00")
}

func newAlert(ev *policy.Event, shared bool, until time.Time) *Alert {
	a := &Alert{ID: ev.ID, Theme: theme(ev), Adult: !ev.Pupil, Shared: shared, First: ev.Time, Until: until}
	if !shared {
		a.Client, a.Device = ev.Client, ev.Device
	}
	a.add(ev)
	return a
}

// add counts one more event and reports whether it is graver than all before.
func (a *Alert) add(ev *policy.Event) (graver bool) {
	severity := min(ev.Severity, 5)
	graver = severity > a.Severity
	a.Severity = max(a.Severity, severity)
	a.Count++
	if ev.Time.After(a.Last) {
		a.Last = ev.Time
	}
	if len(a.Events) < maxEventID {
		a.Events = append(a.Events, ev.ID)
	}
	return graver
}

// over reports whether a period ending at until has ended. One that ends
// further away than it is long was begun before the clock was set back (F12).
func over(until, now time.Time, length time.Duration) bool {
	return !now.Before(until) || until.Sub(now) > length
}

// Routes says who hears of an alert. Addresses are plain, such as
// dsl@school.example.
type Routes struct {
	DSL    []string // alerts on pupils
	Deputy []string // told as well of severities 4 and 5, so that none waits for an absent DSL (R32)
	Head   []string // alerts on staff and guests, which nobody else gets (R36)

	// IT hears with the Head how the box and its lists fare ([Notice]), and of no
	// alert.
	IT []string
}

// To lists who is told, without repeats. Where nobody is named for pupils the
// Headteacher is told; for adults there is no other than the Headteacher, since
// anybody else may be the subject.
func (r *Routes) To(a *Alert) []string {
	if a.Adult {
		return unique(r.Head)
	}
	to := r.DSL
	if a.Severity >= 4 || len(to) == 0 {
		to = slices.Concat(to, r.Deputy)
	}
	if len(to) == 0 {
		to = r.Head
	}
	return unique(to)
}

func (r *Routes) everyone() []string { return unique(slices.Concat(r.DSL, r.Deputy, r.Head)) }

// keepers are told of the box itself.
func (r *Routes) keepers() []string { return unique(slices.Concat(r.Head, r.IT)) }

// known is every address that mail may be sent to.
func (r *Routes) known() []string { return unique(slices.Concat(r.everyone(), r.IT)) }

func (r *Routes) empty() bool { return len(r.everyone()) == 0 }

func (r *Routes) check() error {
	for _, a := range r.known() {
		if err := checkAddress(a); err != nil {
			return err
		}
	}
	return nil
}

func unique(list []string) []string {
	var out []string
	for _, s := range list {
		if !slices.ContainsFunc(out, func(o string) bool { return strings.EqualFold(o, s) }) {
			out = append(out, s)
		}
	}
	return out
}
