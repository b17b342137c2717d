package main

import (
	"fmt"
	"iter"
	"time"

	"schoolgate/appliance"
	"schoolgate/audit"
	"schoolgate/audit/index"
	"schoolgate/policy"
)

// search is the events asked for, by the index of the configuration's own journal
// where there is one; another folder's journal is read itself. Call done when
// finished: it tells where an index file could not be used.
func (c *auditQuery) search(s *session, dir audit.Dir, q audit.Query) (_ iter.Seq2[policy.Event, error], done func(), err error) {
	cfg, err := c.load(s)
	if err != nil {
		return nil, nil, err
	}
	if c.NoIndex || dir != audit.In(cfg.Box.Data) {
		return dir.Search(s.ctx, q), func() {}, nil
	}
	x, err := appliance.Index(cfg)
	if err != nil {
		return nil, nil, err
	}
	var used index.Used
	return x.Search(s.ctx, q, &used), func() {
		if n := len(used.Damaged); n > 0 {
			fmt.Fprintf(s.stderr, "schoolgate: note: %d parts of the index cannot be used (%v); the journal was read instead, and the appliance makes them anew\n",
				n, used.Damaged[0])
		}
		if err := x.Close(); err != nil {
			fmt.Fprintln(s.stderr, "schoolgate: note:", err)
		}
	}, nil
}

type auditReindexCmd struct {
	configFlag
	Day string `help:"Only this day of the school, e.g. 2026-11-24." placeholder:"DAY"`
}

// Run makes the index anew, by the appliance if it runs.
func (c *auditReindexCmd) Run(s *session) error {
	if c.Day != "" {
		if _, err := time.Parse(time.DateOnly, c.Day); err != nil {
			return fmt.Errorf("--day: bad day %q: want one such as 2026-11-24", c.Day)
		}
	}
	cfg, err := c.load(s)
	if err != nil {
		return err
	}
	said, err := appliance.Reindex(s.ctx, cfg, c.Day)
	if err == nil {
		_, err = fmt.Fprintln(s.stdout, said)
	}
	return err
}
