package incidents

import (
	"bytes"
	_ "embed"
	"encoding/csv"
	"fmt"
	"html/template"
	"strings"
	"time"
)

//go:embed form.html
var formText string

var formPage = template.Must(template.New("form").Parse(formText))

// form is exactly what the printed form shows.
type form struct {
	Ref, School, Title, Status, Printed string
	Held, Staff, Head                   bool
	Facts                               []row
	Tasks                               []struct{ Mark, Name, Says string }
	Steps                               []struct{ When, By, Says string }
}

// FormHTML is the incident as a page to print and file (R40). It holds no link.
func (i *Incident) FormHTML(school string, loc *time.Location, now time.Time) ([]byte, error) {
	f := form{
		Ref: i.Ref(), School: school, Title: i.Kind.Title(), Status: i.Status.String(), Printed: when(now, loc),
		Held: i.Held, Staff: i.Subject != Pupils, Head: i.Subject == Head, Facts: i.Facts.rows(loc),
	}
	for _, t := range i.Required() {
		line := struct{ Mark, Name, Says string }{"", t.Title(), ""}
		if d, ok := i.Tasks[t]; ok {
			line.Mark, line.Says = "✓", fmt.Sprintf("%s, %s: %s", when(d.At, loc), d.By, d.says())
			if d.Waived {
				line.Mark = "–"
			}
		}
		f.Tasks = append(f.Tasks, line)
	}
	for n := range i.Steps {
		s := &i.Steps[n]
		f.Steps = append(f.Steps, struct{ When, By, Says string }{when(s.At, loc), s.By, s.says()})
	}
	var b bytes.Buffer
	if err := formPage.Execute(&b, f); err != nil {
		return nil, fmt.Errorf("form of %s: %w", i.Ref(), err)
	}
	return b.Bytes(), nil
}

// FormCSV is the incident for the import of a child protection system: a line for
// each fact and step. No cell is a formula to a spreadsheet.
func (i *Incident) FormCSV(loc *time.Location) ([]byte, error) {
	var b bytes.Buffer
	w := csv.NewWriter(&b)
	write := func(cells ...string) {
		for n := range cells {
			cells[n] = plainCell(cells[n])
		}
		_ = w.Write(cells) // Flush keeps the error
	}
	write("reference", "part", "when", "who", "what", "text")
	write(i.Ref(), "incident", when(i.Opened().At, loc), i.Opened().By, i.Kind.Title(), i.Status.String())
	for _, r := range i.Facts.rows(loc) {
		write(i.Ref(), "log", when(i.Facts.Time, loc), "", r.Name, r.Says)
	}
	for n := range i.Steps {
		s := &i.Steps[n]
		write(i.Ref(), "history", when(s.At, loc), s.By, strings.TrimPrefix(s.Act, "incident."), s.says())
	}
	w.Flush()
	return b.Bytes(), w.Error()
}

// plainCell keeps a spreadsheet from taking a text for a formula.
func plainCell(s string) string {
	if s != "" && strings.ContainsRune("=+-@\t\r|%", rune(s[0])) {
		return "'" + s
	}
	return s
}

// Letter is what a school may write to parents (R21): to be read, changed and
// signed by a person. It names no site.
func (i *Incident) Letter(school string, loc *time.Location) (string, error) {
	if i.Held {
		return "", fmt.Errorf("%s: the police asked for silence, so there is no letter until the hold is released (incidents release)", i.Ref())
	}
	if i.Subject != Pupils {
		return "", fmt.Errorf("%s is about a member of staff: there is no letter to parents", i.Ref())
	}
	happened := i.Facts.Time
	if happened.IsZero() {
		happened = i.Opened().At
	}
	outcome := "Our internet filter keeps a record of what is asked for in school, and we have looked at it."
	if i.Facts.Verdict == "block" {
		outcome = "Our internet filter stopped the page, so it was not seen."
	}
	if school == "" {
		school = "[name of the school]"
	}
	return fmt.Sprintf(`%s
[date]

Dear [parent or carer],

I am writing about something that happened with [name of your child] and the internet in school on
%s.

%s
[Say in one or two sentences what happened, without the address of the page.]

[Name of your child] did the right thing by telling us / is not in trouble. [Change or leave out.]
We have talked with [name of your child], and we have [say what was done].

At home, you may like to talk about it too. You can find help at www.thinkuknow.co.uk and www.nspcc.org.uk.
Childline is free for every child: 0800 1111.

Please ring me if you would like to talk: [telephone number].

Yours sincerely,
[name], Designated Safeguarding Lead
Our reference: %s
`, school, happened.In(loc).Format("Monday 2 January 2006"), outcome, i.Ref()), nil
}
