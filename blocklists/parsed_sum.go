package blocklists

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
)

// sum is a SHA-256.
type sum [sha256.Size]byte

// program is the SHA-256 of this very program: whatever reads lists, the parsers,
// the public suffixes and the tables of IDNA, is in it. So no reading outlives the
// program that made it, and no version number has to be thought of.
var program = sync.OnceValues(func() (sum, error) {
	path, err := os.Executable()
	if err != nil {
		return sum{}, err
	}
	h := sha256.New()
	f, err := os.Open(path)
	if err != nil {
		return sum{}, err
	}
	if _, err = io.Copy(h, f); err != nil {
		return sum{}, errors.Join(err, f.Close())
	}
	return sum(h.Sum(nil)), f.Close()
})

// errTooMuch: the sources are larger than what a feed may be.
var errTooMuch = errors.New("larger than a feed may be")

// sourceSum is the SHA-256 of all that a reading of a feed depends on: the program,
// what the feed file says of how to read it, and every byte and name of its
// sources. size is that of the sources.
func sourceSum(ctx context.Context, f *Feed) (_ sum, size int64, err error) {
	of, err := program()
	if err != nil {
		return sum{}, 0, err
	}
	h := sha256.New()
	how := []any{of, f.Name, f.Path, f.Format, f.Category, f.Categories, f.Columns, f.Delta, f.Kind, f.Limits}
	if err := json.NewEncoder(h).Encode(how); err != nil {
		return sum{}, 0, err
	}
	s := &sourceHash{ctx: ctx, h: h, limits: f.Limits.orDefault()}
	files, err := newScan(ctx, f, nil, nil).names(f.Path)
	if err == nil && f.Delta != "" {
		files = append(files, f.Delta)
	}
	for _, path := range files {
		if err == nil {
			err = s.path(path)
		}
	}
	return sum(h.Sum(nil)), s.size, err
}

// sourceHash adds files and folders to a sum, never more of them than may be read.
type sourceHash struct {
	ctx    context.Context
	h      hash.Hash
	limits Limits
	files  int
	size   int64
}

func (s *sourceHash) path(path string) error {
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	if info.IsDir() {
		return s.folder(path)
	}
	if !info.Mode().IsRegular() {
		return fmt.Errorf("%s: no regular file", path)
	}
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(s.file(path, f), f.Close())
}

func (s *sourceHash) folder(dir string) error {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	walk := func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if !d.Type().IsRegular() {
			return s.name(filepath.Join(dir, name), d.Type(), 0)
		}
		f, err := root.Open(name)
		if err != nil {
			return err
		}
		return errors.Join(s.file(filepath.Join(dir, name), f), f.Close())
	}
	return errors.Join(fs.WalkDir(root.FS(), ".", walk), root.Close())
}

func (s *sourceHash) name(name string, mode fs.FileMode, size int64) error {
	if s.files++; s.files > s.limits.Members {
		return errTooMuch
	}
	_, err := fmt.Fprintf(s.h, "%q %d %d\n", name, mode, size)
	return err
}

func (s *sourceHash) file(name string, f fs.File) error {
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if s.size += info.Size(); s.size > s.limits.Size {
		return errTooMuch
	}
	if err := s.name(name, 0, info.Size()); err != nil {
		return err
	}
	n, err := io.Copy(s.h, io.LimitReader(underContext{s.ctx, f}, info.Size()))
	if err == nil && n != info.Size() {
		err = io.ErrUnexpectedEOF
	}
	return err
}

// underContext ends with its context.
type underContext struct {
	ctx context.Context
	r   io.Reader
}

func (u underContext) Read(b []byte) (int, error) {
	if err := u.ctx.Err(); err != nil {
		return 0, err
	}
	return u.r.Read(b)
}
