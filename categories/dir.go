package categories

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"schoolgate/internal/durable"
)

// Dir keeps the versions of a store: store-<version>.db, and a file "current"
// that names the one in force. Both change only by rename, so that a kill or a
// power cut leaves the old state or the new one.
type Dir struct{ path string }

// Keep is how many versions a Dir keeps: the current one and those to go back to.
const Keep = 3

const (
	currentName  = "current"
	buildingMark = ".building-"
)

// OpenDir opens a directory of versions, and makes it if there is none.
func OpenDir(path string) (*Dir, error) {
	if err := os.MkdirAll(path, 0o700); err != nil {
		return nil, fmt.Errorf("category store versions: %w", err)
	}
	return &Dir{path: path}, nil
}

// Path is where a version lies, or will.
func (d *Dir) Path(version uint64) string {
	return filepath.Join(d.path, fmt.Sprintf("store-%d.db", version))
}

// Versions lists what is there, the newest first.
func (d *Dir) Versions() ([]uint64, error) {
	entries, err := os.ReadDir(d.path)
	if err != nil {
		return nil, fmt.Errorf("category store versions: %w", err)
	}
	var versions []uint64
	for _, e := range entries {
		digits, ok := strings.CutPrefix(e.Name(), "store-")
		digits, ok2 := strings.CutSuffix(digits, ".db")
		if v, err := strconv.ParseUint(digits, 10, 64); ok && ok2 && err == nil && v > 0 {
			versions = append(versions, v)
		}
	}
	slices.Sort(versions)
	slices.Reverse(versions)
	return versions, nil
}

// Next is a number above every version ever put in force here.
func (d *Dir) Next() (uint64, error) {
	versions, err := d.Versions()
	if err != nil {
		return 0, err
	}
	last, err := d.Current()
	if err != nil && !errors.Is(err, ErrNoStore) {
		return 0, err
	}
	if len(versions) > 0 {
		last = max(last, versions[0])
	}
	return last + 1, nil
}

// ErrNoStore: no version is in force.
var ErrNoStore = errors.New("no category store")

// Current is the version in force.
func (d *Dir) Current() (uint64, error) {
	text, err := os.ReadFile(filepath.Join(d.path, currentName))
	if errors.Is(err, fs.ErrNotExist) {
		return 0, ErrNoStore
	}
	if err != nil {
		return 0, fmt.Errorf("category store versions: %w", err)
	}
	v, err := strconv.ParseUint(strings.TrimSpace(string(text)), 10, 64)
	if err != nil || v == 0 {
		return 0, fmt.Errorf("%w: %s names no version", ErrNoStore, filepath.Join(d.path, currentName))
	}
	return v, nil
}

// Publish puts a finished version in force and removes what is no longer kept,
// as well as what dead builds left.
func (d *Dir) Publish(version uint64) error {
	if err := d.point(version); err != nil {
		return err
	}
	return d.prune(version)
}

// Rollback puts an older version in force, once it has been read in full.
func (d *Dir) Rollback(version uint64, key []byte) error {
	if _, err := Verify(d.Path(version), key); err != nil {
		return fmt.Errorf("going back to version %d: %w", version, err)
	}
	return d.point(version)
}

func (d *Dir) point(version uint64) error {
	if _, err := os.Stat(d.Path(version)); err != nil {
		return fmt.Errorf("category store version %d: %w", version, err)
	}
	if err := replaceFile(filepath.Join(d.path, currentName), []byte(strconv.FormatUint(version, 10)+"\n")); err != nil {
		return fmt.Errorf("category store version %d: %w", version, err)
	}
	return nil
}

// replaceFile writes a file whole or not at all, durably, over what was there.
func replaceFile(path string, data []byte) error {
	return durable.Replace(path, filepath.Base(path)+buildingMark+"*", data)
}

// prune keeps the current version and the newest others. A store that somebody
// still has open stays readable to them: its name goes, its pages do not.
func (d *Dir) prune(current uint64) error {
	versions, err := d.Versions()
	if err != nil {
		return err
	}
	kept := 1
	for _, v := range versions {
		if v == current {
			continue
		}
		if kept++; kept <= Keep {
			continue
		}
		err = errors.Join(err, os.Remove(d.Path(v)))
	}
	return errors.Join(err, d.sweep())
}

// sweep removes files of builds that died: those that nobody holds the lock of.
func (d *Dir) sweep() error {
	left, err := filepath.Glob(filepath.Join(d.path, "*"+buildingMark+"*"))
	if err != nil {
		return err
	}
	for _, path := range left {
		f, openErr := os.Open(path)
		if openErr != nil {
			continue // gone by itself
		}
		if syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) == nil {
			err = errors.Join(err, os.Remove(path))
		}
		err = errors.Join(err, f.Close())
	}
	return err
}

// Skipped is a version that could not be opened.
type Skipped struct {
	Version uint64
	Err     error
}

// OpenLastGood opens the version in force, or, where that is damaged, the newest
// other one that is not. It says what it passed over. The files stay where they
// are, for a person to look at.
func (d *Dir) OpenLastGood(key []byte, options ...Option) (*Store, []Skipped, error) {
	current, err := d.Current()
	if err != nil && !errors.Is(err, ErrNoStore) {
		return nil, nil, err
	}
	versions, err := d.Versions()
	if err != nil {
		return nil, nil, err
	}
	order := slices.DeleteFunc(slices.Clone(versions), func(v uint64) bool { return v == current })
	if current != 0 {
		order = append([]uint64{current}, order...)
	}
	var skipped []Skipped
	for _, v := range order {
		s, err := Open(d.Path(v), key, options...)
		if err == nil {
			return s, skipped, nil
		}
		skipped = append(skipped, Skipped{v, err})
		if errors.Is(err, ErrKey) {
			// An older version without mandatory lists would open: that is no last good one.
			return nil, skipped, err
		}
	}
	return nil, skipped, ErrNoStore
}
