package appliance

import (
	"context"
	"crypto/x509"
	"errors"
	"runtime"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"schoolgate/blocklists"
	"schoolgate/configs"
)

// supplying is the supply of lists in a running box.
type supplying struct {
	schedule blocklists.Schedule
	wake     chan struct{}  // a reload may have changed the feeds
	roots    *x509.CertPool // nil is the operating system's
}

func newSupplying() supplying {
	return supplying{schedule: blocklists.NewSchedule(time.Now()), wake: make(chan struct{}, 1)}
}

// woken has the next look at the feeds taken at once.
func (s *supplying) woken() {
	select {
	case s.wake <- struct{}{}:
	default: // it is to be woken already
	}
}

const (
	// longestWait is how long the box goes without a look at its feed file.
	longestWait = 5 * time.Minute
	// busyWait is how long it waits for a command that fetches.
	busyWait = 10 * time.Second
	// buildSpacing is how far apart builds are that only public lists ask for. A
	// mandatory list is built at once.
	buildSpacing = time.Hour
)

// runSupply fetches what is due, builds and swaps, until ctx is done. What goes
// wrong is logged and tried again; nothing of it stops the doors.
func (a *Appliance) runSupply(ctx context.Context) error {
	for {
		wait, err := a.supplyRound(ctx)
		if err != nil && ctx.Err() == nil {
			a.log.Error("supply of lists", "err", err)
		}
		timer := time.NewTimer(min(max(wait, time.Second), longestWait))
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil
		case <-a.supply.wake:
		case <-timer.C:
		}
		timer.Stop()
	}
}

// supplyRound does what is due and says how long nothing is.
func (a *Appliance) supplyRound(ctx context.Context) (time.Duration, error) {
	s, err := OpenSupply(a.config.Load(), SupplyOptions{Resolver: a.dns, Roots: a.supply.roots, Log: a.log})
	if err != nil {
		return longestWait, err
	}
	defer s.Close()
	s.takeUp = func(context.Context) (string, error) { return "taken up", a.takeUpStore() }
	s.workers = max(1, runtime.NumCPU()/2) // the doors come first
	if version, _, err := s.current(); err == nil && len(s.fetched()) == 0 && !s.mendable() && !s.upgraded(version) {
		return longestWait, nil
	}
	unlock, err := s.cache.Lock()
	if errors.Is(err, blocklists.ErrBusy) {
		return busyWait, nil
	}
	if err != nil {
		return longestWait, err
	}
	wait, err := s.round(ctx, a.supply.schedule)
	return wait, errors.Join(err, unlock())
}

// round fetches what is due and settles it. The lock is held.
func (s *Supply) round(ctx context.Context, schedule blocklists.Schedule) (time.Duration, error) {
	due, _ := s.due(schedule)
	if len(due) > 0 {
		s.fetch(ctx, due, FetchRequest{scheduled: true})
	}
	if ctx.Err() != nil {
		return 0, nil
	}
	var err error
	if s.buildDue(time.Now()) {
		_, err = s.settle(ctx, nil)
		err = errors.Join(err, s.sweep())
	}
	_, next := s.due(schedule)
	return next, err
}

func (s *Supply) fetched() []blocklists.Feed {
	feeds, _ := s.named(nil) // no feed with an address is no error here
	return feeds
}

// due are the feeds to be fetched now, and how long it is to the next.
func (s *Supply) due(schedule blocklists.Schedule) (due []blocklists.Feed, next time.Duration) {
	next = longestWait
	for _, f := range s.fetched() {
		state, _ := s.cache.State(&f) // a damaged state is empty, so the feed is due
		now := time.Now()
		at := schedule.Next(&f, state, now)
		if !at.After(now) {
			due = append(due, f)
		}
		next = min(next, max(0, at.Sub(now)))
	}
	return due, next
}

// buildDue reports whether new content may be built now: at once where a
// mandatory list or the first fetched content asks for it, else in spaces.
func (s *Supply) buildDue(now time.Time) bool {
	version, have, err := s.current()
	if err != nil || have == nil {
		return true
	}
	want := s.wanted()
	before, _ := s.split(have)
	if mandatory, _ := s.split(want); !mandatory.equal(before) {
		return true
	}
	store, _, err := s.dir.OpenLastGood(s.key)
	if err != nil || store.Version() != version {
		return true
	}
	age := now.Sub(store.Info().Built)
	return age > buildSpacing || age < 0
}

// takeUpStore swaps the newest store into the decisions of the running box and
// leaves everything else as it is.
func (a *Appliance) takeUpStore() error {
	a.reloading.Lock()
	defer a.reloading.Unlock()
	store, err := a.newestStore()
	if err != nil {
		return err
	}
	if err := a.swapStore(store); err != nil {
		return err
	}
	a.log.Info("lists taken up", "store", store.Version())
	return nil
}

// supplyMetrics tells how each feed stands, from the files at each scrape.
type supplyMetrics struct {
	config                     func() *configs.Config
	age, entries, state, fails *prometheus.Desc
	limit, change              *prometheus.Desc
	held, trouble              *prometheus.Desc
}

func newSupplyMetrics(config func() *configs.Config) *supplyMetrics {
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc("schoolgate_lists_"+name, help, labels, nil)
	}
	return &supplyMetrics{
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
func (m *supplyMetrics) Describe(ch chan<- *prometheus.Desc) { prometheus.DescribeByCollect(m, ch) }

// Collect reads the state of the feeds.
func (m *supplyMetrics) Collect(ch chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	is := map[bool]float64{true: 1}
	status, err := SupplyStatusOf(m.config(), time.Now())
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
