// Package durable puts files in place so that a power cut leaves the old one or the new
// one, whole, under its name (fault F1). A file system keeps that promise only if both
// the file and the folder that names it are synced.
package durable

import (
	"errors"
	"os"
	"path/filepath"
)

// Replace puts data in the place of what path names, if anything, for its owner alone to
// read. Until it is whole it has a name made of temp, as [os.CreateTemp] makes one, in
// the same folder; a crash can leave that behind, and whoever calls knows it by temp.
// When it returns nil, a power cut does not lose the file.
func Replace(path, temp string, data []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), temp)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return SyncDir(filepath.Dir(path))
}

// SyncDir has the names in a folder, new, changed and gone, outlive a power cut.
func SyncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
