package policy

import (
	"fmt"
	"net/netip"
	"strings"
	"time"
	"unicode"
)

// EventID numbers an event in the journal, from 1, without gaps. Records are
// ordered by it and not by clock.
type EventID uint64

// String is the number as people see it on a block page, e.g. "SG-1A2-G".
func (id EventID) String() string { return FormatReference("SG-", uint64(id)) }

// ParseEventID reads what String wrote, in either case.
func ParseEventID(s string) (EventID, error) {
	n, ok := ParseReference("SG-", s)
	if !ok {
		return 0, fmt.Errorf("bad event id %q: want one such as SG-1A2-G (is a character of it misread?)", s)
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

// Event is one finished request, as the journal keeps it, or what a person did
// with the box ([DoorStaff]). It holds no body, no form field, no cookie and no
// credential (R24, privacy 4).
type Event struct {
	ID   EventID   `json:"id"`
	Time time.Time `json:"time"`
	Door Door      `json:"door"`

	Client  string `json:"client"` // address
	Device  string `json:"device,omitempty"`
	Group   string `json:"group,omitempty"`
	Profile string `json:"profile,omitempty"`
	Pupil   bool   `json:"pupil,omitempty"`
	Person  string `json:"person,omitempty"` // who signed in, where somebody did; of DoorStaff who did it

	Host   string `json:"host"`             // canonical; sealed as "" for a mandatory hit
	Path   string `json:"path,omitempty"`   // without query; only where the URL was seen
	Port   uint16 `json:"port,omitempty"`   // where it is not the usual one of the door
	Method string `json:"method,omitempty"` // HTTP method or DNS type
	Use    Use    `json:"use,omitempty"`    // whether a person asked or a page did (R42)

	Words string `json:"words,omitempty"` // of a search at a known engine, and of nothing else (privacy 4)
	Theme string `json:"theme,omitempty"` // what the watched phrase or the page is about, e.g. "self_harm" (M1)
	Term  string `json:"term,omitempty"`  // the watched phrase that spoke

	Verdict  Verdict  `json:"verdict"`
	Reason   Reason   `json:"reason"`
	Category Category `json:"category,omitempty"`
	Rule     string   `json:"rule,omitempty"` // file:line
	Severity uint8    `json:"severity,omitempty"`
	Finding  string   `json:"finding,omitempty"` // e.g. "sni_mismatch", "malformed": a word, never free text
	Status   int      `json:"status,omitempty"`  // HTTP status or DNS RCODE of our own answer
	Type     string   `json:"type,omitempty"`    // media type of an inspected reply, without parameters
	Size     int64    `json:"size,omitempty"`    // bytes of an inspected reply, where its headers said so

	// What a person did with the box. Only DoorStaff has these.
	Act     string `json:"act,omitempty"`     // a word, e.g. "audit.search", "quarantine"
	Subject string `json:"subject,omitempty"` // what it was done to: a device, a host, a reference, a query
	Note    string `json:"note,omitempty"`    // why, in that person's words (R31)

	// The address of a mandatory hit, sealed to two people (F7): binary, and in no
	// index, export, mail or page. Secret is the same before it is sealed: the one
	// who keeps events takes it off and never keeps it.
	Sealed string  `json:"-"`
	Secret *Secret `json:"-"`

	PolicyVersion string `json:"policy,omitempty"`
	StoreVersion  uint64 `json:"store,omitempty"`

	// Shielded: somebody used a help-line, or searched for help. Whoever keeps events
	// counts it and writes it nowhere, since its place among a device's other events
	// would tell whose it is (F10).
	Shielded bool `json:"-"`
}

// Flagged reports whether a person must hear of the event.
func (e *Event) Flagged() bool { return e.Severity > 0 }

// Durable reports whether the event must be on disk, and not only with the kernel,
// before its answer leaves or its act is done: what a person must hear of, and what
// staff did.
func (e *Event) Durable() bool { return e.Flagged() || e.Door == DoorStaff }

// Event starts the record of a ruling: who asked, what was decided and by what.
// A mandatory hit keeps no host and no path: the box must not be able to print
// its list (F2, privacy 8). A help-line's event is only to be counted (F10).
func (r Ruling) Event(q Request) Event {
	return r.EventOf(q, clientText(q.Client), r.Rule.String())
}

// EventOf is Event for a door that answers so many requests that it keeps the
// texts of clients and rules it has written before.
func (r Ruling) EventOf(q Request, client, rule string) Event {
	e := Event{
		Time: q.Time, Door: q.Door,
		Client: client, Device: r.Client.Device, Group: r.Client.Group, Person: r.Client.Person,
		Profile: r.ProfileName(), Pupil: r.Band().Pupil(),
		Verdict: r.Verdict, Reason: r.Reason, Category: r.Category, Rule: rule,
		Severity: r.Severity, PolicyVersion: r.PolicyVersion, StoreVersion: r.StoreVersion,
	}
	if r.Reason == ReasonMandatory {
		if r.Overblock() {
			e.Finding = FindingOverblock
			return e // the page is not known, so there is nothing to report
		}
		e.Secret = secretOf(q)
		return e
	}
	if r.Shielded {
		e.Client, e.Device, e.Group, e.Person, e.Profile, e.Rule, e.Pupil = "", "", "", "", "", "", false
		e.Shielded = true
		return e
	}
	e.Host = q.Host.String()
	if r.Profile == nil || r.Band() != Guest { // of a guest the host, no more (M4)
		e.Path, _, _ = strings.Cut(q.Path, "?")
	}
	return e
}

// Secret is an address that must not be kept in clear. It prints as a word, so that
// no log or error shows it; only Reveal gives it.
type Secret struct{ address string }

// NewSecret makes an address one.
func NewSecret(address string) *Secret { return &Secret{address} }

func secretOf(q Request) *Secret {
	scheme := "https"
	if q.Door == DoorHTTP {
		scheme = "http"
	}
	return &Secret{scheme + "://" + q.Host.String() + q.Path}
}

// Reveal is the address, for who seals it.
func (s *Secret) Reveal() string { return s.address }

func (*Secret) String() string { return "(sealed)" }

// GoString is String, also for %#v.
func (*Secret) GoString() string { return "(sealed)" }

// MarshalText keeps it out of every text format.
func (*Secret) MarshalText() ([]byte, error) { return []byte("(sealed)"), nil }

// StaffAct is the record of what a person did with the box: when, who, the act as a
// word, what it was done to, and why in that person's own words ([Readable]).
func StaffAct(at time.Time, person, act, subject, why string) Event {
	return Event{
		Time: at, Door: DoorStaff, Verdict: Allow, Reason: ReasonDefault,
		Person: Readable(person), Act: act, Subject: Readable(subject), Note: Readable(why),
	}
}

// Readable is what a person typed without the characters that act on a screen instead
// of being read: controls but line ends and tabs, and marks of direction. Joiners, which
// Urdu and Punjabi are written with, stay.
func Readable(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\n', r == '\t', r == 0x200c, r == 0x200d:
			return r
		case unicode.In(r, unicode.Cc, unicode.Cf, unicode.Zl, unicode.Zp):
			return -1
		}
		return r
	}, strings.ToValidUTF8(s, "\uFFFD"))
}

// Use tells a request that a person made from what a page or program does by
// itself (R42). It is the browser's word (Fetch Metadata), so it is evidence and
// no proof.
type Use uint8

// The uses.
const (
	UseUnknown    Use = iota // the door cannot see it
	UsePerson                // a page that a person opened: typed, clicked, searched
	UseBackground            // what a page or program fetches by itself
)

var useNames = [...]string{UseUnknown: "", UsePerson: "person", UseBackground: "background"}

// String is the use as records write it, "" for what is not known.
func (u Use) String() string {
	if int(u) < len(useNames) {
		return useNames[u]
	}
	return ""
}

// ParseUse reads what String wrote; ok is false for a word that is none.
func ParseUse(s string) (u Use, ok bool) {
	for i, name := range useNames {
		if name == s {
			return Use(i), true
		}
	}
	return UseUnknown, false
}

// MarshalText and UnmarshalText make uses readable in records.
func (u Use) MarshalText() ([]byte, error) { return []byte(u.String()), nil }

// UnmarshalText reads what MarshalText wrote; an unknown word is not known.
func (u *Use) UnmarshalText(b []byte) error {
	*u, _ = ParseUse(string(b))
	return nil
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
// the kernel (and, if [Event.Durable], is on disk) and has set its ID: only then may the
// answer leave. An error means the event is not recorded and the answer must be
// a refusal. One that is [Event.Shielded] is counted, and has no ID.
type Sink interface {
	Record(*Event) error
}
