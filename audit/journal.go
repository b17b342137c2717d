package audit

import (
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"schoolgate/policy"
)

// Durability is what Record waits for.
type Durability uint8

const (
	// Grouped waits for the kernel, and for the disk if the event is flagged;
	// the disk has everything else within a second.
	Grouped Durability = iota
	// Strict waits for the disk always.
	Strict
)

// Options are the settings of a journal; the zero value is a good one.
type Options struct {
	KeyFile     string // 32 random bytes that wrap the data keys; "" keeps it in the journal's keys/
	Durability  Durability
	SegmentSize int64 // a new segment is begun at this size; 0 is 64 MiB
	Reserve     int64 // bytes kept aside and freed when the disk is full (fault F3); 0 is none
	MaxWaiting  int   // callers that may wait at once before Record refuses (F27); 0 is 4096
	Log         *slog.Logger
	Metrics     prometheus.Registerer

	disk disk // nil is the real one
}

const (
	defaultSegmentSize = 64 << 20
	defaultMaxWaiting  = 4096

	// syncEvery is how long an unflagged event may wait for the disk. It is half
	// of the second that is promised, to leave the disk the other half.
	syncEvery = 500 * time.Millisecond
)

var (
	// ErrClosed: the journal has been closed.
	ErrClosed = errors.New("journal is closed")
	// ErrOverloaded: too many callers are waiting for the disk already.
	ErrOverloaded = errors.New("journal is behind: too many are waiting")
)

// Journal is an open journal. It has one writer, this one, in one process; any
// number may read. It implements [policy.Sink].
type Journal struct {
	opts    Options
	dir     string
	disk    disk
	keys    *keyring
	lock    *os.File
	log     *slog.Logger
	metrics *metrics
	opened  OpenReport
	run     [8]byte
	started time.Time // its monotonic part is the run's second clock

	mu      sync.Mutex
	pending *batch          // being gathered
	spare   *batch          // the last one written, to be filled again
	leading bool            // a caller is writing, or has been told to
	idle    *sync.Cond      // leading has become false
	asking  []chan struct{} // of those who want to lead for something of their own
	room    *sync.Cond      // pending has been taken
	waiting int             // callers inside Record
	closed  bool
	failure error // of the last write or sync, nil once one succeeds

	end    mark           // the last event handed to the kernel
	synced policy.EventID // the last event on disk
	grown  chan struct{}  // closed when synced grows or the journal closes
	round  *syncRound     // what the next sync will answer to
	armed  bool           // the syncer knows that something waits for the disk
	drop   bool           // the segment's sync failed: go on in a new one

	retaining sync.Mutex // one run of retention, or change of a hold, at a time

	// syncMu is held while the current segment file is synced or replaced.
	syncMu sync.Mutex
	file   file // set under mu and syncMu
	head   *headWriter

	w writer // owned by the caller who leads

	flagged  chan struct{} // wakes the syncer at once
	unsynced chan struct{} // wakes it in syncEvery
	quit     chan struct{}
	done     chan struct{}
}

// Open opens the journal in dir for writing, making it if need be. It checks
// the last segment, cuts a tail that a crash left half written, and says so in
// the log and in [Journal.Opened]. The first Record begins a new segment.
func Open(dir string, o Options) (*Journal, error) {
	j, err := open(dir, o)
	if err != nil {
		return nil, fmt.Errorf("journal %s: %w", dir, err)
	}
	go j.syncLoop()
	return j, nil
}

func open(dir string, o Options) (*Journal, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	j := &Journal{
		opts: o.withDefaults(), dir: dir, started: time.Now(),
		grown: make(chan struct{}), round: newRound(), pending: newBatch(),
		flagged: make(chan struct{}, 1), unsynced: make(chan struct{}, 1),
		quit: make(chan struct{}), done: make(chan struct{}),
	}
	j.disk, j.log = j.opts.disk, j.opts.Log
	j.idle, j.room = sync.NewCond(&j.mu), sync.NewCond(&j.mu)
	rand.Read(j.run[:])
	var err error
	if j.lock, err = lockDir(dir); err != nil {
		return nil, err
	}
	if err := j.prepare(); err != nil {
		return nil, errors.Join(err, j.lock.Close())
	}
	j.metrics = newMetrics(o.Metrics, j)
	return j, nil
}

// prepare reads what is there. The lock is held.
func (j *Journal) prepare() (err error) {
	if j.keys, err = openKeyring(j.disk, j.dir, j.opts.KeyFile, true); err != nil {
		return err
	}
	if err := j.recover(); err != nil {
		return err
	}
	if j.head, err = openHead(j.disk, j.dir); err != nil {
		return err
	}
	j.reserve()
	return nil
}

func (o Options) withDefaults() Options {
	if o.SegmentSize <= 0 {
		o.SegmentSize = defaultSegmentSize
	}
	if o.MaxWaiting <= 0 {
		o.MaxWaiting = defaultMaxWaiting
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.disk == nil {
		o.disk = osDisk{}
	}
	return o
}

// Opened is what Open found.
func (j *Journal) Opened() OpenReport { return j.opened }

// Head is how far the journal has come. Send it off the box now and then.
func (j *Journal) Head() Head {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.end.head()
}

// Err is why the last write or sync failed, nil once one has succeeded again.
// It is for health pages: whether an answer may leave, Record says.
func (j *Journal) Err() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.failure
}

// Close writes what callers are still waiting for, finishes the segment and
// gives the directory free. Followers get what is left and then end.
func (j *Journal) Close() error {
	j.mu.Lock()
	if j.closed {
		j.mu.Unlock()
		return nil
	}
	j.closed = true
	j.room.Broadcast()
	for j.leading {
		j.idle.Wait()
	}
	j.mu.Unlock()

	close(j.quit)
	<-j.done
	err := j.finishSegment()
	j.mu.Lock()
	defer j.mu.Unlock()
	if err == nil { // the head may only name what is on disk
		err = j.putHead(j.end)
	}
	err = errors.Join(err, j.head.f.Close())
	close(j.grown)
	return errors.Join(err, j.lock.Close())
}
