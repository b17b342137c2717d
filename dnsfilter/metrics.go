package dnsfilter

import (
	"slices"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/miekg/dns"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"schoolgate/policy"
)

type metrics struct {
	// Counters of one question are looked up once and kept: no map on the way.
	verdicts [3]prometheus.Counter
	types    [numTypeClasses]prometheus.Counter
	rcodes   [dns.RcodeBadCookie + 1]prometheus.Counter // nil where we never answer so
	latency  *durations

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
		latency:    newDurations(name("seconds"), "Time from a question to its answer."),
		dropped:    vec("dropped_total", "Packets that got no answer, by why.", "why"),
		limited:    counter("rate_limited_total", "Questions beyond a client's rate."),
		outside:    counter("outside_total", "Packets from networks that are not served."),
		malformed:  counter("malformed_total", "Packets that could not be read."),
		unrecorded: counter("unrecorded_total", "Questions refused because their event could not be recorded."),
		panics:     counter("panics_total", "Questions refused because our code failed on them."),
		tcpOpen:    counter("tcp_connections_total", "TCP connections accepted."),
		tcpRefused: counter("tcp_refused_total", "TCP connections closed for the sake of others."),
	}
	if reg != nil {
		reg.MustRegister(m.latency)
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
		if i > dns.RcodeBadVers && i < dns.RcodeBadCookie {
			continue // of signed messages
		}
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
	if rcode < len(m.rcodes) && m.rcodes[rcode] != nil {
		m.rcodes[rcode].Inc()
	}
}

// answered counts jobs whose events are recorded, all of them with few additions.
func (m *metrics) answered(now time.Time, jobs ...*job) {
	var verdicts [len(m.verdicts)]int
	var types [len(m.types)]int
	var rcodes [len(m.rcodes)]int
	for i := 0; i < len(jobs); {
		first := i
		for ; i < len(jobs) && jobs[i].start.Equal(jobs[first].start); i++ {
			j := jobs[i]
			verdicts[j.ruling.Verdict]++
			types[classOf(j.q.qtype)]++
			if j.msg.rcode < len(rcodes) {
				rcodes[j.msg.rcode]++
			}
		}
		m.latency.observe(now.Sub(jobs[first].start), i-first)
	}
	addAll(m.verdicts[:], verdicts[:])
	addAll(m.types[:], types[:])
	addAll(m.rcodes[:], rcodes[:])
}

func addAll(counters []prometheus.Counter, by []int) {
	for i, n := range by {
		if n > 0 && counters[i] != nil {
			counters[i].Add(float64(n))
		}
	}
}

// durations is a histogram that takes what a batch has in common with one addition.
type durations struct {
	desc   *prometheus.Desc
	bounds []float64
	counts []atomic.Uint64 // by bound; the last is for what is beyond all
	total  atomic.Int64    // nanoseconds
}

func newDurations(name, help string) *durations {
	bounds := prometheus.ExponentialBuckets(0.00001, 3, 13)
	return &durations{desc: prometheus.NewDesc(name, help, nil, nil), bounds: bounds, counts: make([]atomic.Uint64, len(bounds)+1)}
}

func (d *durations) observe(took time.Duration, times int) {
	i, _ := slices.BinarySearch(d.bounds, took.Seconds())
	d.counts[i].Add(uint64(times))
	d.total.Add(int64(took) * int64(times))
}

// Describe and Collect make it a [prometheus.Collector].
func (d *durations) Describe(c chan<- *prometheus.Desc) { c <- d.desc }

// Collect gives the state of now.
func (d *durations) Collect(c chan<- prometheus.Metric) {
	buckets, count := make(map[float64]uint64, len(d.bounds)), uint64(0)
	for i, bound := range d.bounds {
		count += d.counts[i].Load()
		buckets[bound] = count
	}
	count += d.counts[len(d.bounds)].Load()
	c <- prometheus.MustNewConstHistogram(d.desc, count, time.Duration(d.total.Load()).Seconds(), buckets)
}
