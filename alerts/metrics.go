package alerts

import (
	"strconv"

	"github.com/prometheus/client_golang/prometheus"
)

type metrics struct {
	opened       *prometheus.CounterVec // by severity
	folded       prometheus.Counter
	sends        *prometheus.CounterVec // by result
	stateErrors  prometheus.Counter
	sourceErrors prometheus.Counter
	untold       prometheus.Counter
	late         prometheus.Counter
	answer       *prometheus.HistogramVec // by severity
}

// newMetrics registers with r, or nowhere if r is nil.
func newMetrics(r prometheus.Registerer, status func() Status) *metrics {
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Name: "schoolgate_alerts_" + name, Help: help})
	}
	vec := func(name, help, label string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: "schoolgate_alerts_" + name, Help: help}, []string{label})
	}
	m := &metrics{
		opened:       vec("opened_total", "Alerts opened, by severity of their first event.", "severity"),
		folded:       counter("events_folded_total", "Flagged events counted on an alert that was open already."),
		sends:        vec("sends_total", "Tries to hand a mail to the server, by result.", "result"),
		stateErrors:  counter("state_errors_total", "Reads and writes of the alert state that did not work."),
		sourceErrors: counter("source_errors_total", "Times the journal could not be followed."),
		untold:       counter("dropped_untold_total", "Alerts dropped at the bound before anybody was told."),
		late:         counter("late_total", "Times an alert was not acknowledged in time and the next person was told."),
		answer: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "schoolgate_alerts_acknowledge_minutes", Help: "Minutes from the first event of an alert to its acknowledgement, by severity.",
			Buckets: []float64{1, 5, 10, 30, 60, 240, 480, 1440, 2880, 10080},
		}, []string{"severity"}),
	}
	if r == nil {
		return m
	}
	r.MustRegister(m.opened, m.folded, m.sends, m.stateErrors, m.sourceErrors, m.untold, m.late, m.answer, newGauges(status))
	return m
}

func severityLabel(s uint8) string { return strconv.Itoa(int(s)) }

// gauges reads the status once a scrape.
type gauges struct {
	status                                                                func() Status
	queued, oldest, held, unaddressed, dead, openNow, unanswered, overdue *prometheus.Desc
}

func newGauges(status func() Status) *gauges {
	desc := func(name, help string) *prometheus.Desc {
		return prometheus.NewDesc("schoolgate_alerts_"+name, help, nil, nil)
	}
	return &gauges{
		status:      status,
		queued:      desc("outbox_queued", "Mails that wait for the server."),
		oldest:      desc("outbox_oldest_age_seconds", "Age of the mail that has waited longest."),
		held:        desc("held", "Alerts that wait for a summary mail."),
		unaddressed: desc("unaddressed", "Alerts that nobody is configured to hear of."),
		dead:        desc("dead", "Mails given up after a week and kept."),
		openNow:     desc("open", "Alerts whose quiet period runs."),
		unanswered:  desc("unacknowledged", "Alerts that nobody has acknowledged and that wait for it."),
		overdue:     desc("overdue", "Alerts that were not acknowledged in time and still are not."),
	}
}

func (g *gauges) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{g.queued, g.oldest, g.held, g.unaddressed, g.dead, g.openNow, g.unanswered, g.overdue} {
		ch <- d
	}
}

func (g *gauges) Collect(ch chan<- prometheus.Metric) {
	st := g.status()
	gauge := func(d *prometheus.Desc, v float64) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v)
	}
	gauge(g.queued, float64(st.Queued))
	gauge(g.oldest, st.Oldest.Seconds())
	gauge(g.held, float64(st.Held))
	gauge(g.unaddressed, float64(st.Unaddressed))
	gauge(g.dead, float64(st.Dead))
	gauge(g.openNow, float64(st.Open))
	gauge(g.unanswered, float64(st.Unanswered))
	gauge(g.overdue, float64(st.Overdue))
}
