package appliance

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"

	"schoolgate/audit"
	"schoolgate/configs"
	"schoolgate/control"
	"schoolgate/policy"
	"schoolgate/redaction"
	"schoolgate/supply"
)

// maxAct bounds the record of one act on its way over the control socket, in bytes.
const maxAct = 64 << 10

// RecordAct writes what a person did with the box ([policy.StaffAct]) into its
// journal and sets the event's number: through the daemon where one is running,
// else by itself. What it returns nil for is on disk; on an error the act must not
// be carried out, since nobody would know of it.
func RecordAct(ctx context.Context, cfg *configs.Config, e *policy.Event) error {
	err := control.Ask(ctx, cfg.Box.Data, "record", e, &e.ID)
	if !errors.Is(err, control.ErrNotRunning) {
		return err
	}
	redaction.Act(supply.AtRest(cfg), e)
	journal, err := audit.Open(audit.In(cfg.Box.Data).Path, journalOptions(&cfg.Box))
	if err != nil {
		return err
	}
	return errors.Join(journal.Record(e), journal.Close())
}

// recordAct is RecordAct's other end.
func (a *Appliance) recordAct(w http.ResponseWriter, r *http.Request) {
	var e policy.Event
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxAct)).Decode(&e); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	if e.Door != policy.DoorStaff || e.Person == "" || e.Act == "" {
		http.Error(w, "not the act of a person: it needs door, person and act", http.StatusBadRequest)
		return
	}
	redaction.Act(a.lists(), &e)
	if err := a.journal.Record(&e); err != nil {
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
		return
	}
	a.answer(w, e.ID)
}
