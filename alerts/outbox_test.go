package alerts

import (
	"fmt"
	"maps"
	"testing"
	"testing/synctest"
	"time"

	"schoolgate/policy"
)

// queued is a service that does not run, with one mail of a severity in its outbox.
func queued(t *testing.T, severity uint8) (*box, *ledger) {
	t.Helper()
	b := newBox(t)
	b.open()
	b.add(severe(attempt("a"), severity))
	if _, err := b.s.ledger.absorb(b.events, 1); err != nil {
		t.Fatal(err)
	}
	return b, b.s.ledger
}

// F12: a mail that waits for the server does not wait for the clock, which was set
// back since: neither one that was never tried nor one that stepped back.
func TestMailDoesNotWaitForTheClock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, l := queued(t, 3)
		defer b.s.Close()
		back := func() time.Time { return time.Now().Add(-time.Hour) }
		l.now = back
		m, _, err := l.due("")
		if m == nil || err != nil {
			t.Fatalf("not due an hour earlier: %v, %v", m, err)
		}
		l.now = time.Now
		if _, err := l.failed(m, TroubleTemporary); err != nil {
			t.Fatal(err)
		}
		if m, wake, err := l.due(""); m != nil || wake.IsZero() || err != nil {
			t.Errorf("due at once after it was refused: %v, %v, %v", m, wake, err)
		}
		l.now = back
		if m, _, err := l.due(""); m == nil || err != nil {
			t.Errorf("not due an hour earlier, after it was refused: %v, %v", m, err)
		}
	})
}

// A server that was away for a night and then turns a mail away once does not keep it
// for an hour: what counts is how often this mail was refused, and what is grave steps
// back for minutes only.
func TestOneRefusalAfterALongOutage(t *testing.T) {
	for _, c := range []struct {
		severity uint8
		trouble  Trouble
		refused  int
		longest  time.Duration
	}{
		{3, TroubleTemporary, 1, time.Minute},
		{5, TroubleTemporary, 30, 5 * time.Minute},
		{5, TroubleDropped, 30, 5 * time.Minute},
		{4, TroublePermanent, 30, time.Hour},
		{3, TroubleTemporary, 30, time.Hour},
	} {
		synctest.Test(t, func(t *testing.T) {
			b, l := queued(t, c.severity)
			defer b.s.Close()
			try := func(trouble Trouble) {
				t.Helper()
				m, _, err := l.due("")
				if err == nil && m == nil {
					t.Fatal("nothing is due")
				}
				if err == nil {
					_, err = l.failed(m, trouble)
				}
				if err != nil {
					t.Fatal(err)
				}
			}
			for range 200 {
				try(TroubleUnreachable)
			}
			for range c.refused {
				if m, _, _ := l.due(""); m == nil {
					time.Sleep(c.longest)
				}
				try(c.trouble)
			}
			if err := l.view(func(tx *tx) error {
				return tx.eachMail(func(m *Mail) error {
					if wait := time.Until(m.Next); wait > c.longest && m.Attempts > 200 {
						t.Errorf("severity %d, %s %d times: waits %v, want at most %v", c.severity, c.trouble, c.refused, wait, c.longest)
					}
					return nil
				})
			}); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// A hundred lesser events do not hide the grave one that somebody was told of.
func TestGraveEventOfAFloodIsKept(t *testing.T) {
	a := (&opening{event: &policy.Event{ID: 1, Severity: 3}, severity: 3}).alert(time.Time{})
	for id := policy.EventID(2); id <= 300; id++ {
		o := opening{event: &policy.Event{ID: id}, severity: 3}
		if id == 200 {
			o.severity = 5
		}
		a.add(&o)
	}
	if n := len(a.Events); n != maxEventID || a.Events[n-1] != 200 || a.Events[0] != 1 || a.Count != 300 {
		t.Errorf("%d events from %s to %s of %d, want %d with SG-68 last", n, a.Events[0], a.Events[n-1], a.Count, maxEventID)
	}
}

// What is read late, or again after the state was lost, are the same alerts as before:
// what came an hour after somebody acknowledged one is another, and is told.
func TestLateReadingKeepsAlertsApart(t *testing.T) { // R32, F7
	synctest.Test(t, func(t *testing.T) {
		b := newBox(t)
		b.open()
		defer b.s.Close()
		b.add(severe(attempt("a"), 5), severe(attempt("a"), 5), staffAct("D. Lead", ActAck, reference(1), ""))
		time.Sleep(time.Hour)
		b.add(severe(attempt("a"), 5), severe(attempt("a"), 5))
		time.Sleep(time.Minute)
		if _, err := b.s.ledger.absorb(b.events, 5); err != nil {
			t.Fatal(err)
		}
		got := map[policy.EventID]string{}
		if err := b.s.ledger.view(func(tx *tx) error {
			for _, id := range []policy.EventID{1, 4} {
				a, err := tx.alert(id)
				if err != nil {
					return err
				}
				got[id] = fmt.Sprintf("%s %d times, %d mails", a.State, a.Count, a.Waiting)
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		want := map[policy.EventID]string{1: "acknowledged 2 times, 4 mails", 4: "new 2 times, 2 mails"}
		if !maps.Equal(got, want) {
			t.Errorf("%v, want %v", got, want)
		}
	})
}
