package supply

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"schoolgate/blocklists"
	"schoolgate/categories"
	"schoolgate/configs"
	"schoolgate/internal/durable"
)

// A mandatory list leaves the lists in force by a ceremony alone (I5): two people
// and a reason, written down before anything is built and never taken out again.
// Until the list is back the box is red: in lists status, in coverage and on the
// page of readiness.

// Ceremony is the removal of one mandatory list.
type Ceremony struct {
	Time    time.Time `json:"time"`
	Feed    string    `json:"feed"`
	Entries int       `json:"entries"` // how many it had in the lists in force
	Store   uint64    `json:"store"`   // and which version those were
	By      string    `json:"by"`
	By2     string    `json:"by2"`
	Reason  string    `json:"reason"`
	// Back says the contrary: the list came back with a store that a person went
	// back to, and what was said before holds no longer.
	Back bool `json:"back,omitempty"`
}

// String is the ceremony in a line, for whoever must see that a list is gone.
func (c Ceremony) String() string {
	return fmt.Sprintf("the mandatory list %q (%d entries) was removed on %s by %s and %s: %s",
		c.Feed, c.Entries, c.Time.Format("2 January 2006 15:04"), c.By, c.By2, c.Reason)
}

const (
	ceremoniesName = "ceremonies.log"
	maxCeremony    = 500 // letters of a name or a reason
)

func (c Ceremony) check() error {
	same := func(s string) string { return strings.Join(strings.Fields(strings.ToLower(s)), " ") }
	switch {
	case same(c.By) == "" || same(c.By2) == "":
		return errors.New("removing a mandatory list takes two people: --by and --second")
	case same(c.By) == same(c.By2):
		return fmt.Errorf("removing a mandatory list takes two different people, and %q is one", c.By)
	case len(same(c.Reason)) < 10:
		return errors.New("removing a mandatory list takes a reason that can be understood later: --reason")
	}
	for _, text := range []string{c.By, c.By2, c.Reason} {
		if len(text) > maxCeremony || strings.ContainsFunc(text, func(r rune) bool { return r < ' ' || r == 0x7f }) {
			return fmt.Errorf("names and reasons are one line of at most %d letters", maxCeremony)
		}
	}
	return nil
}

// RemoveMandatory writes down that two people take a mandatory list out. The next
// build may then lack it. The feeds are those of that build, which must not name
// it any more.
func RemoveMandatory(cfg *configs.Config, feeds []blocklists.Feed, c Ceremony) error {
	if err := c.check(); err != nil {
		return err
	}
	if slices.ContainsFunc(feeds, func(f blocklists.Feed) bool { return f.Name == c.Feed }) {
		return fmt.Errorf("the feed file still names %q: take it out there first", c.Feed)
	}
	dir, key, err := boxStores(cfg)
	if err != nil {
		return err
	}
	in, version, err := mandatoryInForce(cfg, dir, key)
	if err != nil {
		return err
	}
	entries, ok := in[c.Feed]
	if !ok {
		return fmt.Errorf("no mandatory list %q is in force; there are: %s", c.Feed, strings.Join(slices.Sorted(maps.Keys(in)), ", "))
	}
	if c.Time.IsZero() {
		c.Time = time.Now()
	}
	c.Entries, c.Store = entries, version
	return writeCeremony(cfg.Box.Lists.Store, c)
}

// mandatoryInForce are the mandatory lists of the store in force and those on record,
// which speaks where no version can be read.
func mandatoryInForce(cfg *configs.Config, dir *categories.Dir, key []byte) (in map[string]int, version uint64, err error) {
	floor, ferr := readFloor(cfg.Box.Lists.Store, key)
	in = mandatorySources(floor)
	store, _, err := dir.OpenLastGood(key)
	switch {
	case err == nil:
		maps.Copy(in, mandatorySources(store.Info()))
		return in, max(floor.Version, store.Version()), nil
	case len(in) > 0 && errors.Is(err, categories.ErrNoStore):
		return in, floor.Version, nil
	}
	return nil, 0, fmt.Errorf("category store: %w", errors.Join(err, ferr))
}

// mandatorySources are the mandatory lists of a store, by feed, and how many entries
// each gave it.
func mandatorySources(info categories.Info) map[string]int {
	in := map[string]int{}
	for i := range info.Sources {
		if s := &info.Sources[i]; s.Mandatory && s.Entries > 0 {
			in[blocklists.FeedOf(s.Name)] += s.Entries
		}
	}
	return in
}

func writeCeremony(folder string, c Ceremony) error {
	line, err := json.Marshal(c)
	if err != nil {
		return err
	}
	f, err := os.OpenFile(filepath.Join(folder, ceremoniesName), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return notOnRecord(c, err)
	}
	// A line that a crash cut short is ended first, so that it spoils no other.
	if end, serr := f.Stat(); serr == nil && end.Size() > 0 && !endsLine(f.Name(), end.Size()) {
		line = append([]byte{'\n'}, line...)
	}
	_, err = f.Write(append(line, '\n'))
	if err = errors.Join(err, f.Sync(), f.Close(), durable.SyncDir(folder)); err != nil {
		return notOnRecord(c, err)
	}
	return nil
}

func notOnRecord(c Ceremony, err error) error {
	done := "removed"
	if c.Back {
		done = "gone back"
	}
	return fmt.Errorf("not %s, since it cannot be put on record: %w", done, err)
}

func endsLine(path string, size int64) bool {
	f, err := os.Open(path)
	if err != nil {
		return true
	}
	defer f.Close()
	var last [1]byte
	_, err = f.ReadAt(last[:], size-1)
	return err != nil || last[0] == '\n'
}

// maxCeremoniesFile bounds the record, of a few lines in a box's life.
const maxCeremoniesFile = 1 << 20

// readCeremonies reads the record. A line that cannot be read allows nothing and
// stays red like any other: the record is evidence.
func readCeremonies(folder string) (list []Ceremony, err error) {
	f, err := os.Open(filepath.Join(folder, ceremoniesName))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxCeremoniesFile+1))
	if err != nil {
		return nil, err
	}
	if len(text) > maxCeremoniesFile {
		return nil, fmt.Errorf("%s: more than %s", f.Name(), megabytes(maxCeremoniesFile))
	}
	n := 0
	for line := range bytes.Lines(text) {
		var c Ceremony
		if n++; json.Unmarshal(line, &c) != nil || c.Feed == "" {
			c = Ceremony{Feed: fmt.Sprintf("line %d of %s", n, ceremoniesName), Reason: "the line cannot be read"}
		}
		list = append(list, c)
	}
	return list, nil
}

// RemovedMandatory are the mandatory lists that were taken out by ceremony and are
// not back in the store, the latest ceremony of each.
func RemovedMandatory(cfg *configs.Config, info categories.Info) ([]Ceremony, error) {
	all, err := readCeremonies(cfg.Box.Lists.Store)
	if err != nil {
		return nil, fmt.Errorf("the record of removed mandatory lists: %w", err)
	}
	in, last := mandatorySources(info), map[string]Ceremony{}
	for _, c := range all {
		if _, back := in[c.Feed]; !back && !c.Back {
			last[c.Feed] = c
		}
	}
	var list []Ceremony
	for _, name := range slices.Sorted(maps.Keys(last)) {
		list = append(list, last[name])
	}
	return list, nil
}

// keepsMandatory refuses a store that lacks a mandatory list of the one in force,
// unless two people took it out. Invented lists protect nobody and may go, as long
// as what they stand for is not left without any.
func keepsMandatory(folder string, before, after categories.Info) error {
	all, err := readCeremonies(folder)
	if err != nil {
		return fmt.Errorf("the record of removed mandatory lists: %w", err)
	}
	removed := removedFrom(all, before.Version)
	in := mandatorySources(after)
	for i := range after.Sources {
		if s := &after.Sources[i]; s.Synthetic {
			delete(in, blocklists.FeedOf(s.Name)) // a real list that is now called invented could go at the next build
		}
	}
	asked := map[string]bool{}
	var missing []error
	for i := range before.Sources {
		s := &before.Sources[i]
		feed := blocklists.FeedOf(s.Name)
		if !s.Mandatory || s.Synthetic || s.Entries == 0 || asked[feed] {
			continue
		}
		asked[feed] = true
		if _, still := in[feed]; !still && !removed[feed] {
			missing = append(missing, fmt.Errorf("it lacks the mandatory list %q, which is in force: put it back in the feed file. "+
				"Only two people together may remove it: schoolgate lists build --remove-mandatory %s --by NAME --second NAME --reason TEXT", feed, feed))
		}
	}
	return errors.Join(errors.Join(missing...), floorHolds(withoutRemoved(before, removed), after))
}

// removedFrom are the lists that may be missing from what follows a version. Of a
// list that came back since, in a later version or by going back to an older one,
// a ceremony says nothing.
func removedFrom(all []Ceremony, version uint64) map[string]bool {
	removed := map[string]bool{}
	for _, c := range all {
		removed[c.Feed] = !c.Back && (removed[c.Feed] || c.Store >= version)
	}
	return removed
}

// noteReturns ends the ceremonies of lists that a store brings back which a person
// goes back to. It is on record before the store is in force.
func noteReturns(folder string, info categories.Info) error {
	all, err := readCeremonies(folder)
	if err != nil {
		return fmt.Errorf("the record of removed mandatory lists: %w", err)
	}
	removed, in := removedFrom(all, info.Version), mandatorySources(info)
	for _, name := range slices.Sorted(maps.Keys(in)) {
		if !removed[name] {
			continue
		}
		back := Ceremony{Time: time.Now(), Feed: name, Entries: in[name], Store: info.Version, Back: true, Reason: "lists rollback"}
		if err := writeCeremony(folder, back); err != nil {
			return err
		}
	}
	return nil
}

// mayGoBack refuses an older version that lacks a mandatory list of the one in
// force, and puts on record which lists come back. From a store that cannot be read there is always a way back.
func mayGoBack(cfg *configs.Config, dir *categories.Dir, key []byte, version uint64) error {
	then, err := categories.Open(dir.Path(version), key)
	if err != nil {
		return fmt.Errorf("category store: %w", err)
	}
	defer then.Close()
	now, _, err := dir.OpenLastGood(key)
	if err != nil || StarterOnly(now.Info()) {
		return noteReturns(cfg.Box.Lists.Store, then.Info())
	}
	if err := keepsMandatory(cfg.Box.Lists.Store, now.Info(), then.Info()); err != nil {
		return fmt.Errorf("not back to store %d: %w", version, err)
	}
	return noteReturns(cfg.Box.Lists.Store, then.Info())
}

// withoutRemoved is a store's description without the mandatory categories whose
// every list was taken out by ceremony.
func withoutRemoved(info categories.Info, removed map[string]bool) categories.Info {
	info.Mandatory = maps.Clone(info.Mandatory)
	for c := range info.Mandatory {
		left, gone := false, false
		for i := range info.Sources {
			s := &info.Sources[i]
			if s.Mandatory && s.Categories[c] > 0 {
				out := removed[blocklists.FeedOf(s.Name)]
				left, gone = left || !out, gone || out
			}
		}
		if gone && !left {
			delete(info.Mandatory, c)
		}
	}
	return info
}
