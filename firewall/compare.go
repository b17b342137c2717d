package firewall

import (
	"slices"
	"strings"
)

// compare adds how two listings of a table differ.
func compare(d *Difference, want, have string) {
	wanted, places := blocks(want)
	there, more := blocks(have)
	for _, p := range more {
		if !slices.Contains(places, p) {
			places = append(places, p)
		}
	}
	for _, p := range places {
		missing, foreign := without(wanted[p], there[p]), without(there[p], wanted[p])
		for _, line := range missing {
			d.Missing = append(d.Missing, p+": "+line)
		}
		for _, line := range foreign {
			d.Foreign = append(d.Foreign, p+": "+line)
		}
		if len(missing)+len(foreign) == 0 && strings.HasPrefix(p, "chain ") && !slices.Equal(wanted[p], there[p]) {
			d.Order = append(d.Order, p)
		}
	}
}

// blocks are the lines of a listing by the chain or set they stand in, elements of
// a set one a line. The head of a block is a line of it, so that an empty one
// that is not there is missed.
func blocks(listing string) (lines map[string][]string, places []string) {
	lines = map[string][]string{}
	place, inElements := "table", false
	add := func(s string) {
		if s != "" {
			lines[place] = append(lines[place], s)
		}
	}
	places = append(places, place)
	for line := range strings.Lines(listing) {
		line = strings.TrimSpace(line)
		switch rest, elements := strings.CutPrefix(line, "elements = {"); {
		case elements || inElements:
			if !elements {
				rest = line
			}
			rest, ends := strings.CutSuffix(strings.TrimSpace(rest), "}")
			for e := range strings.SplitSeq(rest, ",") {
				add(strings.TrimSpace(e))
			}
			inElements = !ends
		case strings.HasSuffix(line, " {"):
			if place = strings.TrimSuffix(line, " {"); !slices.Contains(places, place) {
				places = append(places, place)
			}
			add("exists")
		case line != "}":
			add(line)
		}
	}
	return lines, places
}

// without are the lines of a that b does not have, counting doubles.
func without(a, b []string) (out []string) {
	left := map[string]int{}
	for _, line := range b {
		left[line]++
	}
	for _, line := range a {
		if left[line]--; left[line] < 0 {
			out = append(out, line)
		}
	}
	return out
}
