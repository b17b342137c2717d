package main

import (
	"bufio"
	"cmp"
	"errors"
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"strings"
	"text/tabwriter"
	"time"

	"schoolgate/acts"
	"schoolgate/alerts"
	"schoolgate/audit"
	"schoolgate/configs"
	"schoolgate/policy"
)

// reader is who looks at records that name people, and why: every such look is an
// event of its own, written before the first row is shown (R31, privacy 6).
type reader struct {
	By     string `help:"Who is looking (default: who is signed in here)." placeholder:"NAME" env:"SCHOOLGATE_BY"`
	Reason string `help:"Why; kept with the look itself. A terminal asks for it." placeholder:"TEXT" env:"SCHOOLGATE_REASON"`
}

// maxReason bounds a reason, in bytes.
const maxReason = 1000

// look records that somebody looks, and gives the number of that event: what is
// shown is what was there before it. An error means that nothing may be shown.
func (r *reader) look(s *session, cfg *configs.Config, act, subject string) (policy.EventID, error) {
	if err := r.ask(s, cfg); err != nil {
		return 0, err
	}
	e := policy.StaffAct(time.Now(), r.by(), act, subject, r.Reason)
	if err := acts.Record(s.ctx, cfg, &e); err != nil {
		return 0, fmt.Errorf("nothing is shown, since the look could not be recorded: %w", err)
	}
	return e.ID, nil
}

// ask gets the reason: from the command line, the environment or a person.
func (r *reader) ask(s *session, cfg *configs.Config) error {
	if r.Reason = strings.TrimSpace(r.Reason); r.Reason == "" && isTerminal(s.stdin) {
		fmt.Fprint(s.stderr, "Why are you looking? This is kept with your name (SCHOOLGATE_REASON answers for a whole session): ")
		line, err := bufio.NewReader(s.stdin).ReadString('\n')
		if r.Reason = strings.TrimSpace(line); r.Reason == "" {
			return errors.Join(errors.New("no reason was given, so nothing is shown"), err)
		}
	}
	switch {
	case len(r.Reason) > maxReason:
		return fmt.Errorf("the reason is longer than %d bytes: say it shorter", maxReason)
	case r.Reason == "" && cfg.Box.Audit.Reasons == configs.ReasonsRequired:
		return errors.New("a reason is required to look at records that name people: add --reason, or set SCHOOLGATE_REASON")
	}
	return nil
}

// by is who looks: as said, or who is signed in to this computer, behind sudo too.
func (r *reader) by() string {
	if r.By != "" {
		return r.By
	}
	name := os.Getenv("SUDO_USER")
	if name == "" {
		if u, err := user.Current(); err == nil {
			name = u.Username
		}
	}
	return cmp.Or(name, fmt.Sprintf("user %d", os.Getuid()))
}

// lookAt records a look at a journal, and narrows the query to what was there before.
// A copy of a journal, far from any box, has no record to write to.
func (c *auditQuery) lookAt(s *session, r *reader, cfg *configs.Config, dir audit.Dir, act string, q *audit.Query) error {
	own := audit.In(cfg.Box.Data)
	if c.Dir != "" && !samePath(dir.Path, own.Path) {
		if _, err := os.Stat(own.Path); err != nil {
			return nil
		}
		_, err := r.look(s, cfg, act, c.asked()+" in "+dir.Path)
		return err
	}
	id, err := r.look(s, cfg, act, c.asked())
	if q.Before == 0 || id < q.Before {
		q.Before = id
	}
	return err
}

func samePath(a, b string) bool {
	a, errA := filepath.Abs(a)
	b, errB := filepath.Abs(b)
	return errA == nil && errB == nil && a == b
}

// asked is the query as a line of text.
func (c *auditQuery) asked() string {
	var parts []string
	for _, p := range []struct{ name, value string }{
		{"from", c.From}, {"to", c.To}, {"client", c.Client}, {"device", c.Device}, {"group", c.Group}, {"profile", c.Profile},
		{"host", c.Host}, {"category", c.Category}, {"verdict", strings.Join(c.Verdict, ",")}, {"text", c.Text}, {"person", c.Person}, {"theme", c.Theme}, {"use", c.Use},
	} {
		if p.value != "" {
			parts = append(parts, p.name+" "+p.value)
		}
	}
	if c.Flagged {
		parts = append(parts, "flagged")
	}
	return cmp.Or(strings.Join(parts, ", "), "everything")
}

// Acts that are looks at records of people.
const (
	actSearch  = "audit.search"
	actExport  = "audit.export"
	actSubject = "audit.subject"
	actAlerts  = "alerts.list"

	actIncidents = "incident.listed"
	actIncident  = "incident.read"
	actForm      = "incident.form"
	actLetter    = "incident.letter"
	actEvidence  = "incident.evidence"
	actUnseal    = "incident.unsealed"
)

var looks = map[string]bool{
	actSearch: true, actExport: true, actSubject: true, actAlerts: true, actReplay: true, alerts.ActShow: true,
	actIncidents: true, actIncident: true, actForm: true, actLetter: true, actEvidence: true, actUnseal: true,
}

type auditReadsCmd struct {
	configFlag
	Dir  string `help:"Journal folder (default: that of the configuration)." placeholder:"DIR"`
	From string `help:"First moment, e.g. 2026-11-24T09:00, 09:00 (today) or 720h (ago)." placeholder:"TIME"`
	To   string `help:"End, not included; written as --from." placeholder:"TIME"`
}

// Run lists who looked at records of people, and why.
func (c *auditReadsCmd) Run(s *session) error {
	a := auditQuery{configFlag: c.configFlag, Dir: c.Dir, From: c.From, To: c.To}
	_, dir, q, loc, err := a.journal(s)
	if err != nil {
		return err
	}
	w := tabwriter.NewWriter(s.stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "time\twho\tlooked at\twhich\twhy")
	found := 0
	var gaps []error
	for e, err := range dir.Search(s.ctx, q) {
		if gap := (*audit.GapError)(nil); errors.As(err, &gap) {
			gaps = append(gaps, err)
			continue
		}
		if err != nil {
			return err
		}
		if e.Door != policy.DoorStaff || !looks[e.Act] {
			continue
		}
		found++
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", e.Time.In(loc).Format("2006-01-02 15:04:05"), audit.Printable(e.Person),
			e.Act, audit.Printable(e.Subject), audit.Printable(cmp.Or(e.Note, "no reason given")))
	}
	if err := w.Flush(); err != nil {
		return err
	}
	if _, err := fmt.Fprintln(s.stdout, counted(found, "look")); err != nil {
		return err
	}
	return errors.Join(gaps...)
}
