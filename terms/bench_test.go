package terms

import (
	"strings"
	"testing"

	"schoolgate/internal/phrases"
)

const phrase = "how to get rid of a really big spider in my bedroom"

// BenchmarkMatch is one search, folding and all packs; contains is the bare loop
// over the same patterns, on words that are folded already.
func BenchmarkMatch(b *testing.B) {
	set := watch(b)
	for name, words := range map[string]string{"none": phrase, "hit": "how to kill myself without pain", "leet": "h0w t0 k1ll mys3lf", "polish": "chcę umrzeć"} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				set.MatchAny(words)
			}
		})
	}
	b.Run("scan", func(b *testing.B) {
		text := []byte(" " + phrase + " ")
		b.SetBytes(int64(len(text)))
		var dst []phrases.Found
		for b.Loop() {
			dst = set.automaton.Scan(dst[:0], text)
		}
	})
	b.Run("contains", func(b *testing.B) {
		patterns := make([]string, 0, len(set.terms))
		for i := range set.terms {
			patterns = append(patterns, " "+set.terms[i].Text+" ")
		}
		text := " " + phrase + " "
		for b.Loop() {
			for _, p := range patterns {
				if strings.Contains(text, p) {
					b.Fatal(p)
				}
			}
		}
	})
}

func BenchmarkQuery(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		_, _, _ = Query("https://www.google.co.uk/search?q=how+to+draw+a+cat&source=hp&ei=Zx9pZ4")
	}
}

func BenchmarkLoad(b *testing.B) {
	for b.Loop() {
		watch(b)
	}
}
