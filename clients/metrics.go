package clients

import (
	"errors"

	"github.com/prometheus/client_golang/prometheus"
)

type metrics struct {
	neighbours prometheus.Gauge
	failures   prometheus.Counter
	overflow   prometheus.Counter
}

func newMetrics(r prometheus.Registerer) *metrics {
	m := &metrics{
		neighbours: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "schoolgate_clients_neighbours",
			Help: "Devices whose hardware address is known at the moment.",
		}),
		failures: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "schoolgate_clients_neighbour_failures_total",
			Help: "Times the kernel's neighbour table could not be read.",
		}),
		overflow: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "schoolgate_clients_neighbours_left_out_total",
			Help: "Neighbours left out because the table was full.",
		}),
	}
	m.neighbours = register(r, m.neighbours)
	m.failures = register(r, m.failures)
	m.overflow = register(r, m.overflow)
	return m
}

// register gives the collector to use: a reload builds a new table, which goes on
// counting where the old one was.
func register[C prometheus.Collector](r prometheus.Registerer, c C) C {
	if r == nil {
		return c
	}
	err := r.Register(c)
	if prev := (prometheus.AlreadyRegisteredError{}); errors.As(err, &prev) {
		return prev.ExistingCollector.(C)
	}
	if err != nil {
		panic(err) // two metrics of one name with different shapes: a mistake of ours, seen in every test
	}
	return c
}
