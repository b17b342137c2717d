package proxy

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"syscall"
	"time"

	"schoolgate/policy"
	"schoolgate/proxy/destination"
)

// route is a way to an origin that has been looked at: the addresses may be
// dialled, and nothing else is.
type route struct {
	addrs  []netip.Addr
	port   uint16
	name   policy.Host // whose certificate is asked for, where TLS is ours
	listed bool        // every address is in a range that the school opened
}

var errNoRoute = errors.New("dial without a checked route")

// find resolves a host, once, and keeps the addresses that may be dialled.
// errDestination means that there were addresses and none may be.
func (s *Server) find(ctx context.Context, h policy.Host, port uint16) (route, error) {
	if a, ok := h.Addr(); ok {
		return s.checked([]netip.Addr{a}, port)
	}
	addrs, known := s.found.get(h, now())
	if !known {
		ctx, cancel := context.WithTimeout(ctx, s.limits.Resolve)
		defer cancel()
		var err error
		if addrs, err = s.resolver.LookupHost(ctx, h.String()); err != nil {
			return route{}, err
		}
		if len(addrs) == 0 {
			return route{}, errors.New("name without addresses")
		}
		s.found.put(h, addrs, now())
	}
	return s.checked(addrs, port)
}

// found remembers for moments where names lead, so that the requests of one page
// look each name up once. How long an answer holds good is the resolver's business.
type found struct {
	mu    sync.Mutex
	names map[policy.Host]foundAddrs
}

type foundAddrs struct {
	addrs []netip.Addr
	until time.Time
}

const (
	foundFor = 2 * time.Second
	maxFound = 4096
)

func (f *found) get(h policy.Host, t time.Time) ([]netip.Addr, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	a, ok := f.names[h]
	return a.addrs, ok && t.Before(a.until)
}

func (f *found) put(h policy.Host, addrs []netip.Addr, t time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for old := range f.names { // any of them: it is looked up anew
		if len(f.names) < maxFound {
			break
		}
		delete(f.names, old)
	}
	if f.names == nil {
		f.names = map[policy.Host]foundAddrs{}
	}
	f.names[h] = foundAddrs{addrs, t.Add(foundFor)}
}

func (s *Server) checked(addrs []netip.Addr, port uint16) (route, error) {
	kept, listed := s.destinations.PermittedOf(addrs)
	if len(kept) == 0 {
		return route{}, destination.ErrForbidden
	}
	return route{addrs: kept, port: port, listed: listed}, nil
}

// Between two addresses of an origin a dial waits this long before it tries the
// next beside the first (RFC 8305 section 5).
const nextAddress = 250 * time.Millisecond

// maxAddresses is how many addresses of one origin are tried.
const maxAddresses = 6

// dialKnown is dial where it may be known what comes of that.
func (s *Server) dialKnown(ctx context.Context, r route, known *verdict) (net.Conn, error) {
	if known != nil && known.failed != nil {
		return nil, known.failed
	}
	return s.dial(ctx, r)
}

// dial connects to the first address of the route that answers.
func (s *Server) dial(ctx context.Context, r route) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, s.limits.Dial)
	defer cancel()
	type result struct {
		conn net.Conn
		err  error
	}
	addrs := r.addrs[:min(len(r.addrs), maxAddresses)]
	if len(addrs) == 0 {
		return nil, errNoRoute
	}
	if len(addrs) == 1 {
		return s.dialAddr(ctx, addrs[0], r.port)
	}
	results := make(chan result, len(addrs))
	try := func(a netip.Addr) {
		conn, err := s.dialAddr(ctx, a, r.port)
		results <- result{conn, err}
	}
	next, pending := 0, 0
	stagger := time.NewTimer(0)
	defer stagger.Stop()
	// The dials left over end with ctx, and whoever they reached is hung up on.
	defer func() {
		cancel()
		for ; pending > 0; pending-- {
			if late := <-results; late.conn != nil {
				late.conn.Close()
			}
		}
	}()
	var first error
	for {
		select {
		case <-stagger.C:
			if next < len(addrs) {
				go try(addrs[next])
				next, pending = next+1, pending+1
				stagger.Reset(nextAddress)
			}
		case got := <-results:
			pending--
			if got.err == nil {
				return got.conn, nil
			}
			if first == nil {
				first = got.err
			}
			if next == len(addrs) && pending == 0 {
				return nil, first
			}
			stagger.Reset(0)
		}
	}
}

func (s *Server) dialAddr(ctx context.Context, a netip.Addr, port uint16) (net.Conn, error) {
	// Without keep-alive, which is four system calls: an origin on which nothing moves
	// is given up after a time, there or not.
	d := net.Dialer{ControlContext: s.control, KeepAlive: -1}
	return d.DialContext(ctx, "tcp", netip.AddrPortFrom(a, port).String())
}

// control is the last look at an address, on the socket itself: whatever led
// here, the inside is not dialled.
func (s *Server) control(_ context.Context, _, address string, _ syscall.RawConn) error {
	ap, err := netip.ParseAddrPort(address)
	if err != nil {
		return fmt.Errorf("%w: %w", destination.ErrForbidden, err)
	}
	return s.destinations.Look(ap.Addr())
}

type routeKey struct{}

// routeOf is the route that was checked for a request.
func routeOf(ctx context.Context) (route, bool) {
	if r, ok := ctx.Value(routeKey{}).(route); ok {
		return r, true
	}
	x, ok := ctx.Value(exchangeKey{}).(*exchange)
	if !ok || len(x.outcome.route.addrs) == 0 {
		return route{}, false
	}
	return x.outcome.route, true
}

// dialRoute is the transport's dialler: it takes the route that was checked for
// the request and fails without one.
func (s *Server) dialRoute(ctx context.Context, _, _ string) (net.Conn, error) {
	r, ok := routeOf(ctx)
	if !ok {
		return nil, errNoRoute
	}
	conn, err := s.dial(ctx, r)
	if err != nil {
		s.metrics.dialFailed(err)
		return nil, err
	}
	return &idleConn{Conn: conn, idle: s.limits.IdleStream}, nil
}
