package audit

import (
	"fmt"
	"time"

	"schoolgate/policy"
)

// syncLoop takes what was written to the disk: at once for flagged events,
// within syncEvery for the rest. Close ends it.
func (j *Journal) syncLoop() {
	defer close(j.done)
	timer := time.NewTimer(time.Hour)
	timer.Stop()
	defer timer.Stop()
	for {
		select {
		case <-j.flagged:
			j.sync(false)
		case <-j.unsynced:
			timer.Reset(syncEvery)
		case <-timer.C:
			j.sync(true)
		case <-j.quit:
			j.sync(false)
			return
		}
	}
}

// sync takes everything written so far to the disk and answers the callers that
// wait for it. After a failure the kernel may have dropped the pages, and a
// second try would say that all is well: so the segment is not used again.
func (j *Journal) sync(onTimer bool) {
	j.syncMu.Lock()
	defer j.syncMu.Unlock()
	j.mu.Lock()
	round, end, f := j.round, j.end, j.file
	dirty := end.seq > j.synced
	j.round = newRound()
	if onTimer {
		j.armed = false
	}
	j.mu.Unlock()

	var err error
	if f != nil && dirty {
		start := time.Now()
		if err = f.Sync(); err == nil {
			j.metrics.fsync.Observe(time.Since(start).Seconds())
		}
	}
	j.mu.Lock()
	if err != nil {
		err = fmt.Errorf("sync: %w", err)
		j.failure, j.drop, round.err = err, true, err
		j.metrics.errors.Inc()
	} else if f != nil {
		j.onDisk(end.seq)
	}
	close(round.done)
	j.mu.Unlock()
	if err != nil {
		j.log.Error("journal not synced, going on in a new segment", "err", err)
	} else if onTimer && f != nil {
		j.keepUp(end)
	}
}

// keepUp is the housekeeping after a timed sync: the head, which may only name
// what is on disk, and the reserve, if it had to be freed.
func (j *Journal) keepUp(end mark) {
	if err := j.putHead(end); err != nil {
		j.log.Warn("journal head not written", "err", err)
		j.metrics.errors.Inc()
	}
	j.reserve()
}

func (j *Journal) putHead(end mark) error {
	if end.seq == 0 {
		return nil
	}
	return j.head.put(end.head())
}

// onDisk lets followers read up to an event. The lock is held.
func (j *Journal) onDisk(upTo policy.EventID) {
	if upTo <= j.synced {
		return
	}
	j.synced = upTo
	j.metrics.lastSync.SetToCurrentTime()
	close(j.grown)
	j.grown = make(chan struct{})
}

// durable is the last event on disk, a channel that is closed when there are
// more, and whether the journal has been closed so that there will be none.
func (j *Journal) durable() (last policy.EventID, more <-chan struct{}, closed bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	select {
	case <-j.grown:
		closed = true // Close leaves it closed
	default:
	}
	return j.synced, j.grown, closed
}
