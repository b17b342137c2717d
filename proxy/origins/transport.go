package origins

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/netip"
	"net/textproto"
	"slices"
	"strings"
	"sync"
	"time"

	"schoolgate/proxy/destination"
	"schoolgate/proxy/inspect"
)

// Transport asks origins. A request without a body goes to one that speaks HTTP/1.1 on
// the goroutine that serves the client: net/http's transport hands every request
// from goroutine to goroutine four times, which costs more than all else we do for
// it. Bodies, and origins on HTTP/2, go by that transport.
type Transport struct {
	config   Config
	http     *http.Transport
	sessions tls.ClientSessionCache
	found    found

	mu     sync.Mutex
	idle   map[originKey][]*originConn // the last used at the end
	count  int
	old    map[originKey]time.Time // origins that were offered HTTP/2 and did not take it
	closed bool
}

// originKey says which connections may serve a request: those to the same place,
// and in TLS those that were believed for the same name.
type originKey struct {
	secure bool
	host   string
	owner  any // of a connection that knows who asks (NTLM, Negotiate), nil for the others
}

const (
	maxIdleOrigins = 1024
	maxIdlePerHost = 64
	idleOrigin     = 90 * time.Second
	maxOldOrigins  = 4096
	oldFor         = time.Hour
	maxReplyHead   = 256 << 10
)

// Config is what a Transport needs of whoever has it. All but Verifier must be set.
type Config struct {
	// LookupHost looks names up unfiltered: the verdict has been given by then.
	LookupHost   func(ctx context.Context, name string) ([]netip.Addr, error)
	Destinations *destination.Set
	Verifier     *inspect.Verifier // nil: TLS with origins is not ours
	// Route is the route that was checked for a request, by its context.
	Route func(context.Context) (Route, bool)
	// Client is whose request it is, nil for nobody's: any value that can be a key of a
	// map. A connection that signs its client in is kept for that client alone.
	Client func(context.Context) any
	// Interim is who hears of 1xx replies to a request, nil for nobody.
	Interim func(context.Context) Interim
	// Failed hears of origins that were not reached, Distrusted of those whose
	// certificates were refused, and why (inspect.Refused).
	Failed     func(error)
	Distrusted func(why string)

	Limits Limits
}

// Limits bounds time.
type Limits struct {
	Resolve     time.Duration // to look a name up
	Dial        time.Duration // to connect, all addresses together
	Hello       time.Duration // for the handshake of TLS
	OriginReply time.Duration // until a reply's headers are there
	IdleStream  time.Duration // a body, or a connection taken over, on which nothing moves
}

// Interim hears of an origin's 1xx replies.
type Interim interface {
	Interim(status int, header http.Header)
	NoInterim() // from now on; it may be heard of no later than that
}

// New makes a Transport that knows no origin yet.
func New(c Config) *Transport {
	o := &Transport{config: c, sessions: tls.NewLRUClientSessionCache(1024), idle: map[originKey][]*originConn{}, old: map[originKey]time.Time{}}
	o.http = o.newTransport()
	return o
}

// HTTP is net/http's transport, by which bodies go and origins on HTTP/2.
func (o *Transport) HTTP() *http.Transport { return o.http }

// RoundTrip asks the origin of a request that was judged.
func (o *Transport) RoundTrip(r *http.Request) (*http.Response, error) {
	key := originKey{secure: r.URL.Scheme == "https", host: r.URL.Host}
	if r.Body != nil && r.Body != http.NoBody || key.secure && !o.isOld(key) {
		return o.byTransport(r, key)
	}
	for {
		asked := time.Now()
		c := o.idleFor(r, key)
		kept := c != nil
		again := kept && repeatable(r)
		if !kept {
			var err error
			if c, err = o.open(r.Context(), key); err != nil {
				return nil, err
			}
		}
		resp, err := c.ask(r)
		if err == nil {
			return resp, nil
		}
		c.conn.Close()
		var ne net.Error
		late := errors.As(err, &ne) && ne.Timeout()
		if kept && late && !c.heard {
			o.drop(c.key, asked) // the line may have died, and they all wait in vain
		}
		if !again || c.heard || r.Context().Err() != nil || late {
			return nil, err
		}
		// It had been closed out there since it was last used; nothing was answered.
	}
}

// repeatable reports whether a request may be sent once more when nobody knows what
// became of it (RFC 9110 section 9.2.2).
func repeatable(r *http.Request) bool {
	switch r.Method {
	case http.MethodGet, http.MethodHead, http.MethodOptions:
		return true
	}
	return false
}

// idleFor is an idle connection for a request, nil for none: one that knows the
// client already, before one that knows nobody. What must not be asked twice has no
// other than the first kind, for any may be closed already.
func (o *Transport) idleFor(r *http.Request, key originKey) *originConn {
	own := key
	if own.owner = o.config.Client(r.Context()); own.owner != nil {
		if c := o.take(own); c != nil {
			return c
		}
	}
	if !repeatable(r) || knowsClient(r.Header["Authorization"]) {
		return nil
	}
	return o.take(key)
}

// knowsClient reports whether a header speaks of signing a connection in and not a
// request: whoever used it next would be taken for that person (T21).
func knowsClient(lines []string) bool {
	for _, line := range lines {
		scheme, _, _ := strings.Cut(strings.TrimSpace(line), " ")
		if strings.EqualFold(scheme, "NTLM") || strings.EqualFold(scheme, "Negotiate") {
			return true
		}
	}
	return false
}

func (o *Transport) byTransport(r *http.Request, key originKey) (*http.Response, error) {
	if x := o.config.Interim(r.Context()); x != nil {
		defer x.NoInterim() // the transport may go on reading when it has given up
		left := MaxInterim
		trace := &httptrace.ClientTrace{Got1xxResponse: func(code int, header textproto.MIMEHeader) error {
			if left--; left < 0 {
				return errInterim // the transport has no bound where somebody listens
			}
			x.Interim(code, http.Header(header))
			return nil
		}}
		r = r.WithContext(httptrace.WithClientTrace(r.Context(), trace))
	}
	if knowsClient(r.Header["Authorization"]) {
		r = r.WithContext(r.Context())
		r.Close = true // nobody comes after it
	}
	resp, err := o.http.RoundTrip(r)
	if err == nil && key.secure && resp.ProtoMajor == 1 {
		o.note(key)
	}
	return resp, err
}

func (o *Transport) isOld(key originKey) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	since, ok := o.old[key]
	return ok && time.Since(since) < oldFor
}

func (o *Transport) note(key originKey) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for k := range o.old { // any of them: it is learnt anew
		if len(o.old) < maxOldOrigins {
			break
		}
		delete(o.old, k)
	}
	o.old[key] = time.Now()
}

// take is a connection that is idle and whole, nil if there is none.
func (o *Transport) take(key originKey) *originConn {
	for {
		o.mu.Lock()
		list := o.idle[key]
		if len(list) == 0 {
			o.mu.Unlock()
			return nil
		}
		c := list[len(list)-1]
		list[len(list)-1] = nil
		if o.idle[key] = list[:len(list)-1]; len(list) == 1 {
			delete(o.idle, key)
		}
		o.count--
		o.mu.Unlock()
		// What came unasked answers nothing: it would be taken for the next reply.
		if c.quiet() {
			return c
		}
		c.conn.Close()
	}
}

// Idle is how many connections are kept.
func (o *Transport) Idle() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.count
}

func (o *Transport) put(c *originConn) {
	c.used = time.Now()
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.closed || o.count >= maxIdleOrigins || len(o.idle[c.key]) >= maxIdlePerHost {
		c.conn.Close()
		return
	}
	o.idle[c.key] = append(o.idle[c.key], c)
	o.count++
}

// Sweep closes what has been idle for long, by a time. It is called now and then.
func (o *Transport) Sweep(t time.Time) { o.sweep(t.Add(-idleOrigin)) }

func (o *Transport) sweep(before time.Time) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for key := range o.idle {
		o.sweepOne(key, before)
	}
}

// drop closes what is idle to one place since before a moment.
func (o *Transport) drop(key originKey, before time.Time) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.sweepOne(key, before)
}

// sweepOne needs the lock.
func (o *Transport) sweepOne(key originKey, before time.Time) {
	kept := slices.DeleteFunc(o.idle[key], func(c *originConn) bool {
		old := c.used.Before(before)
		if old {
			c.conn.Close()
			o.count--
		}
		return old
	})
	if o.idle[key] = kept; len(kept) == 0 {
		delete(o.idle, key)
	}
}

// Close closes what is idle, and whatever is given back from now on.
func (o *Transport) Close() {
	o.mu.Lock()
	o.closed = true
	o.mu.Unlock()
	o.sweep(time.Now().Add(time.Hour))
	o.http.CloseIdleConnections()
}

func (o *Transport) open(ctx context.Context, key originKey) (*originConn, error) {
	conn, err := o.dialChecked(ctx)
	if err != nil {
		return nil, err
	}
	if key.secure {
		if conn, err = o.Secure(ctx, conn, "http/1.1"); err != nil {
			return nil, err
		}
	}
	c := &originConn{origins: o, key: key, conn: conn}
	c.limit = io.LimitedReader{R: (*originReader)(c)}
	c.in, c.out = bufio.NewReader(&c.limit), bufio.NewWriter(conn)
	return c, nil
}
