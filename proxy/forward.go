package proxy

import (
	"context"
	"errors"
	"io"
	"log"
	"maps"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/elazarl/goproxy"

	"schoolgate/proxy/origins"
)

// exchange is one request at the door, from its first line to its last byte.
type exchange struct {
	outcome outcome
	writer  *promptWriter
	target  target       // what was asked for
	broken  bool         // the origin's body ended in an error
	revoked atomic.Bool  // its verdict changed while it was under way
	read    bool         // the reply is a page that is read as it passes
	body    *patientBody // what the client sends on, nil if nothing
}

type exchangeKey struct{}

func exchangeOf(r *http.Request) *exchange {
	x, _ := r.Context().Value(exchangeKey{}).(*exchange)
	return x
}

// newGoproxy wires goproxy so that nothing of its own opens a way out: every
// CONNECT ends in a handler of ours or is rejected (G1), its dialler always
// fails, its log (which holds hosts and inside addresses) goes nowhere, its
// certificates are never asked for (G3).
func (s *Server) newGoproxy() *goproxy.ProxyHttpServer {
	g := goproxy.NewProxyHttpServer()
	g.Logger = log.New(io.Discard, "", 0)
	g.Tr = s.origins.HTTP()
	g.KeepAcceptEncoding = true
	g.NonproxyHandler = http.HandlerFunc(s.serveOwn)
	g.ConnectDial = func(string, string) (net.Conn, error) { return nil, origins.ErrNoRoute }
	g.ConnectDialWithReq = nil
	g.OnRequest().HandleConnectFunc(s.onConnect)
	g.OnRequest().HandleConnect(goproxy.AlwaysReject)
	g.OnRequest().DoFunc(refuseAll) // what is absolute never gets here
	return g
}

func refuseAll(r *http.Request, _ *goproxy.ProxyCtx) (*http.Request, *http.Response) {
	return r, goproxy.NewResponse(r, "text/plain", http.StatusForbidden, "")
}

// newOrigins is the way to origins, by routes that were checked.
func (s *Server) newOrigins(names Resolver) *origins.Transport {
	l := &s.limits
	c := origins.Config{
		LookupHost: names.LookupHost, Destinations: s.destinations, Route: routeOf, Client: whoAsks, Interim: whoHears,
		Failed: s.metrics.dialFailed, Distrusted: func(why string) { s.metrics.badCertificates.WithLabelValues(why).Inc() },
		Limits: origins.Limits{Resolve: l.Resolve, Dial: l.Dial, Hello: l.Hello, OriginReply: l.OriginReply, IdleStream: l.IdleStream},
	}
	if s.inspector != nil {
		c.Verifier = s.inspector.Verifier
	}
	return origins.New(c)
}

// routeOf is the route that was checked for a request.
func routeOf(ctx context.Context) (origins.Route, bool) {
	x, ok := ctx.Value(exchangeKey{}).(*exchange)
	if !ok || len(x.outcome.route.Addrs) == 0 {
		return origins.Route{}, false
	}
	return x.outcome.route, true
}

// whoAsks is the client whose connection a request came on, nil for none.
func whoAsks(ctx context.Context) any {
	if p := peerOf(ctx); p != nil {
		return p
	}
	return nil
}

// whoHears passes 1xx replies on to whoever asked, nil for nobody.
func whoHears(ctx context.Context) origins.Interim {
	if x, ok := ctx.Value(exchangeKey{}).(*exchange); ok {
		return x.writer
	}
	return nil
}

// forward answers a plain request in goproxy's place, which would write each
// address out for a log that nobody keeps and copy every header twice.
func (s *Server) forward(x *exchange, r *http.Request) {
	resp := s.prepare(x, r)
	if resp == nil {
		resp = s.roundTrip(x, r)
	}
	defer resp.Body.Close()
	w := x.writer
	w.adopt(resp.Header)
	if len(resp.Trailer) > 0 { // announced, or HTTP/1.1 would have no place for them
		w.Header()["Trailer"] = []string{strings.Join(slices.Sorted(maps.Keys(resp.Trailer)), ", ")}
	}
	announced := len(resp.Trailer)
	w.WriteHeader(resp.StatusCode)
	if announced > 0 && w.own == nil {
		w.Flush() // or net/http would find out the length, and some clients go at its end
	}
	if _, err := io.Copy(w, resp.Body); err != nil {
		s.log.Debug("reply not sent whole", "err", err)
		panic(http.ErrAbortHandler)
	}
	foreign(resp.Trailer) // those that were not announced as well
	prefix := ""
	if len(resp.Trailer) != announced { // HTTP/2 may have more of them than it said
		prefix = http.TrailerPrefix
	}
	w.mu.Lock() // a late flush reads the header
	defer w.mu.Unlock()
	for name, values := range resp.Trailer {
		w.Header()[prefix+name] = values
	}
}

// prepare judges a plain request: the answer is a page of ours, or nil for what may
// go to its origin.
func (s *Server) prepare(x *exchange, r *http.Request) *http.Response {
	t := s.targetOf(r)
	if resp := s.serveSignIn(x, r, &t); resp != nil {
		return resp
	}
	s.peekSearch(r, &t, x.writer.control)
	x.outcome = s.weigh(r.Context(), &t)
	x.target = t
	if s.recordsFirst(r, &x.outcome) {
		s.seal(&x.outcome)
	}
	if !x.outcome.allowed() {
		return s.page(r, &x.outcome)
	}
	outgoing(r, &t, &x.outcome.ruling)
	s.rewrite(r, &t, &x.outcome.ruling)
	if s.phrases != nil && !x.outcome.ruling.Scan.Empty() {
		readable(r.Header)
	}
	if r.Body != nil && r.Body != http.NoBody {
		// An origin may answer while the body is on its way; without this net/http
		// would take the rest of the body from under the transport.
		if err := x.writer.control.EnableFullDuplex(); err != nil {
			s.log.Debug("body and reply not at once", "err", err)
		}
		x.body = &patientBody{ReadCloser: r.Body, control: x.writer.control, idle: s.limits.IdleStream, trailer: r.Trailer, fresh: s.freshOf(x)}
		r.Body = x.body
	}
	return nil
}

// roundTrip asks the origin and records what it answered, before a byte of it
// leaves. Trouble becomes one of our pages (G9).
func (s *Server) roundTrip(x *exchange, r *http.Request) *http.Response {
	resp, err := s.origins.RoundTrip(r)
	if err == nil && s.partOfPage(&x.outcome, r, resp) {
		resp, err = s.wholePage(x, r, resp)
	}
	if err == nil && resp.StatusCode < 200 {
		resp.Body.Close() // nobody asked for a 101: upgrades go another way
		err = errUnasked
	}
	if x.revoked.Load() {
		panic(http.ErrAbortHandler) // nothing more goes either way, as in a tunnel
	}
	if err != nil {
		return s.failed(r, &x.outcome, err)
	}
	return s.received(x, r, resp)
}

// received looks at an origin's reply, reads its beginning if it is a page, and records
// it. What it returns may be sent: the reply, or a page of ours in its place.
func (s *Server) received(x *exchange, r *http.Request, resp *http.Response) *http.Response {
	if len(resp.Header["Connection"]) > 0 {
		removeHopByHop(resp.Header) // before anything is believed of it: the browser will not see what this takes away
	}
	if mediaType(resp.Header.Get("Content-Type")) == dnsMessage {
		resp.Body.Close()
		return s.failed(r, &x.outcome, errDoH)
	}
	x.outcome.told(resp)
	if s.scans(&x.outcome, r, resp) {
		s.readBeginning(x, resp)
	}
	if !s.answered(x, resp) {
		resp.Body.Close()
		return s.page(r, &x.outcome)
	}
	s.incoming(resp, x)
	return resp
}

// answered records a request with what the origin's reply is; false if that cannot
// be kept, and the reply must not leave.
func (s *Server) answered(x *exchange, resp *http.Response) bool {
	x.outcome.told(resp)
	s.seal(&x.outcome)
	return x.outcome.allowed()
}

// told notes of a reply what the record may hold: its type and its size (R24).
func (o *outcome) told(resp *http.Response) {
	if !o.open || o.event.Host == "" {
		return
	}
	o.event.Type = plainType(resp.Header.Get("Content-Type"))
	if resp.ContentLength > 0 {
		o.event.Size = resp.ContentLength
	}
}

var (
	errUnasked = errors.New("origin switched protocols unasked")
	errDoH     = errors.New("origin answered a DNS question")
)

// incoming makes the origin's reply ours to send.
func (s *Server) incoming(resp *http.Response, x *exchange) {
	foreign(resp.Header)
	foreign(resp.Trailer)
	for name := range resp.Trailer {
		if _, ahead := resp.Header[name]; ahead {
			delete(resp.Trailer, name) // it would be taken from the head, where the browser looks for it
		}
	}
	if len(resp.Trailer) > 0 {
		delete(resp.Header, "Content-Length") // HTTP/2 has both, HTTP/1.1 either
	}
	x.outcome.refer(resp.Header)
	resp.Body = &watchedBody{ReadCloser: resp.Body, exchange: x, server: s, fresh: s.freshOf(x)}
}

// watchedBody notes an origin that broke off, so that the client's connection is
// broken off too: half a reply never looks whole (G4).
// The same where the verdict changes while it is on its way (Y34): a long download
// or a live stream ends with what staff close in an emergency.
type watchedBody struct {
	io.ReadCloser
	exchange *exchange
	server   *Server
	fresh    freshness
}

// freshness keeps the verdict on an exchange from growing old while one body of it is on
// its way.
type freshness struct {
	server   *Server
	exchange *exchange
	decided  time.Time // when the verdict was last asked for
}

func (s *Server) freshOf(x *exchange) freshness { return freshness{s, x, x.target.Time} }

// watchEvery is how often a verdict is asked for anew: nothing tells an exchange at once, as
// tunnels are told (Recheck), so it is to be well within what is promised.
const watchEvery = time.Second

// over reports whether the verdict has changed. It is to be asked before what was read is
// passed on: waiting for that may have taken long.
func (f *freshness) over() bool {
	t := now()
	if t.Sub(f.decided) < min(watchEvery, f.server.limits.Recheck) {
		return false
	}
	f.decided = t
	return f.server.revokeExchange(f.exchange)
}

var errRevoked = errors.New("no longer allowed")

func (b *watchedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	switch {
	case err != nil && err != io.EOF:
		b.exchange.broken = true
	case b.fresh.over():
		b.exchange.broken = true
		return 0, errRevoked
	}
	if !b.exchange.read {
		b.server.metrics.unread.Add(float64(n))
	}
	return n, err
}

// Ready reports whether there is something to read without waiting; known is false
// where nobody can tell.
func (b *watchedBody) ready() (yes, known bool) {
	r, known := b.ReadCloser.(interface{ Ready() bool })
	return known && r.Ready(), known
}

// patientBody bounds how long a client may take for the next part of its body.
// The transport may go on reading after the handler has returned, when the
// deadlines are no longer there to be set: then it reads nothing more.
type patientBody struct {
	io.ReadCloser
	control *http.ResponseController
	idle    time.Duration
	trailer http.Header // of the request: there at the end of the body
	fresh   freshness
	whole   atomic.Bool // it was read to its end

	mu   sync.Mutex
	over bool // the handler has returned
}

func (b *patientBody) Read(p []byte) (int, error) {
	if err := b.deadline(now().Add(b.idle)); err != nil {
		return 0, err
	}
	n, err := b.ReadCloser.Read(p)
	if (err == nil || err == io.EOF) && b.fresh.over() {
		return 0, errRevoked
	}
	if err == io.EOF {
		b.whole.Store(true)
		unclaimedTrailer(b.trailer)
		// net/http watches the connection from here on, and an old deadline would
		// look to it like a client that went away.
		if gone := b.deadline(time.Time{}); gone != nil && gone != http.ErrBodyReadAfterClose {
			return n, gone
		}
	}
	return n, err
}

func (b *patientBody) deadline(t time.Time) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.over {
		return http.ErrBodyReadAfterClose
	}
	return b.control.SetReadDeadline(t)
}

// finish must be called before the handler returns.
func (b *patientBody) finish() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.over = true
}
