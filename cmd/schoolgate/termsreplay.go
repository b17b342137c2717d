package main

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"schoolgate/audit"
	"schoolgate/configs"
	"schoolgate/policy"
	"schoolgate/terms"
	"schoolgate/terms/revisions"
)

type termsReplayCmd struct {
	configFlag
	reader
	Packs string `help:"Folder of the school's own packs to try (default: the one that policy.yaml names)." placeholder:"DIR" type:"existingdir"`
	Days  int    `help:"How many days back." default:"30"`
}

// actReplay is a look at what was searched for, though nobody is named.
const actReplay = "terms.replay"

// Run goes through the searches of the last days with the packs to try and with those
// in force (M7). It shows words, and nobody's name.
func (c *termsReplayCmd) Run(s *session) error {
	cfg, err := c.load(s)
	if err != nil {
		return err
	}
	before, packsBefore, err := revisions.InForce(cfg)
	if before == nil {
		return err
	}
	after, packsAfter, err := c.tried(s, cfg)
	if err != nil {
		return err
	}
	dir := audit.In(cfg.Box.Data)
	q := audit.Query{From: time.Now().AddDate(0, 0, -c.Days)}
	if q.Before, err = c.look(s, cfg, actReplay, fmt.Sprintf("searches of %d days", c.Days)); err != nil {
		return err
	}
	printChanges(s, terms.Changes(packsBefore, packsAfter))
	r := replay{cfg: cfg, before: before, after: after, themes: map[string]*tally{}, newly: map[string]int{}, noLonger: map[string]int{}}
	var gaps []error
	for e, err := range dir.Search(s.ctx, q) {
		if gap := (*audit.GapError)(nil); errors.As(err, &gap) {
			gaps = append(gaps, err)
			continue
		}
		if err != nil {
			return err
		}
		r.add(&e)
	}
	return errors.Join(r.print(s, c.Days), errors.Join(gaps...))
}

func (c *termsReplayCmd) tried(s *session, cfg *configs.Config) (*terms.Set, map[string]string, error) {
	if c.Packs != "" {
		return tried(s, c.Packs)
	}
	set, err := revisions.Load(cfg.School.Terms.Packs)
	return set, cfg.School.Terms.Packs, err
}

// replay compares two watches over searches that were.
type replay struct {
	cfg             *configs.Config
	before, after   *terms.Set
	searches        int
	themes          map[string]*tally
	newly, noLonger map[string]int // by theme and words, as a line
}

// tally is how often a theme was raised.
type tally struct{ before, after int }

func (r *replay) add(e *policy.Event) {
	if e.Words == "" {
		return
	}
	r.searches++
	profile := r.cfg.School.Policy.Profile(e.Profile)
	if profile == nil { // it was renamed or removed since
		profile = r.cfg.School.Policy.Strictest()
	}
	was, _, wasOK := terms.Hear(r.before, profile, e.Words)
	now, _, nowOK := terms.Hear(r.after, profile, e.Words)
	if wasOK {
		r.theme(was.Theme.String()).before++
	}
	if nowOK {
		r.theme(now.Theme.String()).after++
	}
	if wasOK && nowOK && was.Theme == now.Theme && was.Severity == now.Severity {
		return
	}
	if wasOK {
		r.noLonger[line(was, e.Words)]++
	}
	if nowOK {
		r.newly[line(now, e.Words)]++
	}
}

func (r *replay) theme(id string) *tally {
	t := r.themes[id]
	if t == nil {
		t = &tally{}
		r.themes[id] = t
	}
	return t
}

func line(h terms.Hit, words string) string {
	return fmt.Sprintf("%s %d  %s", h.Theme, h.Severity, audit.Printable(words))
}

// mostLines is how many searches of either kind are shown.
const mostLines = 50

func (r *replay) print(s *session, days int) error {
	fmt.Fprintf(s.stdout, "searches kept in %d days: %d. A search for help has no words in the record and cannot be replayed.\n", days, r.searches)
	w := tabwriter.NewWriter(s.stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "theme\tin force\ttried")
	for _, theme := range policy.Themes() {
		if t := r.themes[theme]; t != nil {
			fmt.Fprintf(w, "%s\t%d\t%d\n", theme, t.before, t.after)
		}
	}
	if err := w.Flush(); err != nil {
		return err
	}
	printReplayed(s, "newly raised", r.newly)
	printReplayed(s, "no longer raised", r.noLonger)
	return nil
}

func printReplayed(s *session, title string, lines map[string]int) {
	total := 0
	for _, n := range lines {
		total += n
	}
	fmt.Fprintf(s.stdout, "%s: %d\n", title, total)
	order := slices.SortedFunc(maps.Keys(lines), func(a, b string) int {
		return cmp.Or(cmp.Compare(lines[b], lines[a]), strings.Compare(a, b))
	})
	for _, l := range order[:min(len(order), mostLines)] {
		fmt.Fprintf(s.stdout, "  %d x  %s\n", lines[l], l)
	}
	if more := len(order) - mostLines; more > 0 {
		fmt.Fprintf(s.stdout, "  and %d more\n", more)
	}
}
