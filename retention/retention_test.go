package retention

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"schoolgate/audit"
	"schoolgate/configs"
	"schoolgate/policy"
)

// atRest is a box that does not run.
func atRest(t *testing.T) *configs.Config {
	t.Helper()
	cfg, problems := configs.Load("")
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	cfg.Box.Data, cfg.Box.Lists.Store = t.TempDir(), t.TempDir()+"/none"
	return cfg
}

// onRecord is what people did, by the journal.
func onRecord(t *testing.T, cfg *configs.Config) (list []policy.Event) {
	t.Helper()
	for e, err := range audit.In(cfg.Box.Data).Search(t.Context(), audit.Query{Limit: 100}) {
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, e)
	}
	return list
}

// A hold says of whom, why and by whom, or is none.
func TestHoldNeedsWhatItSays(t *testing.T) {
	cfg := atRest(t)
	now := time.Now()
	whole := audit.Hold{Device: "tablet", Reason: "the police asked", By: "A DSL"}
	for what, spoil := range map[string]func(*audit.Hold){
		"whom": func(h *audit.Hold) { h.Device = "" }, "a reason": func(h *audit.Hold) { h.Reason = "" }, "who": func(h *audit.Hold) { h.By = "" },
		"a reason that says something": func(h *audit.Hold) { h.Reason = " \t" }, "a name that says something": func(h *audit.Hold) { h.By = "\u200b " },
		"an order": func(h *audit.Hold) { h.From, h.To = now, now.Add(-time.Hour) },
	} {
		h := whole
		spoil(&h)
		if got, err := AddHold(t.Context(), cfg, h); err == nil {
			t.Errorf("a hold without %s: %+v", what, got)
		}
	}
	h, err := AddHold(t.Context(), cfg, whole)
	if err != nil || h.ID != 1 {
		t.Fatalf("hold %+v, %v", h, err)
	}
	holds, err := audit.In(cfg.Box.Data).Holds()
	if err != nil || len(holds) != 1 || !holds[0].Stands() {
		t.Errorf("holds %+v, %v", holds, err)
	}
	if list := onRecord(t, cfg); len(list) != 1 || list[0].Act != "audit.hold.add" || list[0].Person != "A DSL" || list[0].Note != "the police asked" {
		t.Errorf("on record: %+v", list)
	}
}

// Lifting takes two people that are two, and a reason; both are on record.
func TestLiftingTakesTwo(t *testing.T) {
	cfg := atRest(t)
	h, err := AddHold(t.Context(), cfg, audit.Hold{Device: "tablet", Reason: "the police asked", By: "A DSL"})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ by, second, why string }{
		{"A DSL", "", "over"}, {"A DSL", "  ", "over"}, {"A DSL", "A DSL", "over"}, {"A DSL", " a  dsl", "over"}, {"A DSL", "A\u200b DSL\u202e", "over"},
		{"", "A Head", "over"}, {" ", "A Head", "over"}, {"\u200b", "A Head", "over"}, {"A DSL", "\u200b", "over"},
		{"A DSL", "A Head", ""}, {"A DSL", "A Head", " \n"},
	} {
		if got, err := LiftHold(t.Context(), cfg, h.ID, c.by, c.second, c.why); err == nil {
			t.Fatalf("%q with %q, because of %q: lifted: %+v", c.by, c.second, c.why, got)
		}
	}
	if list := onRecord(t, cfg); len(list) != 1 {
		t.Errorf("what was refused is on record as done: %+v", list)
	}
	if h, err = LiftHold(t.Context(), cfg, h.ID, "A DSL", "A Head", "over"); err != nil || h.Stands() {
		t.Fatalf("hold %+v, %v", h, err)
	}
	list := onRecord(t, cfg)
	var lift policy.Event
	for _, e := range list {
		if e.Act == "audit.hold.lift" {
			lift = e
		}
	}
	if lift.Person != "A DSL" || !strings.Contains(lift.Note, "over") || !strings.Contains(lift.Note, "A Head") {
		t.Errorf("on record: %+v", list)
	}
}

// Somebody answers for a clock that is trusted, before anything is removed by it.
func TestTrustedClockIsSomebodys(t *testing.T) {
	cfg := atRest(t)
	j, err := audit.Open(audit.In(cfg.Box.Data).Path, audit.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer j.Close()
	ran := 0
	retain := func(_ context.Context, o audit.RetainOptions) (r audit.RetainReport, _ error) {
		if ran++; o.TrustClock != (ran == 1) {
			t.Errorf("run %d trusts the clock: %v", ran, o.TrustClock)
		}
		return audit.RetainReport{Keys: 2, Behind: 72 * time.Hour, Unread: []error{errors.New("a stretch")}}, nil
	}
	for _, q := range []Request{{Why: "set by hand"}, {By: "A technician"}, {By: " ", Why: "set by hand"}} {
		q.Run, q.TrustClock = true, true
		if _, err := q.CarryOut(t.Context(), j, time.UTC, retain); err == nil || ran > 0 {
			t.Errorf("%+v: carried out: %v, %d runs", q, err, ran)
			ran = 0
		}
	}
	q := Request{Run: true, TrustClock: true, By: "A technician", Why: "set by hand"}
	if _, err := q.CarryOut(t.Context(), j, time.UTC, retain); err != nil {
		t.Fatal(err)
	}
	if list := onRecord(t, cfg); len(list) != 1 || list[0].Act != "audit.retention.trust_clock" || list[0].Person != "A technician" || list[0].Note != "set by hand" {
		t.Errorf("on record: %+v", list)
	}
	reply, err := (&Request{Run: true}).CarryOut(t.Context(), j, time.UTC, retain)
	if text := strings.Join(reply.Lines, "\n"); err != nil || ran != 2 || !strings.Contains(text, "2 month keys") || !strings.Contains(text, "3 days") || !strings.Contains(text, "a stretch") {
		t.Errorf("%q, %v, %d runs", text, err, ran)
	}
}

type listed struct{}

func (listed) Classify(h policy.Host, _ string) (f policy.Facts) {
	if h.String() == "closed.example" {
		f.Mandatory = policy.ChildAbuse
	}
	return f
}

// Clean takes addresses of mandatory lists out of what people wrote, and nothing else.
func TestClean(t *testing.T) {
	q := Request{Why: "he saw closed.example and open.example", Second: "A Head, of closed.example", Add: &audit.Hold{Device: "tablet", Reason: "closed.example"}}
	q.Clean(listed{})
	if q.Why != "he saw (sealed) and open.example" || q.Add.Reason != "(sealed)" || q.Second != "A Head, of (sealed)" || q.Add.Device != "tablet" {
		t.Errorf("%+v, %+v", q, q.Add)
	}
	q = Request{Why: "see open.example"}
	if q.Clean(nil); q.Why != "see open.example" {
		t.Errorf("without lists: %+v", q)
	}
}

// The rule is the school's own, class by class.
func TestOf(t *testing.T) {
	cfg := atRest(t)
	r, days := Of(cfg), cfg.School.Retention
	for class, n := range map[audit.Class]int{
		audit.ClassRequests: days.Requests, audit.ClassFlagged: days.Flagged, audit.ClassGuest: days.Guest, audit.ClassStaff: days.Staff, audit.ClassPath: days.Path,
	} {
		if r.Keep[class] != time.Duration(n)*24*time.Hour || n == 0 {
			t.Errorf("%s is kept for %v, want %d days", class, r.Keep[class], n)
		}
	}
	if len(r.Keep) != len(audit.Classes) || r.Guest("nobody's", "") {
		t.Errorf("%+v", r.Keep)
	}
}
