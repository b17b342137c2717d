package http1

import (
	"testing"
	"time"
)

// TestDates: the line of the second before is not sent in the next.
func TestDates(t *testing.T) {
	var d dates
	at := time.Date(2026, 3, 3, 10, 15, 4, 999_000_000, time.FixedZone("", 3600))
	for _, c := range []struct {
		after time.Duration
		want  string
	}{
		{0, "Date: Tue, 03 Mar 2026 09:15:04 GMT\r\n"},
		{time.Millisecond, "Date: Tue, 03 Mar 2026 09:15:05 GMT\r\n"},
		{900 * time.Millisecond, "Date: Tue, 03 Mar 2026 09:15:05 GMT\r\n"},
		{-time.Hour, "Date: Tue, 03 Mar 2026 08:15:04 GMT\r\n"}, // the clock was put back
	} {
		if got := string(d.append(nil, at.Add(c.after))); got != c.want {
			t.Errorf("%v later: %q, want %q", c.after, got, c.want)
		}
	}
}
