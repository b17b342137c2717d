package configs

import (
	"bufio"
	"fmt"
	"io"
	"net/netip"
	"strings"
	"time"

	"schoolgate/policy"
)

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
