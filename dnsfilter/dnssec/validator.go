package dnssec

import (
	"context"
	"log/slog"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/miekg/dns"
)

// Ask gets the records of a name and type, with signatures, unvalidated (DO and CD
// set). It hands replies to accept until one is accepted; an error of accept is
// returned if none is. A [*Fault] that is a Bound ends the asking.
type Ask func(ctx context.Context, name string, rrtype uint16, accept func(*dns.Msg) error) error

// Config is what a Validator is built from.
type Config struct {
	Ask     Ask
	Anchors []*dns.DS // of the root; none is IANA's
	Except  []string  // zones that are not validated, with all below them (RFC 7646)

	Log *slog.Logger // nil for none
}

// released is before any box can run this: a clock that shows less is behind.
var released = time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)

const (
	skew       = 90 * 60 // seconds a signature is good before and after its dates: a clock that has summer time wrong is an hour out
	bogusFor   = 10 * time.Second
	stepTime   = 4 * time.Second
	minKept    = time.Minute // of what is known of a zone
	maxKept    = 6 * time.Hour
	undated    = time.Minute // is all that is kept while the clock is behind
	sayAgain   = time.Hour
	nodesBytes = 8 << 20
)

// Validator judges replies. What it learns of zones it keeps, within a bound.
type Validator struct {
	cfg    Config
	except map[string]bool
	cores  chan struct{} // one for each signature that is checked at a time
	behind atomic.Bool   // the clock, as the root's signatures show

	ctx     context.Context
	cancel  context.CancelFunc
	running sync.WaitGroup

	mu         sync.Mutex
	closed     bool
	young, old map[string]*node
	youngBytes int
	steps      map[string]*step
	said       string    // what the log was told last, of the root and the clock
	saidAt     time.Time // and when
	datesAt    time.Time // when it was told of dates
	trouble    error     // of the root zone, if its keys could not be had; for status
}

// New checks nothing but takes what it is given. Close it.
func New(cfg Config) *Validator {
	if len(cfg.Anchors) == 0 {
		anchors, err := ReadAnchors(strings.NewReader(rootAnchors), "built in")
		if err != nil {
			panic(err) // they are a constant, and tested
		}
		cfg.Anchors = anchors
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	v := &Validator{
		cfg: cfg, except: map[string]bool{}, cores: make(chan struct{}, max(1, runtime.NumCPU()/2)),
		young: map[string]*node{}, old: map[string]*node{}, steps: map[string]*step{},
	}
	for _, zone := range cfg.Except {
		v.except[canon(zone)] = true
	}
	v.ctx, v.cancel = context.WithCancel(context.Background())
	return v
}

// Close ends what is being looked up and waits for it.
func (v *Validator) Close() {
	v.mu.Lock()
	v.closed = true
	v.mu.Unlock()
	v.cancel()
	v.running.Wait()
}

// Excepted reports whether a name is not validated.
func (v *Validator) Excepted(name string) bool {
	for n := canon(name); ; n = parent(n) {
		if v.except[n] {
			return true
		}
		if n == "." {
			return false
		}
	}
}

// ClockBehind reports whether this box's clock is certainly behind: it shows a moment
// before this program was made, or the root's keys are signed from later on, with the
// key that is trusted. Signatures from the future are then good, since otherwise no
// name would be found and the clock could be set by none; nothing is called secure
// meanwhile. A clock that is ahead shows itself in nothing that could not be an old
// signature played again, so what is past its time by the clock is bogus.
func (v *Validator) ClockBehind() bool { return v.clockBehind(time.Now()) }

func (v *Validator) clockBehind(now time.Time) bool { return v.behind.Load() || now.Before(released) }

// Trouble is why no name can be validated at present, nil if names can: the keys of
// the root are not to be had, or the clock is behind.
func (v *Validator) Trouble() error {
	if v.ClockBehind() {
		return errClock
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.trouble
}
