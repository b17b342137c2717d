package appliance

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"

	"schoolgate/configs"
	"schoolgate/control"
	"schoolgate/incidents"
	"schoolgate/supply"
)

// openIncidents opens the register for writing.
func (a *Appliance) openIncidents(context.Context) error {
	cfg := a.config.Load()
	if err := a.sink.Configure(cfg.School.Seal); err != nil {
		return fmt.Errorf("incidents: %w", err)
	}
	r, closeIt, err := incidents.OpenRegister(cfg.Box.Data)
	if err != nil {
		return err
	}
	if gaps := r.Gaps(); gaps != nil {
		a.log.Error("part of the register of incidents cannot be read", "err", gaps)
	}
	a.register = r
	a.onClose(closeIt)
	return a.openTelling()
}

// Incident carries out one act on the register: through the daemon where one runs.
func Incident(ctx context.Context, cfg *configs.Config, c incidents.Command) (i incidents.Incident, err error) {
	err = control.Ask(ctx, cfg.Box.Data, "incident", c, &i)
	if !errors.Is(err, control.ErrNotRunning) {
		return i, err
	}
	if err := os.MkdirAll(cfg.Box.Data, 0o700); err != nil {
		return i, err
	}
	r, closeIt, err := incidents.OpenRegister(cfg.Box.Data)
	if err != nil {
		return i, err
	}
	unsaidChange(supply.AtRest(cfg), &c.Change)
	i, err = r.Do(c)
	return i, errors.Join(err, closeIt())
}

// incident is Incident's other end.
func (a *Appliance) incident(w http.ResponseWriter, r *http.Request) {
	var c incidents.Command
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxAct)).Decode(&c); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	unsaidChange(a.lists(), &c.Change)
	i, err := a.register.Do(c)
	if err != nil {
		http.Error(w, err.Error(), http.StatusConflict)
		return
	}
	i.Steps = i.Steps[len(i.Steps)-1:] // it may have thousands
	a.answer(w, i)
}
