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

// maxSuspects bounds the report.
const maxSuspects = 2000

// crowdSource is the clean record that a name has of the clean names below it.
const crowdSource = "many names below it with a clean record"

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
	w.header = header{Rules: w.rules, Breaks: w.breaks, Longest: w.longest}
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

// crowds gives a clean record to names above several others that have one: a
// parent entry must not swallow many unrelated sites on one list's word.
func (w *writer) crowds() {
	id := SourceID(len(w.sources))
	w.sources = append(w.sources, Source{Name: crowdSource, Clean: true})
	type parent struct{ record, clean int }
	var above []parent
	leave := func() {
		p := above[len(above)-1]
		above = above[:len(above)-1]
		if len(above) > 0 {
			above[len(above)-1].clean += p.clean
		}
		r := &w.hosts.records[p.record]
		own := 0
		if w.isClean(r.evidence) {
			own = 1
		}
		if w.rules.Crowd > 0 && p.clean-own >= w.rules.Crowd && r.evidence != 0 {
			r.evidence = w.sets.with(r.evidence, newPair(id, policy.Uncategorised, false))
		}
	}
	clean := map[uint32]bool{}
	for i := range w.hosts.records {
		r := &w.hosts.records[i]
		key := w.hosts.key(r)
		for len(above) > 0 && !keyWithin(key, w.hosts.key(&w.hosts.records[above[len(above)-1].record])) {
			leave()
		}
		is, known := clean[r.evidence]
		if !known {
			is = w.isClean(r.evidence)
			clean[r.evidence] = is
		}
		above = append(above, parent{record: i})
		if is {
			above[len(above)-1].clean = 1
		}
	}
	for len(above) > 0 {
		leave()
	}
}

func (w *writer) isClean(evidence uint32) bool {
	return cleanWeight(w.sets.sets[evidence], w.sources) > 0
}

func keyWithin(key, parent []byte) bool {
	return len(key) > len(parent) && key[len(parent)] == labelEnd && string(key[:len(parent)]) == string(parent)
}

// classify judges each distinct set of evidence once, counts, and finds suspects.
func (w *writer) classify() error {
	w.ids = map[class]uint16{}
	for i := range w.byPaths {
		w.byPaths[i] = make([]uint16, len(w.sets.sets))
	}
	counted := make([]policy.CategorySet, len(w.sets.sets))
	suspect := make([][]finding, len(w.sets.sets))
	for ev, set := range w.sets.sets {
		c := classOf(set, w.sources, w.rules)
		counted[ev] = c.self.counted
		suspect[ev] = w.suspicious(set)
		for i := range w.byPaths {
			c.paths = i == 1
			n, err := w.classNumber(c)
			if err != nil {
				return err
			}
			w.byPaths[i][ev] = n
		}
	}
	for _, list := range []*names{w.hosts, w.urls} {
		for i := range list.records {
			r := &list.records[i]
			for set := counted[r.evidence]; !set.Empty(); set = set.Without(set.First()) {
				w.header.Categories[set.First()]++
			}
			w.suspect(list.key(r), suspect[r.evidence], r.evidence)
			if w.classOfRecord(r) != 0 {
				w.header.Indexed++
			}
		}
	}
	slices.SortStableFunc(w.report.Suspects, func(a, b Suspect) int {
		switch {
		case a.Weight > b.Weight:
			return -1
		case a.Weight < b.Weight:
			return 1
		}
		return 0
	})
	w.report.Suspects = w.report.Suspects[:min(len(w.report.Suspects), maxSuspects)]
	return nil
}

func (w *writer) classNumber(c class) (uint16, error) {
	if c.idle() {
		return 0, nil
	}
	if n, ok := w.ids[c]; ok {
		return n, nil
	}
	if len(w.classes) == maxClasses {
		return 0, fmt.Errorf("more than %d different combinations of categories: are the sources what they say?", maxClasses)
	}
	w.classes = append(w.classes, c)
	w.ids[c] = uint16(len(w.classes))
	return uint16(len(w.classes)), nil
}

func (w *writer) classOfRecord(r *record) uint16 {
	if r.paths {
		return w.byPaths[1][r.evidence]
	}
	return w.byPaths[0][r.evidence]
}

// suspicious are the findings of a set that a clean record outweighed.
func (w *writer) suspicious(set []pair) (list []finding) {
	if cleanWeight(set, w.sources) == 0 {
		return nil
	}
	findings, _ := judge(set, w.sources, w.rules, true)
	for _, f := range findings {
		if !f.counted && !harmless.Has(f.category) {
			list = append(list, f)
		}
	}
	return list
}

func (w *writer) suspect(key []byte, list []finding, evidence uint32) {
	w.report.SuspectCount += len(list)
	if len(w.report.Suspects) >= 20*maxSuspects {
		return
	}
	for _, f := range list {
		s := Suspect{Category: f.category, Weight: f.weight, Why: f.why}
		s.Host, s.Path = splitKey(key)
		for _, p := range w.sets.sets[evidence] {
			if src := w.sources[p.source()]; p.category() == f.category && !src.Clean {
				s.Sources = append(s.Sources, src.Name)
			}
		}
		w.report.Suspects = append(w.report.Suspects, s)
	}
}

// commitEvery bounds the memory of one bbolt transaction, in puts.
const commitEvery = 8192

// batch puts ordered pairs into a bucket, full pages, a transaction at a time.
type batch struct {
	w      *writer
	bucket []byte
	tx     *bolt.Tx
	b      *bolt.Bucket
	puts   int
}

func (p *batch) put(key, value []byte) error {
	if p.tx == nil {
		if err := p.begin(); err != nil {
			return err
		}
	}
	if err := p.b.Put(key, value); err != nil {
		return err
	}
	if p.puts++; p.puts%commitEvery == 0 {
		return p.commit()
	}
	return nil
}

func (p *batch) begin() (err error) {
	if err := p.w.ctx.Err(); err != nil {
		return err
	}
	if p.tx, err = p.w.db.Begin(true); err != nil {
		return err
	}
	if p.b, err = p.tx.CreateBucketIfNotExists(p.bucket); err != nil {
		return err
	}
	p.b.FillPercent = 1
	return nil
}

func (p *batch) commit() error {
	if p.tx == nil { // an empty bucket is there all the same
		if err := p.begin(); err != nil {
			return errors.Join(err, p.rollback())
		}
	}
	err := p.tx.Commit()
	p.tx = nil
	return err
}

// rollback ends a transaction that an error left open; after commit it does nothing.
func (p *batch) rollback() error {
	if p.tx == nil {
		return nil
	}
	err := p.tx.Rollback()
	p.tx = nil
	return err
}

// fill writes a bucket with what each hands to put.
func (w *writer) fill(bucket []byte, each func(put func(k, v []byte) error) error) (err error) {
	p := &batch{w: w, bucket: bucket}
	defer func() { err = errors.Join(err, p.rollback()) }()
	if err := each(p.put); err != nil {
		return fmt.Errorf("%s: %w", bucket, err)
	}
	return p.commit()
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
	hosts, pages := w.secret.hosts, w.secret.pages
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
			if err := put([]byte(id), []byte{byte(pages[id])}); err != nil {
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
		if err := put(keyIndex, x.slots); err != nil {
			return err
		}
		if w.secret == nil {
			return nil
		}
		return put(keySecret, w.secret.table())
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
	return syncDir(filepath.Dir(w.path))
}
