package appliance

import (
	"context"
	"encoding/json"
	"net/http"
	"time"

	"schoolgate/audit"
	"schoolgate/retention"
)

const (
	// firstRetention leaves a box that starts the time to serve.
	firstRetention = 10 * time.Minute
	// retentionLook is how often the box looks whether the daily run is due, or the
	// disk so full that what is due must go now.
	retentionLook = 10 * time.Minute
	// retentionPause is between two frames of a run: recording comes first.
	retentionPause = 2 * time.Millisecond
)

// runRetention removes what is due, daily, until ctx is done.
func (a *Appliance) runRetention(ctx context.Context) error {
	timer := time.NewTimer(firstRetention)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-timer.C:
		}
		timer.Reset(retentionLook)
		if !a.journal.RetainDue(time.Now()) && !spaceScarce(a.box().Data) {
			continue
		}
		if _, err := a.retain(ctx, audit.RetainOptions{Pause: retentionPause}); err != nil && ctx.Err() == nil {
			a.log.Error("old records not removed, trying again in ten minutes", "err", err)
		}
	}
}

// retain is one run, with the index looked after.
func (a *Appliance) retain(ctx context.Context, o audit.RetainOptions) (audit.RetainReport, error) {
	report, err := a.journal.Retain(ctx, retention.Of(a.config.Load()), o)
	if report.Behind > 0 {
		a.log.Error("the clock has jumped ahead since old records were last removed: only two days' worth goes each day, until it is confirmed "+
			"(schoolgate audit retention --run --trust-clock)", "behind", report.Behind.Round(time.Hour).String())
	}
	for _, unread := range report.Unread {
		a.log.Error("old records stay, since their segment cannot be read whole", "err", unread)
	}
	if len(report.Receipts) > 0 && a.index != nil {
		a.index.Look()
	}
	return report, err
}

// spaceScarce reports whether the disk is nearly full.
func spaceScarce(dir string) bool {
	d, err := diskOf(dir)
	return err == nil && d.used() > diskScarce
}

// serveHeld is the other end of a [retention.Request].
func (a *Appliance) serveHeld(w http.ResponseWriter, r *http.Request) {
	var q retention.Request
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxAct)).Decode(&q); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	q.Clean(a.lists())
	reply, err := q.CarryOut(r.Context(), a.journal, a.config.Load().School.Policy.Timetable.Location, a.retain)
	if err != nil {
		http.Error(w, err.Error(), http.StatusConflict)
		return
	}
	a.answer(w, reply)
}
