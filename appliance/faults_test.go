package appliance

import (
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// F26: faults of ours are told when there were several within an hour, whichever door
// they are of, and not when they are spread over days.
func TestFaultsWithinAnHour(t *testing.T) {
	reg := prometheus.NewPedanticRegistry()
	web := prometheus.NewCounter(prometheus.CounterOpts{Name: "schoolgate_proxy_panics_total", Help: "x"})
	names := prometheus.NewCounter(prometheus.CounterOpts{Name: "schoolgate_dnsfilter_panics_total", Help: "x"})
	other := prometheus.NewCounter(prometheus.CounterOpts{Name: "schoolgate_proxy_requests_total", Help: "x"})
	reg.MustRegister(web, names, other)
	f := &faults{from: reg}
	at := time.Date(2026, 11, 29, 9, 0, 0, 0, time.UTC)
	for _, tt := range []struct {
		after       time.Duration
		web, names  float64
		want        int
		description string
	}{
		{0, 5, 0, 0, "those before the first look are not of this hour"},
		{time.Minute, 1, 1, 2, "of both doors"},
		{30 * time.Minute, 1, 0, 3, "added up"},
		{62 * time.Minute, 0, 0, 1, "an hour later those have gone by"},
		{10 * time.Hour, 1, 0, 1, "and all of them"},
	} {
		web.Add(tt.web)
		names.Add(tt.names)
		other.Add(100)
		if got, err := f.lately(at.Add(tt.after)); err != nil || got != tt.want {
			t.Errorf("%s: %d, %v, want %d", tt.description, got, err, tt.want)
		}
	}
}
