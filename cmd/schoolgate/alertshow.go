package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"schoolgate/alerts"
	"schoolgate/incidents"
	"schoolgate/policy"
)

type alertsShowCmd struct {
	readerFlags
	reader
	Reference string `arg:"" name:"REF" help:"Reference of the alert, e.g. AL-1F-1."`
}

// Run shows an alert with its events. That somebody read them is recorded before
// they are printed.
func (c *alertsShowCmd) Run(s *session) error {
	cfg, err := c.load(s)
	if err != nil {
		return err
	}
	desk, zone, err := c.desk(s, c.by())
	if err != nil {
		return err
	}
	a, err := desk.Find(c.Reference)
	if err != nil {
		return err
	}
	if err := c.ask(s, cfg); err != nil {
		return err
	}
	if _, err := desk.Act(s.ctx, a, alerts.ActShow, c.why()); err != nil {
		return err
	}
	events, err := desk.Events(s.ctx, a)
	told, toldErr := desk.Told(s.ctx, a)
	v := alertView{w: s.stdout, a: a, as: c.As, told: told, zone: zone, now: time.Now()}
	return errors.Join(v.print(events, desk.Earlier(a)), err, toldErr)
}

// why is the reason, and as whom somebody looks.
func (c *alertsShowCmd) why() string {
	if c.Reason == "" {
		return "as " + c.As
	}
	return c.Reason + " (as " + c.As + ")"
}

// alertView prints one alert in plain words.
type alertView struct {
	w    io.Writer
	a    *alerts.Alert
	as   string   // whom the reader says they are
	told []string // the incidents that a pupil opened by the button on a page
	zone *time.Location
	now  time.Time
}

func (v *alertView) print(events []policy.Event, earlier []*alerts.Alert) error {
	fmt.Fprintf(v.w, "%s\n\n", v.happened())
	w := tabwriter.NewWriter(v.w, 0, 0, 2, ' ', 0)
	for _, row := range v.facts() {
		fmt.Fprintf(w, "  %s\t%s\n", row[0], row[1])
	}
	if err := w.Flush(); err != nil {
		return err
	}
	v.printNotes()
	if err := v.printEvents(events); err != nil {
		return err
	}
	v.printEarlier(earlier)
	v.printNext()
	return nil
}

// happened is the alert in a sentence.
func (v *alertView) happened() string {
	a := v.a
	who := "A pupil's device"
	switch {
	case a.Shared:
		who = "Several devices"
	case a.Adult:
		who = "The device of a member of staff or a visitor"
	}
	times := fmt.Sprintf("%d times", a.Count)
	if a.Count == 1 {
		times = "once"
	}
	switch {
	case a.Sealed:
		return fmt.Sprintf("%s asked %s for something on a mandatory list (child abuse or terrorism). It was refused.\nWhat it was is sealed. Nobody may open, copy or search for it.", who, times)
	case a.Theme == alerts.ThemeBypass:
		return fmt.Sprintf("%s tried %s to get round the filter: %s.", who, times, v.kinds())
	case a.Theme == incidents.ThemeTold:
		return fmt.Sprintf("A pupil pressed the button to tell a grown-up, on a page that was refused, %s. Please see the child.\nWhat the child saw, and wrote, is in the register of incidents: %s.", times, cmp.Or(strings.Join(v.told, ", "), "schoolgate incidents list"))
	}
	return fmt.Sprintf("%s raised a concern about %s, %s.", who, strings.ReplaceAll(a.Theme, "_", " "), times)
}

func (v *alertView) kinds() string {
	var list []string
	for _, kind := range slices.Sorted(maps.Keys(v.a.Kinds)) {
		list = append(list, fmt.Sprintf("%s %d", kind, v.a.Kinds[kind]))
	}
	return strings.Join(list, ", ")
}

func (v *alertView) facts() (rows [][2]string) {
	a := v.a
	add := func(name, value string) {
		if value != "" {
			rows = append(rows, [2]string{name, value})
		}
	}
	add("reference", a.Reference())
	add("severity", fmt.Sprintf("%d of 5", a.Severity))
	add("device", a.Device)
	add("person", a.Person)
	add("address", a.Client)
	add("first", v.when(a.First))
	if a.Count > 1 {
		add("last", v.when(a.Last))
	}
	add("state", state(a, v.now))
	if a.State == alerts.StateNew && !a.Due.IsZero() {
		add("answer by", v.when(a.Due))
	}
	if !a.Acked.IsZero() {
		add("acknowledged", v.when(a.Acked)+" by "+a.AckedBy)
	}
	if a.State == alerts.StateClosed {
		add("closed", fmt.Sprintf("%s by %s: %s, %s", v.when(a.Ended), a.EndedBy, a.Outcome, a.Reason))
	}
	add("mail", a.Mail())
	return rows
}

func (v *alertView) when(t time.Time) string { return t.In(v.zone).Format("Mon 2 Jan 2006 15:04:05") }

func (v *alertView) printNotes() {
	for i, n := range v.a.Notes {
		if i == 0 {
			fmt.Fprintln(v.w, "\nNotes")
		}
		fmt.Fprintf(v.w, "  %s  %s: %s\n", v.when(n.At), n.By, n.Text)
	}
}

func (v *alertView) printEvents(events []policy.Event) error {
	if len(events) == 0 {
		fmt.Fprintln(v.w, "\nIts events are no longer in the journal.")
		return nil
	}
	fmt.Fprintln(v.w, "\nWhat was asked for")
	w := tabwriter.NewWriter(v.w, 0, 0, 2, ' ', 0)
	for i := range events {
		e := &events[i]
		fmt.Fprintf(w, "  %s\t%s\t%s\t%s\t%s\t%s\n", e.ID, v.when(e.Time), e.Verdict, use(e.Use), asked(e), about(e))
	}
	if more := v.a.Count - len(events); more > 0 {
		fmt.Fprintf(w, "  and %d more\n", more)
	}
	return w.Flush()
}

// use says whether a person asked, in words (R42).
func use(u policy.Use) string {
	switch u {
	case policy.UsePerson:
		return "typed or clicked"
	case policy.UseBackground:
		return "by the page itself"
	}
	return "typed or by itself: not known"
}

// asked is what an event was for. Of a mandatory list nothing is told (F7).
func asked(e *policy.Event) string {
	switch {
	case e.Reason == policy.ReasonMandatory || e.Category.Mandatory():
		return "(sealed)"
	case e.Words != "":
		return fmt.Sprintf("search %q at %s", e.Words, e.Host)
	}
	return e.Host + e.Path
}

// about is why an event counts.
func about(e *policy.Event) string {
	var list []string
	if e.Term != "" {
		list = append(list, fmt.Sprintf("term %q", e.Term))
	}
	if e.Category != policy.Uncategorised {
		list = append(list, e.Category.String())
	}
	if e.Finding != "" {
		list = append(list, e.Finding)
	}
	return strings.Join(list, ", ")
}

func (v *alertView) printEarlier(list []*alerts.Alert) {
	if len(list) == 0 {
		fmt.Fprintln(v.w, "\nNo other alert of this device is kept.")
		return
	}
	fmt.Fprintln(v.w, "\nOther alerts of this device")
	for _, o := range list[:min(len(list), 10)] {
		outcome := ""
		if o.Outcome != "" {
			outcome = ": " + string(o.Outcome)
		}
		fmt.Fprintf(v.w, "  %s  %s  severity %d  %s  %s%s\n", o.Reference(), v.when(o.First), o.Severity, o.Theme, o.State, outcome)
	}
	if more := len(list) - 10; more > 0 {
		fmt.Fprintf(v.w, "  and %d more\n", more)
	}
}

// printNext says what to do, the first thing first.
func (v *alertView) printNext() {
	ref := v.a.Reference()
	fmt.Fprintln(v.w, "\nWhat to do")
	if v.a.Severity >= 5 {
		fmt.Fprintln(v.w, "  If a child may be in danger now, follow your child protection procedures, or call 999.\n  Do not open or copy the page. Keep the device as it is.")
	}
	as := ""
	if v.as != alerts.RoleDSL {
		as = " --as " + v.as
	}
	switch v.a.State {
	case alerts.StateNew:
		fmt.Fprintf(v.w, "  To say that you are dealing with it:  schoolgate alerts ack %s%s --by NAME\n", ref, as)
	case alerts.StateReview:
		fmt.Fprintf(v.w, "  When it is dealt with:  schoolgate alerts close %s%s --by NAME --outcome OUTCOME --reason TEXT\n", ref, as)
	default:
		fmt.Fprintln(v.w, "  Nothing: it is closed.")
		return
	}
	role := map[string]string{alerts.RoleHead: " --as head", alerts.RoleChair: " --as chair"}[v.as]
	if role == "" && v.a.Adult && v.as != alerts.RoleDSL { // by their mail address
		role = " --as head or --as chair"
	}
	if len(v.told) > 0 {
		fmt.Fprintf(v.w, "  To read what the child told:  schoolgate incidents show %s%s --by NAME --reason TEXT\n", v.told[0], role)
		return
	}
	fmt.Fprintf(v.w, "  If it is a breach or an incident:  schoolgate incidents open --alert %s%s --by NAME --kind KIND\n", ref, role)
}
