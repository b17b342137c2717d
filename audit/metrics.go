package audit

import (
	"github.com/prometheus/client_golang/prometheus"
)

// metrics of the journal; no label carries a host, a client or a person.
type metrics struct {
	events, flagged, frames, bytes prometheus.Counter
	cut, errors, refused           prometheus.Counter
	segments                       prometheus.Counter
	fsync                          prometheus.Histogram
	lastSync                       prometheus.Gauge
}

// newMetrics registers the journal's metrics; a nil registerer leaves them out.
func newMetrics(reg prometheus.Registerer, j *Journal) *metrics {
	counter := func(name, help string) prometheus.Counter {
		c := prometheus.NewCounter(prometheus.CounterOpts{Name: "schoolgate_audit_" + name, Help: help})
		register(reg, c)
		return c
	}
	m := &metrics{
		events:   counter("events_total", "Events written to the journal."),
		flagged:  counter("flagged_events_total", "Events a person must hear of."),
		frames:   counter("frames_total", "Frames written, each one write(2) shared by waiting callers."),
		bytes:    counter("bytes_total", "Bytes of events written, frame headers included."),
		cut:      counter("cut_events_total", "Events with a field too long to be kept whole."),
		errors:   counter("errors_total", "Failed writes and syncs."),
		refused:  counter("refused_total", "Callers refused because too many were waiting."),
		segments: counter("segments_total", "Segments begun since the start."),
		fsync: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "schoolgate_audit_fsync_seconds", Help: "Time the disk took to sync.",
			Buckets: prometheus.ExponentialBuckets(50e-6, 3, 11),
		}),
		lastSync: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "schoolgate_audit_last_sync_timestamp_seconds", Help: "When the disk last took events.",
		}),
	}
	register(reg, m.fsync)
	register(reg, m.lastSync)
	gauge := func(name, help string, value func() float64) {
		register(reg, prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "schoolgate_audit_" + name, Help: help}, value))
	}
	gauge("waiting", "Callers inside Record.", func() float64 {
		j.mu.Lock()
		defer j.mu.Unlock()
		return float64(j.waiting)
	})
	gauge("unsynced_events", "Events a power cut could take now.", func() float64 {
		j.mu.Lock()
		defer j.mu.Unlock()
		return float64(j.end.seq - j.synced)
	})
	gauge("disk_bytes", "Size of the journal's files.", func() float64 { return float64(dirBytes(j.dir)) })
	gauge("disk_free_bytes", "Space left where the journal is.", func() float64 {
		free, err := freeBytes(j.dir)
		if err != nil {
			return 0
		}
		return float64(free)
	})
	return m
}

func register(reg prometheus.Registerer, c prometheus.Collector) {
	if reg != nil {
		reg.MustRegister(c)
	}
}

func (m *metrics) wrote(b *batch) {
	m.events.Add(float64(b.count))
	m.frames.Inc()
	m.bytes.Add(float64(len(b.buf)))
	if b.flagged > 0 {
		m.flagged.Add(float64(b.flagged))
	}
	if b.cut > 0 {
		m.cut.Add(float64(b.cut))
	}
}
