package policy

import "time"

// Period is a named stretch of the school's time: the school day, the
// after-school club, a holiday.
type Period struct {
	Name string
	Rule Pos

	Days     [7]bool // by time.Weekday; none set means every day
	From, To int     // minutes after midnight, To exclusive; To <= From runs past midnight
	// First and Last bound the dates, inclusive, as year*10000+month*100+day; 0 for no bound.
	First, Last int
}

// contains reports whether the local moment lies in the period. It goes by the
// clock on the wall, so on a day of 23 or 25 hours too. A period that runs past
// midnight belongs to the day it began on.
func (p *Period) contains(t time.Time) bool {
	minute := t.Hour()*60 + t.Minute()
	if p.From < p.To {
		return p.From <= minute && minute < p.To && p.onDay(t.Date())
	}
	if minute >= p.From {
		return p.onDay(t.Date())
	}
	y, m, d := t.Date()
	return minute < p.To && p.onDay(y, m, d-1)
}

// onDay reports whether the period can begin on a day; the day before the first
// of a month may be written as its day 0.
func (p *Period) onDay(year int, month time.Month, day int) bool {
	noon := time.Date(year, month, day, 12, 0, 0, 0, time.UTC)
	if p.Days != ([7]bool{}) && !p.Days[noon.Weekday()] {
		return false
	}
	year, month, day = noon.Date()
	date := year*10000 + int(month)*100 + day
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
