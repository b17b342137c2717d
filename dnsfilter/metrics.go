package dnsfilter

import (
	"strconv"

	"github.com/miekg/dns"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"schoolgate/policy"
)

type metrics struct {
	// Counters of one question are looked up once and kept: no map on the way.
	verdicts [3]prometheus.Counter
	types    [numTypeClasses]prometheus.Counter
	rcodes   [17]prometheus.Counter
	latency  prometheus.Histogram

	dropped *prometheus.CounterVec
	limited, outside, malformed, unrecorded, panics,
	tcpOpen, tcpRefused prometheus.Counter
}

// typeClass keeps the labels few: nobody needs to count TYPE1234.
type typeClass uint8

const (
	typeA typeClass = iota
	typeAAAA
	typeHTTPS
	typePTR
	typeOther
	numTypeClasses
)

func classOf(t uint16) typeClass {
	switch t {
	case dns.TypeA:
		return typeA
	case dns.TypeAAAA:
		return typeAAAA
	case dns.TypeHTTPS, dns.TypeSVCB:
		return typeHTTPS
	case dns.TypePTR:
		return typePTR
	}
	return typeOther
}

// newMetrics registers them; open counts connections, waiting questions.
func newMetrics(reg prometheus.Registerer, open, waiting func() float64) *metrics {
	f := promauto.With(reg)
	name := func(s string) string { return "schoolgate_dnsfilter_" + s }
	counter := func(n, help string) prometheus.Counter {
		return f.NewCounter(prometheus.CounterOpts{Name: name(n), Help: help})
	}
	vec := func(n, help, label string) *prometheus.CounterVec {
		return f.NewCounterVec(prometheus.CounterOpts{Name: name(n), Help: help}, []string{label})
	}
	m := &metrics{
		latency: f.NewHistogram(prometheus.HistogramOpts{Name: name("seconds"), Help: "Time from a question to its answer.",
			Buckets: prometheus.ExponentialBuckets(0.00001, 3, 13)}),
		dropped:    vec("dropped_total", "Packets that got no answer, by why.", "why"),
		limited:    counter("rate_limited_total", "Questions beyond a client's rate."),
		outside:    counter("outside_total", "Packets from networks that are not served."),
		malformed:  counter("malformed_total", "Packets that could not be read."),
		unrecorded: counter("unrecorded_total", "Questions refused because their event could not be recorded."),
		panics:     counter("panics_total", "Questions refused because our code failed on them."),
		tcpOpen:    counter("tcp_connections_total", "TCP connections accepted."),
		tcpRefused: counter("tcp_refused_total", "TCP connections closed for the sake of others."),
	}
	f.NewGaugeFunc(prometheus.GaugeOpts{Name: name("tcp_connections"), Help: "TCP connections open."}, open)
	f.NewGaugeFunc(prometheus.GaugeOpts{Name: name("in_flight"), Help: "Questions that wait for an upstream."}, waiting)
	verdicts := vec("verdicts_total", "Questions by verdict.", "verdict")
	for v := policy.Block; v <= policy.Allow; v++ {
		m.verdicts[v] = verdicts.WithLabelValues(v.String())
	}
	types := vec("types_total", "Questions by type.", "type")
	for c, label := range [...]string{typeA: "a", typeAAAA: "aaaa", typeHTTPS: "https", typePTR: "ptr", typeOther: "other"} {
		m.types[c] = types.WithLabelValues(label)
	}
	rcodes := vec("rcodes_total", "Answers by response code.", "rcode")
	for i := range m.rcodes {
		label, ok := dns.RcodeToString[i]
		switch {
		case i == dns.RcodeBadVers:
			label = "BADVERS" // the same number means BADSIG in a signed message
		case !ok:
			label = strconv.Itoa(i)
		}
		m.rcodes[i] = rcodes.WithLabelValues(label)
	}
	return m
}

func (m *metrics) rcode(rcode int) {
	if rcode < len(m.rcodes) {
		m.rcodes[rcode].Inc()
	}
}
