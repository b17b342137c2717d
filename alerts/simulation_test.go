package alerts

import (
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
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

	wrong   time.Duration                           // how far the box's clock is off
	reached map[policy.EventID]map[string]time.Time // who was last told of what, and when
}

// drawPlan has everybody named, some of them away, some with a tablet of their own.
func (s *simulation) drawPlan() {
	s.calm()
	p := &s.cfg.Plan
	for i := range p.People {
		if s.chance(4) {
			p.People[i].Devices = []string{fmt.Sprint("tablet-", s.rng.IntN(6))}
		}
		if s.chance(4) {
			p.Away = append(p.Away, Away{Who: p.People[i].Mail, First: 20000101, Last: 20000101 + s.rng.IntN(3)})
		}
	}
}

// calm has nobody away and nobody with a tablet.
func (s *simulation) calm() {
	s.cfg.Plan = Plan{
		People: all.people(), Escalate: []string{RoleDeputy, RoleHead, RoleChair}, AtOnce: 4,
		Clocks: [6]Clock{5: {Within: 10 * time.Minute}, 4: {Within: time.Hour, InHours: true}, 3: {NextDay: true}},
		Hours:  Hours{Days: [7]bool{true, true, true, true, true, true, true}, From: 8 * 60, To: 16 * 60},
		Digest: Digest{Every: Daily, Upto: 1, At: 15 * 60},
		Rules:  []Rule{{Bypass: &Bypass{Tries: 3, Within: time.Hour}, Bands: [5]bool{true, true, true}, Severity: 3}},
	}
}

// answer has somebody acknowledge, close or note an alert, or what is none.
func (s *simulation) answer() {
	ref := reference(policy.EventID(1 + s.rng.IntN(len(s.events)+1)))
	switch s.rng.IntN(4) {
	case 0:
		s.add(staffAct("D", ActClose, ref, CloseNote(Outcomes()[s.rng.IntN(7)], "why")))
	case 1:
		s.add(staffAct("D", ActNote, ref, "a note"))
	default:
		s.add(staffAct("D", ActAck, ref, ""))
	}
}

// setClock puts the box's clock wrong, or right again.
func (s *simulation) setClock() {
	s.wrong = 0
	if s.chance(2) {
		s.wrong = []time.Duration{time.Hour, -time.Hour, 365 * 24 * time.Hour, -365 * 24 * time.Hour}[s.rng.IntN(4)]
	}
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
	s.s.ledger.now = func() time.Time { return time.Now().Add(s.wrong) }
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
	switch s.rng.IntN(9) {
	case 6:
		if len(s.events) > 0 {
			s.answer()
		}
	case 7:
		if s.chance(6) { // absence change and reload
			s.drawPlan()
			s.crash()
		}
	case 8:
		if s.chance(10) {
			s.setClock()
		}
	case 0, 1:
		for range 1 + s.rng.IntN(5) {
			ev := severe(attempt(fmt.Sprint("tablet-", s.rng.IntN(6))), uint8(s.rng.IntN(6)))
			ev.Pupil = !s.chance(5)
			if s.chance(3) {
				ev.Category = policy.Extremism
			}
			if s.chance(6) {
				ev = dodge(ev.Device, bypassFindings[s.rng.IntN(4)], "x.example")
			}
			s.add(ev)
		}
	case 2:
		return s.readSome()
	case 3:
		time.Sleep(time.Duration(s.rng.IntN(7)) * time.Minute)
		if s.chance(10) {
			time.Sleep(time.Duration(s.rng.IntN(12)) * time.Hour)
		}
	case 4:
		if _, _, err := l.tick(); err != nil {
			return err
		}
		return l.view(s.nothingOverdue)
	case 5:
		return s.sendOne()
	}
	return nil
}

// nothingOverdue: right after a tick every alert that waits for an answer has a
// clock that still runs, so somebody was told of each that ran out.
func (s *simulation) nothingOverdue(t *tx) error {
	return t.Bucket(bucketAlerts).ForEach(func(_, v []byte) error {
		var a Alert
		if err := decode(v, &a); err != nil {
			return err
		}
		if a.State == StateNew && (!a.Due.IsZero() && !a.Due.After(t.now) || !a.From.IsZero() && !a.From.After(t.now)) {
			return fmt.Errorf("at %v overdue after a tick: %+v", t.now, a)
		}
		return nil
	})
}

// lawful holds a mail that is about to be sent against the plan: nobody hears of an
// alert on themself, and nobody is called for what somebody answers for.
func (s *simulation) lawful(m *Mail) {
	err := s.s.ledger.view(func(t *tx) error {
		for _, id := range m.Alerts {
			a, err := t.alert(id)
			if err != nil {
				return err
			}
			if slices.Contains(subjects(&s.cfg.Plan, a), m.To) {
				return fmt.Errorf("%s is told of an alert on themself: %+v", m.To, a)
			}
			if len(m.Alerts) == 1 && a.State != StateNew && (m.Kind == kindOverdue || m.Kind == kindReminder) {
				return fmt.Errorf("%s is called for an alert that is %s", m.To, a.State)
			}
		}
		return nil
	})
	if err != nil {
		s.t.Error(err)
	}
}

// heard notes that the server has a mail.
func (s *simulation) heard(m *Mail) {
	for _, id := range m.Alerts {
		s.told[id]++
		if s.reached[id] == nil {
			s.reached[id] = map[string]time.Time{}
		}
		s.reached[id][m.To] = time.Now()
	}
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
		if ofConcern(&ev) {
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
	s.lawful(m)
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
	s.heard(m)
	return err
}

// settle ends the trouble and lets the box come to rest: nobody answers any more,
// and nine days go by.
func (s *simulation) settle() {
	s.wrong = 0
	s.calm()
	s.crash()
	s.s.ledger.crash = nil
	for end := time.Now().Add(9 * 24 * time.Hour); time.Now().Before(end); time.Sleep(20 * time.Minute) {
		if err := errors.Join(s.readSome(), s.settleMail()); err != nil {
			s.t.Fatal(err)
		}
		if _, _, err := s.s.ledger.tick(); err != nil {
			s.t.Fatal(err)
		}
	}
	for range 100 {
		if st := s.s.Status(); int(st.Cursor) == len(s.events) && st.Queued+st.Held+st.Open == 0 {
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
		s.lawful(m)
		s.heard(m)
		if err := s.s.ledger.sent(m); err != nil {
			return err
		}
	}
}

// judgeAnswers plays the journal's acts and events of one alert to a plain model,
// and holds that whoever had to be told of an unanswered one was.
func (s *simulation) judgeAnswers(a *Alert) error {
	state, severity := StateNew, uint8(0)
	for i := range s.events {
		ev := &s.events[i]
		switch {
		case slices.Contains(a.Events, ev.ID):
			grave := min(ev.Severity, 5)
			if a.Theme == ThemeBypass {
				grave = 3
			}
			if grave > severity && state == StateReview {
				state = StateNew
			}
			severity = max(severity, grave)
		case ev.ID < a.ID || ev.Subject != a.Reference() || state == StateClosed:
		case ev.Act == ActAck:
			state = StateReview
		case ev.Act == ActClose:
			state = StateClosed
		}
	}
	if a.State != state {
		return fmt.Errorf("%s is %s, want %s: %+v", a.Reference(), a.State, state, a)
	}
	if a.State != StateNew || s.cfg.Plan.Clocks[a.Severity].none() {
		return nil
	}
	must := []string{deputy, head, chair}
	if a.Adult {
		must = []string{head, chair}
	}
	if len(a.About) > 0 { // of somebody named when it was opened
		must = []string{chair}
		if slices.Contains(a.About, chair) {
			must = []string{head}
		}
	}
	for _, way := range must {
		if s.reached[a.ID][way].IsZero() {
			return fmt.Errorf("%s was never told of an alert that nobody answered: %+v, told %v", way, a, s.reached[a.ID])
		}
	}
	if last := s.reached[a.ID][must[len(must)-1]]; time.Since(last) > 60*time.Hour {
		return fmt.Errorf("the last reminder of %s is %v old: %+v", a.Reference(), time.Since(last), a)
	}
	return nil
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
			if a.Theme != ThemeBypass {
				first := s.events[a.ID-1]
				got[keyOf(&first)] += a.Count
			}
			if slices.Contains(a.About, head) && slices.Contains(a.About, chair) {
				if !a.Unaddressed || s.told[a.ID] > 0 { // nobody is left who may hear of it
					return fmt.Errorf("alert on Headteacher and chair: %+v", a)
				}
				return nil
			}
			if s.told[a.ID] == 0 && a.State == StateNew || !a.Over || a.Told != a.Count || a.Waiting != 0 || a.Undelivered != 0 || !a.From.IsZero() {
				return fmt.Errorf("alert not told in full: %+v", a)
			}
			return s.judgeAnswers(&a)
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

// No interleaving of crash, retry, acknowledge, close, absence change, reload, a
// clock set wrong, escalation and further events loses an alert; a mail is
// repeated only if the crash fell between the 250 and the commit, and then under
// the same Message-ID with the same text.
func TestSimulation(t *testing.T) {
	histories := *seeds
	if underRace {
		histories = min(histories, 3)
	}
	for seed := range histories {
		synctest.Test(t, func(t *testing.T) {
			b := newBox(t)
			b.cfg.MaxMails = 4
			b.cfg.MaxQueued = 12
			s := &simulation{
				box: b, rng: rand.New(rand.NewPCG(seed, 1)), taken: map[string]string{}, copies: map[string]int{},
				ambiguous: map[string]int{}, told: map[policy.EventID]int{}, names: map[uint64]string{},
				reached: map[policy.EventID]map[string]time.Time{},
			}
			s.drawPlan()
			s.open()
			s.arm()
			for range 400 {
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
