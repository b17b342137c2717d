package terms

import "schoolgate/internal/phrases"

import "strings"

// maxPlain is how many variants of a phrase are terms of their own. A phrase with
// more is a chain: its steps are patterns, each with its variants, and the phrase is
// found where a variant of each follows one of the step before. So a line of a pack
// costs the sum of its choices and not their product.
const maxPlain = 64

// slot is a step of a chain. Those of a chain follow one another.
type slot struct {
	term     int32
	begins   bool // no step before it must be there
	ends     bool // no step behind it must be
	last     bool
	optional bool
}

// reach is a chain found up to a slot.
type reach struct {
	origin, end int32
	next        int32 // the reach noted before it for the same slot, -1 for none
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
		if !sl.begins || id > 0 && s.slots[id-1].term == sl.term {
			for at := sc.head[id-1]; at >= 0 && origin < 0; at = sc.reached[at].next {
				if sc.reached[at].end-1 == start { // they share the space between
					origin = sc.reached[at].origin
				}
			}
		}
		if origin < 0 && sl.begins {
			origin = start
		}
		if origin >= 0 {
			s.advance(sc, id, origin, f.End)
		}
	}
}

// advance notes that a chain is found up to a slot, and up to those behind it that
// may be passed over.
func (s *Set) advance(sc *scratch, id, origin, end int32) {
	if s.slots[id].ends {
		sc.hits = append(sc.hits, hit{term: s.slots[id].term, start: origin, end: end})
	}
	for ; !s.slots[id].last; id++ {
		if sc.head[id] < 0 {
			sc.touched = append(sc.touched, id)
		}
		sc.reached = append(sc.reached, reach{origin, end, sc.head[id]})
		sc.head[id] = int32(len(sc.reached) - 1)
		if !s.slots[id+1].optional {
			return
		}
	}
}

// chain adds a term of several steps.
func (c *compiler) chain(s said, steps [][]string, t Term) {
	t.Text, t.variants = s.text, 1
	term := int32(len(c.set.terms))
	c.set.terms = append(c.set.terms, t)
	first := len(c.set.slots)
	for _, variants := range steps {
		id := int32(len(c.set.slots))
		c.set.slots = append(c.set.slots, slot{term: term})
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
	slots[len(slots)-1].last = true
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
}

// steps divides a phrase between words into as few steps as keep few variants each.
func (c *compiler) steps(s said) [][]string {
	var steps [][]string
	for _, unit := range units(s.text) {
		variants, err := expand(unit)
		if err != nil {
			c.problem(s.at, "%q: %v", shown(s.text), err)
			return nil
		}
		if n := len(steps); n > 0 && len(steps[n-1])*len(variants) <= maxPlain {
			joined := make([]string, 0, len(steps[n-1])*len(variants))
			for _, a := range steps[n-1] {
				for _, b := range variants {
					joined = append(joined, a+" "+b)
				}
			}
			steps[n-1] = joined
			continue
		}
		steps = append(steps, variants)
	}
	return steps
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
