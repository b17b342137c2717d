package appliance

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/net/publicsuffix"

	"schoolgate/audit"
	"schoolgate/categories"
	"schoolgate/clients"
	"schoolgate/configs"
	"schoolgate/containment"
	"schoolgate/control"
	"schoolgate/incidents"
	"schoolgate/policy"
	"schoolgate/redaction"
)

// The acts by which staff contain an incident, as the journal calls them.
const (
	ActQuarantine      = "quarantine.add"
	ActLift            = "quarantine.lift"
	ActResetQuarantine = "quarantine.reset"
	ActBlock           = "block.add"
	ActUnblock         = "block.lift"
)

// Containing is one such act: closing is instant, opening takes a second person.
type Containing struct {
	Act      string `json:"act"`
	Target   string `json:"target"` // a device or address; a host or URL
	By       string `json:"by"`
	Second   string `json:"second,omitempty"`
	Reason   string `json:"reason"`
	Incident string `json:"incident,omitempty"`
}

// Contained is what is closed now.
func Contained(cfg *configs.Config) (containment.State, error) {
	s, _, err := containment.Load(cfg.Box.Data)
	return s, err
}

// Contain carries an act out: on record first, then on disk, then in force, at
// once through the daemon where one is running. The text tells what was done.
func Contain(ctx context.Context, cfg *configs.Config, c Containing) (string, error) {
	var said string
	err := control.Ask(ctx, cfg.Box.Data, "contain", c, &said)
	if !errors.Is(err, control.ErrNotRunning) {
		return said, err
	}
	journal, err := audit.Open(audit.In(cfg.Box.Data).Path, journalOptions(&cfg.Box))
	if err != nil {
		return "", err
	}
	table, err := clientTable(cfg, clients.Options{})
	if err != nil {
		return "", errors.Join(err, journal.Close())
	}
	lists := listsAtRest(cfg)
	c.Reason = redaction.Text(lists, c.Reason)
	k := keeper{dir: cfg.Box.Data, sink: journal, lists: func() policy.Classifier { return lists }}
	k.load()
	if said, err = k.contain(c, cfg, table); err == nil && c.Incident != "" {
		said += "; " + c.noteAtRest(cfg, said)
	}
	return said, errors.Join(err, journal.Close())
}

// contain is Contain's other end.
func (a *Appliance) contain(w http.ResponseWriter, r *http.Request) {
	var c Containing
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxAct)).Decode(&c); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	c.Reason = redaction.Text(a.lists(), c.Reason)
	said, err := a.contained.contain(c, a.config.Load(), a.table.Load())
	if err != nil {
		http.Error(w, err.Error(), http.StatusConflict)
		return
	}
	if c.Incident != "" {
		said += "; " + c.note(a.register, said)
	}
	a.answer(w, said)
}

// noteAtRest is note for a command that writes itself.
func (c *Containing) noteAtRest(cfg *configs.Config, said string) string {
	r, closeIt, err := writeRegister(cfg)
	if err != nil {
		return fmt.Sprintf("not noted in %s: %v", c.Incident, err)
	}
	noted := c.note(r, said)
	if err := closeIt(); err != nil {
		return fmt.Sprintf("not noted in %s: %v", c.Incident, err)
	}
	return noted
}

// note puts what was done into the history of its incident, and says so. It is done,
// and on record in the journal, whatever comes of this.
func (c *Containing) note(r *incidents.Register, said string) string {
	i, err := r.Do(incidents.Contained(c.Incident, c.By, said+". "+c.Reason))
	switch {
	case errors.Is(err, incidents.ErrUnknown):
		return fmt.Sprintf("not noted in %s, for there is no such incident", c.Incident)
	case err != nil:
		return fmt.Sprintf("not noted in %s: %v", c.Incident, err)
	}
	return "noted in " + i.Ref()
}

// keeper keeps what is contained: in force, and on disk.
type keeper struct {
	dir     string
	sink    policy.Sink
	lists   func() policy.Classifier // in force; of nil where there are none
	changed func()                   // puts the state in force; nil where nothing is running

	mu    sync.Mutex // one act at a time
	state atomic.Pointer[containedState]
}

// containedState is one state with what is wrong with it.
type containedState struct {
	containment.State
	err  error  // nothing may be let through
	note string // worth a look, and nothing is lost
}

// load reads what is on disk. One that cannot be read cuts everybody off.
func (k *keeper) load() {
	s, note, err := containment.Load(k.dir)
	k.state.Store(&containedState{s, err, note})
}

// contain carries out one act.
func (k *keeper) contain(c Containing, cfg *configs.Config, table *clients.Table) (string, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	now := k.state.Load()
	if now.err != nil && c.Act != ActResetQuarantine {
		return "", fmt.Errorf("%w; put a copy of it back from a backup, or have two people run schoolgate quarantine reset and close again what must stay closed", now.err)
	}
	if err := c.check(); err != nil {
		return "", err
	}
	if c.Act == ActBlock && redaction.Listed(k.lists(), c.Target) != policy.Uncategorised {
		return "", errors.New("a mandatory list closes it to everyone already; nothing of it was written down, as the address itself may be a crime to pass on")
	}
	next, said, err := c.apply(now.State, cfg, table)
	if err != nil || next.Revision == now.Revision && c.Act != ActResetQuarantine {
		return said, err
	}
	act := policy.StaffAct(time.Now(), c.By, c.Act, c.Target, c.why())
	if err := k.sink.Record(&act); err != nil {
		return "", fmt.Errorf("nothing was changed, since it cannot be put on record: %w", err)
	}
	if c.closes() {
		next.Recorded(act.ID)
	}
	err = containment.Save(k.dir, next)
	if err == nil || c.closes() { // what closes is in force even where the disk fails
		k.state.Store(&containedState{State: next})
		if k.changed != nil {
			k.changed()
		}
	}
	if err != nil && c.closes() && k.changed != nil {
		return "", fmt.Errorf("%s, but it will not outlive a restart of the box: %w", said, err)
	}
	if err != nil {
		return "", fmt.Errorf("not changed, though it is on record as %s: %w", act.ID, err)
	}
	return fmt.Sprintf("%s; on record as %s", said, act.ID), nil
}

func (c *Containing) closes() bool { return c.Act == ActQuarantine || c.Act == ActBlock }

// why is the reason with all that belongs to it.
func (c *Containing) why() string {
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

func (c *Containing) check() error {
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
func (c *Containing) apply(s containment.State, cfg *configs.Config, table *clients.Table) (next containment.State, said string, err error) {
	var was containment.Entry
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
		e := containment.Entry{Host: u.Host.String(), Path: pagePath(u.Path)}
		if next, was, err = s.OpenHost(e.Target()); err != nil {
			return s, "", fmt.Errorf("emergency block: %w", err)
		}
		said = fmt.Sprintf("%s is no longer closed for everyone: it was closed on %s by %s: %s", e.Target(), was.At.In(cfg.School.Policy.Timetable.Location).Format("2 January 2006 15:04"), was.By, was.Reason)
	case ActResetQuarantine:
		next = containment.State{Revision: s.Revision + 1, Last: s.Last}
		said = "the record of quarantines and emergency blocks begins anew, with nothing closed"
	default:
		return s, "", fmt.Errorf("there is no act %q", c.Act)
	}
	if again {
		said += " (it was before)"
	}
	return next, said, nil
}

func (c *Containing) entry() containment.Entry {
	return containment.Entry{At: time.Now().UTC().Truncate(time.Second), By: c.By, Reason: c.Reason, Incident: c.Incident}
}

// device finds out which device is meant: by the register if it is in it, so that
// it stays cut off whatever address it takes.
func (c *Containing) device(cfg *configs.Config, table *clients.Table) (containment.Entry, error) {
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
func (c *Containing) host(cfg *configs.Config) (containment.Entry, error) {
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

// identify lays what is contained over the table of clients.
func (s *containedState) identify(table *clients.Table) policy.Identifier {
	if s.err == nil && len(s.Devices) == 0 {
		return table
	}
	q := clients.Quarantine{All: s.err != nil}
	for i := range s.Devices {
		e := &s.Devices[i]
		if e.Device != "" {
			q.Devices = append(q.Devices, e.Device)
			continue
		}
		q.Addresses = append(q.Addresses, e.Address)
		if h, err := net.ParseMAC(e.Hardware); err == nil {
			q.Hardware = append(q.Hardware, h)
		}
	}
	return table.CutOff(q)
}

// snapshot is policy, lists and clients with what is contained.
func (s *containedState) snapshot(p *policy.Policy, lists policy.Classifier, store uint64, table *clients.Table) *policy.Snapshot {
	closed, err := s.Closed()
	next := policy.Snapshot{
		Policy: p, Lists: categories.Suffixed{Classifier: lists}, Clients: s.identify(table), StoreVersion: store, Closed: closed, Version: s.Version(p.Version),
	}
	if err != nil { // it was checked when it was read
		next.Clients = table.CutOff(clients.Quarantine{All: true})
	}
	return &next
}

// openContained reads what is contained, before anything is decided.
func (a *Appliance) openContained(context.Context) error {
	a.contained.dir, a.contained.sink, a.contained.changed = a.box().Data, a.journal, a.recontain
	a.contained.lists = a.lists
	a.contained.load()
	switch s := a.contained.state.Load(); {
	case s.err != nil:
		a.log.Error("every device is cut off: nobody knows any more which of them must be; have two people run schoolgate quarantine reset, or put the file back", "err", s.err)
	case s.note != "":
		a.log.Warn("record of quarantines", "what", s.note)
	}
	return nil
}

// recontain puts what is contained in force: new decisions at once, and what is
// open is decided anew.
func (a *Appliance) recontain() {
	a.swapping.Lock()
	old := a.engine.Current()
	a.engine.Swap(a.contained.state.Load().snapshot(old.Policy, old.Lists, old.StoreVersion, a.table.Load()))
	a.swapping.Unlock()
	a.proxy.Recheck()
}

// containedCheck says what is closed.
func (a *Appliance) containedCheck() Check {
	s := a.contained.state.Load()
	c := Check{Name: "contained", Say: fmt.Sprintf("%d devices in quarantine, %d addresses closed for everyone", len(s.Devices), len(s.Hosts))}
	if s.note != "" {
		c.Say += "; " + s.note
	}
	if s.err != nil {
		c.Say, c.Err = "every device is cut off", s.err
	}
	return c
}
