package terms

import (
	_ "embed"
	"strings"
)

// englishText is common English words, sorted, one a line behind comments.
//
//go:embed english.txt
var englishText string

var englishWords = englishText[strings.Index(englishText, "\n\n")+2:]

// english reports whether a token of five letters or more is a common English word.
func english(token []byte) bool {
	list := englishWords
	for lo, hi := 0, len(list); lo < hi; {
		mid := (lo + hi) / 2
		from := lo + strings.LastIndexByte(list[lo:mid], '\n') + 1
		to := from + strings.IndexByte(list[from:], '\n')
		switch word := list[from:to]; {
		case word == string(token):
			return true
		case word < string(token):
			lo = to + 1
		default:
			hi = from
		}
	}
	return false
}

// filter says of most keys that are in no map that they are not, for less than
// looking them up would cost.
type filter [1 << 14]uint32

func (f *filter) at(key uint32) (word *uint32, bit uint32) {
	key *= 0x9e3779b1 // 2^32 by the golden ratio: the upper bits hang on all below
	return &f[key>>18], 1 << (key >> 13 & 31)
}

func (f *filter) add(key uint32) {
	word, bit := f.at(key)
	*word |= bit
}

func (f *filter) has(key uint32) bool {
	word, bit := f.at(key)
	return *word&bit != 0
}

// base is what the polynomials below are taken of.
const base = 0x01000193

func hash(s []byte) (h uint32) {
	for _, c := range s {
		h = h*base + uint32(c) + 1
	}
	return h
}

// without fills keys with the hash of token without each one of its letters, and
// behind them with that of the whole.
func without(keys *[maxWritten + 1]uint32, token []byte) {
	before := uint32(0)
	for i, c := range token {
		keys[i] = before
		before = before*base + uint32(c) + 1
	}
	keys[len(token)] = before
	after, power := uint32(0), uint32(1)
	for i := len(token) - 1; i >= 0; i-- {
		keys[i] = keys[i]*power + after
		after += (uint32(token[i]) + 1) * power
		power *= base
	}
}
