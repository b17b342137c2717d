package main

import (
	"bufio"
	"fmt"
	"iter"
	"slices"
	"time"

	"schoolgate/audit"
	"schoolgate/policy"
)

const (
	// maxViewEvents bounds what is folded at once.
	maxViewEvents = 50_000
	// What a view can reach back and on from an event of it.
	viewBack, viewOn = 10 * time.Minute, 65 * time.Minute
)

// views prints what was done, one line for each thing, with what it brought along
// folded under it. The newest events asked for are folded, as many as are bearable.
func (c *auditSearchCmd) views(s *session, dir audit.Dir, q audit.Query, loc *time.Location) error {
	limit := q.Limit
	q.Newest, q.Limit = true, maxViewEvents
	events, err := c.collect(s, dir, q)
	if err != nil {
		return err
	}
	views := audit.Fold(events)
	whole := len(views)
	if c.Newest {
		slices.Reverse(views)
	}
	if limit > 0 && len(views) > limit {
		views = views[:limit]
	}
	out := bufio.NewWriter(s.stdout)
	table := audit.ViewTable{Location: loc, Width: c.Width}
	fmt.Fprintln(out, table.Head())
	for i := range views {
		fmt.Fprintln(out, table.Line(&views[i]))
	}
	fmt.Fprintf(out, "%s of %s; --view ID shows what came with one\n", counted(whole, "view"), counted(len(events), "event"))
	if len(events) == maxViewEvents {
		fmt.Fprintf(out, "there is more before it: --before %s\n", events[0].ID)
	}
	return out.Flush()
}

// view prints all events of the view that one event belongs to.
func (c *auditSearchCmd) view(s *session, dir audit.Dir, loc *time.Location, veil func(*policy.Event)) error {
	id, err := policy.ParseEventID(c.View)
	if err != nil {
		return fmt.Errorf("--view: %w", err)
	}
	one, err := c.collect(s, dir, audit.Query{After: id - 1, Before: id + 1, Newest: true, Veil: veil})
	if err != nil {
		return err
	}
	if len(one) == 0 {
		return fmt.Errorf("--view: there is no event %s", id)
	}
	e := one[0]
	events, err := c.collect(s, dir, audit.Query{
		Client: e.Client, Device: e.Device, Person: e.Person, From: e.Time.Add(-viewBack), To: e.Time.Add(viewOn), Newest: true, Limit: maxViewEvents, Veil: veil,
	})
	if err != nil {
		return err
	}
	table := audit.NewTable(c.Width)
	table.Location = loc
	out := bufio.NewWriter(s.stdout)
	for _, v := range audit.Fold(events) {
		if v.Head.ID != id && !slices.Contains(v.Folded, id) {
			continue
		}
		fmt.Fprintf(out, "%s: %s, and what came with it\n%s\n", v.Head.ID, v.Began(), table.Head())
		for i := range events {
			if events[i].ID == v.Head.ID || slices.Contains(v.Folded, events[i].ID) {
				fmt.Fprintln(out, table.Line(&events[i]))
			}
		}
		fmt.Fprintln(out, counted(v.Count(), "event"))
	}
	return out.Flush()
}

// collect reads events, asked for newest first, and gives them in order.
func (c *auditSearchCmd) collect(s *session, dir audit.Dir, q audit.Query) (events []policy.Event, err error) {
	var search iter.Seq2[policy.Event, error]
	search, done, err := c.search(s, dir, q)
	if err != nil {
		return nil, err
	}
	defer done()
	for e, err := range search {
		if err != nil {
			return nil, err
		}
		events = append(events, e)
	}
	slices.Reverse(events)
	return events, nil
}
