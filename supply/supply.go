package supply

import (
	"cmp"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"schoolgate/blocklists"
	"schoolgate/categories"
	"schoolgate/configs"
)

// feedsDir is where fetched lists are kept, in the data directory.
const feedsDir = "feeds"

// Supply brings lists in and puts stores of them in force:
//
//  1. feeds are fetched, or imported from a folder, beside the last good copies
//  2. if any content is new, a store is built of all copies, under a number of
//     its own
//  3. the gate compares it with the one in force; a version it holds back waits
//     for a person, and only what mandatory lists say goes on
//  4. the version is published and taken up by the running box
//
// All of it is done under one lock, in whichever process does it. A feed that
// fails, a kill or a full disk changes nothing that is in force.
type Supply struct {
	cfg     *configs.Config
	feeds   []blocklists.Feed
	cache   *blocklists.Cache
	dir     *categories.Dir
	key     []byte
	log     *slog.Logger
	fetcher *blocklists.Fetcher
	takeUp  func(context.Context) (string, error)
	workers int // that build; 0 is as many as there are processors
	// step is called before each thing that changes what is on the disk; tests
	// kill the process there.
	step func(what string)
}

// Options is what a Supply is opened with.
type Options struct {
	Feeds    []blocklists.Feed   // nil reads the feed file of the configuration
	Resolver blocklists.Resolver // nil is the operating system's
	Roots    *x509.CertPool      // nil is the operating system's
	Log      *slog.Logger
	// TakeUp has the running box take up what was published, and says how that went;
	// nil asks the daemon, where one is running.
	TakeUp  func(context.Context) (string, error)
	Workers int // that build; 0 is as many as there are processors
}

// Open opens the supply of a box. Call Close.
func Open(cfg *configs.Config, o Options) (*Supply, error) {
	s := &Supply{cfg: cfg, feeds: o.Feeds, log: o.Log, takeUp: o.TakeUp, workers: o.Workers, step: func(string) {}}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	if s.takeUp == nil {
		s.takeUp = func(ctx context.Context) (string, error) { return takenUp(ctx, cfg) }
	}
	var err error
	if s.feeds == nil {
		if s.feeds, err = configuredFeeds(cfg); err != nil {
			return nil, err
		}
	}
	if s.dir, s.key, err = boxStores(cfg); err != nil {
		return nil, err
	}
	if s.cache, err = blocklists.OpenCache(feedsFolder(cfg)); err != nil {
		return nil, err
	}
	options := blocklists.FetchOptions{Resolver: o.Resolver, Roots: o.Roots, Allow: cfg.Box.Proxy.AllowDestinations}
	if cfg.Box.Lists.Proxy != "" {
		if options.Proxy, err = url.Parse(cfg.Box.Lists.Proxy); err != nil {
			return nil, fmt.Errorf("lists.proxy: %w", err)
		}
	}
	s.fetcher = blocklists.NewFetcher(options)
	return s, nil
}

func feedsFolder(cfg *configs.Config) string { return filepath.Join(cfg.Box.Data, feedsDir) }

// Close hangs up on publishers.
func (s *Supply) Close() { s.fetcher.Close() }

// configuredFeeds are the enabled feeds of the box's feed file.
func configuredFeeds(cfg *configs.Config) ([]blocklists.Feed, error) {
	if cfg.Box.Lists.Feeds == "" {
		return blocklists.Starter(), nil
	}
	feeds, problems := blocklists.LoadFeeds(cfg.Box.Lists.Feeds)
	if len(problems) > 0 {
		return nil, blocklists.Joined(problems)
	}
	return feeds.Enabled(), nil
}

// lockRetry is how often a held lock is tried again.
const lockRetry = 250 * time.Millisecond

// locked does one thing while nobody else fetches or builds.
func (s *Supply) locked(ctx context.Context, do func() error) (err error) {
	for said := false; ; said = true {
		unlock, busy := s.cache.Lock()
		if busy == nil {
			defer func() { err = errors.Join(err, unlock()) }()
			return do()
		}
		if !errors.Is(busy, blocklists.ErrBusy) {
			return busy
		}
		if !said {
			s.log.Info("waiting for another fetch or build of lists to end")
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w: %w", busy, ctx.Err())
		case <-time.After(lockRetry):
		}
	}
}

// Meter shows a person how downloads go on. Its methods are called by several
// goroutines.
type Meter interface {
	Begin(feed string) (progress func(done, total int64))
	End(blocklists.Outcome)
}

// FetchRequest says what to fetch.
type FetchRequest struct {
	Feeds  []string // names; none is all
	Force  bool     // whatever copy is at hand
	Accept bool     // take changes beyond a feed's limit
	Meter  Meter    // may be nil

	scheduled bool // of lists with deltas only what is due
}

// Fetch brings feeds up to date and, if anything is new, a store of them in force.
func (s *Supply) Fetch(ctx context.Context, r FetchRequest) (out []blocklists.Outcome, done Settled, err error) {
	wanted, err := s.named(r.Feeds)
	if err != nil {
		return nil, done, err
	}
	err = s.locked(ctx, func() error {
		out = s.fetch(ctx, wanted, r)
		done, err = s.settle(ctx, nil)
		return errors.Join(err, s.sweep())
	})
	return out, done, err
}

// named are the feeds with an address, or those of them that are named.
func (s *Supply) named(names []string) (feeds []blocklists.Feed, err error) {
	for _, f := range s.feeds {
		if f.Remote.URL != "" && (len(names) == 0 || slices.Contains(names, f.Name)) {
			feeds = append(feeds, f)
		}
	}
	for _, name := range names {
		if !slices.ContainsFunc(feeds, func(f blocklists.Feed) bool { return f.Name == name }) {
			return nil, fmt.Errorf("there is no enabled feed %q with a url", name)
		}
	}
	if len(feeds) == 0 {
		return nil, errors.New("no feed has a url: name a feed file with addresses in lists.feeds, or with --feeds")
	}
	return feeds, nil
}

// byAddress groups feeds that one download serves, mandatory ones first.
func byAddress(feeds []blocklists.Feed) [][]blocklists.Feed {
	var groups [][]blocklists.Feed
	at := map[blocklists.Remote]int{}
	for _, f := range feeds {
		key := blocklists.Remote{URL: f.Remote.URL, SHA256: f.Remote.SHA256, Minisign: f.Remote.Minisign, AuthFile: f.Remote.AuthFile, DeltaURL: f.Remote.DeltaURL}
		i, ok := at[key]
		if !ok {
			i = len(groups)
			at[key] = i
			groups = append(groups, nil)
		}
		groups[i] = append(groups[i], f)
	}
	slices.SortStableFunc(groups, func(a, b []blocklists.Feed) int { return cmp.Compare(urgency(a), urgency(b)) })
	return groups
}

func urgency(feeds []blocklists.Feed) int {
	if slices.ContainsFunc(feeds, func(f blocklists.Feed) bool { return f.Kind == blocklists.Mandatory }) {
		return 0
	}
	return 1
}

// fetchers is how many addresses are asked at once. Each holds two versions of a
// list in memory for a moment.
const fetchers = 2

// fetch brings feeds up to date, an address at a time and two at once.
func (s *Supply) fetch(ctx context.Context, feeds []blocklists.Feed, r FetchRequest) []blocklists.Outcome {
	groups := byAddress(feeds)
	outcomes := make([][]blocklists.Outcome, len(groups))
	next := make(chan int, len(groups))
	for i := range groups {
		next <- i
	}
	close(next)
	var workers sync.WaitGroup
	for range min(fetchers, len(groups)) {
		workers.Go(func() {
			for i := range next {
				if ctx.Err() == nil {
					outcomes[i] = s.fetchGroup(ctx, groups[i], r)
				}
			}
		})
	}
	workers.Wait()
	return slices.Concat(outcomes...)
}

func (s *Supply) fetchGroup(ctx context.Context, group []blocklists.Feed, r FetchRequest) []blocklists.Outcome {
	o := blocklists.UpdateOptions{Force: r.Force, Accept: r.Accept, OnlyDue: r.scheduled}
	if r.Meter != nil {
		o.Progress = r.Meter.Begin(group[0].Name)
	}
	out := s.cache.Update(ctx, s.fetcher, group, o)
	for _, got := range out {
		s.tell(got)
		if r.Meter != nil {
			r.Meter.End(got)
		}
	}
	return out
}

// tell puts what became of a feed into the operator's log.
func (s *Supply) tell(got blocklists.Outcome) {
	switch {
	case got.Err != nil && errors.Is(got.Err, context.Canceled):
	case got.Err != nil:
		s.log.Warn("feed not updated, keeping the last good copy", "feed", got.Feed, "failures", got.State.Failures, "err", got.Err)
	case got.Changed && got.State.Beside != nil:
		s.log.Error("mandatory feed lost much of itself, keeping what it lost beside what it gained", "feed", got.Feed, "outcome", got.State.Outcome)
	case got.Changed:
		g := got.State.Good
		s.log.Info("feed updated", "feed", got.Feed, "entries", g.Entries, "added", g.Added, "removed", g.Removed)
	}
}

// sweep removes copies that neither a kept version nor a feed's state names.
func (s *Supply) sweep() error {
	needed, err := s.neededCopies()
	if err != nil {
		return err
	}
	return s.cache.Sweep(s.feeds, func(feed, sum string) bool { return needed[feed+" "+sum] })
}
