package main

import (
	"fmt"
	"text/tabwriter"

	"schoolgate/appliance"
)

type alertsCmd struct {
	List     alertsListCmd `cmd:"" help:"List the alerts on this box, the newest first."`
	TestMail testMailCmd   `cmd:"" help:"Send a test message to everybody who hears of alerts."`
}

type alertsListCmd struct {
	configFlag
}

// Run lists alerts. It is for the box itself: a mail never holds as much.
func (c *alertsListCmd) Run(s *session) error {
	cfg, err := c.load(s)
	if err != nil {
		return err
	}
	listing, err := appliance.Alerts(cfg)
	if err != nil {
		return err
	}
	w := tabwriter.NewWriter(s.stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "reference\tseverity\ttheme\tattempts\tlast\tclient\tmail")
	for i := range listing.Alerts {
		a := &listing.Alerts[i]
		last := a.Last.In(cfg.School.Policy.Timetable.Location).Format("Mon 2 Jan 15:04")
		fmt.Fprintf(w, "%s\t%d\t%s\t%d\t%s\t%s\t%s\n", a.Reference(), a.Severity, a.Theme, a.Count, last, a.Client, a.Mail())
	}
	if err := w.Flush(); err != nil {
		return err
	}
	_, err = fmt.Fprintf(s.stdout, "%d of %d alerts\n", len(listing.Alerts), listing.Total)
	return err
}

type testMailCmd struct {
	configFlag
}

// Run sends the test message; exit code 1 if anybody could not be reached.
func (c *testMailCmd) Run(s *session) error {
	cfg, err := c.load(s)
	if err != nil {
		return err
	}
	answers, err := appliance.TestMail(s.ctx, cfg)
	if err != nil {
		return err
	}
	failed := 0
	for _, a := range answers {
		fmt.Fprintf(s.stdout, "%s: %s\n", a.To, a.Words)
		if !a.OK {
			failed++
		}
	}
	if failed > 0 || len(answers) == 0 {
		return fmt.Errorf("%w: %d of %d people not reached", errProblem, failed, len(answers))
	}
	return nil
}
