package origins

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"schoolgate/policy"
	"schoolgate/proxy/destination"
	"schoolgate/proxy/inspect"
	"schoolgate/proxy/socket"
)

type (
	routeKey  struct{}
	clientKey struct{}
)

// config is of a door that may dial what of loopback is opened, and nothing else.
func config(t *testing.T, opened ...string) Config {
	t.Helper()
	var ranges []netip.Prefix
	for _, o := range opened {
		ranges = append(ranges, netip.MustParsePrefix(o))
	}
	set, err := destination.New(ranges)
	if err != nil {
		t.Fatal(err)
	}
	return Config{
		LookupHost:   func(context.Context, string) ([]netip.Addr, error) { return nil, errors.New("no such name") },
		Destinations: set,
		Route: func(ctx context.Context) (Route, bool) {
			r, ok := ctx.Value(routeKey{}).(Route)
			return r, ok
		},
		Client:     func(ctx context.Context) any { return ctx.Value(clientKey{}) },
		Interim:    func(context.Context) Interim { return nil },
		Failed:     func(error) {},
		Distrusted: func(string) {},
		Limits:     Limits{Resolve: time.Minute, Dial: time.Minute, Hello: time.Minute, OriginReply: time.Minute, IdleStream: time.Minute},
	}
}

func transport(t *testing.T, c Config) *Transport {
	t.Helper()
	o := New(c)
	t.Cleanup(o.Close)
	return o
}

func host(t *testing.T, name string) policy.Host {
	t.Helper()
	h, err := policy.ParseHost(name)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// site is an origin on loopback that counts who comes.
type site struct {
	net.Listener
	came atomic.Int32
}

func listen(t *testing.T) *site {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return &site{Listener: l}
}

func (s *site) Accept() (net.Conn, error) {
	c, err := s.Listener.Accept()
	if err == nil {
		s.came.Add(1)
	}
	return c, err
}

func (s *site) port() uint16 { return s.Addr().(*net.TCPAddr).AddrPort().Port() }

func (s *site) route(name policy.Host) Route {
	return Route{Addrs: []netip.Addr{netip.MustParseAddr("127.0.0.1")}, Port: s.port(), Name: name}
}

// answer is a server whose connections each do what a test says.
func (s *site) answer(t *testing.T, each func(n int, c net.Conn, in *bufio.Reader)) {
	var all sync.WaitGroup
	all.Go(func() {
		for n := 1; ; n++ {
			c, err := s.Accept()
			if err != nil {
				return
			}
			all.Go(func() {
				defer c.Close()
				each(n, c, bufio.NewReader(c))
			})
		}
	})
	t.Cleanup(func() { s.Close(); all.Wait() })
}

func request(t *testing.T, method, url string, r Route, client any) *http.Request {
	t.Helper()
	ctx := context.WithValue(t.Context(), routeKey{}, r)
	if client != nil {
		ctx = context.WithValue(ctx, clientKey{}, client)
	}
	q, err := http.NewRequestWithContext(ctx, method, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	return q
}

// get asks and reads all of the answer.
func get(o *Transport, q *http.Request) (string, error) {
	resp, err := o.RoundTrip(q)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	return string(text), err
}

const anAnswer = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n"

// Nothing inside is dialled, whatever the name leads to, where the school did not open it.
func TestForbiddenIsNeverDialled(t *testing.T) {
	s := listen(t)
	s.answer(t, func(int, net.Conn, *bufio.Reader) {})
	c := config(t)
	var answers []netip.Addr
	asked := 0
	c.LookupHost = func(context.Context, string) ([]netip.Addr, error) { asked++; return answers, nil }
	var failed []error
	c.Failed = func(err error) { failed = append(failed, err) }
	o := transport(t, c)
	inside := []string{"127.0.0.1", "::1", "::ffff:127.0.0.1", "0.0.0.0", "::", "10.2.15.7", "192.168.0.1", "169.254.169.254", "fe80::1%lo", "fd00::1", "64:ff9b::7f00:1"}
	for _, text := range inside {
		a := netip.MustParseAddr(text)
		answers = []netip.Addr{a}
		o.Forget()
		if r, err := o.Find(t.Context(), host(t, "rebound.example"), s.port()); !errors.Is(err, destination.ErrForbidden) {
			t.Errorf("a name that leads to %s: Find = %v, %v", a, r, err)
		}
		// Whatever made the route, the socket is looked at.
		forged := Route{Addrs: []netip.Addr{a}, Port: s.port()}
		if conn, err := o.Dial(t.Context(), forged); !errors.Is(err, destination.ErrForbidden) {
			t.Errorf("Dial(%s) = %v, %v", a, conn, err)
		}
		forged.Addrs = append(forged.Addrs, a)
		if conn, err := o.Dial(t.Context(), forged); !errors.Is(err, destination.ErrForbidden) {
			t.Errorf("Dial(%s, twice) = %v, %v", a, conn, err)
		}
	}
	if asked != len(inside) {
		t.Errorf("%d look-ups of %d", asked, len(inside))
	}
	for _, how := range []http.RoundTripper{o, o.HTTP()} {
		failed = nil
		q := request(t, "GET", "http://rebound.example/", s.route(policy.Host{}), nil)
		if resp, err := how.RoundTrip(q); !errors.Is(err, destination.ErrForbidden) || len(failed) != 1 {
			t.Errorf("a request by a forged route: %v, %v; %d failures told", resp, err, len(failed))
		}
		if resp, err := how.RoundTrip(q.WithContext(t.Context())); !errors.Is(err, ErrNoRoute) {
			t.Errorf("a request without a route: %v, %v", resp, err)
		}
	}
	if n := s.came.Load(); n != 0 {
		t.Errorf("%d connections were made", n)
	}
}

// Where a name leads is looked up once for a page, looked at each time, and forgotten
// when that is asked for; an address needs no look-up.
func TestFind(t *testing.T) {
	c := config(t, "127.0.0.0/30")
	asked := 0
	c.LookupHost = func(_ context.Context, name string) ([]netip.Addr, error) {
		if asked++; name == "nothing.example" {
			return nil, nil
		}
		return []netip.Addr{netip.MustParseAddr("127.0.0.1"), netip.MustParseAddr("127.0.0.9")}, nil
	}
	o := transport(t, c)
	h := host(t, "site.example")
	for range 3 {
		if r, err := o.Find(t.Context(), h, 80); err != nil || len(r.Addrs) != 1 || !r.Listed || r.Port != 80 {
			t.Fatalf("Find = %+v, %v", r, err)
		}
	}
	if asked != 1 || !o.Knows(h, time.Now()) || o.Knows(h, time.Now().Add(foundFor)) || o.Knows(host(t, "other.example"), time.Now()) {
		t.Errorf("%d look-ups, or it does not know what it knows", asked)
	}
	o.Forget()
	if _, err := o.Find(t.Context(), h, 80); err != nil || asked != 2 {
		t.Errorf("after Forget: %d look-ups, %v", asked, err)
	}
	if r, err := o.Find(t.Context(), host(t, "127.0.0.2"), 80); err != nil || asked != 2 || len(r.Addrs) != 1 {
		t.Errorf("an address: %+v, %v, %d look-ups", r, err, asked)
	}
	for range 2 { // that there is nothing is not remembered
		if r, err := o.Find(t.Context(), host(t, "nothing.example"), 80); err == nil {
			t.Errorf("a name without addresses: %+v", r)
		}
	}
	if asked != 4 {
		t.Errorf("%d look-ups", asked)
	}
	for n := range maxFound + 50 {
		o.found.put(host(t, "n"+big.NewInt(int64(n)).String()+".example"), nil, time.Now())
	}
	if len(o.found.names) != maxFound {
		t.Errorf("%d names are remembered, want %d", len(o.found.names), maxFound)
	}
}

// The addresses of an origin are tried one after another, no more than MaxAddresses.
func TestDialTriesSome(t *testing.T) {
	s := listen(t)
	o := transport(t, config(t, "127.0.0.0/8"))
	route := func(refused int) (r Route) {
		for n := range refused {
			r.Addrs = append(r.Addrs, netip.AddrFrom4([4]byte{127, 0, 1, byte(n)}))
		}
		r.Addrs, r.Port = append(r.Addrs, netip.MustParseAddr("127.0.0.1")), s.port()
		return r
	}
	conn, err := o.Dial(t.Context(), route(MaxAddresses-1))
	if err != nil {
		t.Fatal(err)
	}
	conn.Close()
	if conn, err := o.Dial(t.Context(), route(MaxAddresses)); err == nil {
		t.Errorf("an address too many was tried: %v", conn.RemoteAddr())
	}
	if _, err := o.Dial(t.Context(), Route{Port: s.port()}); !errors.Is(err, ErrNoRoute) {
		t.Errorf("no addresses: %v", err)
	}
}

// A kept connection that was closed, or on which something came unasked, is not handed
// out: nobody gets an answer to what was not asked.
func TestDeadConnectionIsNotHandedOut(t *testing.T) {
	t.Parallel()
	s := listen(t)
	do, done := make(chan string), make(chan bool)
	s.answer(t, func(n int, c net.Conn, in *bufio.Reader) {
		for {
			if _, err := http.ReadRequest(in); err != nil {
				return
			}
			io.WriteString(c, anAnswer+"ok")
			switch n {
			case 1, 2:
				if what := <-do; what == "" {
					c.Close()
				} else {
					io.WriteString(c, what)
				}
				done <- true
			}
		}
	})
	o := transport(t, config(t, "127.0.0.1/32"))
	ask := func() {
		t.Helper()
		if text, err := get(o, request(t, "GET", "http://site.example/", s.route(policy.Host{}), nil)); err != nil || text != "ok" {
			t.Fatalf("got %q, %v", text, err)
		}
	}
	key := originKey{host: "site.example"}
	for n, what := range []string{"", anAnswer + "no"} {
		ask()
		if o.Idle() != 1 || o.Knows(host(t, "site.example"), time.Now()) {
			t.Fatalf("%d are kept, want 1", o.Idle())
		}
		kept := o.idle[key][0].conn
		do <- what
		<-done
		raw, err := kept.(*net.TCPConn).SyscallConn()
		if err != nil {
			t.Fatal(err)
		}
		err = raw.Read(func(uintptr) bool { return !socket.Quiet(kept) }) // waits until something is there
		if err != nil {
			t.Fatal(err)
		}
		if c := o.take(key); c != nil {
			t.Fatalf("number %d is handed out after %q", n+1, what)
		}
		if _, err := kept.Write([]byte("x")); !errors.Is(err, net.ErrClosed) {
			t.Errorf("number %d is left open: %v", n+1, err)
		}
	}
	ask()
	ask()
	if n := s.came.Load(); n != 3 || o.Idle() != 1 {
		t.Errorf("%d connections and %d kept, want 3 and 1", n, o.Idle())
	}
	// What must not be sent twice has a connection of its own.
	if _, err := get(o, request(t, "POST", "http://site.example/", s.route(policy.Host{}), nil)); err != nil || s.came.Load() != 4 {
		t.Errorf("a POST went by connection %d, %v; want a new one", s.came.Load(), err)
	}
	if o.Sweep(time.Now()); o.Idle() != 2 {
		t.Errorf("%d are kept that were just used, want 2", o.Idle())
	}
	if o.Sweep(time.Now().Add(idleOrigin + time.Second)); o.Idle() != 0 {
		t.Errorf("%d are kept after %v", o.Idle(), idleOrigin)
	}
}

// A reply left before its end, or one that closes, leaves nothing to hand out.
func TestHalfReadIsNotKept(t *testing.T) {
	t.Parallel()
	s := listen(t)
	s.answer(t, func(n int, c net.Conn, in *bufio.Reader) {
		for {
			q, err := http.ReadRequest(in)
			if err != nil {
				return
			}
			io.WriteString(c, map[string]string{
				"/half": anAnswer, "/close": "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok",
				"/more": anAnswer + "ok" + anAnswer + "no", "/head": anAnswer,
			}[q.URL.Path])
		}
	})
	o := transport(t, config(t, "127.0.0.1/32"))
	resp, err := o.RoundTrip(request(t, "GET", "http://site.example/half", s.route(policy.Host{}), nil))
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if n, err := resp.Body.Read(make([]byte, 1)); n != 0 || err == nil {
		t.Errorf("a body left gave %d bytes, %v", n, err)
	}
	if o.Idle() != 0 {
		t.Error("a connection is kept whose reply is still to come")
	}
	for _, path := range []string{"close", "more"} {
		if text, err := get(o, request(t, "GET", "http://site.example/"+path, s.route(policy.Host{}), nil)); err != nil || text != "ok" {
			t.Errorf("/%s gave %q, %v", path, text, err)
		}
		if o.Idle() != 0 {
			t.Errorf("%d are kept after /%s", o.Idle(), path)
		}
	}
	if _, err := get(o, request(t, "HEAD", "http://site.example/head", s.route(policy.Host{}), nil)); err != nil || o.Idle() != 1 {
		t.Errorf("after HEAD %d are kept, %v; want 1", o.Idle(), err)
	}
	o.Close()
	if _, err := get(o, request(t, "HEAD", "http://site.example/head", s.route(policy.Host{}), nil)); err != nil || o.Idle() != 0 {
		t.Errorf("after Close %d are kept, %v", o.Idle(), err)
	}
}

// closed reports whether the other end of a pipe is closed.
func closed(far net.Conn) bool {
	far.SetDeadline(time.Unix(1, 0)) // nothing is waited for
	_, err := far.Write([]byte("x"))
	return err == io.ErrClosedPipe
}

// No more are kept to one place, and in all, than is said; the others are closed.
func TestIdleIsBounded(t *testing.T) {
	o := New(config(t))
	var far []net.Conn
	put := func(place string) {
		near, other := net.Pipe()
		far = append(far, other)
		o.put(&originConn{origins: o, key: originKey{host: place}, conn: near})
	}
	for range maxIdlePerHost + 1 {
		put("one.example")
	}
	if o.Idle() != maxIdlePerHost {
		t.Errorf("%d are kept to one place", o.Idle())
	}
	for n := range maxIdleOrigins {
		put("n" + big.NewInt(int64(n)).String())
	}
	if o.Idle() != maxIdleOrigins {
		t.Errorf("%d are kept in all", o.Idle())
	}
	o.drop(originKey{host: "one.example"}, time.Now().Add(time.Second))
	if o.Idle() != maxIdleOrigins-maxIdlePerHost {
		t.Errorf("%d are kept when one place was dropped", o.Idle())
	}
	o.Close()
	put("late.example")
	if o.Idle() != 0 || len(o.idle) != 0 {
		t.Errorf("%d are kept after Close", o.Idle())
	}
	for n, c := range far {
		if !closed(c) {
			t.Fatalf("number %d is left open", n)
		}
	}
	for n := range maxOldOrigins + 9 {
		o.note(originKey{secure: true, host: big.NewInt(int64(n)).String()})
	}
	if len(o.old) != maxOldOrigins {
		t.Errorf("%d places are remembered to be on HTTP/1", len(o.old))
	}
}

// A connection that signed a client in serves nobody else (T21).
func TestSignedInConnectionIsOneClients(t *testing.T) {
	t.Parallel()
	s := listen(t)
	s.answer(t, func(n int, c net.Conn, in *bufio.Reader) {
		for {
			if _, err := http.ReadRequest(in); err != nil {
				return
			}
			io.WriteString(c, "HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: NTLM\r\nContent-Length: 1\r\n\r\n"+string(rune('0'+n)))
		}
	})
	o := transport(t, config(t, "127.0.0.1/32"))
	for n, c := range []struct{ client, want string }{{"a", "1"}, {"b", "2"}, {"a", "1"}, {"b", "2"}, {"c", "3"}} {
		q := request(t, "GET", "http://site.example/", s.route(policy.Host{}), c.client)
		if got, err := get(o, q); err != nil || got != c.want {
			t.Errorf("request %d, of %s, went by connection %q, %v; want %s", n, c.client, got, err, c.want)
		}
	}
}

// The head of a reply has a size, and so have the interim replies before it.
func TestReplyHeadIsBounded(t *testing.T) {
	t.Parallel()
	s := listen(t)
	s.answer(t, func(_ int, c net.Conn, in *bufio.Reader) {
		q, err := http.ReadRequest(in)
		if err != nil {
			return
		}
		switch q.URL.Path {
		case "/head":
			io.WriteString(c, "HTTP/1.1 200 OK\r\n")
			for range 2 * maxReplyHead / 64 {
				if _, err := io.WriteString(c, "X-Filler: "+strings.Repeat("x", 52)+"\r\n"); err != nil {
					return
				}
			}
			io.WriteString(c, "Content-Length: 2\r\n\r\nok")
		case "/interim":
			io.WriteString(c, strings.Repeat("HTTP/1.1 103 Early Hints\r\n\r\n", MaxInterim)+anAnswer+"ok")
		case "/few":
			io.WriteString(c, strings.Repeat("HTTP/1.1 103 Early Hints\r\n\r\n", MaxInterim-1)+anAnswer+"ok")
		case "/status":
			io.WriteString(c, "HTTP/1.1 099 OK\r\nContent-Length: 2\r\n\r\nok")
		}
	})
	o := transport(t, config(t, "127.0.0.1/32"))
	for path, want := range map[string]error{"/head": io.ErrUnexpectedEOF, "/interim": errInterim, "/few": nil, "/status": errStatus} {
		text, err := get(o, request(t, "GET", "http://site.example"+path, s.route(policy.Host{}), nil))
		if !errors.Is(err, want) || (text == "ok") != (want == nil) {
			t.Errorf("%s: %q, %v; want %v", path, text, err, want)
		}
	}
}

// authority is one that tests believe, and what it signs.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{}
	a.cert = &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test authority"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	made := a.sign(t, a.cert)
	a.cert, a.key = made.Leaf, made.PrivateKey.(*ecdsa.PrivateKey)
	return a
}

// sign makes a certificate with a key of its own.
func (a *authority) sign(t *testing.T, c *x509.Certificate) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	by := a.key
	if by == nil {
		by = key
	}
	der, err := x509.CreateCertificate(rand.Reader, c, a.cert, &key.PublicKey, by)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}
}

func (a *authority) site(t *testing.T, name string, life time.Duration) tls.Certificate {
	return a.sign(t, &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: name}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(life),
		DNSNames: []string{name}, KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	})
}

func (a *authority) verifier() *inspect.Verifier {
	pool := x509.NewCertPool()
	pool.AddCert(a.cert)
	return &inspect.Verifier{Roots: pool}
}

// secureSite is a site over TLS that counts its requests.
func secureSite(t *testing.T, cert tls.Certificate, h2 bool, change func(*tls.Config)) (*site, *atomic.Int32) {
	t.Helper()
	var asked atomic.Int32
	s := listen(t)
	server := &httptest.Server{Listener: s, EnableHTTP2: h2, Config: &http.Server{
		Handler:  http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { asked.Add(1); io.WriteString(w, r.Proto) }),
		ErrorLog: log.New(io.Discard, "", 0),
	}, TLS: &tls.Config{Certificates: []tls.Certificate{cert}}}
	if change != nil {
		change(server.TLS)
	}
	server.StartTLS()
	t.Cleanup(server.Close)
	return s, &asked
}

// What an origin speaks is learnt: one on HTTP/1.1 is asked in place from its second
// request, for an hour; one on HTTP/2 never is.
func TestProtocolIsLearnt(t *testing.T) {
	t.Parallel()
	ca := newAuthority(t)
	c := config(t, "127.0.0.1/32")
	c.Verifier = ca.verifier()
	for _, h2 := range []bool{false, true} {
		s, _ := secureSite(t, ca.site(t, "site.example", time.Hour), h2, nil)
		o := transport(t, c)
		want, key := "HTTP/1.1", originKey{secure: true, host: "site.example"}
		if h2 {
			want = "HTTP/2.0"
		}
		for n := range 3 {
			got, err := get(o, request(t, "GET", "https://site.example/", s.route(host(t, "site.example")), nil))
			if err != nil || got != want || o.isOld(key) == h2 {
				t.Fatalf("request %d: %q, %v, known to be on HTTP/1: %v", n, got, err, o.isOld(key))
			}
			if inPlace := o.Idle() == 1; inPlace != (!h2 && n > 0) {
				t.Errorf("request %d over %s: asked in place: %v", n, want, inPlace)
			}
		}
		o.old[key] = time.Now().Add(-oldFor)
		if o.isOld(key) {
			t.Error("what was learnt an hour ago is still held for true")
		}
	}
}

// No request reaches an origin whose certificate a browser would not believe, by either
// way, and it is told why.
func TestBadCertificateIsNeverBelieved(t *testing.T) {
	t.Parallel()
	ca, other := newAuthority(t), newAuthority(t)
	for _, c := range []struct {
		name   string
		cert   tls.Certificate
		change func(*tls.Config)
		why    string
	}{
		{"of another site", ca.site(t, "other.example", time.Hour), nil, inspect.WhyName},
		{"that ran out", ca.site(t, "site.example", -time.Minute), nil, inspect.WhyExpired},
		{"of an authority nobody knows", other.site(t, "site.example", time.Hour), nil, inspect.WhyUntrusted},
		{"of an authority itself", ca.sign(t, &x509.Certificate{
			SerialNumber: big.NewInt(3), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), DNSNames: []string{"site.example"},
			IsCA: true, BasicConstraintsValid: true, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		}), nil, inspect.WhyUse},
		{"over TLS 1.1", ca.site(t, "site.example", time.Hour), func(c *tls.Config) { c.MinVersion, c.MaxVersion = tls.VersionTLS10, tls.VersionTLS11 }, inspect.WhyTLS},
	} {
		s, asked := secureSite(t, c.cert, false, c.change)
		cfg := config(t, "127.0.0.1/32")
		cfg.Verifier = ca.verifier()
		var told []string
		cfg.Distrusted = func(why string) { told = append(told, why) }
		o := transport(t, cfg)
		for _, way := range []string{"by the transport", "in place"} {
			told = nil
			_, err := get(o, request(t, "GET", "https://site.example/", s.route(host(t, "site.example")), nil))
			refused := (*inspect.Refused)(nil)
			if !errors.As(err, &refused) || refused.Why != c.why || len(told) != 1 || told[0] != c.why || asked.Load() != 0 || o.Idle() != 0 {
				t.Errorf("a certificate %s, %s: %v, told %q, %d requests; want %s", c.name, way, err, told, asked.Load(), c.why)
			}
			o.note(originKey{secure: true, host: "site.example"})
		}
	}
}

// TLS needs somebody who believes, and a name to believe.
func TestTLSWithoutANameOrAVerifier(t *testing.T) {
	ca := newAuthority(t)
	named := Route{Name: host(t, "site.example")}
	for _, c := range []struct {
		name     string
		verifier *inspect.Verifier
		route    any
	}{{"nobody who believes", nil, named}, {"no name", ca.verifier(), Route{}}, {"no route", ca.verifier(), nil}} {
		cfg := config(t)
		cfg.Verifier = c.verifier
		o := transport(t, cfg)
		near, far := net.Pipe()
		if conn, err := o.Secure(context.WithValue(t.Context(), routeKey{}, c.route), near); !errors.Is(err, ErrNoRoute) {
			t.Errorf("%s: %v, %v", c.name, conn, err)
		}
		if !closed(far) {
			t.Errorf("%s: the connection is left open", c.name)
		}
	}
}
