package configs

import (
	"cmp"
	"errors"
	"fmt"
	"io"
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
