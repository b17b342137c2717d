package terms

import (
	"cmp"
	"fmt"
	"strings"

	"schoolgate/policy"
)

// Explanation is everything that was found in a search, and why it spoke or not.
type Explanation struct {
	Folded   string    // the words as they were matched
	Findings []Finding // in the order of the search
	Gravest  *Finding  // nil where nothing speaks
}

// Finding is one watched phrase in a search.
type Finding struct {
	Term  *Term
	Match string // the words that were it
	// Why is what silenced it: an exception, a context, its age bands. "" where it
	// speaks.
	Why      string
	Severity uint8      // the term's, or what an exception made of it
	Where    policy.Pos // of the exception
}

// Explain says what Match finds in a search and why, for bands as a set.
func (s *Set) Explain(words string, bands Bands) Explanation {
	sc := s.scratch()
	defer s.pool.Put(sc)
	s.listen(sc, words)
	e := Explanation{Folded: string(sc.folded)}
	best, over := -1, s.over(sc)
	for i := range sc.hits {
		f := s.finding(sc, &sc.hits[i], bands)
		if f.Why == "" && over.Has(f.Term.Theme) {
			f.Why = "the search looks for help with it"
		}
		e.Findings = append(e.Findings, f)
		if f.Why == "" && (best < 0 || s.graver(sc.hits[i], sc.hits[best])) {
			best = i
		}
	}
	if best >= 0 {
		e.Gravest = &e.Findings[best]
	}
	return e
}

func (s *Set) finding(sc *scratch, h *hit, bands Bands) Finding {
	t := &s.terms[h.term]
	f := Finding{Term: t, Match: strings.Trim(string(sc.text[h.start:h.end]), " ")}
	n := s.weigh(sc, h)
	f.Severity = cmp.Or(h.severity, t.Severity)
	switch {
	case n != nil && n.severity == 0:
		f.Why, f.Where = fmt.Sprintf("it is part of %q", n.text), n.pos
	case t.Bands&bands == 0:
		f.Why = "it is not for this age band"
	case len(t.rule.with) > 0 && sc.hears(t.rule.with) < 0:
		f.Why = "it needs one of " + s.contextNames(t.rule.with)
	case len(t.rule.and) > 0 && sc.hears(t.rule.and) < 0:
		f.Why = "it needs one of " + s.contextNames(t.rule.and)
	default:
		if id := sc.hears(t.rule.unless); id >= 0 {
			f.Why = "the search is also about " + s.contextNames([]int32{id})
		}
	}
	return f
}

func (s *Set) contextNames(ids []int32) string {
	names := make([]string, len(ids))
	for i, id := range ids {
		names[i] = shown(s.contexts[id].name)
	}
	return strings.Join(names, ", ")
}
