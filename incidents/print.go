package incidents

import (
	"bufio"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

// When is a moment as staff read it.
func when(t time.Time, loc *time.Location) string {
	if t.IsZero() {
		return ""
	}
	return t.In(loc).Format("Mon 2 Jan 2006 15:04")
}

// PrintList writes a line for each incident: no name, no address of a page.
func PrintList(w io.Writer, list []Incident, loc *time.Location, now time.Time) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "reference\topened\tstatus\tabout\tto do\tcame by")
	open := 0
	for n := range list {
		i := &list[n]
		todo := strings.Join(words(i.Open()), ", ")
		switch {
		case i.Status == New:
			todo = "look at it"
			if i.Kind == Told {
				todo = "talk to the child, say what it is"
			}
			todo += fmt.Sprintf(" (waiting for %s)", waited(now.Sub(i.Opened().At)))
		case i.Status == Closed:
			todo = "-"
		case todo == "":
			todo = "close it"
		}
		if i.Held && i.Status != Closed {
			todo += " (police hold)"
		}
		if i.Status != Closed {
			open++
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\n", i.Ref(), when(i.Opened().At, loc), i.Status, i.Kind.Title(), todo, i.Source)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	_, err := fmt.Fprintf(w, "%d open, %d in all\n", open, len(list))
	return err
}

func words(list []Task) []string {
	out := make([]string, len(list))
	for i, t := range list {
		out[i] = string(t)
	}
	return out
}

// waited is a stretch of time in a person's measure.
func waited(d time.Duration) string {
	switch {
	case d < time.Hour:
		return fmt.Sprintf("%d min", max(0, int(d.Minutes())))
	case d < 48*time.Hour:
		return fmt.Sprintf("%d h", int(d.Hours()))
	}
	return fmt.Sprintf("%d days", int(d.Hours()/24))
}

// row is a line of facts or history: what it is called, and what it says.
type row struct{ Name, Says string }

// rows are the facts that are known, in the order people ask for them.
func (f *Facts) rows(loc *time.Location) (list []row) {
	add := func(name, says string) {
		if says != "" {
			list = append(list, row{name, says})
		}
	}
	add("When", when(f.Time, loc))
	if f.Event != 0 {
		add("Log entry", f.Event.String())
	}
	add("Alert", f.Alert)
	if f.Sealed {
		add("Address", "sealed: it is on a mandatory list. Nobody may open, print or send it. incidents unseal shows it to two people for a report")
	}
	add("Address", Defang(f.URL))
	add("Category", f.Category)
	add("Theme", f.Theme)
	add("Searched for", f.Words)
	add("Outcome", map[string]string{"block": "the filter blocked it", "warn": "the filter warned and kept it closed", "allow": "the filter let it through"}[f.Verdict])
	add("Device", f.Device)
	add("Device address", f.Client)
	add("Group", f.Group)
	add("Signed in as", f.Person)
	if len(f.More) > 0 {
		ids := make([]string, len(f.More))
		for i, id := range f.More {
			ids[i] = id.String()
		}
		add("More log entries", strings.Join(ids, ", "))
	}
	return list
}

// Names says whom what is written of the incident names.
func (i *Incident) Names() string {
	switch i.Subject {
	case Head:
		return "the Headteacher or the DSL"
	case Staff:
		return "a member of staff"
	}
	return "a child"
}

// Line is what something is called or when it was, and what it says.
type Line [2]string

// ForSubject is the incident as far as the person it is of is told of it (R76): what
// the log says, and the steps, without whoever took them and what they wrote.
func (i *Incident) ForSubject(loc *time.Location, redacted string) (facts, steps []Line) {
	for _, r := range i.Facts.rows(loc) {
		facts = append(facts, Line{r.Name, r.Says})
	}
	for n := range i.Steps {
		s := i.Steps[n]
		for _, words := range []*string{&s.To, &s.Number, &s.Second} {
			if *words != "" {
				*words = redacted
			}
		}
		s.Text, s.Changed = "", ""
		steps = append(steps, Line{when(s.At, loc), s.says()})
	}
	return facts, steps
}

// IsOf reports whether the incident is of what a person or a device did: on a device,
// where nobody else had signed in.
func (i *Incident) IsOf(person, device string) bool {
	f := &i.Facts
	return person != "" && f.Person == person || device != "" && f.Device == device && (f.Person == "" || f.Person == person)
}

// Mentions reports whether somebody wrote a name into the incident.
func (i *Incident) Mentions(name string) bool {
	return name != "" && slices.ContainsFunc(i.Steps, func(s Step) bool {
		return strings.Contains(strings.ToLower(s.Text+" "+s.Changed), strings.ToLower(name))
	})
}

// says is a step in a sentence.
func (s *Step) says() string {
	var b strings.Builder
	switch s.Act {
	case ActOpen:
		fmt.Fprintf(&b, "Opened as %q, from: %s", s.Kind.Title(), s.Source)
	case ActTriage:
		fmt.Fprintf(&b, "Looked at: %s", s.Kind.Title())
	case ActEscalate:
		fmt.Fprintf(&b, "Passed on to %s", s.To)
	case ActReport:
		fmt.Fprintf(&b, "%s: reference %s", s.Task.Title(), s.Number)
	case ActTask:
		if b.WriteString(s.Task.Title()); s.Waived {
			b.WriteString(": not done")
		} else if b.WriteString(": done"); s.On != "" {
			b.WriteString(" on " + s.On)
		}
		if s.Number != "" {
			b.WriteString(", reference " + s.Number)
		}
	case ActNote:
		b.WriteString("Note")
	case ActHold:
		b.WriteString("Held: the police asked for silence, parents wait")
		if s.Number != "" {
			b.WriteString(", reference " + s.Number)
		}
	case ActRelease:
		fmt.Fprintf(&b, "Released, with %s: the parents may be told", s.Second)
	case ActAlerted:
		b.WriteString("Those who must hear were told")
	case ActContain:
		b.WriteString("Contained")
	case ActClose:
		b.WriteString("Closed")
	default:
		b.WriteString(s.Act)
	}
	if s.Text != "" {
		b.WriteString(". " + strings.Join(strings.Fields(s.Text), " "))
	}
	if s.Changed != "" {
		b.WriteString(". Changed: " + strings.Join(strings.Fields(s.Changed), " "))
	}
	return b.String()
}

// Print writes the whole incident.
func (i *Incident) Print(w io.Writer, loc *time.Location) error {
	out := bufio.NewWriter(w)
	fmt.Fprintf(out, "%s  %s  (%s)\n", i.Ref(), i.Kind.Title(), i.Status)
	switch i.Subject {
	case Head:
		fmt.Fprintln(out, "About the Headteacher or the DSL: for the chair of governors alone.")
	case Staff:
		fmt.Fprintln(out, "About a member of staff: for the Headteacher and the chair of governors alone.")
	}
	if i.Held {
		fmt.Fprintln(out, "HELD: the police asked for silence. Do not tell the parents, and delete nothing.")
	}
	fmt.Fprintln(out, "\nWhat the log says (nobody needs to open the page)")
	facts := i.Facts.rows(loc)
	for _, r := range facts {
		fmt.Fprintf(out, "  %-16s  %s\n", r.Name, r.Says)
	}
	if len(facts) == 0 {
		fmt.Fprintln(out, "  nothing: no log entry belongs to it")
	}
	fmt.Fprintln(out, "\nWhat must be done")
	for _, t := range i.Required() {
		mark, says := " ", t.Advice()
		if d, ok := i.Tasks[t]; ok {
			mark, says = "x", fmt.Sprintf("%s, %s: %s", when(d.At, loc), d.By, d.says())
			if d.Waived {
				mark = "-"
			}
		} else if t == Parents && i.Held {
			says = "WAITS until the police agree (incidents release)"
		}
		fmt.Fprintf(out, "  [%s] %-10s  %s\n      %s\n", mark, t, t.Title(), says)
	}
	if i.Kind == Told {
		fmt.Fprintln(out, "  [ ] triage      Talk to the child, then say what it is about: incidents triage --kind")
	}
	fmt.Fprintln(out, "\nWhat was done")
	for n := range i.Steps {
		s := &i.Steps[n]
		fmt.Fprintf(out, "  %s  %s: %s\n", when(s.At, loc), s.By, s.says())
	}
	return out.Flush()
}
