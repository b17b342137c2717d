package proxy

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"schoolgate/policy"
)

// school decides by host: what is in block is refused, all else is allowed as
// uncategorised. 127.0.0.2 is a member of staff, everyone else a Year 5 child.
type school struct {
	mu    sync.Mutex
	rules map[string]policy.Ruling
}

var (
	year5 = &policy.Profile{Name: "ks2", Band: policy.KS2, Scan: 100}
	adult = &policy.Profile{Name: "staff", Band: policy.Staff}
)

func (s *school) Decide(q policy.Request) policy.Ruling {
	s.mu.Lock()
	defer s.mu.Unlock()
	if r, ok := s.rules[q.Host.String()+q.Path]; ok && q.Path != "" {
		return s.as(q, r)
	}
	if r, ok := s.rules[q.Host.String()+"/"]; ok && q.Path != "" {
		return s.as(q, r)
	}
	for name := q.Host.String(); name != ""; _, name, _ = strings.Cut(name, ".") {
		if r, ok := s.rules[name]; ok {
			return s.as(q, r)
		}
	}
	return s.as(q, policy.Ruling{Decision: policy.Decision{Verdict: policy.Allow, Reason: policy.ReasonUncategorised}})
}

func (s *school) as(q policy.Request, r policy.Ruling) policy.Ruling {
	r.Profile = year5
	if q.Client == netip.MustParseAddr("127.0.0.2") {
		r.Profile = adult
	}
	r.Client.Addr = q.Client
	return r
}

func (s *school) set(host string, r policy.Ruling) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.rules[host] = r
}

func blockedBy(c policy.Category) policy.Ruling {
	return policy.Ruling{Decision: policy.Decision{Verdict: policy.Block, Reason: policy.ReasonCategory, Category: c}}
}

func allowedBy(why policy.Reason) policy.Ruling {
	return policy.Ruling{Decision: policy.Decision{Verdict: policy.Allow, Reason: why}}
}

// journal keeps events in memory and may be told to fail.
type journal struct {
	mu     sync.Mutex
	events []policy.Event
	broken bool
}

func (j *journal) Record(e *policy.Event) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.broken {
		return errors.New("disk full")
	}
	e.ID = policy.EventID(len(j.events) + 1)
	j.events = append(j.events, *e)
	return nil
}

// Waits is as the appliance's journal has it: only what a person must hear of is on disk
// before it is answered.
func (j *journal) Waits(e *policy.Event) bool { return e.Durable() }

func (j *journal) all() []policy.Event {
	j.mu.Lock()
	defer j.mu.Unlock()
	return append([]policy.Event(nil), j.events...)
}

func (j *journal) last(t *testing.T) policy.Event {
	t.Helper()
	all := j.all()
	if len(all) == 0 {
		t.Fatal("no event was recorded")
	}
	return all[len(all)-1]
}

// names is the resolver: a name that is not in it does not exist.
type names map[string][]string

func (n names) LookupHost(_ context.Context, name string) ([]netip.Addr, error) {
	var list []netip.Addr
	for _, s := range n[name] {
		list = append(list, netip.MustParseAddr(s))
	}
	if list == nil {
		return nil, &net.DNSError{Err: "no such host", Name: name, IsNotFound: true}
	}
	return list, nil
}

// plainPages writes what a test wants to see on a page.
type plainPages struct{}

func (plainPages) Page(h http.Header, r policy.Ruling, e *policy.Event, _ bool) ([]byte, error) {
	h.Set("Content-Type", "text/plain")
	return fmt.Appendf(nil, "page %d %s %s %s\n", e.Status, r.Band(), r.Reason, e.ID), nil
}

// box is a running door with what it stands on.
type box struct {
	t       testing.TB
	school  *school
	journal *journal
	names   Resolver
	server  *Server
	addr    string
	stop    func()
}

func newBox(t testing.TB, change func(*Config)) *box {
	t.Helper()
	return newBoxBy(t, change, func(*Server) {})
}

// newBoxBy is newBox with a server that is prepared before it runs.
func newBoxBy(t testing.TB, change func(*Config), prepare func(*Server)) *box {
	t.Helper()
	b := &box{t: t, school: &school{rules: map[string]policy.Ruling{
		"blocked.test": blockedBy(policy.Gambling),
	}}, journal: &journal{}}
	cfg := Config{
		Listen: []string{"127.0.0.1:0"}, Decider: b.school, Sink: b.journal, Pages: plainPages{},
		Resolver: names{
			"open.test": {"127.0.0.1"}, "other.test": {"127.0.0.1"}, "blocked.test": {"127.0.0.1"},
			"inside.test": {"10.1.2.3"}, "safe.test": {"127.0.0.1"},
		},
		AllowDestinations: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")},
		Limits:            Limits{Drain: 100 * time.Millisecond},
	}
	if change != nil {
		change(&cfg)
	}
	b.names = cfg.Resolver
	var err error
	if b.server, err = New(cfg); err != nil {
		t.Fatal(err)
	}
	prepare(b.server)
	b.addr = b.server.Addrs()[0].String()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- b.server.Run(ctx) }()
	b.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run = %v, want nil", err)
		}
		if n := b.server.gate.Open(); n != 0 {
			t.Errorf("%d connections are still counted after Run", n)
		}
	})
	t.Cleanup(b.stop)
	return b
}

// client is a browser that uses the door; from is its own address.
func (b *box) client(from string) *http.Client {
	d := &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
	tr := &http.Transport{
		Proxy:       func(*http.Request) (*url.URL, error) { return url.Parse("http://" + b.addr) },
		DialContext: d.DialContext, DisableCompression: true,
	}
	b.t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr, Timeout: 10 * time.Second,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}

func (b *box) get(rawURL string) (*http.Response, string) {
	b.t.Helper()
	resp, err := b.client("127.0.0.1").Get(rawURL)
	if err != nil {
		b.t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		b.t.Fatal(err)
	}
	return resp, string(body)
}

// dial opens a bare connection to the door.
func (b *box) dial() net.Conn {
	b.t.Helper()
	conn, err := net.Dial("tcp", b.addr)
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() { conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		b.t.Fatal(err)
	}
	return conn
}

// raw sends bytes and reads all of the reply, until the door closes.
func (b *box) raw(request string) string {
	b.t.Helper()
	conn := b.dial()
	if _, err := io.WriteString(conn, request); err != nil {
		b.t.Fatal(err)
	}
	reply, err := io.ReadAll(conn)
	if err != nil && len(reply) == 0 {
		return "error: " + err.Error()
	}
	return string(reply)
}

// connect opens a tunnel and returns it with the reply to CONNECT.
func (b *box) connect(authority string) (net.Conn, *http.Response) {
	b.t.Helper()
	conn := b.dial()
	fmt.Fprintf(conn, "CONNECT %s HTTP/1.1\r\nHost: %s\r\n\r\n", authority, authority)
	br := bufio.NewReader(conn)
	resp, err := http.ReadResponse(br, &http.Request{Method: http.MethodConnect})
	if err != nil {
		b.t.Fatal(err)
	}
	return conn, resp
}

func portOf(t testing.TB, s *httptest.Server) string {
	u, err := url.Parse(s.URL)
	if err != nil {
		t.Fatal(err)
	}
	return u.Port()
}

func portNum(t testing.TB, s *httptest.Server) uint16 { return portNumber(portOf(t, s)) }

func origin(t testing.TB, h http.HandlerFunc) *httptest.Server {
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s
}

// discard is for servers whose clients break off on purpose.
var discard = log.New(io.Discard, "", 0)

func hello(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "hello from the origin") }

// secure is a TLS origin and a client configuration that trusts it.
func secure(t testing.TB, h http.HandlerFunc) (*httptest.Server, *tls.Config) {
	s := httptest.NewTLSServer(h)
	t.Cleanup(s.Close)
	pool := x509.NewCertPool()
	pool.AddCert(s.Certificate())
	return s, &tls.Config{RootCAs: pool, ServerName: "example.com"} // httptest's certificate
}

// recording notes the names asked for and gives every one the same address.
type recording struct {
	Resolver
	mu    sync.Mutex
	asked []string
}

func (r *recording) LookupHost(ctx context.Context, name string) ([]netip.Addr, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.asked = append(r.asked, name)
	return r.Resolver.LookupHost(ctx, name)
}

func (r *recording) all() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return strings.Join(r.asked, " ")
}

// withFirstWrite puts bytes before the first write, in the same packet, and
// takes the reply to CONNECT off before the first read.
type withFirstWrite struct {
	net.Conn
	before string
	begun  bool
}

func (c *withFirstWrite) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(append([]byte(c.before), p...))
	n = max(0, n-len(c.before))
	c.before = ""
	return n, err
}

func (c *withFirstWrite) Read(p []byte) (int, error) {
	for line := ""; !c.begun; {
		var one [1]byte
		if _, err := c.Conn.Read(one[:]); err != nil {
			return 0, err
		}
		line += string(one[:])
		c.begun = strings.HasSuffix(line, "\r\n\r\n")
	}
	return c.Conn.Read(p)
}
