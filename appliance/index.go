package appliance

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"path/filepath"

	"schoolgate/audit"
	"schoolgate/audit/index"
	"schoolgate/configs"
	"schoolgate/control"
)

// indexDir is the folder of the journal's index in the data directory.
const indexDir = "index"

// openIndex takes the index. The box filters without one all the same: searches
// then read the journal.
func (a *Appliance) openIndex(context.Context) error {
	cfg := a.config.Load()
	maker, err := index.NewMaker(indexConfig(cfg, a))
	if err != nil {
		a.log.Error("the journal is not indexed; searches read the journal itself", "err", err)
		return nil
	}
	a.index = maker
	a.onClose(maker.Close)
	return nil
}

func indexConfig(cfg *configs.Config, a *Appliance) index.Config {
	c := index.Config{
		Dir: filepath.Join(cfg.Box.Data, indexDir), Journal: audit.In(cfg.Box.Data),
		Location: cfg.School.Policy.Timetable.Location,
	}
	if a != nil {
		c.Log, c.Registerer = a.log, a.registry
	}
	return c
}

// runIndex keeps the index until ctx is done.
func (a *Appliance) runIndex(ctx context.Context) error {
	if a.index == nil {
		return nil
	}
	return a.index.Run(ctx, a.journal)
}

// Index is the journal's index on a box, for searching. Close it.
func Index(cfg *configs.Config) (*index.Index, error) {
	return index.Open(filepath.Join(cfg.Box.Data, indexDir), audit.In(cfg.Box.Data))
}

// Reindex makes the index of a day of the school (2026-11-24) anew, or all of it for
// "", and says what came of it: by the daemon where one is running, else by itself.
func Reindex(ctx context.Context, cfg *configs.Config, day string) (said string, err error) {
	var dropped int
	err = control.Ask(ctx, cfg.Box.Data, "reindex", day, &dropped)
	if err == nil {
		return fmt.Sprintf("%d index files dropped; the appliance makes them anew, and searches read the journal meanwhile", dropped), nil
	}
	if !errors.Is(err, control.ErrNotRunning) {
		return "", err
	}
	maker, err := index.NewMaker(indexConfig(cfg, nil))
	if err != nil {
		return "", err
	}
	stretches, err := maker.Rebuild(ctx, day, day == "")
	st, statusErr := maker.Index().Status()
	if err = errors.Join(err, statusErr, maker.Close()); err != nil {
		return "", err
	}
	return fmt.Sprintf("indexed anew: %d stretches; %d files hold %d events in %d kB, up to %s",
		stretches, st.Files, st.Events, st.Bytes/1000, st.Last), nil
}

// reindex is Reindex's other end.
func (a *Appliance) reindex(w http.ResponseWriter, r *http.Request) {
	var day string
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxAct)).Decode(&day); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	if a.index == nil {
		http.Error(w, "the appliance runs without an index; its log says why", http.StatusServiceUnavailable)
		return
	}
	dropped, err := a.index.Drop(day)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	a.answer(w, dropped)
}
