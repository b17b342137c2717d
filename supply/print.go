package supply

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"schoolgate/blocklists"
	"schoolgate/categories"
	"schoolgate/policy"
)

// Print shows a build to the person who started it: entries per source and per
// category, duplicates, refused lines with their place and reason, time, size.
func (r ListsReport) Print(w io.Writer) error {
	p := &printer{w: w}
	r.printSources(p)
	r.printRefused(p)
	if r.Store.Names > 0 {
		r.printCategories(p)
		r.printSuspects(p)
		p.f("\n%d names and %d URLs in the store, %d of which say nothing by themselves (clean records, weak evidence); version %d\n",
			r.Store.Names, r.Store.URLs, r.Store.Names+r.Store.URLs-r.Store.Indexed, r.Store.Version)
		p.f("%s in %s\n", megabytes(r.Store.FileSize), r.Elapsed.Round(10*time.Millisecond))
	}
	return p.err
}

// printer keeps the first error of writing.
type printer struct {
	w   io.Writer
	err error
}

func (p *printer) f(format string, args ...any) {
	if p.err == nil {
		_, p.err = fmt.Fprintf(p.w, format, args...)
	}
}

// table prints rows in columns.
func (p *printer) table(rows func(row func(cells ...any))) {
	t := tabwriter.NewWriter(p.w, 0, 0, 2, ' ', 0)
	rows(func(cells ...any) {
		line := make([]string, len(cells))
		for i, c := range cells {
			line[i] = fmt.Sprint(c)
		}
		if _, err := fmt.Fprintln(t, strings.Join(line, "\t")); p.err == nil {
			p.err = err
		}
	})
	if err := t.Flush(); p.err == nil {
		p.err = err
	}
}

func (r ListsReport) printSources(p *printer) {
	p.table(func(row func(...any)) {
		row("SOURCE", "KIND", "LINES", "ENTRIES", "DUPLICATES", "NOT WANTED", "REFUSED", "DATE", "LICENCE")
		for i := range r.Feeds {
			f := &r.Feeds[i]
			entries := any(f.Store.Entries)
			if f.Err != nil {
				entries = "-"
			}
			row(f.Feed.Name, f.Feed.Kind, f.Read.Lines, entries, f.Store.Duplicates, f.Read.Unwanted,
				total(f.Refused), f.Feed.Date.Format(time.DateOnly), f.Feed.Licence)
		}
	})
}

func total(m map[string]int64) (sum int64) {
	for _, n := range m {
		sum += n
	}
	return sum
}

func (r ListsReport) printRefused(p *printer) {
	said := false
	for i := range r.Feeds {
		f := &r.Feeds[i]
		if len(f.Refused) == 0 && f.Err == nil {
			continue
		}
		if !said {
			p.f("\nRefused\n")
			said = true
		}
		for _, reason := range slices.Sorted(maps.Keys(f.Refused)) {
			p.f("  %s: %d × %s\n", f.Feed.Name, f.Refused[reason], reason)
			for _, x := range f.First {
				if string(x.Reason) == reason {
					p.f("    %s\n", x)
				}
			}
		}
		if f.Err != nil {
			p.f("  %v\n", f.Err)
		}
	}
}

func (r ListsReport) printCategories(p *printer) {
	p.f("\n")
	p.table(func(row func(...any)) {
		row("CATEGORY", "ENTRIES", "FROM")
		for c := range policy.Categories() {
			n := r.Store.Categories[c] + r.Store.Mandatory[c]
			if n == 0 {
				continue
			}
			row(c, n, r.from(c))
		}
	})
	var none []string
	for c := range policy.Categories() {
		if r.Store.Categories[c]+r.Store.Mandatory[c] == 0 {
			none = append(none, c.String())
		}
	}
	if len(none) > 0 {
		p.f("Not covered by any list: %s\n", strings.Join(none, ", "))
	}
}

// from lists the sources of a category, the greatest first.
func (r ListsReport) from(c policy.Category) string {
	var have []*FeedReport
	for i := range r.Feeds {
		if r.Feeds[i].Read.ByCategory[c] > 0 && r.Feeds[i].Feed.Kind != blocklists.Clean {
			have = append(have, &r.Feeds[i])
		}
	}
	slices.SortStableFunc(have, func(a, b *FeedReport) int {
		return cmp.Compare(b.Read.ByCategory[c], a.Read.ByCategory[c])
	})
	names := make([]string, len(have))
	for i, f := range have {
		names[i] = fmt.Sprintf("%s %d", f.Feed.Name, f.Read.ByCategory[c])
	}
	return strings.Join(names, ", ")
}

// suspectsShown is how many probable mistakes of the lists are shown.
const suspectsShown = 10

func (r ListsReport) printSuspects(p *printer) {
	if r.Store.SuspectCount == 0 {
		return
	}
	p.f("\n%d entries are not believed, since the name has a clean record, for example\n", r.Store.SuspectCount)
	for i, s := range r.Store.Suspects {
		if i == suspectsShown {
			return
		}
		p.f("  %s%s: %s by %s\n", s.Host, s.Path, s.Category, strings.Join(s.Sources, ", "))
	}
}

func megabytes(n int64) string { return fmt.Sprintf("%.1f MB", float64(n)/1e6) }

// PrintLookup says what a store holds on a host or URL: every category, the
// entry that matched, its sources, and whether it counts.
func PrintLookup(w io.Writer, store *categories.Store, raw string) error {
	u, err := policy.ParseURL(raw)
	if err != nil {
		return err
	}
	p := &printer{w: w}
	facts := store.Classify(u.Host, u.Path)
	matches := store.Lookup(u.Host, u.Path)
	p.f("%s: %s\n", u, summary(facts))
	for _, m := range matches {
		mark := "  counts   "
		if !m.Counted {
			mark = "  not      "
		}
		p.f("%s%s\n", mark, m)
	}
	if facts.Paths && u.Path == "" {
		p.f("  single pages of this host are listed: ask with the whole URL\n")
	}
	return p.err
}

func summary(f policy.Facts) string {
	switch {
	case f.Mandatory != policy.Uncategorised:
		return fmt.Sprintf("on a mandatory list (%s)", f.Mandatory)
	case f.MandatoryPaths != policy.Uncategorised:
		return fmt.Sprintf("pages of it are on a mandatory list (%s); %s", f.MandatoryPaths, ids(f.Categories))
	}
	return ids(f.Categories)
}

func ids(s policy.CategorySet) string {
	if s.Empty() {
		return "uncategorised"
	}
	return strings.Join(s.IDs(), ", ")
}
