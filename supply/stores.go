package supply

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"schoolgate/blocklists"
	"schoolgate/categories"
	"schoolgate/configs"
	"schoolgate/control"
)

// BuildStore builds a store of feeds and says what came of it. With b.Out it is
// that file. Without, it is the next version of the box's own store, which is
// put in force unless the gate holds it back, and a running appliance is asked
// to take it up. Feeds with an address are read from their fetched copies.
func BuildStore(ctx context.Context, cfg *configs.Config, b ListsBuild) (ListsReport, string, error) {
	if b.Out != "" {
		b.Parsed = filepath.Dir(b.Out)
		return BuildFile(ctx, cfg, b)
	}
	s, err := Open(cfg, Options{Feeds: b.Feeds, Log: b.Log})
	if err != nil {
		return ListsReport{}, "", err
	}
	defer s.Close()
	done, err := s.Build(ctx, b.Progress, b.Refused)
	if err == nil && done.Held != nil {
		err = fmt.Errorf("%w: %s", ErrHeld, done.Said)
	}
	return done.Report, done.Said, err
}

// ErrHeld: a version was built and is not in force before a person releases it.
var ErrHeld = errors.New("held back")

// BuildFile builds a store of feeds in the file b.Out alone, under the key in its
// folder. Feeds with an address are read from their fetched copies.
func BuildFile(ctx context.Context, cfg *configs.Config, b ListsBuild) (ListsReport, string, error) {
	folder := filepath.Dir(b.Out)
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return ListsReport{}, "", err
	}
	var err error
	if b.Feeds, err = readable(cfg, b.Feeds); err != nil {
		return ListsReport{}, "", err
	}
	if b.Key, err = categories.StoreKey(folder); err != nil {
		return ListsReport{}, "", err
	}
	b.Version = uint64(time.Now().Unix()) // a file of its own: later is higher
	report, err := BuildLists(ctx, b)
	return report, "store written: " + b.Out, err
}

// readable gives feeds with their fetched copies in place of their addresses.
func readable(cfg *configs.Config, feeds []blocklists.Feed) ([]blocklists.Feed, error) {
	if !slices.ContainsFunc(feeds, func(f blocklists.Feed) bool { return f.Remote.URL != "" }) {
		return feeds, nil
	}
	s, err := Open(cfg, Options{Feeds: feeds})
	if err != nil {
		return nil, err
	}
	defer s.Close()
	read, missing := s.material(s.wanted())
	if len(missing) > 0 {
		return nil, fmt.Errorf("never fetched: %s (run schoolgate lists fetch)", strings.Join(missing, ", "))
	}
	return read, nil
}

// takenUp asks a running appliance to reload, and says how it stands.
func takenUp(ctx context.Context, cfg *configs.Config) (string, error) {
	said, err := control.Reload(ctx, cfg.Box.Data)
	if errors.Is(err, control.ErrNotRunning) {
		return "it will be in force when the appliance starts", nil
	}
	return said, err
}

// boxStores are the versions of the box's own store, and their key.
func boxStores(cfg *configs.Config) (*categories.Dir, []byte, error) {
	key, err := Key(cfg.Box)
	if err != nil {
		return nil, nil, err
	}
	dir, err := categories.OpenDir(cfg.Box.Lists.Store)
	if err != nil {
		return nil, nil, fmt.Errorf("category store: %w", err)
	}
	return dir, key, nil
}

// Rollback puts an older version of the box's store in force, once it has been
// read in full.
func Rollback(ctx context.Context, cfg *configs.Config, version uint64) (string, error) {
	dir, key, err := boxStores(cfg)
	if err != nil {
		return "", err
	}
	versions, err := dir.Versions()
	if err != nil {
		return "", fmt.Errorf("category store: %w", err)
	}
	if !slices.Contains(versions, version) {
		return "", fmt.Errorf("category store: there is no version %d; kept are %v", version, versions)
	}
	if err := mayGoBack(cfg, dir, key, version); err != nil {
		return "", err
	}
	if err := noteGoingBack(cfg.Box.Lists.Store, dir); err != nil {
		return "", fmt.Errorf("category store: %w", err)
	}
	if err := dir.Rollback(version, key); err != nil {
		return "", fmt.Errorf("category store: %w", err)
	}
	if err := noteFloorOf(cfg.Box.Lists.Store, key, dir.Path(version)); err != nil {
		return "", err
	}
	said, err := takenUp(ctx, cfg)
	return fmt.Sprintf("back to store %d; %s", version, said), err
}

// OpenStore opens the store that a command looks into: the file named, or the
// one in force on the box, or else the starter lists. Call done when finished.
func OpenStore(ctx context.Context, cfg *configs.Config, path string) (_ *categories.Store, done func(), err error) {
	return openForReading(ctx, cfg.Box, path)
}

// PrintStatus says which lists a store was built of and how old they are.
func PrintStatus(out io.Writer, info categories.Info, now time.Time) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "%s\n\n", Summary(info, now))
	fmt.Fprintln(w, "source\tentries\tdate\tage\tlicence")
	for _, s := range info.Sources {
		fmt.Fprintf(w, "%s\t%d\t%s\t%s\t%s\n", s.Name, s.Entries, s.Date.Format(time.DateOnly), Age(now.Sub(s.Date)), s.Licence)
	}
	return w.Flush()
}
