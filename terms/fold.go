package terms

import (
	"bytes"
	"strings"
)

// folder knows what words there are, and so which disguise hides one: a token is
// changed only if that makes it a word of the packs. "c4" and "year 4" stay.
type folder struct {
	// words is every word of the packs and every spelling of one -> the words it is
	// read as. What a word is read as is read as itself.
	words map[string]string
	// pairs is two words that are read as one ("my self").
	pairs  map[string]string
	paired filter // the keys of pairs
	// stretched is the words by what is left when no letter is repeated, the longest
	// first: "kil" -> "kill".
	stretched map[string][]string
	// near is the long words no real word is mistaken for, by themselves and with any
	// one letter left out.
	near map[string][]string
	// slips is like near for the other English words, which only ever stand in a phrase.
	slips   map[string][]string
	slipped filter // the keys of near and slips
	// doubled is the words of slips by what is left when no letter is repeated.
	doubled map[string][]string
	// silent are the words that are left out of the matching: "the", "really".
	silent map[string]bool
}

// The shortest and longest of what the folding looks at, in bytes. A longer word
// stays as it was written.
const (
	minSpaced  = 3  // letters in a row that stand alone
	minLeet    = 3  // "3d" is no word
	minNear    = 6  // letters of a word with a slip in it
	minSlip    = 5  // letters of one that stands in a phrase
	minGlued   = 8  // letters of several words written as one
	maxWritten = 40 // letters of any
)

// fold appends s folded to dst. Folding what is folded changes nothing.
func (f *folder) fold(sc *scratch, dst []byte, s string) []byte {
	sc.clean1 = sc.clean(sc.clean1[:0], s)
	sc.clean2 = f.resolveSymbols(sc, sc.clean2[:0], sc.clean1)
	sc.clean1 = f.joinSpaced(sc.clean1[:0], sc.clean2)
	sc.starts = sc.starts[:0]
	for rest := sc.clean1; len(rest) > 0; {
		var token []byte
		token, rest, _ = bytes.Cut(rest, space)
		sc.repaired = f.repair(sc, sc.repaired[:0], token)
		for more := sc.repaired; len(more) > 0; {
			token, more, _ = bytes.Cut(more, space)
			dst = f.push(sc, dst, token)
		}
	}
	return dst
}

var space = []byte{' '}

// push appends a word, and reads it with the one before as one if they are.
func (f *folder) push(sc *scratch, dst, word []byte) []byte {
	if len(dst) > 0 {
		dst = append(dst, ' ')
	}
	sc.starts = append(sc.starts, len(dst))
	dst = append(dst, word...)
	for n := len(sc.starts); n >= 2; n = len(sc.starts) {
		from := sc.starts[n-2]
		if len(dst)-from > maxWritten {
			break
		}
		if !f.paired.has(hash(dst[from:])) {
			break
		}
		one, ok := f.pairs[string(dst[from:])]
		if !ok {
			break
		}
		dst = append(dst[:from], one...)
		sc.starts = sc.starts[:n-1]
	}
	return dst
}

// resolveSymbols reads @ $ ! * as letters where that makes a word, and as
// separators where it does not.
func (f *folder) resolveSymbols(sc *scratch, dst, tokens []byte) []byte {
	if !bytes.ContainsAny(tokens, symbols) {
		return append(dst, tokens...)
	}
	for rest := tokens; len(rest) > 0; {
		var token []byte
		token, rest, _ = bytes.Cut(rest, space)
		dst = appendSpace(dst)
		bare := bytes.Trim(token, "!*")
		switch word, ok := f.disguised(sc, token, bare); {
		case !bytes.ContainsAny(token, symbols):
			dst = append(dst, token...)
		case ok:
			dst = append(dst, word...)
		default:
			for _, c := range token {
				if strings.IndexByte(symbols, c) >= 0 {
					dst = appendSpace(dst)
				} else {
					dst = append(dst, c)
				}
			}
		}
	}
	return trimSpace(dst)
}

func (f *folder) disguised(sc *scratch, token, bare []byte) (string, bool) {
	if word, ok := f.masked(sc, bare); ok {
		return word, true
	}
	if word, ok := f.leet(sc, bare); ok {
		return word, true
	}
	return f.leet(sc, token)
}

// masked reads asterisks as the one vowel that makes a word: "p*rn".
func (f *folder) masked(sc *scratch, token []byte) (string, bool) {
	if bytes.IndexByte(token, '*') < 0 || len(token) < minLeet || len(token) > maxWritten {
		return "", false
	}
	for i := range len("aeiou") {
		sc.trial = sc.trial[:0]
		for _, c := range token {
			if c == '*' {
				c = "aeiou"[i]
			}
			sc.trial = append(sc.trial, c)
		}
		if word, ok := f.words[string(sc.trial)]; ok {
			return word, true
		}
	}
	return "", false
}

// leetAs is the letter a digit or symbol is drawn for. A 1 is an i or an l.
var leetAs = [128]byte{
	'0': 'o', '1': 'i', '3': 'e', '4': 'a', '5': 's', '7': 't', '8': 'b', '9': 'g', '@': 'a', '$': 's', '!': 'i',
}

// leet reads digits and symbols that sit among at least two letters as letters.
func (f *folder) leet(sc *scratch, token []byte) (string, bool) {
	if len(token) < minLeet || len(token) > maxWritten {
		return "", false
	}
	letters, ones, drawn := 0, 0, 0
	for _, c := range token {
		switch {
		case c < 128 && leetAs[c] != 0:
			drawn++
			if c == '1' || c == '!' {
				ones++
			}
		case c == '*' || '0' <= c && c <= '9':
			return "", false
		default:
			letters++
		}
	}
	if letters < 2 || drawn == 0 {
		return "", false
	}
	for as := range min(ones, 2) + 1 { // every 1 an i; the first an i and the others an l; every 1 an l
		sc.trial = sc.trial[:0]
		seen := 0
		for _, c := range token {
			if c < 128 && leetAs[c] != 0 {
				one := c == '1' || c == '!'
				c = leetAs[c]
				if one && (as == 1 && (seen > 0 || ones == 1) || as == 2) {
					c = 'l'
				}
				if one {
					seen++
				}
			}
			sc.trial = append(sc.trial, c)
		}
		if word, ok := f.words[string(sc.trial)]; ok {
			return word, true
		}
		if word, ok := f.unstretched(sc, sc.trial); ok {
			return word, true
		}
	}
	return "", false
}

// joinSpaced joins letters that stand alone into the longest words they spell:
// "k i l l", and "k.i.l.l" once its dots have become spaces.
func (f *folder) joinSpaced(dst, tokens []byte) []byte {
	for i := 0; i < len(tokens); {
		run := spacedRun(tokens[i:])
		if run < minSpaced {
			end := bytes.IndexByte(tokens[i:], ' ')
			if end < 0 {
				return append(dst, tokens[i:]...)
			}
			dst = append(dst, tokens[i:i+end+1]...)
			i += end + 1
			continue
		}
		for left := run; left > 0; {
			n := min(left, maxWritten)
			var word [maxWritten]byte
			for at := range n {
				word[at] = tokens[i+2*at]
			}
			for ; n > 1; n-- {
				if _, ok := f.words[string(word[:n])]; ok && n >= minSpaced {
					break
				}
			}
			dst = append(append(dst, word[:n]...), ' ')
			i += 2 * n
			left -= n
		}
	}
	return trimSpace(dst)
}

// spacedRun counts the single letters s begins with.
func spacedRun(s []byte) (n int) {
	for at := 0; at < len(s) && 'a' <= s[at] && s[at] <= 'z' && (at+1 == len(s) || s[at+1] == ' '); at += 2 {
		n++
	}
	return n
}

// repair appends what a token is read as: itself, unless it is no word of the packs
// and a disguise or slip of one.
func (f *folder) repair(sc *scratch, dst, token []byte) []byte {
	if word, ok := f.words[string(token)]; ok {
		return append(dst, word...)
	}
	if len(token) < minLeet || len(token) > maxWritten {
		return append(dst, token...)
	}
	if bytes.ContainsAny(token, "0123456789") {
		if word, ok := f.leet(sc, token); ok {
			return append(dst, word...)
		}
		return append(dst, token...)
	}
	if word, ok := f.unstretched(sc, token); ok {
		return append(dst, word...)
	}
	if word, ok := f.plural(sc, token); ok {
		return append(dst, word...)
	}
	if word, ok := f.slip(token); ok {
		return append(dst, word...)
	}
	return f.unglue(sc, dst, token)
}

// plural reads a z at the end for the s or the nothing of the word: "gunz".
func (f *folder) plural(sc *scratch, token []byte) (string, bool) {
	if token[len(token)-1] != 'z' {
		return "", false
	}
	sc.trial = append(append(sc.trial[:0], token[:len(token)-1]...), 's')
	if word, ok := f.words[string(sc.trial)]; ok {
		return word, true
	}
	word, ok := f.words[string(sc.trial[:len(sc.trial)-1])]
	return word, ok
}

// unstretched reads a letter written three times or more as the once or twice of
// the word it stretches: "kiiill", "boooobs".
func (f *folder) unstretched(sc *scratch, token []byte) (string, bool) {
	if !stretches(token) {
		return "", false
	}
	sc.once = appendOnce(sc.once[:0], token)
	for _, word := range f.stretched[string(sc.once)] {
		if within(word, token) {
			return f.words[word], true
		}
	}
	return "", false
}

func stretches(token []byte) bool {
	for i := 2; i < len(token); i++ {
		if token[i] == token[i-1] && token[i] == token[i-2] {
			return true
		}
	}
	return false
}

func appendOnce[T string | []byte](dst []byte, word T) []byte {
	for i := range len(word) {
		if i == 0 || word[i] != word[i-1] {
			dst = append(dst, word[i])
		}
	}
	return dst
}

// within reports whether token is word with some of its letters held longer.
func within(word string, token []byte) bool {
	w := 0
	for i := 0; i < len(token); {
		c, held := token[i], 0
		for ; i < len(token) && token[i] == c; i++ {
			held++
		}
		want := 0
		for ; w < len(word) && word[w] == c; w++ {
			want++
		}
		if want == 0 || want > held {
			return false
		}
	}
	return w == len(word)
}

// slip reads a token one slip away from a watched word as that word: a letter too
// few, too many, wrong, or two swapped. The first letter must be right, and in a long
// word a letter doubled or not is no slip at all. An English word is no slip.
func (f *folder) slip(token []byte) (string, bool) {
	if len(token) < minSlip || len(token) > maxWritten {
		return "", false
	}
	var keys [maxWritten + 1]uint32
	without(&keys, token)
	var trial [maxWritten]byte
	for gap := len(token); gap > 0; gap-- { // the whole token first
		if !f.slipped.has(keys[gap]) {
			continue
		}
		key := append(append(trial[:0], token[:gap]...), token[min(gap+1, len(token)):]...)
		word, ok := oneSlip(f.near[string(key)], token)
		if !ok {
			word, ok = oneSlip(f.slips[string(key)], token)
		}
		if ok {
			return f.words[word], !english(token)
		}
	}
	if len(token) >= minNear && f.slipped.has(hash(appendOnce(trial[:0], token))) {
		for _, word := range f.doubled[string(appendOnce(trial[:0], token))] {
			if !english(token) {
				return f.words[word], true
			}
		}
	}
	return "", false
}

func oneSlip(words []string, token []byte) (string, bool) {
	for _, word := range words {
		if word[0] == token[0] && slips(word, token) <= 1 {
			return word, true
		}
	}
	return "", false
}

// slips is the edit distance of two words whose lengths differ by at most one, with
// a swap of neighbours as one edit; 2 stands for any more than 1.
func slips(word string, token []byte) int {
	i := 0
	for i < len(word) && i < len(token) && word[i] == token[i] {
		i++
	}
	w, t := word[i:], string(token[i:])
	switch {
	case w == t:
		return 0
	case len(w) > 0 && w[1:] == t, len(t) > 0 && w == t[1:]:
		return 1
	case len(w) > 0 && len(t) > 0 && w[1:] == t[1:]:
		return 1
	case len(w) > 1 && len(t) > 1 && w[0] == t[1] && w[1] == t[0] && w[2:] == t[2:]:
		return 1
	}
	return 2
}

// unglue takes a phrase off a token in which several words are written as one:
// "howtokillmyself". What is left over must be more than a letter.
func (f *folder) unglue(sc *scratch, dst, token []byte) []byte {
	if len(token) < minGlued+2 {
		return append(dst, token...)
	}
	for cut := 2; cut <= len(token)-minGlued; cut++ {
		if phrase, ok := f.words[string(token[cut:])]; ok && strings.IndexByte(phrase, ' ') >= 0 {
			dst = f.repair(sc, dst, token[:cut])
			return append(append(dst, ' '), phrase...)
		}
		if phrase, ok := f.words[string(token[:len(token)-cut])]; ok && strings.IndexByte(phrase, ' ') >= 0 {
			dst = append(append(dst, phrase...), ' ')
			return f.repair(sc, dst, token[len(token)-cut:])
		}
	}
	return append(dst, token...)
}

// audible appends the words of folded text that are matched, with a space before
// and behind each.
func (f *folder) audible(dst, folded []byte) []byte {
	dst = append(dst, ' ')
	for rest := folded; len(rest) > 0; {
		var word []byte
		word, rest, _ = bytes.Cut(rest, space)
		if !f.silent[string(word)] {
			dst = append(append(dst, word...), ' ')
		}
	}
	return dst
}
