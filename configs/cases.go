package configs

import (
	"bufio"
	"cmp"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"schoolgate/policy"
)

// Bounds on a file of cases.
const (
	maxCaseLine = 4 << 10
	maxCases    = 100_000
)

// CaseOptions is what policy cases are run with.
type CaseOptions struct {
	// Config is the configuration asked where a file names no policy; "" is the
	// sample school.
	Config string
	// Identify makes the identifier of a configuration; package clients has one.
	Identify func([]Member) (policy.Identifier, error)
	// Lists is asked where a file fakes no categories; nil knows no host.
	Lists policy.Classifier
	// Now is where "Tue 10:15" is looked for: the first Tuesday after it that no
	// dated period (a holiday) covers.
	Now time.Time
}

// Failure is a case that did not come out as it was written.
type Failure struct {
	Pos       policy.Pos
	Asked     string // e.g. poker.example from 10.2.0.7
	Got, Want string
}

func (f Failure) String() string {
	return fmt.Sprintf("%s: %s: got %s, want %s", f.Pos, f.Asked, f.Got, f.Want)
}

// RunCases runs a file of policy cases, written in the operator's words:
//
//	policy school.yaml                       # optional: beside the file of cases
//	category gambling poker.example          # optional: fakes the lists
//	at Tue 10:15 from 10.2.0.7               # or: at 2026-03-03 10:15 as ks2
//	    poker.example      block gambling    # host or URL, verdict, category or reason
//	    www.example.org    allow default
//
// It gives the failures and how many cases were run. The error joins every
// problem of the file itself or of its policy, each a [policy.Problem]; with one,
// no case has been run.
func RunCases(r io.Reader, name string, o CaseOptions) (failures []Failure, ran int, err error) {
	f := &caseFile{name: name, options: o, fake: fakeLists{}}
	f.parse(r)
	if len(f.problems) > 0 {
		return nil, 0, joinProblems(f.problems)
	}
	snapshot, config, err := f.snapshot()
	if err != nil {
		return nil, 0, err
	}
	for _, c := range f.cases {
		if problem := c.run(snapshot, config, o.Now, &failures); problem != nil {
			f.problems = append(f.problems, *problem)
		}
	}
	if len(f.problems) > 0 {
		return nil, 0, joinProblems(f.problems)
	}
	return failures, len(f.cases), nil
}

func joinProblems(problems []policy.Problem) error {
	errs := make([]error, 0, len(problems))
	for _, p := range problems {
		errs = append(errs, p)
	}
	return errors.Join(errs...)
}

// caseFile is a file of cases while it is read.
type caseFile struct {
	name     string
	options  CaseOptions
	problems []policy.Problem

	policy  string // the policy file, "" for the configuration given
	fake    fakeLists
	current *setting
	cases   []policyCase
}

// setting is an "at" line: when, and who asks.
type setting struct {
	at      policy.Pos
	day     int // weekday, where date is zero
	date    time.Time
	minute  int
	client  netip.Addr
	profile string
}

// policyCase is one request and what should become of it.
type policyCase struct {
	at      policy.Pos
	setting *setting
	text    string
	url     policy.URL
	verdict policy.Verdict
	why     string // category or reason, "" for any
}

func (f *caseFile) problem(at policy.Pos, format string, args ...any) {
	f.problems = append(f.problems, policy.Problem{Pos: at, Text: fmt.Sprintf(format, args...)})
}

func (f *caseFile) parse(r io.Reader) {
	s := bufio.NewScanner(r)
	s.Buffer(make([]byte, 0, maxCaseLine), maxCaseLine)
	at := policy.Pos{File: f.name}
	for s.Scan() {
		at.Line++
		line, _, _ := strings.Cut(s.Text(), "#")
		words := strings.Fields(line)
		switch {
		case len(words) == 0:
		case line[0] == ' ' || line[0] == '\t':
			f.parseCase(at, words)
		default:
			f.parseHeading(at, words)
		}
		if len(f.cases) > maxCases {
			f.problem(at, "more than %d cases in one file (split it)", maxCases)
			return
		}
	}
	at.Line++
	if err := s.Err(); err != nil {
		f.problem(at, "the line cannot be read: %v (at most %d bytes)", err, maxCaseLine)
	} else if len(f.cases) == 0 && len(f.problems) == 0 {
		f.problem(policy.Pos{File: f.name, Line: 1}, "no case in the file (an indented line with host and verdict, under a line such as: at Tue 10:15 as ks2)")
	}
}

func (f *caseFile) parseHeading(at policy.Pos, words []string) {
	switch words[0] {
	case "policy":
		if len(words) != 2 || f.policy != "" || len(f.cases) > 0 {
			f.problem(at, "want one line \"policy FILE\" before the cases")
			return
		}
		f.policy = words[1]
	case "category":
		f.parseCategory(at, words[1:])
	case "at":
		f.parseSetting(at, words[1:])
	default:
		f.problem(at, "%v; a case itself is indented", unknown("word", clip(words[0]), []string{"policy", "category", "at"}))
	}
}

func (f *caseFile) parseCategory(at policy.Pos, words []string) {
	if len(words) < 2 {
		f.problem(at, "want category ID HOST..., such as: category gambling poker.example")
		return
	}
	c, err := category(words[0])
	if err != nil {
		f.problem(at, "%v", err)
		return
	}
	for _, w := range words[1:] {
		rule, err := site(w)
		if err != nil {
			f.problem(at, "%v", err)
			continue
		}
		f.fake.add(rule, c)
	}
}

// parseSetting reads "Tue 10:15 from ADDRESS" or "2026-03-03 10:15 as PROFILE".
func (f *caseFile) parseSetting(at policy.Pos, words []string) {
	f.current = &setting{at: at} // even a wrong one: its cases are read all the same
	s := f.current
	if len(words) != 4 {
		f.problem(at, "want a day, a time and who asks, such as: at Tue 10:15 from 10.2.0.7, or: at 2026-03-03 10:15 as ks2")
		return
	}
	var err error
	if s.date, err = time.Parse(time.DateOnly, words[0]); err != nil {
		if s.day, err = weekday(words[0]); err != nil {
			f.problem(at, "%v", err)
		}
	}
	if s.minute, err = clock(words[1]); err != nil {
		f.problem(at, "%v", err)
	}
	switch words[2] {
	case "from":
		if s.client, err = address(words[3]); err != nil {
			f.problem(at, "%v", err)
		}
	case "as":
		s.profile = words[3]
	default:
		f.problem(at, "%v", unknown("word", clip(words[2]), []string{"from", "as"}))
	}
}

func (f *caseFile) parseCase(at policy.Pos, words []string) {
	if f.current == nil {
		f.problem(at, "a case before any line that says when and who (write: at Tue 10:15 as ks2)")
		return
	}
	if len(words) < 2 || len(words) > 3 {
		f.problem(at, "want host or URL, verdict and perhaps a category or reason, such as: poker.example block gambling")
		return
	}
	c := policyCase{at: at, setting: f.current, text: words[0]}
	var err error
	if c.url, err = policy.ParseURL(words[0]); err != nil {
		f.problem(at, "%v", err)
		return
	}
	if !strings.Contains(strings.TrimPrefix(words[0][strings.Index(words[0], "://")+1:], "//"), "/") {
		c.url.Path = "" // a host alone: what the DNS and TLS doors see
	}
	if c.verdict, err = verdict(words[1]); err != nil {
		f.problem(at, "%v", err)
		return
	}
	if len(words) == 3 {
		if c.why, err = because(words[2]); err != nil {
			f.problem(at, "%v", err)
			return
		}
	}
	f.cases = append(f.cases, c)
}

// because reads what a case may give as the cause: a category or a reason.
func because(s string) (string, error) {
	if _, err := category(s); err == nil {
		return s, nil
	}
	known := []string{}
	for reason := policy.ReasonMandatory; reason.String() != policy.ReasonNotReady.String(); reason++ {
		if reason.String() == s {
			return s, nil
		}
		known = append(known, reason.String())
	}
	for c := range policy.Categories() {
		known = append(known, c.String())
	}
	return "", unknown("category or reason", clip(s), known)
}

// snapshot loads what the cases are asked of.
func (f *caseFile) snapshot() (*policy.Snapshot, *Config, error) {
	path := f.options.Config
	if f.policy != "" {
		if path = f.policy; !filepath.IsAbs(path) {
			path = filepath.Join(filepath.Dir(f.name), path)
		}
	}
	config, problems := Load(path)
	if len(problems) > 0 {
		return nil, nil, joinProblems(problems)
	}
	clients, err := f.options.Identify(config.School.Members)
	if err != nil {
		return nil, nil, err
	}
	s := &policy.Snapshot{Policy: config.School.Policy, Clients: clients, Lists: f.options.Lists}
	if len(f.fake) > 0 || s.Lists == nil {
		s.Lists = f.fake
	}
	return s, config, nil
}

// run asks one case and notes a failure. A case that cannot be asked is a problem
// of the file.
func (c *policyCase) run(s *policy.Snapshot, config *Config, now time.Time, failures *[]Failure) *policy.Problem {
	when, ok := c.setting.moment(config.School.Spec.Timetable, now)
	if !ok {
		return &policy.Problem{Pos: c.setting.at, Text: "no such day within a year that is not in a holiday of the timetable (write a date)"}
	}
	q := policy.Request{Door: policy.DoorCheck, Client: c.setting.client, Host: c.url.Host, Path: c.url.Path, Time: when}
	asked := c.text + " from " + c.setting.client.String()
	var ruling policy.Ruling
	if c.setting.profile == "" {
		ruling = s.Decide(q)
	} else {
		asked = c.text + " as " + c.setting.profile
		var known bool
		if ruling, _, known = s.DecideFor(c.setting.profile, q); !known {
			names := []string{}
			for _, p := range config.School.Policy.Profiles() {
				names = append(names, p.Name)
			}
			return &policy.Problem{Pos: c.setting.at, Text: unknown("profile", clip(c.setting.profile), names).Error()}
		}
	}
	if !c.holds(ruling.Decision) {
		*failures = append(*failures, Failure{Pos: c.at, Asked: asked, Got: gave(ruling.Decision), Want: strings.TrimSpace(c.verdict.String() + " " + c.why)})
	}
	return nil
}

// holds reports whether a decision is the one that was written. The word default
// stands for both ways in which no rule has spoken.
func (c *policyCase) holds(d policy.Decision) bool {
	why := c.why == "" || c.why == d.Reason.String() || (c.why == d.Category.String() && d.Category != policy.Uncategorised) ||
		(c.why == policy.ReasonDefault.String() && d.Reason == policy.ReasonUncategorised)
	return d.Verdict == c.verdict && why
}

// gave is a decision in the words of a case, with the line that made it.
func gave(d policy.Decision) string {
	s := d.Verdict.String()
	if d.Category != policy.Uncategorised {
		s += " " + d.Category.String()
	}
	s += " (" + d.Reason.String()
	if rule := d.Rule.String(); rule != "" {
		s += ", " + rule
	}
	return s + ")"
}

// moment is when a case is asked, by the school's clock.
func (s *setting) moment(tt policy.Timetable, now time.Time) (time.Time, bool) {
	zone := cmp.Or(tt.Location, time.UTC)
	day := s.date
	if day.IsZero() {
		y, m, d := now.In(zone).Date()
		day = time.Date(y, m, d, 0, 0, 0, 0, time.UTC)
		for tries := 0; int(day.Weekday()) != s.day || dated(tt, day); tries++ {
			if tries > 366 {
				return time.Time{}, false
			}
			day = day.AddDate(0, 0, 1)
		}
	}
	return time.Date(day.Year(), day.Month(), day.Day(), 0, s.minute, 0, 0, zone), true
}

// dated reports whether a period with dates of its own, such as a holiday, covers
// the day.
func dated(tt policy.Timetable, day time.Time) bool {
	n := day.Year()*10000 + int(day.Month())*100 + day.Day()
	return slices.ContainsFunc(tt.Periods, func(p policy.Period) bool {
		return p.First != 0 && n >= p.First && n <= p.Last
	})
}

// fakeLists is the categories that a file of cases makes up. The nearest host
// that it holds speaks, as in the store.
type fakeLists map[string][]fakeEntry

type fakeEntry struct {
	path     string
	category policy.Category
}

func (l fakeLists) add(r policy.HostRule, c policy.Category) {
	l[r.Host.String()] = append(l[r.Host.String()], fakeEntry{r.Path, c})
}

// Classify implements [policy.Classifier].
func (l fakeLists) Classify(h policy.Host, path string) (facts policy.Facts) {
	for name := h.String(); name != ""; _, name, _ = strings.Cut(name, ".") {
		for _, e := range l[name] {
			facts.Paths = facts.Paths || e.path != ""
			switch seen := strings.HasPrefix(path, e.path); {
			case !seen && path == "" && e.category.Mandatory():
				facts.MandatoryPaths = e.category
			case !seen:
			case e.category.Mandatory():
				facts.Mandatory = e.category
			default:
				facts.Categories = facts.Categories.With(e.category)
			}
		}
		if len(l[name]) > 0 {
			break
		}
	}
	return facts
}
