package index

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sort"

	"modernc.org/sqlite/vfs"

	"schoolgate/audit"
	"schoolgate/policy"
)

// Index is the sealed files of a folder and the journal they are made of, to be
// searched. Any number may search while one process runs [Index.Run].
type Index struct {
	dir     string
	journal audit.Dir
	vfs     *vfs.FS
	vfsName string
	files   *openFiles
	turns   chan struct{} // searches that may go on at once
}

// maxSearches bounds searches under way in this process: a search may wait, a
// request must not.
const maxSearches = 2

// Open opens an index for searching. Its folder need not be there yet.
func Open(dir string, journal audit.Dir) (*Index, error) {
	x := &Index{dir: dir, journal: journal, files: &openFiles{}, turns: make(chan struct{}, maxSearches)}
	var err error
	if x.vfsName, x.vfs, err = vfs.New(x.files); err != nil {
		return nil, fmt.Errorf("index: %w", err)
	}
	return x, nil
}

// Close ends the index. No search may be under way.
func (x *Index) Close() error { return x.vfs.Close() }

// stretch is a range of event numbers and the file that holds it; without a
// file, or with why it cannot be used, it is read from the journal.
type stretch struct {
	first, last policy.EventID // last is [endless] for the journal's open end
	file        *head
	why         error
}

const endless = ^policy.EventID(0)

var (
	errMissing = errors.New("its index file is missing")
	errStale   = errors.New("the journal was written anew since its index file was made")
	errGaps    = errors.New("the journal itself could not be read whole")
)

// survey lists what of the journal which file holds, in order and without holes.
// A file that is not sound, or not of this journal as it is now, counts for nothing.
func (x *Index) survey() ([]stretch, error) {
	names, err := os.ReadDir(x.dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	parts, err := x.journal.Parts()
	if err != nil {
		return nil, err
	}
	var list []stretch
	next := policy.EventID(1)
	if len(parts) > 0 {
		next = parts[0].First
	}
	for _, n := range names {
		if filepath.Ext(n.Name()) != fileExt {
			continue
		}
		h, _, err := readHead(filepath.Join(x.dir, n.Name()))
		if err != nil || h.First < next {
			continue // a hole, or a part of one
		}
		if h.First > next && !emptied(parts, next, h.First-1) {
			list = append(list, stretch{first: next, last: h.First - 1, why: errMissing})
		}
		if emptied(parts, h.First, h.Last) { // retention took it all: nothing to ask it
			next = h.Last + 1
			continue
		}
		s := stretch{first: h.First, last: h.Last, file: &h}
		switch {
		case h.Journal != fingerprint(parts, h.First, h.Last):
			s.why = errStale
		case h.Gaps:
			s.why = errGaps
		}
		list, next = append(list, s), h.Last+1
	}
	return append(list, stretch{first: next, last: endless}), nil
}

// fingerprint says which segments hold a range of events, and in which state.
func fingerprint(parts []audit.Part, first, last policy.EventID) string {
	sum := sha256.New()
	i := sort.Search(len(parts), func(i int) bool { return parts[i].First > first })
	for i = max(i-1, 0); i < len(parts) && parts[i].First <= last; i++ {
		sum.Write(parts[i].Hash[:])
	}
	return hex.EncodeToString(sum.Sum(nil)[:16])
}

// emptied reports whether retention has removed all events of a range.
func emptied(parts []audit.Part, first, last policy.EventID) bool {
	i := sort.Search(len(parts), func(i int) bool { return parts[i].First > first })
	if i == 0 {
		return false
	}
	for i--; i < len(parts) && parts[i].First <= last; i++ {
		if !parts[i].Empty {
			return false
		}
	}
	return true
}

// open opens a file's database. Close it with done, and look at its bad pages first.
func (x *Index) open(ctx context.Context, h *head) (_ *database, err error) {
	keys, err := x.journal.Keys()
	if err != nil {
		return nil, err
	}
	s, err := openSealed(filepath.Join(x.dir, h.name()), keys)
	if err != nil {
		return nil, err
	}
	if s.head.Journal != h.Journal || s.head.First != h.First || s.head.Last != h.Last { // replaced since the survey
		return nil, errors.Join(errStale, s.Close())
	}
	return openDatabase(ctx, x, s)
}

// discard takes a damaged file away, so that the maker, which may be another process,
// misses it and makes it again. Where it cannot, the maker finds the damage in a day.
func (x *Index) discard(h *head) {
	path := filepath.Join(x.dir, h.name())
	if now, _, err := readHead(path); err == nil && bytes.Equal(now.Key, h.Key) {
		_ = os.Remove(path)
	}
}

// Status is how far the index has come, for people.
type Status struct {
	Files  int
	Events int
	Bytes  int64
	Last   policy.EventID // the last indexed event
	Redo   []string       // stretches that the journal is asked for, and why
}

// Status looks at every file's head.
func (x *Index) Status() (Status, error) {
	list, err := x.survey()
	if err != nil {
		return Status{}, err
	}
	var st Status
	for _, s := range list {
		switch {
		case s.why != nil:
			st.Redo = append(st.Redo, fmt.Sprintf("%s to %s: %v", s.first, s.last, s.why))
			fallthrough
		case s.file != nil:
			st.Last = s.last
		}
		if s.file != nil && s.why == nil {
			st.Files++
			st.Events += s.file.Events
			st.Bytes += s.file.size()
		}
	}
	return st, nil
}

// removeTmp clears away what a crash left half written.
func removeTmp(dir string) error {
	names, err := filepath.Glob(filepath.Join(dir, "*"+fileExt+".tmp"))
	if err != nil {
		return err
	}
	var errs []error
	for _, name := range names {
		errs = append(errs, os.Remove(name))
	}
	return errors.Join(errs...)
}
