package alerts

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"time"

	"schoolgate/policy"
)

// clock is what an alert does by itself at a moment, on disk.
type clock struct {
	At time.Time `json:"at"`
	// Length is how far away At was: a clock that was set back must not stretch it
	// (F12).
	Length time.Duration `json:"length"`
}

func (c clock) over(now time.Time) bool { return over(c.At, now, c.Length) }

// The kinds of clocks, first byte of the key.
const (
	clockAnswer = 'a' // somebody must have acknowledged the alert
	clockTell   = 't' // it may be told
)

func clockKey(kind byte, id policy.EventID) []byte {
	return binary.BigEndian.AppendUint64([]byte{kind}, uint64(id))
}

func (t *tx) setClock(kind byte, id policy.EventID, at time.Time) error {
	return t.put(bucketClocks, clockKey(kind, id), clock{at, at.Sub(t.now)})
}

// startClock begins to wait for somebody to acknowledge the alert. The caller
// stores a.
func (t *tx) startClock(a *Alert) error {
	c := t.cfg.Plan.Clocks[min(a.Severity, 5)]
	if c.none() {
		return t.stopClock(a)
	}
	a.Due = c.due(&t.cfg.Plan.Hours, t.now)
	return t.setClock(clockAnswer, a.ID, a.Due)
}

func (t *tx) stopClock(a *Alert) error {
	a.Due = time.Time{}
	return t.Bucket(bucketClocks).Delete(clockKey(clockAnswer, a.ID))
}

// wait notes from when the alert may be told. The caller stores a.
func (t *tx) wait(a *Alert, at time.Time) error {
	a.From = at
	return t.setClock(clockTell, a.ID, at)
}

func (t *tx) stopWaiting(a *Alert) error {
	if a.From.IsZero() {
		return nil
	}
	a.From = time.Time{}
	return t.Bucket(bucketClocks).Delete(clockKey(clockTell, a.ID))
}

// clocks tells what may be told by now, and the next person of what nobody has
// acknowledged.
func (t *tx) clocks(next *time.Time) error {
	var ended [][]byte
	err := t.Bucket(bucketClocks).ForEach(func(k, v []byte) error {
		var c clock
		if err := decode(v, &c); err != nil || len(k) != 9 {
			return fmt.Errorf("clock %x: %w", k, errDamaged)
		}
		if c.over(t.now) {
			ended = append(ended, bytes.Clone(k))
		} else {
			sooner(next, c.At)
		}
		return nil
	})
	if err != nil {
		return err
	}
	for _, k := range ended {
		a, err := t.alert(policy.EventID(binary.BigEndian.Uint64(k[1:])))
		if err != nil {
			return err
		}
		if k[0] == clockTell {
			err = t.mayTell(a)
		} else {
			err = t.unanswered(a)
		}
		if err == nil {
			err = t.putAlert(a)
		}
		if err != nil {
			return err
		}
		if !a.Due.IsZero() {
			sooner(next, a.Due)
		}
	}
	return nil
}

// mayTell tells an alert whose hour has come.
func (t *tx) mayTell(a *Alert) error {
	if err := t.stopWaiting(a); err != nil {
		return err
	}
	if t.cfg.Plan.Digest.gathers(a.Severity) {
		return t.tellInDigest(a)
	}
	if a.Seq == 0 {
		return t.tell(a, kindNew)
	}
	return t.tell(a, kindMore)
}

// tellInDigest owes the alert to everybody concerned; the summary that follows in
// this step makes one mail of all that they are owed.
func (t *tx) tellInDigest(a *Alert) error {
	a.Told = a.Count
	to := t.cfg.Plan.To(a, t.now)
	a.Unaddressed = len(to) == 0
	if a.State == StateNew {
		if err := t.startClock(a); err != nil {
			return err
		}
	}
	if a.Unaddressed {
		t.nobody++
		to = []string{""}
	} else {
		a.ToldTo = unique(append(a.ToldTo, to...))
	}
	for _, way := range to {
		if err := t.hold(way, a, kindDigest); err != nil {
			return err
		}
	}
	return nil
}

// unanswered escalates: the next of the chain hears, with a clock of their own. At
// its end those told last are reminded each day.
func (t *tx) unanswered(a *Alert) error {
	if a.State != StateNew {
		return t.stopClock(a)
	}
	t.late++
	a.Late++
	plan := &t.cfg.Plan
	if _, to := plan.next(a, t.now); len(to) > 0 {
		a.ToldTo = unique(append(a.ToldTo, to...)) // before the clock, which names who is next
		if err := t.startClock(a); err != nil {
			return err
		}
		return t.tellTo(a, kindOverdue, to, a.Told)
	}
	a.Due = plan.Hours.schoolDayAfter(t.now, plan.Hours.begin())
	if a.Severity >= 5 { // whatever the day
		a.Due = plan.Hours.at(t.now, 1, plan.Hours.begin())
	}
	if err := t.setClock(clockAnswer, a.ID, a.Due); err != nil {
		return err
	}
	to := plan.last(a, t.now)
	if len(to) == 0 {
		t.nobody++
	}
	for _, way := range to {
		a.ToldTo = unique(append(a.ToldTo, way))
		if err := t.hold(way, a, kindReminder); err != nil {
			return err
		}
	}
	return nil
}

// deadline writes on a mail by when its alerts must be acknowledged, and who is
// told else.
func (t *tx) deadline(m *Mail, alerts []*Alert) {
	for _, a := range alerts {
		if a.Due.IsZero() || !a.Due.After(t.now) || !m.By.IsZero() && !a.Due.Before(m.By) {
			continue
		}
		told := *a
		told.ToldTo = unique(append(told.ToldTo[:len(told.ToldTo):len(told.ToldTo)], m.To))
		m.By = a.Due
		m.Else, _ = t.cfg.Plan.next(&told, a.Due)
	}
}
