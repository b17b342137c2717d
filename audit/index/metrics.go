package index

import "github.com/prometheus/client_golang/prometheus"

// metrics count files; no label names anything that was browsed.
type metrics struct {
	made, remade, errors prometheus.Counter
}

func newMetrics(r prometheus.Registerer, m *Maker) metrics {
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Namespace: "schoolgate", Subsystem: "index", Name: name, Help: help})
	}
	out := metrics{
		made:   counter("files_made_total", "Index files written."),
		remade: counter("files_remade_total", "Stretches of the journal indexed again: their file was missing, damaged or stale."),
		errors: counter("errors_total", "Times that indexing broke off and was tried again."),
	}
	if r != nil {
		r.MustRegister(out.made, out.remade, out.errors, prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Namespace: "schoolgate", Subsystem: "index", Name: "last_event", Help: "Number of the last event in an index file.",
		}, func() float64 { return float64(m.last.Load()) }))
	}
	return out
}
