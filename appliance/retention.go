package appliance

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"text/tabwriter"
	"time"

	"schoolgate/audit"
	"schoolgate/configs"
	"schoolgate/control"
	"schoolgate/policy"
	"schoolgate/redaction"
	"schoolgate/supply"
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

// retentionOf is what the school's policy says.
func retentionOf(cfg *configs.Config) audit.Retention {
	const day = 24 * time.Hour
	days, school := cfg.School.Retention, cfg.School.Policy
	return audit.Retention{
		Keep: map[audit.Class]time.Duration{
			audit.ClassRequests: time.Duration(days.Requests) * day, audit.ClassFlagged: time.Duration(days.Flagged) * day,
			audit.ClassGuest: time.Duration(days.Guest) * day, audit.ClassStaff: time.Duration(days.Staff) * day,
			audit.ClassPath: time.Duration(days.Path) * day,
		},
		Guest: func(profile, _ string) bool {
			p := school.Profile(profile)
			return p != nil && p.Band == policy.Guest
		},
		Policy: cfg.School.Spec.Version,
	}
}

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
	report, err := a.journal.Retain(ctx, retentionOf(a.config.Load()), o)
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

// held is what commands ask of legal holds and retention, over the control socket.
type heldRequest struct {
	Add  *audit.Hold `json:"add,omitempty"`
	Lift int         `json:"lift,omitempty"`
	By   string      `json:"by,omitempty"`
	// Second goes with Lift: what a hold kept cannot be had back.
	Second string `json:"second,omitempty"`
	Why    string `json:"why,omitempty"`
	Run    bool   `json:"run,omitempty"`
	// TrustClock goes with Run, By and Why.
	TrustClock bool `json:"trust_clock,omitempty"`
}

type heldReply struct {
	Hold  audit.Hold `json:"hold"`
	Lines []string   `json:"lines,omitempty"`
}

// carryOut does it with an open journal.
func (q *heldRequest) carryOut(ctx context.Context, j *audit.Journal, loc *time.Location, retain func(context.Context, audit.RetainOptions) (audit.RetainReport, error)) (reply heldReply, err error) {
	switch {
	case q.Add != nil:
		reply.Hold, err = j.AddHold(*q.Add)
	case q.Lift != 0:
		if strings.TrimSpace(q.Second) == "" || samePerson(q.By, q.Second) {
			return reply, errors.New("lifting a hold takes two different people, since what it kept cannot be had back: --by and --second")
		}
		reply.Hold, err = j.LiftHold(q.Lift, q.By, q.Why+"; second person: "+q.Second)
	case q.Run:
		if q.TrustClock {
			act := policy.StaffAct(time.Now(), q.By, "audit.retention.trust_clock", "", q.Why)
			if err := j.Record(&act); err != nil {
				return reply, err
			}
		}
		report, err := retain(ctx, audit.RetainOptions{TrustClock: q.TrustClock})
		for _, r := range report.Receipts {
			reply.Lines = append(reply.Lines, r.In(loc))
		}
		if report.Keys > 0 {
			reply.Lines = append(reply.Lines, fmt.Sprintf("%d month keys destroyed: nothing of their months is left", report.Keys))
		}
		if report.Behind > 0 {
			reply.Lines = append(reply.Lines, fmt.Sprintf("the clock has jumped ahead by %d days: two days' worth goes each day until --trust-clock", int(report.Behind.Hours()/24)))
		}
		for _, unread := range report.Unread {
			reply.Lines = append(reply.Lines, "left as it is: "+unread.Error())
		}
		return reply, err
	}
	return reply, err
}

// clean takes addresses of mandatory lists out of the words in it.
func (q *heldRequest) clean(lists policy.Classifier) {
	q.Why = redaction.Text(lists, q.Why)
	if q.Add != nil {
		q.Add.Reason = redaction.Text(lists, q.Add.Reason)
	}
}

// held carries a request out, through the daemon where one is running.
func held(ctx context.Context, cfg *configs.Config, q heldRequest) (reply heldReply, err error) {
	err = control.Ask(ctx, cfg.Box.Data, "held", q, &reply)
	if !errors.Is(err, control.ErrNotRunning) {
		return reply, err
	}
	j, err := audit.Open(audit.In(cfg.Box.Data).Path, journalOptions(&cfg.Box))
	if err != nil {
		return reply, err
	}
	q.clean(supply.AtRest(cfg))
	reply, err = q.carryOut(ctx, j, cfg.School.Policy.Timetable.Location, func(ctx context.Context, o audit.RetainOptions) (audit.RetainReport, error) {
		return j.Retain(ctx, retentionOf(cfg), o)
	})
	return reply, errors.Join(err, j.Close())
}

// serveHeld is held's other end.
func (a *Appliance) serveHeld(w http.ResponseWriter, r *http.Request) {
	var q heldRequest
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxAct)).Decode(&q); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	q.clean(a.lists())
	reply, err := q.carryOut(r.Context(), a.journal, a.config.Load().School.Policy.Timetable.Location, a.retain)
	if err != nil {
		http.Error(w, err.Error(), http.StatusConflict)
		return
	}
	a.answer(w, reply)
}

// samePerson compares names as people write them.
func samePerson(a, b string) bool {
	same := func(s string) string { return strings.Join(strings.Fields(strings.ToLower(s)), " ") }
	return same(a) == same(b)
}

// AddHold keeps what a legal hold matches from being removed, from now on.
func AddHold(ctx context.Context, cfg *configs.Config, h audit.Hold) (audit.Hold, error) {
	reply, err := held(ctx, cfg, heldRequest{Add: &h})
	return reply.Hold, err
}

// LiftHold ends a legal hold, as by and a second person agree.
func LiftHold(ctx context.Context, cfg *configs.Config, id int, by, second, why string) (audit.Hold, error) {
	reply, err := held(ctx, cfg, heldRequest{Lift: id, By: by, Second: second, Why: why})
	return reply.Hold, err
}

// Retain removes what is due now, and tells in lines what that was. With trust a
// person, by, says that the clock is right however far it has jumped.
func Retain(ctx context.Context, cfg *configs.Config, trust bool, by, why string) ([]string, error) {
	reply, err := held(ctx, cfg, heldRequest{Run: true, TrustClock: trust, By: by, Why: why})
	return reply.Lines, err
}

// PrintRetention is the table of S16: what is kept for how long, how old the oldest
// is, and when it goes.
func PrintRetention(ctx context.Context, out io.Writer, cfg *configs.Config) error {
	dir, r := audit.In(cfg.Box.Data), retentionOf(cfg)
	holdings, err := dir.Holdings(ctx, r)
	if err != nil {
		return err
	}
	holds, err := dir.Holds()
	if err != nil {
		return err
	}
	loc := cfg.School.Policy.Timetable.Location
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "class\tkept for\tevents\toldest\tgoes by")
	for _, c := range audit.Classes {
		days := int(r.Keep[c].Hours() / 24)
		h := holdings[c]
		oldest, goes := "-", "-"
		if h.Events > 0 {
			oldest = h.Oldest.In(loc).Format("2006-01-02 15:04")
			goes = h.Oldest.Add(r.Keep[c] + 48*time.Hour).In(loc).Format(time.DateOnly)
		}
		name := string(c)
		if c == audit.ClassPath {
			name = "paths and words"
		}
		fmt.Fprintf(w, "%s\t%d days\t%d\t%s\t%s\n", name, days, h.Events, oldest, goes)
	}
	fmt.Fprintln(w, "help-lines\t0 days\t0\t-\tno record of a person is made")
	if err := w.Flush(); err != nil {
		return err
	}
	var lines []string
	for _, h := range holds {
		lines = append(lines, h.In(loc))
	}
	if len(holds) == 0 {
		lines = append(lines, "no legal holds")
	}
	_, err = fmt.Fprintln(out, strings.Join(lines, "\n"))
	return err
}
