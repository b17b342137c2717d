package alerts

import (
	"slices"
	"time"

	"schoolgate/policy"
)

// Hours is when somebody is at school to read an alert, by the clock on its wall.
// The zero value is always.
type Hours struct {
	Days     [7]bool // by time.Weekday
	From, To int     // minutes after midnight, To exclusive
	// Closed names the periods of the timetable in which nobody is there, such as
	// holidays.
	Closed    []string
	Timetable policy.Timetable
}

// maxClosed is how many days the school may be closed on end; beyond them the
// hours are taken for a mistake, and an alert does not wait for them.
const maxClosed = 120

func (h *Hours) zone() *time.Location {
	if h.Timetable.Location == nil {
		return time.UTC
	}
	return h.Timetable.Location
}

func (h *Hours) always() bool { return h.From == h.To }

// date is the school's date as [Away] counts it.
func (h *Hours) date(t time.Time) int {
	y, m, d := t.In(h.zone()).Date()
	return y*10000 + int(m)*100 + d
}

// Open reports whether a moment is within the hours.
func (h *Hours) Open(t time.Time) bool {
	if h.always() {
		return true
	}
	t = t.In(h.zone())
	minute := t.Hour()*60 + t.Minute()
	return h.From <= minute && minute < h.To && h.schoolDay(t)
}

// schoolDay reports whether the school is not closed at a moment, whatever the time
// of the day.
func (h *Hours) schoolDay(t time.Time) bool {
	if h.always() {
		return true
	}
	if !h.Days[t.In(h.zone()).Weekday()] {
		return false
	}
	i := h.Timetable.At(t)
	return i < 0 || !slices.Contains(h.Closed, h.Timetable.Periods[i].Name)
}

// at is a time of the day of t, days later.
func (h *Hours) at(t time.Time, days, minute int) time.Time {
	y, m, d := t.In(h.zone()).Date()
	return time.Date(y, m, d+days, minute/60, minute%60, 0, 0, h.zone())
}

// Next is the first moment of the hours that is not before t.
func (h *Hours) Next(t time.Time) time.Time {
	if h.Open(t) {
		return t
	}
	for day := range maxClosed {
		for minute := h.From; minute < h.To; minute += 5 { // a holiday may end at noon
			if at := h.at(t, day, minute); !at.Before(t) && h.Open(at) {
				return at
			}
		}
	}
	return t
}

// after is the moment at which so much of the hours has gone by since t.
func (h *Hours) after(t time.Time, d time.Duration) time.Time {
	for t = h.Next(t); d > 0; {
		step := min(d, time.Minute)
		t, d = t.Add(step), d-step
		if d > 0 && !h.Open(t) {
			next := h.Next(t)
			if next.Equal(t) { // no hours ahead
				return t.Add(d)
			}
			t = next
		}
	}
	return t
}

// schoolDayAfter is a time of the first school day that comes after the day of t.
func (h *Hours) schoolDayAfter(t time.Time, minute int) time.Time {
	return h.schoolDayFrom(t, 1, minute)
}

func (h *Hours) schoolDayFrom(t time.Time, day, minute int) time.Time {
	for n := day; n < maxClosed; n++ {
		if at := h.at(t, n, minute); h.schoolDay(at.Add(-time.Minute)) && at.After(t) {
			return at
		}
	}
	return h.at(t, max(day, 1), minute)
}

// end is when a school day ends.
func (h *Hours) end() int {
	if h.always() {
		return 16 * 60
	}
	return h.To
}

// begin is when a school day begins.
func (h *Hours) begin() int {
	if h.always() {
		return 8 * 60
	}
	return h.From
}

// Clock is how soon an alert must be acknowledged. The zero value is never.
type Clock struct {
	Within time.Duration
	// InHours counts only the school's hours.
	InHours bool
	// NextDay is the end of the next school day, instead of Within.
	NextDay bool
}

func (c Clock) none() bool { return c.Within <= 0 && !c.NextDay }

func (c Clock) due(h *Hours, now time.Time) time.Time {
	switch {
	case c.NextDay:
		return h.schoolDayAfter(now, h.end())
	case c.InHours:
		return h.after(now, c.Within)
	}
	return now.Add(c.Within)
}

// Every is how often something is sent.
type Every uint8

// The frequencies.
const (
	Never Every = iota
	Daily       // on school days
	Weekly
)

// Digest gathers alerts that can wait into one mail.
type Digest struct {
	Every   Every
	Upto    uint8        // severities 1 to this one
	Weekday time.Weekday // of Weekly
	At      int          // minutes after midnight
}

// gathers reports whether an alert waits for the digest.
func (d *Digest) gathers(severity uint8) bool { return d.Every != Never && severity <= d.Upto }

func (d *Digest) next(h *Hours, now time.Time) time.Time {
	if d.Every == Daily {
		return h.schoolDayFrom(now, 0, d.At)
	}
	days := (int(d.Weekday-now.In(h.zone()).Weekday()) + 7) % 7
	if at := h.at(now, days, d.At); at.After(now) {
		return at
	}
	return h.at(now, days+7, d.At)
}

// when says from which moment an alert of a severity may be told. Now is at once.
func (p *Plan) when(severity uint8, now time.Time) time.Time {
	switch {
	case p.Digest.gathers(severity):
		return p.Digest.next(&p.Hours, now)
	case severity < p.AtOnce:
		return p.Hours.Next(now)
	}
	return now
}
