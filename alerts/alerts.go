// Package alerts tells people what they must hear of. It reads the journal
// behind a cursor of its own and does five things, in this order:
//
//  1. a flagged event opens an alert, or is counted on the one that its client
//     and theme already have open (the quiet period)
//  2. the [Plan] says who hears of it and from when; the alert queues a mail for
//     each of them; one transaction on disk moves cursor, alert and mail together
//  3. the outbox is sent, gravest first, and tried again until the server takes it
//  4. a mail is struck off right after the server's 250
//  5. a clock runs until somebody acknowledges the alert ([ActAck], read from the
//     journal too); when it runs out the next person hears
//
// Beside them go notices of the box itself to those who look after it ([Notice]),
// by the same outbox. What is called a mail here may also be a webhook's call.
//
// So no crash loses an alert. A mail is repeated only if the crash fell between
// the 250 and the striking off, and the repeat carries the same Message-ID.
//
// A mail holds severity, reference, time, count and a link to the console. It
// never holds a name, address, host, URL, term or category (privacy 7), and none
// goes to the person it is about (R36). A slow or dead mail server never holds
// up the journal, nor one child's alert another's.
package alerts

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"schoolgate/policy"
)

// Source is the journal: events after a number, in order, waiting for new ones
// until ctx is done. It yields only what is on disk. An error within the sequence
// is a stretch that cannot be read; what comes behind it is read on.
type Source interface {
	Follow(ctx context.Context, after policy.EventID) iter.Seq2[policy.Event, error]
}

// Mailer hands one message to a mail server and returns nil once the server has
// taken it over (its 250). The error is a [*SendError] where the cause is known.
type Mailer interface {
	Send(ctx context.Context, m Message) error
}

// The bounds, each with what happens there.
const (
	// DefaultQuiet is how long further events of one client and theme are
	// counted on the alert before one follow-up mail carries the number.
	DefaultQuiet = 10 * time.Minute
	// DefaultMaxMails is how many mails one person gets in a quiet period; further
	// alerts wait, and go together in one mail when the period ends (T19).
	// Severities 1 to 3 may use half of it, so that they cannot hide a grave one.
	DefaultMaxMails = 20
	// DefaultMaxQueued is how many mails wait for the server. Beyond it alerts
	// wait without a mail of their own and go together when there is room.
	DefaultMaxQueued = 1000
	// DefaultKeep is how long an alert is kept after its last event (privacy 5).
	DefaultKeep = 180 * 24 * time.Hour

	maxOpen       = 5000        // open alerts; events of further clients share one alert for each theme
	maxKept       = 20000       // alerts kept; the oldest that are closed and told go first
	maxKeptUntold = 5 * maxKept // the same for alerts that nobody could be told
	maxEventID    = 100         // event numbers kept on an alert; further events are counted
	maxSummary    = 5000        // alerts told in one summary mail; the rest go in the next
	maxListed     = 1000        // alerts shown by List, newest first
)

// Config is what a [Service] is built from.
type Config struct {
	Dir      string // holds alerts.db and alerts.json
	Source   Source
	Ahead    error  // what Source yields for a cursor it never reached: the journal was lost or replaced; may be nil
	Mailer   Mailer // nil: alerts are kept and listed, and wait for one
	Hooks    Mailer // calls the webhooks of the plan; nil if it has none
	Plan     Plan
	Console  string         // the console's address, e.g. https://schoolgate.example; "" before there is one
	Location *time.Location // the school's, for times in mails; nil is UTC

	Quiet     time.Duration // 0 is DefaultQuiet, and so on
	MaxMails  int
	MaxQueued int
	Keep      time.Duration

	Log        *slog.Logger
	Registerer prometheus.Registerer
}

func (c *Config) complete() error {
	if c.Source == nil {
		return errors.New("alerts: no source of events")
	}
	if err := c.Plan.check(); err != nil {
		return err
	}
	if err := checkConsole(c.Console); err != nil {
		return err
	}
	if c.Mailer == nil { // without a server nothing is addressed, so nothing goes stale
		c.Plan.mailOff()
	}
	setDefault(&c.Quiet, DefaultQuiet)
	setDefault(&c.MaxMails, DefaultMaxMails)
	setDefault(&c.MaxQueued, DefaultMaxQueued)
	setDefault(&c.Keep, DefaultKeep)
	if c.Quiet < 0 || c.MaxMails < 2 || c.MaxQueued < 1 || c.Keep < 0 {
		return errors.New("alerts: quiet period, mail limits and retention must be positive (at least 2 mails a quiet period)")
	}
	if c.Location == nil {
		c.Location = time.UTC
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return nil
}

func setDefault[T comparable](v *T, def T) {
	var zero T
	if *v == zero {
		*v = def
	}
}

// checkConsole holds the link to plain ASCII of a known scheme: it is written
// into every mail.
func checkConsole(s string) error {
	if s == "" {
		return nil
	}
	u, err := url.Parse(s)
	if err != nil || (u.Scheme != "https" && u.Scheme != "http") || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" || !printable(s) {
		return fmt.Errorf("alerts: bad console address %q: want one such as https://schoolgate.example", s)
	}
	return nil
}

// printable reports whether s is ASCII without spaces and controls, so that it
// cannot break out of the line it is written on.
func printable(s string) bool {
	return strings.IndexFunc(s, func(r rune) bool { return r <= ' ' || r > '~' }) < 0
}

// Service reads the journal and sends the mails.
type Service struct {
	cfg     Config
	ledger  *ledger
	metrics *metrics
	log     *slog.Logger

	mailReady map[string]chan struct{} // by lane: the outbox may have a new mail
	changed   chan struct{}            // the list on disk is out of date

	mu     sync.Mutex
	health health
	closed bool

	outright map[string]time.Time // when a notice was last sent past the outbox
}

// New checks cfg and opens the state in cfg.Dir, which one process at a time
// may hold. State that cannot be read is set aside, loudly, and built again from
// the journal. Call Run or Close.
func New(cfg Config) (*Service, error) {
	if err := cfg.complete(); err != nil {
		return nil, err
	}
	l, err := openLedger(&cfg)
	if err != nil {
		return nil, err
	}
	s := &Service{
		cfg: cfg, ledger: l, log: cfg.Log,
		mailReady: map[string]chan struct{}{}, changed: make(chan struct{}, 1), outright: map[string]time.Time{},
	}
	for _, by := range s.lanes() {
		s.mailReady[by] = make(chan struct{}, 1)
	}
	s.metrics = newMetrics(cfg.Registerer, s.Status)
	if len(s.cfg.Plan.listeners()) == 0 {
		s.log.Warn("no mail server or no recipient is configured: alerts are kept but reach nobody")
	}
	return s, nil
}

// Run works until ctx is done, finishes the mail under way (five seconds at
// most), closes the state and returns nil.
func (s *Service) Run(ctx context.Context) error {
	items := make(chan item, 256)
	var wg sync.WaitGroup
	wg.Go(func() { s.read(ctx, items) })
	for _, by := range s.lanes() {
		wg.Go(func() { s.send(ctx, by) })
	}
	wg.Go(func() { s.publish(ctx) })
	s.keep(ctx, items)
	wg.Wait()
	if err := s.writeList(); err != nil {
		s.log.Warn("list of alerts not written", "err", err)
	}
	return s.Close()
}

// Close lets go of the state. Run does it by itself.
func (s *Service) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil
	}
	s.closed = true
	return s.ledger.close()
}

// lanes are the servers that mails go by: that of all mail, and each webhook's.
func (s *Service) lanes() (list []string) {
	if s.cfg.Mailer != nil {
		list = append(list, "")
	}
	for _, way := range s.cfg.Plan.known() {
		if lane(way) != "" && s.cfg.Hooks != nil {
			list = append(list, lane(way))
		}
	}
	return list
}

// wakeSenders tells all lanes that there is something to send.
func (s *Service) wakeSenders() {
	for _, ch := range s.mailReady {
		poke(ch)
	}
}

// poke wakes whoever waits on ch; one wake is enough for many changes.
func poke(ch chan struct{}) {
	select {
	case ch <- struct{}{}:
	default:
	}
}

// pause waits for d or for ctx, and reports whether ctx is still alive.
func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}
