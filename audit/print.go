package audit

import (
	"strings"
	"time"
	"unicode/utf8"

	"schoolgate/policy"
)

// Table prints events as aligned lines for a person at a terminal.
type Table struct {
	Location *time.Location // nil is the box's own time
	columns  []column
}

type column struct {
	title string
	width int
	value func(*policy.Event) string
}

// NewTable lays the columns out for a width in characters; below 100 it leaves
// out what the id can be asked for. 0 is as wide as everything needs.
func NewTable(width int) *Table {
	t := &Table{}
	add := func(title string, w int, value func(*policy.Event) string) {
		t.columns = append(t.columns, column{title, w, value})
	}
	wide := width <= 0 || width >= 140
	add("time", 19, func(e *policy.Event) string { return e.Time.In(t.location()).Format("2006-01-02 15:04:05") })
	add("who", 16, who)
	if wide || width >= 100 {
		add("group", 10, func(e *policy.Event) string { return e.Group })
		add("door", 7, func(e *policy.Event) string { return e.Door.String() })
	}
	add("verdict", 7, func(e *policy.Event) string { return e.Verdict.String() })
	host := len(t.columns)
	add("host", 0, where)
	category := 14
	if wide {
		category = 19 // the longest there is
	}
	add("category", category, what)
	if wide {
		add("rule", 20, func(e *policy.Event) string { return e.Rule })
	}
	add("id", 12, func(e *policy.Event) string { return e.ID.String() })
	used := len(t.columns) - 1
	for _, c := range t.columns {
		used += c.width
	}
	t.columns[host].width = max(width-used, 12)
	if width <= 0 {
		t.columns[host].width = 40
	}
	return t
}

func (t *Table) location() *time.Location {
	if t.Location == nil {
		return time.Local
	}
	return t.Location
}

func who(e *policy.Event) string {
	if e.Person != "" {
		return e.Person
	}
	if e.Device != "" {
		return e.Device
	}
	return e.Client
}

// where is what was asked for, what a member of staff did and to what, or what the
// firewall dropped.
func where(e *policy.Event) string {
	if e.Door == policy.DoorStaff {
		return strings.TrimSpace(e.Act + " " + e.Subject)
	}
	if e.Door == policy.DoorGateway {
		return "dropped: " + e.Finding
	}
	if e.Words != "" {
		return e.Host + " “" + e.Words + "”"
	}
	return e.Host + e.Path
}

// what is the theme of a search or the category, or in brackets why something was
// refused without one.
func what(e *policy.Event) string {
	if e.Theme != "" {
		return e.Theme
	}
	if e.Category == policy.Uncategorised && e.Verdict != policy.Allow {
		return "(" + e.Reason.String() + ")"
	}
	return e.Category.String()
}

// Head is the line of titles.
func (t *Table) Head() string {
	var b strings.Builder
	for i, c := range t.columns {
		t.put(&b, i, c.title)
	}
	return b.String()
}

// Line is one event. A value too long for its column ends in "…".
func (t *Table) Line(e *policy.Event) string {
	var b strings.Builder
	for i, c := range t.columns {
		t.put(&b, i, escaped(c.value(e)))
	}
	return b.String()
}

func (t *Table) put(b *strings.Builder, i int, value string) {
	if value == "" {
		value = "-"
	}
	width := t.columns[i].width
	if n := utf8.RuneCountInString(value); n > width {
		value = string([]rune(value)[:width-1]) + "…"
	} else if i < len(t.columns)-1 {
		value += strings.Repeat(" ", width-n)
	}
	if i > 0 {
		b.WriteByte(' ')
	}
	b.WriteString(value)
}
