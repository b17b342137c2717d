package desk

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"schoolgate/acts"
	"schoolgate/alerts"
	"schoolgate/audit"
	"schoolgate/configs"
	"schoolgate/control"
	"schoolgate/incidents"
	"schoolgate/policy"
	"schoolgate/supply"
)

// Desk is where people look at alerts and answer them, on the box: for one
// reader, who sees only what is theirs to see (R35, R36).
type Desk struct {
	Reader  alerts.Reader
	Listing alerts.Listing // what the reader may see
	cfg     *configs.Config
}

// Open reads the alerts kept on the box, also while the appliance runs.
func Open(cfg *configs.Config, r alerts.Reader) (*Desk, error) {
	plan := Plan(cfg)
	if err := plan.CheckReader(r.As); err != nil {
		return nil, err
	}
	listing, err := alerts.List(alerts.In(cfg.Box.Data))
	if err != nil {
		return nil, err
	}
	hidden := func(a alerts.Alert) bool { return !plan.Sees(r, &a) }
	before := len(listing.Alerts)
	listing.Alerts = slices.DeleteFunc(listing.Alerts, hidden)
	listing.Total -= before - len(listing.Alerts)
	return &Desk{Reader: r, Listing: listing, cfg: cfg}, nil
}

// errNoAlert is the answer for a reference that there is not, and for one that
// the reader may not see: which of the two it is would be telling.
var errNoAlert = errors.New("there is no such alert for you to see")

// Find is the alert of a reference.
func (d *Desk) Find(reference string) (*alerts.Alert, error) {
	id, err := alerts.ParseReference(reference)
	if err != nil {
		return nil, err
	}
	for i := range d.Listing.Alerts {
		if a := &d.Listing.Alerts[i]; a.ID == id {
			return a, nil
		}
	}
	return nil, fmt.Errorf("%s: %w (schoolgate alerts list shows those that are; --as says who you are)", strings.ToUpper(reference), errNoAlert)
}

// Earlier are other alerts of the same device, or the same address where there is no
// device, the newest first.
func (d *Desk) Earlier(a *alerts.Alert) (list []*alerts.Alert) {
	for i := range d.Listing.Alerts {
		o := &d.Listing.Alerts[i]
		same := o.Device == a.Device && (a.Device != "" || o.Client == a.Client) && o.Person == a.Person
		if same && o.ID != a.ID && !a.Shared && !o.Shared {
			list = append(list, o)
		}
	}
	return list
}

// Events are what the alert is made of, from the journal; gaps in it are told.
func (d *Desk) Events(ctx context.Context, a *alerts.Alert) (events []policy.Event, err error) {
	if len(a.Events) == 0 {
		return nil, nil
	}
	// By their numbers, which stay in order where the clock was set (F12).
	q := audit.Query{After: slices.Min(a.Events) - 1, Before: slices.Max(a.Events) + 1, Veil: supply.Veil(d.cfg)}
	for e, problem := range audit.In(d.cfg.Box.Data).Search(ctx, q) {
		if problem != nil {
			err = errors.Join(err, problem)
			continue
		}
		if slices.Contains(a.Events, e.ID) && isOf(a, &e) {
			events = append(events, e)
		}
	}
	return events, err
}

// isOf reports whether an event can be one of an alert: a journal that took the place
// of a lost one gives the same numbers again.
func isOf(a *alerts.Alert, e *policy.Event) bool {
	switch {
	case e.Door == policy.DoorStaff:
		return false
	case a.Shared:
		return true
	case a.Device != "":
		return e.Device == a.Device && e.Person == a.Person
	}
	return e.Client == a.Client && e.Person == a.Person
}

// Told are the incidents that pupils opened by the button on a page, of an alert that
// told of it, as far as the reader may see them.
func (d *Desk) Told(ctx context.Context, a *alerts.Alert) (refs []string, err error) {
	if a.Theme != incidents.ThemeTold {
		return nil, nil
	}
	r, err := incidents.ReadRegister(ctx, d.cfg.Box.Data)
	if err != nil {
		return nil, err
	}
	role := incidents.RoleDSL
	if d.Reader.As == alerts.RoleHead {
		role = incidents.RoleHead
	}
	for _, i := range r.List(role) {
		raised := func(s incidents.Step) bool {
			return s.Act == incidents.ActAlerted && s.Facts != nil && slices.Contains(a.Events, s.Facts.Event)
		}
		if slices.ContainsFunc(i.Steps, raised) {
			refs = append(refs, i.Ref())
		}
	}
	return refs, r.Gaps()
}

// Act answers an alert: it is written into the journal, from where the running
// appliance learns of it. It reports whether that has been seen to happen; it will
// when the appliance runs.
func (d *Desk) Act(ctx context.Context, a *alerts.Alert, act, note string) (done bool, err error) {
	if d.Reader.By == "" {
		return false, errors.New("say who you are: --by NAME")
	}
	e := policy.StaffAct(time.Now(), d.Reader.By, act, a.Reference(), note)
	if err := acts.Record(ctx, d.cfg, &e); err != nil {
		return false, fmt.Errorf("not recorded, so not done: %w", err)
	}
	if act == alerts.ActShow {
		return true, nil
	}
	return d.await(ctx, e.ID), nil
}

// await waits for the appliance to have read an act.
func (d *Desk) await(ctx context.Context, id policy.EventID) bool {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	for running := true; running; {
		listing, err := alerts.List(alerts.In(d.cfg.Box.Data))
		if err == nil && listing.Cursor >= id {
			return true
		}
		if running = control.Running(ctx, d.cfg.Box.Data); !running {
			return false
		}
		select {
		case <-ctx.Done():
			return false
		case <-time.After(100 * time.Millisecond):
		}
	}
	return false
}
