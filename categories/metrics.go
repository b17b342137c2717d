package categories

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Metrics counts what stores do. One serves all versions that are opened in
// turn; a nil Metrics counts nothing. Misses are not counted: they are the hot
// path, and the doors count verdicts.
type Metrics struct {
	confirmed, denied, faults prometheus.Counter
	version, built, names     prometheus.Gauge
	bytes                     prometheus.Gauge
}

// NewMetrics registers the metrics; reg may be nil.
func NewMetrics(reg prometheus.Registerer) *Metrics {
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Namespace: "schoolgate", Subsystem: "categories", Name: name, Help: help})
	}
	gauge := func(name, help string) prometheus.Gauge {
		return prometheus.NewGauge(prometheus.GaugeOpts{Namespace: "schoolgate", Subsystem: "categories", Name: name, Help: help})
	}
	m := &Metrics{
		confirmed: counter("confirmed_total", "Index hits confirmed by full name in the file, cached ones not counted."),
		denied:    counter("unconfirmed_total", "Index hits that no name confirmed: more than a few mean a damaged store."),
		faults:    counter("faults_total", "Questions refused because the store could not be read."),
		version:   gauge("store_version", "Number of the category store in force."),
		built:     gauge("store_built_timestamp_seconds", "When the category store in force was built."),
		names:     gauge("store_names", "Hosts and URLs in the category store in force."),
		bytes:     gauge("store_bytes", "Size of the category store in force."),
	}
	if reg != nil {
		reg.MustRegister(m.confirmed, m.denied, m.faults, m.version, m.built, m.names, m.bytes)
	}
	return m
}

// InForce tells which store is the current one.
func (m *Metrics) InForce(s *Store) {
	if m == nil {
		return
	}
	info := s.Info()
	m.version.Set(float64(info.Version))
	m.built.Set(float64(info.Built.UnixNano()) / float64(time.Second))
	m.names.Set(float64(info.Names + info.URLs))
	m.bytes.Set(float64(info.FileSize))
}

func (m *Metrics) confirm(ok bool) {
	switch {
	case m == nil:
	case ok:
		m.confirmed.Inc()
	default:
		m.denied.Inc()
	}
}

func (m *Metrics) fault() {
	if m != nil {
		m.faults.Inc()
	}
}
