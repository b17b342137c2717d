package incidents

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"schoolgate/audit"
	"schoolgate/policy"
)

// folder is the register of incidents, in the data directory: a journal of its own
// beside that of browsing, with keys of its own (R41).
const folder = "incidents"

// In is the journal of the register of the box whose data directory is data.
func In(data string) audit.Dir { return audit.Dir{Path: filepath.Join(data, folder)} }

// OpenRegister opens the register of a box for one who adds to it. Call done when finished.
func OpenRegister(data string) (_ *Register, done func() error, err error) {
	dir := In(data)
	journal, err := audit.Open(dir.Path, audit.Options{Durability: audit.Strict})
	if err != nil {
		return nil, nil, fmt.Errorf("register of incidents: %w", err)
	}
	return Read(dir.Search(context.Background(), audit.Query{}), journal), journal.Close, nil
}

// ReadRegister is the register of a box as it is now, to be read.
func ReadRegister(ctx context.Context, data string) (*Register, error) {
	dir := In(data)
	if _, err := os.Stat(dir.Path); errors.Is(err, os.ErrNotExist) {
		return Read(func(func(policy.Event, error) bool) {}, nil), nil
	}
	return Read(dir.Search(ctx, audit.Query{}), nil), nil
}
