package appliance

import (
	"context"
	"errors"
	"time"

	"schoolgate/alerts"
	"schoolgate/blocklists"
	"schoolgate/supply"
)

const (
	// noticeEvery is how often the box looks whether IT and leadership must hear of
	// something. Alerts tells them once a day of each.
	noticeEvery = time.Minute
	// firstNotice leaves a box that starts the time to fetch what it lacks.
	firstNotice = 2 * time.Minute
)

// runNotices tells IT and leadership what waits for them, until ctx is done. It
// looks at what is so, not at what happened, so that a version held back by a
// command, or while the box was off, is told as well.
func (a *Appliance) runNotices(ctx context.Context) error {
	ours := &faults{from: a.registry}
	timer := time.NewTimer(firstNotice)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-timer.C:
		}
		for _, n := range a.notices(time.Now(), ours) {
			a.tellKeepers(ctx, n)
		}
		timer.Reset(noticeEvery)
	}
}

func (a *Appliance) tellKeepers(ctx context.Context, n alerts.Notice) {
	service := a.alerts.current.Load()
	queued, err := service.Notice(ctx, n)
	if err != nil && ctx.Err() == nil && !errors.Is(err, alerts.ErrNoRoom) { // the disk of the outbox takes nothing
		a.log.Error("notice to IT and leadership cannot be kept, sending it at once", "about", string(n.Kind), "err", err)
		queued, err = service.Outright(ctx, n)
	}
	switch {
	case err != nil && ctx.Err() == nil:
		a.log.Error("notice to IT and leadership not taken, trying again in a minute", "about", string(n.Kind), "err", err)
	case queued > 0:
		a.log.Warn("IT and leadership are told by mail", "about", string(n.Kind), "feed", n.Feed, "version", n.Version, "mails", queued)
	}
}

// notices is what a person must be told of now.
func (a *Appliance) notices(now time.Time, ours *faults) (list []alerts.Notice) {
	if a.journal.Err() != nil {
		list = append(list, alerts.Notice{Kind: alerts.NoticeClosed})
	}
	if n, err := ours.lately(now); err != nil {
		a.log.Error("faults not counted", "err", err)
	} else if n >= manyFaults {
		list = append(list, alerts.Notice{Kind: alerts.NoticeFaults, Count: n})
	}
	if status, err := supply.StatusOf(a.config.Load(), now); err == nil { // else readiness says it
		list = append(list, supplyNotices(status)...)
	}
	list = append(list, a.diskNotices()...)
	if dead := a.alerts.current.Load().Status().Dead; dead > 0 {
		list = append(list, alerts.Notice{Kind: alerts.NoticeUnheard, Count: dead})
	}
	return list
}

// supplyNotices are a version that is held back (F14) and mandatory lists that are
// red (I2).
func supplyNotices(s supply.Status) (list []alerts.Notice) {
	if h := s.Held; h != nil {
		open := map[string]bool{} // one host may be found by several lists of the school
		for _, m := range h.MustOpen {
			open[m.Host] = true
		}
		list = append(list, alerts.Notice{
			Kind: alerts.NoticeHeld, Version: h.Version, Since: h.Since, Count: len(open), Used: h.BlockedHosts,
		})
	}
	for _, f := range s.Feeds {
		if f.Kind == blocklists.Mandatory && f.State == blocklists.Red && !f.Synthetic {
			list = append(list, alerts.Notice{Kind: alerts.NoticeRed, Feed: f.Name, Since: f.Fresh})
		}
	}
	return list
}
