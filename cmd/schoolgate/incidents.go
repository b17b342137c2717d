package main

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"schoolgate/acts"
	"schoolgate/appliance"
	"schoolgate/configs"
	"schoolgate/desk"
	"schoolgate/incidents"
	"schoolgate/policy"
	"schoolgate/retention"
)

type incidentsCmd struct {
	Open     incidentsOpenCmd     `cmd:"" help:"Open an incident: of a log entry, an alert, or what somebody saw."`
	List     incidentsListCmd     `cmd:"" help:"List the incidents you may see, with what is to be done."`
	Show     incidentsShowCmd     `cmd:"" help:"Show one incident whole; the reading is itself on record."`
	Triage   incidentsTriageCmd   `cmd:"" help:"Say what an incident is about."`
	Escalate incidentsEscalateCmd `cmd:"" help:"Pass an incident on."`
	Report   incidentsReportCmd   `cmd:"" help:"Note a report to the police, CEOP, the IWF, the LADO or Prevent."`
	Task     incidentsTaskCmd     `cmd:"" help:"Note that a task is done, or why it is not."`
	Note     incidentsNoteCmd     `cmd:"" help:"Add a note."`
	Hold     incidentsHoldCmd     `cmd:"" help:"The police asked for silence: parents wait, nothing is closed."`
	Release  incidentsReleaseCmd  `cmd:"" help:"The police agree that parents may be told; takes two people."`
	Close    incidentsCloseCmd    `cmd:"" help:"Close an incident; refused while something is neither done nor given a reason."`
	Form     incidentsFormCmd     `cmd:"" help:"Write an incident for the child protection file, as a page to print or a CSV."`
	Letter   incidentsLetterCmd   `cmd:"" help:"Print a letter to parents, to be read and changed."`
	Evidence incidentsEvidenceCmd `cmd:"" help:"Write what the log and the register hold of an incident, signed, for the police."`
	Key      incidentsKeyCmd      `cmd:"" help:"Print the public key that this box signs evidence with; hand it out beforehand."`
	Keygen   incidentsKeygenCmd   `cmd:"" help:"Make a key for the DSL or the Headteacher, to which addresses of mandatory hits are sealed."`
	Unseal   incidentsUnsealCmd   `cmd:"" help:"Show the sealed address of a mandatory hit to two people, for a report to the IWF."`
}

// registrar is what every act on the register takes.
type registrar struct {
	configFlag
	By string `required:"" help:"Who does it." placeholder:"NAME" env:"SCHOOLGATE_BY"`
	As string `help:"Your role: dsl (the deputy too), head or chair. IT sees none." enum:"dsl,deputy,head,chair,it" default:"dsl" placeholder:"ROLE" aliases:"role"`
}

// role is as whom: the deputy has what the DSL has.
func (c *registrar) role() string {
	if c.As == "deputy" {
		return string(incidents.RoleDSL)
	}
	return c.As
}

// act carries one act out and says how the incident stands.
func (c *registrar) act(s *session, cmd incidents.Command) error {
	cfg, err := c.load(s)
	if err != nil {
		return err
	}
	return c.actOn(s, cfg, cmd)
}

func (c *registrar) actOn(s *session, cfg *configs.Config, cmd incidents.Command) error {
	role, err := incidents.ParseRole(c.role())
	if err != nil && cmd.Act != incidents.ActOpen { // anybody may report
		return err
	}
	cmd.By, cmd.Role = c.By, role
	i, err := appliance.Incident(s.ctx, cfg, cmd)
	if err != nil {
		return err
	}
	fmt.Fprintf(s.stdout, "%s: %s, %s\n", i.Ref(), i.Status, strings.ToLower(i.Kind.Title()))
	switch i.Subject {
	case incidents.Head:
		fmt.Fprintln(s.stdout, "it is about the Headteacher or the DSL: only the chair of governors (--as chair) can see it from now on")
	case incidents.Staff:
		fmt.Fprintln(s.stdout, "it is about a member of staff: only the Headteacher (--as head) or the chair of governors (--as chair) can see it from now on")
	}
	if i.Status == incidents.Closed {
		return nil
	}
	for _, t := range i.Open() {
		fmt.Fprintf(s.stdout, "  to do: %-10s  %s\n", t, t.Title())
	}
	return nil
}

// register reads the register for somebody who says why, and puts that on record.
func (c *registrar) register(s *session, cfg *configs.Config, act, subject, why string) (*incidents.Register, incidents.Role, error) {
	role, err := incidents.ParseRole(c.role())
	if err != nil {
		return nil, "", err
	}
	read := policy.StaffAct(time.Now(), c.By, act, subject, why)
	if err := acts.Record(s.ctx, cfg, &read); err != nil {
		return nil, "", fmt.Errorf("not shown, since the reading cannot be put on record: %w", err)
	}
	r, err := incidents.ReadRegister(s.ctx, cfg.Box.Data)
	if err != nil {
		return nil, "", err
	}
	if gaps := r.Gaps(); gaps != nil {
		fmt.Fprintln(s.stderr, "WARNING: part of the register cannot be read; what follows may not be all:", gaps)
	}
	return r, role, nil
}

// incidentReader is what reading one incident takes.
type incidentReader struct {
	registrar
	Reason string `required:"" help:"Why you read it." placeholder:"TEXT" env:"SCHOOLGATE_REASON"`
	Ref    string `arg:"" name:"REF" help:"Reference of the incident, e.g. IN-1A-B."`
}

// incident is the one asked for.
func (c *incidentReader) incident(s *session, act string) (*configs.Config, incidents.Incident, error) {
	cfg, err := c.load(s)
	if err != nil {
		return nil, incidents.Incident{}, err
	}
	if len(strings.TrimSpace(c.Reason)) < 5 {
		return nil, incidents.Incident{}, fmt.Errorf("--reason %q is too short: say why you read it, so that it can be understood later", c.Reason)
	}
	r, role, err := c.register(s, cfg, act, strings.ToUpper(c.Ref), c.Reason)
	if err != nil {
		return nil, incidents.Incident{}, err
	}
	i, err := r.Get(c.Ref, role)
	return cfg, i, err
}

type incidentsOpenCmd struct {
	registrar
	Kind   string `help:"What it is about, e.g. accidental_exposure, bullying, self_harm_concern, illegal_content, staff_misuse." placeholder:"KIND"`
	About  string `help:"staff or head, where it is about a member of staff or the Headteacher." enum:",staff,head" default:""`
	Event  string `help:"Reference that a page or the log shows, e.g. SG-1A2-G." xor:"of" placeholder:"SG-…"`
	Alert  string `help:"Reference of an alert, e.g. AL-1F-1." xor:"of" placeholder:"AL-…"`
	Device string `help:"Device or address it happened on: the log is looked through around --when." xor:"of" placeholder:"DEVICE"`
	When   string `help:"When it happened, e.g. 2026-11-24T10:15 or 10:15 (default: now)." placeholder:"TIME"`
	Text   string `help:"What was seen, in your own words; no address and no image." placeholder:"TEXT"`
}

// Run opens an incident and fills in what the log knows.
func (c *incidentsOpenCmd) Run(s *session) error {
	cfg, err := c.load(s)
	if err != nil {
		return err
	}
	at, err := parseMoment(c.When, time.Now(), cfg.School.Policy.Timetable.Location)
	if err != nil {
		return err
	}
	change := incidents.Change{Kind: incidents.Kind(c.Kind), Subject: incidents.Subject(c.About), Text: c.Text, Source: incidents.SourceForm}
	f, subject := incidents.Facts{Time: at}, incidents.Pupils
	switch {
	case c.Event != "":
		change.Source = incidents.SourceEvent
		id, perr := policy.ParseEventID(c.Event)
		if perr != nil {
			return perr
		}
		f, subject, err = desk.FactsOf(s.ctx, cfg, id)
	case c.Alert != "":
		change.Source = incidents.SourceAlert
		f, subject, err = desk.FactsOfAlert(s.ctx, cfg, c.Alert, incidents.Role(c.role()))
	case c.Device != "":
		f, subject, err = desk.FactsAround(s.ctx, cfg, c.Device, at)
	}
	if err != nil {
		return err
	}
	if change.Subject == incidents.Pupils || subject == incidents.Head {
		change.Subject = subject
	}
	change.Facts = &f
	return c.actOn(s, cfg, incidents.Command{Act: incidents.ActOpen, Change: change})
}

type incidentsListCmd struct {
	registrar
	Open bool `help:"Only those that are not closed."`
}

// Run lists incidents: no name and no address is in it.
func (c *incidentsListCmd) Run(s *session) error {
	cfg, err := c.load(s)
	if err != nil {
		return err
	}
	r, role, err := c.register(s, cfg, actIncidents, "", "")
	if err != nil {
		return err
	}
	var list []incidents.Incident
	for _, i := range r.List(role) {
		if !c.Open || i.Status != incidents.Closed {
			list = append(list, i)
		}
	}
	return incidents.PrintList(s.stdout, list, cfg.School.Policy.Timetable.Location, time.Now())
}

type incidentsShowCmd struct{ incidentReader }

// Run shows one incident.
func (c *incidentsShowCmd) Run(s *session) error {
	cfg, i, err := c.incident(s, actIncident)
	if err != nil {
		return err
	}
	return i.Print(s.stdout, cfg.School.Policy.Timetable.Location)
}

type incidentsTriageCmd struct {
	registrar
	Kind  string `help:"What it is about." placeholder:"KIND"`
	About string `help:"staff or head, where it is about a member of staff or the Headteacher." enum:",staff,head" default:""`
	Text  string `help:"What you found." placeholder:"TEXT"`
	Ref   string `arg:"" name:"REF" help:"Reference of the incident, e.g. IN-1A-B."`
}

// Run says what an incident is about.
func (c *incidentsTriageCmd) Run(s *session) error {
	return c.act(s, incidents.Command{Act: incidents.ActTriage, Ref: c.Ref, Change: incidents.Change{
		Kind: incidents.Kind(c.Kind), Subject: incidents.Subject(c.About), Text: c.Text,
	}})
}

type incidentsEscalateCmd struct {
	registrar
	To   string `required:"" help:"To whom, e.g. the Headteacher, children's social care." placeholder:"WHOM"`
	Text string `help:"Why." placeholder:"TEXT"`
	Ref  string `arg:"" name:"REF" help:"Reference of the incident, e.g. IN-1A-B."`
}

// Run passes an incident on.
func (c *incidentsEscalateCmd) Run(s *session) error {
	return c.act(s, incidents.Command{Act: incidents.ActEscalate, Ref: c.Ref, Change: incidents.Change{To: c.To, Text: c.Text}})
}

type incidentsReportCmd struct {
	registrar
	To        string `required:"" help:"police, ceop, iwf, lado or prevent." placeholder:"AGENCY"`
	Reference string `required:"" help:"The reference number they gave." placeholder:"NUMBER"`
	On        string `help:"The day, e.g. 2026-11-28." placeholder:"DAY"`
	Text      string `help:"Who took it, and what they said." placeholder:"TEXT"`
	Ref       string `arg:"" name:"REF" help:"Reference of the incident, e.g. IN-1A-B."`
}

// Run notes a report to an agency.
func (c *incidentsReportCmd) Run(s *session) error {
	return c.act(s, incidents.Command{Act: incidents.ActReport, Ref: c.Ref, Change: incidents.Change{
		Task: incidents.Task(c.To), Number: c.Reference, On: c.On, Text: c.Text,
	}})
}

type incidentsTaskCmd struct {
	registrar
	NotDone   bool   `help:"It is not done, and --reason says why."`
	Reason    string `help:"Why it is not done." placeholder:"TEXT"`
	On        string `help:"The day it was done, e.g. 2026-11-28." placeholder:"DAY"`
	Reference string `help:"A reference number." placeholder:"NUMBER"`
	Text      string `help:"What was done, and who was spoken to." placeholder:"TEXT"`
	Change    string `help:"Of lessons: what was changed in policy or teaching, or why nothing needs to be." placeholder:"TEXT"`
	Ref       string `arg:"" name:"REF" help:"Reference of the incident, e.g. IN-1A-B."`
	Task      string `arg:"" name:"TASK" help:"As incidents show names it, e.g. parents, quarantine, lessons."`
}

// Run settles a task.
func (c *incidentsTaskCmd) Run(s *session) error {
	text := c.Text
	if c.NotDone {
		text = c.Reason
	} else if c.Reason != "" {
		return errors.New("--reason belongs to --not-done")
	}
	return c.act(s, incidents.Command{Act: incidents.ActTask, Ref: c.Ref, Change: incidents.Change{
		Task: incidents.Task(c.Task), Waived: c.NotDone, On: c.On, Number: c.Reference, Text: text, Changed: c.Change,
	}})
}

type incidentsNoteCmd struct {
	registrar
	Text string `required:"" help:"The note." placeholder:"TEXT"`
	Ref  string `arg:"" name:"REF" help:"Reference of the incident, e.g. IN-1A-B."`
}

// Run adds a note.
func (c *incidentsNoteCmd) Run(s *session) error {
	return c.act(s, incidents.Command{Act: incidents.ActNote, Ref: c.Ref, Change: incidents.Change{Text: c.Text}})
}

type incidentsHoldCmd struct {
	registrar
	Reason    string `required:"" help:"Who asked for it, and why." placeholder:"TEXT"`
	Reference string `help:"The police's reference number." placeholder:"NUMBER"`
	Ref       string `arg:"" name:"REF" help:"Reference of the incident, e.g. IN-1A-B."`
}

// Run holds an incident, and first of all what the log has of its device: a crash
// between the two leaves something held too much.
func (c *incidentsHoldCmd) Run(s *session) error {
	cfg, err := c.load(s)
	if err != nil {
		return err
	}
	r, err := incidents.ReadRegister(s.ctx, cfg.Box.Data)
	if err != nil {
		return err
	}
	i, err := r.Get(c.Ref, incidents.Role(c.role()))
	if err == nil && !i.Held && i.Status != incidents.Closed {
		err = retention.HoldLog(s.ctx, cfg, s.stdout, &i, c.By, c.Reason)
	}
	if err != nil {
		return err
	}
	return c.actOn(s, cfg, incidents.Command{Act: incidents.ActHold, Ref: c.Ref, Change: incidents.Change{Text: c.Reason, Number: c.Reference}})
}

type incidentsReleaseCmd struct {
	registrar
	secondPerson
	Reason string `required:"" help:"Who of the police agreed, and when." placeholder:"TEXT"`
	Ref    string `arg:"" name:"REF" help:"Reference of the incident, e.g. IN-1A-B."`
}

// Run releases a hold.
func (c *incidentsReleaseCmd) Run(s *session) error {
	return c.act(s, incidents.Command{Act: incidents.ActRelease, Ref: c.Ref, Change: incidents.Change{Text: c.Reason, Second: c.Second}})
}

type incidentsCloseCmd struct {
	registrar
	Text string `help:"A last word." placeholder:"TEXT"`
	Ref  string `arg:"" name:"REF" help:"Reference of the incident, e.g. IN-1A-B."`
}

// Run closes an incident.
func (c *incidentsCloseCmd) Run(s *session) error {
	return c.act(s, incidents.Command{Act: incidents.ActClose, Ref: c.Ref, Change: incidents.Change{Text: c.Text}})
}

type incidentsFormCmd struct {
	incidentReader
	Out string `required:"" help:"File to write: .html to print, .csv to import." placeholder:"FILE"`
}

// Run writes the form for the child protection file.
func (c *incidentsFormCmd) Run(s *session) error {
	html := strings.HasSuffix(strings.ToLower(c.Out), ".html")
	if !html && !strings.HasSuffix(strings.ToLower(c.Out), ".csv") {
		return fmt.Errorf("--out %q: want a file that ends in .html or .csv", c.Out)
	}
	cfg, i, err := c.incident(s, actForm)
	if err != nil {
		return err
	}
	loc := cfg.School.Policy.Timetable.Location
	text, err := i.FormCSV(loc)
	if html {
		text, err = i.FormHTML(cfg.School.Name, loc, time.Now())
	}
	if err != nil {
		return err
	}
	if err := writeNew(c.Out, text); err != nil {
		return err
	}
	keep := "so keep it as you keep the child protection file"
	if i.Subject != incidents.Pupils {
		keep = "so keep it as confidential as the personnel file"
	}
	_, err = fmt.Fprintf(s.stdout, "%s written to %s: it names %s, %s\n", i.Ref(), c.Out, i.Names(), keep)
	return err
}

type incidentsLetterCmd struct{ incidentReader }

// Run prints a letter to parents.
func (c *incidentsLetterCmd) Run(s *session) error {
	cfg, i, err := c.incident(s, actLetter)
	if err != nil {
		return err
	}
	text, err := i.Letter(cfg.School.Name, cfg.School.Policy.Timetable.Location)
	if err != nil {
		return err
	}
	_, err = fmt.Fprint(s.stdout, text)
	return err
}
