package index

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"schoolgate/audit"
	"schoolgate/policy"
)

const (
	lookEvery  = time.Minute    // at the heads, which is quick
	scrubEvery = 24 * time.Hour // every page
)

// keepSound looks for files that are missing, cut, altered or foreign, or made of
// a journal that has been written anew since, and makes them again.
func (m *Maker) keepSound(ctx context.Context) {
	var scrubbed time.Time
	for ctx.Err() == nil {
		if time.Since(scrubbed) > scrubEvery {
			scrubbed = time.Now()
			m.told("index not looked through", m.scrub(ctx))
		}
		m.told("index not mended", m.mend(ctx))
		select {
		case <-ctx.Done():
		case <-m.look:
		case <-time.After(lookEvery):
		}
	}
}

// Drop removes the files of a day of the school, or all of them for "", and gives
// their number. Run makes them anew; the journal answers meanwhile.
func (m *Maker) Drop(day string) (files int, err error) {
	m.mending.Lock()
	defer m.mending.Unlock()
	list, err := m.index.survey()
	if err != nil {
		return 0, err
	}
	for _, s := range list {
		if s.file == nil || day != "" && s.file.Day != day {
			continue
		}
		if err := removeFile(filepath.Join(m.cfg.Dir, s.file.name())); err != nil {
			return files, err
		}
		files++
	}
	m.Look()
	return files, nil
}

// Look has Run look for stale files now, as after the journal was written anew.
func (m *Maker) Look() {
	select {
	case m.look <- struct{}{}:
	default:
	}
}

func (m *Maker) told(what string, err error) {
	if err != nil && !errors.Is(err, context.Canceled) {
		m.cfg.Log.Warn(what, "err", err)
		m.metrics.errors.Inc()
	}
}

// scrub opens every page of every file, and removes files with a damaged one.
func (m *Maker) scrub(ctx context.Context) error {
	list, err := m.index.survey()
	if err != nil {
		return err
	}
	keys, err := m.cfg.Journal.Keys()
	if err != nil {
		return err
	}
	var errs []error
	for _, s := range list {
		if s.file == nil || s.why != nil {
			continue
		}
		path := filepath.Join(m.cfg.Dir, s.file.name())
		f, err := openSealed(path, keys)
		if err == nil {
			err = f.scrub(func() error { pause(ctx, 20*time.Millisecond); return ctx.Err() })
			err = errors.Join(err, f.Close())
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			errs = append(errs, err, removeFile(path))
		}
	}
	return errors.Join(errs...)
}

func removeFile(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}

// mend makes again what has no sound file, up to the last event that ever had one.
func (m *Maker) mend(ctx context.Context) error {
	m.mending.Lock()
	defer m.mending.Unlock()
	last := policy.EventID(m.last.Load())
	list, err := m.index.survey()
	if err != nil {
		return err
	}
	if err := m.sweep(list, last); err != nil {
		return err
	}
	for _, s := range list {
		if s.file == nil && s.why == nil && s.first <= last { // the last files are gone, and Run is past them
			s.last, s.why = last, errMissing
		}
		if s.why == nil || errors.Is(s.why, errGaps) {
			continue
		}
		m.cfg.Log.Warn("index file is made anew", "first", s.first.String(), "last", s.last.String(), "why", s.why)
		if err := m.remake(ctx, s, false); err != nil {
			return err
		}
		m.metrics.remade.Inc()
	}
	return nil
}

// sweep removes files that count for nothing. Those of events after last may have
// been made since the list was.
func (m *Maker) sweep(list []stretch, last policy.EventID) error {
	used := map[string]bool{}
	for _, s := range list {
		if s.file != nil {
			used[s.file.name()] = true
		}
	}
	names, err := filepath.Glob(filepath.Join(m.cfg.Dir, "*"+fileExt))
	if err != nil {
		return err
	}
	var errs []error
	for _, name := range names {
		if used[filepath.Base(name)] {
			continue
		}
		if h, _, err := readHead(name); err == nil && h.First > last {
			continue
		}
		m.cfg.Log.Warn("index file that fits nowhere is removed", "file", filepath.Base(name))
		errs = append(errs, removeFile(name))
	}
	return errors.Join(errs...)
}

// remake makes the files of a stretch anew.
func (m *Maker) remake(ctx context.Context, s stretch, hurry bool) error {
	b := newBatch(m, s.first, s.last)
	b.hurry = hurry
	defer b.drop()
	if s.file != nil {
		if err := removeFile(filepath.Join(m.cfg.Dir, s.file.name())); err != nil {
			return err
		}
	}
	for e, err := range m.cfg.Journal.Search(ctx, audit.Query{After: s.first - 1, Before: s.last + 1}) {
		if err := b.take(ctx, &e, err); err != nil {
			return err
		}
	}
	if err := b.begin(ctx); err != nil { // also one without events, so that the stretch is known to have none
		return err
	}
	b.last = s.last
	return b.seal(ctx)
}

// Rebuild makes files anew at once, for a person who waits: those of a day of the
// school, or all of them; with tail also what has no file yet, which a Maker that
// runs will come to by itself.
func (m *Maker) Rebuild(ctx context.Context, day string, tail bool) (stretches int, err error) {
	m.mending.Lock()
	defer m.mending.Unlock()
	list, err := m.index.survey()
	if err != nil {
		return 0, err
	}
	for _, s := range list {
		switch open := s.file == nil && s.why == nil; {
		case open && !tail:
			continue
		case open:
			if s.last = m.journalEnd(ctx); s.last < s.first {
				continue
			}
		case day != "" && s.file != nil && s.file.Day != day && s.why == nil:
			continue
		}
		if err := m.remake(ctx, s, true); err != nil {
			return stretches, fmt.Errorf("%s to %s: %w", s.first, s.last, err)
		}
		stretches++
	}
	return stretches, nil
}

// journalEnd is the last event the journal has.
func (m *Maker) journalEnd(ctx context.Context) (last policy.EventID) {
	for e, err := range m.cfg.Journal.Search(ctx, audit.Query{Newest: true, Limit: 1}) {
		if err == nil {
			last = e.ID
		}
	}
	return last
}
