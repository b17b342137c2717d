package quality

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"schoolgate/blocklists"
	"schoolgate/categories"
	"schoolgate/configs"
	"schoolgate/policy"
	"schoolgate/supply"
)

// schoolTime is a Tuesday morning in term.
var schoolTime = time.Date(2026, 11, 24, 10, 15, 0, 0, time.UTC)

var testKey = bytes.Repeat([]byte{7}, categories.KeySize)

func textFeed(t *testing.T, name string, kind blocklists.Kind, c policy.Category, text string) blocklists.Feed {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return blocklists.Feed{Name: name, Path: path, Format: blocklists.Domains, Category: c, Kind: kind, Licence: "MIT", Weight: 1}
}

func contains(t *testing.T, what, text string, want ...string) {
	t.Helper()
	for _, w := range want {
		if !strings.Contains(text, w) {
			t.Errorf("%s holds no %q:\n%s", what, w, text)
		}
	}
}

// smallStore builds and opens a store of a few feeds.
func smallStore(t *testing.T, feeds ...blocklists.Feed) *categories.Store {
	t.Helper()
	out := filepath.Join(t.TempDir(), "store.db")
	if _, err := supply.BuildLists(t.Context(), supply.ListsBuild{Feeds: feeds, Out: out, Key: testKey, Version: 1}); err != nil {
		t.Fatal(err)
	}
	store, err := categories.Open(out, testKey)
	if err != nil {
		t.Fatal(err)
	}
	return store
}

func sampleSchool(t *testing.T) configs.School {
	t.Helper()
	cfg, problems := configs.Load("")
	for _, p := range problems {
		t.Fatal(p)
	}
	return cfg.School
}

// Every offence and theme has a row, invented entries protect nobody, and what no
// list covers is said (I6, S6, C1-C11).
func TestCoverage(t *testing.T) {
	bets := textFeed(t, "bets", blocklists.Public, policy.Gambling, strings.Repeat("x", 1)+".example\npoker.example\n")
	bets.Date = time.Date(2026, 8, 1, 0, 0, 0, 0, time.UTC)
	invented := textFeed(t, "invented", blocklists.Mandatory, policy.ChildAbuse, "worst.example\n")
	invented.Synthetic = true
	store := smallStore(t, bets, invented, textFeed(t, "police", blocklists.Mandatory, policy.Terrorism, "bad.example\n"))
	c := CoverageOf(store.Info(), sampleSchool(t).Policy, schoolTime)

	subjects := map[string][]policy.Category{}
	rationale := map[policy.Category]bool{}
	for _, r := range c.Rows {
		subjects[r.Ref] = append(subjects[r.Ref], r.Category)
		rationale[r.Category] = r.Rationale != ""
		if len(r.Defaults) != 5 {
			t.Errorf("%s: verdicts of %d profiles, want 5", r.Category, len(r.Defaults))
		}
		if r.Covered == strings.Contains(r.Says, "NOT COVERED") {
			t.Errorf("%s: covered %v, and it says %q", r.Category, r.Covered, r.Says)
		}
	}
	for cat := range policy.Categories() {
		if !rationale[cat] {
			t.Errorf("%s has no row with a rationale", cat)
		}
	}
	for i := range themes {
		if ref := "C" + string(rune('1'+i)); i < 9 && len(subjects[ref]) == 0 {
			t.Errorf("theme %s (%s) has no category", ref, themes[i])
		}
	}
	var text bytes.Buffer
	if err := c.Print(&text); err != nil {
		t.Fatal(err)
	}
	contains(t, "coverage", text.String(),
		"child_abuse: NOT COVERED: only invented entries", "terrorism: covered", "people_smuggling: NOT COVERED by any list",
		"gambling: thin: 2 well-known names", "freshest 2026-08-01, from bets (2)", "C11 extremism", "eyfs=block, ks1=block, ks2=block, staff=block, guest=block")
	if strings.Contains(text.String(), "worst.example") {
		t.Error("the coverage shows an entry of a mandatory list")
	}
	if _, err := json.Marshal(c); err != nil {
		t.Error(err)
	}
	for _, r := range c.Rows {
		if len(r.Cells()) != len(c.Columns()) {
			t.Fatalf("%s: %d cells of %d columns", r.Category, len(r.Cells()), len(c.Columns()))
		}
	}
}

// What a list gets wrong is found and ranked, and a mandatory list shows nothing.
func TestAuditStore(t *testing.T) {
	below := ""
	for _, s := range []string{"a", "b", "c", "d", "e", "f", "g", "h", "i"} {
		below += s + ".manyusers.example\n"
	}
	weak := textFeed(t, "weak", blocklists.Public, policy.Pornography,
		"www.childline.org.uk\nwww.bbc.co.uk\nfamous.example\nmanyusers.example\nhill.leeds.sch.uk\nplain.example\n")
	store := smallStore(t, weak,
		textFeed(t, "shops", blocklists.Public, policy.Shopping, below),
		textFeed(t, "top", blocklists.Clean, policy.Uncategorised, "famous.example\n"),
		textFeed(t, "secret", blocklists.Mandatory, policy.Terrorism, "worst.example\n"))
	audit, err := AuditStore(t.Context(), store, sampleSchool(t), 3)
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for i, d := range audit.Doubts {
		got[d.Host] = d.Reason
		if i > 0 && d.Score > audit.Doubts[i-1].Score {
			t.Errorf("%s, of score %d, stands behind %d", d.Host, d.Score, audit.Doubts[i-1].Score)
		}
	}
	want := map[string]string{"childline.org.uk": doubtHelpline, "bbc.co.uk": doubtApproved, "manyusers.example": doubtShared}
	for host, reason := range want {
		if got[host] != reason {
			t.Errorf("AuditStore on %s: %q, want %q", host, got[host], reason)
		}
	}
	if len(audit.Doubts) != 3 || audit.Found != 4 || audit.By[doubtClean] != 1 || got["plain.example"] != "" {
		t.Errorf("AuditStore = %d of %d, by %v; want 3 of 4", len(audit.Doubts), audit.Found, audit.By)
	}
	var text bytes.Buffer
	if err := audit.Print(&text); err != nil {
		t.Fatal(err)
	}
	contains(t, "audit", text.String(), "the 3 gravest", "BELIEVED", "pornography by weak")
	if strings.Contains(text.String(), "worst.example") {
		t.Error("the audit shows an entry of a mandatory list")
	}

	cfg, _ := configs.Load("")
	cfg.Box.Data = t.TempDir()
	fromFeeds, err := AuditFeeds(t.Context(), cfg, []blocklists.Feed{weak}, nil, 50)
	if err != nil {
		t.Fatal(err)
	}
	if fromFeeds.By[doubtProtected] != 1 {
		t.Errorf("AuditFeeds found %v, want one under a protected suffix", fromFeeds.By)
	}
}
