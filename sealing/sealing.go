package sealing

import (
	"crypto/sha256"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"

	"schoolgate/audit"
	"schoolgate/configs"
	"schoolgate/helpcount"
	"schoolgate/incidents"
	"schoolgate/policy"
	"schoolgate/redaction"
)

// Sink is the journal as the doors see it. What must not be kept in clear, the
// address of a mandatory hit, is sealed on its way, or dropped where the school has
// given no keys (F7, privacy 8). Other events cost it a comparison, and pages with a
// dot in the path a look at the lists.
type Sink struct {
	journal *audit.Journal
	log     *slog.Logger
	to      atomic.Pointer[incidents.Seal] // nil keeps nothing
	limit   *rate.Limiter
	lists   func() policy.Classifier // in force; nil before there are any
	help    *helpcount.Count         // of what is counted and not written

	// helpLine reports whether a host is a help-line's, also with a suffix behind it.
	helpLine func(name string, suffix bool) bool

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

// Options is what a sink stands on.
type Options struct {
	Journal *audit.Journal
	Help    *helpcount.Count // of what is counted and not written
	Log     *slog.Logger
	Lists   func() policy.Classifier // in force; nil before there are any
	// HelpLine reports whether a host is a help-line's, also with a suffix behind it.
	HelpLine func(name string, suffix bool) bool
}

// New makes a sink, which seals nothing before it is configured.
func New(o Options) *Sink {
	return &Sink{
		journal: o.Journal, help: o.Help, log: o.Log, lists: o.Lists, helpLine: o.HelpLine,
		limit: rate.NewLimiter(sealsASec, sealsAtOnce), kept: map[[sha256.Size]byte]keptSeal{},
	}
}

// Configure takes the keys of a configuration.
func (s *Sink) Configure(c configs.Seal) error {
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
func (s *Sink) Record(e *policy.Event) error {
	if s.clean(e); e.Shielded {
		s.help.Add(e)
		return nil
	}
	return s.journal.Record(e)
}

// Waits reports whether Record will wait for the disk with an event.
func (s *Sink) Waits(e *policy.Event) bool { return s.journal.Waits(e) }

// RecordBatch records events in one go.
func (s *Sink) RecordBatch(list []policy.Event) error {
	shielded := 0
	for i := range list {
		if s.clean(&list[i]); list[i].Shielded {
			shielded++
		}
	}
	if shielded == 0 {
		return s.journal.RecordBatch(list)
	}
	rest := make([]policy.Event, 0, len(list)-shielded)
	for i := range list {
		if list[i].Shielded {
			s.help.Add(&list[i])
		} else {
			rest = append(rest, list[i])
		}
	}
	err := s.journal.RecordBatch(rest)
	for i := range list {
		if !list[i].Shielded {
			list[i].ID, rest = rest[0].ID, rest[1:]
		}
	}
	return err
}

// clean leaves no address of a mandatory list in an event: not that of a hit, nor one
// that somebody searched for or that is part of another; nor a help-line.
func (s *Sink) clean(e *policy.Event) {
	if e.Secret != nil {
		s.seal(e)
	}
	if e.Path != "" || e.Words != "" {
		lists := s.lists()
		e.Path, e.Words = redaction.Text(lists, e.Path), redaction.Text(lists, e.Words)
	}
	s.shield(e)
}

// shield leaves no help-line in an event of somebody (F10): a name that is not there
// since it has the school's suffix behind it, a search for one, the copy of one that
// an archive or a translator fetches. What a person must hear of they hear of all the
// same, without it.
func (s *Sink) shield(e *policy.Event) {
	if e.Shielded || e.Host == "" {
		return
	}
	if e.Door == policy.DoorDNS {
		if e.Status == nameError && !e.Flagged() && s.helpLine(e.Host, true) {
			e.Shielded = true
		}
		return
	}
	is := func(_, host string) bool { return s.helpLine(host, false) }
	if words := redaction.Without(e.Words, helpMark, is); words != e.Words {
		if e.Words = words; !e.Flagged() {
			e.Shielded, e.Theme = true, helpcount.Theme
		}
	}
	if redaction.Without(e.Path, helpMark, is) != e.Path {
		e.Path = ""
	}
}

const (
	nameError = 3 // the DNS code of a name that is not there
	helpMark  = "(a help-line)"
)

// seal takes the address off the event and leaves it sealed. That it fails is no
// reason to lose the event.
func (s *Sink) seal(e *policy.Event) {
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
