package blocklists

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"schoolgate/internal/testkit"
	"schoolgate/policy"
)

const goodFeed = `
  - name: good
    path: lists/good.txt
    format: domains
    category: gambling
    kind: public
    licence: MIT
`

func loadText(t *testing.T, text string) (Feeds, []string) {
	t.Helper()
	path := write(t, "feeds.yaml", text)
	feeds, problems := LoadFeeds(path)
	var said []string
	for _, p := range problems {
		said = append(said, strings.ReplaceAll(p.Error(), filepath.Dir(path)+"/", ""))
	}
	return feeds, said
}

func TestLoadFeeds(t *testing.T) {
	feeds, problems := loadText(t, "feeds:\n  - builtin: starter\n"+goodFeed+"    weight: 0.5\n    enabled: false\n    date: 2026-08-01\n")
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	if got, want := len(feeds.Enabled()), len(Starter()); got != want {
		t.Errorf("%d feeds enabled, want the %d of the starter", got, want)
	}
	f := feeds.Feeds[len(feeds.Feeds)-1]
	if f.Name != "good" || f.Category != policy.Gambling || f.Weight != 0.5 || f.Enabled || f.Rule.Line != 4 {
		t.Errorf("feed = %+v", f)
	}
	if want := filepath.Join(filepath.Dir(feeds.File), "lists", "good.txt"); f.Path != want {
		t.Errorf("path = %s, want %s: relative to the feeds file", f.Path, want)
	}
}

// Every mistake is told at once, with its place and a way out.
// Each key of a feed is explained to who writes it.
func TestEveryKeyOfAFeedIsInTheReadme(t *testing.T) {
	readme, err := os.ReadFile("../configs/README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(readme), "\n## Feeds\n")
	l := &loader{}
	for key := range l.feedKeys(&Feed{}, "") {
		if !strings.Contains(section, "`"+key+"`") {
			t.Errorf("configs/README.md does not explain %q of a feed", key)
		}
	}
}

// The feeds may be written in schoolgate.yaml itself, in the same way; problems
// are named as the other problems of that file are.
func TestFeedsInSchoolgateYAML(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "schoolgate.yaml")
	load := func(text string) (Feeds, string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		feeds, problems := LoadFeeds(file)
		if err := Joined(problems); err != nil {
			return feeds, err.Error()
		}
		return feeds, ""
	}
	const head = "policy: policy.yaml\nlists:\n  hold_at: 2\n  feeds:\n"
	feeds, trouble := load(head + "    - {name: own, path: own.txt, format: domains, category: gambling, kind: curated, licence: ours}\n    - builtin: starter\n")
	if trouble != "" || len(feeds.Feeds) != 5 || feeds.Feeds[0].Path != filepath.Join(dir, "own.txt") {
		t.Errorf("feeds %+v, %s", feeds.Feeds, trouble)
	}
	for text, want := range map[string]string{
		"    - {name: own, format: domains, category: gamling, kind: curated, licence: ours}\n": `schoolgate.yaml:5:46: feed "own": unknown category "gamling" (did you mean "gambling"?)`,
		"    - {nam: own}\n": `schoolgate.yaml:5:8: feed "": unknown key "nam" (did you mean "name"?)`,
		"    []\n":           `schoolgate.yaml:5:5: there must be a feed`,
	} {
		if _, got := load(head + text); got != want {
			t.Errorf("%s is %s, want %s", text, got, want)
		}
	}
}

func TestFeedMistakes(t *testing.T) {
	for _, tc := range []struct {
		name, text string
		want       []string
	}{
		{"empty file", "", []string{`feeds.yaml:1:1: empty: there must be a list "feeds"`}},
		{"no feeds", "feeds: []\n", []string{`feeds.yaml:1:1: there must be a list "feeds"`}},
		{"unknown key of the file", "feed: []\n", []string{`feeds.yaml:1:1: file: unknown key "feed" (did you mean "feeds"?)`}},
		{"unknown builtin", "feeds:\n  - builtin: startr\n", []string{`feeds.yaml:2:14: unknown builtin "startr" (did you mean "starter"?)`}},
		{"unknown key, format, kind and category, a weight that is none", "feeds:\n  - name: a\n    pth: x\n    format: domain\n    category: gamling\n    kind: pubic\n    weight: heavy\n",
			[]string{
				`feeds.yaml:3:5: feed "a": unknown key "pth" (did you mean "path"?)`,
				`feeds.yaml:4:13: feed "a": unknown format "domain" (did you mean "domains"?)`,
				`feeds.yaml:5:15: feed "a": unknown category "gamling" (did you mean "gambling"?)`,
				`feeds.yaml:6:11: feed "a": unknown kind "pubic" (did you mean "public"?)`,
				`feeds.yaml:7:13: feed "a": weight "heavy": want a number above 0, up to 10`,
			}},
		{"a format of another program's", "feeds:" + strings.Replace(goodFeed, "domains", "squidguard", 1), []string{
			`feeds.yaml:4:13: feed "good": unknown format "squidguard" (want domains, hosts, adblock, dnsmasq, rpz, wildcards, urls, ip, ut1, v2fly, csv)`,
		}},
		{"missing keys", "feeds:\n  - name: a\n", []string{
			`feeds.yaml:2:5: feed "a": path or url is missing`,
			`feeds.yaml:2:5: feed "a": format is missing (one of [domains hosts adblock dnsmasq rpz wildcards urls ip ut1 v2fly csv])`,
			`feeds.yaml:2:5: feed "a": kind is missing (one of [public curated mandatory clean])`,
			`feeds.yaml:2:5: feed "a": licence is missing: a list without one may not be used`,
			`feeds.yaml:2:5: feed "a": category or categories is missing`,
		}},
		{"two of one name", "feeds:" + goodFeed + goodFeed, []string{`feeds.yaml:9:5: feed "good": already declared at feeds.yaml:2`}},
		{"a key twice", "feeds:" + goodFeed + "    kind: public\n", []string{`feeds.yaml:8:5: feed "good": key "kind" stands twice`}},
		{"a public list of a mandatory category", "feeds:" + strings.Replace(goodFeed, "gambling", "child_abuse", 1),
			[]string{`feeds.yaml:2:5: feed "good": category child_abuse is for kind: mandatory`}},
		{"a mandatory list of another category", "feeds:" + strings.Replace(goodFeed, "public", "mandatory", 1),
			[]string{`feeds.yaml:2:5: feed "good": a mandatory list must have a mandatory category (child_abuse or terrorism)`}},
		{"a clean list with a category", "feeds:" + strings.Replace(goodFeed, "public", "clean", 1),
			[]string{`feeds.yaml:2:5: feed "good": a clean list has no category`}},
		{"bad map", "feeds:" + strings.Replace(goodFeed, "category: gambling", "categories: {a: gamblin, a: none}", 1),
			[]string{
				`feeds.yaml:5:21: feed "good": unknown category "gamblin" (did you mean "gambling"?)`,
				`feeds.yaml:5:30: feed "good": categories: "a" stands twice`,
			}},
		{"not YAML", "feeds:\n\t- x\n", []string{`feeds.yaml:2: found character that cannot start any token`}},
		{"not a list", "feeds: x\n", []string{`feeds.yaml:1:8: feeds: want a list`}},
		{"not a feed", "feeds:\n  - x\n", []string{`feeds.yaml:2:5: feed "": want keys and values`}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			feeds, problems := loadText(t, tc.text)
			if diff := cmp.Diff(tc.want, problems); diff != "" {
				t.Errorf("problems (-want +got):\n%s", diff)
			}
			if len(feeds.Feeds) > 0 {
				t.Errorf("%d feeds in spite of problems", len(feeds.Feeds))
			}
		})
	}
}

// The shipped feeds file declares every list beside the repository but the
// hostile example and those for tests only, each with its licence.
func TestSharedFeeds(t *testing.T) {
	feeds, problems := LoadFeeds(filepath.Join("..", "configs", "feeds.shared.yaml"))
	for _, p := range problems {
		t.Error(p)
	}
	lists := testkit.Lists(t)
	declared := map[string]bool{}
	for _, f := range feeds.Feeds {
		for _, path := range []string{f.Path, f.Delta} {
			matches, err := filepath.Glob(path)
			if err != nil || path != "" && f.embedded == nil && len(matches) == 0 {
				t.Errorf("feed %q: no file %s (%v)", f.Name, path, err)
			}
			for _, m := range matches {
				abs, err := filepath.Abs(m)
				if err != nil {
					t.Fatal(err)
				}
				declared[abs] = true
			}
		}
	}
	elsewhere := map[string]string{
		"pornography/bonappetit-block.domains.txt.gz": "a hostile example",
		"safesearch/safesearch-map.csv":               "read by configs",
		"infra/public_suffix_list.dat.gz":             "not a list of sites; in the binary",
	}
	err := filepath.WalkDir(lists, func(path string, d os.DirEntry, err error) error {
		rel, relErr := filepath.Rel(lists, path)
		if err != nil || relErr != nil || d.IsDir() || !strings.Contains(rel, "/") || strings.HasPrefix(rel, "noncommercial/") {
			return err
		}
		if why := elsewhere[rel]; declared[path] == (why != "") {
			t.Errorf("%s: declared %v, %s", rel, declared[path], why)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// The copies in the binary are the files beside the repository.
func TestStarterCopies(t *testing.T) {
	lists := testkit.Lists(t)
	for name, from := range map[string]string{
		"gap-services.csv":              "seeds",
		"SYNTHETIC-iwf-style.csv":       "synthetic",
		"SYNTHETIC-iwf-style-delta.csv": "synthetic",
		"SYNTHETIC-ctiru-style.csv":     "synthetic",
	} {
		want, err := os.ReadFile(filepath.Join(lists, from, name))
		if err != nil {
			t.Fatal(err)
		}
		got, err := starterFiles.ReadFile("starter/" + name)
		if err != nil {
			t.Fatal(err)
		}
		if string(got) != string(want) {
			t.Errorf("starter/%s is not the file of ../shared/lists/%s", name, from)
		}
	}
}
