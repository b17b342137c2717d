package blocklists

import (
	"bufio"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"schoolgate/policy"
)

// table reads the rows of a CSV feed by the columns it declares.
type table struct {
	*scan
	width                      int // of the header; 0 before it was read
	host, path, category, verb int // column numbers, -1 for none
	where                      []condition
	raw                        string // the line being read
	fields                     []string
	row                        func(t *table, action string, host policy.Host, path string, c policy.Category) error
}

type condition struct {
	column int
	values []string
}

// parse reads the header, then rows. A field may be quoted; it may not go over
// the end of its line.
func (t *table) parse(line string) error {
	if line[0] == '#' {
		return nil
	}
	t.raw = line
	var ok bool
	if t.fields, ok = splitCSV(line, t.fields[:0]); !ok {
		return t.refused(NotCSV, line)
	}
	if t.width == 0 {
		return t.header()
	}
	if len(t.fields) != t.width {
		return t.refused(NotCSV, line)
	}
	for _, c := range t.where {
		if !slices.Contains(c.values, t.fields[c.column]) {
			t.stats.Unwanted++
			return nil
		}
	}
	return t.take(line)
}

func (t *table) take(line string) error {
	category, why := t.categoryOf()
	if why != "" {
		return t.refused(why, line)
	}
	// A curated "none" is an entry: the site is in no category, whatever lists say.
	if category == policy.Uncategorised && t.feed.Kind != Clean && t.feed.Kind != Curated {
		t.stats.Unwanted++
		return nil
	}
	host, path, why := readURL(t.fields[t.host], category)
	if why != "" {
		return t.refused(why, line)
	}
	if t.path >= 0 && t.fields[t.path] != "" {
		u, err := policy.ParseURL("http://" + host.String() + t.fields[t.path])
		if err != nil {
			return t.refused(BadURL, line)
		}
		path = u.Path
	}
	action := "add"
	if t.verb >= 0 {
		action = t.fields[t.verb]
	}
	return t.row(t, action, host, path, category)
}

// categoryOf reads the category column through the feed's map; a code that is
// itself a category ID needs no line in the map.
func (t *table) categoryOf() (policy.Category, Reason) {
	if t.category < 0 {
		return t.feed.Category, ""
	}
	c, wanted, known := t.feed.categoryFor(t.fields[t.category])
	switch {
	case !known:
		return c, UnknownCode
	case !wanted:
		return policy.Uncategorised, ""
	}
	return c, ""
}

func (t *table) header() error {
	columns := &t.feed.Columns
	t.width = len(t.fields)
	var missing []string
	find := func(name string) int {
		if name == "" {
			return -1
		}
		i := slices.Index(t.fields, name)
		if i < 0 {
			missing = append(missing, name)
		}
		return i
	}
	t.host, t.path, t.category = find(columns.Host), find(columns.Path), find(columns.Category)
	t.verb = -1
	if slices.Contains(t.fields, columns.Action) {
		t.verb = find(columns.Action)
	}
	for name, values := range columns.Where {
		if t.verb >= 0 && !slices.Contains(t.fields, name) {
			continue // a delta has fewer columns than the list it changes
		}
		t.where = append(t.where, condition{find(name), values})
	}
	if len(missing) > 0 {
		slices.Sort(missing)
		return sourceErr(t.file, t.line, refuseAll("its header has no column %q (it has %q)", missing, t.fields))
	}
	return nil
}

// splitCSV cuts one line into fields (RFC 4180, without line ends in fields).
func splitCSV(line string, fields []string) ([]string, bool) {
	for {
		if !strings.HasPrefix(line, `"`) {
			field, rest, more := strings.Cut(line, ",")
			fields = append(fields, strings.TrimSpace(field))
			if !more {
				return fields, strings.IndexByte(field, '"') < 0
			}
			line = rest
			continue
		}
		field, rest, ok := quoted(line[1:])
		if !ok {
			return fields, false
		}
		fields = append(fields, field)
		if rest == "" {
			return fields, true
		}
		if rest[0] != ',' {
			return fields, false
		}
		line = rest[1:]
	}
}

// quoted reads up to the closing quote; "" inside is one quote.
func quoted(s string) (field, rest string, ok bool) {
	i := strings.IndexByte(s, '"')
	if i < 0 {
		return "", "", false
	}
	if !strings.HasPrefix(s[i+1:], `"`) {
		return s[:i], s[i+1:], true
	}
	tail, rest, ok := quoted(s[i+2:])
	return s[:i+1] + tail, rest, ok
}

// place names what a delta adds or removes.
type place struct {
	host policy.Host
	path string
}

// csvText reads a table, with its delta applied if the feed has one: rows that
// the delta removes are left out, rows that it adds come after.
func (s *scan) csvText(file string, r io.Reader) error {
	removed, added, err := s.delta()
	if err != nil {
		return err
	}
	t := &table{scan: s, row: func(t *table, _ string, host policy.Host, path string, c policy.Category) error {
		if removed[place{host, path}] {
			t.stats.Unwanted++
			return nil
		}
		return t.add(host, path, false, c)
	}}
	if err := s.lines(file, r, t.parse); err != nil {
		return err
	}
	for _, e := range added {
		s.file, s.line = e.File, e.Line
		if err := s.add(e.Host, e.Path, e.Exact, e.Category); err != nil {
			return err
		}
	}
	return nil
}

// maxDelta bounds the changes of one delta, which are held in memory.
const maxDelta = 1_000_000

func (s *scan) delta() (removed map[place]bool, added []Entry, err error) {
	if s.feed.Delta == "" {
		return nil, nil, nil
	}
	removed = make(map[place]bool)
	row := func(t *table, action string, host policy.Host, path string, c policy.Category) error {
		if len(removed)+len(added) >= maxDelta {
			return sourceErr(t.file, t.line, refuseAll("a delta of more than %d changes", maxDelta))
		}
		at := place{host, path}
		switch { // the last word on an entry counts
		case t.verb < 0:
			return sourceErr(t.file, t.line, refuseAll("a delta without a column %q", s.feed.Columns.Action))
		case action == "add":
			removed[at] = false
			added = append(added, Entry{Host: host, Path: path, Category: c, File: t.file, Line: t.line})
		case action == "remove":
			removed[at] = true
		default:
			return t.refused(NotAnAction, action)
		}
		return nil
	}
	err = s.open(s.feed.Delta, func(file string, r io.Reader) error {
		t := &table{scan: s, row: row}
		return s.lines(file, r, t.parse)
	})
	if err != nil {
		return nil, nil, fmt.Errorf("delta: %w", err)
	}
	added = slices.DeleteFunc(added, func(e Entry) bool { return removed[place{e.Host, e.Path}] })
	maps.DeleteFunc(removed, func(_ place, gone bool) bool { return !gone })
	return removed, added, nil
}

// rewrite copies the table of the feed to w with changes: without the rows that are
// removed and with rows for what is added and was not there. missing is what is to be
// removed and was not there. A row that the feed does not take is left out.
func (s *scan) rewrite(w *bufio.Writer, removed map[place]bool, added []Entry, addsOnly bool) (missing map[place]bool, err error) {
	missing = maps.Clone(removed)
	toAdd := make(map[place]bool, len(added))
	for _, e := range added {
		toAdd[place{e.Host, e.Path}] = true
	}
	t := &table{scan: s, row: func(t *table, _ string, host policy.Host, path string, _ policy.Category) error {
		at := place{host, path}
		delete(toAdd, at)
		delete(missing, at)
		if removed[at] && !addsOnly {
			return nil
		}
		return line(w, t.raw)
	}}
	err = s.open(s.feed.Path, func(file string, r io.Reader) error {
		return s.lines(file, r, func(text string) error {
			header := t.width == 0
			if err := t.parse(text); err != nil || !header || t.width == 0 {
				return err
			}
			return line(w, text)
		})
	})
	rows := csv.NewWriter(w)
	for _, e := range added {
		if err == nil && toAdd[place{e.Host, e.Path}] {
			delete(toAdd, place{e.Host, e.Path}) // said twice
			err = rows.Write(t.rowOf(e))
		}
	}
	rows.Flush()
	return missing, errors.Join(err, rows.Error())
}

func line(w *bufio.Writer, text string) error {
	_, err := w.WriteString(text + "\n")
	return err
}

// rowOf is an entry as a row of the table.
func (t *table) rowOf(e Entry) []string {
	fields := make([]string, t.width)
	for _, c := range t.where {
		fields[c.column] = c.values[0]
	}
	host := e.Host.String()
	if a, ok := e.Host.Addr(); ok && a.Is6() {
		host = "[" + host + "]"
	}
	switch {
	case t.path >= 0:
		fields[t.path] = e.Path
	case e.Path != "":
		host = "http://" + host + e.Path
	}
	fields[t.host] = host
	if t.category >= 0 {
		fields[t.category] = e.Category.String()
	}
	if t.verb >= 0 {
		fields[t.verb] = "add"
	}
	return fields
}
