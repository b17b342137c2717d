package categories

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	bolt "go.etcd.io/bbolt"

	"schoolgate/internal/durable"
	"schoolgate/policy"
)

// Report is what a build came to.
type Report struct {
	Info
	Elapsed time.Duration
	// Suspects are entries of public lists that were not believed because the
	// name has a clean record, the weightiest first; SuspectCount is all of them.
	Suspects     []Suspect
	SuspectCount int
}

// Suspect is a probable mistake of a list.
type Suspect struct {
	Host     string
	Path     string
	Category policy.Category
	Weight   float64
	Sources  []string
	Why      string
}

// Finish writes the store, reads it back in full and puts it in place. With an
// error nothing is left behind and what was at the path is untouched.
func (b *Builder) Finish(ctx context.Context) (Report, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.done {
		return Report{}, errors.New("this build is over")
	}
	b.done = true
	w := &writer{Builder: b, ctx: ctx}
	report, err := w.finish()
	if err != nil {
		b.drop()
		return Report{}, fmt.Errorf("building %s: %w", b.path, err)
	}
	return report, nil
}

// writer is a build being written.
type writer struct {
	*Builder
	ctx     context.Context
	header  header
	classes []class          // number less one
	ids     map[class]uint16 // their numbers
	byPaths [2][]uint16      // by evidence, without and with URL entries
	report  Report
}

func (w *writer) finish() (Report, error) {
	w.header = header{Rules: w.rules, Words: w.opt.Words, Breaks: w.breaks, Longest: w.longest}
	w.header.Info = Info{Version: w.opt.Version, Built: w.began.UTC().Truncate(time.Second),
		Names: len(w.hosts.records), URLs: len(w.urls.records),
		Categories: map[policy.Category]int{}, Mandatory: map[policy.Category]int{}}
	w.hosts.sort()
	w.urls.sort()
	w.crowds()
	for _, step := range []func() error{
		w.classify, w.writeNames, w.writeEvidence, w.writeSecrets, w.writeIndex, w.writeHeader, w.place,
	} {
		if err := errors.Join(w.ctx.Err(), step()); err != nil {
			return Report{}, err
		}
	}
	w.report.Info, w.report.Elapsed = w.header.Info, time.Since(w.began)
	w.opt.Log.Info("category store built", "version", w.opt.Version, "names", w.header.Names, "urls", w.header.URLs,
		"size", w.header.FileSize, "elapsed", w.report.Elapsed)
	return w.report, nil
}

func (w *writer) writeNames() error {
	for _, part := range []struct {
		bucket []byte
		list   *names
	}{{bucketNames, w.hosts}, {bucketURLs, w.urls}} {
		err := w.fill(part.bucket, func(put func(k, v []byte) error) error {
			blocks := &blockWriter{put: put}
			for i := range part.list.records {
				r := &part.list.records[i]
				if err := blocks.add(part.list.key(r), r.evidence); err != nil {
					return err
				}
			}
			return blocks.flush()
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func (w *writer) writeEvidence() error {
	return w.fill(bucketEvidence, func(put func(k, v []byte) error) error {
		for id, set := range w.sets.sets {
			if err := put(binary.BigEndian.AppendUint32(nil, uint32(id)), appendPairs(nil, set)); err != nil {
				return err
			}
		}
		return nil
	})
}

func (w *writer) writeSecrets() error {
	if w.secret == nil || len(w.secret.hosts) == 0 {
		w.secret = nil
		return errors.Join(w.fill(bucketHosts, nothing), w.fill(bucketPages, nothing))
	}
	w.header.Mandatory, w.header.Depth = w.secret.counts, w.secret.depth
	w.header.KeyCheck = keyed(w.opt.Key, kindCheck, "", "")
	hosts, pages := w.secret.hosts, w.secret.asked
	for id, c := range w.secret.pages { // the kinds differ, so the hashes do
		pages[id] = []byte{byte(c)}
	}
	err := w.fill(bucketHosts, func(put func(k, v []byte) error) error {
		for _, id := range sortedKeys(hosts) {
			if err := put([]byte(id), []byte{byte(hosts[id].domain), byte(hosts[id].pages)}); err != nil {
				return err
			}
		}
		return nil
	})
	return errors.Join(err, w.fill(bucketPages, func(put func(k, v []byte) error) error {
		for _, id := range sortedKeys(pages) {
			if err := put([]byte(id), pages[id]); err != nil {
				return err
			}
		}
		return nil
	}))
}

func nothing(func(k, v []byte) error) error { return nil }

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

func (w *writer) writeIndex() error {
	var x *indexWriter
	err := errCollision
	for errors.Is(err, errCollision) {
		w.header.Seed = newSeed()
		x, err = w.fillIndex()
	}
	if err != nil {
		return err
	}
	w.header.IndexSize = int64(len(x.slots))
	// The names are on disk and only counts of them are asked for from here on.
	w.hosts, w.urls = nil, nil
	return w.fill(bucketHot, func(put func(k, v []byte) error) error {
		var secret []byte
		if w.secret != nil {
			secret = w.secret.table()
		}
		return errors.Join(put(keyIndex, x.value), put(keySecret, secret))
	})
}

func (w *writer) fillIndex() (*indexWriter, error) {
	x := newIndexWriter(w.header.Seed, w.header.Indexed)
	for i := range w.hosts.records {
		r := &w.hosts.records[i]
		if c := w.classOfRecord(r); c != 0 {
			if err := x.add(w.header.Seed.hashKey(w.hosts.key(r)), c); err != nil {
				return nil, err
			}
		}
	}
	for i := range w.urls.records {
		r := &w.urls.records[i]
		if c := w.classOfRecord(r); c != 0 {
			if err := x.add(w.header.Seed.hashPathKey(w.urls.key(r)), c); err != nil {
				return nil, err
			}
		}
	}
	return x, nil
}

func (w *writer) writeHeader() error {
	w.header.Info.Sources = w.stats
	w.header.Implied = w.sources[len(w.stats):]
	text, err := json.Marshal(w.header)
	if err != nil {
		return err
	}
	var classes []byte
	for _, c := range w.classes {
		classes = appendClass(classes, c)
	}
	return w.fill(bucketMeta, func(put func(k, v []byte) error) error {
		return errors.Join(put(keyClasses, classes), put(keyHeader, text))
	})
}

// place seals the file, reads it back and renames it.
func (w *writer) place() error {
	var size int64
	if err := w.db.View(func(tx *bolt.Tx) error { size = tx.Size(); return nil }); err != nil {
		return err
	}
	if err := w.db.Close(); err != nil {
		return err
	}
	f, err := os.OpenFile(w.temp, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	if err := errors.Join(seal(f, size), f.Close()); err != nil {
		return err
	}
	info, err := Verify(w.temp, w.opt.Key)
	if err != nil {
		return fmt.Errorf("reading it back: %w", err)
	}
	w.header.FileSize = info.FileSize
	if err := w.ctx.Err(); err != nil {
		return err
	}
	if err := os.Rename(w.temp, w.path); err != nil {
		return err
	}
	return durable.SyncDir(filepath.Dir(w.path))
}
