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

// contains reports whether a minute of a day lies in the period. It goes by the
// clock on the wall, so on a day of 23 or 25 hours too. A period that runs past
// midnight belongs to the day it began on.
func (p *Period) contains(minute int, today day) bool {
	if p.From < p.To {
		return p.From <= minute && minute < p.To && p.begins(today)
	}
	return minute >= p.From && p.begins(today) || minute < p.To && p.begins(today.before())
}

// begins reports whether the period can begin on a day.
func (p *Period) begins(d day) bool {
	return (p.Days == [7]bool{} || p.Days[d.weekday]) && (p.First == 0 || d.date >= p.First) && (p.Last == 0 || d.date <= p.Last)
}

// day is a date on the wall.
type day struct {
	noon    time.Time // in UTC, where every day has one
	date    int       // as Period.First
	weekday time.Weekday
}

func dayOf(year int, month time.Month, dom int) day {
	noon := time.Date(year, month, dom, 12, 0, 0, 0, time.UTC)
	year, month, dom = noon.Date()
	return day{noon, year*10000 + int(month)*100 + dom, noon.Weekday()}
}

func (d day) before() day { return dayOf(d.noon.AddDate(0, 0, -1).Date()) }

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
	minute, today := t.Hour()*60+t.Minute(), dayOf(t.Date())
	for i := range tt.Periods {
		if tt.Periods[i].contains(minute, today) {
			return i
		}
	}
	return -1
}
