package proxy

import (
	"context"
	"crypto/tls"
	"io"
	"log"
	"net"
	"net/http"
	"slices"
	"sync"
	"time"

	"schoolgate/policy"
	"schoolgate/proxy/inspect"
)

// runInside answers the hello in the origin's place and hands the connection to
// an HTTP server of our own. The origin's certificates are looked at when a
// request goes there: until then nothing of it reaches the client.
func (tn *tunnel) runInside(raw []byte) {
	s := tn.server
	conn := &insideConn{Conn: tn.client, tunnel: tn, again: raw}
	c := tls.Server(conn, s.inspector.client)
	ctx, cancel := context.WithTimeout(s.life, s.limits.Hello)
	defer cancel()
	if err := c.HandshakeContext(ctx); err != nil {
		tn.notBelieved(err, conn)
		return
	}
	conn.settled = true
	s.inspector.trust.Good(tn.target.Client, now())
	s.metrics.inside.WithLabelValues(protocolOf(c)).Inc()
	if s.limitless(c) != nil {
		return
	}
	if protocolOf(c) != "h2" {
		if s.inside1.ServeConn(withInside(context.Background(), c), c) {
			tn.release()
		}
		return
	}
	tn.served = make(chan struct{})
	if s.inspector.inbox.put(s.life, c) {
		<-tn.served
	}
}

// limitless takes the deadlines of the handshake off: the HTTP server sets its own.
func (s *Server) limitless(c net.Conn) error { return c.SetDeadline(time.Time{}) }

func protocolOf(c *tls.Conn) string {
	if c.ConnectionState().NegotiatedProtocol == "h2" {
		return "h2"
	}
	return "http/1.1"
}

// notBelieved records a client that refuses our certificate, for IT and for the
// next time.
func (tn *tunnel) notBelieved(err error, conn *insideConn) {
	s := tn.server
	refused, told := refusedUs(err, conn)
	if !refused {
		s.metrics.inside.WithLabelValues("failed").Inc()
		return
	}
	s.metrics.inside.WithLabelValues("not_believed").Inc()
	s.inspector.trust.Refused(tn.target.Client, tn.target.Host, inspect.Refusal{Told: told, Open: tn.sight == inspected}, now())
	if tn.sight == paged {
		return // it was refused before, and recorded
	}
	t := tn.target
	t.Door = policy.DoorTLS
	t.refuse(policy.ReasonProtocol, findingNotBelieved, 0)
	s.judgeTunnel(t)
}

// inbox is a listener to which tunnels hand the connections they look into.
type inbox struct {
	conns chan net.Conn
	done  chan struct{}
	once  sync.Once
}

func newInbox() *inbox { return &inbox{conns: make(chan net.Conn), done: make(chan struct{})} }

func (i *inbox) put(ctx context.Context, c net.Conn) bool {
	select {
	case i.conns <- c:
		return true
	case <-i.done:
	case <-ctx.Done():
	}
	return false
}

// Accept gives the next connection.
func (i *inbox) Accept() (net.Conn, error) {
	select {
	case c := <-i.conns:
		return c, nil
	case <-i.done:
		return nil, net.ErrClosed
	}
}

// Close lets no more in.
func (i *inbox) Close() error {
	i.once.Do(func() { close(i.done) })
	return nil
}

// Addr is none: nobody can dial an inbox.
func (i *inbox) Addr() net.Addr { return &net.TCPAddr{} }

type insideKey struct{}

// withInside lets a request inside find its tunnel and its client.
func withInside(ctx context.Context, c net.Conn) context.Context {
	in := insideOf(c)
	if in == nil {
		return ctx
	}
	return context.WithValue(withPeer(ctx, in.Conn), insideKey{}, in.tunnel)
}

func insideOf(c net.Conn) *insideConn {
	if t, ok := c.(*tls.Conn); ok {
		in, _ := t.NetConn().(*insideConn)
		return in
	}
	return nil
}

func tunnelOf(ctx context.Context) *tunnel {
	tn, _ := ctx.Value(insideKey{}).(*tunnel)
	return tn
}

// insideState ends a tunnel's wait once its connection is over, or has been
// taken over by a WebSocket.
func (s *Server) insideState(c net.Conn, state http.ConnState) {
	in := insideOf(c)
	switch {
	case in == nil:
	case state == http.StateNew:
		s.conns.Add(1)
	case state == http.StateHijacked:
		in.tunnel.release()
		fallthrough
	case state == http.StateClosed:
		s.conns.Done()
		close(in.tunnel.served)
	}
}

// newInsideServer serves HTTP/2 inside, with the bounds of every other door. There
// is no bound on a whole request or reply: uploads and downloads may be long, but
// each must keep moving (promptWriter, patientBody).
func (s *Server) newInsideServer() *http.Server {
	h := &http.Server{
		Handler:                      http.HandlerFunc(s.serveStream),
		ReadHeaderTimeout:            s.limits.HeaderTime,
		IdleTimeout:                  s.limits.IdleClient,
		MaxHeaderBytes:               s.limits.HeaderBytes,
		ErrorLog:                     log.New(io.Discard, "", 0), // it would hold addresses and paths
		ConnContext:                  withInside,
		ConnState:                    s.insideState,
		DisableGeneralOptionsHandler: true,
		Protocols:                    new(http.Protocols),
	}
	h.Protocols.SetHTTP2(true)
	h.HTTP2 = &http.HTTP2Config{
		MaxConcurrentStreams: 128,
		MaxReadFrameSize:     16 << 10,            // of each connection so much is kept
		WriteByteTimeout:     s.limits.IdleStream, // or one who reads nothing keeps the connection for ever
	}
	return h
}

// serveStream takes a request of HTTP/2, for which net/http has begun a goroutine, to one
// whose stack has grown already: growing it three times cost a twelfth of the request.
func (s *Server) serveStream(w http.ResponseWriter, r *http.Request) {
	over := make(chan any, 1)
	s.crew.run(func() {
		defer func() { over <- recover() }()
		s.serveInside(w, r)
	})
	if v := <-over; v != nil {
		panic(v)
	}
}

// serveInside takes a request inside a tunnel. It is made absolute and then goes
// the way of every request: one verdict each, for its URL (G8).
func (s *Server) serveInside(w http.ResponseWriter, r *http.Request) {
	tn := tunnelOf(r.Context())
	switch {
	case tn == nil:
		panic(http.ErrAbortHandler)
	case tn.sight == paged, r.Method == http.MethodConnect:
		s.refuseInside(w, r, tn)
		return
	case r.ProtoMajor > 1:
		done, ok := s.gate.Turn(r.Context(), tn.target.Client)
		if !ok {
			panic(http.ErrAbortHandler)
		}
		defer done()
	}
	s.ServeHTTP(w, madeAbsolute(r))
}

// madeAbsolute is a request inside a tunnel as one of an explicit proxy.
func madeAbsolute(r *http.Request) *http.Request {
	if r.URL.IsAbs() {
		return r
	}
	if r.ProtoMajor > 1 { // net/http's server goes on with its own
		u := *r.URL
		r = r.WithContext(r.Context())
		r.URL = &u
		if r.ContentLength == 0 { // it gives a body to every request, which would go the long way
			r.Body = http.NoBody
		}
	}
	r.URL.Scheme, r.URL.Host = "https", r.Host
	r.RequestURI = "https://" + r.Host + r.RequestURI
	return r
}

// refuseInside answers the first request with the page of the tunnel's own refusal, whose
// event is there already, and each other for itself, as a CONNECT inside (Y31). One that
// would be let through by now has no way out here: its client is to connect anew.
func (s *Server) refuseInside(w http.ResponseWriter, r *http.Request, tn *tunnel) {
	if !s.serving.enter() {
		panic(http.ErrAbortHandler)
	}
	defer s.serving.leave()
	x := &exchange{writer: newPromptWriter(w, s.limits.IdleStream)}
	defer s.closeExchange(x, r)
	if press := s.pressed(r); press != nil {
		press(x.writer, r, clientOf(r).Client)
		return
	}
	o := tn.outcome
	if tn.sight != paged {
		t := tn.target
		t.Door, t.method = policy.DoorInspect, knownMethod(r.Method)
		t.refuse(policy.ReasonProtocol, findingMethod, http.StatusMethodNotAllowed)
		o = s.judge(r.Context(), t)
	} else if tn.told.Swap(true) {
		t := s.insideTarget(madeAbsolute(r), tn)
		if o = s.weigh(r.Context(), &t); o.allowed() {
			panic(http.ErrAbortHandler)
		}
		s.seal(&o)
	}
	s.reply(x, s.page(r, &o))
}

// insideTarget reads a request inside a tunnel. Its host must be the one that
// the tunnel was decided for: 421 tells a browser to open another (Y19).
func (s *Server) insideTarget(r *http.Request, tn *tunnel) target {
	t := target{Request: clientOf(r), method: knownMethod(r.Method), use: useOf(r), port: tn.target.port, ports: s.tunnelPort}
	t.Door, t.Login = policy.DoorInspect, tn.target.Login
	u, err := policy.ParseURL(r.RequestURI)
	t.Host, t.Path = u.Host, u.Path
	again, errAgain := policy.ParseHost(r.URL.Hostname())
	port := u.Port
	if port == 0 {
		port = 443
	}
	switch {
	case err != nil || errAgain != nil || again != t.Host || r.URL.Opaque != "":
		t.refuse(policy.ReasonBadHost, findingMalformed, http.StatusBadRequest)
	case r.URL.User != nil:
		t.refuse(policy.ReasonBadHost, findingUserinfo, http.StatusBadRequest)
	case r.URL.Scheme != "https":
		t.refuse(policy.ReasonProtocol, findingScheme, http.StatusBadRequest)
	case t.Host != tn.target.Host || port != t.port:
		t.refuse(policy.ReasonProtocol, findingHost, http.StatusMisdirectedRequest)
	case !slices.Contains(methods, r.Method):
		t.refuse(policy.ReasonProtocol, findingMethod, http.StatusMethodNotAllowed)
	}
	return t
}

// targetOf reads a request, in clear or inside. A DNS question is refused either
// way: it would go past the DNS door (Y4).
func (s *Server) targetOf(r *http.Request) target {
	var t target
	if tn := tunnelOf(r.Context()); tn != nil {
		t = s.insideTarget(r, tn)
	} else {
		t = s.plainTarget(r)
		s.signedIn(r, &t)
	}
	if t.refused == policy.ReasonNotReady && asksDNS(r) {
		t.refuse(policy.ReasonProtocol, findingDoH, http.StatusForbidden)
	}
	return t
}
