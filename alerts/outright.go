package alerts

import (
	"context"
	"errors"
	"time"
)

// Outright sends a notice without the outbox, for when the disk that it lies on takes
// nothing (F4): everybody whom [Service.Notice] would have told is tried once, now, and
// the call returns when all were. It may be repeated as often as the trouble is seen: once
// somebody was reached, this process keeps silent of it for a day. It reports how many
// were reached, and what became of the others.
func (s *Service) Outright(ctx context.Context, n Notice) (reached int, err error) {
	if s.cfg.Mailer == nil || !s.outrightDue(n.key()) {
		return 0, nil
	}
	now := time.Now()
	for i, to := range s.cfg.Plan.keepers() {
		m := &Mail{ID: uint64(i), Kind: kindNotice, To: to, Severity: 2, Notice: &n, First: now, Queued: now, Born: now.Unix()}
		if e := s.mailer(to).Send(ctx, s.message(m)); e != nil {
			err = errors.Join(err, e)
			continue
		}
		reached++
	}
	if reached > 0 {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.outright[n.key()] = now
	}
	return reached, err
}

func (s *Service) outrightDue(key string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	told, ok := s.outright[key]
	return !s.closed && (!ok || time.Since(told) >= noticeEvery)
}

// mailer is what carries a message there.
func (s *Service) mailer(to string) Mailer {
	if lane(to) != "" {
		return s.cfg.Hooks
	}
	return s.cfg.Mailer
}
