package quality

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"schoolgate/categories"
	"schoolgate/policy"
)

// Coverage says what the lists in force cover and what they do not, in the order
// in which guidance asks for it: the offences (I6), the themes (C1-C11), and then
// every other category with its rationale (S6). It is made from the store and the
// policy, never from a promise.
type Coverage struct {
	Store   uint64        `json:"store"`
	Built   time.Time     `json:"built"`
	Rows    []CoverageRow `json:"rows"`
	Removed []string      `json:"removed,omitempty"` // mandatory lists taken out by ceremony (I5)
}

// CoverageRow is one category under one heading.
type CoverageRow struct {
	Kind      string           `json:"kind"` // offence, theme or other
	Ref       string           `json:"ref,omitempty"`
	Subject   string           `json:"subject"`
	Category  policy.Category  `json:"category"`
	Entries   int              `json:"entries"`   // of lists that protect somebody
	Synthetic int              `json:"synthetic"` // invented ones, which protect nobody
	Sources   []CoverageSource `json:"sources"`
	Freshest  time.Time        `json:"freshest,omitzero"`
	Defaults  []CoverageBand   `json:"defaults"`
	Says      string           `json:"says"` // covered, or not, in plain words
	Covered   bool             `json:"covered"`
	Rationale string           `json:"rationale"`
}

// CoverageSource is a list that holds entries of the category.
type CoverageSource struct {
	Name      string    `json:"name"`
	Licence   string    `json:"licence"`
	Entries   int       `json:"entries"`
	Date      time.Time `json:"date,omitzero"`
	Synthetic bool      `json:"synthetic,omitempty"`
}

// CoverageBand is what a profile gets of a site that is in this category alone.
type CoverageBand struct {
	Profile string         `json:"profile"`
	Verdict policy.Verdict `json:"verdict"`
}

// themes are C1 to C11 as REQUIREMENTS.md orders them, by the words of the
// taxonomy.
var themes = []string{
	"gambling", "hate and discrimination", "harmful content", "malware and hacking",
	"misinformation and disinformation", "piracy", "pornography", "self-harm, suicide and eating disorders",
	"violence against women and girls", "drugs and substance abuse", "extremism",
}

// thin is how many entries a category needs before its cover is called more than
// the well-known names.
const thin = 300

// CoverageOf makes the table for a store and the policy that judges by it. The
// verdicts are those of the code the doors use, at a time given.
func CoverageOf(info categories.Info, p *policy.Policy, at time.Time) Coverage {
	c := Coverage{Store: info.Version, Built: info.Built}
	var offences []string
	for cat := range policy.Categories() {
		if o := cat.Class().Offence; o != "" && !slices.Contains(offences, o) {
			offences = append(offences, o)
		}
	}
	add := func(kind, ref, subject string, has func(policy.Class) bool) {
		for cat := range policy.Categories() {
			if has(cat.Class()) {
				row := coverageRow(info, cat)
				row.Kind, row.Ref, row.Subject = kind, ref, subject
				row.Defaults = defaults(p, cat, at)
				c.Rows = append(c.Rows, row)
			}
		}
	}
	for _, o := range offences {
		add("offence", "I6", o, func(k policy.Class) bool { return k.Offence == o })
	}
	for i, t := range themes {
		add("theme", fmt.Sprintf("C%d", i+1), t, func(k policy.Class) bool { return k.Theme == t })
	}
	add("other", "S6", "other categories", func(k policy.Class) bool { return k.Offence == "" && k.Theme == "" })
	return c
}

func coverageRow(info categories.Info, cat policy.Category) CoverageRow {
	row := CoverageRow{Category: cat, Rationale: cat.Class().Why}
	for i := range info.Sources {
		s := &info.Sources[i]
		n := s.Categories[cat]
		if n == 0 {
			continue
		}
		row.Sources = append(row.Sources, CoverageSource{s.Name, s.Licence, n, s.Date, s.Synthetic})
		if s.Synthetic {
			row.Synthetic += n
			continue
		}
		if s.Date.After(row.Freshest) {
			row.Freshest = s.Date
		}
	}
	slices.SortStableFunc(row.Sources, func(a, b CoverageSource) int { return cmp.Compare(b.Entries, a.Entries) })
	row.Entries = info.Categories[cat]
	if cat.Mandatory() {
		row.Entries = info.Mandatory[cat] - row.Synthetic
	}
	row.Entries = max(0, row.Entries)
	row.Covered, row.Says = covered(row)
	return row
}

// covered says in plain words how far a category is covered.
func covered(row CoverageRow) (bool, string) {
	cat := row.Category
	switch {
	case cat.Mandatory() && row.Entries == 0 && row.Synthetic > 0:
		return false, "NOT COVERED: only invented entries, for tests. The real list comes under contract; until it does nothing of it is blocked."
	case cat.Mandatory() && row.Entries == 0:
		return false, "NOT COVERED: no list. It comes under contract only."
	case row.Entries == 0:
		return false, "NOT COVERED by any list in force. Search terms, other categories and the school's own entries must carry it."
	case row.Entries < thin && harmfulSubject(cat) && !cat.Mandatory():
		return true, fmt.Sprintf("thin: %d well-known names and no more; search terms and the school's own entries must carry the rest", row.Entries)
	}
	return true, "covered"
}

func harmfulSubject(cat policy.Category) bool {
	k := cat.Class()
	return k.Offence != "" || k.Theme != ""
}

// only is a classifier that knows one category.
type only policy.Category

func (o only) Classify(policy.Host, string) (f policy.Facts) {
	if c := policy.Category(o); c.Mandatory() {
		f.Mandatory = c
	} else {
		f.Categories = policy.SetOf(c)
	}
	return f
}

// defaults asks the policy for a site that is in one category and on no list of
// the school.
func defaults(p *policy.Policy, cat policy.Category, at time.Time) (bands []CoverageBand) {
	snapshot := &policy.Snapshot{Policy: p, Lists: only(cat)}
	host, err := policy.ParseHost("site-of-one-category.invalid")
	if err != nil {
		return nil // a constant; a test holds it
	}
	profiles := slices.SortedStableFunc(slices.Values(p.Profiles()), func(a, b *policy.Profile) int { return cmp.Compare(a.Band, b.Band) })
	for _, profile := range profiles {
		r, _, ok := snapshot.DecideFor(profile.Name, policy.Request{Door: policy.DoorHTTP, Host: host, Path: "/", Time: at})
		if ok {
			bands = append(bands, CoverageBand{profile.Name, r.Verdict})
		}
	}
	return bands
}

// Columns are the columns of the table as CSV.
func (Coverage) Columns() []string {
	return []string{"kind", "ref", "subject", "category", "covered", "says", "entries", "synthetic", "sources", "freshest", "defaults", "rationale"}
}

// Cells are a row's, in the order of Columns.
func (r CoverageRow) Cells() []string {
	return []string{
		r.Kind, r.Ref, r.Subject, r.Category.String(), yesNo(r.Covered), r.Says, fmt.Sprint(r.Entries), fmt.Sprint(r.Synthetic),
		r.sources(len(r.Sources)), dateOrNone(r.Freshest), r.verdicts(" "), r.Rationale,
	}
}

func yesNo(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

func dateOrNone(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return t.Format(time.DateOnly)
}

func (r CoverageRow) sources(most int) string {
	var list []string
	for _, s := range r.Sources[:min(most, len(r.Sources))] {
		list = append(list, fmt.Sprintf("%s (%d)", s.Name, s.Entries))
	}
	if more := len(r.Sources) - len(list); more > 0 {
		list = append(list, fmt.Sprintf("%d more", more))
	}
	if len(list) == 0 {
		return "none"
	}
	return strings.Join(list, ", ")
}

func (r CoverageRow) verdicts(between string) string {
	list := make([]string, len(r.Defaults))
	for i, b := range r.Defaults {
		list[i] = b.Profile + "=" + b.Verdict.String()
	}
	return strings.Join(list, between)
}

// maxSourcesShown is how many lists a line of the text names.
const maxSourcesShown = 4

// Print shows the table to a person.
func (c Coverage) Print(w io.Writer) error {
	p := &page{w: w}
	p.f("What the lists in force cover (store %d, built %s)\n", c.Store, c.Built.Format("2 January 2006 15:04"))
	kind, subject := "", ""
	for _, r := range c.Rows {
		if r.Kind != kind {
			p.f("\n%s\n", map[string]string{
				"offence": "OFFENCES (illegal content)", "theme": "THEMES (inappropriate content)", "other": "OTHER CATEGORIES",
			}[r.Kind])
		}
		if r.Kind != "other" && (r.Kind != kind || r.Subject != subject) {
			p.f("  %s %s\n", r.Ref, r.Subject)
		}
		kind, subject = r.Kind, r.Subject
		p.f("    %s: %s\n", r.Category, r.Says)
		if r.Entries > 0 {
			p.f("      %d entries, freshest %s, from %s\n", r.Entries, dateOrNone(r.Freshest), r.sources(maxSourcesShown))
		}
		p.f("      by default %s\n", r.verdicts(", "))
		p.f("      why: %s\n", r.Rationale)
	}
	for _, line := range c.Removed {
		p.f("\nRED: %s\n", line)
	}
	return p.err
}

// page keeps the first error of writing.
type page struct {
	w   io.Writer
	err error
}

func (p *page) f(format string, args ...any) {
	if p.err == nil {
		_, p.err = fmt.Fprintf(p.w, format, args...)
	}
}
