package containment

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"

	"schoolgate/policy"
)

// Bounds. A school has an incident or two at a time; what is beyond is a mistake.
const (
	MaxEntries = 1000 // devices, and as many addresses
	MaxText    = 500  // letters of a name or a reason
)

// Entry is one thing closed, with who did it and why.
type Entry struct {
	N        int            `json:"n"` // numbers what was ever closed: a decision names it
	At       time.Time      `json:"at"`
	By       string         `json:"by"`
	Reason   string         `json:"reason"`
	Incident string         `json:"incident,omitempty"`
	Event    policy.EventID `json:"event,omitempty"` // the staff act on record

	// A device: by its name in the register, or else by its address and, where it
	// is on the box's own network, by its hardware address.
	Device   string     `json:"device,omitempty"`
	Address  netip.Addr `json:"address,omitzero"`
	Hardware string     `json:"hardware,omitempty"`

	// Or a host, with everything below it, or one page of it.
	Host string `json:"host,omitempty"`
	Path string `json:"path,omitempty"`
}

// Target is what was closed, as a person writes it.
func (e *Entry) Target() string {
	switch {
	case e.Host != "":
		return e.Host + e.Path
	case e.Device != "":
		return e.Device
	}
	return e.Address.String()
}

// State is everything closed now. The zero value is nothing.
type State struct {
	Revision uint64  `json:"revision"` // grows with each change
	Last     int     `json:"last"`     // the last number given to an entry
	Devices  []Entry `json:"devices,omitempty"`
	Hosts    []Entry `json:"hosts,omitempty"`
}

// Empty reports whether nothing is closed.
func (s *State) Empty() bool { return len(s.Devices)+len(s.Hosts) == 0 }

// ErrNothing is returned for what is not closed and cannot be opened.
var ErrNothing = errors.New("it is not closed")

// Add closes one thing more. What is closed already stays as it was first
// written down: again is true, and there is no next state.
func (s State) Add(e Entry) (next State, again bool, err error) {
	if err := e.check(); err != nil {
		return s, false, err
	}
	list := &s.Devices
	if e.Host != "" {
		list = &s.Hosts
	}
	if find(*list, e.Target()) >= 0 {
		return s, true, nil
	}
	if len(*list) >= MaxEntries {
		return s, false, fmt.Errorf("%d are closed already, which is the most that can be: lift what is over, or write the rest into policy.yaml", MaxEntries)
	}
	s.Revision++
	s.Last++
	e.N = s.Last
	*list = append(slices.Clip(*list), e)
	return s, false, nil
}

// Recorded notes the staff act of the entry added last.
func (s *State) Recorded(act policy.EventID) {
	for _, list := range [][]Entry{s.Devices, s.Hosts} {
		if n := len(list); n > 0 && list[n-1].N == s.Last {
			list[n-1].Event = act
		}
	}
}

// LiftDevice takes a device out of quarantine.
func (s State) LiftDevice(target string) (next State, was Entry, err error) {
	return s.lift(&s.Devices, target)
}

// OpenHost opens a host or page again.
func (s State) OpenHost(target string) (next State, was Entry, err error) {
	return s.lift(&s.Hosts, target)
}

func (s State) lift(list *[]Entry, target string) (State, Entry, error) {
	i := find(*list, target)
	if i < 0 {
		return s, Entry{}, fmt.Errorf("%q: %w", target, ErrNothing)
	}
	was := (*list)[i]
	kept := slices.Delete(slices.Clone(*list), i, i+1)
	s.Revision++
	if was.Host != "" {
		s.Hosts = kept
	} else {
		s.Devices = kept
	}
	return s, was, nil
}

func find(list []Entry, target string) int {
	return slices.IndexFunc(list, func(e Entry) bool { return e.Target() == target })
}

func (e *Entry) check() error {
	for _, text := range []string{e.By, e.Reason, e.Incident, e.Device} {
		if len(text) > MaxText || strings.ContainsFunc(text, func(r rune) bool { return r < ' ' || r == 0x7f }) {
			return fmt.Errorf("names and reasons are one line of at most %d letters", MaxText)
		}
	}
	switch {
	case strings.TrimSpace(e.By) == "":
		return errors.New("it takes a name: --by")
	case strings.TrimSpace(e.Reason) == "":
		return errors.New("it takes a reason that can be understood later: --reason")
	case e.Host != "" && (e.Device != "" || e.Address.IsValid()):
		return errors.New("a device or an address, not both")
	case e.Host != "":
		_, err := e.rule()
		return err
	case e.Device == "" && !e.Address.IsValid():
		return errors.New("it names nothing")
	}
	if e.Hardware != "" {
		if _, err := net.ParseMAC(e.Hardware); err != nil {
			return fmt.Errorf("hardware address %q: %w", e.Hardware, err)
		}
	}
	return nil
}

// File is what a decision names as the place of an emergency block; the line is
// the number of its entry.
const File = "emergency"

func (e *Entry) rule() (policy.HostRule, error) {
	host, err := policy.ParseHost(e.Host)
	if err != nil {
		return policy.HostRule{}, err
	}
	return policy.HostRule{Host: host, Path: e.Path, Verdict: policy.Block, Rule: policy.Pos{File: File, Line: e.N}}, nil
}

// Closed is what is closed for everyone, nil for nothing.
func (s *State) Closed() (*policy.HostSet, error) {
	if len(s.Hosts) == 0 {
		return nil, nil
	}
	rules := make([]policy.HostRule, len(s.Hosts))
	for i := range s.Hosts {
		var err error
		if rules[i], err = s.Hosts[i].rule(); err != nil {
			return nil, err
		}
	}
	return policy.NewHostSet(rules...), nil
}

// Version is the name of a policy with what was closed since.
func (s *State) Version(policy string) string {
	if s.Empty() {
		return policy
	}
	return fmt.Sprintf("%s+e%d", policy, s.Revision)
}
