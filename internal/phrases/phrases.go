// Package phrases finds every one of many phrases in a text in one pass.
package phrases

import "slices"

// Automaton is an Aho-Corasick automaton made into a dense table: one step a
// symbol, whatever the number of patterns. Bytes that no pattern tells apart share
// a class, which is what keeps the table small. It may be used by many at once.
//
// A byte outside ASCII is two symbols, its halves: native scripts then need 24
// classes and not one for each of the hundred bytes they are written with.
type Automaton struct {
	class   [128]uint8 // of an ASCII byte; 0 is any byte no pattern has
	high    [16]uint8  // of the upper half of any other byte
	low     [16]uint8  // of its lower half
	classes uint32
	// next is state*classes+class -> state*classes, with the top bit set where a
	// pattern ends. State 0 is the beginning.
	next []uint32
	ends []int32 // by state: the pattern that ends here, -1 for none
	also []int32 // by state: the nearest suffix of it where a pattern ends, 0 for none
}

const (
	ending = 1 << 31
	// maxStates keeps the table below 2^31 entries with all 256 classes.
	maxStates = 1 << 22
)

// New builds the table of distinct, non-empty patterns; ok is false where
// there are more than it can hold.
func New(patterns []string) (a *Automaton, ok bool) {
	a = &Automaton{classes: 1}
	for _, p := range patterns {
		for i := range len(p) {
			if c := p[i]; c < 128 {
				a.enter(&a.class[c])
			} else {
				a.enter(&a.high[c>>4])
				a.enter(&a.low[c&15])
			}
		}
	}
	states := min(countStates(patterns), maxStates+1)
	// In one piece: grown step by step it would be copied many times over.
	a.next = make([]uint32, 0, states*int(a.classes))
	a.ends, a.also = make([]int32, 0, states), make([]int32, 0, states)
	a.addState()
	for id, p := range patterns {
		state := uint32(0)
		for i := range len(p) {
			if c := p[i]; c < 128 {
				state = a.child(state, a.class[c])
			} else {
				state = a.child(a.child(state, a.high[c>>4]), a.low[c&15])
			}
		}
		a.ends[state] = int32(id)
		if len(a.ends) > maxStates {
			return nil, false
		}
	}
	a.finish()
	return a, true
}

// countStates is how many states the patterns need, or a few more: one for each
// symbol that a pattern does not share with the one before it in order.
func countStates(patterns []string) int {
	states, before := 1, ""
	for _, p := range slices.Sorted(slices.Values(patterns)) {
		shared := 0
		for shared < min(len(p), len(before)) && p[shared] == before[shared] {
			shared++
		}
		for i := shared; i < len(p); i++ {
			if states++; p[i] >= 128 {
				states++
			}
		}
		before = p
	}
	return states
}

// enter gives a symbol its class when it is first met.
func (a *Automaton) enter(class *uint8) {
	if *class == 0 {
		*class = uint8(a.classes)
		a.classes++
	}
}

func (a *Automaton) addState() uint32 {
	a.next = append(a.next, make([]uint32, a.classes)...)
	a.ends = append(a.ends, -1)
	a.also = append(a.also, 0)
	return uint32(len(a.ends) - 1)
}

// child is the state one symbol on, made if need be. Until finish, next holds
// plain states.
func (a *Automaton) child(state uint32, class uint8) uint32 {
	at := state*a.classes + uint32(class)
	if a.next[at] == 0 {
		to := a.addState()
		a.next[at] = to
	}
	return a.next[at]
}

// finish fills in where to go on a symbol that no pattern has next: to where the
// longest suffix that begins a pattern would go. States are met breadth first, so
// that suffix, being shorter, is finished already.
func (a *Automaton) finish() {
	fail := make([]uint32, len(a.ends))
	queue := make([]uint32, 0, len(a.ends))
	for c := range a.classes {
		if to := a.next[c]; to != 0 {
			queue = append(queue, to)
		}
	}
	for i := 0; i < len(queue); i++ {
		state := queue[i]
		suffix := fail[state]
		if a.ends[suffix] >= 0 {
			a.also[state] = int32(suffix)
		} else {
			a.also[state] = a.also[suffix]
		}
		for c := range a.classes {
			at := state*a.classes + c
			if to := a.next[at]; to != 0 {
				fail[to] = a.next[suffix*a.classes+c]
				queue = append(queue, to)
			} else {
				a.next[at] = a.next[suffix*a.classes+c]
			}
		}
	}
	for i, to := range a.next {
		a.next[i] = to * a.classes
		if a.ends[to] >= 0 || a.also[to] != 0 {
			a.next[i] |= ending
		}
	}
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
	row := uint32(from)
	for i, c := range text {
		if c < 128 {
			row = a.next[row&^ending+uint32(a.class[c])]
		} else {
			row = a.next[row&^ending+uint32(a.high[c>>4])]
			row = a.next[row&^ending+uint32(a.low[c&15])]
		}
		if row&ending != 0 {
			dst = a.report(dst, row&^ending/a.classes, i+1)
		}
	}
	return dst, State(row &^ ending)
}

func (a *Automaton) report(dst []Found, state uint32, end int) []Found {
	if id := a.ends[state]; id >= 0 {
		dst = append(dst, Found{id, int32(end)})
	}
	for state := a.also[state]; state != 0; state = a.also[state] {
		dst = append(dst, Found{a.ends[state], int32(end)})
	}
	return dst
}

// Bytes is the size of the tables.
func (a *Automaton) Bytes() int { return 4 * (len(a.next) + len(a.ends) + len(a.also)) }

// Size is how many states there are, and how many classes of symbols.
func (a *Automaton) Size() (states, classes int) { return len(a.ends), int(a.classes) }
