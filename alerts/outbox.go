package alerts

import (
	"slices"
	"strings"
	"time"

	"schoolgate/policy"
)

// mailKind says what a mail tells.
type mailKind string

const (
	kindNew     mailKind = "new"     // an alert opened
	kindGraver  mailKind = "graver"  // a graver event came within the quiet period
	kindMore    mailKind = "more"    // the quiet period ended; so many more
	kindSummary mailKind = "summary" // several alerts at once
	kindNotice  mailKind = "notice"  // news of the box itself

	// Of one alert or more.
	kindOverdue  mailKind = "overdue"  // nobody acknowledged it in time
	kindDigest   mailKind = "digest"   // what can wait
	kindReminder mailKind = "reminder" // still not acknowledged by anybody, each day
)

// Mail is one message to one person in the outbox. It holds only what may be
// told, so that a repeat reads the same as the first try and nothing of the
// event can slip into it.
type Mail struct {
	ID       uint64           `json:"id"`
	Kind     mailKind         `json:"kind"`
	To       string           `json:"to"`
	Alerts   []policy.EventID `json:"alerts"`
	Seq      int              `json:"seq"`  // of the first alert's mails
	Born     int64            `json:"born"` // Unix time of the first alert; keeps names apart if a journal starts over
	Severity uint8            `json:"severity"`
	Notice   *Notice          `json:"notice,omitempty"` // of kindNotice, which has no alerts
	Count    int              `json:"count"`
	More     int              `json:"more,omitempty"` // since the last mail
	First    time.Time        `json:"first"`
	Last     time.Time        `json:"last"`
	By       time.Time        `json:"by,omitzero"`    // to be acknowledged; the earliest of several
	Else     string           `json:"else,omitempty"` // the role told if it is not
	As       string           `json:"as,omitempty"`   // the role as which the reader looks, if not dsl

	Queued time.Time `json:"queued"`
	Next   time.Time `json:"next"` // not to be tried before
	// Wait is how far away Next was: a clock that was set back must not stretch it
	// (F12).
	Wait     time.Duration `json:"wait,omitempty"`
	Attempts int           `json:"attempts,omitempty"`
	Refusals int           `json:"refusals,omitempty"` // of those, when it was this mail and not the server as a whole
	Trouble  Trouble       `json:"trouble,omitempty"`  // of the last try
	Dead     bool          `json:"dead,omitempty"`     // given up; told in a summary once this person can be reached
}

// name is what the operator's log calls the mail.
func (m *Mail) name() string {
	if m.Notice != nil {
		return string(m.Kind) + " " + string(m.Notice.Kind)
	}
	return reference(m.Alerts[0])
}

// A mail is given up after a week (F13). The number of tries must agree, so that
// a clock that jumps does not give up what was hardly tried.
const (
	giveUpAfter = 7 * 24 * time.Hour
	giveUpTries = 20
)

// lane is the server that a way goes by: each webhook's own, and "" for all mail.
// A lane that is stuck holds up no other.
func lane(way string) string {
	if strings.HasPrefix(way, "https://") {
		return way
	}
	return ""
}

// due picks the mail of a lane to send now: the gravest, then the oldest. If none
// is, wake is when one will be; zero for never.
func (l *ledger) due(by string) (m *Mail, wake time.Time, err error) {
	err = l.view(func(t *tx) error {
		return t.eachMail(func(c *Mail) error {
			switch {
			case c.Dead || lane(c.To) != by:
			case !over(c.Next, t.now, c.Wait):
				if wake.IsZero() || c.Next.Before(wake) {
					wake = c.Next
				}
			case m == nil || c.Severity > m.Severity:
				m = c
			}
			return nil
		})
	})
	return m, wake, err
}

// sent strikes a mail off. The person can be reached, so what was given up for
// them is owed to them again.
func (l *ledger) sent(m *Mail) error {
	return l.update(func(t *tx) error {
		if t.Bucket(bucketMails).Get(number(m.ID)) == nil {
			return nil // taken back while it was under way
		}
		for _, id := range m.Alerts {
			a, err := t.alert(id)
			if err != nil {
				return err
			}
			a.Waiting--
			a.Sent++
			a.LastSent = t.now
			if err := t.putAlert(a); err != nil {
				return err
			}
		}
		if err := t.Bucket(bucketMails).Delete(number(m.ID)); err != nil {
			return err
		}
		return t.owe(func(o *Mail) bool { return o.Dead && o.To == m.To }, nil)
	})
}

// owe takes mails out of the outbox and notes their alerts as owed: to whom they
// were addressed, or to whom readdress says.
func (t *tx) owe(which func(*Mail) bool, readdress func(*Alert) []string) error {
	list, err := t.mails()
	if err != nil {
		return err
	}
	for _, m := range list {
		if !which(m) {
			continue
		}
		if m.Notice != nil {
			if err := t.dropNotice(m); err != nil {
				return err
			}
			continue
		}
		if err := t.Bucket(bucketMails).Delete(number(m.ID)); err != nil {
			return err
		}
		for _, id := range m.Alerts {
			a, err := t.alert(id)
			if err != nil {
				return err
			}
			if m.Dead {
				a.Undelivered--
			} else {
				a.Waiting--
			}
			if err := t.holdFor(a, m.To, m.Kind, readdress); err != nil {
				return err
			}
		}
	}
	return nil
}

func (t *tx) holdFor(a *Alert, address string, kind mailKind, readdress func(*Alert) []string) error {
	to := []string{address}
	if readdress != nil {
		// Who was to be told and is not counts as not told, should they be named again.
		a.ToldTo = slices.DeleteFunc(a.ToldTo, func(w string) bool { return strings.EqualFold(w, address) })
		to = readdress(a)
		a.Unaddressed = len(to) == 0
	}
	if len(to) == 0 {
		to = []string{""}
	}
	for _, address := range to {
		if address != "" {
			a.ToldTo = unique(append(a.ToldTo, address))
		}
		if err := t.hold(address, a, kind); err != nil {
			return err
		}
	}
	return t.putAlert(a)
}

// readdress moves what waits for people who are no longer configured, or may no
// longer hear of it, to those who are: a mistyped address, once corrected, has
// cost time and no alert.
func (t *tx) readdress() error {
	p := &t.cfg.Plan
	known := p.known()
	gone := func(address string) bool {
		return !slices.ContainsFunc(known, func(k string) bool { return strings.EqualFold(k, address) })
	}
	to := func(a *Alert) []string { return p.To(a, t.now) }
	err := t.owe(func(m *Mail) bool {
		if m.Notice != nil || gone(m.To) {
			return gone(m.To)
		}
		for _, id := range m.Alerts {
			if a, err := t.alert(id); err == nil && !p.may(m.To, a, t.now) {
				return true
			}
		}
		return false
	}, to)
	if err != nil {
		return err
	}
	order, owes, err := t.held()
	if err != nil {
		return err
	}
	for _, address := range order {
		for _, id := range owes[address] {
			a, err := t.alert(id)
			if err != nil {
				return err
			}
			if !gone(address) && p.may(address, a, t.now) || address == "" && len(to(a)) == 0 {
				continue
			}
			var o owed
			if _, err := t.get(bucketHeld, heldKey(address, id), &o); err != nil {
				return err
			}
			if err := t.Bucket(bucketHeld).Delete(heldKey(address, id)); err != nil {
				return err
			}
			a.Waiting--
			if err := t.holdFor(a, address, o.Kind, to); err != nil {
				return err
			}
		}
	}
	return nil
}

// failed notes a try that came to nothing. If the server as a whole cannot be
// reached, the try speaks for every mail that waits; else only m steps back.
func (l *ledger) failed(m *Mail, trouble Trouble) (died int, err error) {
	err = l.update(func(t *tx) error {
		list, err := t.mails()
		if err != nil {
			return err
		}
		died = 0
		for _, c := range list {
			if c.Dead || lane(c.To) != lane(m.To) || (c.ID != m.ID && !trouble.server()) {
				continue
			}
			c.Attempts++
			c.Trouble = trouble
			if !trouble.server() {
				c.Refusals++
				c.Wait = trouble.backoff(c.Refusals, c.Severity)
				c.Next = t.now.Add(c.Wait)
			}
			if c.Attempts >= giveUpTries && t.now.Sub(c.Queued) > giveUpAfter {
				if c.Notice != nil { // told anew if it still holds
					if err := t.dropNotice(c); err != nil {
						return err
					}
					continue
				}
				died++
				if err := t.giveUp(c); err != nil {
					return err
				}
			}
			if err := t.putMail(c); err != nil {
				return err
			}
		}
		return nil
	})
	return died, err
}

func (t *tx) giveUp(m *Mail) error {
	m.Dead = true
	for _, id := range m.Alerts {
		a, err := t.alert(id)
		if err != nil {
			return err
		}
		a.Waiting--
		a.Undelivered++
		if err := t.putAlert(a); err != nil {
			return err
		}
	}
	return nil
}
