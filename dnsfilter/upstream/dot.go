package upstream

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync"
	"time"
)

const (
	maxStreams = 16               // connections to one server; more questions wait for one
	streamIdle = 20 * time.Second // an idle one is not used again after that
)

// streams asks one server over TLS (RFC 7858), on connections that are used again
// one question after the other. The server's certificate is checked against the
// name it was configured with; there is no way round that.
type streams struct {
	addr   netip.AddrPort
	config *tls.Config
	slots  chan struct{}

	mu     sync.Mutex
	closed bool
	idle   []*stream // the one used last comes last
}

// stream is one connection; who holds it has it alone.
type stream struct {
	net.Conn
	used time.Time
}

// parseTLS reads tls://addr:port#name; the port may be left out, for 853.
func parseTLS(s string, roots *x509.CertPool) (*streams, error) {
	where, name, ok := strings.Cut(strings.TrimPrefix(s, "tls://"), "#")
	addr, err := netip.ParseAddrPort(where)
	if err != nil {
		var ip netip.Addr
		ip, err = netip.ParseAddr(where)
		addr = netip.AddrPortFrom(ip, 853)
	}
	if err != nil || !ok || name == "" || addr.Port() == 0 {
		return nil, fmt.Errorf("upstream %q: want an address and the name in its certificate, such as tls://192.0.2.53:853#dns.example", s)
	}
	return &streams{addr: addr, slots: make(chan struct{}, maxStreams), config: &tls.Config{
		ServerName: name, RootCAs: roots, MinVersion: tls.VersionTLS12, NextProtos: []string{"dot"},
		ClientSessionCache: tls.NewLRUClientSessionCache(maxStreams),
	}}, nil
}

// exchange asks on a connection that stands, or on a new one; a server may have
// closed the one that stood, so that one failing says nothing yet.
func (s *streams) exchange(ctx context.Context, q Question, plain, edns bool) ([]byte, error) {
	select {
	case s.slots <- struct{}{}:
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	defer func() { <-s.slots }()
	if c := s.take(); c != nil {
		if reply, err := s.ask(ctx, c, q, plain, edns); err == nil || ctx.Err() != nil {
			return reply, err
		}
	}
	c, err := s.dial(ctx)
	if err != nil {
		return nil, err
	}
	return s.ask(ctx, c, q, plain, edns)
}

func (s *streams) dial(ctx context.Context) (*stream, error) {
	d := tls.Dialer{Config: s.config}
	conn, err := d.DialContext(ctx, "tcp", s.addr.String())
	if err != nil {
		return nil, err
	}
	return &stream{Conn: conn}, nil
}

// ask asks, and keeps the connection if all went well.
func (s *streams) ask(ctx context.Context, c *stream, q Question, plain, edns bool) ([]byte, error) {
	stop := context.AfterFunc(ctx, func() { _ = c.SetDeadline(time.Unix(1, 0)) })
	query := appendQuery(make([]byte, 2, 302), randomID(), q, plain, edns)
	binary.BigEndian.PutUint16(query, uint16(len(query)-2))
	_, err := c.Write(query)
	var reply []byte
	if err == nil {
		reply, err = readMessage(c)
	}
	if err == nil {
		err = matches(query[2:], reply)
	}
	if !stop() || err != nil {
		_ = c.Close() // the error that matters is the one we have
		return reply, err
	}
	s.keep(c)
	return reply, nil
}

// take gives the idle connection used last, nil if there is none worth trying.
func (s *streams) take() *stream {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.idle) == 0 {
		return nil
	}
	c := s.idle[len(s.idle)-1]
	s.idle = s.idle[:len(s.idle)-1]
	if time.Since(c.used) < streamIdle {
		return c
	}
	for _, old := range append(s.idle, c) { // the others are older still
		_ = old.Close()
	}
	s.idle = nil
	return nil
}

func (s *streams) keep(c *stream) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		_ = c.Close()
		return
	}
	c.used = time.Now()
	s.idle = append(s.idle, c)
}

func (s *streams) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	for _, c := range s.idle {
		_ = c.Close()
	}
	s.idle = nil
}
