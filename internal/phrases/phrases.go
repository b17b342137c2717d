// Package phrases finds every one of many phrases in a text in one pass.
package phrases

import (
	"bytes"
	"slices"
)

// Automaton is an Aho-Corasick automaton. Its states are numbered breadth first. Those
// that a text is nearly always in, the first, have a row in a dense table: one step a
// symbol, whatever the number of patterns. The rest know only the states that they lead
// on to, which is a tenth of the memory. It may be used by many at once.
//
// Bytes that no pattern tells apart share a class, which keeps rows short. A byte
// outside ASCII is two symbols, its halves: native scripts then need 24 classes and not
// one for each of the hundred bytes they are written with.
type Automaton struct {
	class   [128]uint8 // of an ASCII byte; 0 is any byte no pattern has
	high    [16]uint8  // of the upper half of any other byte
	low     [16]uint8  // of its lower half
	classes uint32

	rows uint32   // states that have a row
	next []uint32 // state*classes+class -> state, marked where a pattern ends. State 0 is the beginning.

	// By state. Those that a state leads on to follow one another, from first[state] up
	// to first[state+1], in the order of the class that leads there.
	first []uint32
	label []uint8  // the class that led here
	fail  []uint32 // the longest suffix that begins a pattern
	end   []uint32 // the longest pattern that ends here: the state it makes, 0 for none
	ends  []int32  // the pattern that this state makes, -1 for none
}

const (
	ending = 1 << 31 // marks a state
	// maxStates is more than any list of ours comes near.
	maxStates = 1 << 22
	// maxDense is how many entries the dense table has at most: 4 MiB.
	maxDense = 1 << 20
)

// New builds the tables of distinct, non-empty patterns; ok is false where
// there are more than they can hold.
func New(patterns []string) (a *Automaton, ok bool) {
	return build(patterns, maxDense)
}

func build(patterns []string, dense int) (a *Automaton, ok bool) {
	a = &Automaton{classes: 1}
	size := 0
	for _, p := range patterns {
		for i := range len(p) {
			if c := p[i]; c < 128 {
				a.enter(&a.class[c])
			} else {
				a.enter(&a.high[c>>4])
				a.enter(&a.low[c&15])
				size++
			}
		}
		size += len(p)
	}
	list := make([]spelt, len(patterns))
	all := make([]byte, 0, size)
	for id, p := range patterns {
		from := len(all)
		for i := range len(p) {
			if c := p[i]; c < 128 {
				all = append(all, a.class[c])
			} else {
				all = append(all, a.high[c>>4], a.low[c&15])
			}
		}
		list[id] = spelt{all[from:], int32(id)}
	}
	slices.SortFunc(list, func(x, y spelt) int { return bytes.Compare(x.symbols, y.symbols) })
	if !a.grow(list) {
		return nil, false
	}
	a.lead(dense)
	return a, true
}

// enter gives a symbol its class when it is first met.
func (a *Automaton) enter(class *uint8) {
	if *class == 0 {
		*class = uint8(a.classes)
		a.classes++
	}
}

// spelt is a pattern in classes.
type spelt struct {
	symbols []byte
	id      int32
}

// grow makes the states, level by level: each is the patterns that begin alike. false
// means that there would be too many.
func (a *Automaton) grow(list []spelt) bool {
	states := countStates(list)
	if states > maxStates {
		return false
	}
	a.first, a.label = make([]uint32, 0, states+1), make([]uint8, 0, states)
	a.end, a.ends = make([]uint32, states), make([]int32, 0, states)
	a.fail = make([]uint32, states)
	type span struct{ from, to uint32 }
	level, below := []span{{0, uint32(len(list))}}, []span(nil)
	a.label = append(a.label, 0)
	for depth := 0; len(level) > 0; depth++ {
		below = below[:0]
		for _, s := range level {
			a.first = append(a.first, uint32(len(a.label)))
			id := int32(-1)
			if s.from < s.to && len(list[s.from].symbols) == depth {
				id = list[s.from].id
				s.from++
			}
			a.ends = append(a.ends, id)
			for s.from < s.to {
				symbol, to := list[s.from].symbols[depth], s.from+1
				for to < s.to && list[to].symbols[depth] == symbol {
					to++
				}
				a.label = append(a.label, symbol)
				below = append(below, span{s.from, to})
				s.from = to
			}
		}
		level, below = below, level
	}
	a.first = append(a.first, uint32(len(a.label)))
	return true
}

// countStates is how many states the patterns need: one for each symbol that a
// pattern does not share with the one before it in order.
func countStates(list []spelt) int {
	states, before := 1, []byte(nil)
	for _, p := range list {
		shared := 0
		for shared < min(len(p.symbols), len(before)) && p.symbols[shared] == before[shared] {
			shared++
		}
		states += len(p.symbols) - shared
		before = p.symbols
	}
	return states
}

// lead finds where to go on a symbol that no pattern has next: to where the longest
// suffix that begins a pattern would go. That suffix, being shorter, is finished
// already.
func (a *Automaton) lead(dense int) {
	states := len(a.ends)
	a.rows = uint32(max(1, min(states, dense/int(a.classes))))
	a.next = make([]uint32, a.rows*a.classes)
	for state := range uint32(states) {
		suffix := a.fail[state]
		if a.ends[state] >= 0 {
			a.end[state] = state
		} else {
			a.end[state] = a.end[suffix]
		}
		for to := a.first[state]; to < a.first[state+1]; to++ {
			if state != 0 {
				a.fail[to] = a.step(suffix, uint32(a.label[to])) &^ ending
			}
		}
		if state < a.rows {
			row := a.next[state*a.classes:][:a.classes]
			copy(row, a.next[suffix*a.classes:]) // of the beginning itself: nothing but beginnings
			for to := a.first[state]; to < a.first[state+1]; to++ {
				row[a.label[to]] = to
			}
		}
	}
	for i, to := range a.next {
		a.next[i] = a.marked(to &^ ending)
	}
}

func (a *Automaton) marked(state uint32) uint32 {
	if a.end[state] != 0 {
		return state | ending
	}
	return state
}

// step is where a symbol leads, marked.
func (a *Automaton) step(state, class uint32) uint32 {
	if state < a.rows {
		return a.next[state*a.classes+class]
	}
	return a.search(state, class)
}

// search is step from a state without a row, apart so that step itself is inlined.
//
//go:noinline
func (a *Automaton) search(state, class uint32) uint32 {
	for state >= a.rows {
		for from, to := a.first[state], a.first[state+1]; from < to; from++ {
			if uint32(a.label[from]) == class {
				return a.marked(from)
			}
		}
		state = a.fail[state]
	}
	return a.next[state*a.classes+class]
}

// Found is a pattern and where in the text it ends.
type Found struct {
	Pattern int32
	End     int32
}

// State is where in its patterns an automaton stands between two parts of a text;
// the zero State is the beginning.
type State uint32

// Scan appends every pattern in text to dst, in the order of their ends, the
// longest first where several end together.
func (a *Automaton) Scan(dst []Found, text []byte) []Found {
	dst, _ = a.Next(dst, 0, text)
	return dst
}

// Next is Scan for the next part of a text: a pattern that began in the parts
// before is found, with its end in this one.
func (a *Automaton) Next(dst []Found, from State, text []byte) ([]Found, State) {
	state := uint32(from)
	for i, c := range text {
		if c < 128 {
			state = a.step(state, uint32(a.class[c]))
		} else {
			state = a.step(state, uint32(a.high[c>>4])) &^ ending
			state = a.step(state, uint32(a.low[c&15]))
		}
		if state&ending != 0 {
			state &^= ending
			for end := a.end[state]; end != 0; end = a.end[a.fail[end]] {
				dst = append(dst, Found{a.ends[end], int32(i + 1)})
			}
		}
	}
	return dst, State(state)
}

// Bytes is the size of the tables.
func (a *Automaton) Bytes() int {
	return 4*(len(a.next)+len(a.first)+len(a.fail)+len(a.end)+len(a.ends)) + len(a.label)
}

// Size is how many states there are, and how many classes of symbols.
func (a *Automaton) Size() (states, classes int) { return len(a.ends), int(a.classes) }
