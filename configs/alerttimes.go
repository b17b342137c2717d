package configs

import (
	"fmt"
	"strings"
	"time"
)

// Hours is when somebody is there to read an alert, by the school's clock.
type Hours struct {
	Days      [7]bool  // by time.Weekday
	From, To  int      // minutes after midnight
	NotDuring []string // periods of the timetable
}

// Answer is how soon an alert must be acknowledged; the zero value is never.
type Answer struct {
	Within  time.Duration
	InHours bool // only the school's hours count
	NextDay bool // by the end of the next school day
}

// Digest is when alerts of severities 1 and 2 are told together.
type Digest struct {
	Every   string // never, daily (on school days) or weekly
	Weekday int    // of weekly
	At      int    // minutes after midnight
}

func (r *schoolReader) readHours(v value) {
	h, before := &r.alerts.Hours, len(v.d.problems)
	v.fields(map[string]func(value){
		"days": func(v value) {
			h.Days = [7]bool{}
			for _, item := range listed(v) {
				if days, ok := read(item, weekdays); ok {
					for d, on := range days {
						h.Days[d] = h.Days[d] || on
					}
				}
			}
		},
		"from": one(&h.From, clock),
		"to":   one(&h.To, clock),
		"not_during": func(v value) {
			for _, item := range listed(v) {
				h.NotDuring = append(h.NotDuring, r.refer(item, "period", func() []string { return keys(r.periods) }))
			}
		},
	})
	switch {
	case !v.d.clean(before):
	case h.From >= h.To:
		v.problem("they end before they begin (write from: 08:00 and to: 16:00, for one)")
	case h.Days == [7]bool{}:
		v.problem("there is no day in it (write days: mon-fri)")
	}
}

func (r *schoolReader) readAcknowledge(v value) {
	readers := map[string]func(value){}
	for severity := 1; severity <= 5; severity++ {
		readers[fmt.Sprint(severity)] = one(&r.alerts.Acknowledge[severity], answer)
	}
	v.fields(readers)
}

const (
	nextSchoolDay = "next school day"
	inSchoolHours = " in school hours"
)

// answer reads 10m, 1h in school hours, next school day or never.
func answer(s string) (a Answer, err error) {
	switch s {
	case "never":
		return a, nil
	case nextSchoolDay:
		return Answer{NextDay: true}, nil
	}
	length, inHours := strings.CutSuffix(s, inSchoolHours)
	a.InHours = inHours
	if a.Within, err = duration(time.Minute, 7*24*time.Hour)(length); err != nil {
		return a, fmt.Errorf("bad length of time %q: want 10m, 1h in school hours, next school day or never", clip(s))
	}
	return a, nil
}

// digest reads never, daily 15:30 or weekly fri 15:30.
func digest(s string) (d Digest, err error) {
	bad := fmt.Errorf("bad digest %q: want never, daily 15:30 or weekly fri 15:30", clip(s))
	f := strings.Fields(s)
	switch {
	case len(f) == 1 && f[0] == "never":
		return Digest{Every: "never"}, nil
	case len(f) == 3 && f[0] == "weekly":
		if d.Weekday, err = weekday(f[1]); err != nil {
			return d, err
		}
	case len(f) != 2 || f[0] != "daily":
		return d, bad
	}
	d.Every = f[0]
	if d.At, err = clock(f[len(f)-1]); err != nil {
		return d, err
	}
	if d.At == 24*60 {
		return d, bad
	}
	return d, nil
}
