package main

import (
	"archive/zip"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"schoolgate/audit"
	"schoolgate/configs"
	"schoolgate/desk"
	"schoolgate/incidents"
)

type auditSubjectCmd struct {
	configFlag
	reader
	Person string `help:"Whose record: the name they sign in with." placeholder:"NAME"`
	Device string `help:"The device they use, as the register names it." placeholder:"NAME"`
	From   string `help:"First moment, e.g. 2026-11-24T09:00 (default: all there is)." placeholder:"TIME"`
	To     string `help:"End, not included." placeholder:"TIME"`
	Out    string `required:"" help:"New folder to write, or a new file that ends in .zip." placeholder:"PATH"`
}

// Run copies what is held on one person or device, for them to have.
func (c *auditSubjectCmd) Run(s *session) error {
	if c.Person == "" && c.Device == "" {
		return errors.New("say whose record: --person, --device or both")
	}
	if _, err := os.Lstat(c.Out); err == nil {
		return fmt.Errorf("--out %s: it exists already, and nothing is overwritten", c.Out)
	}
	a := auditQuery{configFlag: c.configFlag, From: c.From, To: c.To}
	cfg, dir, q, loc, err := a.journal(s)
	if err != nil {
		return err
	}
	subject := &audit.Subject{
		Person: c.Person, Device: c.Device, From: q.From, To: q.To, School: cfg.School.Name, Made: time.Now(), Location: loc,
	}
	open := 0
	if subject.Alerts, open, err = alertsOf(cfg, c.Person, c.Device); err != nil {
		return err
	}
	about, err := c.incidents(s, cfg, subject)
	if err != nil {
		return err
	}
	id, err := c.look(s, cfg, actSubject, c.whose())
	if err != nil {
		return err
	}
	subject.Reference, q.Before = id, id
	folder, finish, err := c.folder()
	if err != nil {
		return err
	}
	copied, err := subject.WriteTo(folder, dir.Search(s.ctx, q))
	if err = errors.Join(err, finish(err)); err != nil {
		return err
	}
	fmt.Fprintf(s.stdout, "%s written to %s: %s, %s and %s about them; read-me-first.html explains it\n", c.whose(), c.Out,
		counted(copied.Requests, "request"), counted(copied.Acts, "act"), counted(copied.About, "act"))
	if open > 0 {
		fmt.Fprintf(s.stdout, "%s of theirs not closed yet: not listed in it. Ask the DSL before you hand it over.\n", counted(open, "alert"))
	}
	if about != "" {
		fmt.Fprintln(s.stdout, about)
	}
	fmt.Fprintln(s.stdout, "It names a person: keep it encrypted on its way, and delete it when it has been handed over.")
	return errors.Join(copied.Gaps...)
}

// incidents puts those of the subject into the copy that may be there, and says of the
// others what whoever hands it over must know. Of incidents about staff nothing is
// said: who makes the copy may not be one who may see them (R36).
func (c *auditSubjectCmd) incidents(s *session, cfg *configs.Config, subject *audit.Subject) (said string, err error) {
	r, err := incidents.ReadRegister(s.ctx, cfg.Box.Data)
	if err != nil {
		return "", err
	}
	if gaps := r.Gaps(); gaps != nil {
		fmt.Fprintln(s.stderr, "WARNING: part of the register of incidents cannot be read, so something may be missing from the copy:", gaps)
	}
	open, named := 0, 0
	for _, i := range r.List(incidents.RoleDSL) {
		switch {
		case !i.IsOf(c.Person, c.Device):
			if i.Mentions(c.Person) || i.Mentions(c.Device) {
				named++
			}
		case i.Status != incidents.Closed || i.Held:
			open++
		default:
			facts, steps := i.ForSubject(subject.Location, audit.Redacted)
			in := audit.SubjectIncident{Reference: i.Ref(), About: i.Kind.Title()}
			for _, l := range facts {
				in.Facts = append(in.Facts, l)
			}
			for _, l := range steps {
				in.Steps = append(in.Steps, l)
			}
			subject.Incidents = append(subject.Incidents, in)
		}
	}
	lines := []string{fmt.Sprintf("%s in it, without what staff wrote.", counted(len(subject.Incidents), "closed incident"))}
	if open > 0 {
		lines = append(lines, counted(open, "incident")+" of theirs not closed yet: held back, and not named in it. Ask the DSL before you hand it over.")
	}
	if named > 0 {
		lines = append(lines, counted(named, "other incident")+" in which staff wrote the name: not in it. The DSL decides what of that they are told.")
	}
	if len(subject.Incidents)+open+named == 0 {
		return "", nil
	}
	return strings.Join(lines, "\n"), nil
}

func (c *auditSubjectCmd) whose() string {
	var parts []string
	if c.Person != "" {
		parts = append(parts, "person "+c.Person)
	}
	if c.Device != "" {
		parts = append(parts, "device "+c.Device)
	}
	return strings.Join(parts, ", ")
}

// folder is where the copy is written, and what becomes of it after: a folder stays
// as it is, one for a zip file is packed and removed. Half a copy is left of neither.
func (c *auditSubjectCmd) folder() (string, func(error) error, error) {
	if !strings.EqualFold(filepath.Ext(c.Out), ".zip") {
		return c.Out, func(failed error) error {
			if failed != nil {
				return os.RemoveAll(c.Out)
			}
			return nil
		}, nil
	}
	tmp, err := os.MkdirTemp(filepath.Dir(c.Out), ".schoolgate-copy-")
	if err != nil {
		return "", nil, err
	}
	folder := filepath.Join(tmp, "copy")
	return folder, func(failed error) error {
		if failed != nil {
			return os.RemoveAll(tmp)
		}
		return errors.Join(packed(c.Out, os.DirFS(folder)), os.RemoveAll(tmp))
	}, nil
}

// packed writes a folder as a new zip file; a failure leaves none.
func packed(name string, from fs.FS) (err error) {
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer func() {
		if err = errors.Join(err, f.Close()); err != nil {
			err = errors.Join(err, os.Remove(name))
		}
	}()
	z := zip.NewWriter(f)
	if err := z.AddFS(from); err != nil {
		return err
	}
	return errors.Join(z.Close(), f.Sync())
}

// alertsOf is the closed alerts of a person or device, as far as they are told of them.
func alertsOf(cfg *configs.Config, person, device string) (list []audit.SubjectAlert, open int, err error) {
	closed, open, err := desk.AlertsOf(cfg, person, device)
	for i := range closed {
		a := &closed[i]
		list = append(list, audit.SubjectAlert{
			Reference: a.Reference(), Theme: a.Theme, Severity: a.Severity, First: a.First, Count: a.Count,
		})
	}
	return list, open, err
}
