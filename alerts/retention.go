package alerts

import (
	"errors"
	"fmt"
	"time"
)

// forget drops alerts past their retention and the oldest beyond the bound, never
// one that is open or that a waiting mail speaks of. At the hard bound, which only
// a flood that nobody is configured to hear of can reach, alerts that nobody was
// told go too, and are counted; their events are in the journal all the same.
func (t *tx) forget() (untold int, err error) {
	if err := errors.Join(t.forgetDead(), t.forgetTries()); err != nil {
		return 0, err
	}
	closed, total, err := t.closedAlerts()
	if err != nil {
		return 0, err
	}
	leapt, err := t.leapt()
	if err != nil {
		return 0, err
	}
	for _, a := range closed {
		due := t.now.Sub(a.Last) > t.cfg.Keep && !leapt
		told := a.Waiting+a.Undelivered == 0 && a.Due.IsZero() && a.From.IsZero()
		if !due && !(told && total > maxKept) && total <= maxKeptUntold {
			continue
		}
		ok, err := t.drop(a)
		if err != nil {
			return untold, err
		}
		if ok {
			total--
		}
		if ok && !told && !due {
			untold++
		}
	}
	return untold, nil
}

// A clock that leaps ahead makes everything old at once (F12), and so does a box
// that was off for long. For a week after it nothing is forgotten for its age, so
// that whoever sets the clock right has lost nothing.
const (
	leapFrom = 48 * time.Hour
	leapRest = 7 * 24 * time.Hour
)

// mindLeap notes the time of this step, and whether it is far from the last one's.
func (t *tx) mindLeap() error {
	var last time.Time
	ok, err := t.get(bucketMeta, []byte("ticked"), &last)
	if err != nil {
		return err
	}
	if ok && t.now.Sub(last).Abs() > leapFrom {
		if err := t.put(bucketMeta, []byte("leapt"), t.now); err != nil {
			return err
		}
	}
	return t.put(bucketMeta, []byte("ticked"), t.now)
}

func (t *tx) leapt() (bool, error) {
	var at time.Time
	ok, err := t.get(bucketMeta, []byte("leapt"), &at)
	return ok && !over(at.Add(leapRest), t.now, leapRest), err
}

func (t *tx) closedAlerts() (closed []*Alert, total int, err error) {
	err = t.Bucket(bucketAlerts).ForEach(func(k, v []byte) error {
		a := new(Alert)
		if err := decode(v, a); err != nil {
			return fmt.Errorf("alert %x: %w", k, err)
		}
		total++
		if a.Over {
			closed = append(closed, a)
		}
		return nil
	})
	return closed, total, err
}

// forgetDead drops mails that were given up and are past retention.
func (t *tx) forgetDead() error {
	list, err := t.mails()
	if err != nil {
		return err
	}
	leapt, err := t.leapt()
	if err != nil {
		return err
	}
	for _, m := range list {
		if !m.Dead || leapt || t.now.Sub(m.Queued) <= t.cfg.Keep {
			continue
		}
		for _, id := range m.Alerts {
			a, err := t.alert(id)
			if err != nil {
				return err
			}
			a.Undelivered--
			if err := t.putAlert(a); err != nil {
				return err
			}
		}
		if err := t.Bucket(bucketMails).Delete(number(m.ID)); err != nil {
			return err
		}
	}
	return nil
}

// drop deletes an alert and what is owed of it; ok is false, and nothing is
// done, where a mail in the outbox still speaks of it.
func (t *tx) drop(a *Alert) (ok bool, err error) {
	var owed [][]byte
	for _, address := range append(t.cfg.Plan.known(), "") {
		if t.isHeld(address, a.ID) {
			owed = append(owed, heldKey(address, a.ID))
		}
	}
	if a.Undelivered > 0 || a.Waiting > len(owed) {
		return false, nil
	}
	for _, k := range owed {
		if err := t.Bucket(bucketHeld).Delete(k); err != nil {
			return false, err
		}
	}
	if err := errors.Join(t.stopClock(a), t.stopWaiting(a)); err != nil {
		return false, err
	}
	return true, t.Bucket(bucketAlerts).Delete(number(uint64(a.ID)))
}
