package blocklists

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
)

// Parsed keeps what reading a feed gave, so that a build reads anew only what is
// new. A reading is found again by a sum of all that it depends on ([sourceSum]),
// and believed only with a sum of its own, under the key of this box: one that is
// cut, damaged, of another box or of another program is not looked at, and the
// feed is read from its sources as if there were none.
//
// Mandatory lists are never kept: nothing of them lies on the disk in clear that
// the feed itself did not put there. Nor are short lists, which it does not help.
//
// No error of a Parsed ends a build. A nil one reads everything anew.
type Parsed struct {
	dir    string
	key    []byte
	log    *slog.Logger
	limits parsedLimits
}

// parsedLimits bounds what is kept.
type parsedLimits struct {
	least int64 // bytes of sources from which on it is worth it
	file  int64 // bytes of one reading
	all   int64 // bytes of all readings
}

var defaultParsedLimits = parsedLimits{least: 64 << 10, file: 128 << 20, all: 512 << 20}

const (
	parsedFolder = ".parsed" // no feed is called that
	parsedEnd    = ".parsed"
)

// OpenParsed opens the readings kept in a folder of lists. key is a secret of the
// box; without one nothing can be believed, and nothing is kept.
func OpenParsed(dir string, key []byte, log *slog.Logger) *Parsed {
	if len(key) == 0 {
		return nil
	}
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	own := hmac.New(sha256.New, key) // the box's key has other uses
	own.Write([]byte("readings of public lists"))
	return &Parsed{dir: filepath.Join(dir, parsedFolder), key: own.Sum(nil), log: log, limits: defaultParsedLimits}
}

// Read is [Read], from what was kept if the feed is unchanged since. kept says so.
func (p *Parsed) Read(ctx context.Context, f Feed, emit func(Entry) error, refuse func(Refusal)) (stats Stats, kept bool, err error) {
	if p == nil || f.Kind == Mandatory || f.embedded != nil {
		stats, err = Read(ctx, f, emit, refuse)
		return stats, false, err
	}
	key, size, err := sourceSum(ctx, &f)
	if err != nil || size < p.limits.least { // Read will say what is wrong, in its own words
		stats, err = Read(ctx, f, emit, refuse)
		return stats, false, err
	}
	if r := p.open(&f, key); r != nil {
		stats, err = r.replay(ctx, emit, refuse)
		if errors.Is(err, errReading) {
			// What was handed over cannot be taken back, so this build is over.
			err = errors.Join(fmt.Errorf("feed %q: what was kept of it changed while it was read; build again: %w", f.Name, err), os.Remove(p.path(&f)))
		}
		return stats, true, errors.Join(err, r.close())
	}
	stats, err = p.readAnew(ctx, f, key, emit, refuse)
	return stats, false, err
}

// readAnew reads a feed from its sources and keeps what they gave.
func (p *Parsed) readAnew(ctx context.Context, f Feed, key sum, emit func(Entry) error, refuse func(Refusal)) (Stats, error) {
	w := p.create(&f, key)
	defer w.drop()
	stats, err := Read(ctx, f, func(e Entry) error {
		w.entry(e)
		return emit(e)
	}, func(r Refusal) {
		w.refusal(r)
		refuse(r)
	})
	if err != nil {
		return stats, err
	}
	// Whoever writes the sources may have done so meanwhile.
	if again, _, err := sourceSum(ctx, &f); err == nil && again == key {
		w.keep(stats)
	}
	return stats, nil
}

func (p *Parsed) path(f *Feed) string { return filepath.Join(p.dir, parsedName(f)) }

// parsedName is a file name for any name of a feed.
func parsedName(f *Feed) string {
	of := sha256.Sum256([]byte(f.Name))
	return hex.EncodeToString(of[:16]) + parsedEnd
}

// Sweep removes what is kept of feeds that are not declared any more, what killed
// builds left, and, over the bound of all, the oldest.
func (p *Parsed) Sweep(feeds []Feed) {
	if p == nil {
		return
	}
	if err := p.sweep(feeds); err != nil {
		p.log.Warn("what was kept of lists is not tidied up", "folder", p.dir, "err", err)
	}
}

func (p *Parsed) sweep(feeds []Feed) error {
	entries, err := os.ReadDir(p.dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	errs := []error{err}
	remove := func(name string) {
		if err := os.Remove(filepath.Join(p.dir, name)); !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	var kept []fs.FileInfo
	for _, e := range entries {
		declared := slices.ContainsFunc(feeds, func(f Feed) bool { return parsedName(&f) == e.Name() && f.Kind != Mandatory })
		info, err := e.Info()
		if !declared || err != nil {
			remove(e.Name())
			continue
		}
		kept = append(kept, info)
	}
	slices.SortFunc(kept, func(a, b fs.FileInfo) int { return b.ModTime().Compare(a.ModTime()) })
	var size int64
	for _, info := range kept {
		if size += info.Size(); size > p.limits.all {
			remove(info.Name())
		}
	}
	return errors.Join(errs...)
}
