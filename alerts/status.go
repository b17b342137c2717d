package alerts

import (
	"encoding/binary"
	"time"

	"schoolgate/policy"
)

// health is what the last tries said.
type health struct {
	trouble   Trouble
	troubleAt time.Time
	lastSent  time.Time
	state     error
}

// Status says how the telling stands, for readiness, metrics and the console.
type Status struct {
	Open        int // alerts whose quiet period runs
	Queued      int // mails that wait for the server
	Oldest      time.Duration
	Held        int // alerts owed to somebody and waiting for a summary mail
	Unaddressed int // alerts nobody is configured to hear of
	Dead        int // mails given up after a week
	Unanswered  int // alerts that wait for somebody to acknowledge them
	Overdue     int // of those, not acknowledged in time

	Cursor    policy.EventID // how far the journal has been read and kept
	Trouble   Trouble        // of the last try; none after a success
	TroubleAt time.Time
	LastSent  time.Time
	State     error // why the state cannot be written, nil if it can
}

// Ready reports whether alerts are being kept. Mail trouble does not make the box
// unready (F13): serving goes on and the alerts are late, not lost.
func (s Status) Ready() bool { return s.State == nil }

// Status reads the state now.
func (s *Service) Status() Status {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := Status{Trouble: s.health.trouble, TroubleAt: s.health.troubleAt, LastSent: s.health.lastSent, State: s.health.state}
	if s.closed {
		return st
	}
	if err := s.ledger.view(st.read); err != nil && st.State == nil {
		st.State = err
	}
	return st
}

func (st *Status) read(t *tx) (err error) {
	st.Open = count(t.Bucket(bucketOpen))
	if st.Cursor, err = t.cursor(); err != nil {
		return err
	}
	err = t.Bucket(bucketHeld).ForEach(func(k, _ []byte) error {
		if k[0] == 0 {
			st.Unaddressed++
		} else {
			st.Held++
		}
		return nil
	})
	if err != nil {
		return err
	}
	if err := st.readClocks(t); err != nil {
		return err
	}
	return t.eachMail(func(m *Mail) error {
		if m.Dead {
			st.Dead++
			return nil
		}
		st.Queued++
		st.Oldest = max(st.Oldest, t.now.Sub(m.Queued))
		return nil
	})
}

func (st *Status) readClocks(t *tx) error {
	return t.Bucket(bucketClocks).ForEach(func(k, _ []byte) error {
		if k[0] != clockAnswer {
			return nil
		}
		st.Unanswered++
		a, err := t.alert(policy.EventID(binary.BigEndian.Uint64(k[1:])))
		if err == nil && a.Late > 0 {
			st.Overdue++
		}
		return err
	})
}

// position is how far the journal has been read and kept.
func (l *ledger) position() (id policy.EventID, err error) {
	err = l.view(func(t *tx) error {
		id, err = t.cursor()
		return err
	})
	return id, err
}

func (s *Service) sendHealth(t Trouble) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.health.trouble = t
	if t == TroubleNone {
		s.health.lastSent = time.Now()
	} else {
		s.health.troubleAt = time.Now()
	}
}

func (s *Service) setStateTrouble(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.health.state = err
}

func (s *Service) stateTrouble(message string, err error) {
	s.setStateTrouble(err)
	s.metrics.stateErrors.Inc()
	s.log.Error(message, "err", err)
}
