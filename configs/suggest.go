package configs

import (
	"fmt"
	"slices"
)

// unknown is the trouble with a word that is none of those known, with a way
// out: the word most likely meant, or the choice where it is small.
func unknown(what, got string, known []string) error {
	slices.Sort(known)
	if near := nearest(got, known); near != "" {
		return fmt.Errorf("unknown %s %q (did you mean %q?)", what, got, near)
	}
	if len(known) == 0 {
		return fmt.Errorf("unknown %s %q (there is none here)", what, got)
	}
	if len(known) <= 20 {
		return fmt.Errorf("unknown %s %q (it must be one of %s)", what, got, oneOf(known))
	}
	return fmt.Errorf("unknown %s %q", what, got)
}

// oneOf lists words the way a sentence does.
func oneOf(words []string) string {
	s := ""
	for i, w := range words {
		switch {
		case i == 0:
		case i == len(words)-1:
			s += " or "
		default:
			s += ", "
		}
		s += w
	}
	return s
}

// nearest is the known word at most a third of its letters away, "" for none.
func nearest(got string, known []string) string {
	if len(got) > 64 {
		return ""
	}
	best, at := "", max(1, min(3, len(got)/3))+1
	for _, k := range known {
		if d := distance(got, k); d < at {
			best, at = k, d
		}
	}
	return best
}

// distance is how many letters must be put in, left out, changed or swapped with
// their neighbour to make b of a.
func distance(a, b string) int {
	before, row, next := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := 1; i <= len(a); i++ {
		next[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			next[j] = min(row[j]+1, next[j-1]+1, row[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				next[j] = min(next[j], before[j-2]+1)
			}
		}
		before, row, next = row, next, before
	}
	return row[len(b)]
}
