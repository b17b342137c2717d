package proxy

import (
	"context"
	"errors"
	"net"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"schoolgate/policy"
)

// metrics are counted for IT; no label holds a host, a client or a person.
type metrics struct {
	requests            *prometheus.CounterVec
	decisions           *prometheus.HistogramVec
	conns, tunnels      prometheus.Gauge
	bytes, dialErrors   *prometheus.CounterVec
	refusedConns        *prometheus.CounterVec
	hellos              *prometheus.CounterVec
	refusedDestinations prometheus.Counter
	unreadable          prometheus.Counter
	revoked             prometheus.Counter
	inside              *prometheus.CounterVec
	badCertificates     *prometheus.CounterVec
	pages               *prometheus.CounterVec
	read, unread        prometheus.Counter // bytes of replies
	panics              prometheus.Counter
	recordErrors        prometheus.Counter

	byDoor              [policy.DoorInspect + 1]doorMetrics
	up, down, wellHello prometheus.Counter // children looked up once
}

func newMetrics(r prometheus.Registerer) (*metrics, error) {
	opts := func(name, help string) prometheus.Opts {
		return prometheus.Opts{Namespace: "schoolgate", Subsystem: "proxy", Name: name, Help: help}
	}
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts(opts(name, help)))
	}
	counters := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts(opts(name, help)), labels)
	}
	gauge := func(name, help string) prometheus.Gauge {
		return prometheus.NewGauge(prometheus.GaugeOpts(opts(name, help)))
	}
	m := &metrics{
		requests: counters("requests_total", "Requests decided, by door and verdict.", "door", "verdict"),
		decisions: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Namespace: "schoolgate", Subsystem: "proxy", Name: "decision_seconds",
			Help:    "Time from a request read to its event recorded, with the name look-up.",
			Buckets: []float64{.00002, .00005, .0001, .0005, .001, .005, .01, .05, .1, .5, 1, 5},
		}, []string{"door"}),
		conns:               gauge("connections", "Client connections open."),
		tunnels:             gauge("tunnels", "Tunnels open."),
		bytes:               counters("tunnel_bytes_total", "Bytes relayed in tunnels, up to origins and down to clients.", "direction"),
		dialErrors:          counters("dial_errors_total", "Origins not reached, by kind.", "kind"),
		refusedConns:        counters("refused_connections_total", "Client connections refused at a bound.", "bound"),
		hellos:              counters("client_hellos_total", "First bytes of tunnels, by what they were.", "kind"),
		refusedDestinations: counter("refused_destinations_total", "Names that led only to addresses of the inside."),
		unreadable:          counter("unreadable_requests_total", "Connections that ended inside a request that could not be read."),
		revoked:             counter("revoked_tunnels_total", "Open tunnels closed as their verdict changed."),
		inside:              counters("inspected_tunnels_total", "Tunnels looked into, by protocol, and handshakes that failed.", "outcome"),
		badCertificates:     counters("bad_certificates_total", "Origins whose certificates were refused, by reason.", "reason"),
		pages:               counters("read_pages_total", "Pages read for their content as they passed, by outcome; part is read up to a bound.", "outcome"),
		panics:              counter("panics_total", "Requests and tunnels ended by a fault of ours."),
		recordErrors:        counter("record_errors_total", "Requests refused as their event could not be recorded."),
	}
	m.lookUp()
	replies := counters("reply_bytes_total", "Bytes of replies whose requests were seen, by whether they were read for their content.", "read")
	m.read, m.unread = replies.WithLabelValues("yes"), replies.WithLabelValues("no")
	for _, outcome := range []string{"passed", "part", "blocked", "broken_off", "bomb", "unreadable", "busy"} {
		m.pages.WithLabelValues(outcome)
	}
	if r == nil {
		return m, nil
	}
	var err error
	for _, c := range []prometheus.Collector{m.requests, m.decisions, m.conns, m.tunnels, m.bytes, m.dialErrors,
		m.refusedConns, m.hellos, m.refusedDestinations, m.unreadable, m.revoked, m.inside, m.badCertificates, m.pages, replies, m.panics, m.recordErrors} {
		err = errors.Join(err, r.Register(c))
	}
	return m, err
}

// watchTrust counts the clients that trust nothing of the school's authority.
func (m *metrics) watchTrust(r prometheus.Registerer, untrusting func() int) error {
	if r == nil {
		return nil
	}
	return r.Register(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Namespace: "schoolgate", Subsystem: "proxy", Name: "untrusting_clients",
		Help: "Clients that refused the school's certificate within the hour and took none.",
	}, func() float64 { return float64(untrusting()) }))
}

func (m *metrics) decided(d policy.Door, v policy.Verdict, took time.Duration) {
	if int(d) >= len(m.byDoor) || int(v) >= len(m.byDoor[d].verdicts) {
		m.requests.WithLabelValues(d.String(), v.String()).Inc()
		return
	}
	m.byDoor[d].verdicts[v].Inc()
	m.byDoor[d].took.Observe(took.Seconds())
}

// doorMetrics are those of one door, looked up once.
type doorMetrics struct {
	verdicts [policy.Allow + 1]prometheus.Counter
	took     prometheus.Observer
}

func (m *metrics) lookUp() {
	for d := range m.byDoor {
		name := policy.Door(d).String()
		m.byDoor[d].took = m.decisions.WithLabelValues(name)
		for v := range m.byDoor[d].verdicts {
			m.byDoor[d].verdicts[v] = m.requests.WithLabelValues(name, policy.Verdict(v).String())
		}
	}
	m.wellHello = m.hellos.WithLabelValues("ok")
	m.up, m.down = m.bytes.WithLabelValues("up"), m.bytes.WithLabelValues("down")
}

func (m *metrics) dialFailed(err error) {
	kind := "connect"
	var dns *net.DNSError
	var ne net.Error
	switch {
	case errors.Is(err, context.Canceled):
		kind = "client_gone"
	case errors.As(err, &dns):
		kind = "resolve"
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &ne) && ne.Timeout():
		kind = "timeout"
	}
	m.dialErrors.WithLabelValues(kind).Inc()
}
