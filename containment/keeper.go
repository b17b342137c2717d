package containment

import (
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"schoolgate/categories"
	"schoolgate/clients"
	"schoolgate/configs"
	"schoolgate/policy"
	"schoolgate/redaction"
)

// Options is what a keeper is made of. One that only reads needs no more than Dir.
type Options struct {
	Dir     string // the data directory
	Sink    policy.Sink
	Lists   func() policy.Classifier // in force; of nil where there are none
	Changed func()                   // puts the state in force; nil where nothing is running
}

// Keeper keeps what is contained: in force, and on disk.
type Keeper struct {
	dir     string
	sink    policy.Sink
	lists   func() policy.Classifier // in force; of nil where there are none
	changed func()                   // puts the state in force; nil where nothing is running

	mu    sync.Mutex // one act at a time
	state atomic.Pointer[Current]
}

// Current is one state with what is wrong with it.
type Current struct {
	State
	Err  error  // nothing may be let through
	Note string // worth a look, and nothing is lost
}

// NewKeeper reads what is on disk. One that cannot be read cuts everybody off.
func NewKeeper(o Options) *Keeper {
	k := &Keeper{dir: o.Dir, sink: o.Sink, lists: o.Lists, changed: o.Changed}
	s, note, err := Load(k.dir)
	k.state.Store(&Current{s, err, note})
	return k
}

// Now is what is contained now, by the last act that was done.
func (k *Keeper) Now() *Current { return k.state.Load() }

// Do carries out one act.
func (k *Keeper) Do(c Order, cfg *configs.Config, table *clients.Table) (string, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	now := k.state.Load()
	if now.Err != nil && c.Act != ActResetQuarantine {
		return "", fmt.Errorf("%w; put a copy of it back from a backup, or have two people run schoolgate quarantine reset and close again what must stay closed", now.Err)
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
	err = Save(k.dir, next)
	if err == nil || c.closes() { // what closes is in force even where the disk fails
		k.state.Store(&Current{State: next})
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

// identify lays what is contained over the table of clients.
func (s *Current) identify(table *clients.Table) policy.Identifier {
	if s.Err == nil && len(s.Devices) == 0 {
		return table
	}
	q := clients.Quarantine{All: s.Err != nil}
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

// Snapshot is policy, lists and clients with what is contained.
func (s *Current) Snapshot(p *policy.Policy, lists policy.Classifier, store uint64, table *clients.Table) *policy.Snapshot {
	closed, err := s.Closed()
	if _, is := lists.(categories.Suffixed); !is { // those of the snapshot before are
		lists = categories.Suffixed{Classifier: lists}
	}
	next := policy.Snapshot{
		Policy: p, Lists: lists, Clients: s.identify(table), StoreVersion: store, Closed: closed, Version: s.Version(p.Version),
	}
	if err != nil { // it was checked when it was read
		next.Clients = table.CutOff(clients.Quarantine{All: true})
	}
	return &next
}
