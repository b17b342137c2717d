package proxy

import (
	"context"
	"net/http"
	"runtime/debug"
	"sync"

	"schoolgate/policy"
)

// ServeHTTP takes every request of the explicit door. A panic ends that request
// and no other; it is counted and never becomes an allow (F26).
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if !s.serving.enter() {
		panic(http.ErrAbortHandler)
	}
	defer s.serving.leave()
	x := exchangeOf(r)
	if x == nil { // HTTP/2
		x = &exchange{writer: newPromptWriter(w, s.limits.IdleStream)}
		r = r.WithContext(context.WithValue(r.Context(), exchangeKey{}, x))
	}
	defer s.closeExchange(x, r)
	if r.ContentLength != 0 {
		// net/http reads on in a body that nobody wants, and has no deadline for it.
		if err := x.writer.control.SetReadDeadline(now().Add(s.limits.HeaderTime)); err != nil {
			return
		}
	}
	press := s.pressed(r)
	switch {
	case press != nil:
		press(x.writer, r, clientOf(r).Client)
	case r.Method == http.MethodConnect, !r.URL.IsAbs():
		s.goproxy.ServeHTTP(x.writer, r)
	case r.ProtoMajor == 1 && isUpgrade(r):
		s.upgrade(x, r)
	default:
		s.forward(x, r)
	}
}

// serving counts handlers at work. net/http does not wait for one that took its
// connection over, and nothing may outlive Run.
type serving struct {
	mu     sync.RWMutex
	closed bool
}

func (s *serving) enter() bool {
	s.mu.RLock()
	if s.closed {
		s.mu.RUnlock()
		return false
	}
	return true
}

func (s *serving) leave() { s.mu.RUnlock() }

// close lets no more in and returns once all have left.
func (s *serving) close() {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
}

// closeExchange runs when the handler is over, well or not.
func (s *Server) closeExchange(x *exchange, r *http.Request) {
	defer x.writer.finish()
	v := recover()
	if x.body != nil {
		x.body.finish()
	}
	if v != nil && v != http.ErrAbortHandler {
		s.metrics.panics.Inc()
		s.log.Error("panic in a request, request ended", "stack", string(debug.Stack()))
		if !x.writer.hijacked && !x.writer.wrote {
			s.sendPanicPage(x, r)
			return
		}
	}
	s.seal(&x.outcome) // a handler that ended early: nothing was answered, and it was asked
	if v != nil || x.broken {
		if p := onlyRequest(r); p != nil {
			p.reset()
		}
		panic(http.ErrAbortHandler) // net/http closes the connection without a word
	}
}

// onlyRequest is the connection of a request that has it for itself: an HTTP/2
// stream is reset without the others on its connection.
func onlyRequest(r *http.Request) *peer {
	if r.ProtoMajor >= 2 {
		return nil
	}
	return peerOf(r.Context())
}

func (s *Server) sendPanicPage(x *exchange, r *http.Request) {
	x.outcome.event.Status = http.StatusInternalServerError
	x.outcome.ruling.Verdict = policy.Block
	s.seal(&x.outcome)
	if err := send(x.writer, s.page(r, &x.outcome)); err != nil {
		s.log.Debug("error page not sent", "err", err)
	}
}
