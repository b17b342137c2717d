package policy

import "time"

// Period is a named stretch of the school's time: the school day, the
// after-school club, a holiday.
type Period struct {
	Name string
	Rule Pos

	Days     [7]bool // by time.Weekday; none set means every day
	From, To int     // minutes after midnight, To exclusive; To < From runs past midnight
	// First and Last bound the dates, inclusive, as year*10000+month*100+day; 0 for no bound.
	First, Last int
}

// contains reports whether the local moment lies in the period. A period that
// runs past midnight belongs to the day it began on.
func (p *Period) contains(t time.Time) bool {
	minute := t.Hour()*60 + t.Minute()
	if p.To <= p.From && p.From != 0 && minute < p.To {
		t = t.AddDate(0, 0, -1)
		minute += 24 * 60
	}
	to := p.To
	if to <= p.From {
		to += 24 * 60
	}
	if minute < p.From || minute >= to {
		return false
	}
	if p.Days != ([7]bool{}) && !p.Days[t.Weekday()] {
		return false
	}
	y, m, d := t.Date()
	date := y*10000 + int(m)*100 + d
	return (p.First == 0 || date >= p.First) && (p.Last == 0 || date <= p.Last)
}

// Timetable says which period is in force. Where several match, the first
// written one is: write holidays above the school day.
type Timetable struct {
	Location *time.Location // nil is UTC
	Periods  []Period
}

// At is the index of the period in force, or -1 for none.
func (tt *Timetable) At(t time.Time) int {
	if len(tt.Periods) == 0 {
		return -1
	}
	loc := tt.Location
	if loc == nil {
		loc = time.UTC
	}
	t = t.In(loc)
	for i := range tt.Periods {
		if tt.Periods[i].contains(t) {
			return i
		}
	}
	return -1
}
