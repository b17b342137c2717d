package categories

import (
	"crypto/hmac"
	"encoding/json"
	"errors"
	"fmt"
	"hash/maphash"
	"log/slog"
	"runtime"
	"runtime/debug"
	"sync"
	"sync/atomic"

	bolt "go.etcd.io/bbolt"

	"schoolgate/policy"
)

// Store is a category store opened for reading. It is safe for concurrent use.
//
// Nobody counts readers: the file stays mapped until the last holder of the
// Store is done with it, which the garbage collector knows. So a decision under
// way when a new store is swapped in finishes on the old one, and the hot path
// pays nothing for it.
type Store struct {
	header  header
	sources []Source
	index   index
	classes []class
	words   *wordIndex
	mirror  uint64 // hash of blogspot.com
	secret  secretIndex
	key     []byte

	cacheSeed maphash.Seed
	confirmed [confirmedSlots]atomic.Uint64

	file    *file
	cleanup runtime.Cleanup
	broken  atomic.Bool
	metrics *Metrics
	log     *slog.Logger
}

// confirmedSlots bounds the cache of confirmed names: 512 KB.
const confirmedSlots = 1 << 16

// file is the mapped file and its readers, which outlive the Store until the
// garbage collector lets go of them. It must not point back at the Store.
type file struct {
	db      *bolt.DB
	readers []*reader
}

// reader is one bbolt transaction with its cursors, which live as long as the
// file: the file never changes, and a new one for each look-up would allocate.
type reader struct {
	mu    sync.Mutex
	tx    *bolt.Tx
	names *bolt.Cursor
	urls  *bolt.Cursor
	buf   []byte // the key looked for
}

// Option changes how a store is opened.
type Option func(*Store)

// WithMetrics counts what the store does.
func WithMetrics(m *Metrics) Option { return func(s *Store) { s.metrics = m } }

// WithLog is where a store that becomes unreadable says so.
func WithLog(l *slog.Logger) Option { return func(s *Store) { s.log = l } }

// Open checks the whole file and opens it. The key is needed if the store holds
// mandatory lists; without it, or with another, there is no store ([ErrKey]).
func Open(path string, key []byte, options ...Option) (s *Store, err error) {
	size, err := checkSeal(path)
	if err != nil {
		return nil, fmt.Errorf("category store %s: %w", path, err)
	}
	s = &Store{key: key, cacheSeed: maphash.MakeSeed(), file: &file{}, log: slog.New(slog.DiscardHandler)}
	for _, option := range options {
		option(s)
	}
	if err := s.load(path, size); err != nil {
		return nil, fmt.Errorf("category store %s: %w", path, errors.Join(err, s.file.close()))
	}
	s.cleanup = runtime.AddCleanup(s, func(f *file) {
		// Nobody is left to hear of an error: the file was only read.
		_ = f.close()
	}, s.file)
	return s, nil
}

// load maps the file and reads what is kept in memory. bbolt panics on pages
// that make no sense; that is an error here like any other.
func (s *Store) load(path string, size int64) (err error) {
	defer func(old bool) {
		debug.SetPanicOnFault(old)
		if r := recover(); r != nil {
			err = fmt.Errorf("%w: %v", ErrCorrupt, r)
		}
	}(debug.SetPanicOnFault(true))
	s.file.db, err = bolt.Open(path, 0, &bolt.Options{ReadOnly: true, NoStatistics: true})
	if err != nil {
		return fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	for range 2 * runtime.GOMAXPROCS(0) {
		if err := s.file.addReader(); err != nil {
			return err
		}
	}
	tx := s.file.readers[0].tx
	if err := s.readHeader(tx); err != nil {
		return err
	}
	s.header.FileSize = size + int64(4*sumCount(size)) + footerSize
	return s.readTables(tx)
}

func (s *Store) readHeader(tx *bolt.Tx) (err error) {
	meta := tx.Bucket(bucketMeta)
	for _, name := range [][]byte{bucketEvidence, bucketHosts, bucketPages, bucketHot, bucketMeta} {
		if tx.Bucket(name) == nil {
			return errCorrupt(fmt.Sprintf("it has no %s", name))
		}
	}
	if err := json.Unmarshal(meta.Get(keyHeader), &s.header); err != nil {
		return fmt.Errorf("%w: header: %w", ErrCorrupt, err)
	}
	if err := s.header.check(); err != nil {
		return err
	}
	if c := s.header.KeyCheck; len(c) > 0 && (len(s.key) != KeySize || !hmac.Equal(c, keyed(s.key, kindCheck, "", ""))) {
		return ErrKey
	}
	s.sources, s.words = s.header.sources(), newWordIndex(s.header.Words)
	s.classes, err = parseClasses(meta.Get(keyClasses))
	return err
}

func (s *Store) readTables(tx *bolt.Tx) error {
	hot := tx.Bucket(bucketHot)
	table := hot.Get(keyIndex)
	if len(table) < indexPad || int64(len(table)-indexPad) != s.header.IndexSize || s.header.IndexSize%(groupSlots*slotSize) != 0 {
		return errCorrupt("hot index")
	}
	table = table[indexPad:]
	s.index = newIndex(s.header.Seed, table)
	s.mirror = s.index.seed.hashKey([]byte("com\x00blogspot"))
	if len(s.header.KeyCheck) == 0 {
		return nil
	}
	secret := hot.Get(keySecret)
	if len(secret) == 0 || len(secret)%slotSize != 0 {
		return errCorrupt("index of the mandatory lists")
	}
	s.secret = newSecretIndex(s.key, secret, s.header.Depth)
	return nil
}

func (f *file) addReader() error {
	tx, err := f.db.Begin(false)
	if err != nil {
		return err
	}
	f.readers = append(f.readers, &reader{tx: tx, buf: make([]byte, 0, maxKey+len(pathMark)+MaxPath)})
	r := f.readers[len(f.readers)-1]
	names, urls := tx.Bucket(bucketNames), tx.Bucket(bucketURLs)
	if names == nil || urls == nil {
		return errCorrupt("it has no names")
	}
	r.names, r.urls = names.Cursor(), urls.Cursor()
	return nil
}

// close ends the readers, which hold the mapping, and then unmaps.
func (f *file) close() (err error) {
	for _, r := range f.readers {
		err = errors.Join(err, r.tx.Rollback())
	}
	f.readers = nil
	if f.db != nil {
		err = errors.Join(err, f.db.Close())
	}
	return err
}

// release unmaps at once, for one who knows to be the only holder.
func (s *Store) release() error {
	s.cleanup.Stop()
	return s.file.close()
}

// Info describes the store.
func (s *Store) Info() Info { return s.header.Info }

// Version is the store's number, written into every event.
func (s *Store) Version() uint64 { return s.header.Version }

// Close says that this holder is done. The file is unmapped once all are, so a
// question under way is answered; see [Store].
func (s *Store) Close() error { return nil }

// unreadable is what every question gets that met a fault: nothing is known and
// the request is refused.
func (s *Store) unreadable(reason any) policy.Facts {
	s.metrics.fault()
	if !s.broken.Swap(true) {
		s.log.Error("category store became unreadable, refusing", "version", s.header.Version, "err", describe(reason))
	}
	return policy.Facts{Unreadable: true}
}

// describe tells of a panic without what was looked up.
func describe(reason any) string {
	if err, ok := reason.(error); ok {
		return err.Error()
	}
	return fmt.Sprintf("%T", reason)
}

// Readable reports whether no question has met a fault yet; a health check
// that finds false opens the last good version instead.
func (s *Store) Readable() bool { return !s.broken.Load() }
