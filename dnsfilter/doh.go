package dnsfilter

import (
	"context"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"io"
	"log/slog"
	"mime"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"time"
)

const (
	dohPath    = "/dns-query"
	dohType    = "application/dns-message"
	dohStreams = maxPipelined // questions of one connection that wait
	dohStop    = 5 * time.Second
)

// doh is DNS over HTTPS (RFC 8484) for the school's own devices: the same door
// with another envelope. The client is who the connection comes from, whatever a
// header says.
type doh struct {
	listener net.Listener
	server   *http.Server
}

// newDoH serves on a bound listener. Work goes on under ctx of serve.
func (s *Server) newDoH(l net.Listener) *doh {
	mux := http.NewServeMux()
	mux.Handle(dohPath, s.DoH())
	return &doh{listener: &dohListener{l, s}, server: &http.Server{
		Handler: mux, TLSConfig: tlsConfig(s.cfg.TLS, "h2", "http/1.1"),
		ReadHeaderTimeout: readTimeout, ReadTimeout: 2 * readTimeout, WriteTimeout: 2 * writeTimeout, IdleTimeout: 3 * idleTimeout,
		MaxHeaderBytes: 16 << 10, // a question in a URL has 5.5 KB at most
		HTTP2:          &http.HTTP2Config{MaxConcurrentStreams: dohStreams, MaxReadFrameSize: 16 << 10},
		ConnContext:    withConn,
		ErrorLog:       slog.NewLogLogger(s.cfg.Log.Handler(), slog.LevelDebug), // what clients do wrong is no news
	}}
}

// DoH is the door for a web server that has pages of its own as well, such as the
// console's, to serve under /dns-query. Who is not served here is refused there;
// how many connections there may be is for that server to say.
func (s *Server) DoH() http.Handler { return http.HandlerFunc(s.serveDoH) }

// serve answers until ctx is done and gives what is under way a moment to end.
func (d *doh) serve(ctx, work context.Context) {
	d.server.BaseContext = func(net.Listener) context.Context { return work }
	var stopping sync.WaitGroup
	stopping.Go(func() {
		<-ctx.Done()
		deadline, cancel := context.WithTimeout(work, dohStop)
		defer cancel()
		if d.server.Shutdown(deadline) != nil {
			_ = d.server.Close() // a client that does not read its answer is not waited for
		}
	})
	_ = d.server.ServeTLS(d.listener, "", "") // ends when the listener is closed
	stopping.Wait()
}

// dohListener takes connections from clients that are served, within the bounds
// that all connections share.
type dohListener struct {
	net.Listener
	s *Server
}

func (l *dohListener) Accept() (net.Conn, error) {
	for {
		nc, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		if c, ok := l.s.admit(nc, true); ok {
			return &dohConn{conn: c, all: &l.s.conns}, nil
		}
	}
}

// dohConn leaves the table of connections when it closes.
type dohConn struct {
	*conn
	all *conns
}

func (c *dohConn) Close() error {
	c.all.remove(c.conn)
	return c.conn.Close()
}

// connOf is what a request's context knows its connection by.
type connOf struct{}

func withConn(ctx context.Context, nc net.Conn) context.Context {
	if t, ok := nc.(*tls.Conn); ok {
		if c, ok := t.NetConn().(*dohConn); ok {
			return context.WithValue(ctx, connOf{}, c.conn)
		}
	}
	return ctx // of another web server, who counts for itself
}

// serveDoH answers one question.
func (s *Server) serveDoH(w http.ResponseWriter, r *http.Request) {
	j := s.getJob()
	defer s.putJob(j)
	from, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		http.Error(w, "who asks?", http.StatusBadRequest)
		return
	}
	if status := readDoH(w, r, j); status != http.StatusOK {
		s.metrics.malformed.Inc()
		http.Error(w, http.StatusText(status), status)
		return
	}
	// Not sooner: who sends half a request keeps nobody else's place.
	if c, ok := r.Context().Value(connOf{}).(*conn); ok {
		s.conns.note(c, 1)
		defer s.conns.note(c, -1)
	}
	j.stream, j.from, j.start = true, from.Addr().Unmap().WithZone(""), time.Now()
	s.answerOne(r.Context(), j)
	if len(j.buf) == 0 {
		http.Error(w, http.StatusText(http.StatusBadRequest), http.StatusBadRequest)
		return
	}
	h := w.Header()
	h.Set("Content-Type", dohType)
	h.Set("Cache-Control", "no-store") // a changed rule is felt at once
	_, _ = w.Write(j.buf)              // if the client is gone, so is its question
}

// answerOne takes a question all the way; an empty buffer is no answer.
func (s *Server) answerOne(ctx context.Context, j *job) {
	s.read(j)
	switch s.begin(j) {
	case drop:
		j.buf = j.buf[:0]
	case reply:
	case record:
		s.record(j)
	case await:
		done := make(chan struct{})
		j.send = func(*job) { close(done) }
		s.await(context.WithoutCancel(ctx), j, nil)
		<-done // four seconds at most; the job is ours again then, not before
	}
}

// readDoH reads the message of a GET or a POST into j.
func readDoH(w http.ResponseWriter, r *http.Request, j *job) (status int) {
	switch r.Method {
	case http.MethodGet:
		return readDoHQuery(r, j)
	case http.MethodPost:
		if what, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || what != dohType {
			return http.StatusUnsupportedMediaType
		}
		return readDoHBody(w, r, j)
	}
	w.Header().Set("Allow", "GET, POST")
	return http.StatusMethodNotAllowed
}

func readDoHQuery(r *http.Request, j *job) int {
	text := r.URL.Query().Get("dns")
	if base64.RawURLEncoding.DecodedLen(len(text)) > maxPacket {
		return http.StatusRequestEntityTooLarge
	}
	j.pkt = j.pkt[:maxPacket]
	n, err := base64.RawURLEncoding.Decode(j.pkt, []byte(text))
	j.pkt = j.pkt[:n]
	if err != nil || n < headerLen {
		return http.StatusBadRequest
	}
	return http.StatusOK
}

func readDoHBody(w http.ResponseWriter, r *http.Request, j *job) int {
	body := http.MaxBytesReader(w, r.Body, maxPacket)
	j.pkt = j.pkt[:maxPacket]
	n, err := io.ReadFull(body, j.pkt)
	j.pkt = j.pkt[:n]
	if err == nil { // there may be more
		_, err = body.Read(make([]byte, 1))
	}
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		return http.StatusRequestEntityTooLarge
	case err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF), n < headerLen:
		return http.StatusBadRequest
	}
	return http.StatusOK
}
