package index

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"schoolgate/audit"
	"schoolgate/policy"
)

// Source is a journal to follow, as [audit.Journal.Follow] does.
type Source interface {
	Follow(ctx context.Context, after policy.EventID) iter.Seq2[policy.Event, error]
}

// Config is what a Maker is made of.
type Config struct {
	Dir        string
	Journal    audit.Dir
	Location   *time.Location // whose days files are; nil is UTC
	MaxEvents  int            // of a file; 0 is 262,144
	Log        *slog.Logger
	Registerer prometheus.Registerer
}

// defaultMaxEvents keeps a database in the making to about 40 MB.
const defaultMaxEvents = 1 << 18

// Maker makes the files of an index and keeps them sound. There is one, in the
// process that writes the journal.
type Maker struct {
	cfg     Config
	index   *Index
	lock    *os.File
	last    atomic.Uint64 // the last event in a file
	metrics metrics

	mending sync.Mutex    // one mends at a time
	look    chan struct{} // wakes the mender
}

// ErrLocked: another process makes this index.
var ErrLocked = errors.New("another schoolgate makes this index")

// NewMaker takes the folder, making it if need be. Call Run or Close.
func NewMaker(cfg Config) (*Maker, error) {
	if cfg.Location == nil {
		cfg.Location = time.UTC
	}
	if cfg.MaxEvents <= 0 {
		cfg.MaxEvents = defaultMaxEvents
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	m := &Maker{cfg: cfg, look: make(chan struct{}, 1)}
	if err := os.MkdirAll(cfg.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("index: %w", err)
	}
	var err error
	if m.lock, err = lockDir(cfg.Dir); err != nil {
		return nil, fmt.Errorf("index %s: %w", cfg.Dir, err)
	}
	if m.index, err = Open(cfg.Dir, cfg.Journal); err == nil {
		err = removeTmp(cfg.Dir)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("index %s: %w", cfg.Dir, err), m.lock.Close())
	}
	m.metrics = newMetrics(cfg.Registerer, m)
	return m, nil
}

func lockDir(dir string) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		return nil, errors.Join(ErrLocked, f.Close())
	}
	return f, nil
}

// Index is the index being made, for searching.
func (m *Maker) Index() *Index { return m.index }

// Close gives the folder free, after Run has returned.
func (m *Maker) Close() error { return errors.Join(m.index.Close(), m.lock.Close()) }

// Run follows the journal and mends files until ctx is done. Trouble is told in
// the log and tried again; the journal answers searches meanwhile.
func (m *Maker) Run(ctx context.Context, source Source) error {
	mended := make(chan struct{})
	go func() {
		defer close(mended)
		m.keepSound(ctx)
	}()
	for tries := 0; ctx.Err() == nil; tries++ {
		before := m.last.Load()
		err := m.follow(ctx, source)
		if ctx.Err() != nil {
			break
		}
		if m.last.Load() != before {
			tries = 0
		}
		m.cfg.Log.Warn("journal not indexed, trying again", "err", err)
		m.metrics.errors.Inc()
		pause(ctx, min(time.Minute, time.Second<<min(tries, 10)))
	}
	<-mended
	return nil
}

var errEnded = errors.New("the journal ended")

// follow makes files of what the journal has after the last of them.
func (m *Maker) follow(ctx context.Context, source Source) error {
	st, err := m.index.Status()
	if err != nil {
		return err
	}
	m.last.Store(uint64(st.Last))
	b := newBatch(m, st.Last+1, 0)
	defer b.drop()
	for e, err := range source.Follow(ctx, st.Last) {
		if errors.Is(err, audit.ErrAhead) {
			m.cfg.Log.Error("the journal was lost or replaced: the index is made anew")
			return m.clear()
		}
		if err := b.take(ctx, &e, err); err != nil {
			return err
		}
	}
	return errEnded
}

// clear removes all files.
func (m *Maker) clear() error {
	names, err := filepath.Glob(filepath.Join(m.cfg.Dir, "*"+fileExt))
	for _, name := range names {
		err = errors.Join(err, os.Remove(name))
	}
	return err
}

// batch is a file in the making.
type batch struct {
	m       *Maker
	first   policy.EventID // of the file
	last    policy.EventID // read so far
	end     policy.EventID // the last it may hold; 0 for the journal's open end
	day     string
	gaps    bool
	builder *builder
	parts   []audit.Part // as they were before the first event was read
	hurry   bool         // a person waits: do not give way to requests
	worked  time.Duration
}

func newBatch(m *Maker, first, end policy.EventID) *batch {
	return &batch{m: m, first: first, last: first - 1, end: end}
}

// drop forgets what is not sealed; the journal has it.
func (b *batch) drop() {
	if b.builder != nil {
		if err := b.builder.close(); err != nil {
			b.m.cfg.Log.Warn("index file in the making not closed", "err", err)
		}
		b.builder = nil
	}
}

// take puts one event, or a gap, into the file, and seals it when its day is over
// or it is full. A clock that jumps back does not begin a new file.
func (b *batch) take(ctx context.Context, e *policy.Event, err error) error {
	if gap := (*audit.GapError)(nil); errors.As(err, &gap) {
		if err := b.begin(ctx); err != nil {
			return err
		}
		b.gaps, b.last = true, max(b.last, gap.Last)
		return nil
	}
	if err != nil {
		return err
	}
	day := e.Time.In(b.m.cfg.Location).Format(time.DateOnly)
	if b.builder != nil && (b.builder.head.Events >= b.m.cfg.MaxEvents || b.day != "" && day > b.day) {
		if err := b.seal(ctx); err != nil {
			return err
		}
	}
	if err := b.begin(ctx); err != nil {
		return err
	}
	if b.day == "" {
		b.day = day
	}
	start := time.Now()
	if err := b.builder.add(ctx, e); err != nil {
		return err
	}
	b.last = e.ID
	if b.worked += time.Since(start); !b.hurry && b.worked > 4*time.Millisecond {
		pause(ctx, b.worked/2)
		b.worked = 0
	}
	return ctx.Err()
}

// begin opens a new file, if none is open. The state of the journal is noted before
// any of it is read: should it be written anew meanwhile, the file counts as stale.
func (b *batch) begin(ctx context.Context) (err error) {
	if b.builder != nil {
		return nil
	}
	b.day, b.gaps = "", false
	if b.parts, err = b.m.cfg.Journal.Parts(); err != nil {
		return err
	}
	b.builder, err = newBuilder(ctx)
	return err
}

// seal writes the file and gives its memory back.
func (b *batch) seal(ctx context.Context) error {
	defer b.drop()
	if b.builder == nil {
		return nil
	}
	h := b.builder.head
	h.First, h.Last, h.Day, h.Gaps = b.first, b.last, b.day, b.gaps
	if h.Day == "" {
		h.Day = time.Unix(0, 0).UTC().Format(time.DateOnly)
	}
	parts, err := b.m.cfg.Journal.Parts()
	if err != nil {
		return err
	}
	for i, p := range b.parts {
		if i < len(parts) && parts[i] != p {
			parts[i].Hash = [32]byte{} // written anew while it was read: stale from the beginning
		}
	}
	h.Journal = fingerprint(parts, h.First, h.Last)
	db, err := b.builder.bytes(ctx)
	if err != nil {
		return err
	}
	keys, err := b.m.cfg.Journal.Keys()
	if err != nil {
		return err
	}
	if err := writeFile(b.m.cfg.Dir, keys, &h, db); err != nil {
		return err
	}
	b.m.cfg.Log.Info("index file made", "day", h.Day, "first", h.First.String(), "last", h.Last.String(), "events", h.Events, "bytes", h.size())
	b.m.metrics.made.Inc()
	if b.end == 0 {
		b.m.last.Store(uint64(h.Last))
	}
	b.first = h.Last + 1
	return nil
}

func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}
