package supply

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"schoolgate/blocklists"
	"schoolgate/categories"
	"schoolgate/configs"
	"schoolgate/policy"
	"schoolgate/redaction"
)

// openForReading opens a store without touching the box's own.
func openForReading(ctx context.Context, box configs.Box, path string) (*categories.Store, func(), error) {
	nothing := func() {}
	if path != "" {
		store, err := openStoreFile(path)
		return store, nothing, err
	}
	store, damaged, err := LastGood(box)
	switch {
	case err != nil && len(damaged) > 0:
		return nil, nil, fmt.Errorf("category store: no version can be read: %w", damaged[0].Err)
	case errors.Is(err, categories.ErrNoStore):
		return openStarter(ctx)
	}
	return store, nothing, err
}

// LastGood opens the box's own store for one who only reads it.
func LastGood(box configs.Box) (*categories.Store, []categories.Skipped, error) {
	if _, err := os.Stat(box.Lists.Store); err != nil {
		return nil, nil, categories.ErrNoStore
	}
	dir, err := categories.OpenDir(box.Lists.Store)
	if err != nil {
		return nil, nil, fmt.Errorf("category store: %w", err)
	}
	key, err := categories.ReadingKey(box.Lists.Store)
	if err != nil {
		return nil, nil, err
	}
	return dir.OpenLastGood(key)
}

// openStoreFile opens one store; its key lies beside it.
func openStoreFile(path string) (*categories.Store, error) {
	if _, err := os.Stat(path); err != nil {
		return nil, fmt.Errorf("category store: %w", err)
	}
	key, err := categories.ReadingKey(filepath.Dir(path))
	if err != nil {
		return nil, err
	}
	store, err := categories.Open(path, key)
	if err != nil {
		return nil, fmt.Errorf("category store %s: %w", path, err)
	}
	return store, nil
}

// openStarter builds the starter lists in a temporary folder.
func openStarter(ctx context.Context) (*categories.Store, func(), error) {
	tmp, err := os.MkdirTemp("", "schoolgate-starter-")
	if err != nil {
		return nil, nil, err
	}
	done := func() { _ = os.RemoveAll(tmp) } // a temporary folder left behind harms nobody
	path := filepath.Join(tmp, "starter.db")
	key, err := categories.StoreKey(tmp)
	if err == nil {
		_, err = BuildLists(ctx, ListsBuild{Feeds: blocklists.Starter(), Out: path, Version: 1, Key: key})
	}
	if err != nil {
		done()
		return nil, nil, fmt.Errorf("starter lists: %w", err)
	}
	store, err := categories.Open(path, key)
	if err != nil {
		done()
		return nil, nil, fmt.Errorf("starter lists: %w", err)
	}
	return store, done, nil
}

// StarterOnly reports whether a store holds nothing but the starter lists.
func StarterOnly(info categories.Info) bool {
	for _, s := range info.Sources {
		if !strings.HasPrefix(s.Name, "starter-") {
			return false
		}
	}
	return true
}

// Outdated reports whether a store was built of other starter lists than
// those in this binary: after an upgrade it is built again, or what was put right in
// them would never reach a box that is set up. One without starter lists holds none
// that could be outdated.
func Outdated(info categories.Info) bool {
	starter, now := blocklists.Starter(), starterContent()
	return slices.ContainsFunc(info.Sources, func(s categories.SourceInfo) bool {
		return s.Content != now && slices.ContainsFunc(starter, func(f blocklists.Feed) bool { return f.Name == s.Name })
	})
}

// Key is the key that seals mandatory lists: see [categories.StoreKey].
func Key(box configs.Box) ([]byte, error) {
	if err := os.MkdirAll(box.Lists.Store, 0o700); err != nil {
		return nil, fmt.Errorf("category store: %w", err)
	}
	return categories.StoreKey(box.Lists.Store)
}

// AtRest are the lists of a box for a command that writes itself, since no
// appliance runs that would; nil where none was ever built. Where they cannot be read
// every address is taken for a listed one.
func AtRest(cfg *configs.Config) policy.Classifier {
	store, damaged, err := LastGood(cfg.Box)
	switch {
	case err == nil:
		return categories.Suffixed{Classifier: store}
	case errors.Is(err, categories.ErrNoStore) && len(damaged) == 0:
		return nil
	}
	return redaction.Unreadable{}
}

// Veil is [redaction.Veil] with the lists of a box at rest, which are opened when the
// first event asks for them.
func Veil(cfg *configs.Config) func(*policy.Event) {
	return redaction.Veil(sync.OnceValue(func() policy.Classifier { return AtRest(cfg) }))
}
