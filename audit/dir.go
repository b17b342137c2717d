package audit

import "path/filepath"

// Dir is a journal on disk, to be read: also while a process writes it, and
// also without its keys, which Verify does not need.
type Dir struct {
	Path    string
	KeyFile string // as Options.KeyFile
}

// journalFolder is where the journal lies in a data directory.
const journalFolder = "journal"

// In is the journal of the box whose data directory is data.
func In(data string) Dir { return Dir{Path: filepath.Join(data, journalFolder)} }

// keyring is the journal's keys, to read with.
func (d Dir) keyring() (*keyring, error) {
	return openKeyring(osDisk{}, d.Path, d.KeyFile, false)
}
