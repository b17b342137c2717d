package proxy

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/elazarl/goproxy"

	"schoolgate/policy"
)

// Server is the HTTP(S) door. It is made by New and serves while Run runs.
type Server struct {
	decider  Decider
	sink     policy.Sink
	resolver Resolver
	pages    Pages
	names    Names // may be nil
	log      *slog.Logger
	metrics  *metrics
	limits   Limits
	sayLost  atomic.Int64 // when the log last said that events are lost

	unrecorded atomic.Bool // the last event could not be recorded

	connectPorts, httpPorts []uint16
	destinations            *destinations
	gate                    *gate
	transport               *http.Transport
	inspector               *inspector // nil looks inside nothing
	watch                   Watch      // nil hears no search
	sessions                tls.ClientSessionCache
	goproxy                 *goproxy.ProxyHttpServer
	tunnels                 tunnels
	rechecking              sync.Mutex // one recheck of the open tunnels at a time
	serving                 serving
	conns                   sync.WaitGroup // those that net/http holds

	// life ends when the drain time is over: work of tunnels that no client
	// waits for hangs on it.
	life context.Context
	end  context.CancelFunc

	doors []door
}

// door is one listener with what serves it: no server for TLS that was
// redirected to us, which is peeked at and not parsed.
type door struct {
	listener net.Listener
	server   *http.Server
}

func (d door) serve(s *Server) error {
	if d.server == nil {
		return s.serveTLS(d.listener)
	}
	return d.server.Serve(d.listener)
}

// shut lets no more in and waits for requests under way until ctx is done.
func (d door) shut(ctx context.Context) {
	if d.server == nil {
		d.listener.Close() // it cannot fail but by being closed already
	} else if d.server.Shutdown(ctx) != nil {
		d.server.Close() // the drain time is over; errors close sockets only
	}
}

// New checks cfg and binds, so a taken port is reported here. Call Run or Close.
func New(cfg Config) (*Server, error) {
	if err := cfg.check(); err != nil {
		return nil, err
	}
	m, err := newMetrics(cfg.Metrics)
	if err != nil {
		return nil, err
	}
	d, err := newDestinations(cfg.AllowDestinations, cfg.School...)
	if err != nil {
		return nil, err
	}
	s := &Server{
		decider: cfg.Decider, sink: cfg.Sink, resolver: cfg.Resolver, pages: cfg.Pages, names: cfg.Names,
		log: cfg.Log, metrics: m, limits: cfg.Limits,
		connectPorts: cfg.ConnectPorts, httpPorts: cfg.HTTPPorts,
		destinations: d, gate: newGate(cfg.Limits, m),
		inspector: newInspector(cfg.Inspection), watch: cfg.Watch, sessions: tls.NewLRUClientSessionCache(1024),
	}
	s.life, s.end = context.WithCancel(context.Background())
	s.tunnels.open = map[*tunnel]struct{}{}
	s.transport = s.newTransport()
	s.goproxy = s.newGoproxy()
	for _, d := range []struct {
		addrs   []string
		kind    kind
		handler http.HandlerFunc
	}{
		{cfg.Listen, kind{}, s.ServeHTTP},
		{cfg.PageListen, kind{}, s.servePage},
		{cfg.Transparent.HTTP, transparentHTTP, s.serveTransparent},
		{cfg.Transparent.TLS, transparentTLS, nil},
	} {
		for _, addr := range d.addrs {
			err = errors.Join(err, s.bind(addr, &listener{gate: s.gate, kind: d.kind, original: cfg.original}, d.handler))
		}
	}
	if s.inspector != nil {
		s.doors = append(s.doors, door{s.inspector.inbox, s.newInsideServer()})
	}
	if err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

func (s *Server) bind(addr string, l *listener, h http.Handler) (err error) {
	if l.Listener, err = net.Listen("tcp", addr); err != nil {
		return err
	}
	d := door{listener: l}
	if !l.kind.tls {
		d.server = s.newHTTPServer(h)
	}
	s.doors = append(s.doors, d)
	return nil
}

// newHTTPServer bounds what a client may do before there is a request. There is
// no bound on a whole request or reply: uploads and downloads may be long, but
// each must keep moving (promptWriter, patientBody).
func (s *Server) newHTTPServer(h http.Handler) *http.Server {
	return &http.Server{
		Handler:                      h,
		ReadHeaderTimeout:            s.limits.HeaderTime,
		IdleTimeout:                  s.limits.IdleClient,
		MaxHeaderBytes:               s.limits.HeaderBytes,
		ErrorLog:                     log.New(io.Discard, "", 0), // it would hold addresses and paths
		ConnContext:                  withPeer,
		ConnState:                    s.connState,
		DisableGeneralOptionsHandler: true,
	}
}

func (s *Server) connState(c net.Conn, state http.ConnState) {
	p, ok := c.(*peer)
	if !ok {
		return
	}
	switch state {
	case http.StateNew:
		s.conns.Add(1)
	case http.StateActive:
		p.begun.Add(1)
	case http.StateHijacked:
		s.conns.Done()
	case http.StateClosed:
		if p.begun.Load() > p.asked.Load() && !p.over.Load() {
			s.unreadable(p)
		}
		s.conns.Done()
	}
}

// Addrs are the addresses bound: those of Listen, of PageListen, of
// Transparent.HTTP and of Transparent.TLS, in this order.
func (s *Server) Addrs() []net.Addr {
	var list []net.Addr
	for _, d := range s.doors {
		if l, ok := d.listener.(*listener); ok {
			list = append(list, l.Addr())
		}
	}
	return list
}

// Run answers until ctx is done, gives what is under way the drain time, closes
// the rest and returns nil.
func (s *Server) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var running sync.WaitGroup
	for _, d := range s.doors {
		running.Go(func() {
			if err := d.serve(s); !errors.Is(err, http.ErrServerClosed) {
				cancel(fmt.Errorf("proxy: %w", err))
			}
		})
	}
	running.Go(func() { s.keep(ctx) })
	<-ctx.Done()
	s.drain()
	running.Wait()
	s.conns.Wait()
	if err := context.Cause(ctx); !errors.Is(err, context.Canceled) && !errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	return nil
}

// keep looks after open tunnels and after which addresses are the box's own.
func (s *Server) keep(ctx context.Context) {
	recheck := time.NewTicker(s.limits.Recheck)
	defer recheck.Stop()
	own := time.NewTicker(30 * time.Second)
	defer own.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-recheck.C:
			s.revoke()
		case <-own.C:
			if err := s.destinations.refresh(); err != nil {
				s.log.Warn("own addresses not read, keeping the last known", "err", err)
			}
		}
	}
}

// drain ends everything: requests may finish within the drain time, tunnels are
// given the same and then closed.
func (s *Server) drain() {
	ctx, cancel := context.WithTimeout(context.Background(), s.limits.Drain)
	defer cancel()
	s.tunnels.refuse()
	var closing sync.WaitGroup
	for _, d := range s.doors {
		closing.Go(func() { d.shut(ctx) })
	}
	closing.Wait()
	s.serving.close()
	s.tunnels.wait(ctx, s.end)
	s.transport.CloseIdleConnections()
}

// Close gives the listeners of a Server back that will not be run.
func (s *Server) Close() error {
	s.end()
	var err error
	for _, d := range s.doors {
		err = errors.Join(err, d.listener.Close())
	}
	return err
}
