package blocklists

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"schoolgate/internal/durable"
)

// Cache keeps what was fetched: for each feed a folder with the copy that builds
// read, and a state file that names it. A copy's file is named by its content
// and never changes; the state changes only by rename. So a kill or a power cut
// at any moment leaves the last good copy or the new one, and at most a file
// that the next Sweep removes.
type Cache struct {
	dir string
	// step is called before each thing done to the disk; tests fail or kill there.
	step func(what string) error
}

const (
	stateName = "state.json"
	copyEnd   = ".list"
	partEnd   = ".part"
	lockName  = "lock"
)

// OpenCache opens the folder of fetched lists, and makes it if there is none.
func OpenCache(dir string) (*Cache, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("fetched lists: %w", err)
	}
	return &Cache{dir: dir, step: func(string) error { return nil }}, nil
}

// ErrBusy: another process is fetching or building.
var ErrBusy = errors.New("another fetch or build of lists is under way")

// Lock keeps others from fetching and building, in this process and in others,
// until unlock is called. The kernel gives it free when a process dies.
func (c *Cache) Lock() (unlock func() error, err error) {
	f, err := os.OpenFile(filepath.Join(c.dir, lockName), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("fetched lists: %w", err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		if errors.Is(err, syscall.EWOULDBLOCK) {
			err = ErrBusy
		}
		return nil, errors.Join(err, f.Close())
	}
	return f.Close, nil
}

// Copy is one version of a feed's content.
type Copy struct {
	SHA256  string    `json:"sha256"`
	Size    int64     `json:"size"`
	Entries int64     `json:"entries"`
	Added   int64     `json:"added"`   // entries that the version before did not have
	Removed int64     `json:"removed"` // entries of the version before that are gone
	Fetched time.Time `json:"fetched"`
	Validators
}

// State is all that is known of a fetched feed.
type State struct {
	Feed string `json:"feed"`
	URL  string `json:"url"`
	// Good is the copy that builds read; nil before the first download.
	Good *Copy `json:"good,omitempty"`
	// Beside is a copy of a mandatory feed that lost more entries than its limit.
	// Builds read both: what it adds is blocked at once, and what it drops stays
	// blocked until a person accepts it or a later version says otherwise.
	Beside *Copy `json:"beside,omitempty"`
	// Whole is when the whole list of a feed with deltas was last asked for, and Delta
	// the last that the good copy has taken in.
	Whole time.Time `json:"whole,omitzero"`
	Delta *Delta    `json:"delta,omitempty"`
	// Fresh is when the content was last known to be what the publisher has.
	Fresh    time.Time `json:"fresh,omitzero"`
	Tried    time.Time `json:"tried,omitzero"`
	Outcome  string    `json:"outcome,omitempty"` // of the last try, in words
	Failures int       `json:"failures,omitempty"`
	After    time.Time `json:"after,omitzero"` // the publisher asked not to be bothered before
}

func (c *Cache) folder(feed string) string { return filepath.Join(c.dir, feed) }

// maxState bounds a state file, in bytes.
const maxState = 64 << 10

// State reads a feed's state. A feed never fetched has an empty one, and so has
// one whose state file is damaged, which the error tells: it is fetched anew.
func (c *Cache) State(f *Feed) (State, error) {
	empty := State{Feed: f.Name, URL: f.Remote.URL}
	path := filepath.Join(c.folder(f.Name), stateName)
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return empty, nil
	}
	if err == nil && info.Size() > maxState {
		err = fmt.Errorf("more than %d bytes", maxState)
	}
	var text []byte
	if err == nil {
		text, err = os.ReadFile(path)
	}
	s := State{}
	if err == nil {
		err = json.Unmarshal(text, &s)
	}
	for _, have := range []*Copy{s.Good, s.Beside} {
		if err == nil && have != nil {
			err = c.whole(f, have)
		}
	}
	if err != nil {
		return empty, fmt.Errorf("feed %q: state of its copies: %w", f.Name, err)
	}
	return s, nil
}

// whole makes sure that a copy's name is one of ours and its file is there, in
// full. Its content was checked when it was kept.
func (c *Cache) whole(f *Feed, have *Copy) error {
	if !hexSum.MatchString(have.SHA256) {
		return fmt.Errorf("bad checksum %q", have.SHA256)
	}
	info, err := os.Stat(c.Path(f, have.SHA256))
	if err == nil && info.Size() != have.Size {
		err = fmt.Errorf("the copy has %d bytes, not %d", info.Size(), have.Size)
	}
	return err
}

// Path is where the copy with that content lies.
func (c *Cache) Path(f *Feed, sum string) string {
	return filepath.Join(c.folder(f.Name), sum+copyEnd)
}

// SetState writes a feed's state, whole or not at all.
func (c *Cache) SetState(f *Feed, s State) (err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("feed %q: state of its copies: %w", f.Name, err)
		}
	}()
	s.Feed, s.URL = f.Name, f.Remote.URL
	text, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return err
	}
	p, err := c.part(f)
	if err != nil {
		return err
	}
	defer p.drop()
	if _, err := p.Write(append(text, '\n')); err != nil {
		return err
	}
	return p.keep(stateName)
}

// part is a file being written, in the folder where it will be kept.
type part struct {
	*os.File
	cache *Cache
	done  bool
}

func (c *Cache) part(f *Feed) (*part, error) {
	if err := c.step("create a part"); err != nil {
		return nil, err
	}
	folder := c.folder(f.Name)
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return nil, err
	}
	tmp, err := os.CreateTemp(folder, "*"+partEnd)
	return &part{File: tmp, cache: c}, err
}

func (p *part) Write(b []byte) (int, error) {
	if err := p.cache.step("write"); err != nil {
		return 0, err
	}
	return p.File.Write(b)
}

// settle puts what was written on the disk and closes the file.
func (p *part) settle() error {
	err := p.cache.step("sync")
	if err == nil {
		err = p.Sync()
	}
	return errors.Join(err, p.Close())
}

// keep puts the file on the disk under its name, durably.
func (p *part) keep(name string) error {
	if err := p.settle(); err != nil {
		return err
	}
	return p.name(name)
}

func (p *part) name(name string) error {
	if err := p.cache.step("rename to " + name); err != nil {
		return err
	}
	folder := filepath.Dir(p.Name())
	if err := os.Rename(p.Name(), filepath.Join(folder, name)); err != nil {
		return err
	}
	p.done = true
	if err := p.cache.step("sync the folder"); err != nil {
		return err
	}
	return durable.SyncDir(folder)
}

// drop removes the file unless it was kept. What cannot be removed is swept.
func (p *part) drop() {
	if !p.done {
		_ = p.Close()           // closed already, as a rule
		_ = os.Remove(p.Name()) // Sweep takes what stays
	}
}

// Sweep removes copies that nobody refers to and parts of downloads that died.
// needed reports whether some store is built of a copy. Call it under the lock.
func (c *Cache) Sweep(feeds []Feed, needed func(feed, sum string) bool) error {
	var errs []error
	for i := range feeds {
		f := &feeds[i]
		if f.Remote.URL == "" {
			continue
		}
		state, err := c.State(f)
		if err != nil {
			continue // damaged: nothing says what may go
		}
		errs = append(errs, c.sweepOne(f, state, needed))
	}
	return errors.Join(errs...)
}

func (c *Cache) sweepOne(f *Feed, s State, needed func(feed, sum string) bool) error {
	entries, err := os.ReadDir(c.folder(f.Name))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	var errs []error
	for _, e := range entries {
		sum, isCopy := strings.CutSuffix(e.Name(), copyEnd)
		named := slices.ContainsFunc([]*Copy{s.Good, s.Beside}, func(have *Copy) bool { return have != nil && have.SHA256 == sum }) ||
			s.Delta != nil && s.Delta.SHA256 == sum
		if strings.HasSuffix(e.Name(), partEnd) || isCopy && !named && !needed(f.Name, sum) {
			errs = append(errs, os.Remove(filepath.Join(c.folder(f.Name), e.Name())))
		}
	}
	return errors.Join(append(errs, err)...)
}

// newerPart ends the name of the source that holds what a feed has gained, while
// what it lost at once is kept beside it. No feed may be called like that.
const newerPart = " (newer)"

// FeedOf gives the name of the feed that a source of a store comes from. A feed is
// two sources while it stands beside what it lost, and one again afterwards: neither
// is a list of its own that could be missing.
func FeedOf(source string) string { return strings.TrimSuffix(source, newerPart) }

// Read is the feed as builds read it: its copies instead of its address. sums
// are those a build is made of; nil takes the copies in the state. A feed that
// was never fetched is read from its path, if it has one, and else is missing.
func (c *Cache) Read(f Feed, sums []string) (read []Feed, missing bool) {
	if f.Remote.URL == "" {
		return []Feed{f}, false
	}
	state, _ := c.State(&f) // a damaged state names no copy
	if sums == nil {
		sums = state.Sums()
	}
	for i, sum := range sums {
		one := f
		one.Path = c.Path(&f, sum)
		if info, err := os.Stat(one.Path); err != nil || !info.Mode().IsRegular() {
			return nil, true
		}
		one.Date = state.dateOf(sum, f.Date)
		if i > 0 {
			one.Name = f.Name + newerPart
		}
		read = append(read, one)
	}
	if len(read) == 0 && f.Path != "" {
		return []Feed{f}, false
	}
	return read, len(read) == 0
}

// Sums are the contents that builds read.
func (s State) Sums() []string {
	var sums []string
	for _, have := range []*Copy{s.Good, s.Beside} {
		if have != nil {
			sums = append(sums, have.SHA256)
		}
	}
	return sums
}

func (s State) dateOf(sum string, otherwise time.Time) time.Time {
	if !s.Fresh.IsZero() && s.Good != nil && s.Good.SHA256 == sum {
		return s.Fresh
	}
	for _, have := range []*Copy{s.Good, s.Beside} {
		if have != nil && have.SHA256 == sum {
			return have.Fetched
		}
	}
	return otherwise
}

// Forget drops all that is known of a feed, so that it is fetched anew.
func (c *Cache) Forget(f *Feed) error {
	err := os.Remove(filepath.Join(c.folder(f.Name), stateName))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}
