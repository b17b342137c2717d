package audit

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"schoolgate/internal/durable"
	"schoolgate/policy"
)

// disk is everything the journal changes on disk; tests fail or forget the
// n-th of these calls. Reading goes to the operating system directly.
type disk interface {
	Create(name string) (file, error) // truncates what was there
	Modify(name string) (file, error) // creates what is missing, keeps the rest
	Rename(from, to string) error
	Remove(name string) error
	SyncDir(dir string) error
	Allocate(name string, size int64) error // a file that really takes up its size
}

// file is one file being written.
type file interface {
	WriteAt(p []byte, off int64) (int, error)
	Truncate(size int64) error
	Sync() error
	Close() error
}

// osDisk is the real disk.
type osDisk struct{}

func (osDisk) Create(name string) (file, error) { return openOS(name, os.O_TRUNC) }
func (osDisk) Modify(name string) (file, error) { return openOS(name, 0) }
func (osDisk) Rename(from, to string) error     { return os.Rename(from, to) }
func (osDisk) Remove(name string) error         { return os.Remove(name) }

func (osDisk) SyncDir(dir string) error { return durable.SyncDir(dir) }

func (osDisk) Allocate(name string, size int64) error {
	f, err := os.OpenFile(name, os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	return errors.Join(syscall.Fallocate(int(f.Fd()), 0, 0, size), f.Close())
}

func openOS(name string, flag int) (file, error) {
	f, err := os.OpenFile(name, os.O_CREATE|os.O_RDWR|flag, 0o600)
	if err != nil {
		return nil, err
	}
	return osFile{f}, nil
}

// osFile syncs what is needed to read the data back, and no access times.
type osFile struct{ *os.File }

func (f osFile) Sync() error {
	for {
		if err := syscall.Fdatasync(int(f.Fd())); !errors.Is(err, syscall.EINTR) {
			return os.NewSyscallError("fdatasync", err)
		}
	}
}

// writeWhole puts a small file in place so that a reader sees the old one or
// the new one, whole, also after a power cut.
func writeWhole(d disk, name string, content []byte) error {
	tmp := name + ".tmp"
	f, err := d.Create(tmp)
	if err != nil {
		return err
	}
	_, err = f.WriteAt(content, 0)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = d.Rename(tmp, name)
	}
	if err != nil {
		return errors.Join(err, removeIfThere(d, tmp))
	}
	return d.SyncDir(filepath.Dir(name))
}

func removeIfThere(d disk, name string) error {
	if err := d.Remove(name); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// segments lists the journal's segments in order of their first event.
func segments(dir string) ([]policy.EventID, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var firsts []policy.EventID
	for _, e := range entries {
		if first, ok := parseSegmentName(e.Name()); ok && e.Type().IsRegular() {
			firsts = append(firsts, first)
		}
	}
	slices.Sort(firsts)
	return firsts, nil
}

// ErrLocked: another process is writing this journal.
var ErrLocked = errors.New("in use by another schoolgate: stop that one, or give this one a data folder of its own")

// lockDir holds a journal for one writer. The lock goes with the process,
// however it ends.
func lockDir(dir string) (*os.File, error) {
	name := filepath.Join(dir, "lock")
	f, err := os.OpenFile(name, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	for range 5 { // a reader asking whether the journal is live holds it for a moment
		if err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err == nil {
			return f, nil
		}
		time.Sleep(10 * time.Millisecond)
	}
	return nil, errors.Join(ErrLocked, f.Close())
}

// live reports whether some process is writing the journal now.
func live(dir string) bool {
	f, err := os.Open(filepath.Join(dir, "lock"))
	if err != nil {
		return false
	}
	defer f.Close()
	return syscall.Flock(int(f.Fd()), syscall.LOCK_SH|syscall.LOCK_NB) != nil
}

// dirBytes is the size of the files directly in dir, as far as it can be told.
func dirBytes(dir string) (n int64) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return 0
	}
	for _, e := range entries {
		if info, err := e.Info(); err == nil && info.Mode().IsRegular() {
			n += info.Size()
		}
	}
	return n
}
