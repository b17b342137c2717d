package main

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/user"
	"sync"
	"time"

	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"
	"golang.org/x/sys/unix"

	"schoolgate/blocklists"
	"schoolgate/configs"
	"schoolgate/supply"
)

// supplyFlags are shared by the commands that bring lists in.
type supplyFlags struct {
	configFlag
	Feeds        string `help:"Feed file (default: lists.feeds of the configuration)." placeholder:"FILE"`
	AcceptChange bool   `help:"Take changes beyond a feed's limit: somebody has looked at them."`
}

func (c *supplyFlags) open(s *session) (*supply.Supply, error) {
	cfg, err := c.load(s)
	if err != nil {
		return nil, err
	}
	if c.Feeds != "" {
		cfg.Box.Lists.Feeds = c.Feeds
	}
	log := slog.New(slog.NewTextHandler(s.stderr, &slog.HandlerOptions{Level: slog.LevelError}))
	return supply.Open(cfg, supply.Options{Log: log})
}

type listsFetchCmd struct {
	supplyFlags
	Feed  []string `help:"Fetch this feed only; may be given again." placeholder:"NAME"`
	Force bool     `help:"Download all of it, whatever copy is at hand."`
}

// Run fetches, builds and puts in force. A feed that fails keeps its last good
// copy and makes the exit code 1.
func (c *listsFetchCmd) Run(s *session) error {
	opened, err := c.open(s)
	if err != nil {
		return err
	}
	defer opened.Close()
	meter := newMeter(s)
	out, done, err := opened.Fetch(s.ctx, supply.FetchRequest{
		Feeds: c.Feed, Force: c.Force, Accept: c.AcceptChange, Meter: meter,
	})
	meter.close()
	return sayOutcome(s, out, done, err)
}

type listsImportCmd struct {
	supplyFlags
	Feed string `help:"The feed that a single list is for (default: the one it is named after)." placeholder:"NAME"`
	Path string `arg:"" name:"FOLDER|FILE" help:"A list, or a folder of lists named after their feeds."`
}

// Run takes lists from the disk under the same checks as a download.
func (c *listsImportCmd) Run(s *session) error {
	opened, err := c.open(s)
	if err != nil {
		return err
	}
	defer opened.Close()
	out, done, err := opened.Import(s.ctx, supply.ImportRequest{Path: c.Path, Feed: c.Feed, Accept: c.AcceptChange})
	return sayOutcome(s, out, done, err)
}

// sayOutcome tells what became of each feed, and of the store.
func sayOutcome(s *session, out []blocklists.Outcome, done supply.Settled, err error) error {
	refused := 0
	for _, o := range out {
		if o.Err != nil {
			refused++
		}
		if _, werr := fmt.Fprintln(s.stdout, outcomeLine(o)); werr != nil {
			return errors.Join(err, werr)
		}
	}
	if err != nil {
		return fmt.Errorf("what was in force stays: %w", err)
	}
	if _, err := fmt.Fprintln(s.stdout, done.Said); err != nil {
		return err
	}
	switch {
	case done.Held != nil:
		return fmt.Errorf("%w: a version is held back", errProblem)
	case refused > 0:
		return fmt.Errorf("%w: %d of %d feeds were not updated; their last good copies stay in use", errProblem, refused, len(out))
	}
	return nil
}

func outcomeLine(o blocklists.Outcome) string {
	g := o.State.Good
	switch {
	case o.Err != nil && g == nil:
		return fmt.Sprintf("%s: REFUSED, and there is no copy yet: %v", o.Feed, o.Err)
	case o.Err != nil:
		return fmt.Sprintf("%s: REFUSED, the copy of %s stays: %v", o.Feed, g.Fetched.Format(time.DateTime), o.Err)
	case o.State.Beside != nil:
		return fmt.Sprintf("%s: %s", o.Feed, o.State.Outcome)
	case !o.Changed:
		return fmt.Sprintf("%s: unchanged, %d entries", o.Feed, g.Entries)
	}
	return fmt.Sprintf("%s: updated, %d entries (%d came, %d went)", o.Feed, g.Entries, g.Added, g.Removed)
}

type listsReleaseCmd struct {
	configFlag
	Version uint64 `arg:"" help:"Version that is held back, as lists status names it."`
	Reason  string `required:"" help:"Why it may come into force all the same; kept on record." placeholder:"TEXT"`
	By      string `help:"Who decided (default: who is signed in); kept on record." placeholder:"NAME"`
}

// Run releases a held version and puts the person's word on record.
func (c *listsReleaseCmd) Run(s *session) error {
	cfg, err := c.load(s)
	if err != nil {
		return err
	}
	log := slog.New(slog.NewTextHandler(s.stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	opened, err := supply.Open(cfg, supply.Options{Log: log})
	if err != nil {
		return err
	}
	defer opened.Close()
	if c.By == "" {
		if u, err := user.Current(); err == nil {
			c.By = u.Username
		}
	}
	said, err := opened.Release(s.ctx, supply.Release{Version: c.Version, By: c.By, Reason: c.Reason})
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(s.stdout, said)
	return err
}

// printSupply adds the state of each feed to a status.
func printSupply(s *session, cfg *configs.Config) error {
	status, err := supply.StatusOf(cfg, time.Now())
	if err != nil {
		return err
	}
	if cfg.Box.Lists.Feeds == "" && status.Held == nil {
		return nil
	}
	if _, err := fmt.Fprintln(s.stdout); err != nil {
		return err
	}
	return status.Print(s.stdout)
}

// meter shows downloads: bars on a terminal, nothing else where there is none,
// since each feed gets its line at the end.
type meter struct {
	bars *mpb.Progress // nil without a terminal

	mu   sync.Mutex
	open map[string]*mpb.Bar
	out  io.Writer
}

func newMeter(s *session) *meter {
	m := &meter{open: map[string]*mpb.Bar{}, out: s.stderr}
	if f, ok := s.stderr.(*os.File); ok {
		if _, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS); err == nil {
			m.bars = mpb.NewWithContext(s.ctx, mpb.WithOutput(f), mpb.WithWidth(40))
		}
	}
	return m
}

// Begin shows that a download has begun.
func (m *meter) Begin(feed string) func(done, total int64) {
	if m.bars == nil {
		m.mu.Lock()
		defer m.mu.Unlock()
		fmt.Fprintf(m.out, "%s: fetching\n", feed) // a word on the way; what counts goes to stdout
		return nil
	}
	bar := m.bars.AddBar(0,
		mpb.PrependDecorators(decor.Name(feed, decor.WCSyncSpaceR), decor.CountersKibiByte("% .1f / % .1f")),
		mpb.AppendDecorators(decor.AverageSpeed(decor.SizeB1024(0), "% .1f")))
	m.mu.Lock()
	defer m.mu.Unlock()
	m.open[feed] = bar
	return func(done, total int64) {
		bar.SetTotal(max(total, done), false)
		bar.SetCurrent(done)
	}
}

// End closes a feed's bar.
func (m *meter) End(o blocklists.Outcome) {
	m.mu.Lock()
	defer m.mu.Unlock()
	bar := m.open[o.Feed]
	switch {
	case bar == nil:
		return
	case o.Err != nil:
		bar.Abort(true) // its line says why
	default:
		bar.SetTotal(-1, true) // as much as came
	}
	delete(m.open, o.Feed)
}

// close waits until the bars are drawn for the last time.
func (m *meter) close() {
	m.mu.Lock()
	for _, bar := range m.open {
		bar.Abort(false)
	}
	m.mu.Unlock()
	if m.bars != nil {
		m.bars.Wait()
	}
}
