package index

import (
	"context"
	"errors"
	"iter"
	"slices"

	"schoolgate/audit"
	"schoolgate/policy"
)

// Used is what a search had to do without the index, for the person who searched.
type Used struct {
	Files   int     // asked
	Damaged []error // stretches that should have had a sound file and had none
}

// Search yields what [audit.Dir.Search] would, in the same order, faster. What no
// sound file holds is read from the journal; used tells, when the search is done.
// At most two searches go on at once in a process; more wait their turn.
func (x *Index) Search(ctx context.Context, q audit.Query, used *Used) iter.Seq2[policy.Event, error] {
	if used == nil {
		used = new(Used)
	}
	return func(yield func(policy.Event, error) bool) {
		select {
		case x.turns <- struct{}{}:
			defer func() { <-x.turns }()
		case <-ctx.Done():
			yield(policy.Event{}, ctx.Err())
			return
		}
		list, err := x.survey()
		if err != nil {
			yield(policy.Event{}, err)
			return
		}
		if q.Newest {
			slices.Reverse(list)
		}
		s := search{x: x, ctx: ctx, q: q, matches: q.Matcher(), used: used, yield: yield}
		for _, part := range list {
			if !s.stretch(part) {
				return
			}
		}
	}
}

// search is one search under way. Its methods return false to end it.
type search struct {
	x       *Index
	ctx     context.Context
	q       audit.Query
	matches func(*policy.Event) bool
	used    *Used
	yield   func(policy.Event, error) bool
	found   int
}

func (s *search) stretch(part stretch) bool {
	if s.q.After >= part.last || s.q.Before != 0 && s.q.Before <= part.first {
		return true
	}
	if part.why != nil {
		s.used.Damaged = append(s.used.Damaged, part.why)
	}
	if part.file == nil || part.why != nil {
		return s.journal(part.first, part.last)
	}
	if part.file.Max < lowest(s.q) || part.file.Min >= highest(s.q) {
		return true
	}
	s.used.Files++
	return s.file(part)
}

// lowest and highest are the query's times as the files have them.
func lowest(q audit.Query) int64 {
	if q.From.IsZero() {
		return -1 << 63
	}
	return q.From.UnixNano()
}

func highest(q audit.Query) int64 {
	if q.To.IsZero() {
		return 1<<63 - 1
	}
	return q.To.UnixNano()
}

// journal reads a stretch from the journal.
func (s *search) journal(first, last policy.EventID) bool {
	q := s.q
	q.Veil = nil // give does it
	q.After = max(q.After, first-1)
	if last != endless && (q.Before == 0 || last+1 < q.Before) {
		q.Before = last + 1
	}
	if q.Limit > 0 {
		q.Limit -= s.found
	}
	for e, err := range s.x.journal.Search(s.ctx, q) {
		if err != nil && !s.yield(e, err) || err == nil && !s.give(e) {
			return false
		}
	}
	return true
}

func (s *search) give(e policy.Event) bool {
	s.found++
	if s.q.Veil != nil {
		s.q.Veil(&e)
	}
	return s.yield(e, nil) && (s.q.Limit <= 0 || s.found < s.q.Limit)
}

// file asks a sealed file. Where it turns out to be damaged, the journal is asked
// for what is still wanted of it.
func (s *search) file(part stretch) (more bool) {
	more = true
	first, last := part.first, part.last
	err := s.ask(part.file, func(e *policy.Event) bool {
		if s.q.Newest {
			last = e.ID - 1
		} else {
			first = e.ID + 1
		}
		more = s.give(*e)
		return more
	})
	switch {
	case err == nil || !more:
		return more
	case s.ctx.Err() != nil:
		s.yield(policy.Event{}, s.ctx.Err())
		return false
	case last < first:
		return true
	}
	s.used.Damaged = append(s.used.Damaged, err)
	if errors.Is(err, ErrDamaged) {
		s.x.discard(part.file)
	}
	return s.journal(first, last)
}

// ask yields what a file holds of the query, in order.
func (s *search) ask(h *head, yield func(*policy.Event) bool) error {
	d, err := s.x.open(s.ctx, h)
	if err != nil {
		return err
	}
	p, err := d.plan(s.ctx, &s.q)
	if err == nil && !p.nothing {
		err = d.run(s.ctx, p, s.matches, s.left(), yield)
	}
	return errors.Join(d.trouble(err), d.close())
}

// left is how many events are still wanted, 0 for all.
func (s *search) left() int {
	if s.q.Limit <= 0 {
		return 0
	}
	return s.q.Limit - s.found
}
