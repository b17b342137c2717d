package policy

import (
	"testing"
	"time"
	_ "time/tzdata" // London, wherever the tests run
)

func TestTimetable(t *testing.T) {
	london, err := time.LoadLocation("Europe/London")
	if err != nil {
		t.Fatal(err)
	}
	weekdays := [7]bool{time.Monday: true, time.Tuesday: true, time.Wednesday: true, time.Thursday: true, time.Friday: true}
	tt := Timetable{Location: london, Periods: []Period{
		{Name: "easter", First: 20260330, Last: 20260410},
		{Name: "inset", First: 20261026, Last: 20261026},
		{Name: "sleepover", From: 19 * 60, To: 7 * 60, First: 20260228, Last: 20260228},
		{Name: "clocks", From: 30, To: 90, Days: [7]bool{time.Sunday: true}},
		{Name: "lessons", From: 9 * 60, To: 15 * 60, Days: weekdays},
		{Name: "club", From: 15 * 60, To: 17 * 60, Days: weekdays},
		{Name: "friday night", From: 22 * 60, To: 2 * 60, Days: [7]bool{time.Friday: true}},
		{Name: "late", From: 23 * 60, To: 0},
	}}
	for _, test := range []struct{ promise, at, want string }{
		{"a lesson", "2026-03-03T09:00:00Z", "lessons"},
		{"the last moment of lessons", "2026-03-03T14:59:59Z", "lessons"},
		{"the first of the club", "2026-03-03T15:00:00Z", "club"},
		{"before school", "2026-03-03T08:59:59Z", ""},
		{"a weekend", "2026-03-07T10:00:00Z", ""},
		{"a holiday, written first, on a weekday", "2026-04-01T10:00:00Z", "easter"},
		{"the holiday's first moment, in summer time", "2026-03-29T23:00:00Z", "easter"},
		{"the moment before", "2026-03-29T22:59:59Z", "late"},
		{"the holiday's last moment", "2026-04-10T22:59:59Z", "easter"},
		{"the moment after", "2026-04-10T23:00:00Z", "friday night"},
		{"summer time begins lessons an hour earlier in UTC", "2026-06-02T08:00:00Z", "lessons"},
		{"and ends them so", "2026-06-02T14:00:00Z", "club"},
		{"friday night", "2026-03-06T22:00:00Z", "friday night"},
		{"friday night, on saturday", "2026-03-07T01:59:59Z", "friday night"},
		{"over", "2026-03-07T02:00:00Z", ""},
		{"not the night before friday", "2026-03-06T01:00:00Z", ""},
		{"until midnight", "2026-03-07T23:59:59Z", "late"},
		{"not after midnight", "2026-03-08T00:00:00Z", ""},
		{"a night of one date", "2026-02-28T19:00:00Z", "sleepover"},
		{"a night of one date, over the end of the month", "2026-03-01T06:59:00Z", "sleepover"},
		{"not the night before", "2026-02-28T06:59:00Z", ""},
		{"before the clocks go forward", "2026-03-29T00:59:59Z", "clocks"},
		{"01:00 to 02:00 is skipped", "2026-03-29T01:00:00Z", ""},
		{"the clocks go back: 01:15, the first time", "2026-10-25T00:15:00Z", "clocks"},
		{"the clocks go back: 01:15, the second time", "2026-10-25T01:15:00Z", "clocks"},
		{"the clocks go back: 01:45, between the two", "2026-10-25T00:45:00Z", ""},
		{"the day after, to its last second", "2026-10-26T23:59:59Z", "inset"},
	} {
		at, err := time.Parse(time.RFC3339, test.at)
		if err != nil {
			t.Fatal(err)
		}
		got := ""
		if i := tt.At(at); i >= 0 {
			got = tt.Periods[i].Name
		}
		if got != test.want {
			t.Errorf("%s: At(%s) = %q, want %q", test.promise, test.at, got, test.want)
		}
	}
}

func TestTimetableWithoutPlace(t *testing.T) {
	tt := Timetable{Periods: []Period{{Name: "always"}}}
	if got := tt.At(tuesday); got != 0 {
		t.Errorf("At = %d, want a period without times to be always", got)
	}
	if got := (&Timetable{}).At(tuesday); got != -1 {
		t.Errorf("At = %d in no timetable, want -1", got)
	}
}
