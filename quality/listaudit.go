package quality

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"schoolgate/blocklists"
	"schoolgate/categories"
	"schoolgate/configs"
	"schoolgate/policy"
	"schoolgate/supply"
)

// Doubt is an entry of a list that is probably wrong, and why.
type Doubt struct {
	Score    int             `json:"score"` // 100 is the gravest
	Reason   string          `json:"reason"`
	Host     string          `json:"host"`
	Path     string          `json:"path,omitempty"`
	Category policy.Category `json:"category"`
	Sources  []string        `json:"sources"`
	Counts   bool            `json:"counts"` // it is believed, and blocks where the category is blocked
	Says     string          `json:"says"`   // what the store made of it
}

// ListAudit is what an audit of a store found.
type ListAudit struct {
	Store  uint64         `json:"store"`
	Found  int            `json:"found"` // of these Doubts are the gravest
	By     map[string]int `json:"by"`    // how many of each reason
	Doubts []Doubt        `json:"doubts"`
}

// Why an entry is doubted, the gravest first.
const (
	doubtHelpline  = "accuses a help-line or a host that must never be blocked"
	doubtApproved  = "accuses a site that an adult has approved"
	doubtProtected = "names a host under a suffix that nobody can buy (.sch.uk, .nhs.uk …)"
	doubtShared    = "one list alone accuses a name that many sites lie below"
	doubtClean     = "the name has a clean record, and too few lists accuse it"
	doubtPopular   = "believed, although the name has a clean record"
)

var doubtScores = map[string]int{
	doubtHelpline: 100, doubtApproved: 80, doubtProtected: 70, doubtShared: 60, doubtClean: 40, doubtPopular: 20,
}

// DoubtLimit bounds what an audit keeps; what is over it is counted.
const DoubtLimit = 100_000

// manyBelow is how many names below one, of other lists, make it a place of many
// sites.
const manyBelow = 8

// vouchedFor is the weight of clean records at which a name is well known.
const vouchedFor = 0.5

// AuditStore looks through a store for entries that are probably wrong. It shows
// nothing of mandatory lists, which the store itself cannot read.
func AuditStore(ctx context.Context, store *categories.Store, school configs.School, limit int) (ListAudit, error) {
	a := &auditor{limit: min(max(limit, 0), DoubtLimit), audit: ListAudit{Store: store.Version(), By: map[string]int{}}}
	a.protectedHosts(store, school)
	if err := store.Walk(ctx, doubtful, a.record); err != nil {
		return ListAudit{}, fmt.Errorf("auditing the store: %w", err)
	}
	return a.finish(), nil
}

// AuditFeeds builds a store of the feeds in a folder of its own and audits it,
// with the entries that the build refused because nobody can buy their suffix.
func AuditFeeds(ctx context.Context, cfg *configs.Config, feeds []blocklists.Feed, progress io.Writer, limit int) (_ ListAudit, err error) {
	dir, err := os.MkdirTemp("", "schoolgate-audit-")
	if err != nil {
		return ListAudit{}, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	out := filepath.Join(dir, "store.db")
	report, _, err := supply.BuildFile(ctx, cfg, supply.ListsBuild{Feeds: feeds, Out: out, Progress: progress})
	if err != nil {
		return ListAudit{}, err
	}
	store, done, err := supply.OpenStore(ctx, cfg, out)
	if err != nil {
		return ListAudit{}, err
	}
	defer done()
	audit, err := AuditStore(ctx, store, cfg.School, limit)
	if err != nil {
		return ListAudit{}, err
	}
	a := &auditor{limit: min(max(limit, 0), DoubtLimit), audit: audit}
	a.refused(report)
	return a.finish(), nil
}

type auditor struct {
	limit int
	audit ListAudit
}

func (a *auditor) add(d Doubt) {
	d.Score = doubtScores[d.Reason]
	if !d.Counts {
		d.Score -= 5
	}
	a.audit.Found++
	a.audit.By[d.Reason]++
	a.audit.Doubts = append(a.audit.Doubts, d)
	if len(a.audit.Doubts) >= 2*a.limit+1000 { // keep memory bounded: drop the least grave
		a.trim()
	}
}

func (a *auditor) trim() {
	slices.SortStableFunc(a.audit.Doubts, func(x, y Doubt) int {
		return cmp.Or(cmp.Compare(y.Score, x.Score), cmp.Compare(len(y.Sources), len(x.Sources)), cmp.Compare(x.Host, y.Host))
	})
	a.audit.Doubts = a.audit.Doubts[:min(a.limit, len(a.audit.Doubts))]
}

func (a *auditor) finish() ListAudit {
	a.trim()
	return a.audit
}

// protectedHosts asks the store about every host that must stay open.
func (a *auditor) protectedHosts(store *categories.Store, school configs.School) {
	seen, told := map[string]bool{}, map[string]bool{}
	ask := func(reason string, host policy.Host) {
		if name := host.String(); name != "" && !seen[name] {
			seen[name] = true
			a.protectedHost(store, reason, host, told)
		}
	}
	for _, n := range school.Spec.NeverBlock {
		ask(doubtHelpline, n.Host)
	}
	for _, name := range slices.Sorted(maps.Keys(school.Spec.Lists)) {
		for _, rule := range school.Spec.Lists[name] {
			ask(doubtApproved, rule.Host)
		}
	}
}

// protectedHost doubts the entries that accuse a host, each once: one entry may
// accuse several.
func (a *auditor) protectedHost(store *categories.Store, reason string, host policy.Host, told map[string]bool) {
	for _, m := range store.Lookup(host, "") {
		f := categories.Finding{Category: m.Category}
		public := slices.ContainsFunc(m.Sources, func(s categories.MatchSource) bool { return !s.Curated })
		entry := m.Host + m.Path + " " + m.Category.String()
		if m.Mandatory || m.Clean || !public || !f.Accuses() || told[entry] {
			continue
		}
		told[entry] = true
		names := make([]string, len(m.Sources))
		for i, s := range m.Sources {
			names[i] = s.Name
		}
		a.add(Doubt{Reason: reason, Host: m.Host, Path: m.Path, Category: m.Category, Sources: names, Counts: m.Counted, Says: m.Why})
	}
}

// doubtful picks the sets of evidence that record has something to say of.
func doubtful(r categories.Record) bool {
	return slices.ContainsFunc(r.Findings, func(f categories.Finding) bool {
		return f.Accuses() && !f.Curated && (r.Clean > 0 || f.Families == 1 && f.Counted)
	})
}

func (a *auditor) record(r categories.Record) error {
	for _, f := range r.Findings {
		if !f.Accuses() || f.Curated {
			continue
		}
		reason := ""
		switch {
		case f.Families == 1 && f.Counted && r.Below >= manyBelow && r.Path == "":
			reason = doubtShared
		case r.Clean > 0 && !f.Counted:
			reason = doubtClean
		case r.Clean >= vouchedFor && f.Counted && f.Families == 1:
			reason = doubtPopular
		default:
			continue
		}
		a.add(Doubt{Reason: reason, Host: r.Host, Path: r.Path, Category: f.Category, Sources: f.Sources, Counts: f.Counted, Says: f.Why})
	}
	return nil
}

// refused are entries that a build did not take because nobody can buy their
// suffix. A report keeps the first few of each list and counts the rest.
func (a *auditor) refused(report supply.ListsReport) {
	for i := range report.Feeds {
		f := &report.Feeds[i]
		n := int(f.Refused[categories.ReasonRestricted])
		if n == 0 || f.Feed.Kind == blocklists.Mandatory {
			continue
		}
		for _, x := range f.First {
			if string(x.Reason) == categories.ReasonRestricted {
				host, path, _ := strings.Cut(x.Text, "/")
				if path != "" {
					path = "/" + path
				}
				a.add(Doubt{Reason: doubtProtected, Host: host, Path: path, Category: f.Feed.Category, Sources: []string{f.Feed.Name},
					Says: fmt.Sprintf("refused, line %d of %s", x.Line, filepath.Base(x.File))})
				n--
			}
		}
		a.audit.Found += n
		a.audit.By[doubtProtected] += n
	}
}

// Columns and Cells are the doubts as CSV.
func (ListAudit) Columns() []string {
	return []string{"score", "reason", "host", "path", "category", "sources", "counts", "says"}
}

// Cells are a doubt's, in the order of Columns.
func (d Doubt) Cells() []string {
	return []string{
		fmt.Sprint(d.Score), d.Reason, d.Host, d.Path, d.Category.String(), strings.Join(d.Sources, " "), yesNo(d.Counts), d.Says,
	}
}

// Print shows the doubts to a person, the gravest first.
func (l ListAudit) Print(w io.Writer) error {
	p := &page{w: w}
	if l.Found == 0 {
		p.f("No entry of store %d is doubted.\n", l.Store)
		return p.err
	}
	p.f("%d entries of store %d are probably wrong; the %d gravest:\n", l.Found, l.Store, len(l.Doubts))
	reason := ""
	for _, d := range l.Doubts {
		if d.Reason != reason {
			reason = d.Reason
			p.f("\n%s (%d)\n", strings.ToUpper(reason[:1])+reason[1:], l.By[reason])
		}
		effect := "not believed"
		if d.Counts {
			effect = "BELIEVED"
		}
		p.f("  %s%s: %s by %s: %s, %s\n", d.Host, d.Path, d.Category, strings.Join(d.Sources, ", "), effect, d.Says)
	}
	return p.err
}
