package main

import (
	"fmt"
	"text/tabwriter"
	"time"

	"schoolgate/alerts"
)

type alertsOutcomesCmd struct {
	readerFlags
	From string `help:"First month, such as 2026-09." placeholder:"MONTH"`
	To   string `help:"Last month, included." placeholder:"MONTH"`
}

// Run prints what came of pupils' alerts, by theme (M9, D10). It names nobody, and
// no number that is so small that it could.
func (c *alertsOutcomesCmd) Run(s *session) error {
	for flag, month := range map[string]string{"--from": c.From, "--to": c.To} {
		if _, err := time.Parse("2006-01", month); month != "" && err != nil {
			return fmt.Errorf("%s: bad month %q: want one such as 2026-09", flag, month)
		}
	}
	desk, _, err := c.desk(s, "")
	if err != nil {
		return err
	}
	w := tabwriter.NewWriter(s.stdout, 0, 0, 2, ' ', 0)
	fmt.Fprint(w, "theme\talerts\tclosed\tfalse alarms\tto acknowledge")
	for _, o := range alerts.Outcomes() {
		fmt.Fprintf(w, "\t%s", o)
	}
	fmt.Fprintln(w)
	for _, i := range alerts.Impacts(desk.Listing.Tallies, c.From, c.To) {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s", i.Theme, few(i.Opened), few(i.Closed), rate(i.FalseRate), median(i.Median))
		for _, o := range alerts.Outcomes() {
			fmt.Fprintf(w, "\t%s", few(i.Outcomes[o]))
		}
		fmt.Fprintln(w)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	fmt.Fprintf(s.stdout, "Pupils only. Numbers below %d are not told. False alarms: no_concern, term_adjusted and filter_adjusted, of those closed.\n", alerts.Few)
	return nil
}

func few(n int) string {
	switch {
	case n == 0:
		return "0"
	case n < alerts.Few:
		return fmt.Sprintf("<%d", alerts.Few)
	}
	return fmt.Sprint(n)
}

func rate(r float64) string {
	if r < 0 {
		return "-"
	}
	return fmt.Sprintf("%.0f%%", 100*r)
}

func median(d time.Duration) string {
	if d < 0 {
		return "-"
	}
	return age(d) + " (median)"
}
