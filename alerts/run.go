package alerts

import (
	"context"
	"errors"
	"math/rand/v2"
	"strings"
	"time"

	"schoolgate/policy"
)

// item is what the reader hands the keeper: an event of concern, or how far the
// journal was read without one.
type item struct {
	event *policy.Event
	upto  policy.EventID
}

// Unflagged events move the cursor on disk only once in so many: after a restart
// a few are read again, which is harmless.
const cursorEvery = 4096

// read follows the journal until ctx is done, taking it up again where it broke off.
func (s *Service) read(ctx context.Context, items chan<- item) {
	after, err := s.ledger.position()
	for tries := 0; err != nil; tries++ {
		s.stateTrouble("cursor of alerts not read", err)
		if !pause(ctx, jitter(tries, time.Second, time.Minute)) {
			return
		}
		after, err = s.ledger.position()
	}
	for tries := 0; ctx.Err() == nil; tries++ {
		from := after
		after, err = s.follow(ctx, after, items)
		if ctx.Err() != nil {
			return
		}
		s.metrics.sourceErrors.Inc()
		s.log.Warn("journal not followed for alerts, trying again", "err", err)
		if s.cfg.Ahead != nil && errors.Is(err, s.cfg.Ahead) && after == from {
			after = s.startOver(after)
		}
		if after != from {
			tries = 0
		}
		pause(ctx, jitter(tries, time.Second, time.Minute))
	}
}

// startOver begins a journal that took the place of a lost one. To go on behind
// a number it reaches in a year would be silence till then.
func (s *Service) startOver(after policy.EventID) policy.EventID {
	if err := s.ledger.restart(); err != nil {
		s.stateTrouble("cursor of alerts not set back", err)
		return after
	}
	s.log.Error("the journal was lost or replaced: alerts read the new one from its beginning", "cursor", after.String())
	return 0
}

var errEnded = errors.New("the journal ended")

// maxGaps bounds the errors in a row within one sequence, lest a source that only
// fails keep the processor busy.
const maxGaps = 1000

func (s *Service) follow(ctx context.Context, after policy.EventID, items chan<- item) (policy.EventID, error) {
	marked := after
	gaps, ended := 0, errEnded
	for ev, err := range s.cfg.Source.Follow(ctx, after) {
		if err != nil {
			s.log.Error("part of the journal cannot be read; flagged events in it raise no alert", "err", err)
			s.metrics.sourceErrors.Inc()
			ended = err
			if gaps++; gaps == maxGaps {
				break
			}
			continue
		}
		gaps = 0
		if ev.ID <= after {
			continue
		}
		it := item{upto: ev.ID}
		if ofConcern(&ev) {
			it.event = keepable(ev)
		} else if ev.ID-marked < cursorEvery {
			after = ev.ID
			continue
		}
		select {
		case items <- it:
			after, marked = ev.ID, ev.ID
		case <-ctx.Done():
			return after, ctx.Err()
		}
	}
	return after, ended
}

// ofConcern reports whether an event may change an alert: it is flagged, a try to
// get round the filter, or an answer.
func ofConcern(ev *policy.Event) bool { return ev.Flagged() || bypassKind(ev) != "" || isAct(ev) }

// keepable is the event with strings of its own: the journal's share the memory
// of a whole frame.
func keepable(ev policy.Event) *policy.Event {
	kept := &policy.Event{
		ID: ev.ID, Time: ev.Time, Door: ev.Door, Pupil: ev.Pupil,
		Verdict: ev.Verdict, Reason: ev.Reason, Category: ev.Category, Severity: ev.Severity,
		Client: strings.Clone(ev.Client), Device: strings.Clone(ev.Device), Profile: strings.Clone(ev.Profile),
		Person: strings.Clone(ev.Person), Theme: strings.Clone(ev.Theme), Finding: strings.Clone(ev.Finding),
		Act: strings.Clone(ev.Act), Subject: strings.Clone(ev.Subject), Note: strings.Clone(ev.Note),
	}
	if bypassKind(&ev) != "" {
		kept.Host = strings.Clone(ev.Host) // tells one try from another, for as long as they are counted
	}
	return kept
}

// keep writes what the reader brings and does what time asks for. It alone
// changes alerts, so an event and the end of its quiet period cannot race.
func (s *Service) keep(ctx context.Context, items <-chan item) {
	next := s.tick(ctx)
	for {
		wait := time.NewTimer(time.Until(next))
		select {
		case <-ctx.Done():
			wait.Stop()
			return
		case it := <-items:
			events, upto := batch(it, items)
			out := s.absorb(ctx, events, upto)
			// A new alert may be the first to fall due; what is owed falls due
			// when a mail window ends, which tick knows.
			sooner(&next, time.Now().Add(s.cfg.Quiet))
			if out.held {
				sooner(&next, time.Now().Add(time.Second))
			}
		case <-wait.C:
			next = s.tick(ctx)
		}
		wait.Stop()
	}
}

// batch is the item and what else is waiting, up to 256, for one commit.
func batch(it item, items <-chan item) (events []policy.Event, upto policy.EventID) {
	for {
		if it.event != nil {
			events = append(events, *it.event)
		}
		upto = it.upto
		if len(events) == 256 {
			return events, upto
		}
		select {
		case it = <-items:
		default:
			return events, upto
		}
	}
}

// absorb writes a batch, trying again until it is on disk: the events stay in
// the journal, and nothing behind them is read.
func (s *Service) absorb(ctx context.Context, events []policy.Event, upto policy.EventID) outcome {
	for tries := 0; ; tries++ {
		out, err := s.ledger.absorb(events, upto)
		if err == nil {
			s.happened(out)
			return out
		}
		s.stateTrouble("alerts not written, trying again", err)
		if !pause(ctx, jitter(tries, time.Second, time.Minute)) {
			return outcome{}
		}
	}
}

func (s *Service) tick(ctx context.Context) (next time.Time) {
	out, next, err := s.ledger.tick()
	if err != nil {
		s.stateTrouble("alerts not brought up to date, trying again", err)
		return time.Now().Add(5 * time.Second)
	}
	s.happened(out)
	return next
}

// happened tells the metrics, the sender and the list of a committed step.
func (s *Service) happened(out outcome) {
	s.setStateTrouble(nil)
	for _, severity := range out.opened {
		s.metrics.opened.WithLabelValues(severityLabel(severity)).Inc()
	}
	s.metrics.folded.Add(float64(out.folded))
	if out.untold > 0 {
		s.metrics.untold.Add(float64(out.untold))
		s.log.Error("alerts dropped before anybody was told: too many, and nobody is configured to hear of them", "count", out.untold)
	}
	for _, a := range out.acked {
		s.metrics.answer.WithLabelValues(severityLabel(a.severity)).Observe(a.after.Minutes())
	}
	s.metrics.late.Add(float64(out.late))
	if out.nobody > 0 {
		s.log.Error("NOBODY CAN BE TOLD OF AN ALERT: it waits on the box; name a mail server, and dsl, head and chair under alerts: recipients:", "count", out.nobody)
	}
	if out.mails {
		s.wakeSenders()
	}
	poke(s.changed)
}

// send empties a lane of the outbox until ctx is done.
func (s *Service) send(ctx context.Context, by string) {
	// The mail under way when ctx ends gets five seconds to finish.
	sending, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	defer context.AfterFunc(ctx, func() {
		if pause(sending, 5*time.Second) {
			cancel()
		}
	})()
	g := gate{}
	for ctx.Err() == nil {
		m, wake, err := s.ledger.due(by)
		if err != nil {
			s.stateTrouble("outbox not read, trying again", err)
			pause(ctx, 5*time.Second)
			continue
		}
		if wait := time.Until(g.until); m != nil && wait > 0 {
			pause(ctx, wait)
			continue
		}
		if m == nil {
			s.waitForMail(ctx, by, wake)
			continue
		}
		s.deliver(ctx, sending, m, &g)
	}
}

func (s *Service) waitForMail(ctx context.Context, by string, wake time.Time) {
	wait := time.Hour
	if !wake.IsZero() {
		wait = min(wait, time.Until(wake))
	}
	t := time.NewTimer(wait)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-s.mailReady[by]:
	case <-t.C:
	}
}

// gate keeps away from a server that cannot be reached. It is of this process
// only: after a restart the server is tried at once.
type gate struct {
	until time.Time
	tries int
}

func (g *gate) shut(t Trouble) {
	longest := 5 * time.Minute
	if t == TroubleAuth { // a server locks out who keeps guessing
		longest = 30 * time.Minute
	}
	g.until = time.Now().Add(jitter(g.tries, 5*time.Second, longest))
	g.tries++
}

// deliver tries one mail and writes down how it went.
func (s *Service) deliver(ctx, sending context.Context, m *Mail, g *gate) {
	err := s.mailer(m.To).Send(sending, s.message(m))
	trouble := TroubleNone
	if err != nil {
		trouble = troubleOf(err)
	}
	if err != nil && ctx.Err() != nil && sending.Err() != nil {
		return // cut off by our own end: no fault of the server's
	}
	s.metrics.sends.WithLabelValues(trouble.label()).Inc()
	s.sendHealth(trouble)
	if err == nil {
		*g = gate{}
		s.strikeOff(ctx, m)
		return
	}
	if trouble.session() {
		g.shut(trouble)
	} else {
		*g = gate{}
	}
	s.log.Warn("alert mail not sent, kept for another try", "alert", m.name(), "trouble", string(trouble), "tries", m.Attempts+1, "err", err)
	died, err := s.ledger.failed(m, trouble)
	if err != nil {
		s.stateTrouble("failed try not written", err)
		g.shut(trouble)
		return
	}
	if died > 0 {
		s.log.Error("alert mails given up after a week; they are kept and told once the person can be reached", "count", died)
	}
	poke(s.changed)
}

// strikeOff records that the server has the mail, and does nothing else before
// that is on disk: in this process a mail that was taken is not sent again.
func (s *Service) strikeOff(ctx context.Context, m *Mail) {
	for tries := 0; ; tries++ {
		err := s.ledger.sent(m)
		if err == nil {
			s.setStateTrouble(nil)
			s.log.Info("alert mail sent", "alert", m.name(), "tries", m.Attempts+1)
			poke(s.changed)
			return
		}
		s.stateTrouble("sent mail not struck off, trying again", err)
		if !pause(ctx, jitter(tries, time.Second, time.Minute)) {
			return
		}
	}
}

// jitter is a random wait, up to twice the last one's bound and never above
// longest (full jitter), so that many waiters do not come back together.
func jitter(tries int, first, longest time.Duration) time.Duration {
	bound := longest
	if tries < 20 && first<<tries < longest {
		bound = first << tries
	}
	return max(time.Second/2, rand.N(bound))
}
