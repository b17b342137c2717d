package appliance

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"golang.org/x/sync/errgroup"

	"schoolgate/acts"
	"schoolgate/audit"
	"schoolgate/audit/index"
	"schoolgate/categories"
	"schoolgate/clients"
	"schoolgate/configs"
	"schoolgate/containment"
	"schoolgate/control"
	"schoolgate/dnsfilter"
	"schoolgate/helpcount"
	"schoolgate/incidents"
	"schoolgate/policy"
	"schoolgate/proxy"
	"schoolgate/proxy/inspect"
	"schoolgate/sealing"
	"schoolgate/supply"
)

// Options is what an Appliance is built from.
type Options struct {
	Config *configs.Config
	// Load reads the configuration anew, for a reload; all problems are in its error.
	Load func() (*configs.Config, error)
	Log  *slog.Logger
}

// Appliance is the whole box.
type Appliance struct {
	load       func() (*configs.Config, error)
	log        *slog.Logger
	registry   *prometheus.Registry
	engine     policy.Engine
	config     atomic.Pointer[configs.Config]
	started    configs.Box // what the parts that a reload leaves alone were built from
	store      atomic.Pointer[categories.Store]
	standIn    atomic.Pointer[categories.Store]     // the store that stands in for damaged ones, if one does
	passedOver atomic.Pointer[[]categories.Skipped] // versions that could not be read when the store was opened
	dir        *categories.Dir
	stores     *categories.Metrics
	reloads    *prometheus.CounterVec

	journal      *audit.Journal
	index        *index.Maker // nil where its folder cannot be used
	dns          *dnsfilter.Server
	proxy        *proxy.Server
	watch        *watch                // hears searches for the proxy
	leaves       *inspect.Leaves       // nil where nothing is signed
	never        *inspect.NeverInspect // nil where nothing is looked into
	rootsTrouble error                 // why inspect.upstream_roots could not be read
	pairs        []*keyPair            // certificates of doors
	health       []net.Listener
	control      net.Listener
	dropped      net.Listener // where the firewall's guard tells what it dropped; nil where there is no gateway
	people       restartable  // the table of clients, which watches the neighbours
	alerts       alerting
	supply       supplying

	sink      *sealing.Sink                 // the journal as the doors see it
	help      *helpcount.Count              // of what is counted and not written
	register  *incidents.Register           // of incidents
	tell      telling                       // what children tell
	raising   sync.Mutex                    // one alert of theirs at a time
	contained *containment.Keeper           // what staff closed at once
	table     atomic.Pointer[clients.Table] // in force
	swapping  sync.Mutex                    // one snapshot is made at a time

	reloading sync.Mutex // one reload at a time
	closers   []func() error
}

// New builds the box and binds its addresses, so that what is wrong is said
// here. Call Run, which serves and then closes everything.
func New(ctx context.Context, o Options) (_ *Appliance, err error) {
	a := &Appliance{load: o.Load, log: o.Log, registry: prometheus.NewRegistry()}
	if a.log == nil {
		a.log = slog.New(slog.DiscardHandler)
	}
	a.registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	a.stores = categories.NewMetrics(a.registry)
	a.reloads = newReloadMetric(a.registry)
	a.config.Store(o.Config)
	a.started = o.Config.Box
	a.supply = newSupplying()
	a.registry.MustRegister(supply.NewMetrics(a.config.Load), a.damageMetric())
	defer func() {
		if err != nil {
			err = errors.Join(err, a.close())
		}
	}()
	for _, build := range []func(context.Context) error{
		a.openJournal, a.openStore, a.openContained, a.openIncidents, a.openPolicy, a.openIndex, a.openAlerts, a.openDNS, a.openProxy, a.openHealth, a.openControl,
	} {
		if err := build(ctx); err != nil {
			return nil, advised(err)
		}
	}
	return a, nil
}

// Run serves until ctx is done or a part fails, stops the doors, finishes what
// is under way and closes the journal.
func (a *Appliance) Run(ctx context.Context) error {
	back, stopBack := context.WithCancel(context.WithoutCancel(ctx)) // what outlives the doors
	a.people.start(back)
	a.alerts.part.start(back)
	a.raiseForgotten()
	doors, ctx := errgroup.WithContext(ctx)
	doors.Go(func() error { return a.dns.Run(ctx) })
	doors.Go(func() error { return a.proxy.Run(ctx) })
	doors.Go(func() error { return a.runSupply(ctx) })
	doors.Go(func() error { return a.guardStore(ctx) })
	doors.Go(func() error { return a.runNotices(ctx) })
	doors.Go(func() error { return a.runIndex(ctx) })
	doors.Go(func() error { return a.runRetention(ctx) })
	doors.Go(func() error { return a.runWatchdog(ctx) })
	doors.Go(func() error { return a.runHelpCount(ctx) })
	doors.Go(func() error { return a.runTrim(ctx) })
	for _, l := range a.health {
		doors.Go(func() error { return serveHTTP(ctx, l, a.healthHandler()) })
	}
	doors.Go(func() error { return serveHTTP(ctx, a.control, a.controlHandler()) })
	if a.dropped != nil {
		doors.Go(func() error { return serveHTTP(ctx, a.dropped, a.guardHandler()) })
	}
	err := doors.Wait()
	stopBack()
	err = errors.Join(err, a.people.wait(), a.alerts.part.wait())
	return errors.Join(err, a.close())
}

// advised adds what to do to an error of binding an address.
func advised(err error) error {
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return fmt.Errorf("%w (another program, or another schoolgate, listens there: stop it, or change the address in schoolgate.yaml)", err)
	case errors.Is(err, syscall.EACCES):
		return fmt.Errorf("%w (a port below 1024 needs root or CAP_NET_BIND_SERVICE; data must be writable)", err)
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return fmt.Errorf("%w (this machine has no such address: change it in schoolgate.yaml)", err)
	}
	return err
}

// onClose has f called when the box closes, the last registered first.
func (a *Appliance) onClose(f func() error) { a.closers = append(a.closers, f) }

func (a *Appliance) close() error {
	var errs []error
	for i := len(a.closers) - 1; i >= 0; i-- {
		errs = append(errs, a.closers[i]())
	}
	a.closers = nil
	return errors.Join(errs...)
}

func (a *Appliance) box() configs.Box { return a.config.Load().Box }

func (a *Appliance) openJournal(context.Context) error {
	box := a.box()
	if err := os.MkdirAll(box.Data, 0o700); err != nil {
		return fmt.Errorf("data directory: %w", err)
	}
	options := acts.JournalOptions(&box)
	options.Log, options.Metrics = a.log, a.registry
	journal, err := audit.Open(audit.In(box.Data).Path, options)
	if err != nil {
		return fmt.Errorf("audit journal: %w", err)
	}
	a.journal = journal
	a.onClose(journal.Close)
	help, err := helpcount.Open(box.Data, a.log, func() *time.Location { return a.config.Load().School.Policy.Timetable.Location })
	if err != nil {
		return err
	}
	a.help = help
	a.sink = sealing.New(sealing.Options{Journal: journal, Help: help, Log: a.log, Lists: a.lists, HelpLine: a.helpLine})
	a.onClose(help.Close)
	return nil
}

func (a *Appliance) openHealth(ctx context.Context) error {
	for _, addr := range a.box().Metrics.Listen {
		l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", addr.String())
		if err != nil {
			return fmt.Errorf("metrics: %w", err)
		}
		a.health = append(a.health, l)
		a.onClose(closeOnce(l))
	}
	return nil
}

func (a *Appliance) openControl(ctx context.Context) (err error) {
	a.control, err = control.Listen(ctx, a.box().Data)
	if err != nil {
		return err
	}
	a.onClose(closeOnce(a.control))
	if len(a.box().Gateway.Networks) == 0 {
		return nil
	}
	if a.dropped, err = listenDropped(ctx, a.box().Data); err != nil {
		return err
	}
	a.onClose(closeOnce(a.dropped))
	return nil
}

// closeOnce closes what serving may have closed already.
func closeOnce(l io.Closer) func() error {
	return func() error {
		if err := l.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
			return err
		}
		return nil
	}
}

// serveHTTP serves one of the box's own small pages until ctx is done.
func serveHTTP(ctx context.Context, l net.Listener, h http.Handler) error {
	server := &http.Server{
		Handler: h, ReadHeaderTimeout: 10 * time.Second, ReadTimeout: 30 * time.Second,
		WriteTimeout: 2 * time.Minute, IdleTimeout: time.Minute, MaxHeaderBytes: 16 << 10,
	}
	stopped := make(chan error, 1)
	stop := context.AfterFunc(ctx, func() {
		deadline, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		defer cancel()
		stopped <- server.Shutdown(deadline)
	})
	err := server.Serve(l)
	if !stop() && errors.Is(err, http.ErrServerClosed) {
		return <-stopped
	}
	return err
}

func texts[T fmt.Stringer](list []T) []string {
	out := make([]string, len(list))
	for i, v := range list {
		out[i] = v.String()
	}
	return out
}
