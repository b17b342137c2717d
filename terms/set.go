package terms

import (
	"strings"
	"sync"
	"unicode/utf8"

	"schoolgate/internal/phrases"
	"schoolgate/policy"
)

// MaxWords is how much of a search is read, in bytes; the rest is not. Engines cut
// a search off far earlier.
const MaxWords = 2048

// Term is one watched phrase.
type Term struct {
	Text     string // as it is matched, folded and without silent words; a chain as its pack says it
	Theme    Theme
	Severity uint8 // 1 to 5: how fast a person must know
	Bands    Bands
	Language string     // of the pack, e.g. en
	Pos      policy.Pos // where the pack says it

	variants int // phrases it stands for
	rule     *rule
}

// Bands is a set of age bands.
type Bands uint8

// PupilBands is what a term is for unless its pack says otherwise.
const PupilBands = Bands(1<<policy.EYFS | 1<<policy.KS1 | 1<<policy.KS2)

// Has reports whether the set holds a band.
func (b Bands) Has(band policy.AgeBand) bool { return b>>band&1 != 0 }

// Set is the watched phrases of all packs, compiled. It is immutable and safe for
// concurrent use.
type Set struct {
	folder    folder
	automaton *phrases.Automaton
	entries   []entry // by pattern
	terms     []Term
	slots     []slot
	contexts  []context
	nevers    []never
	pool      sync.Pool // of *scratch
}

// entry is what a pattern stands for. One phrase may be a term of several themes, a
// context and an exception.
type entry struct {
	length   int32 // in bytes, with both spaces
	terms    []int32
	slots    []int32
	contexts []int32
	nevers   []int32
}

// context is a list of phrases, one of which must be, or none may be, in the same
// search.
type context struct{ name string } // as the pack names it, or its phrases

// never is a phrase within which a term means nothing: "weed killer".
type never struct {
	text     string
	theme    Theme // NoTheme for every theme
	severity uint8 // what a term within it is worth; 0 for nothing
	pos      policy.Pos
}

// rule is what the phrases of one block of a pack share.
type rule struct {
	with   []int32 // one of these contexts must be in the search, if there are any
	and    []int32 // and one of these
	unless []int32 // none of these may be

	over ThemeSet // themes that are silent beside these phrases
}

// scratch is what one search needs while it is looked at; it is used again.
type scratch struct {
	wide, clean1, clean2, repaired, trial, once, folded, text []byte

	starts []int
	found  []phrases.Found
	hits   []hit
	heard  []uint64 // the contexts in the search, a bit each

	head    []int32 // by slot: base and the index of the newest of reached, less than base for none
	base    int32
	reached []reach
}

func (s *Set) scratch() *scratch {
	if sc, ok := s.pool.Get().(*scratch); ok {
		return sc
	}
	sc := &scratch{heard: make([]uint64, (len(s.contexts)+63)/64), head: make([]int32, len(s.slots)), base: 1}
	return sc
}

// Hit is the phrase that speaks for a search.
type Hit struct {
	*Term
	Severity uint8 // the term's, or what an exception made of it
}

// Match gives the gravest phrase in a search for a client of a band: the highest
// severity, then the gravest theme, then the longest phrase.
func (s *Set) Match(words string, band policy.AgeBand) (Hit, bool) {
	hit, _, ok := s.match(words, 1<<band, AllThemes, false)
	return hit, ok
}

// MatchOf is Match for some themes. A shielded one is always among them, for every
// band: whoever looks for help is not written down, whatever else is listened to.
// said is the words of the search that were the phrase, folded.
func (s *Set) MatchOf(words string, band policy.AgeBand, themes ThemeSet) (hit Hit, said string, ok bool) {
	return s.match(words, 1<<band, themes, true)
}

// MatchAny is Match for a client of whatever band.
func (s *Set) MatchAny(words string) (Hit, bool) {
	hit, _, ok := s.match(words, ^Bands(0), AllThemes, false)
	return hit, ok
}

func (s *Set) match(words string, bands Bands, themes ThemeSet, tell bool) (hit Hit, said string, ok bool) {
	sc := s.scratch()
	defer s.pool.Put(sc)
	s.listen(sc, words)
	best, over := -1, s.over(sc)
	for i := range sc.hits {
		h := &sc.hits[i]
		t := &s.terms[h.term]
		heard := t.Bands&bands != 0 && themes.Has(t.Theme) && !over.Has(t.Theme) || t.Theme.Shielded()
		if !heard || !s.inContext(sc, t.rule) {
			continue
		}
		if s.weigh(sc, h); h.severity > 0 && (best < 0 || s.graver(*h, sc.hits[best])) {
			best = i
		}
	}
	if best < 0 {
		return Hit{}, "", false
	}
	h := sc.hits[best]
	if tell {
		said = strings.Trim(string(sc.text[h.start:h.end]), " ")
	}
	return Hit{&s.terms[h.term], h.severity}, said, true
}

// over is the themes that are spoken over: who asks how to stop is heard as one who
// looks for help, whatever it is that should stop.
func (s *Set) over(sc *scratch) (silent ThemeSet) {
	for i := range sc.hits {
		h := &sc.hits[i]
		if r := s.terms[h.term].rule; r.over != 0 && s.inContext(sc, r) {
			if s.weigh(sc, h); h.severity > 0 {
				silent |= r.over
			}
		}
	}
	return silent
}

// graver is the order in which terms speak: severity, theme, length; then the place
// in the search and in the packs, so that it is one order.
func (s *Set) graver(a, b hit) bool {
	x, y := &s.terms[a.term], &s.terms[b.term]
	switch {
	case a.severity != b.severity:
		return a.severity > b.severity
	case x.Theme != y.Theme:
		return x.Theme < y.Theme
	case a.end-a.start != b.end-b.start:
		return a.end-a.start > b.end-b.start
	case a.start != b.start:
		return a.start < b.start
	}
	return a.term < b.term
}

// listen fills in what is in a search.
func (s *Set) listen(sc *scratch, words string) {
	sc.folded = s.folder.fold(sc, sc.folded[:0], Clip(words))
	sc.text = s.folder.audible(sc.text[:0], sc.folded)
	sc.found = s.automaton.Scan(sc.found[:0], sc.text)
	clear(sc.heard)
	sc.hits = sc.hits[:0]
	for _, f := range sc.found {
		e := &s.entries[f.Pattern]
		for _, id := range e.contexts {
			sc.heard[id/64] |= 1 << (id % 64)
		}
		for _, id := range e.terms {
			sc.hits = append(sc.hits, hit{term: id, start: f.End - e.length, end: f.End})
		}
		s.follow(sc, f)
	}
	sc.forget()
}

// weigh finds how grave a hit is: as its term says, or as the longest exception
// around it says, which may be nothing at all. It gives that exception, nil for none.
func (s *Set) weigh(sc *scratch, h *hit) (by *never) {
	h.severity = s.terms[h.term].Severity
	longest := int32(0)
	for _, f := range sc.found {
		e := &s.entries[f.Pattern]
		if len(e.nevers) == 0 || f.End < h.end || f.End-e.length > h.start || e.length < longest {
			continue
		}
		for _, id := range e.nevers {
			if n := &s.nevers[id]; n.theme == NoTheme || n.theme == s.terms[h.term].Theme {
				h.severity, by, longest = n.severity, n, e.length
			}
		}
	}
	return by
}

func (s *Set) inContext(sc *scratch, r *rule) bool {
	return (len(r.with) == 0 || sc.hears(r.with) >= 0) && (len(r.and) == 0 || sc.hears(r.and) >= 0) && sc.hears(r.unless) < 0
}

// hears gives the first of some contexts that is in the search, -1 for none.
func (sc *scratch) hears(contexts []int32) int32 {
	for _, id := range contexts {
		if sc.heard[id/64]>>(id%64)&1 != 0 {
			return id
		}
	}
	return -1
}

// Fold is a search as it is matched: what the packs' words can be seen through is
// taken off. Folding twice is folding once.
func (s *Set) Fold(words string) string {
	sc := s.scratch()
	defer s.pool.Put(sc)
	return string(s.folder.fold(sc, nil, Clip(words)))
}

// Terms is every watched phrase, in the order of the packs.
func (s *Set) Terms() []Term { return s.terms }

// Clip cuts a search at MaxWords, between letters.
func Clip(words string) string {
	if len(words) <= MaxWords {
		return words
	}
	end := MaxWords
	for end > 0 && !utf8.RuneStart(words[end]) {
		end--
	}
	return words[:end]
}
