package alerts

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"schoolgate/policy"
)

// M9, D10: what came of the alerts, and how long they waited; none on staff is in
// the figures.
func TestOutcomes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := guarded(t)
		b.start()
		for i := range 8 {
			ev := attempt(fmt.Sprint("tablet-", i))
			ev.Theme = "drugs"
			b.add(ev)
		}
		staff := attempt("staff-pc")
		staff.Pupil = false
		b.add(staff)
		time.Sleep(12 * time.Minute)
		for i := range 6 {
			ref := reference(policy.EventID(i + 1))
			outcome := OutcomeConcern
			if i < 3 {
				outcome = OutcomeNoConcern
			}
			b.add(staffAct("D", ActAck, ref, ""), staffAct("D", ActClose, ref, CloseNote(outcome, "x")))
			time.Sleep(10 * time.Minute)
		}
		b.add(staffAct("D", ActClose, reference(7), CloseNote(OutcomeTest, "x")), staffAct("H", ActClose, reference(9), CloseNote(OutcomeConcern, "x")))
		time.Sleep(2 * time.Second)
		l, err := List(b.cfg.Dir)
		if err != nil {
			t.Fatal(err)
		}
		got := Impacts(l.Tallies, "2000-01", "2000-01")
		want := Impact{
			Theme: "drugs", Opened: 8, Answered: 7, Closed: 7, FalseRate: 0.5, Median: 42 * time.Minute,
			Outcomes: map[Outcome]int{OutcomeNoConcern: 3, OutcomeConcern: 3, OutcomeTest: 1},
		}
		sum := want
		sum.Theme = "all"
		if diff := cmp.Diff([]Impact{want, sum}, got, cmpopts.IgnoreUnexported(Impact{})); diff != "" {
			t.Errorf("Impacts (-want +got):\n%s", diff)
		}
		if got := Impacts(l.Tallies, "2000-02", ""); len(got) != 1 || got[0].Opened != 0 || got[0].FalseRate != -1 || got[0].Median != -1 {
			t.Errorf("a month without alerts: %+v", got)
		}
		b.stop()
	})
}

// The figures outlive the alerts, within bounds.
func TestTalliesAreKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := guarded(t)
		b.start()
		b.add(attempt("a"), staffAct("D", ActClose, "AL-1", CloseNote(OutcomeNoConcern, "x")))
		time.Sleep(200 * 24 * time.Hour)
		l, err := List(b.cfg.Dir)
		if err != nil || l.Total != 0 || len(l.Tallies) != 1 {
			t.Errorf("after 200 days: %d alerts, tallies %+v, %v", l.Total, l.Tallies, err)
		}
		b.stop()
	})
}
