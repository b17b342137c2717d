package alerts

import (
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"schoolgate/policy"
)

// guarded is a box with clocks: ten minutes for severity 5, an hour for 4.
func guarded(t *testing.T) *box {
	b := newBox(t)
	b.roles = all
	b.cfg.Plan.Clocks = [6]Clock{5: {Within: 10 * time.Minute}, 4: {Within: time.Hour}, 3: {NextDay: true}}
	b.cfg.Plan.Escalate = []string{RoleDeputy, RoleHead, RoleChair}
	return b
}

func staffAct(by, act, ref, note string) policy.Event {
	return policy.StaffAct(time.Now(), by, act, ref, note)
}

func (b *box) listed() []Alert {
	b.t.Helper()
	time.Sleep(2 * time.Second) // the list is written once a second at most
	l, err := List(b.cfg.Dir)
	if err != nil {
		b.t.Fatal(err)
	}
	return l.Alerts
}

// R32-R34, M2: nobody answers, so the next hears, and the last each day.
func TestUnansweredAlertEscalates(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := guarded(t)
		b.start()
		b.add(severe(attempt("a"), 4))
		time.Sleep(61 * time.Minute)
		b.wantMails(
			toDSL+"Schoolgate alert AL-1: severity 4, please review",
			deputy+": Schoolgate alert AL-1: severity 4, please review",
			head+": Schoolgate alert AL-1: severity 4, not acknowledged yet")
		time.Sleep(time.Hour)
		if got := b.subjects(); len(got) != 4 || got[3] != chair+": Schoolgate alert AL-1: severity 4, not acknowledged yet" {
			t.Errorf("after the second hour: %q", got)
		}
		time.Sleep(10 * 24 * time.Hour)
		got := b.subjects()[4:]
		if len(got) < 8 || len(got) > 11 {
			t.Errorf("%d reminders in ten days: %q", len(got), got)
		}
		for _, s := range got {
			if s != chair+": Schoolgate alert AL-1: still not acknowledged" {
				t.Errorf("reminder %q", s)
			}
		}
		if l := b.listed(); l[0].Late < 9 || l[0].State != StateNew {
			t.Errorf("alert = %+v, want late many times", l[0])
		}
		b.stop()
	})
}

// Somebody answers: nobody else is called, and the time it took is known (D10).
func TestAcknowledgedAlertStops(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := guarded(t)
		reg := prometheus.NewPedanticRegistry()
		b.cfg.Registerer = reg
		b.start()
		b.add(severe(attempt("a"), 5))
		time.Sleep(7 * time.Minute)
		b.add(staffAct("D. Lead", ActAck, "AL-1", ""))
		time.Sleep(48 * time.Hour)
		if got := b.subjects(); len(got) != 2 {
			t.Errorf("mails = %q, want the two first ones", got)
		}
		b.add(staffAct("D. Lead", ActNote, "AL-1", "spoke with the class teacher"),
			staffAct("D. Lead", ActClose, "AL-1", CloseNote(OutcomeSupport, "a game")),
			staffAct("D. Lead", ActClose, "AL-1", CloseNote(OutcomeConcern, "twice")),
			staffAct("D. Lead", ActAck, "AL-ZZ", ""), staffAct("D. Lead", ActClose, "AL-1", "nonsense"), staffAct("D. Lead", ActAck, "junk", ""))
		a := b.listed()[0]
		if a.State != StateClosed || a.AckedBy != "D. Lead" || a.Outcome != OutcomeSupport || a.Reason != "a game" || len(a.Notes) != 1 || !a.Due.IsZero() {
			t.Errorf("alert = %+v", a)
		}
		want := `
# HELP schoolgate_alerts_acknowledge_minutes Minutes from the first event of an alert to its acknowledgement, by severity.
# TYPE schoolgate_alerts_acknowledge_minutes histogram
schoolgate_alerts_acknowledge_minutes_bucket{severity="5",le="1"} 0
schoolgate_alerts_acknowledge_minutes_bucket{severity="5",le="5"} 0
schoolgate_alerts_acknowledge_minutes_bucket{severity="5",le="10"} 1
schoolgate_alerts_acknowledge_minutes_bucket{severity="5",le="30"} 1
schoolgate_alerts_acknowledge_minutes_bucket{severity="5",le="60"} 1
schoolgate_alerts_acknowledge_minutes_bucket{severity="5",le="240"} 1
schoolgate_alerts_acknowledge_minutes_bucket{severity="5",le="480"} 1
schoolgate_alerts_acknowledge_minutes_bucket{severity="5",le="1440"} 1
schoolgate_alerts_acknowledge_minutes_bucket{severity="5",le="2880"} 1
schoolgate_alerts_acknowledge_minutes_bucket{severity="5",le="10080"} 1
schoolgate_alerts_acknowledge_minutes_bucket{severity="5",le="+Inf"} 1
schoolgate_alerts_acknowledge_minutes_sum{severity="5"} 7
schoolgate_alerts_acknowledge_minutes_count{severity="5"} 1
`
		if err := testutil.GatherAndCompare(reg, strings.NewReader(want), "schoolgate_alerts_acknowledge_minutes"); err != nil {
			t.Error(err)
		}
		b.cfg.Registerer = nil
		b.stop()
	})
}

// A closed alert takes nothing more on: the next event is a new one. A graver event
// on one that is in review asks for an answer again.
func TestAnsweredAlertsAndNewEvents(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := guarded(t)
		b.start()
		b.add(attempt("a"), staffAct("D", ActClose, "AL-1", CloseNote(OutcomeNoConcern, "homework")), attempt("a"),
			staffAct("D", ActAck, "AL-3", ""), severe(attempt("a"), 5))
		time.Sleep(11 * time.Minute)
		want := []string{
			toDSL + "Schoolgate alert AL-1: severity 3, please review",
			toDSL + "Schoolgate alert AL-3: severity 3, please review",
			toDSL + "Schoolgate alert AL-3: now severity 5, please review",
			deputy + ": Schoolgate alert AL-3: now severity 5, please review",
			head + ": Schoolgate alert AL-3: severity 5, not acknowledged yet",
		}
		got := b.subjects()
		slices.Sort(want)
		slices.Sort(got)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("mails (-want +got):\n%s", diff)
		}
		b.stop()
	})
}

// Nights and weekends: what is grave is told at once, also to who is on call, the
// rest in the morning, then to whoever is there.
func TestOutOfHours(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // it begins on Saturday 1 January 2000
		b := guarded(t)
		b.cfg.Plan.Hours = london(t)
		b.cfg.Plan.AtOnce, b.cfg.Plan.Night = 5, []string{RoleHead}
		b.cfg.Plan.Away = []Away{{Who: dsl, First: 20000103, Last: 20000103}}
		b.start()
		b.add(attempt("a"), attempt("a"), severe(attempt("b"), 5))
		time.Sleep(time.Minute)
		b.wantMails(
			toDSL+"Schoolgate alert AL-3: severity 5, please review",
			deputy+": Schoolgate alert AL-3: severity 5, please review",
			head+": Schoolgate alert AL-3: severity 5, please review")
		if l := b.listed(); l[1].Mail() != "waits for its hour" {
			t.Errorf("%s: mail %q", l[1].Reference(), l[1].Mail())
		}
		b.add(staffAct("D", ActAck, "AL-3", ""))
		time.Sleep(55*time.Hour + 50*time.Minute)
		if n := len(b.subjects()); n != 3 {
			t.Errorf("before Monday 8:00: %q", b.subjects())
		}
		b.stop() // what waits outlives a restart
		b.start()
		time.Sleep(15 * time.Minute)
		if got := b.subjects()[3:]; !cmp.Equal(got, []string{deputy + ": Schoolgate alert AL-1: severity 3, please review"}) {
			t.Errorf("on Monday morning, the DSL away: %q", got)
		}
		if m := b.messages()[3]; !strings.Contains(m.Text, "twice so far") {
			t.Errorf("the mail does not say how often:\n%s", m.Text)
		}
		b.stop()
	})
}

// What can wait comes in one mail at its time; what became graver does not wait.
func TestDigest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := guarded(t)
		b.cfg.Plan.Hours = london(t)
		b.cfg.Plan.Digest = Digest{Every: Daily, Upto: 2, At: 15*60 + 30}
		b.start()
		time.Sleep(2*24*time.Hour + 10*time.Hour) // Monday, 10:00
		for _, device := range []string{"a", "b", "c"} {
			b.add(severe(attempt(device), 2), severe(attempt(device), 1))
		}
		b.add(severe(attempt("b"), 3))
		time.Sleep(5 * time.Hour)
		b.wantMails(toDSL + "Schoolgate alert AL-3: severity 3, please review")
		time.Sleep(time.Hour)
		b.wantMails(toDSL+"Schoolgate alert AL-3: severity 3, please review", toDSL+"Schoolgate: 2 alerts that can wait")
		b.add(severe(attempt("d"), 1))
		time.Sleep(24*time.Hour - time.Minute) // at the full day AL-3 is overdue
		if got := b.subjects(); len(got) != 3 || got[2] != toDSL+"Schoolgate alert AL-8: severity 1, can wait" {
			t.Errorf("the next day: %q", got)
		}
		b.stop()
	})
}

// T19: a sign of life at its time, and none that was missed twice.
func TestStillAlive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := guarded(t)
		b.cfg.Plan.Hours = london(t)
		b.cfg.Plan.Alive = Weekly
		b.start()
		time.Sleep(20 * 24 * time.Hour) // Mondays 3, 10 and 17 January
		b.stop()
		want := []string{}
		for range 3 {
			want = append(want, toDSL+"Schoolgate is working and can reach you", it+": Schoolgate is working and can reach you")
		}
		b.wantMails(want...)
	})
}

// F12: a clock that is set wrong by an hour or a year, either way, and right again,
// loses no alert and leaves none unanswered.
func TestClockJumps(t *testing.T) {
	for _, jump := range []time.Duration{time.Hour, -time.Hour, 365 * 24 * time.Hour, -365 * 24 * time.Hour} {
		synctest.Test(t, func(t *testing.T) {
			b := guarded(t)
			b.cfg.Plan.Hours = london(t)
			b.cfg.Plan.AtOnce, b.cfg.Plan.Digest = 3, Digest{Every: Daily, Upto: 2, At: 15*60 + 30}
			b.open()
			l := b.s.ledger
			b.add(severe(attempt("a"), 5), attempt("b"), severe(attempt("c"), 2), severe(attempt("d"), 1))
			if _, err := l.absorb(b.events, 4); err != nil {
				t.Fatal(err)
			}
			told := map[policy.EventID][]string{}
			run := func(d time.Duration) {
				t.Helper()
				for end := time.Now().Add(d); time.Now().Before(end); time.Sleep(5 * time.Minute) {
					if _, _, err := l.tick(); err != nil {
						t.Fatal(err)
					}
					for {
						m, _, err := l.due("")
						if err != nil {
							t.Fatal(err)
						}
						if m == nil {
							break
						}
						for _, id := range m.Alerts {
							told[id] = append(told[id], m.To)
						}
						if err := l.sent(m); err != nil {
							t.Fatal(err)
						}
					}
				}
			}
			run(time.Hour)
			l.now = func() time.Time { return time.Now().Add(jump) }
			run(3 * time.Hour)
			l.now = time.Now
			run(7 * 24 * time.Hour)
			for id, want := range map[policy.EventID][]string{1: {dsl, deputy, head, chair}, 2: {dsl, deputy, head, chair}, 3: {dsl}, 4: {dsl}} {
				got := unique(told[id])
				if !cmp.Equal(got, want) {
					t.Errorf("clock set by %v: %s was told %q, want %q", jump, reference(id), got, want)
				}
			}
			if n := len(told[1]); n > 40 {
				t.Errorf("clock set by %v: AL-1 was told %d times in a week", jump, n)
			}
			if err := l.view(invariants); err != nil {
				t.Error(err)
			}
			b.s.Close()
		})
	}
}

// What was to call the next person and waits for the server is taken back when
// somebody answers; what tells of the alert is not.
func TestAnswerTakesCallsBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := guarded(t)
		b.set(fails(TroubleTemporary))
		b.start()
		b.add(severe(attempt("a"), 5))
		time.Sleep(5 * 24 * time.Hour)
		if st := b.s.Status(); st.Queued < 4 || st.Overdue != 1 || st.Unanswered != 1 {
			t.Errorf("Status = %+v, want the calls queued and one alert overdue", st)
		}
		b.add(staffAct("D", ActAck, "AL-1", ""))
		synctest.Wait()
		if st := b.s.Status(); st.Queued != 2 || st.Held != 0 || st.Overdue != 0 {
			t.Errorf("Status = %+v, want the first two mails queued and nothing else", st)
		}
		b.stop()
	})
}

// T19, bounded by steps: ten thousand events of one tablet are one alert with a
// count, and another child's alert is the next mail that leaves, whatever of the
// flood is still to be read or waits for the server.
func TestFloodDelaysNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := guarded(t)
		b.open()
		defer b.s.Close()
		l := b.s.ledger
		flood := make([]policy.Event, 10001)
		for i := range flood {
			flood[i] = attempt("noisy")
			flood[i].ID, flood[i].Time = policy.EventID(i+1), time.Now()
		}
		flood[5000].Device = "other-child"
		steps := 0
		for at := 0; at < len(flood); at += 256 {
			if _, err := l.absorb(flood[at:min(at+256, len(flood))], 0); err != nil {
				t.Fatal(err)
			}
			steps++
			if read := at + 256; read > 5000 && read <= 5256 { // the step that read it
				for _, want := range []policy.EventID{1, 5001} {
					m, _, err := l.due("")
					if err != nil || m == nil || m.Alerts[0] != want {
						t.Fatalf("the next mail is %+v, %v, want %s", m, err, reference(want))
					}
					if err := l.sent(m); err != nil {
						t.Fatal(err)
					}
				}
			}
		}
		if m, _, err := l.due(""); m != nil || err != nil {
			t.Errorf("more mails wait: %+v, %v", m, err)
		}
		var list Listing
		if err := l.view(list.read); err != nil {
			t.Fatal(err)
		}
		if list.Total != 2 || list.Alerts[1].Count != 10000 || steps != 40 {
			t.Errorf("%d alerts, %+v, %d steps", list.Total, list.Alerts, steps)
		}
	})
}
