package supply

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"schoolgate/blocklists"
	"schoolgate/categories"
	"schoolgate/configs"
	"schoolgate/policy"
)

// A mandatory list leaves only when two different people say so, on record; and
// then the box stays red until it is back (I5).
func TestRemovingAMandatoryList(t *testing.T) {
	cfg, problems := configs.Load("")
	for _, p := range problems {
		t.Fatal(p)
	}
	cfg.Box.Data = t.TempDir()
	cfg.Box.Lists.Store = filepath.Join(cfg.Box.Data, "store")
	bets := textFeed(t, "bets", blocklists.Public, policy.Gambling, "poker.example\nbets.example\n")
	watch := textFeed(t, "watch", blocklists.Mandatory, policy.ChildAbuse, "worst.example\n")
	police := textFeed(t, "police", blocklists.Mandatory, policy.Terrorism, "bad.example\nother-bad.example\n")
	build := func(feeds ...blocklists.Feed) error {
		t.Helper()
		for i := range feeds {
			feeds[i].Enabled = true
		}
		_, _, err := BuildStore(t.Context(), cfg, ListsBuild{Feeds: feeds})
		return err
	}
	red := func() string {
		t.Helper()
		store, done, err := OpenStore(t.Context(), cfg, "")
		if err != nil {
			t.Fatal(err)
		}
		defer done()
		removed, err := RemovedMandatory(cfg, store.Info())
		if err != nil {
			t.Fatal(err)
		}
		var names []string
		for _, r := range removed {
			names = append(names, r.Feed)
		}
		return strings.Join(names, " ")
	}
	if err := build(bets, watch, police); err != nil {
		t.Fatal(err)
	}
	// A line too few in the feed file is not a ceremony.
	err := build(bets, watch)
	if err == nil {
		t.Fatal("a mandatory list vanished and nobody was asked")
	}
	contains(t, "error", err.Error(), `lacks the mandatory list "police"`, "--remove-mandatory police --by NAME --second NAME")

	ask := Ceremony{Feed: "police", By: "A Head", By2: "A Governor", Reason: "the contract has ended"}
	for want, change := range map[string]func(*Ceremony){
		"two people":               func(c *Ceremony) { c.By2 = " " },
		"two different people":     func(c *Ceremony) { c.By2 = " a  HEAD" },
		"a reason that can be":     func(c *Ceremony) { c.Reason = "because" },
		"one line":                 func(c *Ceremony) { c.Reason = "the contract\n{}" },
		`no mandatory list "bets"`: func(c *Ceremony) { c.Feed = "bets" },
		`still names "watch"`:      func(c *Ceremony) { c.Feed = "watch" },
	} {
		c := ask
		change(&c)
		feeds := []blocklists.Feed{watch}
		if err := RemoveMandatory(cfg, feeds, c); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("RemoveMandatory(%+v) = %v, want %q", c, err, want)
		}
	}
	if got := red(); got != "" {
		t.Errorf("red before any ceremony: %q", got)
	}
	if err := RemoveMandatory(cfg, []blocklists.Feed{bets, watch}, ask); err != nil {
		t.Fatal(err)
	}
	if err := build(bets); err == nil {
		t.Error("a ceremony for one list let two go")
	}
	if err := build(bets, watch); err != nil {
		t.Fatal(err)
	}
	if got := red(); got != "police" {
		t.Errorf("red after the ceremony: %q, want police", got)
	}
	// Who goes back to where the list is gone must not, once it is in force again.
	if err := build(bets, watch, police); err != nil {
		t.Fatal(err)
	}
	if got := red(); got != "" {
		t.Errorf("red once the list is back: %q", got)
	}
	if _, err := Rollback(t.Context(), cfg, 2); err == nil {
		dir, _, _ := boxStores(cfg)
		versions, _ := dir.Versions()
		t.Errorf("went back to a store without the list (versions %v)", versions)
	}
	if err := build(bets, watch); err == nil {
		t.Error("an old ceremony served for a list that had come back")
	}
	// The record is never shorter, and a torn line spoils no other.
	path := filepath.Join(cfg.Box.Lists.Store, ceremoniesName)
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the record: %v, %v; want 0600", info, err)
	}
	f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteString(`{"feed":"wat`); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	if err := RemoveMandatory(cfg, []blocklists.Feed{bets, watch}, ask); err != nil {
		t.Fatal(err)
	}
	if err := build(bets, watch); err != nil {
		t.Error(err)
	}
	if got := red(); got != "line 2 of ceremonies.log police" {
		t.Errorf("red with a torn line: %q", got)
	}
}

// A ceremony is spent once the list is in force again, also by a rollback to the
// very version it was said of.
func TestACeremonyIsSpentWhenARollbackBringsTheListBack(t *testing.T) { // I5
	feeds := localFeeds + localFloor + "  - {name: police, path: police.txt, format: urls, category: terrorism, kind: mandatory, licence: test}\n"
	b, write := localBox(t, feeds)
	write("police.txt", names("terror", 20))
	step := func(what string, err error) {
		t.Helper()
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
	}
	_, err := b.build()
	step("with the list", err)
	write("feeds.yaml", localFeeds+localFloor)
	without, err := configuredFeeds(b.cfg)
	step("feeds", err)
	remove := Ceremony{Feed: "police", By: "A Head", By2: "B Governor", Reason: "the contract has ended"}
	step("the ceremony", RemoveMandatory(b.cfg, without, remove))
	_, err = b.build()
	step("without the list", err)
	_, err = Rollback(t.Context(), b.cfg, 1)
	step("back to where it was", err)
	b.listed("terror-3.example", policy.Terrorism)
	if _, err := Rollback(t.Context(), b.cfg, 2); err == nil {
		t.Error("the old ceremony served for going back to a version without the list")
	}
	if _, err := b.build(); err == nil {
		t.Error("the old ceremony served for a build without the list")
	}
	b.listed("terror-3.example", policy.Terrorism)
	step("a ceremony of its own", RemoveMandatory(b.cfg, without, remove))
	_, err = Rollback(t.Context(), b.cfg, 2)
	step("back to where it is gone, with a ceremony", err)
	b.unlisted("terror-3.example")
}

// A real mandatory list that the feed file suddenly calls invented is gone: else the
// next build could lack it, and nobody would have said so.
func TestMandatoryListIsNotCalledInvented(t *testing.T) {
	info := func(synthetic bool) categories.Info {
		return categories.Info{Version: 1, Sources: []categories.SourceInfo{
			{Source: categories.Source{Name: "police", Mandatory: true, Synthetic: synthetic}, Entries: 3},
		}}
	}
	err := keepsMandatory(t.TempDir(), info(false), info(true))
	if err == nil || !strings.Contains(err.Error(), `lacks the mandatory list "police"`) {
		t.Errorf("a real list called invented: %v", err)
	}
	for _, ok := range [][2]bool{{false, false}, {true, true}, {true, false}} {
		if err := keepsMandatory(t.TempDir(), info(ok[0]), info(ok[1])); err != nil {
			t.Errorf("invented before %v, after %v: %v", ok[0], ok[1], err)
		}
	}
}
