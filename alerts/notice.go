package alerts

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// NoticeKind says what those who look after the box must know of.
type NoticeKind string

// The kinds of notices.
const (
	NoticeHeld    NoticeKind = "held"        // a new version of the lists waits for a person (F14)
	NoticeRed     NoticeKind = "red"         // a mandatory list can no longer be relied upon (I2)
	NoticeUnheard NoticeKind = "undelivered" // alert mails were given up
	NoticeDisk    NoticeKind = "disk"        // the disk fills (F3)
	NoticeClosed  NoticeKind = "closed"      // nothing can be recorded, so nobody is served (F3, F4)
	NoticeFaults  NoticeKind = "faults"      // our own code fails again and again (F26)
	NoticeAlive   NoticeKind = "alive"       // the box works and can send (T19)
)

// Notice is news of the box itself for IT and leadership. It has no field that a
// name, address, site or search could be put in (privacy 7).
type Notice struct {
	Kind    NoticeKind `json:"kind"`
	Feed    string     `json:"feed,omitempty"`    // of NoticeRed; one that is not plain is not named
	Version uint64     `json:"version,omitempty"` // of NoticeHeld
	Since   time.Time  `json:"since,omitzero"`    // zero: from the beginning
	// Count is the mails given up; of a version held back, the protected sites it
	// would block; of a disk, how much of it is in use, in a hundred; the faults within
	// an hour.
	Count int `json:"count,omitempty"`
	Used  int `json:"used,omitempty"` // sites in use last week that it would block
}

// key is what a notice is about: told once a day, and waiting only once.
func (n *Notice) key() string {
	switch n.Kind {
	case NoticeHeld:
		return fmt.Sprintf("%s %d", n.Kind, n.Version)
	case NoticeRed:
		return fmt.Sprintf("%s %s", n.Kind, n.Feed)
	case NoticeDisk:
		return fmt.Sprintf("%s %d", n.Kind, n.Count/diskStep) // told anew when it is worse
	}
	return string(n.Kind)
}

const (
	noticeEvery = 24 * time.Hour // as long as it is so, a reminder a day
	maxNotices  = 50             // notices that wait; further ones are refused until there is room
	diskStep    = 10             // of a disk in use, in a hundred: 80 and 90 are two things to tell
	maxFeedName = 200            // of a key, in bytes
)

// ErrNoRoom is the answer to a notice while the outbox is full of them.
var ErrNoRoom = errors.New("alerts: too many notices wait for the mail server")

// Notice queues a mail to IT and leadership, on the disk before it returns. It
// may be called as often as the trouble is seen: each person gets one mail a day
// of it, and none while the last still waits. It reports how many were queued.
func (s *Service) Notice(ctx context.Context, n Notice) (queued int, err error) {
	if len(n.Feed) > maxFeedName {
		n.Feed = n.Feed[:maxFeedName]
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed || ctx.Err() != nil {
		return 0, errors.Join(errors.New("alerts: notice not taken: closing"), ctx.Err())
	}
	if told, ok := s.outright[n.key()]; ok && time.Since(told) < noticeEvery {
		return 0, nil
	}
	due := false
	if err := s.ledger.view(func(t *tx) (err error) { due, err = t.noticeDue(n.key()); return err }); err != nil || !due {
		return 0, err
	}
	err = s.ledger.update(func(t *tx) error { queued, err = t.notify(&n); return err })
	if err != nil {
		return 0, err
	}
	if queued > 0 {
		s.wakeSenders()
	}
	return queued, nil
}

// noticeDue reports whether nobody was told within a day.
func (t *tx) noticeDue(key string) (bool, error) {
	var told time.Time
	ok, err := t.get(bucketNotices, []byte(key), &told)
	return !ok || over(told.Add(noticeEvery), t.now, noticeEvery), err
}

// notify makes a mail for each person who looks after the box.
func (t *tx) notify(n *Notice) (queued int, err error) {
	to := t.cfg.Plan.keepers()
	if n.Kind == NoticeAlive {
		to = unique(append(t.cfg.Plan.holders(RoleDSL), t.cfg.Plan.holders(RoleIT)...))
	}
	if len(to) == 0 {
		return 0, nil // nobody is named; it stays in the log and on the page of readiness
	}
	list, err := t.mails()
	if err != nil {
		return 0, err
	}
	list = slices.DeleteFunc(list, func(m *Mail) bool { return m.Notice == nil })
	if len(list)+len(to) > maxNotices {
		return 0, ErrNoRoom
	}
	if err := t.forgetNotices(); err != nil {
		return 0, err
	}
	for _, address := range to {
		if slices.ContainsFunc(list, func(m *Mail) bool { return m.To == address && m.Notice.key() == n.key() }) {
			continue
		}
		m := &Mail{Kind: kindNotice, To: address, Severity: 2, Notice: n, First: t.now, Queued: t.now, Next: t.now, Born: t.now.Unix()}
		if m.ID, err = t.Bucket(bucketMails).NextSequence(); err != nil {
			return 0, err
		}
		if err := t.putMail(m); err != nil {
			return 0, err
		}
		queued++
	}
	if n.Kind == NoticeAlive {
		t.queued += queued
		return queued, nil
	}
	return queued, t.put(bucketNotices, []byte(n.key()), t.now)
}

// forgetNotices drops what was told longer ago than a day: it would be told again.
func (t *tx) forgetNotices() error {
	var old [][]byte
	err := t.Bucket(bucketNotices).ForEach(func(k, v []byte) error {
		var told time.Time
		if err := decode(v, &told); err != nil {
			return err
		}
		if string(k) != string(NoticeAlive) && over(told.Add(noticeEvery), t.now, noticeEvery) {
			old = append(old, slices.Clone(k))
		}
		return nil
	})
	for _, k := range old {
		err = errors.Join(err, t.Bucket(bucketNotices).Delete(k))
	}
	return err
}

// alive sends the sign of life that is due. It says that silence means that there
// was nothing, and tells no number.
func (t *tx) alive(next *time.Time) error {
	p := &t.cfg.Plan
	if p.Alive == Never {
		return nil
	}
	key := []byte(NoticeAlive)
	var due time.Time
	ok, err := t.get(bucketNotices, key, &due)
	if err != nil {
		return err
	}
	if ok && !over(due, t.now, aliveAtMost) {
		sooner(next, due)
		return nil
	}
	if ok { // not at the very first start, when nothing was missed yet
		if _, err := t.notify(&Notice{Kind: NoticeAlive}); err != nil && !errors.Is(err, ErrNoRoom) {
			return err
		}
	}
	due = p.Hours.schoolDayAfter(t.now, p.Hours.begin())
	if p.Alive == Weekly {
		due = p.Hours.schoolDayAfter(p.Hours.at(t.now, 6-(int(t.now.In(p.Hours.zone()).Weekday())+6)%7, 0), p.Hours.begin())
	}
	sooner(next, due)
	return t.put(bucketNotices, key, due)
}

// aliveAtMost is the longest that a sign of life is away: longer is a clock that
// was set back.
const aliveAtMost = maxClosed * 24 * time.Hour

// dropNotice takes a notice off the outbox that will not be sent. If it still
// holds, the next call of Notice tells whoever is configured then.
func (t *tx) dropNotice(m *Mail) error {
	err := t.Bucket(bucketMails).Delete(number(m.ID))
	if m.Notice.Kind == NoticeAlive {
		return err // the next one comes at its hour
	}
	return errors.Join(err, t.Bucket(bucketNotices).Delete([]byte(m.Notice.key())))
}

// plainFeed is a feed's name as a mail may hold it.
func plainFeed(name string) string {
	odd := func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && !strings.ContainsRune("-_.", r)
	}
	if name == "" || len(name) > 64 || strings.ContainsFunc(name, odd) {
		return ""
	}
	return name
}
