package main

import (
	"bufio"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"

	"schoolgate/configs"
	"schoolgate/policy"
	"schoolgate/terms"
	"schoolgate/terms/revisions"
)

type termsCmd struct {
	Replay  termsReplayCmd  `cmd:"" help:"Show what other packs would have raised in the last days, against those in force."`
	Save    termsSaveCmd    `cmd:"" help:"Keep the school's own packs as a revision, so that they may be in force."`
	History termsHistoryCmd `cmd:"" help:"List the revisions of the school's own packs: who, why and what changed."`

	Check termsCheckCmd `cmd:"" help:"Say which watched phrase a search raises, and why."`
}

type termsCheckCmd struct {
	configFlag
	Format string   `help:"${enum}: text tells every phrase and what silenced it; the others the gravest." enum:"text,csv,json" default:"text"`
	Packs  string   `help:"Folder of the school's own packs to try in place of those in force." placeholder:"DIR" type:"existingdir"`
	Band   string   `help:"Age band to answer for: ${enum}." enum:"any,eyfs,ks1,ks2,staff,guest" default:"any"`
	Inputs []string `arg:"" name:"URL|WORDS" help:"Addresses of searches, or words; - reads one a line from standard input."`
}

// finding is what one input raises: the gravest phrase.
type finding struct {
	Input    string `json:"input"`
	Engine   string `json:"engine,omitempty"`
	Words    string `json:"words,omitempty"`
	Folded   string `json:"folded,omitempty"`
	Term     string `json:"term"`
	Theme    string `json:"theme"`
	Severity uint8  `json:"severity"`
	Rule     string `json:"rule,omitempty"`
	Shielded bool   `json:"shielded,omitempty"`
}

// Run answers each input.
func (c *termsCheckCmd) Run(s *session) error {
	set, err := c.set(s)
	if err != nil {
		return err
	}
	bands := ^terms.Bands(0)
	if band, ok := policy.ParseAgeBand(c.Band); ok {
		bands = 1 << band
	}
	buffered := bufio.NewWriter(s.stdout)
	write, err := c.writer(buffered)
	if err != nil {
		return err
	}
	for input, err := range (&checkCmd{Inputs: c.Inputs}).inputs(s.stdin) {
		if err != nil {
			return err
		}
		f, e := findingOf(set, input, bands)
		if err := write(f, e); err != nil {
			return err
		}
	}
	return buffered.Flush()
}

// set is the watch to answer by: the one in force, or that of the packs to try.
func (c *termsCheckCmd) set(s *session) (*terms.Set, error) {
	cfg, err := c.load(s)
	if err != nil {
		return nil, err
	}
	if c.Packs != "" {
		set, _, err := tried(s, c.Packs)
		return set, err
	}
	set, _, err := revisions.InForce(cfg)
	if set != nil && err != nil {
		fmt.Fprintln(s.stderr, "note:", err)
		err = nil
	}
	return set, err
}

// tried compiles the packs of a folder with those in the program; what is wrong with
// them is told line by line.
func tried(s *session, folder string) (*terms.Set, map[string]string, error) {
	packs, err := configs.ReadPacks(folder, "")
	if err != nil {
		return nil, nil, fmt.Errorf("packs: %s: %w", folder, err)
	}
	if len(packs) == 0 {
		return nil, nil, fmt.Errorf("packs: %s: there is no *.yaml file", folder)
	}
	set, problems := terms.LoadWith(packs)
	for _, p := range problems {
		fmt.Fprintln(s.stderr, p)
	}
	if set == nil {
		return nil, nil, errProblem
	}
	return set, packs, nil
}

// findingOf judges an input: the words of a search, nothing of any other address,
// or the input itself if it is no address.
func findingOf(set *terms.Set, input string, bands terms.Bands) (finding, terms.Explanation) {
	f := finding{Input: input}
	if engine, words, ok := terms.Query(input); ok {
		f.Engine, f.Words = engine, words
	} else if !isAddress(input) {
		f.Words = input
	}
	e := set.Explain(f.Words, bands)
	f.Folded = e.Folded
	if g := e.Gravest; g != nil {
		f.Term, f.Theme, f.Severity = g.Match, g.Term.Theme.String(), g.Severity
		f.Rule, f.Shielded = g.Term.Pos.String(), g.Term.Theme.Shielded()
	}
	return f, e
}

// isAddress tells an address from words: it has a scheme, or a host and a path.
func isAddress(input string) bool {
	if strings.Contains(input, "://") {
		return true
	}
	host, _, ok := strings.Cut(input, "/")
	return ok && strings.Contains(host, ".") && !strings.Contains(host, " ")
}

func (c *termsCheckCmd) writer(w io.Writer) (func(finding, terms.Explanation) error, error) {
	switch c.Format {
	case "csv":
		out := csv.NewWriter(w)
		write := func(f finding, _ terms.Explanation) error {
			severity := ""
			if f.Severity > 0 {
				severity = strconv.Itoa(int(f.Severity))
			}
			if err := out.Write([]string{f.Input, f.Term, f.Theme, severity}); err != nil {
				return err
			}
			out.Flush()
			return out.Error()
		}
		if err := out.Write([]string{"input", "term", "theme", "severity"}); err != nil {
			return nil, err
		}
		out.Flush()
		return write, out.Error()
	case "json":
		enc := json.NewEncoder(w)
		return func(f finding, _ terms.Explanation) error { return enc.Encode(f) }, nil
	default:
		return func(f finding, e terms.Explanation) error { return writeFinding(w, f, e) }, nil
	}
}

// writeFinding is the text format: what is raised on a line, the way below it.
func writeFinding(w io.Writer, f finding, e terms.Explanation) error {
	var b strings.Builder
	if f.Theme == "" {
		fmt.Fprintf(&b, "none  %s\n", f.Input)
	} else {
		fmt.Fprintf(&b, "%s %d  %s\n", f.Theme, f.Severity, f.Input)
	}
	switch {
	case f.Words == "":
		fmt.Fprintf(&b, "      no search: not an address of a known engine with words in it\n")
	case f.Engine != "":
		fmt.Fprintf(&b, "      %s search for %q\n", f.Engine, f.Words)
	}
	if f.Words != "" && f.Folded != f.Words {
		fmt.Fprintf(&b, "      read as %q\n", f.Folded)
	}
	for _, finding := range e.Findings {
		t := finding.Term
		fmt.Fprintf(&b, "      %q: %s, severity %d (%s)", finding.Match, t.Theme, finding.Severity, t.Pos)
		if finding.Why != "" {
			fmt.Fprintf(&b, ", silent: %s", finding.Why)
			if where := finding.Where.String(); where != "" {
				fmt.Fprintf(&b, " (%s)", where)
			}
		}
		b.WriteByte('\n')
	}
	if f.Shielded {
		fmt.Fprintf(&b, "      shielded: nothing of the person is to be recorded\n")
	}
	_, err := io.WriteString(w, b.String())
	return err
}
