package audit

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
)

// reserveFile is space kept aside. Freed when the disk is full, it lets the
// school go on recording while a person makes room.
const reserveFile = "reserve"

// reserve takes the reserve, if there is none and at least as much again would
// stay free. A disk without that much room goes without, and says so.
func (j *Journal) reserve() {
	name := filepath.Join(j.dir, reserveFile)
	if info, err := os.Stat(name); j.opts.Reserve <= 0 || err == nil && info.Size() >= j.opts.Reserve {
		return
	}
	if free, err := freeBytes(j.dir); err != nil || free < 2*uint64(j.opts.Reserve) {
		j.log.Warn("no reserve for a full disk", "free", free, "err", err)
		return
	}
	if err := j.disk.Allocate(name, j.opts.Reserve); err != nil {
		err = errors.Join(err, removeIfThere(j.disk, name))
		j.log.Warn("no reserve for a full disk", "err", err)
	}
}

// freeReserve gives the reserve back to a full disk; false if there was none.
func (j *Journal) freeReserve() bool {
	if j.opts.Reserve <= 0 || j.disk.Remove(filepath.Join(j.dir, reserveFile)) != nil {
		return false
	}
	j.log.Error("disk full: the journal lives on its reserve now", "bytes", j.opts.Reserve)
	return true
}

func freeBytes(dir string) (uint64, error) {
	var s syscall.Statfs_t
	err := syscall.Statfs(dir, &s)
	return s.Bavail * uint64(s.Bsize), err
}
