package appliance

import (
	"context"
	"crypto/x509"
	"errors"
	"runtime"
	"strings"
	"time"

	"schoolgate/blocklists"
	"schoolgate/categories"
	"schoolgate/supply"
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

// runSupply fetches what is due, builds and swaps, until ctx is done. What goes
// wrong is logged and tried again; nothing of it stops the doors.
func (a *Appliance) runSupply(ctx context.Context) error {
	for {
		wait, err := a.supplyRound(ctx)
		if err != nil && ctx.Err() == nil {
			a.log.Error("supply of lists", "err", err)
		}
		timer := time.NewTimer(min(max(wait, time.Second), supply.LongestWait))
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
	s, err := supply.Open(a.config.Load(), supply.Options{
		Resolver: a.dns, Roots: a.supply.roots, Log: a.log,
		TakeUp:  func(context.Context) (string, error) { return "taken up", a.takeUpStore() },
		Workers: max(1, runtime.NumCPU()/2), // the doors come first
	})
	if err != nil {
		return supply.LongestWait, err
	}
	defer s.Close()
	return s.Round(ctx, a.supply.schedule)
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

// supplyCheck is the line of the feeds on the page of readiness.
func (a *Appliance) supplyCheck() Check {
	status, err := supply.StatusOf(a.config.Load(), time.Now())
	if err != nil { // the lists in force go on; a feed file with mistakes brings no new ones
		return Check{Name: "feeds", Say: "the feed file cannot be read, so nothing new is fetched: " + lines(err)[0]}
	}
	return Check{Name: "feeds", Say: status.Summary(), Err: status.Err()}
}

// mandatoryCheck is the line of readiness for removed mandatory lists; there is
// none while nothing is removed.
func (a *Appliance) mandatoryCheck(info categories.Info) []Check {
	removed, err := supply.RemovedMandatory(a.config.Load(), info)
	if err == nil && len(removed) == 0 {
		return nil
	}
	c := Check{Name: "mandatory", Say: "mandatory lists", Err: err}
	for _, r := range removed {
		c.Err = errors.Join(c.Err, errors.New(r.String()))
	}
	if c.Err != nil {
		c.Err = errors.New(strings.Join(lines(c.Err), "; "))
	}
	return []Check{c}
}
