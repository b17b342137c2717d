package policy

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"time"
)

// EventID numbers an event in the journal, from 1, without gaps. Records are
// ordered by it and not by clock.
type EventID uint64

// String is the number as people see it on a block page, e.g. "SG-1A2B".
func (id EventID) String() string {
	return "SG-" + strings.ToUpper(strconv.FormatUint(uint64(id), 36))
}

// ParseEventID reads what String wrote, in either case.
func ParseEventID(s string) (EventID, error) {
	digits, ok := strings.CutPrefix(strings.ToUpper(s), "SG-")
	n, err := strconv.ParseUint(digits, 36, 64)
	if !ok || err != nil || n == 0 {
		return 0, fmt.Errorf("bad event id %q: want one such as SG-1A2B", s)
	}
	return EventID(n), nil
}

// MarshalText and UnmarshalText write the id the way people see it, and that of
// an event not yet recorded as "".
func (id EventID) MarshalText() ([]byte, error) {
	if id == 0 {
		return nil, nil
	}
	return []byte(id.String()), nil
}

// UnmarshalText reads what MarshalText wrote.
func (id *EventID) UnmarshalText(b []byte) (err error) {
	if len(b) == 0 {
		*id = 0
		return nil
	}
	*id, err = ParseEventID(string(b))
	return err
}

// Event is one finished request, as the journal keeps it. It holds no body, no
// form field, no cookie and no credential (R24, privacy 4).
type Event struct {
	ID   EventID   `json:"id"`
	Time time.Time `json:"time"`
	Door Door      `json:"door"`

	Client  string `json:"client"` // address
	Device  string `json:"device,omitempty"`
	Group   string `json:"group,omitempty"`
	Profile string `json:"profile,omitempty"`
	Pupil   bool   `json:"pupil,omitempty"`

	Host   string `json:"host"`             // canonical; sealed as "" for a mandatory hit
	Path   string `json:"path,omitempty"`   // without query; only where the URL was seen
	Method string `json:"method,omitempty"` // HTTP method or DNS type

	Verdict  Verdict  `json:"verdict"`
	Reason   Reason   `json:"reason"`
	Category Category `json:"category,omitempty"`
	Rule     string   `json:"rule,omitempty"` // file:line
	Severity uint8    `json:"severity,omitempty"`
	Finding  string   `json:"finding,omitempty"` // e.g. "sni_mismatch", "malformed": a word, never free text
	Status   int      `json:"status,omitempty"`  // HTTP status or DNS RCODE of our own answer

	PolicyVersion string `json:"policy,omitempty"`
	StoreVersion  uint64 `json:"store,omitempty"`
}

// Flagged reports whether a person must hear of the event; such an event is on
// disk before its answer leaves.
func (e *Event) Flagged() bool { return e.Severity > 0 }

// Event starts the record of a ruling: who asked, what was decided and by what.
// A mandatory hit keeps no host and no path: the box must not be able to print
// its list (F2, privacy 8). A help-line keeps nothing of the person (F10).
func (r Ruling) Event(q Request) Event {
	return r.EventOf(q, clientText(q.Client), r.Rule.String())
}

// EventOf is Event for a door that answers so many requests that it keeps the
// texts of clients and rules it has written before.
func (r Ruling) EventOf(q Request, client, rule string) Event {
	e := Event{
		Time: q.Time, Door: q.Door,
		Client: client, Device: r.Client.Device, Group: r.Client.Group,
		Profile: r.ProfileName(), Pupil: r.Band().Pupil(),
		Verdict: r.Verdict, Reason: r.Reason, Category: r.Category, Rule: rule,
		Severity: r.Severity, PolicyVersion: r.PolicyVersion, StoreVersion: r.StoreVersion,
	}
	if r.Reason == ReasonMandatory {
		if r.Overblock() {
			e.Finding = FindingOverblock
		}
		return e
	}
	if r.Shielded { // a help-line: that it was used is counted, by whom and which is not kept
		e.Client, e.Device, e.Group, e.Profile, e.Rule, e.Pupil = "", "", "", "", "", false
		return e
	}
	e.Host = q.Host.String()
	e.Path, _, _ = strings.Cut(q.Path, "?")
	return e
}

// FindingOverblock marks a host refused for pages nobody could see (I3).
const FindingOverblock = "overblock"

func clientText(addr netip.Addr) string {
	if !addr.IsValid() {
		return ""
	}
	return addr.Unmap().String()
}

// Sink takes finished events. Record returns once the event has been handed to
// the kernel (and, if flagged, is on disk) and has set its ID: only then may the
// answer leave. An error means the event is not recorded and the answer must be
// a refusal.
type Sink interface {
	Record(*Event) error
}
