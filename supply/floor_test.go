package supply

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"schoolgate/policy"
)

// damage spoils versions of a box's store, as a bad disk does.
func (b *supplyBox) damage(versions ...uint64) {
	b.Helper()
	for _, v := range versions {
		path := b.open().dir.Path(v)
		text, err := os.ReadFile(path)
		if err != nil {
			b.Fatal(err)
		}
		b.write(path+".spoilt", string(text[:len(text)/2])) // never in place: the file may be mapped
		if err := os.Rename(path+".spoilt", path); err != nil {
			b.Fatal(err)
		}
	}
}

func (b *supplyBox) refusesToBuild(when string) {
	b.Helper()
	before, _ := os.ReadFile(filepath.Join(b.cfg.Box.Lists.Store, "current"))
	defer func() {
		if after, err := os.ReadFile(filepath.Join(b.cfg.Box.Lists.Store, "current")); err != nil || string(after) != string(before) {
			b.Errorf("%s: version %q is in force after %q (%v)", when, after, before, err)
		}
	}()
	if done, err := b.build(); err == nil || !strings.Contains(err.Error(), `lacks the mandatory list "floor"`) {
		b.Errorf("%s: Build without the mandatory list = %q, %v, want a refusal that names it", when, done.Said, err)
	}
}

// A box that can read none of its stores still knows which mandatory lists no build
// may lack.
func TestBuildWithoutAMandatoryListWhenNoStoreCanBeRead(t *testing.T) { // I5, R1
	b, write := localBox(t, localFeeds+localFloor)
	if _, err := b.build(); err != nil {
		t.Fatal(err)
	}
	b.damage(1)
	write("feeds.yaml", localFeeds)
	b.refusesToBuild("no version can be read")
	if err := os.Remove(b.open().dir.Path(1)); err != nil {
		t.Fatal(err)
	}
	b.refusesToBuild("no version is left")
	write("feeds.yaml", localFeeds+localFloor)
	if _, err := b.build(); err != nil {
		t.Fatal(err)
	}
	b.listed("bad-3.example", policy.ChildAbuse)
}

// An older version that can be read does not speak for the one in force.
func TestAnOlderStoreDoesNotSpeakForTheOneInForce(t *testing.T) { // I5
	b, write := localBox(t, localFeeds)
	for _, feeds := range []string{localFeeds, localFeeds + localFloor} {
		write("feeds.yaml", feeds)
		if _, err := b.build(); err != nil {
			t.Fatal(err)
		}
	}
	b.damage(2)
	write("feeds.yaml", localFeeds)
	b.refusesToBuild("the version in force cannot be read")
}

// The ceremony opens the way where no version can be read, and nothing else does: a
// record that somebody rewrote is none.
func TestTheRecordOfMandatoryLists(t *testing.T) { // I5
	b, write := localBox(t, localFeeds+localFloor)
	if _, err := b.build(); err != nil {
		t.Fatal(err)
	}
	record := filepath.Join(b.cfg.Box.Lists.Store, floorRecordName)
	text, err := os.ReadFile(record)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(text), "bad-") {
		t.Error("the record holds entries of a mandatory list")
	}
	write("feeds.yaml", localFeeds)
	b.write(record, strings.ReplaceAll(string(text), `"floor"`, `"other"`))
	b.refusesToBuild("the record was rewritten, and the store can be read")
	b.damage(1)
	for what, bad := range map[string]string{
		"rewritten": strings.ReplaceAll(string(text), `"floor"`, `"other"`), "cut": string(text[:len(text)/2]), "empty": "",
	} {
		b.write(record, bad)
		if done, err := b.build(); err == nil || !strings.Contains(err.Error(), "the record of mandatory lists in force") {
			t.Errorf("%s: Build = %q, %v, want a refusal that names the record", what, done.Said, err)
		}
	}
	b.write(record, string(text))
	b.refusesToBuild("the record is back")
	s := b.open()
	remove := Ceremony{Feed: "floor", By: "A Head", By2: "B Governor", Reason: "the contract has ended"}
	if err := RemoveMandatory(b.cfg, s.feeds, remove); err != nil {
		t.Fatal(err)
	}
	if _, err := b.build(); err != nil {
		t.Errorf("Build after the ceremony: %v", err)
	}
}

// A box of before the record gets one before anything else is done, and so does one
// that goes back to an older version.
func TestTheRecordFollowsTheStore(t *testing.T) { // I5
	b, write := localBox(t, localFeeds)
	for _, feeds := range []string{localFeeds, localFeeds + localFloor, localFeeds + localFloor} {
		write("feeds.yaml", feeds)
		if _, err := b.build(); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Remove(filepath.Join(b.cfg.Box.Lists.Store, floorRecordName)); err != nil {
		t.Fatal(err)
	}
	s := b.open()
	if _, err := s.settle(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	for _, version := range []uint64{3, 2} {
		if floor, err := readFloor(b.cfg.Box.Lists.Store, s.key); err != nil || floor.Version != version || mandatorySources(floor)["floor"] != 20 {
			t.Errorf("on record is %+v, %v, want version %d with its mandatory list", floor, err, version)
		}
		if _, err := Rollback(context.Background(), b.cfg, 2); err != nil {
			t.Fatal(err)
		}
	}
}
