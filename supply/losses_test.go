package supply

import (
	"path/filepath"
	"strings"
	"testing"

	"schoolgate/policy"
)

const localFeeds = `feeds:
  - {name: bets, path: bets.txt, format: domains, category: gambling, kind: public, weight: 1, licence: test}
`

const localFloor = `  - {name: floor, path: floor.txt, format: urls, category: child_abuse, kind: mandatory, licence: test}
`

// localBox is a box whose feeds are files beside its configuration.
func localBox(t *testing.T, feeds string) (*supplyBox, func(file, text string)) {
	b := newSupplyBox(t, feeds)
	write := func(file, text string) { b.write(filepath.Join(filepath.Dir(b.cfg.Box.File), file), text) }
	write("bets.txt", names("bet", 200))
	write("floor.txt", names("bad", 20))
	return b, write
}

func (b *supplyBox) build() (Settled, error) {
	b.Helper()
	return b.open().Build(b.Context(), nil, nil)
}

// Nobody switches a mandatory list off by leaving it out of the feed file.
func TestBuildWithoutAMandatoryListIsRefused(t *testing.T) { // R1, R2, S2
	b, write := localBox(t, localFeeds+localFloor)
	if _, err := b.build(); err != nil {
		t.Fatal(err)
	}
	write("feeds.yaml", localFeeds)
	if done, err := b.build(); err == nil || !strings.Contains(err.Error(), "no mandatory list of child_abuse") {
		t.Errorf("Build without the mandatory list = %q, %v, want a refusal that names it", done.Said, err)
	}
	b.listed("bad-3.example", policy.ChildAbuse)
}

// A list cut short on its way waits for a person.
func TestBuildOfHalfTheNamesIsHeldBack(t *testing.T) { // T16, F8
	b, write := localBox(t, localFeeds+localFloor)
	if _, err := b.build(); err != nil {
		t.Fatal(err)
	}
	write("bets.txt", names("bet", 30))
	done, err := b.build()
	if err != nil || done.Held == nil || !strings.Contains(done.Said, "it has 30 names where the lists in force have 200") {
		t.Errorf("Build of fewer names = %q, %v, want it held back", done.Said, err)
	}
	b.listed("bet-150.example", policy.Gambling)
	write("bets.txt", names("bet", 150))
	if done, err := b.build(); err != nil || done.Held != nil {
		t.Errorf("Build of a few names fewer = %q, %v, want it in force", done.Said, err)
	}
	b.unlisted("bet-180.example")
}

// One list of many that broke on the disk is noticed, too: no download of it is ever
// compared with the one before.
func TestALocalListOfAnotherSizeIsHeldBack(t *testing.T) { // T16, F8, F14
	feeds := localFeeds + localFloor + "  - {name: games, path: games.txt, format: domains, category: gaming, kind: public, weight: 1, licence: test}\n"
	for name, c := range map[string]struct {
		bets string
		held bool
	}{
		"cut short":            {names("bet", 60), true},
		"somebody else's":      {names("bet", 200) + names("random", 1500), true},
		"a few names fewer":    {names("bet", 120), false},
		"a few hundred more":   {names("bet", 700), false},
		"cut short a little":   {names("bet", 190), false},
		"of another publisher": {names("other", 200), false}, // of the same length: only the gate would see it
	} {
		t.Run(name, func(t *testing.T) {
			b, write := localBox(t, feeds)
			write("games.txt", names("game", 900))
			if _, err := b.build(); err != nil {
				t.Fatal(err)
			}
			write("bets.txt", c.bets)
			done, err := b.build()
			if err != nil || (done.Held != nil) != c.held {
				t.Errorf("Build = %q, %v, want it held: %v", done.Said, err, c.held)
			}
			if c.held {
				contains(t, "what is said", done.Said, `the list "bets", read from the disk, has`, "have 200 of it")
			}
		})
	}
}

// A publisher sends one entry in place of its list, and its list again the day after.
// What it lost stays beside what it sent; then all is as before, and the box goes on
// taking up what other feeds say: no part of a feed is a list that could be missing.
func TestAFeedThatComesBackWholeIsNoMissingList(t *testing.T) { // T16, I5
	b := newSupplyBox(t, twoFeeds)
	b.publish(names("bet", 20), names("bad", 20))
	b.fetch(FetchRequest{})
	b.publish(names("bet", 20), "other.example\n")
	if _, done := b.fetch(FetchRequest{}); done.Version == 0 {
		t.Fatalf("beside what it lost: %+v", done)
	}
	b.listed("bad-3.example", policy.ChildAbuse)
	b.listed("other.example", policy.ChildAbuse)

	b.publish(names("bet", 21), names("bad", 21))
	if _, done := b.fetch(FetchRequest{}); done.Version == 0 || done.Held != nil {
		t.Errorf("come back whole: %+v", done)
	}
	b.listed("bad-20.example", policy.ChildAbuse)
	b.listed("bet-20.example", policy.Gambling)
	b.unlisted("other.example")

	// Both parts are the one list that two people may take out.
	b.publish(names("bet", 21), "other.example\n")
	b.fetch(FetchRequest{})
	if in, _, err := mandatoryInForce(b.cfg, b.open().dir, b.open().key); err != nil || len(in) != 1 || in["floor"] != 22 {
		t.Errorf("mandatory lists in force = %v, %v, want floor with both parts", in, err)
	}
}
