package policy

import (
	"math/rand/v2"
	"net/netip"
	"sync/atomic"
	"time"
)

// Door is the way a request came in.
type Door uint8

// The doors.
const (
	DoorDNS     Door = iota + 1 // a question to the resolver
	DoorHTTP                    // a plain request to the proxy: the URL is known
	DoorCONNECT                 // the name in a CONNECT request
	DoorTLS                     // the SNI of a tunnel
	DoorInspect                 // a request inside an inspected tunnel: the URL is known
	DoorCheck                   // a person asking "what would happen?"
	DoorStaff                   // no request: what a person did with the box
	DoorGateway                 // no request: what the firewall dropped of a device
)

var doorNames = [...]string{
	DoorDNS: "dns", DoorHTTP: "http", DoorCONNECT: "connect", DoorTLS: "tls",
	DoorInspect: "inspect", DoorCheck: "check", DoorStaff: "staff", DoorGateway: "gateway",
}

func (d Door) String() string {
	if int(d) < len(doorNames) {
		return doorNames[d]
	}
	return ""
}

// web reports whether people browse through the door, and can be asked who they are.
func (d Door) web() bool { return d >= DoorHTTP && d <= DoorInspect }

// MarshalText and UnmarshalText make doors readable in records.
func (d Door) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText reads what MarshalText wrote; an unknown word is no door.
func (d *Door) UnmarshalText(b []byte) error {
	*d = 0
	for i, name := range doorNames {
		if name == string(b) {
			*d = Door(i)
		}
	}
	return nil
}

// Request is one thing asked for, in canonical form.
type Request struct {
	Door   Door
	Client netip.Addr
	Host   Host
	Path   string // path and query, canonical; "" where the door sees only the host
	Time   time.Time
	Login  *Login // who signed in at the door; nil for nobody
	Memo   *Memo  // of Host, from a door that keeps one; nil for none
}

// Facts is what the lists say of a host or URL.
type Facts struct {
	Categories CategorySet
	Mandatory  Category // the mandatory list it is on, or Uncategorised
	// MandatoryPaths: the host has path-level entries on a mandatory list, and
	// the question was about the host alone, so only the URL can settle it (I3).
	MandatoryPaths Category
	// Paths: the host has path-level entries of any kind.
	Paths bool
	// Unreadable: the store broke under the question, so nothing is known of the
	// host and the request is refused (F5, F6).
	Unreadable bool
}

// Classifier says what the lists hold on a host; path is "" where only the
// host is known. It must be safe for concurrent use and must not allocate for
// a host that is on no list.
type Classifier interface {
	Classify(h Host, path string) Facts
}

// Identifier says who is behind an address. An address it does not know gives
// the zero Client with Addr set.
type Identifier interface {
	Identify(addr netip.Addr) Client
}

// Snapshot is everything one decision is taken from, swapped whole so that a
// verdict is always of one version.
type Snapshot struct {
	Policy       *Policy
	Lists        Classifier
	Clients      Identifier
	StoreVersion uint64 // the category store's number, written into every event

	// Closed is what staff closed for everyone in an emergency; nil for nothing.
	Closed *HostSet
	// Version names the policy with what staff did to it since, in every event;
	// "" is that of the policy alone. It must be another one whenever Closed is.
	Version string

	warnings *warnings // that people went on past; nil for none

	serial uint64 // another for each Swap: what memos know a snapshot by; 0 is never remembered
}

// Engine gathers the facts of a request and asks the current policy. The zero
// Engine refuses everything.
type Engine struct {
	current  atomic.Pointer[Snapshot]
	warnings warnings
}

// Swap puts a new snapshot in place. Decisions under way finish on the old one.
func (e *Engine) Swap(s *Snapshot) {
	if s == nil {
		e.current.Store(nil)
		return
	}
	fresh := *s
	fresh.warnings = &e.warnings
	for fresh.serial = 0; fresh.serial == 0; {
		fresh.serial = rand.Uint64()
	}
	e.current.Store(&fresh)
}

// Current is the snapshot in force, nil before the first Swap.
func (e *Engine) Current() *Snapshot {
	if e == nil {
		return nil
	}
	return e.current.Load()
}

// Decide answers a request from the snapshot in force.
func (e *Engine) Decide(q Request) Ruling {
	return e.Current().Decide(q)
}

// Ruling is a decision with what it was taken from, enough to write the event.
type Ruling struct {
	Decision
	Client        Client
	Facts         Facts
	PolicyVersion string
	StoreVersion  uint64
}

// Decide answers a request from this snapshot. A nil or incomplete snapshot
// refuses: the filter fails closed. It allocates nothing beyond what the lists
// and the clients do.
func (s *Snapshot) Decide(q Request) Ruling {
	if !s.ready() {
		return Ruling{}
	}
	full := s.ask(q)
	return s.ruling(s.Policy.decide(&full), &full)
}

// Explain is Decide with the way it went.
func (s *Snapshot) Explain(q Request) (Ruling, Trace) {
	if !s.ready() {
		return Ruling{}, (&question{}).trace(&Decision{})
	}
	full := s.ask(q)
	return s.explain(&full)
}

// DecideFor answers as if the request came from an unknown client with the named
// profile, for a person asking "what would a Year 5 child get?"; ok is false if
// there is no such profile, or nothing to decide by.
func (s *Snapshot) DecideFor(profile string, q Request) (r Ruling, t Trace, ok bool) {
	if s == nil || s.Policy == nil || s.Lists == nil {
		return Ruling{}, nil, false
	}
	p, ok := s.Policy.profiles[profile]
	if !ok {
		return Ruling{}, nil, false
	}
	r, t = s.explain(&question{
		Request: q, client: Client{Addr: q.Client.Unmap()}, facts: s.Lists.Classify(q.Host, q.Path), written: s.Policy.writtenOf(q.Host), profile: p, closed: s.Closed,
	})
	return r, t, true
}

func (s *Snapshot) ready() bool {
	return s != nil && s.Policy != nil && s.Lists != nil && s.Clients != nil
}

// ask gathers the facts of a request.
func (s *Snapshot) ask(q Request) question {
	client := s.Clients.Identify(q.Client.Unmap())
	group, profile := s.Policy.place(client.Group)
	if q.Login != nil && profile != nil && profile.SignIn != NoSignIn {
		client.Person, client.Group = q.Login.Person, q.Login.Group
		group, profile = s.Policy.place(client.Group)
	}
	k := s.known(&q)
	return question{
		Request: q, client: client, facts: k.facts, written: k.written, group: group, profile: profile, closed: s.Closed, warnings: s.warnings,
	}
}

// known gathers what does not depend on who asks and when.
func (s *Snapshot) known(q *Request) known {
	if q.Path == "" {
		if k, ok := q.Memo.recall(q.Host, s.serial); ok {
			return k
		}
	}
	k := known{facts: s.Lists.Classify(q.Host, q.Path), written: s.Policy.writtenOf(q.Host)}
	if q.Path == "" {
		q.Memo.keep(q.Host, s.serial, &k)
	}
	return k
}

func (s *Snapshot) explain(q *question) (Ruling, Trace) {
	d := s.Policy.decide(q)
	return s.ruling(d, q), q.trace(&d)
}

func (s *Snapshot) ruling(d Decision, q *question) Ruling {
	version := s.Version
	if version == "" {
		version = s.Policy.Version
	}
	return Ruling{Decision: d, Client: q.client, Facts: q.facts, PolicyVersion: version, StoreVersion: s.StoreVersion}
}
