package supply

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"schoolgate/blocklists"
	"schoolgate/categories"
	"schoolgate/internal/durable"
)

// inputs are the copies of fetched feeds that a store is built of: feed → sums.
type inputs map[string][]string

func (in inputs) equal(other inputs) bool {
	return other != nil && maps.EqualFunc(in, other, slices.Equal)
}

// split takes the mandatory feeds apart from the others.
func (s *Supply) split(in inputs) (mandatory, others inputs) {
	mandatory, others = inputs{}, inputs{}
	for i := range s.feeds {
		f := &s.feeds[i]
		switch sums, ok := in[f.Name]; {
		case ok && f.Kind == blocklists.Mandatory:
			mandatory[f.Name] = sums
		case ok:
			others[f.Name] = sums
		}
	}
	return mandatory, others
}

// samePublic reports whether two versions differ in mandatory feeds only.
func (s *Supply) samePublic(a, b inputs) bool {
	_, one := s.split(a)
	_, other := s.split(b)
	return one.equal(other)
}

// pinned is the content that public feeds have in one version with the newest
// that mandatory feeds have.
func (s *Supply) pinned(public, newest inputs) inputs {
	mandatory, _ := s.split(newest)
	_, others := s.split(public)
	maps.Copy(others, mandatory)
	return others
}

// wanted is what a store would be built of now: the good copies.
func (s *Supply) wanted() inputs {
	in := inputs{}
	for i := range s.feeds {
		f := &s.feeds[i]
		if f.Remote.URL == "" {
			continue
		}
		state, err := s.cache.State(f)
		if err != nil {
			s.log.Warn("the state of a feed's copies is damaged, it will be fetched anew", "feed", f.Name, "err", err)
		}
		if sums := state.Sums(); len(sums) > 0 {
			in[f.Name] = sums
		}
	}
	return in
}

// material is the feeds that a build of some inputs reads, and those that have
// nothing to read.
func (s *Supply) material(in inputs) (read []blocklists.Feed, missing []string) {
	for _, f := range s.feeds {
		sums := in[f.Name]
		if sums == nil {
			sums = []string{}
		}
		copies, none := s.cache.Read(f, sums)
		if none {
			missing = append(missing, f.Name)
		}
		read = append(read, copies...)
	}
	return read, missing
}

// manifestOf is where it is written what a version was built of.
func manifestOf(store string) string { return strings.TrimSuffix(store, ".db") + ".inputs.json" }

// maxManifest bounds a manifest, in bytes.
const maxManifest = 4 << 20

// builtOf reads what a version was built of; nil if that is not known.
func (s *Supply) builtOf(version uint64) inputs {
	var in inputs
	if err := readJSON(manifestOf(s.dir.Path(version)), &in); err != nil && !errors.Is(err, fs.ErrNotExist) {
		s.log.Warn("what a store was built of cannot be read, it will be built anew", "version", version, "err", err)
	}
	return in
}

// current is the version in force, 0 for none, and what it was built of.
func (s *Supply) current() (uint64, inputs, error) {
	version, err := s.dir.Current()
	if errors.Is(err, categories.ErrNoStore) {
		return 0, nil, nil
	}
	if err != nil {
		return 0, nil, err
	}
	return version, s.builtOf(version), nil
}

// wentBack is written by a rollback: the content of the version that a person
// went back from. It speaks for as long as public feeds say the same.
const wentBack = "went-back.json"

// noteGoingBack keeps the content that a person goes back from, so that it is
// not put in force again until there is new content.
func noteGoingBack(storeDir string, dir *categories.Dir) error {
	current, err := dir.Current()
	if err != nil {
		return err
	}
	var in inputs
	if err := readJSON(manifestOf(dir.Path(current)), &in); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return nil // built of no fetched feed
		}
		return err
	}
	return writeJSON(filepath.Join(storeDir, wentBack), in)
}

// passedOver reports whether a person went back from a version of this content.
func (s *Supply) passedOver(want inputs) bool {
	var left inputs
	if err := readJSON(filepath.Join(s.cfg.Box.Lists.Store, wentBack), &left); err != nil {
		return false
	}
	return s.samePublic(left, want)
}

// neededCopies are the copies that kept versions are built of, as "feed sum", so
// that any of them can be built again with newer mandatory lists.
func (s *Supply) neededCopies() (map[string]bool, error) {
	versions, err := s.dir.Versions()
	if err != nil {
		return nil, err
	}
	needed := map[string]bool{}
	note := func(in inputs) {
		for feed, sums := range in {
			for _, sum := range sums {
				needed[feed+" "+sum] = true
			}
		}
	}
	kept := map[string]bool{}
	for _, v := range versions {
		kept[manifestOf(s.dir.Path(v))] = true
		note(s.builtOf(v))
	}
	if held, err := s.held(); err == nil && held != nil {
		note(held.Inputs)
	}
	manifests, err := filepath.Glob(filepath.Join(s.cfg.Box.Lists.Store, "store-*.inputs.json"))
	for _, m := range manifests {
		if !kept[m] {
			err = errors.Join(err, os.Remove(m))
		}
	}
	return needed, err
}

func readJSON(path string, to any) error {
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	if info.Size() > maxManifest {
		return fmt.Errorf("%s: more than %d bytes", path, maxManifest)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(text, to); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}

// writeJSON writes a file whole or not at all, durably.
func writeJSON(path string, from any) (err error) {
	text, err := json.MarshalIndent(from, "", "  ")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	return durable.Replace(path, filepath.Base(path)+".tmp-*", append(text, '\n'))
}
