package upstream

import (
	"context"
	"crypto/x509"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/miekg/dns"
)

// server is one resolver we forward to, with what is known of its health.
type server struct {
	addr    netip.AddrPort
	sockets *sockets
	secure  secure // in place of sockets, for a server asked over TLS or HTTPS
	metrics *metrics
	plain   atomic.Bool // it does not keep the case of a question

	mu     sync.Mutex
	rtt    time.Duration // smoothed
	fails  int           // in a row
	until  time.Time     // taken for dead until then
	noEDNS time.Time     // asked without EDNS until then, which it refused (RFC 6891 section 7)
}

// secure is a way to a server that nobody can forge a reply on.
type secure interface {
	exchange(ctx context.Context, q Question, plain, edns bool) ([]byte, error)
	close()
}

const (
	deadAfter = 3 // failures in a row
	deadFor   = 5 * time.Second
	noEDNSFor = 10 * time.Minute
	decay     = 0.98 // of the time of a server that was passed over, so that it is tried again
)

var errServer = errors.New("upstream cannot answer")

// newServer reads addr:port, tls://addr:port#name or https://addr/path#name.
func newServer(s string, roots *x509.CertPool, m *metrics, batches func() Batch) (*server, error) {
	switch {
	case strings.HasPrefix(s, "tls://"):
		streams, err := parseTLS(s, roots)
		if err != nil {
			return nil, err
		}
		return &server{metrics: m, secure: streams}, nil
	case strings.HasPrefix(s, "https://"):
		web, err := parseHTTPS(s, roots)
		if err != nil {
			return nil, err
		}
		return &server{metrics: m, secure: web}, nil
	}
	addr, err := parseServer(s)
	if err != nil {
		return nil, err
	}
	return &server{addr: addr, metrics: m, sockets: newSockets(addr, m.forged.Inc, batches)}, nil
}

// ask sends the question and returns a reply that matches it. SERVFAIL, REFUSED
// and the like are errors: another server may do better.
func (s *server) ask(ctx context.Context, q Question) (*dns.Msg, error) {
	start := time.Now()
	m, err := s.try(ctx, q)
	if errors.Is(err, context.Canceled) {
		return nil, err // another server was faster, which says nothing of this one
	}
	s.metrics.exchange(err, time.Since(start))
	s.note(err, time.Since(start))
	return m, err
}

// try asks, and once more without EDNS where that seems not to be known. A server that
// then answers is asked without for a while. Not otherwise, and not for ever: a FORMERR
// may be about the question, which any device may choose, and a bare one may be forged.
func (s *server) try(ctx context.Context, q Question) (*dns.Msg, error) {
	edns := s.edns()
	m, err := s.say(ctx, q, edns)
	refused := err == nil && edns && m.Rcode == dns.RcodeFormatError && m.IsEdns0() == nil
	if refused {
		m, err = s.say(ctx, q, false)
	}
	switch {
	case err != nil:
		return nil, err
	case m.Rcode != dns.RcodeSuccess && m.Rcode != dns.RcodeNameError:
		return nil, fmt.Errorf("%w: %s", errServer, dns.RcodeToString[m.Rcode])
	case refused:
		s.mu.Lock()
		defer s.mu.Unlock()
		s.noEDNS = time.Now().Add(noEDNSFor)
	}
	return m, nil
}

// edns reports whether the server is asked with EDNS.
func (s *server) edns() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.noEDNS.IsZero() || time.Now().After(s.noEDNS)
}

// say gives the server's reply, whatever its code.
func (s *server) say(ctx context.Context, q Question, edns bool) (*dns.Msg, error) {
	wire, err := s.exchange(ctx, q, edns)
	if err != nil {
		return nil, err
	}
	return unpack(wire)
}

// exchange asks over UDP, and over TCP where the reply was cut or somebody seems
// to forge replies.
func (s *server) exchange(ctx context.Context, q Question, edns bool) ([]byte, error) {
	plain := s.plain.Load()
	if s.secure != nil {
		wire, err := s.secure.exchange(ctx, q, plain, edns)
		return s.believe(wire, err)
	}
	wire, err := s.sockets.exchange(ctx, q, plain, edns)
	switch {
	case errors.Is(err, errCase), errors.Is(err, errForged):
	case err != nil:
		return nil, err
	case binary.BigEndian.Uint16(wire[2:])&bitTC == 0:
		return wire, nil
	}
	s.metrics.tcp.Inc()
	wire, err = exchangeTCP(ctx, s.addr, q, plain, edns)
	return s.believe(wire, err)
}

// believe takes a reply over a connection for the server's own: nobody forges
// one, so a server that does not keep the case is like that.
func (s *server) believe(wire []byte, err error) ([]byte, error) {
	if errors.Is(err, errCase) {
		s.plain.Store(true)
		return wire, nil
	}
	return wire, err
}

func (s *server) close() {
	if s.secure != nil {
		s.secure.close()
		return
	}
	s.sockets.close()
}

// unpack reads a whole message; miekg/dns bounds its own work by the length, and
// a panic on odd bytes is an error like any other.
func unpack(wire []byte) (m *dns.Msg, err error) {
	defer func() {
		if p := recover(); p != nil {
			m, err = nil, fmt.Errorf("unpack reply: %v", p)
		}
	}()
	m = new(dns.Msg)
	if err := m.Unpack(wire); err != nil {
		return nil, fmt.Errorf("unpack reply: %w", err)
	}
	if m.Truncated {
		return nil, fmt.Errorf("%w: truncated over TCP", errServer)
	}
	return m, nil
}

// note keeps the health up to date.
func (s *server) note(err error, took time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil {
		if s.fails++; s.fails >= deadAfter {
			s.until = time.Now().Add(deadFor)
		}
		took = max(2*s.rtt, 400*time.Millisecond)
	} else {
		s.fails, s.until = 0, time.Time{}
	}
	if s.rtt == 0 {
		s.rtt = took
	}
	s.rtt = min((s.rtt*7+took)/8, 5*time.Second)
}

// rank gives what servers are ordered by; the dead come last.
func (s *server) rank(now time.Time) (dead bool, rtt time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return now.Before(s.until), s.rtt
}

func (s *server) forget() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.rtt = time.Duration(float64(s.rtt) * decay)
}

// pool is the servers of one zone.
type pool struct {
	servers []*server
	ordered bool // as configured; else the fastest first
}

// named is the server's way to its own address, nil if that is known.
func (s *server) named() *bootstrap {
	if w, ok := s.secure.(*web); ok {
		return w.name
	}
	return nil
}

// byAddress is the servers of the pool that can be asked without asking another.
func (p *pool) byAddress() *pool {
	known := &pool{ordered: p.ordered}
	for _, s := range p.servers {
		if s.named() == nil {
			known.servers = append(known.servers, s)
		}
	}
	return known
}

// order lists the servers from the one to ask first.
func (p *pool) order(now time.Time) []*server {
	type ranked struct {
		*server
		dead bool
		rtt  time.Duration
	}
	list := make([]ranked, len(p.servers))
	for i, s := range p.servers {
		dead, rtt := s.rank(now)
		list[i] = ranked{s, dead, rtt}
	}
	slices.SortStableFunc(list, func(a, b ranked) int {
		switch {
		case a.dead != b.dead && a.dead:
			return 1
		case a.dead != b.dead:
			return -1
		case p.ordered:
			return 0
		}
		return int(a.rtt - b.rtt)
	})
	servers := make([]*server, len(list))
	for i, r := range list {
		servers[i] = r.server
		if i > 0 {
			r.server.forget()
		}
	}
	return servers
}

// best is the server to ask first: the first of order, without the list.
func (p *pool) best(now time.Time) *server {
	if len(p.servers) == 1 {
		return p.servers[0]
	}
	var best *server
	var bestDead bool
	var bestRTT time.Duration
	for _, s := range p.servers {
		dead, rtt := s.rank(now)
		if best == nil || bestDead && !dead || bestDead == dead && !p.ordered && rtt < bestRTT {
			best, bestDead, bestRTT = s, dead, rtt
		}
	}
	for _, s := range p.servers {
		if s != best {
			s.forget()
		}
	}
	return best
}

// final is an error of accept after which nobody else is asked.
type final struct{ error }

func (f final) Unwrap() error { return f.error }

// waits is when the next attempt starts if none before it has answered.
var waits = []time.Duration{300 * time.Millisecond, 700 * time.Millisecond, time.Second, time.Second}

// ask tries the servers in order, the next one when the one before fails or
// takes long; the first usable reply wins.
func (p *pool) ask(ctx context.Context, q Question, accept func(*dns.Msg) error) error {
	ctx, cancel := context.WithCancel(ctx)
	var attempts sync.WaitGroup
	defer attempts.Wait()
	defer cancel()

	servers := p.order(time.Now())
	type outcome struct {
		m   *dns.Msg
		err error
	}
	replies := make(chan outcome, 2*len(servers)+len(waits)+1)
	started, failed := 0, 0
	start := func() {
		s := servers[started%len(servers)]
		started++
		attempts.Go(func() {
			actx, stop := context.WithTimeoutCause(ctx, 2*time.Second, errTimeout)
			defer stop()
			m, err := s.ask(actx, q)
			replies <- outcome{m, err}
		})
	}
	start()
	timer := time.NewTimer(waits[0])
	defer timer.Stop()
	var lastErr error
	for {
		select {
		case <-ctx.Done():
			return errors.Join(context.Cause(ctx), lastErr)
		case <-timer.C:
			if started <= len(waits) {
				start()
				timer.Reset(waits[min(started, len(waits))-1])
			}
		case r := <-replies:
			if r.err == nil {
				r.err = accept(r.m)
			}
			if r.err == nil {
				return nil
			}
			if end := (final{}); errors.As(r.err, &end) {
				return end.error
			}
			lastErr = r.err
			failed++
			if started < 2*len(servers) {
				start()
			} else if failed == started {
				return lastErr
			}
		}
	}
}

var errTimeout net.Error = timeoutError{}

type timeoutError struct{}

func (timeoutError) Error() string   { return "upstream did not answer in time" }
func (timeoutError) Timeout() bool   { return true }
func (timeoutError) Temporary() bool { return true }
