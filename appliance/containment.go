package appliance

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"

	"schoolgate/acts"
	"schoolgate/audit"
	"schoolgate/clients"
	"schoolgate/configs"
	"schoolgate/containment"
	"schoolgate/control"
	"schoolgate/incidents"
	"schoolgate/policy"
	"schoolgate/redaction"
	"schoolgate/supply"
)

// Contained is what is closed now.
func Contained(cfg *configs.Config) (containment.State, error) {
	s, _, err := containment.Load(cfg.Box.Data)
	return s, err
}

// Contain carries an act out: on record first, then on disk, then in force, at
// once through the daemon where one is running. The text tells what was done.
func Contain(ctx context.Context, cfg *configs.Config, c containment.Order) (string, error) {
	var said string
	err := control.Ask(ctx, cfg.Box.Data, "contain", c, &said)
	if !errors.Is(err, control.ErrNotRunning) {
		return said, err
	}
	journal, err := audit.Open(audit.In(cfg.Box.Data).Path, acts.JournalOptions(&cfg.Box))
	if err != nil {
		return "", err
	}
	table, err := clientTable(cfg, clients.Options{})
	if err != nil {
		return "", errors.Join(err, journal.Close())
	}
	lists := supply.AtRest(cfg)
	c.Reason = redaction.Text(lists, c.Reason)
	k := containment.NewKeeper(containment.Options{Dir: cfg.Box.Data, Sink: journal, Lists: func() policy.Classifier { return lists }})
	if said, err = k.Do(c, cfg, table); err == nil && c.Incident != "" {
		said += "; " + noteAtRest(&c, cfg, said)
	}
	return said, errors.Join(err, journal.Close())
}

// contain is Contain's other end.
func (a *Appliance) contain(w http.ResponseWriter, r *http.Request) {
	var c containment.Order
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxAct)).Decode(&c); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	c.Reason = redaction.Text(a.lists(), c.Reason)
	said, err := a.contained.Do(c, a.config.Load(), a.table.Load())
	if err != nil {
		http.Error(w, err.Error(), http.StatusConflict)
		return
	}
	if c.Incident != "" {
		said += "; " + note(&c, a.register, said)
	}
	a.answer(w, said)
}

// noteAtRest is note for a command that writes itself.
func noteAtRest(c *containment.Order, cfg *configs.Config, said string) string {
	r, closeIt, err := incidents.OpenRegister(cfg.Box.Data)
	if err != nil {
		return fmt.Sprintf("not noted in %s: %v", c.Incident, err)
	}
	noted := note(c, r, said)
	if err := closeIt(); err != nil {
		return fmt.Sprintf("not noted in %s: %v", c.Incident, err)
	}
	return noted
}

// note puts what was done into the history of its incident, and says so. It is done,
// and on record in the journal, whatever comes of this.
func note(c *containment.Order, r *incidents.Register, said string) string {
	i, err := r.Do(incidents.Contained(c.Incident, c.By, said+". "+c.Reason))
	switch {
	case errors.Is(err, incidents.ErrUnknown):
		return fmt.Sprintf("not noted in %s, for there is no such incident", c.Incident)
	case err != nil:
		return fmt.Sprintf("not noted in %s: %v", c.Incident, err)
	}
	return "noted in " + i.Ref()
}

// openContained reads what is contained, before anything is decided.
func (a *Appliance) openContained(context.Context) error {
	a.contained = containment.NewKeeper(containment.Options{Dir: a.box().Data, Sink: a.journal, Lists: a.lists, Changed: a.recontain})
	switch s := a.contained.Now(); {
	case s.Err != nil:
		a.log.Error("every device is cut off: nobody knows any more which of them must be; have two people run schoolgate quarantine reset, or put the file back", "err", s.Err)
	case s.Note != "":
		a.log.Warn("record of quarantines", "what", s.Note)
	}
	return nil
}

// recontain puts what is contained in force: new decisions at once, and what is
// open is decided anew.
func (a *Appliance) recontain() {
	a.swapping.Lock()
	old := a.engine.Current()
	a.engine.Swap(a.contained.Now().Snapshot(old.Policy, old.Lists, old.StoreVersion, a.table.Load()))
	a.swapping.Unlock()
	a.proxy.Recheck()
}

// containedCheck says what is closed.
func (a *Appliance) containedCheck() Check {
	s := a.contained.Now()
	c := Check{Name: "contained", Say: fmt.Sprintf("%d devices in quarantine, %d addresses closed for everyone", len(s.Devices), len(s.Hosts))}
	if s.Note != "" {
		c.Say += "; " + s.Note
	}
	if s.Err != nil {
		c.Say, c.Err = "every device is cut off", s.Err
	}
	return c
}
