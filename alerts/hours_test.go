package alerts

import (
	"testing"
	"time"

	"schoolgate/policy"
)

// london is a school day from 8 to 16, with the autumn half-term of 2026.
func london(t *testing.T) Hours {
	t.Helper()
	zone, err := time.LoadLocation("Europe/London")
	if err != nil {
		t.Fatal(err)
	}
	return Hours{
		Days: [7]bool{1: true, 2: true, 3: true, 4: true, 5: true}, From: 8 * 60, To: 16 * 60, Closed: []string{"holidays", "inset"},
		Timetable: policy.Timetable{Location: zone, Periods: []policy.Period{
			{Name: "holidays", First: 20261026, Last: 20261030}, {Name: "inset", First: 20261207, Last: 20261207, From: 8 * 60, To: 12 * 60},
		}},
	}
}

// moment reads a time of the school's clock, "Mon 2 Nov 09:00" of 2026.
func moment(t *testing.T, h *Hours, s string) time.Time {
	t.Helper()
	at, err := time.ParseInLocation("2006 Mon 2 Jan 15:04", "2026 "+s, h.zone())
	if err != nil {
		t.Fatal(err)
	}
	return at
}

// The clocks, over nights, weekends, holidays and the days on which clocks change.
func TestClocksAndHours(t *testing.T) {
	h := london(t)
	hour := func(c Clock) func(time.Time) time.Time {
		return func(at time.Time) time.Time { return c.due(&h, at) }
	}
	daily, weekly := Digest{Every: Daily, Upto: 2, At: 15*60 + 30}, Digest{Every: Weekly, Upto: 2, Weekday: time.Friday, At: 9 * 60}
	tests := []struct {
		name     string
		f        func(time.Time) time.Time
		at, want string
	}{
		{"open: now", h.Next, "Tue 24 Nov 10:00", "Tue 24 Nov 10:00"},
		{"before school", h.Next, "Tue 24 Nov 06:30", "Tue 24 Nov 08:00"},
		{"after school", h.Next, "Tue 24 Nov 16:00", "Wed 25 Nov 08:00"},
		{"the weekend", h.Next, "Sat 28 Nov 23:17", "Mon 30 Nov 08:00"},
		{"half-term, and the clocks go back in it", h.Next, "Fri 23 Oct 16:30", "Mon 2 Nov 08:00"},
		{"a morning closed", h.Next, "Mon 7 Dec 07:00", "Mon 7 Dec 12:00"},
		{"an hour in school hours", hour(Clock{Within: time.Hour, InHours: true}), "Tue 24 Nov 10:10", "Tue 24 Nov 11:10"},
		{"over the evening", hour(Clock{Within: time.Hour, InHours: true}), "Tue 24 Nov 15:40", "Wed 25 Nov 08:40"},
		{"over the weekend", hour(Clock{Within: 2 * time.Hour, InHours: true}), "Fri 27 Nov 15:00", "Mon 30 Nov 09:00"},
		{"from a Sunday", hour(Clock{Within: time.Hour, InHours: true}), "Sun 29 Nov 11:00", "Mon 30 Nov 09:00"},
		{"over half-term", hour(Clock{Within: time.Hour, InHours: true}), "Fri 23 Oct 15:30", "Mon 2 Nov 08:30"},
		{"ten minutes whatever the hour", hour(Clock{Within: 10 * time.Minute}), "Sat 28 Nov 23:55", "Sun 29 Nov 00:05"},
		{"the end of the next school day", hour(Clock{NextDay: true}), "Tue 24 Nov 10:00", "Wed 25 Nov 16:00"},
		{"from a Friday", hour(Clock{NextDay: true}), "Fri 27 Nov 10:00", "Mon 30 Nov 16:00"},
		{"from before half-term", hour(Clock{NextDay: true}), "Fri 23 Oct 10:00", "Mon 2 Nov 16:00"},
		{"the digest of today", func(at time.Time) time.Time { return daily.next(&h, at) }, "Tue 24 Nov 10:00", "Tue 24 Nov 15:30"},
		{"the digest of tomorrow", func(at time.Time) time.Time { return daily.next(&h, at) }, "Tue 24 Nov 15:30", "Wed 25 Nov 15:30"},
		{"no digest at the weekend", func(at time.Time) time.Time { return daily.next(&h, at) }, "Fri 27 Nov 15:31", "Mon 30 Nov 15:30"},
		{"the digest of the week", func(at time.Time) time.Time { return weekly.next(&h, at) }, "Tue 24 Nov 10:00", "Fri 27 Nov 09:00"},
		{"of the next week", func(at time.Time) time.Time { return weekly.next(&h, at) }, "Fri 27 Nov 09:00", "Fri 4 Dec 09:00"},
	}
	for _, tt := range tests {
		got := tt.f(moment(t, &h, tt.at)).In(h.zone()).Format("Mon 2 Jan 15:04")
		if got != tt.want {
			t.Errorf("%s: %s gives %s, want %s", tt.name, tt.at, got, tt.want)
		}
	}
	// The night of 28 to 29 March 2026 has no hour from 1 to 2; that of 24 to 25
	// October has it twice. Eight hours are eight hours.
	all := Hours{Days: [7]bool{true, true, true, true, true, true, true}, From: 0, To: 24 * 60, Timetable: h.Timetable}
	for _, at := range []string{"Sat 28 Mar 20:00", "Sat 24 Oct 20:00"} {
		from := moment(t, &h, at)
		if got := (Clock{Within: 8 * time.Hour, InHours: true}).due(&all, from).Sub(from); got != 8*time.Hour {
			t.Errorf("eight hours from %s are %v", at, got)
		}
	}
}

// A school that is never open waits for nothing: its hours are a mistake.
func TestHoursThatNeverCome(t *testing.T) {
	never := Hours{Days: [7]bool{1: true}, From: 60, To: 120, Closed: []string{"x"}, Timetable: policy.Timetable{Periods: []policy.Period{{Name: "x"}}}}
	at := tuesday
	if got := never.Next(at); !got.Equal(at) {
		t.Errorf("Next = %v, want %v", got, at)
	}
	for _, c := range []Clock{{Within: time.Hour, InHours: true}, {NextDay: true}} {
		if got := c.due(&never, at); got.Before(at) || got.Sub(at) > 48*time.Hour {
			t.Errorf("%+v is due %v after, want it soon", c, got.Sub(at))
		}
	}
	var always Hours
	if !always.Open(at) || !always.Next(at).Equal(at) {
		t.Error("hours that nobody named are not always")
	}
}
