package supply

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"schoolgate/blocklists"
	"schoolgate/configs"
)

// Metrics tells how each feed stands, from the files at each scrape.
type Metrics struct {
	config                     func() *configs.Config
	age, entries, state, fails *prometheus.Desc
	limit, change              *prometheus.Desc
	held, trouble              *prometheus.Desc
}

// NewMetrics makes those of the box with the configuration in force. Register them.
func NewMetrics(config func() *configs.Config) *Metrics {
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc("schoolgate_lists_"+name, help, labels, nil)
	}
	return &Metrics{
		config:  config,
		age:     desc("feed_age_seconds", "Time since a fetched feed was last known to be what its publisher has; absent if it was never fetched.", "feed"),
		entries: desc("feed_entries", "Entries of the copy of a fetched feed.", "feed"),
		state:   desc("feed_state", "1 for the state that a fetched feed is in: green, amber or red.", "feed", "state"),
		fails:   desc("feed_failures", "Fetches of a feed that failed since the last one that did not.", "feed"),
		limit:   desc("feed_limit_seconds", "Age at which a fetched feed turns amber, and red.", "feed", "state"),
		change:  desc("feed_changed_entries", "Entries that came and went with the newest copy of a fetched feed.", "feed", "direction"),
		held:    desc("store_held", "1 if a new version of the lists is held back and waits for a person."),
		trouble: desc("status_unreadable", "1 if the feed file or the state of the supply cannot be read."),
	}
}

// Describe names the metrics.
func (m *Metrics) Describe(ch chan<- *prometheus.Desc) { prometheus.DescribeByCollect(m, ch) }

// Collect reads the state of the feeds.
func (m *Metrics) Collect(ch chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	is := map[bool]float64{true: 1}
	status, err := StatusOf(m.config(), time.Now())
	gauge(m.trouble, is[err != nil])
	gauge(m.held, is[status.Held != nil])
	for _, f := range status.Feeds {
		if !f.Fetched {
			continue
		}
		if f.Age < never {
			gauge(m.age, f.Age.Seconds(), f.Name)
		}
		gauge(m.entries, float64(f.Entries), f.Name)
		gauge(m.fails, float64(f.Failures), f.Name)
		gauge(m.limit, f.Amber.Seconds(), f.Name, string(blocklists.Amber))
		gauge(m.limit, f.Red.Seconds(), f.Name, string(blocklists.Red))
		gauge(m.change, float64(f.Added), f.Name, "added")
		gauge(m.change, float64(f.Removed), f.Name, "removed")
		for _, state := range []blocklists.Freshness{blocklists.Green, blocklists.Amber, blocklists.Red} {
			gauge(m.state, is[f.State == state], f.Name, string(state))
		}
	}
}
