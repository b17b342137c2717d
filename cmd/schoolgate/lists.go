package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"schoolgate/blocklists"
	"schoolgate/supply"
)

type listsCmd struct {
	Build    listsBuildCmd    `cmd:"" help:"Compile lists into a category store."`
	Lookup   listsLookupCmd   `cmd:"" help:"Say every category of a host or URL, the entry that matched and its source."`
	Fetch    listsFetchCmd    `cmd:"" help:"Download the feeds that have an address, and put a store of them in force."`
	Import   listsImportCmd   `cmd:"" help:"Take lists from a folder or a USB stick, as if they were downloaded."`
	Status   listsStatusCmd   `cmd:"" help:"Say which lists are in force, how old they are and what waits for a person."`
	Release  listsReleaseCmd  `cmd:"" help:"Put a version in force that was held back."`
	Audit    listsAuditCmd    `cmd:"" help:"Show the entries of lists that are probably wrong, ranked, with reasons."`
	Coverage listsCoverageCmd `cmd:"" help:"Say which offences and themes the lists cover, and which they do not."`
	Rollback listsRollbackCmd `cmd:"" help:"Put an older version of the store in force."`
}

type listsBuildCmd struct {
	configFlag
	Feeds   string `help:"Feed file (default: lists.feeds of the configuration, else the starter lists)." placeholder:"FILE"`
	Out     string `help:"Store file to write (default: the next version of the box's own store, which is then put in force)." placeholder:"STORE"`
	Refused string `help:"Write every refused line to this file." placeholder:"FILE"`

	RemoveMandatory string `help:"Take this mandatory list out of the lists in force; needs --by, --second and --reason, and stays red." placeholder:"FEED"`
	By              string `help:"Who removes it." placeholder:"NAME"`
	By2             string `name:"second" aliases:"by2" help:"The second person, who agrees." placeholder:"NAME"`
	Reason          string `help:"Why." placeholder:"TEXT"`
}

// Run builds a store. A feed that is refused leaves everything as it was.
func (c *listsBuildCmd) Run(s *session) (err error) {
	cfg, err := c.load(s)
	if err != nil {
		return err
	}
	feeds, err := c.feeds(s, cfg.Box.Lists.Feeds)
	if err != nil {
		return err
	}
	if err := c.ceremony(cfg, feeds); err != nil {
		return err
	}
	var refused io.Writer
	if c.Refused != "" {
		f, err := os.OpenFile(c.Refused, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, f.Close()) }()
		refused = f
	}
	build := supply.ListsBuild{Feeds: feeds, Out: c.Out, Progress: s.stderr, Refused: refused}
	report, outcome, err := supply.BuildStore(s.ctx, cfg, build)
	if perr := report.Print(s.stdout); perr != nil {
		return errors.Join(err, perr)
	}
	if errors.Is(err, supply.ErrHeld) {
		return err
	}
	if err != nil {
		return fmt.Errorf("no store was built and nothing was changed: %w", err)
	}
	_, err = fmt.Fprintln(s.stdout, outcome)
	return err
}

func (c *listsBuildCmd) feeds(s *session, configured string) ([]blocklists.Feed, error) {
	path := c.Feeds
	if path == "" {
		path = configured
	}
	if path == "" {
		return blocklists.Starter(), nil
	}
	feeds, problems := blocklists.LoadFeeds(path)
	if len(problems) > 0 {
		for _, p := range problems {
			fmt.Fprintln(s.stderr, p.Error())
		}
		return nil, fmt.Errorf("%w in the feed file: %d; nothing was changed", errProblem, len(problems))
	}
	return feeds.Enabled(), nil
}

type listsLookupCmd struct {
	configFlag
	Store  string   `help:"Category store to look into (default: the one in use, else the starter lists)." placeholder:"FILE"`
	Inputs []string `arg:"" name:"HOST|URL" help:"Hosts or URLs."`
}

// Run prints what the lists hold on each input.
func (c *listsLookupCmd) Run(s *session) error {
	cfg, err := c.load(s)
	if err != nil {
		return err
	}
	store, done, err := supply.OpenStore(s.ctx, cfg, c.Store)
	if err != nil {
		return err
	}
	defer done()
	for _, input := range c.Inputs {
		if err := supply.PrintLookup(s.stdout, store, input); err != nil {
			return err
		}
	}
	return nil
}

type listsStatusCmd struct {
	configFlag
	Store string `help:"Category store to look into (default: the one in use)." placeholder:"FILE"`
}

// Run prints the sources of the store, their sizes and ages.
func (c *listsStatusCmd) Run(s *session) error {
	cfg, err := c.load(s)
	if err != nil {
		return err
	}
	store, done, err := supply.OpenStore(s.ctx, cfg, c.Store)
	if err != nil {
		return err
	}
	defer done()
	if c.Store == "" {
		if err := printDamage(s, cfg); err != nil {
			return err
		}
		removed, err := supply.RemovedMandatory(cfg, store.Info())
		if err := printRemoved(s, removed, err); err != nil {
			return err
		}
	}
	if err := supply.PrintStatus(s.stdout, store.Info(), time.Now()); err != nil || c.Store != "" {
		return err
	}
	return printSupply(s, cfg)
}

type listsRollbackCmd struct {
	configFlag
	Version uint64 `arg:"" help:"Version to go back to, as lists status and the journal name it."`
}

// Run checks the older version in full and puts it in force.
func (c *listsRollbackCmd) Run(s *session) error {
	cfg, err := c.load(s)
	if err != nil {
		return err
	}
	said, err := supply.Rollback(s.ctx, cfg, c.Version)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(s.stdout, said)
	return err
}
