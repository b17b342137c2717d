package blocklists

import (
	"hash/maphash"
	"time"
)

// Schedule says when an address is asked next. Two boxes never agree on it, so
// that a publisher's server is not asked by every school at once, and one box
// always gives the same answer for the same try.
type Schedule struct {
	seed    maphash.Seed
	started time.Time
}

// NewSchedule makes the schedule of one box, for one run of it.
func NewSchedule(started time.Time) Schedule { return Schedule{maphash.MakeSeed(), started} }

// Bounds of the wait after failures: it doubles from the first to the last.
const (
	firstRetry = time.Minute
	lastRetry  = time.Hour
	leastRetry = 10 * time.Second
	// jitter is how much of the interval a look may come earlier or later.
	jitter = 0.1
	// firstLook spreads the first look at a feed after a start.
	firstLook = 20 * time.Second
)

// Next is when to ask. A time in the past is now. A try that lies in the future,
// because the clock was set back, counts as none (fault F12).
func (s Schedule) Next(f *Feed, state State, now time.Time) time.Time {
	share := s.share(f.Remote.URL, state.Tried)
	if state.Tried.IsZero() || state.Tried.After(now) || state.URL != f.Remote.URL {
		return s.started.Add(time.Duration(share * float64(firstLook)))
	}
	interval := f.Supply().Interval
	if f.Remote.DeltaURL != "" {
		interval = min(interval, f.Supply().DeltaInterval)
	}
	if state.Failures == 0 {
		return state.Tried.Add(time.Duration(float64(interval) * (1 - jitter + 2*jitter*share)))
	}
	at := state.Tried.Add(min(backoff(state.Failures, share), interval))
	if state.After.After(at) && state.After.Before(now.Add(maxRetryAfter)) {
		return state.After
	}
	return at
}

// backoff waits a random part (full jitter) of a time that doubles.
func backoff(failures int, share float64) time.Duration {
	most := lastRetry
	if failures < 10 {
		most = min(lastRetry, firstRetry<<(failures-1))
	}
	return leastRetry + time.Duration(share*float64(most-leastRetry))
}

// share is a number from 0 to 1 that differs by box, address and try.
func (s Schedule) share(address string, tried time.Time) float64 {
	var h maphash.Hash
	h.SetSeed(s.seed)
	h.WriteString(address)
	h.WriteString(tried.UTC().Format(time.RFC3339Nano))
	return float64(h.Sum64()>>11) / (1 << 53)
}
