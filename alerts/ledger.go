package alerts

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"
	"time"

	"schoolgate/policy"
)

// outcome is what a step did, for the metrics.
type outcome struct {
	opened []uint8 // severities
	folded int
	mails  bool // the outbox has something new
	held   bool // somebody is owed an alert by a summary
	untold int  // alerts dropped at the hard bound before anybody was told
	late   int  // clocks that ran out
	nobody int  // alerts that nobody is named to hear of
	acked  []answered
}

// answered is an alert that somebody acknowledged, and how long it waited.
type answered struct {
	severity uint8
	after    time.Duration
}

func (t *tx) outcome() outcome {
	return outcome{
		opened: t.opened, folded: t.folded, mails: t.queued > 0, held: t.newlyHeld > 0,
		late: t.late, nobody: t.nobody, acked: t.acked,
	}
}

// absorb takes flagged events, tries to get round the filter and what staff
// answered, in order, and moves the cursor to upto or to the last of them. Events
// at or before the cursor were taken before and are passed over, so reading the
// journal again is harmless.
func (l *ledger) absorb(events []policy.Event, upto policy.EventID) (out outcome, err error) {
	err = l.update(func(t *tx) error {
		cursor, err := t.cursor()
		if err != nil {
			return err
		}
		for i := range events {
			if ev := &events[i]; ev.ID > cursor {
				if err := t.event(ev); err != nil {
					return err
				}
				cursor = ev.ID
			}
		}
		out = t.outcome()
		return t.setCursor(max(cursor, upto))
	})
	return out, err
}

func (t *tx) event(ev *policy.Event) error {
	if ev.Time.IsZero() {
		ev.Time = t.now
	}
	if isAct(ev) {
		return t.act(ev)
	}
	if done, err := t.tried(ev); done || err != nil || !ev.Flagged() {
		return err
	}
	roles, severity := t.cfg.Plan.route(ev)
	return t.take(&opening{event: ev, theme: theme(ev), roles: roles, severity: severity, owners: t.cfg.Plan.owners(ev)})
}

// take opens an alert for the event or counts it on an open one.
func (t *tx) take(o *opening) error {
	a, err := t.openAlert(o.key(), o.event.Time)
	if err != nil {
		return err
	}
	if a == nil && t.openAlerts() >= maxOpen {
		o.shared = true
		if a, err = t.openAlert(o.key(), o.event.Time); err != nil {
			return err
		}
	}
	if a != nil {
		return t.fold(a, o)
	}
	base, err := t.base()
	if err != nil {
		return err
	}
	a = o.alert(t.now.Add(t.cfg.Quiet))
	a.ID += policy.EventID(base)
	t.opened = append(t.opened, a.Severity)
	t.openCount++
	if err := t.put(bucketOpen, []byte(a.Key), uint64(a.ID)); err != nil {
		return err
	}
	if err := t.tally(a, func(y *Tally) { y.Opened++ }); err != nil {
		return err
	}
	if err := t.tellWhenAllowed(a, kindNew); err != nil {
		return err
	}
	return t.putAlert(a)
}

// fold counts the event on an alert. One graver than what people were told is
// told at once, and asks to be acknowledged anew.
func (t *tx) fold(a *Alert, o *opening) error {
	t.folded++
	a.Roles = unique(append(a.Roles, o.roles...))
	if a.add(o) {
		kind := kindGraver
		if a.Seq == 0 { // nobody has heard of it yet
			kind = kindNew
		}
		a.reopen()
		if err := t.tellWhenAllowed(a, kind); err != nil {
			return err
		}
	}
	return t.putAlert(a)
}

// tellWhenAllowed tells at once, or notes from when it may be told: in the
// morning, or by the digest.
func (t *tx) tellWhenAllowed(a *Alert, kind mailKind) error {
	if at := t.cfg.Plan.when(a.Severity, t.now); at.After(t.now) {
		return t.wait(a, at)
	}
	if err := t.stopWaiting(a); err != nil {
		return err
	}
	return t.tell(a, kind)
}

// openAlert is the alert whose quiet period runs for the key when an event happened;
// nil if none. One whose period has ended is closed on the way. Where the journal is
// read late, or again, it ends by the events' own time: hours of them are not one alert
// that somebody acknowledged in the first of them.
func (t *tx) openAlert(key string, at time.Time) (*Alert, error) {
	var id uint64
	ok, err := t.get(bucketOpen, []byte(key), &id)
	if !ok || err != nil {
		return nil, err
	}
	a, err := t.alert(policy.EventID(id))
	if err != nil {
		return nil, err
	}
	if over(a.Until, t.now, t.cfg.Quiet) || !a.Began.IsZero() && at.Sub(a.Began) >= t.cfg.Quiet {
		return nil, t.endQuiet([]byte(key), a)
	}
	return a, nil
}

func (t *tx) openAlerts() int {
	if t.openCount < 0 {
		t.openCount = count(t.Bucket(bucketOpen))
	}
	return t.openCount
}

// endQuiet ends the quiet period; if events came since the last mail, one
// follow-up says how many.
func (t *tx) endQuiet(key []byte, a *Alert) error {
	a.Over = true
	if t.openCount >= 0 {
		t.openCount--
	}
	if a.Count > a.Told && a.From.IsZero() { // what waits will carry the number
		if err := t.tellWhenAllowed(a, kindMore); err != nil {
			return err
		}
	}
	if err := t.Bucket(bucketOpen).Delete(key); err != nil {
		return err
	}
	return t.putAlert(a)
}

// tell makes a mail for each person concerned, or notes that the next summary
// owes them the alert. The caller stores a.
func (t *tx) tell(a *Alert, kind mailKind) error {
	before := a.Told
	a.Told = a.Count
	to := t.cfg.Plan.To(a, t.now)
	a.Unaddressed = len(to) == 0
	if a.State == StateNew && kind != kindMore || a.Due.IsZero() && a.State == StateNew {
		if err := t.startClock(a); err != nil {
			return err
		}
	}
	if a.Unaddressed {
		t.nobody++
		return t.hold("", a, kind)
	}
	return t.tellTo(a, kind, to, before)
}

// tellTo is tell for people already chosen. The mail carries the number of events
// and how many of them came since before.
func (t *tx) tellTo(a *Alert, kind mailKind, to []string, before int) error {
	a.ToldTo = unique(append(a.ToldTo, to...))
	for _, address := range to {
		if t.isHeld(address, a.ID) {
			continue // the summary will carry the count
		}
		room, err := t.room(address, a.Severity)
		if err != nil {
			return err
		}
		if !room {
			err = t.hold(address, a, kind)
		} else {
			err = t.queue(&Mail{
				Kind: kind, To: address, Alerts: []policy.EventID{a.ID}, Severity: a.Severity,
				Count: a.Count, More: a.Count - before, First: a.First, Last: a.Last,
			}, a)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// queue puts a mail in the outbox under the name it will keep through every
// repeat: the reference of its first alert and that alert's sequence number.
func (t *tx) queue(m *Mail, alerts ...*Alert) error {
	id, err := t.Bucket(bucketMails).NextSequence()
	if err != nil {
		return err
	}
	first := alerts[0]
	first.Seq++
	m.ID, m.Seq, m.Queued, m.Next = id, first.Seq, t.now, t.now
	m.Born = first.First.Unix()
	m.As = t.cfg.Plan.readsAs(m.To)
	t.deadline(m, alerts)
	for _, a := range alerts {
		a.Waiting++
	}
	t.queued++
	return t.putMail(m)
}

// window counts the mails a person got in a quiet period.
type window struct {
	Start time.Time `json:"start"`
	Mails int       `json:"mails"`
}

func (t *tx) window(address string) (w window, err error) {
	_, err = t.get(bucketWindows, []byte(address), &w)
	if over(w.Start.Add(t.cfg.Quiet), t.now, t.cfg.Quiet) {
		w = window{Start: t.now}
	}
	return w, err
}

// room takes a place for one more mail to a person now, if there is one.
func (t *tx) room(address string, severity uint8) (bool, error) {
	w, err := t.window(address)
	if err != nil {
		return false, err
	}
	limit := t.cfg.MaxMails
	if severity <= 3 {
		limit /= 2
	}
	if w.Mails >= limit || count(t.Bucket(bucketMails)) >= t.cfg.MaxQueued {
		return false, nil
	}
	w.Mails++
	return true, t.put(bucketWindows, []byte(address), w)
}

func heldKey(address string, id policy.EventID) []byte {
	return append([]byte(address+"\x00"), number(uint64(id))...)
}

func (t *tx) isHeld(address string, id policy.EventID) bool {
	return t.Bucket(bucketHeld).Get(heldKey(address, id)) != nil
}

// owed is what is noted of an alert that a person is owed.
type owed struct {
	Severity uint8    `json:"severity"`
	Kind     mailKind `json:"kind"`
}

// hold notes that a person is owed an alert. The caller stores a.
func (t *tx) hold(address string, a *Alert, kind mailKind) error {
	if t.isHeld(address, a.ID) {
		return nil
	}
	a.Waiting++
	t.newlyHeld++
	return t.put(bucketHeld, heldKey(address, a.ID), owed{a.Severity, kind})
}

// held lists what each person is owed, in the order of the alerts.
func (t *tx) held() (order []string, owed map[string][]policy.EventID, err error) {
	owed = map[string][]policy.EventID{}
	err = t.Bucket(bucketHeld).ForEach(func(k, _ []byte) error {
		i := bytes.IndexByte(k, 0)
		if i < 0 || len(k) != i+9 {
			return fmt.Errorf("held %x: %w", k, errDamaged)
		}
		address := string(k[:i])
		if len(owed[address]) == 0 {
			order = append(order, address)
		}
		owed[address] = append(owed[address], policy.EventID(binary.BigEndian.Uint64(k[i+1:])))
		return nil
	})
	return order, owed, err
}

// tick does what time asks for: quiet periods and mail windows that have ended,
// and old alerts. It reports when it wants to be called next.
func (l *ledger) tick() (out outcome, next time.Time, err error) {
	forgot := false
	err = l.update(func(t *tx) error {
		next = t.now.Add(time.Hour)
		if err := t.mindLeap(); err != nil {
			return err
		}
		if err := t.endQuietPeriods(&next); err != nil {
			return err
		}
		if err := t.clocks(&next); err != nil {
			return err
		}
		if err := t.alive(&next); err != nil {
			return err
		}
		if err := t.summarise(&next); err != nil {
			return err
		}
		if t.now.Before(l.forgetAt) && l.forgetAt.Sub(t.now) <= time.Hour {
			out = t.outcome()
			return nil
		}
		forgot = true
		untold, err := t.forget()
		out = t.outcome()
		out.untold = untold
		return err
	})
	if err == nil && forgot {
		l.forgetAt = l.now().Add(time.Hour)
	}
	return out, next, err
}

func sooner(next *time.Time, at time.Time) {
	if at.Before(*next) {
		*next = at
	}
}

func (t *tx) endQuietPeriods(next *time.Time) error {
	ended := map[string]*Alert{}
	var order []string
	err := t.Bucket(bucketOpen).ForEach(func(k, v []byte) error {
		var id uint64
		if err := decode(v, &id); err != nil {
			return err
		}
		a, err := t.alert(policy.EventID(id))
		if err != nil {
			return err
		}
		if over(a.Until, t.now, t.cfg.Quiet) {
			ended[string(k)] = a
			order = append(order, string(k))
		} else {
			sooner(next, a.Until)
		}
		return nil
	})
	if err != nil {
		return err
	}
	for _, k := range order {
		if err := t.endQuiet([]byte(k), ended[k]); err != nil {
			return err
		}
	}
	return nil
}

// summarise gives each person one mail for all they are owed, once their mail
// window has ended and the outbox has room.
func (t *tx) summarise(next *time.Time) error {
	order, owed, err := t.held()
	if err != nil {
		return err
	}
	for _, address := range order {
		if address == "" {
			continue // nobody is configured; they wait for somebody
		}
		w, err := t.window(address)
		if err != nil {
			return err
		}
		if w.Mails > 0 {
			sooner(next, w.Start.Add(t.cfg.Quiet))
			continue
		}
		room, err := t.room(address, 5)
		if err != nil {
			return err
		}
		if !room {
			sooner(next, t.now.Add(time.Minute))
			continue
		}
		ids := owed[address]
		if len(ids) > maxSummary {
			ids = ids[:maxSummary]
			sooner(next, t.now.Add(t.cfg.Quiet))
		}
		if err := t.summary(address, ids); err != nil {
			return err
		}
	}
	return nil
}

// summary is one mail for all of ids, the gravest named first; an ordinary mail
// for one alone.
func (t *tx) summary(address string, ids []policy.EventID) error {
	m := &Mail{To: address}
	alerts := make([]*Alert, 0, len(ids))
	kinds := map[mailKind]bool{}
	for _, id := range ids {
		var o owed
		if _, err := t.get(bucketHeld, heldKey(address, id), &o); err != nil {
			return err
		}
		if err := t.Bucket(bucketHeld).Delete(heldKey(address, id)); err != nil {
			return err
		}
		a, err := t.alert(id)
		if err != nil {
			return err
		}
		alerts = append(alerts, a)
		kinds[o.Kind] = true
		a.Waiting-- // what was held; queue counts the mail
		if !kinds[kindOverdue] && !kinds[kindReminder] {
			a.Told = a.Count
		}
		m.Severity = max(m.Severity, a.Severity)
		m.Count += a.Count
		if m.First.IsZero() || a.First.Before(m.First) {
			m.First = a.First
		}
		if a.Last.After(m.Last) {
			m.Last = a.Last
		}
	}
	m.Kind = summaryKind(kinds, len(ids))
	slices.SortStableFunc(alerts, func(a, b *Alert) int { return int(b.Severity) - int(a.Severity) })
	for _, a := range alerts {
		m.Alerts = append(m.Alerts, a.ID)
	}
	if err := t.queue(m, alerts...); err != nil {
		return err
	}
	for _, a := range alerts {
		if err := t.putAlert(a); err != nil {
			return err
		}
	}
	return nil
}

// summaryKind is what a mail of so many owed alerts is called.
func summaryKind(kinds map[mailKind]bool, n int) mailKind {
	only := func(k mailKind) bool { return len(kinds) == 1 && kinds[k] }
	switch {
	case only(kindDigest), only(kindReminder), only(kindOverdue):
		for k := range kinds {
			return k
		}
	case n > 1:
		return kindSummary
	}
	return kindNew
}
