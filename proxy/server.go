package proxy

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/elazarl/goproxy"

	"schoolgate/policy"
	"schoolgate/proxy/destination"
	"schoolgate/proxy/gate"
	"schoolgate/proxy/http1"
	"schoolgate/proxy/origins"
	"schoolgate/proxy/pagescan"
	"schoolgate/proxy/socket"
)

// Server is the HTTP(S) door. It is made by New and serves while Run runs.
type Server struct {
	decider Decider
	sink    policy.Sink
	pages   Pages
	buttons map[string]Button
	memory  Memory // of the DNS door; may be nil
	log     *slog.Logger
	metrics *metrics
	limits  Limits
	sayLost atomic.Int64 // when the log last said that events are lost

	unrecorded atomic.Bool // the last event could not be recorded

	connectPorts, httpPorts []uint16
	destinations            *destination.Set
	gate                    *gate.Gate
	origins                 *origins.Transport
	inside1                 *http1.Server // HTTP/1.1 inside TLS; HTTP/2 has a door of its own
	inspector               *inspector    // nil looks inside nothing
	phrases                 *pagescan.Set
	name                    policy.Host           // of the box, zero for its address
	signIn                  SignIn                // nil asks nobody
	nearby                  func(netip.Addr) bool // whether a client is the box itself: nobody listens between
	reading                 atomic.Int64          // pages being read
	watch                   Watch                 // nil hears no search
	goproxy                 *goproxy.ProxyHttpServer
	tunnels                 tunnels
	flows                   *flows     // those of them that stand
	arrivals                *loop      // who has just come, and may become one
	crew                    *crew      // at work for connections
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
	server   httpServer
}

// httpServer is one of ours, or net/http's for HTTP/2.
type httpServer interface {
	Serve(net.Listener) error
	Shutdown(context.Context) error
	Close() error
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
	d, err := destination.New(cfg.AllowDestinations, cfg.School...)
	if err != nil {
		return nil, err
	}
	s := &Server{
		decider: cfg.Decider, sink: cfg.Sink, pages: cfg.Pages, buttons: cfg.Buttons, memory: cfg.Memory,
		log: cfg.Log, metrics: m, limits: cfg.Limits,
		connectPorts: cfg.ConnectPorts, httpPorts: cfg.HTTPPorts,
		destinations: d, gate: gate.New(gate.Bounds{Total: cfg.Limits.Conns, Each: cfg.Limits.ConnsPerClient, Refused: m.refusedConns, Open: m.conns, Log: cfg.Log}),
		inspector: newInspector(cfg.Inspection), phrases: cfg.Phrases, signIn: cfg.SignIn, name: cfg.Name, nearby: netip.Addr.IsLoopback, watch: cfg.Watch,
	}
	s.life, s.end = context.WithCancel(context.Background())
	s.tunnels.open = map[*tunnel]struct{}{}
	s.crew = newCrew()
	if s.arrivals, err = newLoop(s); err != nil {
		return nil, err
	}
	if s.flows, err = newFlows(s); err != nil {
		return nil, errors.Join(err, s.arrivals.close())
	}
	s.origins = s.newOrigins(cfg.Resolver)
	s.inside1 = s.newHTTP1(http.HandlerFunc(s.serveInside))
	s.goproxy = s.newGoproxy()
	for _, d := range []struct {
		addrs   []string
		kind    kind
		handler http.HandlerFunc
	}{
		{cfg.Listen, kind{proxy: true}, s.ServeHTTP},
		{cfg.TLSListen, kind{proxy: true, secure: true}, s.ServeHTTP},
		{cfg.PageListen, kind{}, s.servePage},
		{cfg.Transparent.HTTP, transparentHTTP, s.serveTransparent},
		{cfg.Transparent.TLS, transparentTLS, nil},
	} {
		for _, addr := range d.addrs {
			err = errors.Join(err, s.bind(addr, &listener{server: s, gate: s.gate, kind: d.kind, tls: cfg.TLS, original: cfg.original}, d.handler))
		}
	}
	if s.inspector != nil {
		err = errors.Join(err, m.watchTrust(cfg.Metrics, func() int { return len(s.Untrusting()) }))
		s.doors = append(s.doors, door{s.inspector.inbox, s.newInsideServer()})
	}
	if err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

func (s *Server) bind(addr string, l *listener, h http.Handler) (err error) {
	config := net.ListenConfig{KeepAlive: -1, Control: socket.KeepAlive} // set once: what is accepted inherits it
	config.SetMultipathTCP(false)                                        // such a connection knows no original destination and cannot be spliced
	if l.Listener, err = config.Listen(context.Background(), "tcp", addr); err != nil {
		return err
	}
	d := door{listener: l}
	if !l.kind.tls {
		d.server = s.newHTTP1(h)
	}
	s.doors = append(s.doors, d)
	return nil
}

// newHTTP1 serves HTTP/1.0 and HTTP/1.1 at a door, or inside TLS.
func (s *Server) newHTTP1(h http.Handler) *http1.Server {
	l := &s.limits
	return http1.New(http1.Config{
		Accept: s.acceptFrom, Run: s.crew.run, Ahead: takeAhead, Context: withPeer, Begin: s.begin, Handler: h,
		Unreadable: s.unreadable, Panicked: s.metrics.panics.Inc,
		Limits: http1.Limits{HeaderBytes: l.HeaderBytes, HeaderTime: l.HeaderTime, IdleClient: l.IdleClient, IdleStream: l.IdleStream},
	})
}

// begin makes the exchange of a request, in one piece with what writes its answer.
func (s *Server) begin(ctx context.Context) (*http1.Answer, context.Context) {
	var all struct {
		http1.Answer
		promptWriter
		exchange
	}
	all.promptWriter.use(&all.Answer, s.limits.IdleStream)
	all.exchange.writer = &all.promptWriter
	return &all.Answer, context.WithValue(ctx, exchangeKey{}, &all.exchange)
}

// lookForGone ends requests from before a time whose clients have gone.
func (s *Server) lookForGone(before time.Time) {
	for _, d := range s.doors {
		if h, ok := d.server.(*http1.Server); ok {
			h.Look(before)
		}
	}
	s.inside1.Look(before)
}

// MemoryInUse is how much of the memory that it may take the process uses, as the gate
// sees it ([gate.Gate.MemoryInUse]).
func (s *Server) MemoryInUse() (share, scarceFrom, exhaustedFrom int) { return s.gate.MemoryInUse() }

// Addrs are the addresses bound: those of Listen, of TLSListen, of PageListen, of
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
	running.Go(s.flows.run)
	running.Go(s.arrivals.run)
	<-ctx.Done()
	s.drain()
	if err := errors.Join(s.arrivals.close(), s.flows.close()); err != nil {
		s.log.Error("loops not ended", "err", err)
	}
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
	gone := time.NewTicker(time.Second)
	defer gone.Stop()
	idle := time.NewTicker(max(s.limits.IdleStream/16, time.Millisecond))
	defer idle.Stop()
	own := time.NewTicker(30 * time.Second)
	defer own.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-recheck.C:
			s.revoke()
		case <-gone.C:
			t := now()
			s.lookForGone(t.Add(-time.Second))
			s.origins.Sweep(t)
		case <-idle.C:
			s.endIdle(now())
		case <-own.C:
			if err := s.destinations.Refresh(); err != nil {
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
	closing.Go(func() {
		if s.inside1.Shutdown(ctx) != nil {
			s.inside1.Close()
		}
	})
	closing.Wait()
	s.serving.close()
	s.tunnels.wait(ctx, s.end)
	s.crew.close()
	s.origins.Close()
}

// Close gives the listeners of a Server back that will not be run.
func (s *Server) Close() error {
	s.end()
	err := errors.Join(s.arrivals.close(), s.flows.close())
	for _, d := range s.doors {
		err = errors.Join(err, d.listener.Close())
	}
	return err
}
