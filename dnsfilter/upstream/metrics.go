package upstream

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"schoolgate/dnsfilter/dnssec"
)

type metrics struct {
	hits, misses, stale, failures, refused prometheus.Counter
	answered, failed                       prometheus.Counter // of queries sent to upstreams
	latency                                prometheus.Histogram
	tcp, forged, private, vetoed           prometheus.Counter
	validated                              map[dnssec.Status]prometheus.Counter
	bounded                                prometheus.Counter
}

func newMetrics(reg prometheus.Registerer, r *Resolver) *metrics {
	f := promauto.With(reg)
	counter := func(name, help string) prometheus.Counter {
		return f.NewCounter(prometheus.CounterOpts{Name: "schoolgate_dnsfilter_" + name, Help: help})
	}
	f.NewGaugeFunc(prometheus.GaugeOpts{Name: "schoolgate_dnsfilter_cache_entries", Help: "Answers in the cache."},
		func() float64 { return float64(r.cache.entries()) })
	f.NewGaugeFunc(prometheus.GaugeOpts{Name: "schoolgate_dnsfilter_upstream_in_flight", Help: "Questions being asked of upstreams."},
		func() float64 { return float64(r.inFlight()) })
	validated := f.NewCounterVec(prometheus.CounterOpts{Name: "schoolgate_dnsfilter_dnssec_total",
		Help: "Answers of upstreams by what validation said of them."}, []string{"status"})
	statuses := map[dnssec.Status]prometheus.Counter{}
	for _, s := range []dnssec.Status{dnssec.Bogus, dnssec.Insecure, dnssec.Secure} {
		statuses[s] = validated.WithLabelValues(s.String())
	}
	exchanges := f.NewCounterVec(prometheus.CounterOpts{Name: "schoolgate_dnsfilter_upstream_exchanges_total",
		Help: "Queries sent to upstreams, by outcome."}, []string{"outcome"})
	return &metrics{
		answered: exchanges.WithLabelValues("answered"), failed: exchanges.WithLabelValues("failed"),
		validated: statuses,
		bounded:   counter("dnssec_bounded_total", "Answers not validated to the end because that would have cost too much; counted as bogus, too."),
		hits:      counter("cache_hits_total", "Questions answered from the cache."),
		misses:    counter("cache_misses_total", "Questions that went to an upstream, or waited for one that had gone."),
		stale:     counter("cache_stale_total", "Questions answered from an expired answer because no upstream answered."),
		failures:  counter("upstream_failures_total", "Questions no upstream could answer."),
		refused:   counter("upstream_refused_total", "Questions not asked because too many were in flight."),
		latency: f.NewHistogram(prometheus.HistogramOpts{Name: "schoolgate_dnsfilter_upstream_seconds",
			Help: "Time an upstream took to answer.", Buckets: prometheus.ExponentialBuckets(0.0005, 2, 14)}),
		tcp:     counter("upstream_tcp_total", "Queries repeated over TCP, cut or in doubt."),
		forged:  counter("upstream_forged_total", "Replies that matched no question."),
		private: counter("upstream_private_total", "Answers with private addresses for a public name."),
		vetoed:  counter("upstream_vetoed_total", "Replies refused as not to the question or malformed."),
	}
}

func (m *metrics) exchange(err error, took time.Duration) {
	outcome := m.answered
	if err != nil {
		outcome = m.failed
	}
	outcome.Inc()
	m.latency.Observe(took.Seconds())
}
