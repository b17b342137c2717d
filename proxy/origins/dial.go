package origins

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

// Route is a way to an origin that has been looked at: the addresses may be
// dialled, and nothing else is.
type Route struct {
	Addrs  []netip.Addr
	Port   uint16
	Name   policy.Host // whose certificate is asked for, where TLS is ours
	Listed bool        // every address is in a range that the school opened
}

// ErrNoRoute is what a dial without a checked route ends in.
var ErrNoRoute = errors.New("dial without a checked route")

// Find resolves a host, once, and keeps the addresses that may be dialled.
// [destination.ErrForbidden] means that there were addresses and none may be.
func (o *Transport) Find(ctx context.Context, h policy.Host, port uint16) (Route, error) {
	if a, ok := h.Addr(); ok {
		return o.checked([]netip.Addr{a}, port)
	}
	addrs, known := o.found.get(h, time.Now())
	if !known {
		ctx, cancel := context.WithTimeout(ctx, o.config.Limits.Resolve)
		defer cancel()
		var err error
		if addrs, err = o.config.LookupHost(ctx, h.String()); err != nil {
			return Route{}, err
		}
		if len(addrs) == 0 {
			return Route{}, errors.New("name without addresses")
		}
		o.found.put(h, addrs, time.Now())
	}
	return o.checked(addrs, port)
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

func (o *Transport) checked(addrs []netip.Addr, port uint16) (Route, error) {
	kept, listed := o.config.Destinations.PermittedOf(addrs)
	if len(kept) == 0 {
		return Route{}, destination.ErrForbidden
	}
	return Route{Addrs: kept, Port: port, Listed: listed}, nil
}

// NextAddress is how long a dial waits before it tries the next address of an origin
// beside the first (RFC 8305 section 5).
const NextAddress = 250 * time.Millisecond

// MaxAddresses is how many addresses of one origin are tried.
const MaxAddresses = 6

// Dial connects to the first address of the route that answers.
func (o *Transport) Dial(ctx context.Context, r Route) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, o.config.Limits.Dial)
	defer cancel()
	type result struct {
		conn net.Conn
		err  error
	}
	addrs := r.Addrs[:min(len(r.Addrs), MaxAddresses)]
	if len(addrs) == 0 {
		return nil, ErrNoRoute
	}
	if len(addrs) == 1 {
		return o.dialAddr(ctx, addrs[0], r.Port)
	}
	results := make(chan result, len(addrs))
	try := func(a netip.Addr) {
		conn, err := o.dialAddr(ctx, a, r.Port)
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
				stagger.Reset(NextAddress)
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

func (o *Transport) dialAddr(ctx context.Context, a netip.Addr, port uint16) (net.Conn, error) {
	// Without keep-alive, which is four system calls: an origin on which nothing moves
	// is given up after a time, there or not.
	d := net.Dialer{ControlContext: o.control, KeepAlive: -1}
	return d.DialContext(ctx, "tcp", netip.AddrPortFrom(a, port).String())
}

// control is the last look at an address, on the socket itself: whatever led
// here, the inside is not dialled.
func (o *Transport) control(_ context.Context, _, address string, _ syscall.RawConn) error {
	ap, err := netip.ParseAddrPort(address)
	if err != nil {
		return fmt.Errorf("%w: %w", destination.ErrForbidden, err)
	}
	return o.config.Destinations.Look(ap.Addr())
}

// dialRoute is the transport's dialler: it takes the route that was checked for
// the request and fails without one.
func (o *Transport) dialRoute(ctx context.Context, _, _ string) (net.Conn, error) {
	conn, err := o.dialChecked(ctx)
	if err != nil {
		return nil, err
	}
	return &idleConn{Conn: conn, idle: o.config.Limits.IdleStream}, nil
}

// dialChecked dials the route that was checked for the request.
func (o *Transport) dialChecked(ctx context.Context) (net.Conn, error) {
	r, ok := o.config.Route(ctx)
	if !ok {
		return nil, ErrNoRoute
	}
	conn, err := o.Dial(ctx, r)
	if err != nil {
		o.config.Failed(err)
	}
	return conn, err
}

// Knows reports whether it will be known at a time where a name leads, so that nobody
// has to wait for a look-up.
func (o *Transport) Knows(h policy.Host, t time.Time) bool {
	_, known := o.found.get(h, t)
	return known
}

// Forget forgets where names lead.
func (o *Transport) Forget() {
	o.found.mu.Lock()
	defer o.found.mu.Unlock()
	clear(o.found.names)
}
