package categories

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"schoolgate/policy"
)

// What a name says by itself is heard only where nobody knows better (R51).
func TestWords(t *testing.T) {
	words := []Word{
		{Text: "unblocked", Category: policy.Gaming, Unless: []string{"drain", ".unblocked."}},
		{Text: ".ubg", Category: policy.Gaming},
		{Text: "vpn.com.", Category: policy.VPNProxy, Unless: []string{".vpn."}},
		{Text: "casino", Category: policy.Gambling},
		{Text: "sino", Category: policy.News},
	}
	path := filepath.Join(t.TempDir(), "store.db")
	b, err := Create(path, BuildOptions{Words: words})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Abort()
	sources := map[string]SourceID{
		"public": b.Source(Source{Name: "public"}), "hand": b.Source(Source{Name: "hand", Curated: true}),
		"top": b.Source(Source{Name: "top", Clean: true, Weight: 0.5}), "seen": b.Source(Source{Name: "seen", Clean: true, Weight: 0.25}),
	}
	for _, e := range []struct {
		source, host string
		category     policy.Category
	}{
		{"hand", "github.io", policy.WebHosting}, {"hand", "known-unblocked.example", policy.Education},
		{"hand", "none-unblocked.example", policy.Uncategorised}, {"top", "casino-museum.example", 0},
		{"seen", "seen-casino.example", 0}, {"public", "unblocked-shop.example", policy.Shopping},
		{"top", "famous-casino.github.io", 0},
	} {
		if err := b.Add(sources[e.source], Entry{Host: host(t, e.host), Category: e.category}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := b.Finish(t.Context()); err != nil {
		t.Fatal(err)
	}
	s, err := Open(path, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer s.release()
	for _, test := range []struct {
		name, url, want string
	}{
		{"a word in an unknown name", "games-unblocked.example", "gaming"},
		{"the beginning of a label", "ubg100.example", "gaming"},
		{"which is not the middle", "clubg.example", ""},
		{"the end of a name", "fastvpn.com", "vpn_proxy"},
		{"which is not its middle", "fastvpnx.com", ""},
		{"an exception", "unblockeddrains.example", ""},
		{"an exception at the beginning", "unblocked.example", ""},
		{"a network's own gateway", "vpn.com", ""},
		{"a word within a word", "casino.example", "gambling news"},
		{"a name on a public list says more", "unblocked-shop.example", "gaming shopping"},
		{"a person has looked at it", "www.known-unblocked.example", "education"},
		{"and found nothing", "none-unblocked.example", ""},
		{"a clean record", "www.casino-museum.example", ""},
		{"a record that proves little", "seen-casino.example", "gambling news"},
		{"a place of many users", "fnf-unblocked.github.io", "gaming web_hosting"},
		{"one of them with a clean record", "famous-casino.github.io", "web_hosting"},
		{"the path there", "x.github.io/View/CASINO-7", "gambling web_hosting news"},
		{"the path elsewhere", "y.example/casino", ""},
		{"an address", "192.0.2.7/casino", ""},
	} {
		h, path := splitEntry(t, test.url)
		got := strings.Join(s.Classify(h, path).Categories.IDs(), " ")
		if got != test.want {
			t.Errorf("%s: Classify(%s) = %q, want %q", test.name, test.url, got, test.want)
		}
		counted := policy.CategorySet{}
		for _, m := range s.Lookup(h, path) {
			if m.Counted {
				counted = counted.With(m.Category)
			}
		}
		if explained := strings.Join(counted.IDs(), " "); explained != test.want {
			t.Errorf("%s: Lookup(%s) explains %q, want %q", test.name, test.url, explained, test.want)
		}
	}
	h := host(t, "games-unblocked.example")
	if n := testing.AllocsPerRun(100, func() { s.Classify(h, "/a/b") }); n > 0 {
		t.Errorf("Classify of a word: %v allocations", n)
	}
}

// Reading a name for the words that ship, which only names of no list are.
func BenchmarkWords(b *testing.B) {
	text, err := os.ReadFile("../blocklists/starter/words.csv")
	if err != nil {
		b.Fatal(err)
	}
	var words []Word
	for line := range strings.Lines(string(text)) {
		word, _, _ := strings.Cut(line, ",")
		words = append(words, Word{Text: word, Category: policy.Gaming})
	}
	x := newWordIndex(words)
	names := []string{"www.hill-primary.leeds.sch.uk", "cdn.someshop.example", "a1234.dscb.akamaiedge.net", "unblocked-games.example"}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		x.match(names[i%len(names)], "")
	}
}

func TestBadWords(t *testing.T) {
	for want, w := range map[string]Word{
		"3 to 64 letters":  {Text: "ab", Category: policy.Gaming},
		"small letters":    {Text: "Casino", Category: policy.Gaming},
		"not a mandatory":  {Text: "casino", Category: policy.Terrorism},
		"needs a category": {Text: "casino"},
		"without letters":  {Text: "casino", Category: policy.Gambling, Unless: []string{""}},
	} {
		_, err := Create(filepath.Join(t.TempDir(), "s.db"), BuildOptions{Words: []Word{w}})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Create with the word %+v = %v, want %q", w, err, want)
		}
	}
}
