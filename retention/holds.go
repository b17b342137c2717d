package retention

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"schoolgate/acts"
	"schoolgate/audit"
	"schoolgate/configs"
	"schoolgate/control"
	"schoolgate/incidents"
	"schoolgate/policy"
	"schoolgate/redaction"
	"schoolgate/supply"
)

// Of is what the school's policy says.
func Of(cfg *configs.Config) audit.Retention {
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

// Request is what commands ask of legal holds and retention, over the control socket.
type Request struct {
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

// Reply is what came of a request.
type Reply struct {
	Hold  audit.Hold `json:"hold"`
	Lines []string   `json:"lines,omitempty"`
}

// CarryOut does it with an open journal.
func (q *Request) CarryOut(ctx context.Context, j *audit.Journal, loc *time.Location, retain func(context.Context, audit.RetainOptions) (audit.RetainReport, error)) (reply Reply, err error) {
	switch {
	case q.Add != nil:
		if !says(q.Add.Reason) || !says(q.Add.By) {
			return reply, errors.New("a hold needs a reason, and who asks for it")
		}
		reply.Hold, err = j.AddHold(*q.Add)
	case q.Lift != 0:
		if !says(q.By) || !says(q.Why) { // the journal is given more than what was said
			return reply, errors.New("lifting a hold needs a reason, and who does it")
		}
		if !says(q.Second) || samePerson(q.By, q.Second) {
			return reply, errors.New("lifting a hold takes two different people, since what it kept cannot be had back: --by and --second")
		}
		reply.Hold, err = j.LiftHold(q.Lift, q.By, q.Why+"; second person: "+q.Second)
	case q.Run:
		if q.TrustClock {
			if !says(q.By) || !says(q.Why) {
				return reply, errors.New("trusting the clock needs a reason, and who says so")
			}
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

// Clean takes addresses of mandatory lists out of the words in it.
func (q *Request) Clean(lists policy.Classifier) {
	q.Why, q.Second = redaction.Text(lists, q.Why), redaction.Text(lists, q.Second)
	if q.Add != nil {
		q.Add.Reason = redaction.Text(lists, q.Add.Reason)
	}
}

// ask carries a request out, through the daemon where one is running.
func ask(ctx context.Context, cfg *configs.Config, q Request) (reply Reply, err error) {
	err = control.Ask(ctx, cfg.Box.Data, "held", q, &reply)
	if !errors.Is(err, control.ErrNotRunning) {
		return reply, err
	}
	j, err := audit.Open(audit.In(cfg.Box.Data).Path, acts.JournalOptions(&cfg.Box))
	if err != nil {
		return reply, err
	}
	q.Clean(supply.AtRest(cfg))
	reply, err = q.CarryOut(ctx, j, cfg.School.Policy.Timetable.Location, func(ctx context.Context, o audit.RetainOptions) (audit.RetainReport, error) {
		return j.Retain(ctx, Of(cfg), o)
	})
	return reply, errors.Join(err, j.Close())
}

// samePerson compares names as people read them: by words, without what shows nothing.
func samePerson(a, b string) bool { return asRead(a) == asRead(b) }

// says reports whether there is something to read in what somebody wrote.
func says(s string) bool { return asRead(s) != "" }

// joiners show nothing by themselves; [policy.Readable] leaves them for Urdu and Punjabi.
var joiners = strings.NewReplacer("\u200c", "", "\u200d", "")

func asRead(s string) string {
	return strings.Join(strings.Fields(strings.ToLower(joiners.Replace(policy.Readable(s)))), " ")
}

// AddHold keeps what a legal hold matches from being removed, from now on.
func AddHold(ctx context.Context, cfg *configs.Config, h audit.Hold) (audit.Hold, error) {
	reply, err := ask(ctx, cfg, Request{Add: &h})
	return reply.Hold, err
}

// LiftHold ends a legal hold, as by and a second person agree.
func LiftHold(ctx context.Context, cfg *configs.Config, id int, by, second, why string) (audit.Hold, error) {
	reply, err := ask(ctx, cfg, Request{Lift: id, By: by, Second: second, Why: why})
	return reply.Hold, err
}

// Run removes what is due now, and tells in lines what that was. With trust a
// person, by, says that the clock is right however far it has jumped.
func Run(ctx context.Context, cfg *configs.Config, trust bool, by, why string) ([]string, error) {
	reply, err := ask(ctx, cfg, Request{Run: true, TrustClock: trust, By: by, Why: why})
	return reply.Lines, err
}

// Print is the table of S16: what is kept for how long, how old the oldest
// is, and when it goes.
func Print(ctx context.Context, out io.Writer, cfg *configs.Config) error {
	dir, r := audit.In(cfg.Box.Data), Of(cfg)
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

// heldBefore is how long before an incident the log of its device is held too.
const heldBefore = 30 * 24 * time.Hour

// HoldLog keeps what the log has of an incident's device from being removed by age,
// and says so (R28). What was copied into the incident is never removed.
func HoldLog(ctx context.Context, cfg *configs.Config, out io.Writer, i *incidents.Incident, by, why string) error {
	f := &i.Facts
	h := audit.Hold{By: by, Reason: i.Ref() + ": " + why}
	if h.Device = f.Device; f.Device == "" {
		h.Client = f.Client
	}
	if h.Device == "" && h.Client == "" {
		_, err := fmt.Fprintln(out, "no device is known of it, so nothing of the log is held: schoolgate audit hold add holds what you name")
		return err
	}
	if !f.Time.IsZero() {
		h.From = f.Time.Add(-heldBefore)
	}
	h, err := AddHold(ctx, cfg, h)
	if err != nil {
		return fmt.Errorf("the log is not held, so neither is the incident: %w", err)
	}
	_, err = fmt.Fprintf(out, "the log of that device is kept from now on (%s); schoolgate audit hold lift %d ends that, when the police agree, and takes two people\n",
		h.In(cfg.School.Policy.Timetable.Location), h.ID)
	return err
}
