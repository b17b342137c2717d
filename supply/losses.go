package supply

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"

	"schoolgate/categories"
	"schoolgate/policy"
)

// A version may go wrong by what it lacks as well as by what it lists: a feed file
// with a line too few, a local file cut short, a feed that was emptied.

// keptShare is how much of the names in force a new version must still have, in a
// hundred, before a person is asked. Public lists drop names every day, though
// never half of them.
const keptShare = 50

// fewNames may be lost without a question, whatever share they are.
const fewNames = 100

// Bounds of a list that is read from the disk, where no download is compared with
// the one before: it may become this many times as long, unless it stays short.
const (
	localGrowth = 4
	shortList   = 1000
)

// localChanges says which public lists on the disk are suddenly of another size. A
// list that was left out of the feed file was left out by a person.
func localChanges(before, after categories.Info, local map[string]bool) (reasons []string) {
	was := map[string]int{}
	for i := range before.Sources {
		was[before.Sources[i].Name] = before.Sources[i].Entries
	}
	for i := range after.Sources {
		s := &after.Sources[i]
		n, is := was[s.Name], s.Entries
		if n == 0 || !local[s.Name] {
			continue
		}
		shrank := n-is >= fewNames && 100*is < keptShare*n
		grew := is > shortList && is > localGrowth*n && !s.Mandatory
		if shrank || grew {
			reasons = append(reasons, fmt.Sprintf("the list %q, read from the disk, has %d entries where the lists in force have %d of it", s.Name, is, n))
		}
	}
	return reasons
}

// losses says why a version is held back for what it lacks, or nothing.
func losses(before, after categories.Info) []string {
	if was, is := before.Names+before.URLs, after.Names+after.URLs; was-is >= fewNames && 100*is < keptShare*was {
		return []string{fmt.Sprintf("it has %d names where the lists in force have %d", is, was)}
	}
	return nil
}

// floorHolds refuses a version without a mandatory list that the one in force
// holds. No person can release it: nobody may switch those lists off.
func floorHolds(before, after categories.Info) error {
	var errs []error
	for _, c := range slices.Sorted(maps.Keys(before.Mandatory)) {
		if before.Mandatory[c] > 0 && after.Mandatory[c] == 0 {
			errs = append(errs, fmt.Errorf("it has no mandatory list of %s, and the lists in force have one: "+
				"name its feed in the feed file", c))
		}
	}
	return errors.Join(errs...)
}

// keepsFloor compares a candidate with the lists in force, and with the record of
// them: the version in force may be damaged, and an older one speak for it.
func (s *Supply) keepsFloor(c candidate) error {
	before, err := s.inForce()
	if err != nil {
		return err
	}
	next, err := categories.Open(c.path, s.key)
	if err != nil {
		return err
	}
	defer next.Close()
	store, readable := before.(*categories.Store)
	err = s.keepsRecord(readable, next.Info())
	if _, ok := realLists(before); ok {
		err = cmp.Or(keepsMandatory(s.cfg.Box.Lists.Store, store.Info(), next.Info()), err)
	}
	if err != nil {
		return fmt.Errorf("store %d is not put in force: %w", c.version, err)
	}
	return nil
}

// lost is [losses] and [localChanges] against whatever is in force.
func (s *Supply) lost(before policy.Classifier, after *categories.Store) []string {
	store, ok := realLists(before)
	if !ok {
		return nil
	}
	local := map[string]bool{}
	for i := range s.feeds {
		local[s.feeds[i].Name] = s.feeds[i].Remote.URL == ""
	}
	return append(losses(store.Info(), after.Info()), localChanges(store.Info(), after.Info(), local)...)
}

// realLists is the store in force if it is one that can be lost by: the starter
// lists protect nobody, and their mandatory entries are invented.
func realLists(inForce policy.Classifier) (*categories.Store, bool) {
	store, ok := inForce.(*categories.Store)
	return store, ok && !StarterOnly(store.Info())
}
