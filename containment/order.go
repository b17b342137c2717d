package containment

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"golang.org/x/net/publicsuffix"

	"schoolgate/clients"
	"schoolgate/configs"
	"schoolgate/incidents"
	"schoolgate/policy"
)

// The acts by which staff contain an incident, as the journal calls them.
const (
	ActQuarantine      = "quarantine.add"
	ActLift            = "quarantine.lift"
	ActResetQuarantine = "quarantine.reset"
	ActBlock           = "block.add"
	ActUnblock         = "block.lift"
)

// Order is one such act: closing is instant, opening takes a second person.
type Order struct {
	Act      string `json:"act"`
	Target   string `json:"target"` // a device or address; a host or URL
	By       string `json:"by"`
	Second   string `json:"second,omitempty"`
	Reason   string `json:"reason"`
	Incident string `json:"incident,omitempty"`
}

func (c *Order) closes() bool { return c.Act == ActQuarantine || c.Act == ActBlock }

// why is the reason with all that belongs to it.
func (c *Order) why() string {
	why := c.Reason
	if c.Incident != "" {
		why += "; incident " + c.Incident
	}
	if c.Second != "" {
		why += "; second person: " + c.Second
	}
	return why
}

// samePerson compares names as people write them.
func samePerson(a, b string) bool {
	same := func(s string) string { return strings.Join(strings.Fields(strings.ToLower(s)), " ") }
	return same(a) == same(b)
}

func badRef(s string) bool {
	_, err := incidents.ParseRef(s)
	return err != nil
}

func (c *Order) check() error {
	switch {
	case strings.TrimSpace(c.By) == "":
		return errors.New("it takes a name: --by")
	case len(strings.TrimSpace(c.Reason)) < 5:
		return errors.New("it takes a reason that can be understood later: --reason")
	case c.Incident != "" && badRef(c.Incident):
		return fmt.Errorf("bad reference of an incident %q: want one such as IN-1A-B", c.Incident)
	case c.closes():
		return nil
	case strings.TrimSpace(c.Second) == "":
		return errors.New("closing is one person's act, opening again takes two: --by and --second")
	case samePerson(c.By, c.Second):
		return fmt.Errorf("opening again takes two different people, and %q is one", c.By)
	}
	return nil
}

// apply gives the state after the act, and what to say of it.
func (c *Order) apply(s State, cfg *configs.Config, table *clients.Table) (next State, said string, err error) {
	var was Entry
	again := false
	switch c.Act {
	case ActQuarantine:
		e, err := c.device(cfg, table)
		if err != nil {
			return s, "", err
		}
		if next, again, err = s.Add(e); err != nil {
			return s, "", err
		}
		said = fmt.Sprintf("%s is cut off: help-lines stay open, nothing else", e.Target())
		if e.Device == "" && e.Hardware == "" {
			said += " (by its address alone: another device that gets this address is cut off, and this one is free when it gets another)"
		}
	case ActBlock:
		e, err := c.host(cfg)
		if err != nil {
			return s, "", err
		}
		if next, again, err = s.Add(e); err != nil {
			return s, "", err
		}
		said = fmt.Sprintf("%s is closed for everyone", e.Target())
		if e.Path != "" {
			said += fmt.Sprintf(" (all of %s, on devices whose https is not looked into: there the box sees no pages)", e.Host)
		}
	case ActLift:
		if next, was, err = s.LiftDevice(c.Target); err != nil {
			return s, "", fmt.Errorf("quarantine: %w (what policy.yaml cuts off is lifted there)", err)
		}
		said = fmt.Sprintf("%s is back: it was cut off on %s by %s: %s", c.Target, was.At.In(cfg.School.Policy.Timetable.Location).Format("2 January 2006 15:04"), was.By, was.Reason)
	case ActUnblock:
		u, err := policy.ParseURL(c.Target)
		if err != nil {
			return s, "", err
		}
		e := Entry{Host: u.Host.String(), Path: pagePath(u.Path)}
		if next, was, err = s.OpenHost(e.Target()); err != nil {
			return s, "", fmt.Errorf("emergency block: %w", err)
		}
		said = fmt.Sprintf("%s is no longer closed for everyone: it was closed on %s by %s: %s", e.Target(), was.At.In(cfg.School.Policy.Timetable.Location).Format("2 January 2006 15:04"), was.By, was.Reason)
	case ActResetQuarantine:
		next = State{Revision: s.Revision + 1, Last: s.Last}
		said = "the record of quarantines and emergency blocks begins anew, with nothing closed"
	default:
		return s, "", fmt.Errorf("there is no act %q", c.Act)
	}
	if again {
		said += " (it was before)"
	}
	return next, said, nil
}

func (c *Order) entry() Entry {
	return Entry{At: time.Now().UTC().Truncate(time.Second), By: c.By, Reason: c.Reason, Incident: c.Incident}
}

// device finds out which device is meant: by the register if it is in it, so that
// it stays cut off whatever address it takes.
func (c *Order) device(cfg *configs.Config, table *clients.Table) (Entry, error) {
	e := c.entry()
	known := func(m configs.Member) bool { return m.Device == c.Target }
	if slices.ContainsFunc(cfg.School.Members, known) {
		e.Device = c.Target
		return e, nil
	}
	addr, err := netip.ParseAddr(c.Target)
	if err != nil {
		return e, fmt.Errorf("%q is no device of the register in policy.yaml, and no address: nothing was cut off", c.Target)
	}
	addr = addr.Unmap().WithZone("")
	if who := table.Identify(addr); who.Device != "" {
		e.Device = who.Device
		return e, nil
	}
	e.Address = addr
	if h, ok := table.Hardware(addr); ok {
		e.Hardware = h.String()
	}
	return e, nil
}

// host finds out which host or page is meant.
func (c *Order) host(cfg *configs.Config) (Entry, error) {
	e := c.entry()
	u, err := policy.ParseURL(c.Target)
	if err != nil {
		return e, err
	}
	e.Host, e.Path = u.Host.String(), pagePath(u.Path)
	if suffix, _ := publicsuffix.PublicSuffix(e.Host); suffix == e.Host {
		return e, fmt.Errorf("%s is no site but an ending that many sites share: name the site", e.Host)
	}
	if cfg.School.Policy.NeverBlocks(u.Host, u.Path, time.Now()) {
		return e, fmt.Errorf("%s is in the never-block set (help-lines, updates): it stays open, and only a mandatory list closes it", e.Target())
	}
	return e, nil
}

// pagePath is the page of an address, "" for the whole host.
func pagePath(path string) string {
	if path == "/" {
		return ""
	}
	return path
}
