package categories

import (
	"encoding/binary"
	"fmt"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"schoolgate/policy"
)

// Match is one category that some list gives a host or page, for the person who
// asks why. Of a mandatory list it says the category and nothing else.
type Match struct {
	Category  policy.Category // Uncategorised: a clean record, or curated as in no category
	Host      string          // the entry that matched; "" on a mandatory list
	Path      string
	Exact     bool // all sources mean only the very name
	Sources   []MatchSource
	Clean     bool // not a category: these sources have the name on clean record
	Mandatory bool
	Counted   bool   // it is among the host's categories
	Why       string // why it counts, or why not
}

// MatchSource is a source that gave a match.
type MatchSource struct {
	Name    string
	Licence string
	Weight  float64
	Curated bool
	Date    time.Time
}

// String is the match in one line.
func (m Match) String() string {
	if m.Mandatory {
		return fmt.Sprintf("on a mandatory list (%s)", m.Category)
	}
	names := make([]string, len(m.Sources))
	for i, s := range m.Sources {
		names[i] = s.Name
	}
	what := m.Category.String()
	switch {
	case m.Clean:
		what = "clean record"
	case m.Category == policy.Uncategorised:
		what = "no category"
	}
	return fmt.Sprintf("%s: %s%s (%s): %s", what, m.Host, m.Path, strings.Join(names, ", "), m.Why)
}

// Lookup explains Classify: every entry that speaks of the host or page, from
// the top of the tree down, and what became of it. It takes its time: it is for
// people. A store that cannot be read says so in its one match.
func (s *Store) Lookup(h policy.Host, path string) (matches []Match) {
	defer func(old bool) {
		debug.SetPanicOnFault(old)
		if r := recover(); r != nil {
			s.unreadable(r)
			matches = []Match{{Why: "the category store cannot be read: every request is refused"}}
		}
	}(debug.SetPanicOnFault(true))
	var f policy.Facts
	if s.secret.n != 0 {
		s.mandatory(h, path, &f)
	}
	if f.Mandatory != policy.Uncategorised {
		matches = append(matches, Match{Category: f.Mandatory, Mandatory: true, Counted: true, Why: "nothing lifts it"})
	}
	if f.MandatoryPaths != policy.Uncategorised {
		matches = append(matches, Match{Category: f.MandatoryPaths, Mandatory: true, Why: "pages of this host; only the page can settle it"})
	}
	e, path := explainer{store: s, host: h}, path[:min(len(path), MaxPath)]
	for _, start := range suffixes(h) {
		e.entry(start, "")
		for i := 1; i <= len(path); i++ {
			if boundary(path, i, strings.Contains(path[:i], "?")) {
				e.entry(start, path[:i])
			}
		}
	}
	e.words(path)
	runtime.KeepAlive(s)
	return append(matches, e.matches...)
}

// suffixes are where the host's suffixes that an entry may name begin, the
// shortest first.
func suffixes(h policy.Host) (starts []int) {
	if _, ok := h.Addr(); ok {
		return []int{0}
	}
	name := h.String()
	end := strings.LastIndexByte(name, '.')
	if isWholeTop(name[end+1:]) {
		starts = append(starts, end+1)
	}
	for end >= 0 {
		end = strings.LastIndexByte(name[:end], '.')
		starts = append(starts, end+1)
	}
	return starts
}

// explainer walks as Classify does, but by names alone and keeping a word on
// everything it meets.
type explainer struct {
	store   *Store
	host    policy.Host
	join    join
	matches []Match
}

func (e *explainer) entry(start int, path string) {
	pairs := e.store.evidence(e.host, start, path)
	if len(pairs) == 0 {
		return
	}
	findings, v := judge(pairs, e.store.sources, e.store.header.Rules, start == 0)
	first, _, _ := strings.Cut(e.host.String()[start:], ".")
	alias, before := slices.Contains(aliases, first), e.join
	if path == "" {
		e.join.add(v, alias)
	} else {
		e.join.addPage(v)
	}
	if v.final {
		e.supersede(start)
	}
	if clean := e.match(start, path, pairs, finding{}, true); len(clean.Sources) > 0 {
		clean.Why = "one public list alone does not condemn it"
		e.matches = append(e.matches, clean)
	}
	for _, f := range findings {
		m := e.match(start, path, pairs, f, false)
		m.Counted, m.Why = f.counted, f.why
		if path == "" && f.counted && !v.final && before.curated && !before.crowd && (alias || !v.strong.Has(f.category)) {
			m.Counted, m.Why = false, f.why+", but a curated source speaks of the site above"
		}
		e.matches = append(e.matches, m)
	}
	if v.final && v.counted.Empty() {
		m := e.match(start, path, pairs, finding{}, false)
		m.Why = "curated by hand: in no category"
		e.matches = append(e.matches, m)
	}
}

// words says which words the name is made of, and whether they are heard.
func (e *explainer) words(path string) {
	if _, ok := e.host.Addr(); ok {
		return
	}
	if !e.join.cats.Has(policy.WebHosting) {
		path = ""
	}
	e.store.words.each(e.host.String(), path, func(w *Word) {
		m := Match{Category: w.Category, Host: e.host.String(), Sources: []MatchSource{{Name: WordSource}},
			Counted: e.join.wordsHeard(), Why: fmt.Sprintf("its name says %q", strings.Trim(w.Text, "."))}
		if !m.Counted {
			m.Why += ", but the site is known"
		}
		e.matches = append(e.matches, m)
	})
}

// supersede takes back what entries above a curated one said.
func (e *explainer) supersede(start int) {
	for i := range e.matches {
		if m := &e.matches[i]; m.Counted {
			m.Counted = false
			m.Why += fmt.Sprintf(", but a curated source speaks of %s", e.host.String()[start:])
		}
	}
}

// match gathers the sources of one finding, or those of a clean record.
func (e *explainer) match(start int, path string, pairs []pair, f finding, clean bool) Match {
	m := Match{Category: f.category, Path: path, Clean: clean, Exact: true}
	m.Host, _ = splitKey(appendSuffixKey(nil, e.host, start))
	for _, p := range pairs {
		s := e.store.sources[p.source()]
		if p.exact() && start != 0 || s.Clean != clean || !clean && p.category() != f.category {
			continue
		}
		m.Exact = m.Exact && p.exact()
		m.Sources = append(m.Sources, MatchSource{s.Name, s.Licence, s.weight(), s.Curated, s.Date})
	}
	return m
}

// evidence is what is known of a suffix of a host, or of a page under it.
func (s *Store) evidence(h policy.Host, start int, path string) []pair {
	r := s.file.readers[0]
	r.mu.Lock()
	defer r.mu.Unlock()
	id, ok, err := r.find(h, start, path)
	if err != nil {
		panic(err)
	}
	if !ok {
		return nil
	}
	pairs, err := parsePairs(r.tx.Bucket(bucketEvidence).Get(binary.BigEndian.AppendUint32(nil, id)), len(s.sources))
	if err != nil {
		panic(err)
	}
	return pairs
}
