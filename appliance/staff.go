package appliance

import (
	"encoding/json"
	"net/http"

	"schoolgate/policy"
	"schoolgate/redaction"
)

// maxAct bounds the record of one act on its way over the control socket, in bytes.
const maxAct = 64 << 10

// recordAct is the other end of [acts.Record].
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
