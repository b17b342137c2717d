package upstream

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"mime"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"sync"
	"time"

	"github.com/miekg/dns"
)

const (
	dohType     = "application/dns-message"
	dohSilent   = time.Second     // a connection may be, before it is asked for a sign of life
	dohSign     = 3 * time.Second // until that must have come: a full line is slow, and not dead
	dohConns    = 4               // HTTP/2 carries many questions on one
	keepAddress = 5 * time.Minute // an address found for a server's name is looked up again after that
)

// web asks one server over HTTPS (RFC 8484), on connections that are used again.
// Its certificate is checked against the name it was configured with, and no
// redirection is followed: nobody else is asked.
type web struct {
	url       string
	transport *http.Transport
	client    *http.Client
	name      *bootstrap // nil where the address is configured
}

// parseHTTPS reads https://addr/path#name, where the name is the one in the
// certificate (the address itself if it is left out), or https://name/path.
func parseHTTPS(s string, roots *x509.CertPool) (*web, error) {
	u, err := url.Parse(s)
	if err != nil || u.Host == "" || u.Path == "" || u.RawQuery != "" || u.User != nil {
		return nil, fmt.Errorf("upstream %q: want an address such as https://192.0.2.53/dns-query#dns.example", s)
	}
	host, port, name := u.Hostname(), u.Port(), u.Fragment
	if port == "" {
		port = "443"
	}
	w := &web{}
	if name == "" {
		name = host
	}
	if _, err := netip.ParseAddr(host); err != nil {
		w.name = &bootstrap{name: host}
	}
	u.Fragment = ""
	w.url = u.String()
	w.transport = &http.Transport{
		Proxy: nil, // never by way of anybody else
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return w.dial(ctx, network, host, port)
		},
		TLSClientConfig:   &tls.Config{ServerName: name, RootCAs: roots, MinVersion: tls.VersionTLS12},
		ForceAttemptHTTP2: true, MaxConnsPerHost: dohConns, MaxIdleConnsPerHost: dohConns,
		IdleConnTimeout: streamIdle, TLSHandshakeTimeout: budget, DisableCompression: true,
		MaxResponseHeaderBytes: 16 << 10,
		// A line that died says nothing, and every question would wait on it in vain.
		HTTP2: &http.HTTP2Config{SendPingTimeout: dohSilent, PingTimeout: dohSign},
	}
	w.client = &http.Client{Transport: w.transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	return w, nil
}

func (w *web) dial(ctx context.Context, network, host, port string) (net.Conn, error) {
	var d net.Dialer
	if w.name == nil {
		return d.DialContext(ctx, network, net.JoinHostPort(host, port))
	}
	addrs, err := w.name.addresses(ctx)
	if err != nil {
		return nil, err
	}
	for _, a := range addrs {
		var c net.Conn
		if c, err = d.DialContext(ctx, network, net.JoinHostPort(a.String(), port)); err == nil {
			return c, nil
		}
	}
	w.name.forget() // it may have moved
	return nil, err
}

// exchange asks. The ID is 0, as RFC 8484 has it; the connection tells whose
// answer it is.
func (w *web) exchange(ctx context.Context, q Question, plain, edns bool) ([]byte, error) {
	query := appendQuery(make([]byte, 0, 300), 0, q, plain, edns)
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, w.url, bytes.NewReader(query))
	if err != nil {
		return nil, err
	}
	r.Header.Set("Content-Type", dohType)
	r.Header.Set("Accept", dohType)
	r.Header.Set("User-Agent", "") // nobody needs to know
	answer, err := w.client.Do(r)
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK || !isMessage(answer.Header.Get("Content-Type")) {
		return nil, fmt.Errorf("%w: HTTP status %d", errServer, answer.StatusCode)
	}
	reply, err := io.ReadAll(io.LimitReader(answer.Body, dns.MaxMsgSize+1))
	switch {
	case err != nil:
		return nil, err
	case len(reply) > dns.MaxMsgSize:
		return nil, fmt.Errorf("%w: longer than a message", errServer)
	}
	return reply, matches(query, reply)
}

// isMessage reports whether a media type, with whatever parameters, is that of DNS.
func isMessage(contentType string) bool {
	what, _, err := mime.ParseMediaType(contentType)
	return err == nil && what == dohType
}

func (w *web) close() { w.transport.CloseIdleConnections() }

// bootstrap finds the address of a server known by name, through the servers
// known by address, and remembers it. The operating system is never asked.
type bootstrap struct {
	name string
	pool *pool // set before the first question

	mu    sync.Mutex
	addrs []netip.Addr
	until time.Time
}

var errNoAddress = errors.New("upstream's name has no address")

// addresses gives what is known, after a look-up where that is old; an address
// that cannot be renewed goes on serving.
func (b *bootstrap) addresses(ctx context.Context) ([]netip.Addr, error) {
	b.mu.Lock()
	known, fresh := b.addrs, time.Now().Before(b.until)
	b.mu.Unlock()
	if fresh {
		return known, nil
	}
	found, err := b.ask(ctx)
	if err != nil {
		if len(known) > 0 {
			return known, nil
		}
		return nil, err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.addrs, b.until = found, time.Now().Add(keepAddress)
	return found, nil
}

func (b *bootstrap) ask(ctx context.Context) (found []netip.Addr, err error) {
	wire, ok := WireName(b.name)
	if !ok {
		return nil, errBadName
	}
	for _, qtype := range []uint16{dns.TypeA, dns.TypeAAAA} {
		q := Question{Name: wire, Type: qtype}
		err = b.pool.ask(ctx, q, func(m *dns.Msg) error {
			v, err := vet(m, dns.Fqdn(b.name), q, limits{private: func(string, netip.Addr) bool { return false }})
			if err != nil {
				return err
			}
			found = append(found, addressesOf(v.msg.Answer)...)
			return nil
		})
		if len(found) > 0 {
			return found, nil
		}
	}
	if err == nil {
		err = errNoAddress
	}
	return nil, err
}

func addressesOf(records []dns.RR) (addrs []netip.Addr) {
	for _, rr := range records {
		var a netip.Addr
		switch rr := rr.(type) {
		case *dns.A:
			a, _ = netip.AddrFromSlice(rr.A)
		case *dns.AAAA:
			a, _ = netip.AddrFromSlice(rr.AAAA)
		}
		if a.IsValid() {
			addrs = append(addrs, a.Unmap())
		}
	}
	return addrs
}

func (b *bootstrap) forget() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.until = time.Time{}
}
