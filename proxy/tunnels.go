package proxy

import (
	"context"
	"runtime/debug"
	"sync"
	"time"

	"schoolgate/policy"
)

// tunnels is every open tunnel; it owns their goroutines.
type tunnels struct {
	mu      sync.Mutex
	open    map[*tunnel]struct{}
	closed  bool
	running sync.WaitGroup
}

// enter makes a tunnel one of them and returns what runs it, which the caller must
// call; nil means that the door is closing.
func (ts *tunnels) enter(tn *tunnel, run func()) func() {
	if !ts.admit(tn) {
		return nil
	}
	return ts.through(tn, run)
}

// admit makes a tunnel one of them until it is ended; false means that the door is
// closing.
func (ts *tunnels) admit(tn *tunnel) bool {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	if ts.closed {
		return false
	}
	ts.open[tn] = struct{}{}
	tn.server.metrics.tunnels.Set(float64(len(ts.open)))
	ts.running.Add(1)
	return true
}

// through returns what runs a tunnel that was admitted.
func (ts *tunnels) through(tn *tunnel, run func()) func() {
	return func() {
		defer ts.running.Done()
		defer ts.leave(tn)
		run()
	}
}

// start runs a tunnel that was a request: once the server is done with its connection,
// on the same goroutine where it can be. false means that the door is closing.
func (s *Server) start(tn *tunnel, x *exchange, run func()) bool {
	run = s.tunnels.enter(tn, run)
	switch {
	case run == nil:
		return false
	case x.writer.own != nil && x.writer.own.Then(run):
	default:
		s.crew.run(run)
	}
	return true
}

// leave ends a tunnel whose goroutine has nothing more to do, but for one that stands.
func (ts *tunnels) leave(tn *tunnel) {
	if v := recover(); v != nil {
		tn.server.metrics.panics.Inc()
		tn.server.log.Error("panic in a tunnel, tunnel closed", "stack", string(debug.Stack()))
		tn.close()
	}
	if !tn.handed {
		ts.end(tn)
	}
}

// hand gives a tunnel to the flows, which call ended; false if they cannot carry it.
func (ts *tunnels) hand(tn *tunnel) bool {
	tn.handed = true // first: it may have ended before begin returns
	ts.running.Add(1)
	if !tn.server.flows.begin(tn) {
		tn.handed = false
		ts.running.Done()
	}
	return tn.handed
}

func (ts *tunnels) ended(tn *tunnel) {
	ts.end(tn)
	ts.running.Done()
}

func (ts *tunnels) end(tn *tunnel) {
	tn.close()
	ts.mu.Lock()
	defer ts.mu.Unlock()
	delete(ts.open, tn)
	tn.server.metrics.tunnels.Set(float64(len(ts.open)))
}

func (ts *tunnels) list() []*tunnel {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	list := make([]*tunnel, 0, len(ts.open))
	for tn := range ts.open {
		list = append(list, tn)
	}
	return list
}

func (ts *tunnels) refuse() {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	ts.closed = true
}

// wait gives the tunnels until ctx is done, then ends and closes what is left,
// and returns when the last has gone.
func (ts *tunnels) wait(ctx context.Context, end func()) {
	defer end()
	stop := context.AfterFunc(ctx, func() {
		end()
		for _, tn := range ts.list() {
			tn.close()
		}
	})
	defer stop()
	ts.running.Wait()
}

// revoke decides every open tunnel anew and closes those no longer allowed
// (Y34): a changed policy, a new list or the end of a period reach what is open.
func (s *Server) revoke() {
	s.rechecking.Lock()
	defer s.rechecking.Unlock()
	var anew target // one for all of them: there may be thousands
	for _, tn := range s.tunnels.list() {
		judged := tn.judged.Load()
		if judged == nil {
			continue // still being decided
		}
		for i := range *judged {
			anew = (*judged)[i]
			if s.revokeFor(tn, &anew) {
				break
			}
			s.tellHeavy(tn, &(*judged)[i])
		}
	}
}

// tellHeavy records, once, that a pupil's connection to a site on no list has carried
// far more than pages have: a tunnel inside TLS or a WebSocket looks like that, and so
// does a film (Y28, Y31). It goes on.
func (s *Server) tellHeavy(tn *tunnel, judged *target) {
	if tn.heavy || tn.moved.Load() < s.limits.Heavy {
		return
	}
	t := *judged
	t.Time, t.finding = now(), findingVolume
	o := outcome{ruling: s.decide(&t)}
	if o.ruling.Verdict != policy.Allow || !onNoList(o.ruling.Reason) || !o.ruling.Band().Pupil() {
		return
	}
	tn.heavy = true
	s.describe(&t, &o, 0)
	s.seal(&o)
}

// idleness is since when nothing has moved.
type idleness struct {
	since time.Time
	moved int64
}

// endIdle closes the tunnels that stand and on which nothing has moved for the idle
// time. One goroutine calls it.
func (s *Server) endIdle(t time.Time) {
	for _, tn := range s.tunnels.list() {
		if moved := tn.moved.Load(); moved != tn.idle.moved || tn.idle.since.IsZero() {
			tn.idle = idleness{t, moved}
		} else if t.Sub(tn.idle.since) >= s.limits.IdleStream && tn.stands() {
			tn.close()
		}
	}
}

func (tn *tunnel) stands() bool {
	tn.mu.Lock()
	defer tn.mu.Unlock()
	return tn.flow != nil || tn.pair != nil && tn.pair.stands()
}

// Recheck does so at once, for what staff close in an emergency.
func (s *Server) Recheck() { s.revoke() }

// revokeExchange decides anew on an exchange under way, and records it, once, if it must end.
func (s *Server) revokeExchange(x *exchange) bool {
	t := x.target
	t.Time, t.finding = now(), ""
	if s.decide(&t).Verdict == policy.Allow {
		return false
	}
	if x.revoked.Swap(true) {
		return true // told already, by the other body
	}
	t.finding = findingRevoked
	s.metrics.revoked.Inc()
	s.judgeTunnel(t)
	return true
}

// revokeFor closes a tunnel that is not carried as it would be now. What only is carried
// otherwise has no event: nobody was refused, and what the client asks next has its own.
func (s *Server) revokeFor(tn *tunnel, t *target) bool {
	t.Time, t.finding = now(), ""
	r := s.decide(t)
	switch allowed := r.Verdict == policy.Allow; {
	case allowed && s.turned(t, &r):
		tn.close()
		s.metrics.revoked.Inc()
		return true
	case allowed, t.paged:
		return false
	}
	t.finding = findingRevoked
	tn.close()
	s.metrics.revoked.Inc()
	s.judgeTunnel(*t)
	return true
}
