package appliance

import (
	"crypto/sha256"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"

	"schoolgate/audit"
	"schoolgate/configs"
	"schoolgate/incidents"
	"schoolgate/policy"
)

// sealing is the journal as the doors see it. What must not be kept in clear, the
// address of a mandatory hit, is sealed on its way, or dropped where the school has
// given no keys (F7, privacy 8). Other events cost it a comparison, and pages with a
// dot in the path a look at the lists.
type sealing struct {
	journal *audit.Journal
	log     *slog.Logger
	to      atomic.Pointer[incidents.Seal] // nil keeps nothing
	limit   *rate.Limiter
	lists   func() policy.Classifier // in force; nil before there are any

	mu   sync.Mutex
	kept map[[sha256.Size]byte]keptSeal // lately sealed: one tablet may ask for one page again and again
}

type keptSeal struct {
	sealed string
	until  time.Time
}

const (
	sealsKept   = 256
	sealKeep    = 10 * time.Minute
	sealsASec   = 20 // beyond, a hit is recorded without its address
	sealsAtOnce = 50
)

func newSealing(journal *audit.Journal, log *slog.Logger, lists func() policy.Classifier) *sealing {
	return &sealing{
		journal: journal, log: log, lists: lists, limit: rate.NewLimiter(sealsASec, sealsAtOnce), kept: map[[sha256.Size]byte]keptSeal{},
	}
}

// configure takes the keys of a configuration.
func (s *sealing) configure(c configs.Seal) error {
	if c == (configs.Seal{}) {
		s.to.Store(nil)
		return nil
	}
	to, err := incidents.ParseSeal(c.DSL, c.Head)
	if err != nil {
		return err
	}
	s.to.Store(to)
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.kept) // they are sealed to others
	return nil
}

// Record implements [policy.Sink].
func (s *sealing) Record(e *policy.Event) error {
	s.clean(e)
	return s.journal.Record(e)
}

// RecordBatch records events in one go.
func (s *sealing) RecordBatch(list []policy.Event) error {
	for i := range list {
		s.clean(&list[i])
	}
	return s.journal.RecordBatch(list)
}

// clean leaves no address of a mandatory list in an event: not that of a hit, nor one
// that somebody searched for or that is part of another.
func (s *sealing) clean(e *policy.Event) {
	if e.Secret != nil {
		s.seal(e)
	}
	if e.Path != "" || e.Words != "" {
		lists := s.lists()
		e.Path, e.Words = unsaid(lists, e.Path), unsaid(lists, e.Words)
	}
}

// seal takes the address off the event and leaves it sealed. That it fails is no
// reason to lose the event.
func (s *sealing) seal(e *policy.Event) {
	address := e.Secret.Reveal()
	e.Secret = nil
	to := s.to.Load()
	if to == nil {
		return
	}
	key, now := sha256.Sum256([]byte(address)), time.Now()
	s.mu.Lock()
	kept, ok := s.kept[key]
	s.mu.Unlock()
	if ok && now.Before(kept.until) {
		e.Sealed = kept.sealed
		return
	}
	if !s.limit.AllowN(now, 1) {
		s.log.Warn("too many hits on mandatory lists at once: some are recorded without their sealed address")
		return
	}
	sealed, err := to.Close(address)
	if err != nil {
		s.log.Error("address of a mandatory hit not sealed, so it is not kept", "err", err)
		return
	}
	e.Sealed = string(sealed)
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.kept) >= sealsKept {
		clear(s.kept)
	}
	s.kept[key] = keptSeal{e.Sealed, now.Add(sealKeep)}
}
