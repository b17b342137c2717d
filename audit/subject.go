package audit

import (
	"bufio"
	_ "embed"
	"errors"
	"fmt"
	"html/template"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"schoolgate/policy"
)

// Subject is whom a copy of the record is made for: UK GDPR gives everybody a
// right to what is held on them (R76). A person, a device, or a person with the
// device they use.
type Subject struct {
	Person, Device string
	From, To       time.Time // the period, zero for all there is
	School         string    // its name, for the cover page
	Made           time.Time
	Reference      policy.EventID // of the record that the copy was made
	Location       *time.Location
	Alerts         []SubjectAlert    // raised by what the person did
	Incidents      []SubjectIncident // that were opened of what the person did
}

// SubjectIncident is an incident, as far as its subject is told of it: what the log
// says of them, and which steps were taken when. What staff wrote about it, and who
// they are, is not in it.
type SubjectIncident struct {
	Reference, About string
	Facts            [][2]string // what it is called, and what it says
	Steps            [][2]string // when, and what was done
}

// SubjectAlert is an alert, as far as its subject is told of it.
type SubjectAlert struct {
	Reference, Theme string
	Severity         uint8
	First            time.Time
	Count            int
}

// Copied is how much a copy holds, and what was left out of it.
type Copied struct {
	Requests, Refused, Searches, Sealed, Acts, About int
	Others                                           int // requests on the device by somebody who had signed in
	Gaps                                             []error
}

// Redacted stands for what is another person's.
const Redacted = "[somebody else]"

// subjectFiles of a copy. The cover comes first when it is read.
const (
	subjectCover = "read-me-first.html"
	subjectTable = "your-record.csv"
	subjectLines = "your-record.jsonl"
)

// WriteTo writes the copy of events into a new folder: a cover page in plain
// English, a table for a spreadsheet, and lines for a program. What others did, who
// looked and why, and what a mandatory list sealed stays out.
func (s *Subject) WriteTo(dir string, events iter.Seq2[policy.Event, error]) (c Copied, err error) {
	if err := os.Mkdir(dir, 0o700); err != nil {
		return c, fmt.Errorf("copy of the record: %w", err)
	}
	table, err := createPart(dir, subjectTable)
	if err != nil {
		return c, err
	}
	lines, err := createPart(dir, subjectLines)
	if err != nil {
		return c, errors.Join(err, table.close())
	}
	err = s.write(&c, table.w, lines.w, events)
	if err = errors.Join(err, table.close(), lines.close()); err != nil {
		return c, err
	}
	cover, err := createPart(dir, subjectCover)
	if err != nil {
		return c, err
	}
	err = coverPage.Execute(cover.w, subjectPage{s, c, subjectTable, subjectLines})
	return c, errors.Join(err, cover.close())
}

func (s *Subject) write(c *Copied, table, lines *bufio.Writer, events iter.Seq2[policy.Event, error]) error {
	row, finish, err := newExporter(table, CSV)
	if err != nil {
		return err
	}
	line, _, err := newExporter(lines, JSON)
	if err != nil {
		return err
	}
	for e, err := range events {
		if gap := (*GapError)(nil); errors.As(err, &gap) {
			c.Gaps = append(c.Gaps, err)
			continue
		}
		if err != nil {
			return err
		}
		if !s.take(c, &e) {
			continue
		}
		if err := errors.Join(row(&e), line(&e)); err != nil {
			return err
		}
	}
	return finish()
}

// take reports whether an event is the subject's, counts it and takes out of it
// what is not.
func (s *Subject) take(c *Copied, e *policy.Event) bool {
	if e.Door == policy.DoorStaff {
		return s.takeAct(c, e)
	}
	own := s.Person != "" && e.Person == s.Person
	if !own && (s.Device == "" || e.Device != s.Device) {
		return false
	}
	if !own && e.Person != "" { // on this device, by somebody else
		c.Others++
		return false
	}
	c.Requests++
	if e.Verdict != policy.Allow {
		c.Refused++
	}
	if e.Words != "" {
		c.Searches++
	}
	if e.Reason == policy.ReasonMandatory { // that it was, when and what kind: nothing else may leave the box
		c.Sealed++
		*e = policy.Event{
			ID: e.ID, Time: e.Time, Door: e.Door, Client: e.Client, Device: e.Device, Person: e.Person, Group: e.Group,
			Verdict: e.Verdict, Reason: e.Reason, Category: e.Category, Severity: e.Severity,
		}
	}
	return true
}

// actHold is how the acts of legal holds begin.
const actHold = "audit.hold."

// takeAct takes what staff did: of the subject's own acts what they were done to is
// kept only where it is the subject; of acts about the subject, who did them and why
// is another person's.
func (s *Subject) takeAct(c *Copied, e *policy.Event) bool {
	about := names(e.Subject, s.Person) || names(e.Subject, s.Device)
	switch {
	case strings.HasPrefix(e.Act, actHold):
		return false // the police may have asked for silence
	case s.Person != "" && e.Person == s.Person:
		c.Acts++
		if !about && e.Subject != "" {
			e.Subject, e.Note = Redacted, Redacted
		}
	case about:
		c.About++
		e.Person, e.Note = Redacted, ""
		e.Subject = s.onlyOwn()
	default:
		return false
	}
	return true
}

func (s *Subject) onlyOwn() string {
	return strings.Join(slices.DeleteFunc([]string{s.Person, s.Device}, func(n string) bool { return n == "" }), ", ")
}

// names reports whether a text names somebody, as a word of its own.
func names(text, name string) bool {
	if name == "" {
		return false
	}
	for at := 0; ; {
		i := strings.Index(text[at:], name)
		if i < 0 {
			return false
		}
		i += at
		if outside(text, i-1) && outside(text, i+len(name)) {
			return true
		}
		at = i + 1
	}
}

// outside reports whether there is no letter or digit at a place.
func outside(text string, i int) bool {
	return i < 0 || i >= len(text) || !strings.ContainsRune("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.@", rune(text[i]))
}

// part is a file of a copy while it is written.
type part struct {
	f *os.File
	w *bufio.Writer
}

func createPart(dir, name string) (*part, error) {
	f, err := os.OpenFile(filepath.Join(dir, name), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, fmt.Errorf("copy of the record: %w", err)
	}
	return &part{f, bufio.NewWriter(f)}, nil
}

func (p *part) close() error { return errors.Join(p.w.Flush(), p.f.Sync(), p.f.Close()) }

//go:embed subject.html
var coverText string

var coverPage = template.Must(template.New("cover").Parse(coverText))

// subjectPage is what the cover page shows.
type subjectPage struct {
	*Subject
	Copied
	Table, Lines string
}

// Who is whom the copy is for.
func (p subjectPage) Who() string {
	switch {
	case p.Person != "" && p.Device != "":
		return p.Person + ", and the device " + p.Device
	case p.Person != "":
		return p.Person
	}
	return "the device " + p.Device
}

// When is a moment by the school's clock.
func (p subjectPage) When(t time.Time) string {
	loc := p.Location
	if loc == nil {
		loc = time.Local
	}
	return t.In(loc).Format("2 January 2006, 15:04")
}
