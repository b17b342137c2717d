package phrases

import (
	"slices"
	"strings"
	"testing"
)

// FuzzScan: the automaton finds what looking for each pattern everywhere finds,
// however many of its states have a row.
func FuzzScan(f *testing.F) {
	f.Add("he,she,his,hers", "ushers")
	f.Add("a,aa,aaa", "aaaa")
	f.Add("ق,قن,\xff", "قنبلة\xff")
	f.Fuzz(func(t *testing.T, list, text string) {
		if len(list) > 200 || len(text) > 500 {
			return
		}
		var patterns []string
		for p := range strings.SplitSeq(list, ",") {
			if p != "" && !slices.Contains(patterns, p) {
				patterns = append(patterns, p)
			}
		}
		var want []Found
		for end := 1; end <= len(text); end++ {
			var here []Found
			for id, p := range patterns {
				if strings.HasSuffix(text[:end], p) {
					here = append(here, Found{int32(id), int32(end)})
				}
			}
			slices.SortFunc(here, func(x, y Found) int { return len(patterns[y.Pattern]) - len(patterns[x.Pattern]) })
			want = append(want, here...)
		}
		for _, dense := range []int{0, 100, maxDense} {
			a, ok := build(patterns, dense)
			if !ok {
				t.Fatal("no automaton")
			}
			check(t, a, patterns, text, want)
		}
	})
}

func check(t *testing.T, a *Automaton, patterns []string, text string, want []Found) {
	t.Helper()
	if got := a.Scan(nil, []byte(text)); !slices.Equal(got, want) {
		t.Fatalf("Scan(%q) of %q with %d rows = %v, want %v", text, patterns, a.rows, got, want)
	}
	// Cut anywhere, it finds the same.
	for cut := range len(text) {
		got, at := a.Next(nil, 0, []byte(text[:cut]))
		rest, _ := a.Next(nil, at, []byte(text[cut:]))
		for _, f := range rest {
			got = append(got, Found{f.Pattern, f.End + int32(cut)})
		}
		if !slices.Equal(got, want) {
			t.Fatalf("Next(%q) of %q, cut at %d, with %d rows = %v, want %v", text, patterns, cut, a.rows, got, want)
		}
	}
}

// The tables are made in one piece: what is counted beforehand is what is made.
func TestCountStates(t *testing.T) {
	for _, patterns := range [][]string{nil, {"a"}, {"he", "she", "his", "hers"}, {"żal", "żaba", "жаба"}, {"abc", "abd", "ab", "b"}} {
		a, ok := New(patterns)
		if !ok {
			t.Fatal(patterns)
		}
		if n := len(a.fail); n != len(a.ends) || n != len(a.label) || n+1 != len(a.first) {
			t.Errorf("%q: %d states counted, %d made", patterns, n, len(a.ends))
		}
	}
}
