package index

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"schoolgate/audit"
	"schoolgate/policy"
)

// A file is asked by one index of one column (or of a few, for a text), the one
// with the fewest events by the counts kept with the names; everything else
// narrows those rows down. Where even that one has a good part of the file's
// events, rows are read by number, in order, until enough are found.

// choice is a column that must have one of some values.
type choice struct {
	column string
	ids    []int64
	events int64
	none   bool // having no value will do as well
}

// condition is the choice as SQL.
func (c *choice) condition() string {
	in := c.column + " IN (" + joined(c.ids) + ")"
	switch {
	case c.none && len(c.ids) == 0:
		return c.column + " IS NULL"
	case c.none:
		return "(" + c.column + " IS NULL OR " + in + ")"
	}
	return in
}

func joined(ids []int64) string {
	var b strings.Builder
	for i, id := range ids {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString(strconv.FormatInt(id, 10))
	}
	return b.String()
}

// plan is how a file is asked.
type plan struct {
	nothing bool     // the file holds nothing of it
	where   []string // true of every row wanted
	after   int64
	before  int64
	drivers []choice // rows are found by these columns' indexes; none reads by number
	newest  bool
}

// maxIDs bounds the values looked up one by one; more are read by number.
const maxIDs = 2000

// plan looks up what the query names.
func (d *database) plan(ctx context.Context, q *audit.Query) (p plan, err error) {
	p = plan{after: int64(q.After), before: 1<<63 - 1, newest: q.Newest}
	if q.Before != 0 {
		p.before = int64(q.Before)
	}
	if err := d.planTime(ctx, q, &p); err != nil || p.nothing {
		return p, err
	}
	choices, err := d.choices(ctx, q)
	if err != nil {
		return p, err
	}
	var best *choice
	for i := range choices {
		c := &choices[i]
		if len(c.ids) == 0 && !c.none {
			p.nothing = true
			return p, nil
		}
		p.where = append(p.where, c.condition())
		if !c.none && columnIndexed(c.column) && (best == nil || c.events < best.events) {
			best = c
		}
	}
	if best != nil {
		p.drivers = []choice{*best}
	}
	if q.Text != "" {
		if err := d.planText(ctx, q.Text, &p); err != nil {
			return p, err
		}
	}
	var events, ids int64
	for _, c := range p.drivers {
		events, ids = events+c.events, ids+int64(len(c.ids))
	}
	if ids > maxIDs || events > int64(d.s.head.Events)/4 {
		p.drivers = nil
	}
	return p, nil
}

func columnIndexed(name string) bool {
	for _, c := range columns {
		if c.name == name {
			return c.indexed
		}
	}
	return true
}

// planTime turns times into numbers, by the table of stretches. It holds whatever
// the clock did.
func (d *database) planTime(ctx context.Context, q *audit.Query, p *plan) error {
	from, to := lowest(*q), highest(*q)
	if from <= d.s.head.Min && to > d.s.head.Max {
		return nil
	}
	var first, last *int64
	err := d.conn.QueryRowContext(ctx, "SELECT min(first), max(last) FROM stretch WHERE max>=? AND min<?", from, to).Scan(&first, &last)
	if err != nil {
		return err
	}
	if first == nil {
		p.nothing = true
		return nil
	}
	p.after, p.before = max(p.after, *first-1), min(p.before, *last+1)
	p.where = append(p.where, fmt.Sprintf("t>=%d AND t<%d", from, to))
	return nil
}

// choices are the columns the query narrows.
func (d *database) choices(ctx context.Context, q *audit.Query) (list []choice, err error) {
	add := func(column int, none bool, where string, args ...any) {
		if err == nil {
			var c choice
			c, err = d.choice(ctx, column, where, args...)
			c.none = none
			list = append(list, c)
		}
	}
	exact := func(column int, text string) {
		if text != "" {
			add(column, false, "text=?", text)
		}
	}
	exact(colDevice, q.Device)
	exact(colPerson, q.Person)
	exact(colGroup, q.Group)
	exact(colProfile, q.Profile)
	exact(colTheme, q.Theme)
	exact(colUse, q.Use.String())
	if q.Category != policy.Uncategorised {
		exact(colCategory, q.Category.String())
	}
	if host := strings.Trim(strings.TrimPrefix(strings.ToLower(q.Host), "*"), "."); host != "" {
		r := reversed(host)
		// One range, which the index of names finds in one go ('-' lies before '.').
		add(colHost, false, "text>=? AND text<? AND (text=? OR text>=?)", r, r+"/", r, r+".")
	}
	if q.Flagged || q.Severity > 0 {
		add(colSeverity, false, "CAST(text AS INTEGER)>=?", max(q.Severity, 1))
	}
	if len(q.Verdicts) > 0 {
		var marks []string
		var args []any
		for _, v := range q.Verdicts {
			marks, args = append(marks, "?"), append(args, v.String())
		}
		add(colVerdict, slices.Contains(q.Verdicts, policy.Allow), "text IN ("+strings.Join(marks, ",")+")", args...)
	}
	if q.Client != "" && err == nil {
		var c choice
		c, err = d.clients(ctx, q.Client)
		list = append(list, c)
	}
	return list, err
}

// choice looks up names of a column.
func (d *database) choice(ctx context.Context, column int, where string, args ...any) (c choice, err error) {
	c.column = columns[column].name
	rows, err := d.conn.QueryContext(ctx, "SELECT id, events FROM name WHERE kind="+strconv.Itoa(column)+" AND "+where, args...)
	if err != nil {
		return c, err
	}
	defer rows.Close()
	for rows.Next() {
		var id, events int64
		if err := rows.Scan(&id, &events); err != nil {
			return c, err
		}
		c.ids, c.events = append(c.ids, id), c.events+events
	}
	return c, rows.Err()
}

// clients looks up an address or a range of addresses.
func (d *database) clients(ctx context.Context, want string) (choice, error) {
	if a, err := netip.ParseAddr(want); err == nil {
		want = a.Unmap().String()
	}
	within, err := netip.ParsePrefix(want)
	if err != nil {
		return d.choice(ctx, colClient, "text=?", want)
	}
	c := choice{column: columns[colClient].name}
	rows, err := d.conn.QueryContext(ctx, "SELECT id, events, text FROM name WHERE kind="+strconv.Itoa(colClient))
	if err != nil {
		return c, err
	}
	defer rows.Close()
	for rows.Next() {
		var id, events int64
		var text string
		if err := rows.Scan(&id, &events, &text); err != nil {
			return c, err
		}
		if a, err := netip.ParseAddr(text); err == nil && within.Contains(a) {
			c.ids, c.events = append(c.ids, id), c.events+events
		}
	}
	return c, rows.Err()
}

// run yields the plan's events in order, at most limit of them (0: all).
func (d *database) run(ctx context.Context, p plan, matches func(*policy.Event) bool, limit int, yield func(*policy.Event) bool) error {
	if len(p.drivers) == 0 {
		_, err := d.rows(ctx, p.query("", 0), p.after, p.before, matches, limit, yield)
		return err
	}
	if len(p.drivers) == 1 && len(p.drivers[0].ids) == 1 {
		c := p.drivers[0]
		_, err := d.rows(ctx, p.query(c.column, c.ids[0]), p.after, p.before, matches, limit, yield)
		return err
	}
	events, err := d.merge(ctx, p, matches, limit)
	for i := range events {
		if err == nil && !yield(&events[i]) {
			break
		}
	}
	return err
}

// merge gathers the events of several values and puts them in order. Each value
// gives at most what is wanted in all, and once there is enough, only what comes
// before the last of it.
func (d *database) merge(ctx context.Context, p plan, matches func(*policy.Event) bool, limit int) ([]policy.Event, error) {
	var all []policy.Event
	seen := map[policy.EventID]bool{}
	settle := func() {
		slices.SortFunc(all, func(a, b policy.Event) int { return int(int64(a.ID) - int64(b.ID)) })
		if p.newest {
			slices.Reverse(all)
		}
		if limit > 0 && len(all) >= limit {
			all = all[:limit]
			if last := int64(all[limit-1].ID); p.newest {
				p.after = last
			} else {
				p.before = last
			}
		}
	}
	for _, c := range p.drivers {
		for _, id := range c.ids {
			_, err := d.rows(ctx, p.query(c.column, id), p.after, p.before, matches, limit, func(e *policy.Event) bool {
				if !seen[e.ID] {
					seen[e.ID] = true
					all = append(all, *e)
				}
				return true
			})
			if err != nil {
				return nil, err
			}
			if limit > 0 && len(all) >= 2*limit {
				settle()
			}
		}
	}
	settle()
	return all, nil
}

// query is the SQL that reads rows by the index of a column, or by number.
func (p *plan) query(column string, id int64) string {
	var b strings.Builder
	b.WriteString("SELECT " + rowFields + " FROM event")
	if column != "" {
		fmt.Fprintf(&b, " INDEXED BY event_%s WHERE %s=%d AND", column, column, id)
	} else {
		b.WriteString(" WHERE")
	}
	b.WriteString(" id>? AND id<?")
	for _, w := range p.where {
		b.WriteString(" AND " + w)
	}
	b.WriteString(" ORDER BY id")
	if p.newest {
		b.WriteString(" DESC")
	}
	return b.String()
}

// rows yields the events of a query that match.
func (d *database) rows(ctx context.Context, query string, after, before int64, matches func(*policy.Event) bool, limit int, yield func(*policy.Event) bool) (n int, err error) {
	rows, err := d.conn.QueryContext(ctx, query, after, before)
	if err != nil {
		return 0, err
	}
	defer rows.Close()
	var pending []row // the connection serves one query at a time, and names are others
	flush := func() (bool, error) {
		for i := range pending {
			e, err := d.event(ctx, &pending[i])
			if err != nil {
				return false, err
			}
			if !matches(&e) {
				continue
			}
			if n++; !yield(&e) || limit > 0 && n >= limit {
				return false, nil
			}
		}
		pending = pending[:0]
		return true, nil
	}
	for rows.Next() {
		var r row
		if err := rows.Scan(r.into()...); err != nil {
			return n, err
		}
		pending = append(pending, r)
		if len(pending) >= 64 {
			if more, err := flush(); err != nil || !more {
				return n, err
			}
		}
	}
	if err := rows.Err(); err != nil {
		return n, err
	}
	_, err = flush()
	return n, err
}
