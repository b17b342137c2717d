package appliance

import (
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

const (
	manyFaults = 3 // of ours within faultTime are told (F26)
	faultTime  = time.Hour
)

// faults counts the requests and questions that ended in a fault of our code. Each was
// refused; that it happens again and again is for a person to know.
type faults struct {
	from prometheus.Gatherer
	seen []faultCount // of the last faultTime, and the one before
}

type faultCount struct {
	at    time.Time
	total float64
}

// lately is how many there were within the last faultTime, or since the first call. It is
// to be called every minute or so.
func (f *faults) lately(now time.Time) (int, error) {
	families, err := f.from.Gather()
	if err != nil {
		return 0, err
	}
	total := 0.0
	for _, family := range families {
		if strings.HasSuffix(family.GetName(), "_panics_total") {
			for _, m := range family.GetMetric() {
				total += m.GetCounter().GetValue()
			}
		}
	}
	for len(f.seen) > 1 && now.Sub(f.seen[1].at) > faultTime {
		f.seen = f.seen[1:]
	}
	f.seen = append(f.seen, faultCount{now, total})
	return int(total - f.seen[0].total), nil
}
