package main

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"time"

	"schoolgate/audit"
	"schoolgate/configs"
	"schoolgate/policy"
	"schoolgate/supply"
)

type auditCmd struct {
	Search auditSearchCmd `cmd:"" help:"Find events and print them, the newest last."`
	Verify auditVerifyCmd `cmd:"" help:"Check that nothing was altered, removed, reordered or torn."`
	Export auditExportCmd `cmd:"" help:"Write events for a spreadsheet or a program."`

	Subject   auditSubjectCmd   `cmd:"" help:"Copy what is held on one person or device, for them to have."`
	Reads     auditReadsCmd     `cmd:"" help:"List who looked at records that name people, and why."`
	Reindex   auditReindexCmd   `cmd:"" help:"Make the index that searches use anew from the journal."`
	Retention auditRetentionCmd `cmd:"" help:"Show how long records are kept, and remove what is due."`
	Hold      auditHoldCmd      `cmd:"" help:"Legal holds: what is not removed while they stand."`
}

// auditQuery is what search and export can be narrowed by.
type auditQuery struct {
	configFlag
	Dir      string   `help:"Journal folder (default: that of the configuration)." placeholder:"DIR"`
	From     string   `help:"First moment, e.g. 2026-11-24T09:00, 09:00 (today) or 2h (ago)." placeholder:"TIME"`
	To       string   `help:"End, not included; written as --from." placeholder:"TIME"`
	Client   string   `help:"Address or range of addresses." placeholder:"ADDR"`
	Device   string   `help:"Name in the device register."`
	Person   string   `help:"Who signed in; of staff acts, who did it."`
	Group    string   `help:"Group of the policy."`
	Profile  string   `help:"Profile of the policy."`
	Host     string   `help:"Host, and everything below it."`
	Category string   `help:"Category ID."`
	Verdict  []string `help:"block, warn or allow; several with commas."`
	Theme    string   `help:"What a watched phrase is about, e.g. self_harm."`
	Severity int      `help:"At least so grave, 1 to 5."`
	Use      string   `help:"person: what somebody typed or opened; background: what a page fetched by itself."`
	Flagged  bool     `help:"Only what a person must hear of."`
	Text     string   `help:"Words somewhere in host, path, device, person, search, term, rule, finding or act."`
	Limit    int      `help:"At most so many events; 0 for all."`
	Before   string   `help:"Only what was recorded before this event: the next page of --newest." placeholder:"ID"`
	After    string   `help:"Only what was recorded after this event." placeholder:"ID"`
	NoIndex  bool     `help:"Read the journal itself."`
}

// journal is the folder asked for and the query, checked.
func (c *auditQuery) journal(s *session) (*configs.Config, audit.Dir, audit.Query, *time.Location, error) {
	cfg, err := c.load(s)
	if err != nil {
		return nil, audit.Dir{}, audit.Query{}, nil, err
	}
	dir, loc := audit.In(cfg.Box.Data), cfg.School.Policy.Timetable.Location
	if c.Dir != "" {
		dir = audit.Dir{Path: c.Dir}
	}
	if _, err := os.Stat(dir.Path); err != nil {
		return cfg, dir, audit.Query{}, loc, fmt.Errorf("no journal: %w (has the appliance run with this data directory?)", err)
	}
	q, err := c.query(loc)
	if err == nil {
		err = c.check(s, cfg, dir)
	}
	q.Veil = supply.Veil(cfg)
	return cfg, dir, q, loc, err
}

func (c *auditQuery) query(loc *time.Location) (q audit.Query, err error) {
	q = audit.Query{
		Client: c.Client, Device: c.Device, Person: c.Person, Group: c.Group, Profile: c.Profile, Host: c.Host,
		Theme: c.Theme, Flagged: c.Flagged, Text: c.Text, Limit: c.Limit,
	}
	var errs []error
	moment := func(flag, text string) time.Time {
		if text == "" {
			return time.Time{}
		}
		if ago, err := time.ParseDuration(text); err == nil {
			return time.Now().Add(-ago)
		}
		t, err := parseMoment(text, time.Now(), loc)
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: bad moment %q: want 2026-11-24T09:00, 09:00 or 2h", flag, text))
		}
		return t
	}
	q.From, q.To = moment("--from", c.From), moment("--to", c.To)
	if c.Category != "" {
		category, ok := policy.ParseCategory(c.Category)
		if !ok {
			errs = append(errs, unknownWord("category", c.Category, categoryNames()))
		}
		q.Category = category
	}
	for _, word := range c.Verdict {
		verdict, ok := policy.ParseVerdict(word)
		if !ok {
			errs = append(errs, fmt.Errorf("--verdict: unknown verdict %q: want block, warn or allow", word))
		}
		q.Verdicts = append(q.Verdicts, verdict)
	}
	if q.Severity = uint8(c.Severity); c.Severity < 0 || c.Severity > 5 {
		errs = append(errs, fmt.Errorf("--severity: bad severity %d: want 1 to 5", c.Severity))
	}
	if use, ok := policy.ParseUse(c.Use); !ok {
		errs = append(errs, fmt.Errorf("--use: unknown use %q: want person or background", c.Use))
	} else {
		q.Use = use
	}
	for _, id := range []struct {
		text string
		to   *policy.EventID
	}{{c.Before, &q.Before}, {c.After, &q.After}} {
		if err := id.to.UnmarshalText([]byte(id.text)); err != nil {
			errs = append(errs, fmt.Errorf("--before, --after: %w", err))
		}
	}
	return q, errors.Join(errs...)
}

type auditSearchCmd struct {
	auditQuery
	reader
	Newest bool   `help:"The newest first."`
	Views  bool   `help:"One line for each thing somebody did, with what it brought along folded under it."`
	View   string `help:"Everything that came with one event, by its id." placeholder:"ID"`
	Width  int    `help:"Columns of the terminal." default:"160" env:"COLUMNS"`
}

// Run prints the events asked for. Stretches that cannot be read are told at
// the end and make the command fail.
func (c *auditSearchCmd) Run(s *session) error {
	cfg, dir, q, loc, err := c.journal(s)
	if err != nil {
		return err
	}
	if err := c.lookAt(s, &c.reader, cfg, dir, actSearch, &q); err != nil {
		return err
	}
	switch {
	case c.View != "":
		return c.view(s, dir, loc, q.Veil)
	case c.Views:
		return c.views(s, dir, q, loc)
	}
	q.Newest = c.Newest
	table := audit.NewTable(c.Width)
	table.Location = loc
	out := bufio.NewWriter(s.stdout)
	fmt.Fprintln(out, table.Head())
	var found int
	var gaps []error
	search, done, err := c.search(s, dir, q)
	if err != nil {
		return err
	}
	defer done()
	for e, err := range search {
		if gap := (*audit.GapError)(nil); errors.As(err, &gap) {
			gaps = append(gaps, err)
			continue
		}
		if err != nil {
			return err
		}
		found++
		fmt.Fprintln(out, table.Line(&e))
	}
	fmt.Fprintln(out, counted(found, "event"))
	if err := out.Flush(); err != nil {
		return err
	}
	if found == 0 {
		gaps = append(gaps, c.unseen(s, cfg, dir))
	}
	return errors.Join(gaps...)
}

type auditExportCmd struct {
	auditQuery
	reader
	Format string `help:"${enum}." enum:"csv,json" default:"csv"`
	IDs    bool   `name:"ids" help:"Only the event ids, one a line."`
}

// Run writes the events asked for to standard output.
func (c *auditExportCmd) Run(s *session) error {
	cfg, dir, q, _, err := c.journal(s)
	if err != nil {
		return err
	}
	format := audit.Format(c.Format)
	if c.IDs {
		format = audit.IDs // numbers name nobody
	} else if err := c.lookAt(s, &c.reader, cfg, dir, actExport, &q); err != nil {
		return err
	}
	n, err := dir.Export(s.ctx, s.stdout, format, q)
	if n == 0 && err == nil {
		err = c.unseen(s, cfg, dir)
	}
	return err
}

type auditVerifyCmd struct {
	configFlag
	Dir    string   `help:"Journal folder (default: that of the configuration)." placeholder:"DIR"`
	Head   []string `help:"A head kept elsewhere, as printed by an earlier verify." placeholder:"LINE"`
	Bundle string   `help:"An evidence bundle to check instead: it needs no box, no journal and no configuration." placeholder:"FILE"`
	Key    string   `help:"Of a bundle: the box's key, as it was handed out beforehand (incidents key)." placeholder:"LINE"`
}

// Run checks the whole journal and says where it is not as it was written.
func (c *auditVerifyCmd) Run(s *session) error {
	if c.Bundle != "" {
		return verifyBundle(s, c.Bundle, c.Key)
	}
	cfg, err := c.load(s)
	if err != nil {
		return err
	}
	dir := audit.In(cfg.Box.Data)
	if c.Dir != "" {
		dir = audit.Dir{Path: c.Dir}
	}
	var options audit.VerifyOptions
	for _, line := range c.Head {
		head, err := audit.ParseHead(line)
		if err != nil {
			return fmt.Errorf("--head: %w", err)
		}
		options.Heads = append(options.Heads, head)
	}
	report, err := dir.Verify(s.ctx, options)
	if err != nil {
		return err
	}
	return printReport(s, &report)
}

func printReport(s *session, r *audit.Report) error {
	fmt.Fprintf(s.stdout, "%s in %s", counted(r.Events, "event"), counted(r.Segments, "segment"))
	if r.Events > 0 {
		fmt.Fprintf(s.stdout, ", %s to %s", r.First, r.Last)
	}
	if r.Live {
		fmt.Fprint(s.stdout, "; the appliance is writing")
	}
	fmt.Fprintln(s.stdout)
	if r.Events > 0 {
		fmt.Fprintln(s.stdout, "head:", r.Head)
	}
	for _, note := range r.Notes {
		fmt.Fprintln(s.stdout, "note:", note)
	}
	if r.Removed > 0 {
		fmt.Fprintf(s.stdout, "note: %d events were removed by retention, as %s\n", r.Removed, counted(len(r.Receipts), "receipt")+" in the journal say")
	}
	if r.Unopened > 0 {
		fmt.Fprintf(s.stdout, "note: %d events could not be opened, for want of their key; the chain around them holds\n", r.Unopened)
	}
	for _, p := range r.Problems {
		fmt.Fprintln(s.stdout, "PROBLEM:", p)
	}
	if !r.OK() {
		return fmt.Errorf("%w in the journal: %d", errProblem, len(r.Problems))
	}
	_, err := fmt.Fprintln(s.stdout, "verified: every record is as it was written")
	return err
}

// counted is a number of things, as people write it.
func counted[N int | uint64](n N, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return fmt.Sprintf("%d %ss", n, thing)
}
