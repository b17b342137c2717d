package alerts

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"schoolgate/policy"
)

// journal is a source in memory. It can break off and go on.
type journal struct {
	mu     sync.Mutex
	events []policy.Event
	more   chan struct{}
	broken int // how many times Follow still fails
	gap    policy.EventID
}

var errAhead = errors.New("cursor is ahead of the journal")

func (j *journal) add(evs ...policy.Event) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, ev := range evs {
		ev.ID = policy.EventID(len(j.events) + 1)
		if ev.Time.IsZero() {
			ev.Time = time.Now()
		}
		j.events = append(j.events, ev)
	}
	if j.more != nil {
		close(j.more)
		j.more = nil
	}
}

func (j *journal) next(after policy.EventID) (ev policy.Event, ok bool, wait chan struct{}, err error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.broken > 0 {
		j.broken--
		return ev, false, nil, errors.New("segment cannot be read")
	}
	if int(after) > len(j.events) {
		return ev, false, nil, errAhead
	}
	if int(after) < len(j.events) {
		return j.events[after], true, nil, nil
	}
	if j.more == nil {
		j.more = make(chan struct{})
	}
	return ev, false, j.more, nil
}

func (j *journal) Follow(ctx context.Context, after policy.EventID) iter.Seq2[policy.Event, error] {
	return func(yield func(policy.Event, error) bool) {
		for {
			ev, ok, wait, err := j.next(after)
			switch {
			case err != nil:
				yield(ev, err)
				return
			case ok:
				after = ev.ID
				if ev.ID == j.gap {
					ev, err = policy.Event{}, errors.New("event cannot be read")
				}
				if !yield(ev, err) {
					return
				}
			default:
				select {
				case <-wait:
				case <-ctx.Done():
					return
				}
			}
		}
	}
}

// postbox is a mail server in memory; answer, if set, says how a try goes.
type postbox struct {
	mu     sync.Mutex
	got    []Message
	tries  int
	answer func(Message) error
}

func (p *postbox) Send(ctx context.Context, m Message) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.tries++
	if p.answer != nil {
		if err := p.answer(m); err != nil {
			return err
		}
	}
	p.got = append(p.got, m)
	return nil
}

func (p *postbox) set(answer func(Message) error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.answer = answer
}

func (p *postbox) messages() []Message {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]Message(nil), p.got...)
}

func (p *postbox) subjects() (list []string) {
	for _, m := range p.messages() {
		list = append(list, m.To+": "+m.Subject)
	}
	return list
}

func fails(t Trouble) func(Message) error {
	return func(Message) error { return &SendError{Trouble: t, Text: "as the test says"} }
}

const (
	dsl    = "dsl@school.example"
	deputy = "deputy@school.example"
	head   = "head@school.example"
)

// roles are people by the role they hold.
type roles struct{ DSL, Deputy, Head, Chair, IT []string }

var everybody = roles{DSL: []string{dsl}, Deputy: []string{deputy}, Head: []string{head}}

// people merges them: one address is one person, whatever roles they hold.
func (r roles) people() (list []Person) {
	for _, held := range []struct {
		role string
		ways []string
	}{{RoleDSL, r.DSL}, {RoleDeputy, r.Deputy}, {RoleHead, r.Head}, {RoleChair, r.Chair}, {RoleIT, r.IT}} {
	next:
		for _, way := range held.ways {
			for i := range list {
				if strings.EqualFold(list[i].Mail, way) {
					list[i].Roles = append(list[i].Roles, held.role)
					continue next
				}
			}
			list = append(list, Person{Roles: []string{held.role}, Mail: way})
		}
	}
	return list
}

// attempt is a pupil's blocked try at something of severity 3.
func attempt(device string) policy.Event {
	return policy.Event{
		Client: "10.2.0.7", Device: device, Pupil: true, Host: "bad.example", Door: policy.DoorDNS,
		Verdict: policy.Block, Reason: policy.ReasonCategory, Category: policy.Pornography, Severity: 3,
	}
}

func severe(ev policy.Event, severity uint8) policy.Event {
	ev.Severity = severity
	return ev
}

// box is a service on a directory, with its journal and mail server.
type box struct {
	t *testing.T
	journal
	postbox
	cfg Config
	// roles are who is named, unless cfg.Plan names somebody.
	roles roles
	log   strings.Builder
	s     *Service
	stop  func()
}

func newBox(t *testing.T) *box {
	b := &box{t: t, roles: everybody}
	b.cfg = Config{
		Dir: filepath.Join(t.TempDir(), "alerts"), Source: &b.journal, Mailer: &b.postbox,
		Console: "https://schoolgate.school.example",
		Log:     slog.New(slog.NewTextHandler(&b.log, nil)),
	}
	return b
}

// open makes the service and does not run it.
func (b *box) open() {
	b.t.Helper()
	cfg := b.cfg
	if cfg.Plan.People == nil {
		cfg.Plan.People = b.roles.people()
	}
	s, err := New(cfg)
	if err != nil {
		b.t.Fatal(err)
	}
	s.ledger.db.NoSync = true // the tests stop the process, not the power
	b.s = s
}

// start runs the service until stop; stop checks the state it leaves.
func (b *box) start() {
	b.t.Helper()
	b.open()
	ctx, cancel := context.WithCancel(b.t.Context())
	done := make(chan error, 1)
	go func() { done <- b.s.Run(ctx) }()
	b.stop = func() {
		b.t.Helper()
		cancel()
		if err := <-done; err != nil {
			b.t.Errorf("Run = %v, want nil", err)
		}
		b.check()
	}
}

// check opens the state and holds its invariants.
func (b *box) check() {
	b.t.Helper()
	b.open()
	defer b.s.Close()
	if err := b.s.ledger.view(invariants); err != nil {
		b.t.Error(err)
	}
}

// invariants: what an alert says of its mails is what the outbox holds, and every
// open alert is found by its key.
func invariants(t *tx) error {
	waiting, dead := map[policy.EventID]int{}, map[policy.EventID]int{}
	err := t.eachMail(func(m *Mail) error {
		for _, id := range m.Alerts {
			if m.Dead {
				dead[id]++
			} else {
				waiting[id]++
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	_, owed, err := t.held()
	if err != nil {
		return err
	}
	for _, ids := range owed {
		for _, id := range ids {
			waiting[id]++
		}
	}
	open := 0
	err = t.Bucket(bucketAlerts).ForEach(func(k, v []byte) error {
		var a Alert
		if err := decode(v, &a); err != nil {
			return err
		}
		if !a.Over {
			open++
		}
		if a.Waiting != waiting[a.ID] || a.Undelivered != dead[a.ID] {
			return fmt.Errorf("%s: waiting %d, undelivered %d; outbox has %d and %d", a.Reference(), a.Waiting, a.Undelivered, waiting[a.ID], dead[a.ID])
		}
		if a.Over && a.Told != a.Count && a.From.IsZero() {
			return fmt.Errorf("%s: over, told %d of %d", a.Reference(), a.Told, a.Count)
		}
		for kind, at := range map[byte]time.Time{clockAnswer: a.Due, clockTell: a.From} {
			if runs := t.Bucket(bucketClocks).Get(clockKey(kind, a.ID)) != nil; runs == at.IsZero() {
				return fmt.Errorf("%s: clock %c runs: %t, and it says %v", a.Reference(), kind, runs, at)
			}
		}
		if a.From.IsZero() && a.State == StateNew && a.Waiting+a.Sent+a.Undelivered == 0 {
			return fmt.Errorf("%s: nobody was told, and nobody is to be", a.Reference())
		}
		if a.State != StateNew && !a.Due.IsZero() {
			return fmt.Errorf("%s is %s and a clock runs", a.Reference(), a.State)
		}
		delete(waiting, a.ID)
		delete(dead, a.ID)
		return nil
	})
	if err != nil {
		return err
	}
	if n := count(t.Bucket(bucketOpen)); n != open || len(waiting)+len(dead) > 0 {
		return fmt.Errorf("%d open alerts, %d keys; mails of unknown alerts: %v %v", open, n, waiting, dead)
	}
	for err := range t.Check() {
		return err
	}
	return nil
}

// slow is a mail server that takes its time until released.
type slow struct {
	*postbox
	release chan struct{}
}

func (s slow) Send(ctx context.Context, m Message) error {
	select {
	case <-s.release:
		return s.postbox.Send(ctx, m)
	case <-ctx.Done():
		return ctx.Err()
	}
}
