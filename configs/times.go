package configs

import (
	"fmt"
	"strings"
	"time"

	"schoolgate/policy"
)

// readTimetable reads periods, each once or with several stretches of dates.
// The first that matches a moment is in force.
func (r *schoolReader) readTimetable(v value) {
	v.each(func(v value) {
		v = v.as("timetable")
		v.path = "timetable.*"
		p := policy.Period{Rule: v.pos()}
		var dates [][2]int
		timed, before := false, len(v.d.problems)
		v.fields(map[string]func(value){
			"period": one(&p.Name, ident),
			"days": func(v value) {
				for _, item := range listed(v) {
					if days, ok := read(item, weekdays); ok {
						for d, on := range days {
							p.Days[d] = p.Days[d] || on
						}
					}
				}
			},
			"from": func(v value) { one(&p.From, clock)(v); timed = true },
			"to":   func(v value) { one(&p.To, clock)(v); timed = true },
			"dates": func(v value) {
				for _, item := range listed(v) {
					if d, ok := read(item, dateRange); ok {
						dates = append(dates, d)
					}
				}
			},
		})
		if !v.has("period") {
			v.problem("an entry without a name (write period: school-day, for one)")
			return
		}
		if timed && p.From == p.To && v.d.clean(before) {
			v.problem("period %q begins when it ends (leave from and to out for the whole day)", p.Name)
		}
		r.periods[p.Name] = true
		if len(dates) == 0 {
			r.spec.Timetable.Periods = append(r.spec.Timetable.Periods, p)
		}
		for _, d := range dates {
			p.First, p.Last = d[0], d[1]
			r.spec.Timetable.Periods = append(r.spec.Timetable.Periods, p)
		}
	})
}

var dayNames = []string{"sun", "mon", "tue", "wed", "thu", "fri", "sat"}

func weekday(s string) (int, error) {
	s = strings.ToLower(s)
	for i, d := range dayNames {
		if s == d || s == strings.ToLower(time.Weekday(i).String()) {
			return i, nil
		}
	}
	return 0, unknown("day", clip(s), append([]string(nil), dayNames...))
}

// weekdays reads one day or a run of them, such as mon-fri or sat-sun.
func weekdays(s string) (days [7]bool, err error) {
	from, to, isRun := strings.Cut(s, "-")
	if !isRun {
		to = from
	}
	first, err := weekday(strings.TrimSpace(from))
	if err != nil {
		return days, err
	}
	last, err := weekday(strings.TrimSpace(to))
	if err != nil {
		return days, err
	}
	for d := first; ; d = (d + 1) % 7 {
		days[d] = true
		if d == last {
			return days, nil
		}
	}
}

// clock reads a time of day as minutes after midnight; 24:00 is its end.
func clock(s string) (int, error) {
	if s == "24:00" {
		return 24 * 60, nil
	}
	t, err := time.Parse("15:04", s)
	if err != nil {
		return 0, fmt.Errorf("bad time %q: want one such as 08:45", clip(s))
	}
	return t.Hour()*60 + t.Minute(), nil
}

// dateRange reads one date, or the first and the last of a stretch.
func dateRange(s string) (dates [2]int, err error) {
	from, to, isRange := strings.Cut(s, " to ")
	if !isRange {
		to = from
	}
	for i, text := range []string{from, to} {
		t, err := time.Parse(time.DateOnly, strings.TrimSpace(text))
		if err != nil {
			return dates, fmt.Errorf("bad date %q: want one such as 2026-10-26, or 2026-10-26 to 2026-10-30", clip(s))
		}
		dates[i] = t.Year()*10000 + int(t.Month())*100 + t.Day()
	}
	if dates[1] < dates[0] {
		return dates, fmt.Errorf("bad dates %q: the last comes before the first", clip(s))
	}
	return dates, nil
}

// moment reads when something ends, in the school's own time. A date alone is
// the end of that day.
func moment(zone *time.Location) func(string) (time.Time, error) {
	return func(s string) (time.Time, error) {
		if t, err := time.ParseInLocation(time.DateOnly, s, zone); err == nil {
			return t.AddDate(0, 0, 1), nil
		}
		for _, layout := range []string{"2006-01-02 15:04", "2006-01-02T15:04", time.RFC3339} {
			if t, err := time.ParseInLocation(layout, s, zone); err == nil {
				return t, nil
			}
		}
		return time.Time{}, fmt.Errorf("bad time %q: want one such as 2026-12-18 15:30, or a date for the end of that day", clip(s))
	}
}
