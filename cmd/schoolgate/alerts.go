package main

import (
	"fmt"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"schoolgate/alerts"
	"schoolgate/appliance"
	"schoolgate/desk"
)

type alertsCmd struct {
	List     alertsListCmd     `cmd:"" help:"List the alerts on this box, the newest first."`
	Show     alertsShowCmd     `cmd:"" help:"Show what an alert is about. That you have read it is recorded."`
	Ack      alertsAckCmd      `cmd:"" help:"Say that you are dealing with an alert, so that nobody else is called."`
	Note     alertsNoteCmd     `cmd:"" help:"Leave a note on an alert."`
	Close    alertsCloseCmd    `cmd:"" help:"Close an alert with what came of it."`
	Outcomes alertsOutcomesCmd `cmd:"" help:"What came of the alerts of each theme, without names."`
	TestMail testMailCmd       `cmd:"" help:"Send a test message to everybody who hears of alerts, by mail and webhook."`
}

// readerFlags say who looks. The box's commands trust who may run them; what a
// reader may not see is left out, and what they do is on record.
type readerFlags struct {
	configFlag
	As string `help:"Your role (dsl, deputy, head, chair) or your mail address in policy.yaml." default:"dsl" placeholder:"ROLE"`
}

func (c *readerFlags) desk(s *session, by string) (*desk.Desk, *time.Location, error) {
	cfg, err := c.load(s)
	if err != nil {
		return nil, nil, err
	}
	desk, err := desk.Open(cfg, alerts.Reader{As: c.As, By: by})
	return desk, cfg.School.Policy.Timetable.Location, err
}

type alertsListCmd struct {
	readerFlags
	reader
	Open  bool   `help:"Only those that are not closed."`
	Theme string `help:"Only those of one theme, such as bypass: tries to get round the filter." placeholder:"THEME"`
}

// Run lists alerts. It is for the box itself: a mail never holds as much.
func (c *alertsListCmd) Run(s *session) error {
	desk, zone, err := c.desk(s, "")
	if err != nil {
		return err
	}
	if len(desk.Listing.Alerts) > 0 {
		cfg, err := c.load(s)
		if err != nil {
			return err
		}
		if _, err := c.look(s, cfg, actAlerts, "as "+c.As); err != nil {
			return err
		}
	}
	now := time.Now()
	w := tabwriter.NewWriter(s.stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "reference\tseverity\ttheme\tattempts\tlast\tclient\tstate\tmail")
	shown := 0
	var oldest *alerts.Alert
	for i := range desk.Listing.Alerts {
		a := &desk.Listing.Alerts[i]
		if a.State == alerts.StateNew && (oldest == nil || a.First.Before(oldest.First)) {
			oldest = a
		}
		if c.Open && a.State == alerts.StateClosed || c.Theme != "" && a.Theme != c.Theme {
			continue
		}
		shown++
		last := a.Last.In(zone).Format("Mon 2 Jan 15:04")
		fmt.Fprintf(w, "%s\t%d\t%s\t%d\t%s\t%s\t%s\t%s\n", a.Reference(), a.Severity, a.Theme, a.Count, last, client(a), state(a, now), a.Mail())
	}
	if themes := alertThemes(); c.Theme != "" && shown == 0 && !slices.Contains(themes, c.Theme) {
		return unknownWord("theme", c.Theme, themes)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	fmt.Fprintf(s.stdout, "%d of %d alerts\n", shown, desk.Listing.Total)
	if oldest != nil {
		fmt.Fprintf(s.stdout, "oldest that nobody has acknowledged: %s, %s\n", oldest.Reference(), age(now.Sub(oldest.First)))
	}
	return nil
}

// client is whose alert it is, as far as the box knows.
func client(a *alerts.Alert) string {
	switch {
	case a.Shared:
		return "several"
	case a.Person != "":
		return a.Person
	case a.Device != "":
		return a.Device
	}
	return a.Client
}

// state is how far people have got, with a mark on what is late.
func state(a *alerts.Alert, now time.Time) string {
	if a.State == alerts.StateNew && (a.Late > 0 || !a.Due.IsZero() && now.After(a.Due)) {
		return "new, OVERDUE"
	}
	return a.State.String()
}

// age is a length of time as it is said.
func age(d time.Duration) string {
	count := func(n time.Duration, unit string) string {
		if n == 1 {
			return "1 " + unit
		}
		return fmt.Sprintf("%d %ss", n, unit)
	}
	switch {
	case d < time.Hour:
		return count(max(0, d)/time.Minute, "minute")
	case d < 48*time.Hour:
		return count(d/time.Hour, "hour")
	}
	return count(d/(24*time.Hour), "day")
}

// actFlags are of what is put on record.
type actFlags struct {
	readerFlags
	Reference string `arg:"" name:"REF" help:"Reference of the alert, e.g. AL-1F-1."`
	By        string `required:"" help:"Who you are, for the record." placeholder:"NAME" env:"SCHOOLGATE_BY"`
}

// act carries out one answer and says so.
func (c *actFlags) act(s *session, act, note, said string) error {
	desk, _, err := c.desk(s, strings.TrimSpace(c.By))
	if err != nil {
		return err
	}
	a, err := desk.Find(c.Reference)
	if err != nil {
		return err
	}
	if a.State == alerts.StateClosed && act != alerts.ActNote {
		return fmt.Errorf("%s is closed already: %s by %s", a.Reference(), a.Outcome, a.EndedBy)
	}
	done, err := desk.Act(s.ctx, a, act, note)
	if err != nil {
		return err
	}
	fmt.Fprintf(s.stdout, "%s: %s\n", a.Reference(), said)
	if !done {
		fmt.Fprintln(s.stdout, "It is on record and takes effect as soon as Schoolgate runs.")
	}
	return nil
}

type alertsAckCmd struct{ actFlags }

// Run acknowledges an alert.
func (c *alertsAckCmd) Run(s *session) error {
	return c.act(s, alerts.ActAck, "", "acknowledged by "+c.By)
}

type alertsNoteCmd struct {
	actFlags
	Text string `required:"" help:"What is to be kept in mind." placeholder:"TEXT"`
}

// Run leaves a note.
func (c *alertsNoteCmd) Run(s *session) error {
	return c.act(s, alerts.ActNote, c.Text, "noted by "+c.By)
}

type alertsCloseCmd struct {
	actFlags
	Outcome string `required:"" help:"no_concern, term_adjusted, filter_adjusted, support, concern, referred or test." placeholder:"OUTCOME"`
	Reason  string `required:"" help:"Why, in a sentence; no names are needed." placeholder:"TEXT"`
}

// Run closes an alert.
func (c *alertsCloseCmd) Run(s *session) error {
	outcome, err := alerts.ParseOutcome(c.Outcome)
	if err != nil {
		return err
	}
	if strings.TrimSpace(c.Reason) == "" {
		return fmt.Errorf("--reason is empty: say why in a sentence")
	}
	return c.act(s, alerts.ActClose, alerts.CloseNote(outcome, c.Reason), fmt.Sprintf("closed by %s: %s", c.By, outcome))
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
