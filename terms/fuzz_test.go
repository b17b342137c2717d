package terms

import (
	"testing"
	"testing/fstest"
	"unicode/utf8"
)

// FuzzFold: folding what is folded changes nothing, and the match hangs on the
// folded words alone.
func FuzzFold(f *testing.F) {
	set := watch(f)
	for _, seed := range []string{"how to k i l l myself", "p0rn $ex p*rn", "iwanttodie", "u r ugly", "sui cide", "роrn", "a b u i am", "كيف أصنع قنبلة", "kiiill \xff", "\xf2ʱ"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, words string) {
		once := set.Fold(words)
		if len(words) > MaxWords/4 {
			return
		}
		if twice := set.Fold(once); twice != once {
			t.Fatalf("Fold(%q) = %q, and again %q", words, once, twice)
		}
		a, aok := set.MatchAny(words)
		b, bok := set.MatchAny(once)
		if aok != bok || a.Term != b.Term {
			t.Fatalf("MatchAny(%q) = %v, of what it folds to %v", words, a.Term, b.Term)
		}
		if e := set.Explain(words, ^Bands(0)); (e.Gravest != nil) != aok || aok && e.Gravest.Term != a.Term {
			t.Fatalf("Explain(%q) differs from MatchAny: %v", words, e)
		}
	})
}

// FuzzQuery: words come from known engines only, are text, and are never longer
// than the address.
func FuzzQuery(f *testing.F) {
	for _, seed := range []string{"https://www.google.com/search?q=a+b", "unsplash.com/s/photos/a-b", "https://www.bing.com/search?q=%E9%00&q=x", "https://pixabay.com/en-gb/images/search/x"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		engine, words, ok := Query(raw)
		if ok != (words != "") || ok && engine == "" || !utf8.ValidString(words) || len(words) > 3*len(raw) {
			t.Fatalf("Query(%q) = %q, %q, %v", raw, engine, words, ok)
		}
	})
}

// FuzzLoad: a pack loads or has problems with a place, and never both.
func FuzzLoad(f *testing.F) {
	for _, seed := range []string{
		"language: en\ntheme: hate\nterms: [{severity: 1, say: ['a (b|c) d']}]", "same: {kill: [kil]}", "terms: [", "a: &x *x", "near: [suicide]",
		"language: en\ntheme: hate\nnever: [x y]\ncontexts: {z: [q]}\nterms: [{severity: 1, with: [<z>], unless: [r], say: [x]}]",
	} {
		f.Add([]byte(seed), "a b c d")
	}
	f.Fuzz(func(t *testing.T, pack []byte, words string) {
		set, problems := Load(fstest.MapFS{"p.yaml": {Data: pack}})
		if (set == nil) != (len(problems) > 0) {
			t.Fatalf("Load = %v, %v", set, problems)
		}
		if set != nil {
			set.MatchAny(words)
		}
	})
}
