package main

import (
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"schoolgate/blocklists"
	"schoolgate/configs"
	"schoolgate/quality"
	"schoolgate/supply"
)

type listsAuditCmd struct {
	configFlag
	Store  string `help:"Category store to audit (default: the one in use)." placeholder:"FILE" xor:"what"`
	Feeds  string `help:"Feed file to build a store of and audit; nothing is put in force." placeholder:"FILE" xor:"what"`
	Limit  int    `help:"Most entries to show." default:"50"`
	Format string `help:"${enum}." enum:"text,csv,json" default:"text"`
}

// Run prints the entries of lists that are probably wrong, the gravest first.
func (c *listsAuditCmd) Run(s *session) error {
	cfg, err := c.load(s)
	if err != nil {
		return err
	}
	if c.Limit < 1 || c.Limit > quality.DoubtLimit {
		return errors.New("--limit: want 1 to 100000")
	}
	var audit quality.ListAudit
	if c.Feeds != "" {
		feeds, err := loadFeeds(s, c.Feeds)
		if err != nil {
			return err
		}
		audit, err = quality.AuditFeeds(s.ctx, cfg, feeds, s.stderr, c.Limit)
		if err != nil {
			return err
		}
	} else {
		store, done, err := supply.OpenStore(s.ctx, cfg, c.Store)
		if err != nil {
			return err
		}
		defer done()
		if audit, err = quality.AuditStore(s.ctx, store, cfg.School, c.Limit); err != nil {
			return err
		}
	}
	rows := make([][]string, len(audit.Doubts))
	for i, d := range audit.Doubts {
		rows[i] = d.Cells()
	}
	return printTable(s.stdout, c.Format, audit, audit.Columns(), rows)
}

func loadFeeds(s *session, path string) ([]blocklists.Feed, error) {
	build := listsBuildCmd{Feeds: path}
	return build.feeds(s, "")
}

type listsCoverageCmd struct {
	configFlag
	Store  string `help:"Category store to look into (default: the one in use, else the starter lists)." placeholder:"FILE"`
	Format string `help:"${enum}." enum:"text,csv,json" default:"text"`
}

// Run prints what the lists cover, by offence and theme, and what they do not.
func (c *listsCoverageCmd) Run(s *session) error {
	cfg, err := c.load(s)
	if err != nil {
		return err
	}
	store, done, err := supply.OpenStore(s.ctx, cfg, c.Store)
	if err != nil {
		return err
	}
	defer done()
	coverage := quality.CoverageOf(store.Info(), cfg.School.Policy, time.Now())
	if c.Store == "" {
		removed, err := supply.RemovedMandatory(cfg, store.Info())
		if err != nil {
			return err
		}
		for _, r := range removed {
			coverage.Removed = append(coverage.Removed, r.String())
		}
	}
	rows := make([][]string, len(coverage.Rows))
	for i, r := range coverage.Rows {
		rows[i] = r.Cells()
	}
	return printTable(s.stdout, c.Format, coverage, coverage.Columns(), rows)
}

// printable is what the table of a command can show to a person.
type printable interface{ Print(io.Writer) error }

// printTable writes a table in the format asked for.
func printTable(w io.Writer, format string, table printable, columns []string, rows [][]string) error {
	switch format {
	case "json":
		e := json.NewEncoder(w)
		e.SetIndent("", "  ")
		return e.Encode(table)
	case "csv":
		out := csv.NewWriter(w)
		return errors.Join(out.Write(columns), out.WriteAll(rows))
	}
	return table.Print(w)
}

// ceremony writes down that two people take a mandatory list out (I5).
func (c *listsBuildCmd) ceremony(cfg *configs.Config, feeds []blocklists.Feed) error {
	if c.RemoveMandatory == "" {
		if c.By+c.By2+c.Reason != "" {
			return errors.New("--by, --second and --reason belong to --remove-mandatory")
		}
		return nil
	}
	if c.Out != "" {
		return errors.New("--remove-mandatory is about the box's own lists, and --out builds a file")
	}
	return supply.RemoveMandatory(cfg, feeds, supply.Ceremony{Feed: c.RemoveMandatory, By: c.By, By2: c.By2, Reason: c.Reason})
}

// printRemoved names the mandatory lists that are gone, first of all.
func printRemoved(s *session, removed []supply.Ceremony, err error) error {
	for _, r := range removed {
		if _, err := fmt.Fprintf(s.stdout, "RED: %s\n", r); err != nil {
			return err
		}
	}
	return err
}

// printDamage says which version should be in force and cannot be read.
func printDamage(s *session, cfg *configs.Config) error {
	damage, err := supply.DamageOf(cfg)
	if err != nil {
		return err
	}
	if trouble := damage.Err(); trouble != nil {
		_, err = fmt.Fprintf(s.stdout, "DAMAGED: %v\n", trouble)
	}
	return err
}
