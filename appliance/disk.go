package appliance

import (
	"errors"
	"fmt"
	"syscall"

	"schoolgate/alerts"
)

// Of the disk that the data lie on, so many parts in a hundred are in use when IT hears
// of it, and when it hears again and what is due for removal goes at once (F3).
const (
	diskFilling = 80
	diskScarce  = 90
)

// disk is the space of a file system, in bytes, as one who is not root sees it.
type disk struct{ free, size uint64 }

func diskOf(dir string) (disk, error) {
	var s syscall.Statfs_t
	if err := syscall.Statfs(dir, &s); err != nil {
		return disk{}, fmt.Errorf("the space left in %s: %w", dir, err)
	}
	if s.Blocks == 0 {
		return disk{}, fmt.Errorf("the space left in %s: its file system does not tell", dir)
	}
	used := s.Blocks - s.Bfree
	return disk{free: s.Bavail * uint64(s.Bsize), size: (used + s.Bavail) * uint64(s.Bsize)}, nil
}

// used is in a hundred, rounded up: a disk with no space left is 100.
func (d disk) used() int {
	if d.size == 0 {
		return 100
	}
	return 100 - int(100*d.free/d.size)
}

// diskCheck warns while the box works: it is unready once it can no longer record, and
// that the journal's own check says.
func (a *Appliance) diskCheck() Check {
	d, err := diskOf(a.box().Data)
	if err != nil {
		return Check{Name: "disk", Say: "where the data lie", Err: err}
	}
	say := fmt.Sprintf("%d%% in use, %.1f GB free", d.used(), float64(d.free)/1e9)
	switch {
	case d.free == 0:
		return Check{Name: "disk", Say: say, Err: errors.New("full: nobody is served whose requests cannot be recorded; make room")}
	case d.used() >= diskFilling:
		say += ": make room before it is full, since then nobody is served"
	}
	return Check{Name: "disk", Say: say}
}

// diskNotices tell IT that the disk fills, and again when there is little left.
func (a *Appliance) diskNotices() []alerts.Notice {
	d, err := diskOf(a.box().Data)
	if err != nil || d.used() < diskFilling { // readiness says why it cannot be told
		return nil
	}
	return []alerts.Notice{{Kind: alerts.NoticeDisk, Count: d.used()}}
}
