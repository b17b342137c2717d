package supply

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"schoolgate/blocklists"
	"schoolgate/categories"
	"schoolgate/policy"
)

var testKey = bytes.Repeat([]byte{7}, categories.KeySize)

func textFeed(t *testing.T, name string, kind blocklists.Kind, c policy.Category, text string) blocklists.Feed {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return blocklists.Feed{Name: name, Path: path, Format: blocklists.Domains, Category: c, Kind: kind, Licence: "MIT", Weight: 1}
}

func TestBuildLists(t *testing.T) {
	out := filepath.Join(t.TempDir(), "store.db")
	var refused, progress, printed bytes.Buffer
	report, err := BuildLists(t.Context(), ListsBuild{
		Feeds: []blocklists.Feed{
			textFeed(t, "bets", blocklists.Public, policy.Gambling, "poker.example\npoker.example\nbad/line\nco.uk\n"),
			textFeed(t, "secret", blocklists.Mandatory, policy.Terrorism, "worst.example\n"),
		},
		Out: out, Key: testKey, Version: 7, Refused: &refused, Progress: &progress,
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := report.Print(&printed); err != nil {
		t.Fatal(err)
	}
	contains(t, "refused lines", refused.String(), "bets:3: "+string(blocklists.NotPlain), "bets:4: "+categories.ReasonPublicSuffix)
	contains(t, "progress", progress.String(), "[1/2]", "[2/2]")
	contains(t, "report", printed.String(), "gambling", "version 7", "Not covered by any list:", "bets:4: ")
	if strings.Contains(printed.String()+refused.String(), "worst.example") {
		t.Error("the report shows an entry of a mandatory list")
	}

	store, err := categories.Open(out, testKey)
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	for raw, want := range map[string]string{
		"https://www.poker.example/x": "gambling: poker.example (bets)",
		"worst.example":               "on a mandatory list (terrorism)",
		"other.example":               "other.example: uncategorised",
	} {
		var b bytes.Buffer
		if err := PrintLookup(&b, store, raw); err != nil {
			t.Fatal(err)
		}
		contains(t, "lookup "+raw, b.String(), want)
	}
	if err := PrintLookup(&bytes.Buffer{}, store, "http://[bad"); err == nil {
		t.Error("lookup of what is no URL: no error")
	}
}

func contains(t *testing.T, what, text string, want ...string) {
	t.Helper()
	for _, w := range want {
		if !strings.Contains(text, w) {
			t.Errorf("%s does not say %q:\n%s", what, w, text)
		}
	}
}

// T16, F8: a feed that is refused leaves the store in place as it was, and all
// refused feeds are named.
func TestBadFeedChangesNothing(t *testing.T) {
	out := filepath.Join(t.TempDir(), "store.db")
	good := textFeed(t, "good", blocklists.Public, policy.Gambling, "poker.example\n")
	if _, err := BuildLists(t.Context(), ListsBuild{Feeds: []blocklists.Feed{good}, Out: out, Key: testKey, Version: 1}); err != nil {
		t.Fatal(err)
	}
	before, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	report, err := BuildLists(t.Context(), ListsBuild{
		Feeds: []blocklists.Feed{
			good,
			textFeed(t, "page", blocklists.Public, policy.Gambling, "<html><body>Not found</body></html>\n"),
			textFeed(t, "million", blocklists.Public, policy.Gaming, strings.Repeat("no name\n", 1_000_000)),
		},
		Out: out, Key: testKey, Version: 2,
	})
	if err == nil {
		t.Fatal("a build with two refused feeds went through")
	}
	contains(t, "error", err.Error(), `feed "page"`, "a web page", `feed "million"`, "lines are broken")
	var printed bytes.Buffer
	if err := report.Print(&printed); err != nil {
		t.Fatal(err)
	}
	contains(t, "report", printed.String(), "a web page", "million:1: "+string(blocklists.BadHost))
	after, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(before, after) {
		t.Error("the store changed")
	}
	left, err := os.ReadDir(filepath.Dir(out))
	if err != nil {
		t.Fatal(err)
	}
	if len(left) != 1 {
		t.Errorf("the build left %v", left)
	}
}

func TestStarterStore(t *testing.T) {
	path := filepath.Join(t.TempDir(), "store.db")
	report, err := BuildLists(t.Context(), ListsBuild{Feeds: blocklists.Starter(), Out: path, Key: testKey, Version: 1})
	if err != nil {
		t.Fatal(err)
	}
	if report.Store.Names < 2000 || report.Store.Mandatory[policy.ChildAbuse] == 0 {
		t.Errorf("the starter store holds %d names and %v", report.Store.Names, report.Store.Mandatory)
	}
	for i := range report.Feeds {
		if n := len(report.Feeds[i].Refused); n > 0 {
			t.Errorf("%s: refused %v", report.Feeds[i].Feed.Name, report.Feeds[i].First)
		}
	}
}
