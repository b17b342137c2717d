package appliance

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"time"

	"schoolgate/categories"
	"schoolgate/clients"
	"schoolgate/configs"
	"schoolgate/containment"
	"schoolgate/policy"
	"schoolgate/supply"
	"schoolgate/terms/revisions"
)

// openStore opens the category store in force: the last good version, or, on a
// box that has built none, one of the starter lists.
func (a *Appliance) openStore(ctx context.Context) error {
	var err error
	if a.dir, err = categories.OpenDir(a.box().Lists.Store); err != nil {
		return fmt.Errorf("category store: %w", err)
	}
	store, err := a.lastGoodStore(ctx)
	if err != nil {
		return err
	}
	a.takeStore(store)
	return nil
}

// lastGoodStore opens the newest version that is whole. Where none was ever
// built it builds one of the starter lists; where all are damaged those stand in
// for it, closed (fault F5).
func (a *Appliance) lastGoodStore(ctx context.Context) (*categories.Store, error) {
	key, err := supply.Key(a.box())
	if err != nil {
		return nil, err
	}
	store, skipped, err := a.dir.OpenLastGood(key, categories.WithMetrics(a.stores), categories.WithLog(a.log))
	a.passedOver.Store(&skipped)
	for _, s := range skipped {
		a.log.Error("category store version is damaged and was passed over", "version", s.Version, "err", s.Err)
	}
	if err != nil && (len(skipped) > 0 || !errors.Is(err, categories.ErrNoStore)) {
		a.log.Error("no category store can be read, going on with the starter lists, and closed to pupils for what they do not know", "err", err)
		return a.buildStandIn(ctx, key)
	}
	if err != nil || supply.StarterOnly(store.Info()) && supply.Outdated(store.Info()) {
		return a.buildStarter(ctx, key)
	}
	return store, nil
}

// guardEvery is how often the store in force is asked whether it can be read.
const guardEvery = 2 * time.Second

// guardStore replaces a store that has become unreadable under us (fault F6) by
// the last good one. Until then it refuses whatever it is asked.
func (a *Appliance) guardStore(ctx context.Context) error {
	tick := time.NewTicker(guardEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		if a.store.Load().Readable() {
			continue
		}
		if err := a.replaceStore(ctx); err != nil {
			a.log.Error("category store cannot be read and cannot be replaced: everything it is asked for is refused", "err", err)
		}
	}
}

func (a *Appliance) replaceStore(ctx context.Context) error {
	a.reloading.Lock()
	defer a.reloading.Unlock()
	a.log.Error("category store can no longer be read, going back to the last good one", "version", a.store.Load().Version())
	store, err := a.lastGoodStore(ctx)
	if err != nil {
		return err
	}
	return a.swapStore(store)
}

// swapStore puts a store in force and leaves everything else as it is.
func (a *Appliance) swapStore(store *categories.Store) error {
	p, err := a.policyOver(a.config.Load(), store)
	if err != nil {
		return err
	}
	a.takeStore(store)
	a.swap(p, a.table.Load())
	return nil
}

// takeStore makes a store the one that the next snapshot is made of.
func (a *Appliance) takeStore(s *categories.Store) {
	a.store.Store(s)
	a.stores.InForce(s)
}

func (a *Appliance) buildStarter(ctx context.Context, key []byte) (*categories.Store, error) {
	version, err := a.dir.Next()
	if err != nil {
		return nil, fmt.Errorf("category store: %w", err)
	}
	store, err := a.starterAt(ctx, a.dir.Path(version), version, key)
	if err != nil {
		return nil, err
	}
	if err := a.dir.Publish(version); err != nil {
		return nil, fmt.Errorf("starter lists: %w", err)
	}
	return store, nil
}

// openPolicy compiles who is who and puts the first snapshot in force.
func (a *Appliance) openPolicy(context.Context) error {
	table, err := clientTable(a.config.Load(), a.clientOptions())
	if err != nil {
		return err
	}
	p, err := a.policyOver(a.config.Load(), a.store.Load())
	if err != nil {
		return err
	}
	return a.inForce(a.config.Load(), p, table)
}

// swap puts policy, clients and store in force, with what staff closed at once.
func (a *Appliance) swap(p *policy.Policy, table *clients.Table) {
	a.swapping.Lock()
	defer a.swapping.Unlock()
	store := a.store.Load()
	a.table.Store(table)
	a.engine.Swap(a.contained.Now().Snapshot(p, store, store.Version(), table))
}

func (a *Appliance) clientOptions() clients.Options {
	return clients.Options{Log: a.log, Metrics: a.registry}
}

// inForce swaps policy, clients and store in one step.
func (a *Appliance) inForce(cfg *configs.Config, p *policy.Policy, table *clients.Table) error {
	a.swap(p, table)
	a.config.Store(cfg)
	return a.people.replace(func() (func(context.Context) error, error) { return table.Run, nil })
}

// clientTable is the configuration's members as the table of clients.
func clientTable(cfg *configs.Config, o clients.Options) (*clients.Table, error) {
	members := make([]clients.Member, len(cfg.School.Members))
	for i, m := range cfg.School.Members {
		members[i] = clients.Member(m)
	}
	table, err := clients.New(members, o)
	if err != nil {
		return nil, fmt.Errorf("clients: %w", err)
	}
	return table, nil
}

// Reload reads configuration and store anew and puts both in force in one step,
// or keeps the last good state and says why. The text tells what is in force.
func (a *Appliance) Reload() (string, error) {
	a.reloading.Lock()
	defer a.reloading.Unlock()
	changed, err := a.reload()
	if err != nil {
		a.reloads.WithLabelValues("refused").Inc()
		return "", err
	}
	a.reloads.WithLabelValues("done").Inc()
	a.supply.woken()
	a.log.Info("reloaded", "policy", a.engine.Current().Policy.Version, "store", a.engine.Current().StoreVersion)
	return changed, nil
}

func (a *Appliance) reload() (string, error) {
	cfg, err := a.load()
	if err != nil {
		return "", err
	}
	table, err := clientTable(cfg, a.clientOptions())
	if err != nil {
		return "", err
	}
	store, err := a.newestStore()
	if err != nil {
		return "", err
	}
	p, err := a.policyOver(cfg, store)
	if err != nil {
		return "", err
	}
	<-a.watch.ready // two revisions at once would have the same number
	heard, err := revisions.TakeUp(cfg, a.journal)
	if err != nil {
		return "", err
	}
	old := a.config.Load()
	if err := a.reloadAlerts(old, cfg); err != nil {
		return "", err
	}
	if err := a.sink.Configure(cfg.School.Seal); err != nil {
		return "", fmt.Errorf("incidents: %w", err)
	}
	a.watch.take(heard)
	restart := needsRestart(a.started, cfg.Box)
	a.takeStore(store)
	if err := a.inForce(cfg, p, table); err != nil {
		a.log.Warn("the replaced table of clients ended with an error", "err", err)
	}
	text := fmt.Sprintf("in force: policy %s, category store %d (%d names)",
		p.Version, store.Version(), store.Info().Names)
	text += a.takeAuthorities()
	if a.never != nil {
		a.never.Use(cfg.Box.Inspect.Never)
	}
	if restart != "" {
		a.log.Warn("not taken up before a restart", "changes", restart)
		text += "\nnot taken up before a restart: changes of " + restart
	}
	return text, nil
}

// newestStore is the store in force on disk; the open one if it is the same, or
// stands in for it and it is still damaged.
func (a *Appliance) newestStore() (*categories.Store, error) {
	open := a.store.Load()
	current, err := a.dir.Current()
	if err != nil && !a.standsIn(open) {
		return nil, fmt.Errorf("category store: %w", err)
	}
	if open.Version() == current && open.Readable() && !a.standsIn(open) {
		return open, nil
	}
	key, err := supply.Key(a.box())
	if err != nil {
		return nil, err
	}
	store, err := categories.Open(a.dir.Path(current), key, categories.WithMetrics(a.stores), categories.WithLog(a.log))
	if err != nil && a.standsIn(open) && open.Readable() {
		return open, nil
	}
	if err != nil {
		return nil, fmt.Errorf("category store: %w", err)
	}
	a.passedOver.Store(nil)
	return store, nil
}

// needsRestart names the parts of the box whose change a reload cannot take up.
func needsRestart(old, new configs.Box) string {
	old.Inspect.Never = new.Inspect.Never // taken up, or of no use where nothing is looked into
	var parts []string
	for _, p := range []struct {
		name     string
		old, new any
	}{
		{"data", old.Data, new.Data}, {"dns", old.DNS, new.DNS}, {"proxy", old.Proxy, new.Proxy},
		{"inspect", old.Inspect, new.Inspect},
		{"metrics", old.Metrics, new.Metrics}, {"audit", old.Audit, new.Audit}, {"log", old.Log, new.Log},
		{"lists.store", old.Lists.Store, new.Lists.Store},
	} {
		if !reflect.DeepEqual(p.old, p.new) {
			parts = append(parts, p.name)
		}
	}
	return strings.Join(parts, ", ")
}

// OpenSnapshot makes the snapshot that a command answers from: the store file
// named, or the one in force on the box, or else the starter lists. Call done
// when finished with it.
func OpenSnapshot(ctx context.Context, cfg *configs.Config, storePath string) (_ *policy.Snapshot, done func(), err error) {
	store, done, err := supply.OpenStore(ctx, cfg, storePath)
	if err != nil {
		return nil, nil, err
	}
	table, err := clientTable(cfg, clients.Options{})
	if err != nil {
		done()
		return nil, nil, err
	}
	return containment.NewKeeper(containment.Options{Dir: cfg.Box.Data}).Now().Snapshot(cfg.School.Policy, store, store.Version(), table), done, nil
}

// Identify makes the identifier of a configuration's members, for policy cases.
func Identify(members []configs.Member) (policy.Identifier, error) {
	return clientTable(&configs.Config{School: configs.School{Members: members}}, clients.Options{})
}
