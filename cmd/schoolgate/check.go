package main

import (
	"bufio"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"strings"
	"time"

	"schoolgate/appliance"
	"schoolgate/policy"
)

type checkCmd struct {
	configFlag
	Store  string   `help:"Category store to look into (default: the one in use, else the starter lists)." placeholder:"FILE"`
	As     []string `help:"Profile to answer for; several with commas (default: every profile)." xor:"who" placeholder:"PROFILE"`
	Client string   `help:"Address to answer for, as the doors would place it." xor:"who" placeholder:"ADDR"`
	At     string   `help:"Moment to answer for, e.g. 2026-11-24T10:15, 'Tue 10:15' (default: now)." placeholder:"TIME"`
	Format string   `help:"${enum}: text tells the way of the decision." enum:"text,csv,json" default:"text"`
	Inputs []string `arg:"" name:"HOST|URL" help:"Hosts or URLs; - reads one a line from standard input."`
}

// maxCheckLine bounds what is kept of one line of standard input, in bytes. It is
// longer than any address that is read.
const maxCheckLine = 16 << 10

// Run answers each input for each profile asked for.
func (c *checkCmd) Run(s *session) error {
	box, err := c.load(s)
	if err != nil {
		return err
	}
	snapshot, done, err := appliance.OpenSnapshot(s.ctx, box, c.Store)
	if err != nil {
		return err
	}
	defer done()
	at, err := parseMoment(c.At, time.Now(), snapshot.Policy.Timetable.Location)
	if err != nil {
		return err
	}
	asker, err := c.asker(snapshot, at)
	if err != nil {
		return err
	}
	out, err := newCheckWriter(c.Format, s.stdout)
	if err != nil {
		return err
	}
	for input, err := range c.inputs(s.stdin) {
		if err != nil {
			return errors.Join(err, out.flush()) // what was answered is not lost
		}
		for _, a := range asker(input) {
			if err := out.write(a); err != nil {
				return err
			}
		}
	}
	return out.flush()
}

// inputs yields the arguments, and the lines of standard input for "-".
func (c *checkCmd) inputs(stdin io.Reader) func(yield func(string, error) bool) {
	return func(yield func(string, error) bool) {
		for _, arg := range c.Inputs {
			if arg != "-" {
				if !yield(arg, nil) {
					return
				}
				continue
			}
			if !stdinLines(stdin, yield) {
				return
			}
		}
	}
}

// stdinLines yields the lines that hold something, comments aside: no address begins
// with #, and lists of hosts have such lines. Of an over-long one it yields
// the beginning, which is refused as too long to be an address, and goes on.
func stdinLines(stdin io.Reader, yield func(string, error) bool) bool {
	lines := bufio.NewReaderSize(stdin, maxCheckLine)
	for {
		part, more, err := lines.ReadLine()
		line := strings.TrimSpace(string(part))
		for more && err == nil {
			_, more, err = lines.ReadLine()
		}
		if line != "" && line[0] != '#' && !yield(line, nil) {
			return false
		}
		if errors.Is(err, io.EOF) {
			return true
		}
		if err != nil {
			return yield("", fmt.Errorf("standard input: %w", err))
		}
	}
}

// answer is what happens to one input under one profile.
type answer struct {
	Input    string   `json:"input"`
	Profile  string   `json:"profile"`
	Verdict  string   `json:"verdict"`
	Category string   `json:"category"`
	Reason   string   `json:"reason"`
	Rule     string   `json:"rule"`
	Host     string   `json:"host,omitempty"`
	Lists    []string `json:"categories,omitempty"`
	Why      []string `json:"trace,omitempty"`
	Error    string   `json:"error,omitempty"`
}

// asker makes the function that answers one input.
func (c *checkCmd) asker(snapshot *policy.Snapshot, at time.Time) (func(string) []answer, error) {
	if c.Client != "" {
		addr, err := netip.ParseAddr(c.Client)
		if err != nil {
			return nil, fmt.Errorf("--client: bad address %q", c.Client)
		}
		return func(input string) []answer {
			q, err := checkRequest(input, at)
			q.Client = addr
			ruling, trace := snapshot.Explain(q)
			return []answer{newAnswer(input, ruling.ProfileName(), q, ruling, trace, err)}
		}, nil
	}
	profiles, err := c.profiles(snapshot.Policy)
	if err != nil {
		return nil, err
	}
	return func(input string) []answer {
		q, err := checkRequest(input, at)
		answers := make([]answer, 0, len(profiles))
		for _, p := range profiles {
			ruling, trace, _ := snapshot.DecideFor(p, q)
			answers = append(answers, newAnswer(input, p, q, ruling, trace, err))
		}
		return answers
	}, nil
}

func (c *checkCmd) profiles(p *policy.Policy) ([]string, error) {
	var all []string
	for _, profile := range p.Profiles() {
		all = append(all, profile.Name)
	}
	if len(c.As) == 0 {
		return all, nil
	}
	known := strings.Join(all, ", ")
	for _, name := range c.As {
		if p.Profile(name) == nil {
			return nil, fmt.Errorf("--as: there is no profile %q; the policy has %s", name, known)
		}
	}
	return c.As, nil
}

// checkRequest reads an input the way the doors read theirs.
func checkRequest(input string, at time.Time) (policy.Request, error) {
	u, err := policy.ParseURL(input)
	return policy.Request{Door: policy.DoorCheck, Host: u.Host, Path: u.Path, Time: at}, err
}

func newAnswer(input, profile string, q policy.Request, r policy.Ruling, t policy.Trace, err error) answer {
	if err != nil {
		return answer{
			Input: input, Profile: profile, Verdict: policy.Block.String(), Category: "uncategorised",
			Reason: policy.ReasonBadHost.String(), Error: err.Error(),
		}
	}
	a := answer{
		Input: input, Profile: profile, Verdict: r.Verdict.String(), Category: r.Category.String(),
		Reason: r.Reason.String(), Rule: r.Rule.String(), Host: q.Host.String(), Lists: r.Facts.Categories.IDs(),
	}
	if a.Category == "" {
		a.Category = r.Facts.Categories.First().String()
	}
	if a.Category == "" {
		a.Category = "uncategorised"
	}
	for _, step := range t {
		line := step.Said
		if rule := step.Rule.String(); rule != "" {
			line += " (" + rule + ")"
		}
		a.Why = append(a.Why, step.Reason.String()+": "+line)
	}
	return a
}

// checkWriter writes answers in one of the formats.
type checkWriter struct {
	write func(answer) error
	flush func() error
}

func newCheckWriter(format string, w io.Writer) (checkWriter, error) {
	nothing := func() error { return nil }
	switch format {
	case "csv":
		out := csv.NewWriter(w)
		write := func(a answer) error {
			return out.Write([]string{a.Input, a.Profile, a.Verdict, a.Category, a.Reason, a.Rule})
		}
		flush := func() error { out.Flush(); return out.Error() }
		return checkWriter{write, flush}, out.Write([]string{"input", "profile", "verdict", "category", "reason", "rule"})
	case "json":
		enc := json.NewEncoder(w)
		return checkWriter{func(a answer) error { return enc.Encode(a) }, nothing}, nil
	default:
		buffered := bufio.NewWriter(w)
		return checkWriter{func(a answer) error { return writeAnswer(buffered, a) }, buffered.Flush}, nil
	}
}

// writeAnswer is the text format: the verdict on a line, the way below it.
func writeAnswer(w io.Writer, a answer) error {
	rule := a.Rule
	if rule != "" {
		rule = " by " + rule
	}
	if _, err := fmt.Fprintf(w, "%-6s %-6s %s  %s (%s)%s\n", a.Profile, a.Verdict, a.Input, a.Category, a.Reason, rule); err != nil {
		return err
	}
	if a.Error != "" {
		_, err := fmt.Fprintf(w, "         %s\n", a.Error)
		return err
	}
	for _, line := range a.Why {
		if _, err := fmt.Fprintf(w, "         %s\n", line); err != nil {
			return err
		}
	}
	return nil
}

var weekdays = map[string]time.Weekday{
	"sun": time.Sunday, "mon": time.Monday, "tue": time.Tuesday, "wed": time.Wednesday,
	"thu": time.Thursday, "fri": time.Friday, "sat": time.Saturday,
}

// parseMoment reads a moment as a person writes it: a date and time, a weekday
// and time (the next such), or a time (today). An empty one is now.
func parseMoment(s string, now time.Time, loc *time.Location) (time.Time, error) {
	if s == "" {
		return now, nil
	}
	if loc == nil {
		loc = time.UTC
	}
	now = now.In(loc)
	if t, err := time.Parse(time.RFC3339, s); err == nil {
		return t, nil
	}
	for _, layout := range []string{"2006-01-02T15:04:05", "2006-01-02T15:04", "2006-01-02 15:04:05", "2006-01-02 15:04", "2006-01-02"} {
		if t, err := time.ParseInLocation(layout, s, loc); err == nil {
			return t, nil
		}
	}
	day, clock, both := strings.Cut(s, " ")
	if !both {
		day, clock = "", s
	}
	t, err := time.Parse("15:04", strings.TrimSpace(clock))
	weekday, known := weekdays[strings.ToLower(day[:min(3, len(day))])]
	if err != nil || (both && !known) {
		return time.Time{}, fmt.Errorf("--at: bad moment %q: want 2026-11-24T10:15, 'Tue 10:15' or 10:15", s)
	}
	moment := time.Date(now.Year(), now.Month(), now.Day(), t.Hour(), t.Minute(), 0, 0, loc)
	if both {
		moment = moment.AddDate(0, 0, (int(weekday)-int(moment.Weekday())+7)%7)
	}
	return moment, nil
}
