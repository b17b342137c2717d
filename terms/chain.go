package terms

import "schoolgate/internal/phrases"

import "strings"

// maxPlain is how many variants of a phrase are terms of their own. A phrase with
// more is a chain: its steps are patterns, each with its variants, and the phrase is
// found where a variant of each follows one of the step before. So a line of a pack
// costs the sum of its choices and not their product.
const maxPlain = 64

// gap is what stands in a pack for whatever words there may be between two steps, and
// maxGap how far apart those may be, in bytes.
const (
	gap    = "..."
	maxGap = 36
)

// slot is a step of a chain. Those of a chain follow one another.
type slot struct {
	term     int32
	apart    bool // there may be other words before it
	begins   bool // no step before it must be there
	ends     bool // no step behind it must be
	last     bool
	optional bool
	first    bool // of its chain
	simple   bool // the next step must follow
}

// reach is a chain found up to a slot.
type reach struct {
	origin, end int32
	next        int32 // the reach noted before it for the same slot, below scratch.base for none
}

// hit is a term in the text.
type hit struct {
	term, start, end int32
	severity         uint8 // known once it is weighed
}

// follow takes one pattern as a step of every chain that it may go on.
func (s *Set) follow(sc *scratch, f phrases.Found) {
	e := &s.entries[f.Pattern]
	start := f.End - e.length
	for _, id := range e.slots {
		sl := &s.slots[id]
		origin := int32(-1)
		if !sl.first {
			origin = sc.behind(id-1, start, sl.apart)
		}
		if origin < 0 {
			if !sl.begins {
				continue
			}
			origin = start
		}
		if sl.simple {
			sc.note(id, origin, f.End)
		} else {
			s.advance(sc, id, origin, f.End)
		}
	}
}

// behind is where a chain begins that is found up to a slot and to a place, or not
// far before it if the next step may stand apart; -1 for none.
func (sc *scratch) behind(id, start int32, apart bool) int32 {
	for at := sc.head[id]; at >= sc.base; { // the nearest first
		r := &sc.reached[at-sc.base]
		between := start - r.end + 1 // they share the space between
		if between == 0 || between > 0 && between <= maxGap && apart {
			return r.origin
		}
		if between > maxGap {
			break
		}
		at = r.next
	}
	return -1
}

// note notes that a chain is found up to a slot.
func (sc *scratch) note(id, origin, end int32) {
	sc.reached = append(sc.reached, reach{origin, end, sc.head[id]})
	sc.head[id] = sc.base + int32(len(sc.reached)) - 1
}

// forget makes ready for another search: what head holds of this one lies below base.
func (sc *scratch) forget() {
	sc.base += int32(len(sc.reached))
	sc.reached = sc.reached[:0]
	if sc.base > 1<<30 {
		clear(sc.head)
		sc.base = 1
	}
}

// advance notes that a chain is found up to a slot, and up to those behind it that
// may be passed over.
func (s *Set) advance(sc *scratch, id, origin, end int32) {
	if s.slots[id].ends {
		sc.hits = append(sc.hits, hit{term: s.slots[id].term, start: origin, end: end})
	}
	for ; !s.slots[id].last; id++ {
		sc.note(id, origin, end)
		if !s.slots[id+1].optional {
			return
		}
	}
}

// chain adds a term of several steps.
func (c *compiler) chain(s said, steps [][]string, apart []bool, t Term) {
	t.Text, t.variants = s.text, 1
	term := int32(len(c.set.terms))
	c.set.terms = append(c.set.terms, t)
	first := len(c.set.slots)
	for i, variants := range steps {
		id := int32(len(c.set.slots))
		c.set.slots = append(c.set.slots, slot{term: term, apart: apart[i]})
		c.set.terms[term].variants *= len(variants)
		for _, text := range variants {
			if text == "" {
				c.set.slots[id].optional = true
				continue
			}
			e := c.entryOf(text)
			e.slots = append(e.slots, id)
		}
	}
	slots := c.set.slots[first:]
	slots[0].first, slots[len(slots)-1].last = true, true
	for i := 0; i < len(slots); i++ {
		slots[i].begins = true
		if !slots[i].optional {
			break
		}
	}
	for i := len(slots) - 1; i >= 0; i-- {
		slots[i].ends = true
		if !slots[i].optional {
			break
		}
	}
	for i := range slots[:len(slots)-1] {
		slots[i].simple = !slots[i].ends && !slots[i+1].optional
	}
}

// steps divides a phrase between words into as few steps as keep few variants each.
// apart tells before which of them there may be other words.
func (c *compiler) steps(s said) (steps [][]string, apart []bool) {
	open := false
	list := units(s.text)
	for i, unit := range list {
		if unit == gap {
			if i == 0 || i == len(list)-1 || open {
				c.problem(s.at, "%q: ... stands between two parts of a phrase", shown(s.text))
				return nil, nil
			}
			open = true
			continue
		}
		variants, err := expand(unit)
		if err != nil {
			c.problem(s.at, "%q: %v", shown(s.text), err)
			return nil, nil
		}
		if n := len(steps); n > 0 && !open && len(steps[n-1])*len(variants) <= maxPlain {
			joined := make([]string, 0, len(steps[n-1])*len(variants))
			for _, a := range steps[n-1] {
				for _, b := range variants {
					joined = append(joined, a+" "+b)
				}
			}
			steps[n-1] = joined
			continue
		}
		steps, apart, open = append(steps, variants), append(apart, open), false
	}
	return steps, apart
}

// units cuts a phrase at the spaces outside its brackets.
func units(s string) (list []string) {
	depth, from := 0, 0
	for i := range len(s) {
		switch s[i] {
		case '(':
			depth++
		case ')':
			depth--
		case '|':
			if depth == 0 { // choices between whole phrases: nothing to cut
				return []string{s}
			}
		case ' ':
			if depth == 0 {
				if i > from {
					list = append(list, s[from:i])
				}
				from = i + 1
			}
		}
	}
	if from < len(s) {
		list = append(list, s[from:])
	}
	return list
}

// folded is variants as they are matched, each once. "" is one that may be left out.
func (c *compiler) folded(s said, variants []string, mayBeEmpty bool) []string {
	seen := map[string]bool{}
	list := variants[:0]
	for _, v := range variants {
		text := strings.Trim(string(c.set.folder.audible(nil, c.set.folder.fold(c.sc, nil, v))), " ")
		if text == "" && mayBeEmpty && strings.Trim(v, " ") != "" {
			continue // a choice of a silent word must not become a choice of nothing
		}
		if text == "" && !mayBeEmpty || len(text) > maxPhrase {
			c.problem(s.at, "%q: %q comes to %d bytes when folded, want 1 to %d", shown(s.text), shown(v), len(text), maxPhrase)
			return nil
		}
		if !seen[text] {
			seen[text] = true
			list = append(list, text)
		}
	}
	return list
}
