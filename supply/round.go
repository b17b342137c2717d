package supply

import (
	"context"
	"errors"
	"time"

	"schoolgate/blocklists"
)

const (
	// LongestWait is how long the box goes without a look at its feed file.
	LongestWait = 5 * time.Minute
	// busyWait is how long it waits for a command that fetches.
	busyWait = 10 * time.Second
	// buildSpacing is how far apart builds are that only public lists ask for. A
	// mandatory list is built at once.
	buildSpacing = time.Hour
)

// Round does what is due by a schedule, unless somebody else is at it, and says how
// long nothing is.
func (s *Supply) Round(ctx context.Context, schedule blocklists.Schedule) (time.Duration, error) {
	if version, _, err := s.current(); err == nil && len(s.fetched()) == 0 && !s.mendable() && !s.upgraded(version) {
		return LongestWait, nil
	}
	unlock, err := s.cache.Lock()
	if errors.Is(err, blocklists.ErrBusy) {
		return busyWait, nil
	}
	if err != nil {
		return LongestWait, err
	}
	wait, err := s.round(ctx, schedule)
	return wait, errors.Join(err, unlock())
}

// round fetches what is due and settles it. The lock is held.
func (s *Supply) round(ctx context.Context, schedule blocklists.Schedule) (time.Duration, error) {
	due, _ := s.due(schedule)
	if len(due) > 0 {
		s.fetch(ctx, due, FetchRequest{scheduled: true})
	}
	if ctx.Err() != nil {
		return 0, nil
	}
	var err error
	if s.buildDue(time.Now()) {
		_, err = s.settle(ctx, nil)
		err = errors.Join(err, s.sweep())
	}
	_, next := s.due(schedule)
	return next, err
}

func (s *Supply) fetched() []blocklists.Feed {
	feeds, _ := s.named(nil) // no feed with an address is no error here
	return feeds
}

// due are the feeds to be fetched now, and how long it is to the next.
func (s *Supply) due(schedule blocklists.Schedule) (due []blocklists.Feed, next time.Duration) {
	next = LongestWait
	for _, f := range s.fetched() {
		state, _ := s.cache.State(&f) // a damaged state is empty, so the feed is due
		now := time.Now()
		at := schedule.Next(&f, state, now)
		if !at.After(now) {
			due = append(due, f)
		}
		next = min(next, max(0, at.Sub(now)))
	}
	return due, next
}

// buildDue reports whether new content may be built now: at once where a
// mandatory list or the first fetched content asks for it, else in spaces.
func (s *Supply) buildDue(now time.Time) bool {
	version, have, err := s.current()
	if err != nil || have == nil {
		return true
	}
	want := s.wanted()
	before, _ := s.split(have)
	if mandatory, _ := s.split(want); !mandatory.equal(before) {
		return true
	}
	store, _, err := s.dir.OpenLastGood(s.key)
	if err != nil || store.Version() != version {
		return true
	}
	age := now.Sub(store.Info().Built)
	return age > buildSpacing || age < 0
}
