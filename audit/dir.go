package audit

// Dir is a journal on disk, to be read: also while a process writes it, and
// also without its keys, which Verify does not need.
type Dir struct {
	Path    string
	KeyFile string // as Options.KeyFile
}

// keyring is the journal's keys, to read with.
func (d Dir) keyring() (*keyring, error) {
	return openKeyring(osDisk{}, d.Path, d.KeyFile, false)
}
