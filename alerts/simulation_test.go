package alerts

import (
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"schoolgate/policy"
)

var seeds = flag.Uint64("seeds", 6, "how many histories TestSimulation plays")

var errPower = errors.New("power cut")

// simulation drives the steps that Run drives, in an order of chance, with the
// power cut before and after any commit and any stage of a sending. Beside it
// stands a plain model: the flagged events, and what the server has taken.
type simulation struct {
	*box
	rng *rand.Rand

	taken     map[string]string // Message-ID → text, as the server first took it
	copies    map[string]int    // how often
	ambiguous map[string]int    // how often the sender could not know it was taken
	told      map[policy.EventID]int
	names     map[uint64]string // mail in the outbox → the Message-ID it was first sent under
}

func (s *simulation) chance(n int) bool { return s.rng.IntN(n) == 0 }

// crash drops the process and starts another on the same disk.
func (s *simulation) crash() {
	s.s.Close()
	s.open()
	s.arm()
}

// arm makes about one commit in eight fail, half of them after the disk has it.
func (s *simulation) arm() {
	s.s.ledger.crash = func(committed bool) error {
		if s.chance(16) {
			return errPower
		}
		return nil
	}
}

// server is the mail server's side: what it takes it keeps, whatever the sender
// comes to know of it.
func (s *simulation) server(m Message) error {
	take := func() {
		if was, ok := s.taken[m.ID+m.To]; ok && was != m.Subject+m.Text {
			s.t.Errorf("mail %s repeated with another text:\n%s\n%s", m.ID, was, m.Subject+m.Text)
		}
		s.taken[m.ID+m.To] = m.Subject + m.Text
		s.copies[m.ID+m.To]++
	}
	switch s.rng.IntN(8) {
	case 0:
		return &SendError{Trouble: TroubleUnreachable}
	case 1:
		return &SendError{Trouble: TroubleTemporary}
	case 2:
		return &SendError{Trouble: TroublePermanent}
	case 3: // broke before the end of the message
		return &SendError{Trouble: TroubleDropped}
	case 4: // taken, and the connection broke before the 250
		take()
		s.ambiguous[m.ID+m.To]++
		return &SendError{Trouble: TroubleDropped}
	}
	take()
	return nil
}

// step does one thing of chance; an error is a crash.
func (s *simulation) step() error {
	l := s.s.ledger
	switch s.rng.IntN(6) {
	case 0, 1:
		for range 1 + s.rng.IntN(5) {
			ev := severe(attempt(fmt.Sprint("tablet-", s.rng.IntN(6))), uint8(s.rng.IntN(6)))
			ev.Pupil = !s.chance(5)
			if s.chance(3) {
				ev.Category = policy.Extremism
			}
			s.add(ev)
		}
	case 2:
		return s.readSome()
	case 3:
		time.Sleep(time.Duration(s.rng.IntN(7)) * time.Minute)
	case 4:
		_, _, err := l.tick()
		return err
	case 5:
		return s.sendOne()
	}
	return nil
}

// readSome absorbs a stretch of the journal from the cursor, sometimes from
// before it, as a reader does that lost its place.
func (s *simulation) readSome() error {
	after, err := s.s.ledger.position()
	if err != nil {
		return err
	}
	if s.chance(4) {
		after = policy.EventID(s.rng.IntN(int(after) + 1))
	}
	upto := min(int(after)+1+s.rng.IntN(8), len(s.events))
	if int(after) >= upto {
		return nil
	}
	var flagged []policy.Event
	for _, ev := range s.events[after:upto] {
		if ev.Flagged() {
			flagged = append(flagged, ev)
		}
	}
	_, err = s.s.ledger.absorb(flagged, policy.EventID(upto))
	return err
}

func (s *simulation) sendOne() error {
	m, _, err := s.s.ledger.due("")
	if m == nil || err != nil {
		return err
	}
	if s.chance(10) {
		return errPower // before a byte was sent
	}
	msg := s.s.message(m)
	if was, ok := s.names[m.ID]; ok && was != msg.ID {
		s.t.Errorf("mail %d sent as %s, then as %s", m.ID, was, msg.ID)
	}
	s.names[m.ID] = msg.ID
	if err := s.server(msg); err != nil {
		_, err := s.s.ledger.failed(m, troubleOf(err))
		return err
	}
	err = errPower
	if !s.chance(10) { // else: after the 250, before it is written down
		err = s.s.ledger.sent(m)
	}
	if err != nil {
		s.ambiguous[msg.ID+msg.To]++
	}
	for _, id := range m.Alerts {
		s.told[id]++
	}
	return err
}

// settle ends the trouble and lets the box come to rest.
func (s *simulation) settle() {
	s.s.ledger.crash = nil
	for range 2000 {
		after, err := s.s.ledger.position()
		if err != nil {
			s.t.Fatal(err)
		}
		if int(after) == len(s.events) && s.s.Status().Queued+s.s.Status().Held+s.s.Status().Open == 0 {
			return
		}
		if err := errors.Join(s.readSome(), s.settleMail()); err != nil {
			s.t.Fatal(err)
		}
		time.Sleep(5 * time.Minute)
		if _, _, err := s.s.ledger.tick(); err != nil {
			s.t.Fatal(err)
		}
	}
	s.t.Fatalf("not at rest: %+v", s.s.Status())
}

func (s *simulation) settleMail() error {
	for {
		m, _, err := s.s.ledger.due("")
		if m == nil || err != nil {
			return err
		}
		msg := s.s.message(m)
		s.taken[msg.ID+msg.To] = msg.Subject + msg.Text
		s.copies[msg.ID+msg.To]++
		for _, id := range m.Alerts {
			s.told[id]++
		}
		if err := s.s.ledger.sent(m); err != nil {
			return err
		}
	}
}

func keyOf(ev *policy.Event) string { return key(ev, theme(ev), nil) }

// judge compares with the model: every flagged event is on one alert, every alert
// was told in full, and nothing was repeated but where it could not be known.
func (s *simulation) judge() {
	want := map[string]int{}
	total := 0
	for i := range s.events {
		if ev := &s.events[i]; ev.Flagged() {
			want[keyOf(ev)]++
			total++
		}
	}
	got := map[string]int{}
	err := s.s.ledger.view(func(t *tx) error {
		return t.Bucket(bucketAlerts).ForEach(func(_, v []byte) error {
			var a Alert
			if err := decode(v, &a); err != nil {
				return err
			}
			first := s.events[a.ID-1]
			got[keyOf(&first)] += a.Count
			if s.told[a.ID] == 0 || !a.Over || a.Told != a.Count || a.Waiting != 0 || a.Undelivered != 0 {
				return fmt.Errorf("alert not told in full: %+v", a)
			}
			return nil
		})
	})
	if err == nil {
		err = s.s.ledger.view(invariants)
	}
	if err != nil {
		s.t.Error(err)
	}
	for k, n := range want {
		if got[k] != n {
			s.t.Errorf("%q: %d of %d events on alerts", k, got[k], n)
		}
		delete(got, k)
	}
	if len(got) > 0 {
		s.t.Errorf("events from nowhere: %v", got)
	}
	for id, n := range s.copies {
		if n > 1+s.ambiguous[id] {
			s.t.Errorf("mail %s taken %d times, and only %d could not be known", id, n, s.ambiguous[id])
		}
	}
	if total == 0 || len(s.copies) == 0 {
		s.t.Error("nothing happened")
	}
}

// No interleaving of crash, retry and further events loses an alert; a mail is
// repeated only if the crash fell between the 250 and the commit, and then under
// the same Message-ID with the same text.
func TestSimulation(t *testing.T) {
	for seed := range *seeds {
		synctest.Test(t, func(t *testing.T) {
			b := newBox(t)
			b.cfg.MaxMails = 4
			b.cfg.MaxQueued = 12
			s := &simulation{
				box: b, rng: rand.New(rand.NewPCG(seed, 1)), taken: map[string]string{}, copies: map[string]int{},
				ambiguous: map[string]int{}, told: map[policy.EventID]int{}, names: map[uint64]string{},
			}
			s.open()
			s.arm()
			for range 300 {
				err := s.step()
				if err != nil && !errors.Is(err, errPower) {
					t.Fatalf("seed %d: %v", seed, err)
				}
				if err != nil || s.chance(40) {
					s.crash()
				}
			}
			s.settle()
			s.judge()
			s.s.Close()
			if t.Failed() {
				t.Logf("seed %d", seed)
			}
		})
		if t.Failed() {
			return
		}
	}
}
