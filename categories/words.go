package categories

import (
	"fmt"
	"slices"
	"strings"

	"schoolgate/policy"
)

// Word is a piece of a name that says what a site is: "unblocked-games" is a
// games portal whatever address it moved to this week. It is heard of names that
// nobody vouches for, see [join.named].
//
// A name is read with a dot before and behind it, so ".bet365" is the beginning
// of a label and "vpn." the end of one.
type Word struct {
	Text     string
	Category policy.Category
	Unless   []string `json:",omitempty"` // pieces of a name that mean something else
}

// WordSource is what a word's findings are ascribed to.
const WordSource = "words in the name"

// Bounds on words, far above what the product ships.
const (
	maxWords    = 4096
	maxWordSize = 64
	maxLetters  = 1<<16 - 2 // of all words, so that a state fits in two bytes
	maxRead     = 512       // bytes of a path that are read for words
)

func checkWords(words []Word) error {
	if len(words) > maxWords {
		return fmt.Errorf("%d words, and at most %d can be kept", len(words), maxWords)
	}
	size := 0
	for _, w := range words {
		size += len(w.Text)
		switch {
		case size > maxLetters:
			return fmt.Errorf("word %q: more than %d letters of words", w.Text, maxLetters)
		case len(w.Text) < 3 || len(w.Text) > maxWordSize:
			return fmt.Errorf("word %q: want 3 to %d letters", w.Text, maxWordSize)
		case strings.ContainsFunc(w.Text, func(r rune) bool { return r > 0x7f || letterOf(byte(r)) == 0 }):
			return fmt.Errorf("word %q: want small letters, digits, hyphens and dots", w.Text)
		case w.Category == policy.Uncategorised || w.Category >= policy.NumCategories || w.Category.Mandatory():
			return fmt.Errorf("word %q: it needs a category, and not a mandatory one", w.Text)
		case slices.Contains(w.Unless, ""):
			return fmt.Errorf("word %q: an exception without letters", w.Text)
		}
	}
	return nil
}

// letters are what names are made of; anything else is letter 0 and ends a word.
const letters = 39

func letterOf(b byte) int {
	switch {
	case b >= 'a' && b <= 'z':
		return int(b-'a') + 1
	case b >= '0' && b <= '9':
		return int(b-'0') + 27
	case b == '-':
		return 37
	case b == '.':
		return 38
	}
	return 0
}

// wordIndex finds every word in a name in one pass (Aho and Corasick's automaton,
// its failures worked into the table).
type wordIndex struct {
	words []Word
	step  []uint16 // state × letter → state
	ends  []uint16 // by state: the word that ends there plus one, the longest
	also  []uint16 // by state: a state with a shorter word that ends there, 0 for none
}

func newWordIndex(words []Word) *wordIndex {
	x := &wordIndex{words: words}
	if len(words) == 0 {
		return x
	}
	x.state()
	for i, w := range words {
		at := 0
		for k := range len(w.Text) {
			edge := at*letters + letterOf(w.Text[k])
			if x.step[edge] == 0 {
				next := x.state()
				x.step[edge] = uint16(next)
			}
			at = int(x.step[edge])
		}
		x.ends[at] = uint16(i + 1)
	}
	x.link()
	return x
}

// state adds a state. maxLetters bounds them.
func (x *wordIndex) state() int {
	n := len(x.ends)
	x.step = append(x.step, make([]uint16, letters)...)
	x.ends, x.also = append(x.ends, 0), append(x.also, 0)
	return n
}

// link fills in, breadth first, where to go on when a word breaks off.
func (x *wordIndex) link() {
	fail := make([]uint16, len(x.ends))
	var queue []uint16
	for l := range letters {
		if s := x.step[l]; s != 0 {
			queue = append(queue, s)
		}
	}
	for len(queue) > 0 {
		s := queue[0]
		queue = queue[1:]
		x.also[s] = x.also[fail[s]]
		if x.ends[fail[s]] != 0 {
			x.also[s] = fail[s]
		}
		for l := range letters {
			back := x.step[int(fail[s])*letters+l]
			if next := x.step[int(s)*letters+l]; next != 0 {
				fail[next] = back
				queue = append(queue, next)
			} else {
				x.step[int(s)*letters+l] = back
			}
		}
	}
}

// match gives the categories of the words in a name, and in a path below it.
func (x *wordIndex) match(name, path string) (set policy.CategorySet) {
	x.each(name, path, func(w *Word) { set = set.With(w.Category) })
	return set
}

// each calls found for each word in the name.
func (x *wordIndex) each(name, path string, found func(*Word)) {
	if len(x.words) == 0 {
		return
	}
	at := x.step[letterOf('.')]
	for i := range len(name) {
		at = x.read(at, name[i], name, path, found)
	}
	at = x.read(at, '.', name, path, found)
	for i := range min(len(path), maxRead) {
		c := path[i]
		if c >= 'A' && c <= 'Z' {
			c += 'a' - 'A'
		}
		if c == '/' {
			c = '.'
		}
		at = x.read(at, c, name, path, found)
	}
	if path != "" {
		x.read(at, '.', name, path, found)
	}
}

func (x *wordIndex) read(at uint16, c byte, name, path string, found func(*Word)) uint16 {
	at = x.step[int(at)*letters+letterOf(c)]
	for s := at; s != 0; s = x.also[s] {
		if n := x.ends[s]; n != 0 {
			if w := &x.words[n-1]; !w.excused(name, path) {
				found(w)
			}
		}
	}
	return at
}

// excused reports whether the name holds a piece that gives the word another
// meaning.
func (w *Word) excused(name, path string) bool {
	for _, u := range w.Unless {
		if strings.Contains(name, u) || strings.Contains(path, u) ||
			u[0] == '.' && strings.HasPrefix(name, u[1:]) ||
			u[len(u)-1] == '.' && strings.HasSuffix(name, u[:len(u)-1]) {
			return true
		}
	}
	return false
}
