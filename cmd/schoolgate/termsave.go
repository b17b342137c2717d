package main

import (
	"errors"
	"fmt"

	"schoolgate/control"
	"schoolgate/terms"
	"schoolgate/terms/revisions"
)

type termsSaveCmd struct {
	configFlag
	By     string `required:"" help:"Who saves." placeholder:"NAME"`
	Reason string `required:"" help:"Why." placeholder:"TEXT"`
	Second string `help:"The second person, who agrees: needed where something would be heard less." placeholder:"NAME"`
}

// Run keeps the packs that policy.yaml names as a revision and has the running
// appliance take them up.
func (c *termsSaveCmd) Run(s *session) error {
	cfg, err := c.load(s)
	if err != nil {
		return err
	}
	r, err := revisions.Save(s.ctx, cfg, revisions.Saving{By: c.By, Second: c.Second, Reason: c.Reason})
	printChanges(s, r.Changes)
	if err != nil {
		return err
	}
	if len(r.Changes) == 0 {
		_, err := fmt.Fprintln(s.stdout, "nothing to save: the packs say what the last revision says")
		return err
	}
	fmt.Fprintf(s.stdout, "saved as revision %d\n", r.Number)
	changed, err := control.Reload(s.ctx, cfg.Box.Data)
	if errors.Is(err, control.ErrNotRunning) {
		changed, err = "in force at the next start", nil
	}
	if err != nil {
		return fmt.Errorf("saved, but not in force yet: %w", err)
	}
	_, err = fmt.Fprintln(s.stdout, changed)
	return err
}

// printChanges shows changes, those that hear less marked.
func printChanges(s *session, list []terms.Change) {
	for _, c := range list {
		mark := "          "
		if c.Loosens {
			mark = "HEARS LESS"
		}
		fmt.Fprintf(s.stdout, "%s  %s\n", mark, c.Text)
	}
}

type termsHistoryCmd struct{ configFlag }

// Run lists the revisions.
func (c *termsHistoryCmd) Run(s *session) error {
	cfg, err := c.load(s)
	if err != nil {
		return err
	}
	list, err := revisions.List(cfg)
	if err != nil {
		return err
	}
	for i := range list {
		r := &list[i]
		who := r.By
		if r.Second != "" {
			who += " and " + r.Second
		}
		fmt.Fprintf(s.stdout, "revision %d, %s, by %s: %s\n", r.Number,
			r.Time.In(cfg.School.Policy.Timetable.Location).Format("2 January 2006, 15:04"), who, r.Reason)
		printChanges(s, r.Changes)
	}
	_, err = fmt.Fprintln(s.stdout, counted(len(list), "revision"))
	return err
}
