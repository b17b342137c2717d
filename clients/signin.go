package clients

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"log/slog"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/singleflight"
)

// SignIn answers who somebody is that signs in at the proxy. It takes the file of
// people up again when it changes.
type SignIn struct {
	file string
	log  *slog.Logger

	people  atomic.Pointer[People]
	looked  atomic.Int64 // when the file was last looked at
	changed time.Time    // of the file; guarded by reading
	reading sync.Mutex

	key     [32]byte      // of this process: what is remembered of passwords is of no use elsewhere
	slots   chan struct{} // at most two passwords are hashed at once
	waiting atomic.Int64
	flight  singleflight.Group

	mu       sync.Mutex
	known    map[[32]byte]remembered
	failures map[string]failed

	outcomes *prometheus.CounterVec
}

// remembered is a name and password that were looked at.
type remembered struct {
	good  bool
	until time.Time
}

type failed struct {
	times int
	since time.Time
}

const (
	goodFor = time.Hour       // no request waits for a hash in that time
	badFor  = 5 * time.Minute // nor does a browser that goes on sending an old password
	lookFor = time.Second     // how often the file is looked at

	lockFor       = 15 * time.Minute
	locksOneFrom  = 10 // wrong passwords for one name from one address
	locksAddress  = 30 // from one address, for any names
	locksName     = 60 // for one name, from anywhere
	maxRemembered = 20000
	maxWaiting    = 100 // for a hash; more are refused, and may ask again
)

// NewSignIn reads the file. A mistake in it is logged and leaves the people of
// before, at first nobody: the filter runs, and who is not known gets no more for it.
func NewSignIn(file string, log *slog.Logger, reg prometheus.Registerer) (*SignIn, error) {
	s := &SignIn{
		file: file, log: log, slots: make(chan struct{}, 2), known: map[[32]byte]remembered{}, failures: map[string]failed{},
		outcomes: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "schoolgate_sign_ins_total", Help: "Names and passwords looked at, by outcome; remembered ones are not counted again.",
		}, []string{"outcome"}),
	}
	for _, o := range []string{"good", "bad", "locked"} {
		s.outcomes.WithLabelValues(o)
	}
	if _, err := rand.Read(s.key[:]); err != nil {
		return nil, err
	}
	if err := s.read(time.Now()); err != nil {
		s.people.Store(&People{})
		s.log.Error("people not read, nobody can sign in", "err", err)
	}
	return s, reg.Register(s.outcomes)
}

// read takes the file up if it has changed.
func (s *SignIn) read(now time.Time) error {
	s.reading.Lock()
	defer s.reading.Unlock()
	s.looked.Store(now.UnixNano())
	var changed time.Time
	if info, err := os.Stat(s.file); err == nil {
		changed = info.ModTime()
	}
	if s.people.Load() != nil && changed.Equal(s.changed) {
		return nil
	}
	s.changed = changed
	all, err := ReadPeople(s.file)
	if err != nil {
		return err
	}
	s.people.Store(&all)
	s.mu.Lock()
	clear(s.known) // a password may be another now
	s.mu.Unlock()
	return nil
}

func (s *SignIn) current(now time.Time) People {
	if now.Sub(time.Unix(0, s.looked.Load())) >= lookFor {
		if err := s.read(now); err != nil {
			s.log.Error("people not read, keeping those of before", "err", err)
		}
	}
	return *s.people.Load()
}

// Group is the group of a person, for as long as that person may sign in.
func (s *SignIn) Group(name string) (string, bool) {
	now := time.Now()
	p, ok := s.current(now)[name]
	if !ok || !p.Until.IsZero() && !now.Before(p.Until) {
		return "", false
	}
	return p.Group, true
}

// Check reports whether a name and password are those of somebody who may sign in
// now. Who was checked within the hour does not wait; anybody else waits for a hash,
// of which two run at once.
func (s *SignIn) Check(name, password string, from netip.Addr) bool {
	if len(name) > maxName || len(password) > maxPassword {
		return false
	}
	mark, now := s.mark(name, password, from), time.Now()
	if _, ok := s.Group(name); !ok {
		name = "" // goes the same way as a wrong password, and takes as long
	}
	if good, ok := s.remember(mark, now); ok {
		return good
	}
	if s.locked(name, from, now) {
		s.outcomes.WithLabelValues("locked").Inc()
		return false
	}
	got, _, _ := s.flight.Do(string(mark[:]), func() (any, error) { return s.look(mark, name, password, from), nil })
	good, _ := got.(bool)
	return good
}

// look hashes the password.
func (s *SignIn) look(mark [32]byte, name, password string, from netip.Addr) bool {
	if s.waiting.Add(1) > maxWaiting {
		s.waiting.Add(-1)
		return false // nothing is remembered of it
	}
	s.slots <- struct{}{}
	s.waiting.Add(-1)
	if s.locked(name, from, time.Now()) { // many may have come at once, before the first was found wrong
		<-s.slots
		s.outcomes.WithLabelValues("locked").Inc()
		return false
	}
	people := s.people.Load()
	good := (*people)[name].has(password)
	<-s.slots
	now := time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.people.Load() != people {
		return good && (*s.people.Load())[name].hash == (*people)[name].hash // the file changed meanwhile: nothing is remembered
	}
	if len(s.known) >= maxRemembered {
		clear(s.known)
	}
	if good {
		s.known[mark] = remembered{true, now.Add(goodFor)}
		delete(s.failures, oneFrom(name, from))
		s.outcomes.WithLabelValues("good").Inc()
		return true
	}
	s.known[mark] = remembered{false, now.Add(badFor)}
	s.outcomes.WithLabelValues("bad").Inc()
	if len(s.failures) >= maxRemembered {
		clear(s.failures)
	}
	for _, k := range []string{oneFrom(name, from), from.String(), "name " + name} {
		f := s.failures[k]
		if now.Sub(f.since) > lockFor {
			f = failed{since: now}
		}
		f.times++
		s.failures[k] = f
	}
	return false
}

func oneFrom(name string, from netip.Addr) string { return from.String() + " " + name }

// locked reports whether too many wrong passwords came of late. Who has signed in
// already goes on.
func (s *SignIn) locked(name string, from netip.Addr, now time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	over := func(k string, limit int) bool {
		f := s.failures[k]
		return f.times >= limit && now.Sub(f.since) <= lockFor
	}
	return over(oneFrom(name, from), locksOneFrom) || over(from.String(), locksAddress) || name != "" && over("name "+name, locksName)
}

// mark is what is remembered of a name and a password from an address. From another
// they are looked at anew: who is locked out would otherwise learn, at any speed, the
// password of everybody who has signed in.
func (s *SignIn) mark(name, password string, from netip.Addr) (m [32]byte) {
	h := hmac.New(sha256.New, s.key[:])
	var n [4]byte
	binary.BigEndian.PutUint32(n[:], uint32(len(name)))
	h.Write(n[:])
	h.Write([]byte(name))
	ip := from.As16()
	h.Write(ip[:])
	h.Write([]byte(password))
	h.Sum(m[:0])
	return m
}

func (s *SignIn) remember(mark [32]byte, now time.Time) (good, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r, ok := s.known[mark]
	return r.good, ok && now.Before(r.until)
}
