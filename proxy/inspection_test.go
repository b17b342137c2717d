package proxy

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"schoolgate/policy"
	"schoolgate/proxy/inspect"
)

// glass is a box that looks into everything, with an origin behind it and a
// client that trusts the school.
type glass struct {
	*box
	origin      *httptest.Server
	port        string
	school      *x509.CertPool // what a school device trusts
	roots       *x509.CertPool // what the origin is believed by
	authorities []*inspect.Authority
}

// insideRuling is an allowance for a host whose inside is to be seen.
var insideRuling = policy.Ruling{Decision: policy.Decision{Verdict: policy.Allow, Reason: policy.ReasonDefault, Inspect: true}}

func newGlass(t testing.TB, h http.HandlerFunc, change func(*Config)) *glass {
	t.Helper()
	g := &glass{origin: httptest.NewUnstartedServer(h), school: x509.NewCertPool()}
	roots, cert := originAuthority(t, "open.test", "other.test", "safe.test")
	g.roots = roots
	g.origin.TLS = &tls.Config{Certificates: []tls.Certificate{cert}}
	g.origin.EnableHTTP2 = true
	g.origin.Config.ErrorLog = discard
	g.origin.StartTLS()
	t.Cleanup(g.origin.Close)
	g.port = portOf(t, g.origin)
	a, err := inspect.Create(t.TempDir(), inspect.New{Now: time.Now(), Exclude: []string{"excluded.test"}})
	if err != nil {
		t.Fatal(err)
	}
	g.school.AddCert(a.Certificate)
	g.authorities = []*inspect.Authority{a}
	g.box = newBox(t, func(c *Config) {
		leaves, err := inspect.NewLeaves([]*inspect.Authority{a})
		if err != nil {
			t.Fatal(err)
		}
		private, err := inspect.NewNeverInspect(hosts("private.test"))
		if err != nil {
			t.Fatal(err)
		}
		c.ConnectPorts = []uint16{portNumber(g.port)}
		for _, name := range []string{"private.test", "excluded.test", "wrong.test"} {
			c.Resolver.(names)[name] = []string{"127.0.0.1"}
		}
		c.Inspection = &Inspection{Leaves: leaves, Verifier: &inspect.Verifier{Roots: roots}, Never: private}
		if change != nil {
			change(c)
		}
	})
	for _, name := range []string{"open.test", "other.test", "private.test", "excluded.test", "wrong.test"} {
		g.box.school.set(name, insideRuling)
	}
	return g
}

func hosts(list ...string) (out []policy.Host) {
	for _, s := range list {
		h, err := policy.ParseHost(s)
		if err != nil {
			panic(err)
		}
		out = append(out, h)
	}
	return out
}

// originAuthority is the internet's authority and a certificate for names.
func originAuthority(t testing.TB, dns ...string) (*x509.CertPool, tls.Certificate) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	root := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "Internet"}, NotBefore: time.Now().Add(-time.Hour),
		NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	site := &x509.Certificate{SerialNumber: big.NewInt(2), DNSNames: dns, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}
	rootDER, err := x509.CreateCertificate(rand.Reader, root, root, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	siteDER, err := x509.CreateCertificate(rand.Reader, site, root, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := x509.ParseCertificate(rootDER)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(parsed)
	return pool, tls.Certificate{Certificate: [][]byte{siteDER}, PrivateKey: key}
}

// device is a browser that uses the door and trusts a set of authorities.
func (g *glass) device(trusts *x509.CertPool, h2 bool) *http.Client {
	tr := &http.Transport{
		Proxy:           func(*http.Request) (*url.URL, error) { return url.Parse("http://" + g.addr) },
		TLSClientConfig: &tls.Config{RootCAs: trusts}, DisableCompression: true, ForceAttemptHTTP2: h2,
	}
	if !h2 {
		tr.TLSClientConfig.NextProtos = []string{"http/1.1"}
	}
	g.t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr, Timeout: time.Minute}
}

func (g *glass) url(host, path string) string { return "https://" + host + ":" + g.port + path }

// tls opens a tunnel and TLS in it.
func (g *glass) tls(authority, sni string, alpn ...string) (*tls.Conn, error) {
	conn, resp := g.connect(authority + ":" + g.port)
	if resp.StatusCode != 200 {
		return nil, fmt.Errorf("CONNECT: %d", resp.StatusCode)
	}
	c := tls.Client(conn, &tls.Config{RootCAs: g.school, ServerName: sni, NextProtos: alpn})
	return c, c.Handshake()
}

func (g *glass) events() (list []string) {
	for _, e := range g.journal.all() {
		list = append(list, fmt.Sprintf("%s %s%s %s %s", e.Door, e.Host, e.Path, e.Verdict, e.Finding))
	}
	return list
}

func bodyOf(t testing.TB, resp *http.Response, err error) string {
	t.Helper()
	if err != nil {
		return "error: " + err.Error()
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		return "error: " + err.Error()
	}
	return string(b)
}

// TestInspected: on both protocols each request has a verdict and an event of its
// own, and the origin's reply comes through.
func TestInspected(t *testing.T) {
	for _, h2 := range []bool{false, true} {
		t.Run(fmt.Sprintf("h2=%v", h2), func(t *testing.T) {
			g := newGlass(t, func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Alt-Svc", `h3=":443"`)
				fmt.Fprintf(w, "%s %s %s", r.Proto, r.Host, r.URL)
			}, nil)
			c := g.device(g.school, h2)
			resp, err := c.Get(g.url("open.test", "/a?b=c"))
			got := bodyOf(t, resp, err)
			if want := "HTTP/2.0 open.test:" + g.port + " /a?b=c"; got != want {
				t.Fatalf("got %q, want %q", got, want)
			}
			if resp.ProtoMajor == 2 != h2 || resp.Header.Get("Alt-Svc") != "" {
				t.Errorf("reply %s %v", resp.Proto, resp.Header)
			}
			g.school2("open.test/bad", blockedBy(policy.Gambling))
			resp, err = c.Get(g.url("open.test", "/bad"))
			if got := bodyOf(t, resp, err); !strings.HasPrefix(got, "page 403 ks2 category") || resp.StatusCode != 403 {
				t.Errorf("a blocked path: %q", got)
			}
			want := []string{"connect open.test allow ", "inspect open.test/a allow ", "inspect open.test/bad block "}
			if all := g.events(); !slices.Equal(all, want) {
				t.Errorf("events = %q, want %q", all, want)
			}
		})
	}
}

// school2 sets a rule for a path: the fake school decides by host and path.
func (g *glass) school2(hostPath string, r policy.Ruling) { g.box.school.set(hostPath, r) }

// TestInsideAgrees: Host, SNI and CONNECT must name the same host and port (G8, Y19).
func TestInsideAgrees(t *testing.T) {
	for _, c := range []struct{ name, connect, sni, request, want, event string }{
		{"all the same", "open.test", "open.test", "GET / HTTP/1.1\r\nHost: open.test:PORT\r\n", "200 OK", "inspect open.test/ allow "},
		{"another Host", "open.test", "open.test", "GET / HTTP/1.1\r\nHost: other.test:PORT\r\n", "421 Misdirected", "inspect other.test/ block host_mismatch"},
		{"a blocked Host", "open.test", "open.test", "GET / HTTP/1.1\r\nHost: blocked.test:PORT\r\n", "page 403 ks2 category", "inspect blocked.test/ block host_mismatch"},
		{"another port", "open.test", "open.test", "GET / HTTP/1.1\r\nHost: open.test:22\r\n", "421 Misdirected", "inspect open.test/ block host_mismatch"},
		{"absolute form for another", "open.test", "open.test", "GET https://other.test:PORT/ HTTP/1.1\r\nHost: open.test:PORT\r\n", "421 Misdirected", "inspect other.test/ block host_mismatch"},
		{"absolute form in clear", "open.test", "open.test", "GET http://open.test:PORT/ HTTP/1.1\r\nHost: open.test:PORT\r\n", "400 Bad", "inspect open.test/ block scheme"},
		{"CONNECT inside", "open.test", "open.test", "CONNECT other.test:PORT HTTP/1.1\r\nHost: other.test:PORT\r\n", "405 Method", "inspect open.test block method"},
		{"TRACE", "open.test", "open.test", "TRACE / HTTP/1.1\r\nHost: open.test:PORT\r\n", "405 Method", "inspect open.test/ block method"},
		{"a user", "open.test", "open.test", "GET https://x@open.test:PORT/ HTTP/1.1\r\nHost: open.test:PORT\r\n", "400 Bad", "inspect open.test/ block userinfo"},
		{"another SNI", "open.test", "other.test", "", "handshake", "tls other.test block sni_mismatch"},
		{"a blocked SNI", "open.test", "blocked.test", "", "handshake", "tls blocked.test block sni_mismatch"},
		{"an SNI to be seen behind a CONNECT that is not", "safe.test", "open.test", "", "handshake", "tls open.test block sni_mismatch"},
	} {
		t.Run(c.name, func(t *testing.T) {
			g := newGlass(t, hello, nil)
			conn, err := g.tls(c.connect, c.sni)
			got := ""
			if err != nil {
				got = "handshake: " + err.Error()
			} else {
				fmt.Fprint(conn, strings.ReplaceAll(c.request, "PORT", g.port)+"Connection: close\r\n\r\n")
				b, _ := io.ReadAll(conn)
				got = string(b)
			}
			if all := g.events(); !strings.Contains(got, c.want) || all[len(all)-1] != c.event {
				t.Errorf("got %q, events %q, want %q and %q", got, all, c.want, c.event)
			}
		})
	}
}

// TestNotInside: what is private, excluded or not wanted passes untouched: the
// client sees the origin's own certificate (T10).
func TestNotInside(t *testing.T) {
	bank, update := insideRuling, insideRuling
	bank.Facts.Categories = policy.SetOf(policy.Finance)
	update.Reason = policy.ReasonNeverBlock
	for _, name := range []string{"private.test", "excluded.test", "www.nhs.uk", "safe.test", "bank.test", "update.test"} {
		t.Run(name, func(t *testing.T) {
			g := newGlass(t, hello, func(c *Config) {
				for _, name := range []string{"www.nhs.uk", "bank.test", "update.test"} {
					c.Resolver.(names)[name] = []string{"127.0.0.1"}
				}
			})
			g.box.school.set("www.nhs.uk", insideRuling)
			g.box.school.set("bank.test", bank)
			g.box.school.set("update.test", update)
			conn, resp := g.connect(name + ":" + g.port)
			if resp.StatusCode != 200 {
				t.Fatal(resp.Status)
			}
			c := tls.Client(conn, &tls.Config{ServerName: name, InsecureSkipVerify: true}) // whose certificate it is, is the question
			if err := c.Handshake(); err != nil {
				t.Fatal(err)
			}
			if got := c.ConnectionState().PeerCertificates[0]; !got.Equal(must(x509.ParseCertificate(g.origin.TLS.Certificates[0].Certificate[0]))) {
				t.Errorf("%s: the certificate is by %s", name, got.Issuer)
			}
		})
	}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// TestPageInside: a refused tunnel shows its page where the client trusts us,
// with the one event that there is, and nothing is dialled.
func TestPageInside(t *testing.T) {
	g := newGlass(t, hello, nil)
	resp, err := g.device(g.school, true).Get(g.url("blocked.test", "/x"))
	if got := bodyOf(t, resp, err); got != "page 403 ks2 category SG-1\n" {
		t.Errorf("got %q", got)
	}
	if all := g.events(); !slices.Equal(all, []string{"connect blocked.test block "}) {
		t.Errorf("events = %q", all)
	}
}

// TestImpostor: an origin that a browser would refuse gets our error page, and
// nothing of it is passed on under a certificate of ours (T8).
func TestImpostor(t *testing.T) {
	g := newGlass(t, func(http.ResponseWriter, *http.Request) { t.Error("a request reached the impostor") }, nil)
	resp, err := g.device(g.school, true).Get(g.url("wrong.test", "/"))
	if got := bodyOf(t, resp, err); !strings.HasPrefix(got, "page 502 ks2") || resp.StatusCode != 502 {
		t.Errorf("got %q", got)
	}
	if all := g.events(); all[len(all)-1] != "inspect wrong.test/ block certificate" {
		t.Errorf("events = %q", all)
	}
}

// TestNotBelieved: a client that refuses our certificate is remembered, listed,
// and from then on carried or refused as the school chose.
func TestNotBelieved(t *testing.T) {
	for _, refuse := range []bool{false, true} {
		t.Run(fmt.Sprintf("refuse=%v", refuse), func(t *testing.T) {
			g := newGlass(t, hello, func(c *Config) { c.Inspection.RefuseUnseen = refuse })
			strangers := g.server.inspector.Verifier.Roots // trusts the internet, not the school
			if resp, err := g.device(strangers, true).Get(g.url("open.test", "/")); err == nil {
				t.Fatalf("a client without our authority got %s", resp.Status)
			}
			waitFor(t, func() bool { return len(g.server.Untrusting()) == 1 })
			if got := g.server.Untrusting()[0]; got != netip.MustParseAddr("127.0.0.1") {
				t.Errorf("Untrusting = %v", got)
			}
			resp, err := g.device(strangers, true).Get(g.url("open.test", "/"))
			if got := bodyOf(t, resp, err); (got == "hello from the origin") == refuse {
				t.Errorf("the second time: %q", got)
			}
			verdict := map[bool]string{false: "allow", true: "block"}[refuse]
			if all := g.events(); all[1] != "tls open.test block not_believed" || all[2] != "connect open.test "+verdict+" unseen" {
				t.Errorf("events = %q", all)
			}
		})
	}
}

// waitFor gives a busy machine time: what takes a moment here took 5 s there.
func waitFor(t *testing.T, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("it did not come to it")
		}
	}
}

// TestTwoStages: a host with listed pages is opened to be seen and each page
// decided; a client that cannot be seen gets the over-block (I3).
func TestTwoStages(t *testing.T) {
	unsettled := policy.Ruling{Decision: policy.Decision{Verdict: policy.Block, Reason: policy.ReasonMandatory, Category: policy.ChildAbuse, Inspect: true, Severity: 1}}
	listed := policy.Ruling{Decision: policy.Decision{Verdict: policy.Block, Reason: policy.ReasonMandatory, Category: policy.ChildAbuse, Severity: 5}}
	g := newGlass(t, hello, nil)
	g.box.school.set("open.test", unsettled)
	g.school2("open.test/", insideRuling)
	g.school2("open.test/listed", listed)
	c := g.device(g.school, true)
	for path, want := range map[string]string{"/listed": "page 403 ks2 mandatory", "/sibling": "hello from the origin"} {
		resp, err := c.Get(g.url("open.test", path))
		if got := bodyOf(t, resp, err); !strings.HasPrefix(got, want) {
			t.Errorf("%s: %q, want %q", path, got, want)
		}
	}
	asked := policy.Request{Door: policy.DoorDNS, Client: netip.MustParseAddr("127.0.0.1"), Host: hosts("open.test")[0]}
	if r := g.server.Settles(asked, unsettled); r.Verdict != policy.Allow || r.Severity != 0 {
		t.Errorf("the DNS door would refuse what is seen here: %+v", r)
	}
	if r := g.server.Settles(asked, listed); r.Verdict != policy.Block {
		t.Errorf("the DNS door would let a listed host through: %+v", r)
	}
	g.server.inspector.trust.Refused(netip.MustParseAddr("127.0.0.1"), hosts("open.test")[0], inspect.Refusal{Told: true}, time.Now())
	if r := g.server.Settles(asked, unsettled); r.Verdict != policy.Block {
		t.Errorf("the DNS door would let through what cannot be seen: %+v", r)
	}
	if _, err := g.device(g.school, true).Get(g.url("open.test", "/sibling")); err == nil {
		t.Error("a client that cannot be seen was let through")
	}
	if e := g.journal.last(t); e.Finding != policy.FindingOverblock || e.Host != "" {
		t.Errorf("event = %+v", e)
	}
}

// TestSocketInside: a WebSocket inside passes both ways and ends whole.
func TestSocketInside(t *testing.T) {
	g := newGlass(t, func(w http.ResponseWriter, r *http.Request) {
		conn, rw, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer conn.Close()
		fmt.Fprint(rw, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
		rw.Flush()
		io.Copy(conn, rw)
	}, nil)
	conn, err := g.tls("open.test", "open.test", "http/1.1")
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprintf(conn, "GET /ws HTTP/1.1\r\nHost: open.test:%s\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n", g.port)
	br := bufio.NewReader(conn)
	resp, err := http.ReadResponse(br, nil)
	if err != nil || resp.StatusCode != 101 {
		t.Fatalf("%v %v", resp, err)
	}
	io.WriteString(conn, "ping")
	got := make([]byte, 4)
	if _, err := io.ReadFull(br, got); err != nil || string(got) != "ping" {
		t.Errorf("got %q, %v", got, err)
	}
	conn.Close()
	waitFor(t, func() bool { return len(g.server.tunnels.list()) == 0 })
}

// TestInsideRevoked: what is open inside ends with its verdict (Y34).
func TestInsideRevoked(t *testing.T) {
	g := newGlass(t, func(w http.ResponseWriter, r *http.Request) {
		w.(http.Flusher).Flush()
		<-r.Context().Done()
	}, func(c *Config) { c.Limits.Recheck = time.Millisecond })
	resp, err := g.device(g.school, true).Get(g.url("open.test", "/stream"))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	g.box.school.set("open.test", blockedBy(policy.Gambling))
	if _, err := io.ReadAll(resp.Body); err == nil {
		t.Error("the stream stays open")
	}
}

// TestInsideTransparent: a redirected connection is looked into alike.
func TestInsideTransparent(t *testing.T) {
	g := newGlass(t, hello, func(c *Config) {
		port := c.ConnectPorts[0]
		c.Transparent.TLS = []string{"127.0.0.1:0"}
		c.original = func(netip.AddrPort) (netip.AddrPort, bool) {
			return netip.AddrPortFrom(netip.MustParseAddr("198.51.100.7"), port), true
		}
	})
	at := g.server.Addrs()[1].String()
	c := &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "tcp", at)
		},
		TLSClientConfig: &tls.Config{RootCAs: g.school}, ForceAttemptHTTP2: true,
	}}
	defer c.CloseIdleConnections()
	for host, want := range map[string]string{"open.test": "hello from the origin", "blocked.test": "page 403 ks2 category"} {
		resp, err := c.Get(g.url(host, "/"))
		if got := bodyOf(t, resp, err); !strings.HasPrefix(got, want) {
			t.Errorf("%s: %q, want %q", host, got, want)
		}
	}
}

// TestRewrite: tenant and safety headers of the school and not of the client, and
// the parameters of a safe search (4.1-4.3).
func TestRewrite(t *testing.T) {
	tenants := Tenants{Google: "school.sch.uk", Microsoft: "school.onmicrosoft.com", MicrosoftDirectory: "dir-id", NoPersonal: true}
	strict := policy.Ruling{Decision: policy.Decision{Profile: &policy.Profile{}}}
	moderate := policy.Ruling{Decision: policy.Decision{Profile: &policy.Profile{SafeSearch: policy.Moderate, YouTube: policy.Moderate}}}
	off := policy.Ruling{Decision: policy.Decision{Profile: &policy.Profile{SafeSearch: policy.Off, YouTube: policy.Off}}}
	for _, c := range []struct {
		host, query string
		ruling      policy.Ruling
		want        string
	}{
		{"www.google.com", "q=cats&safe=off&Safe=images&x=1", strict, "q=cats&x=1&safe=active X-Googapps-Allowed-Domains=school.sch.uk"},
		{"www.google.co.uk", "q=cats&%73afe=off", strict, "q=cats&safe=active"},
		{"www.google.com", "hl=en", strict, "hl=en X-Googapps-Allowed-Domains=school.sch.uk"},
		{"www.google.com", "q=cats&safe=off", off, "q=cats&safe=off X-Googapps-Allowed-Domains=school.sch.uk"},
		{"docs.google.com", "", off, " X-Googapps-Allowed-Domains=school.sch.uk"},
		{"www.google.co.uk", "as_q=cats&safe=off", strict, "as_q=cats&safe=active"},
		{"www.google.co.uk", "as_epq=cats", strict, "as_epq=cats&safe=active"},
		{"cse.google.com", "q=cats&safe=off", strict, "q=cats&safe=active X-Googapps-Allowed-Domains=school.sch.uk"},
		{"www.bing.com", "%71=cats&adlt=off", strict, "%71=cats&adlt=strict"},
		{"www.bing.com", "Q=cats&ADLT=off", strict, "Q=cats&adlt=strict"},
		{"www.bing.com", "first=11&adlt=off", strict, "first=11&adlt=strict"},
		{"www.bing.com", "first=11", strict, "first=11"},
		{"www.bing.com", "q=cats", strict, "q=cats&adlt=strict"},
		{"www.bing.com", "q=cats&adlt=off", moderate, "q=cats&adlt=moderate"},
		{"duckduckgo.com", "q=cats&kp=-2", strict, "q=cats&kp=1"},
		{"uk.search.yahoo.com", "p=cats&vm=p", strict, "p=cats&vm=r"},
		{"www.youtube.com", "v=1", strict, "v=1 Youtube-Restrict=Strict"},
		{"m.youtube.com", "v=1", moderate, "v=1 Youtube-Restrict=Moderate"},
		{"www.youtube.com", "v=1", off, "v=1"},
		{"login.microsoftonline.com", "", off, " Restrict-Access-Context=dir-id Restrict-Access-To-Tenants=school.onmicrosoft.com"},
		{"login.live.com", "", strict, " Sec-Restrict-Tenant-Access-Policy=restrict-msa"},
		{"notgoogle.com", "q=cats&safe=off", strict, "q=cats&safe=off"},
		{"www.example.org", "q=cats", strict, "q=cats"},
	} {
		s := &Server{inspector: &inspector{Inspection: Inspection{Tenants: tenants}}}
		r := httptest.NewRequest("GET", "https://"+c.host+"/search?"+c.query, nil)
		for _, name := range ofSchool {
			r.Header.Set(name, "of the client")
		}
		target := target{Request: policy.Request{Door: policy.DoorInspect, Host: hosts(c.host)[0]}}
		s.rewrite(r, &target, &c.ruling)
		got := r.URL.RawQuery
		for _, name := range slices.Sorted(func(yield func(string) bool) {
			for k := range r.Header {
				if !yield(k) {
					return
				}
			}
		}) {
			got += " " + name + "=" + r.Header.Get(name)
		}
		if got != c.want {
			t.Errorf("%s?%s: %q, want %q", c.host, c.query, got, c.want)
		}
	}
}

// TestDNSInside: DNS over HTTPS on an allowed name is refused, asked or answered (Y4).
func TestDNSInside(t *testing.T) {
	g := newGlass(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/dns-message")
		io.WriteString(w, "answer")
	}, nil)
	for _, c := range []struct{ name, method, path, header, value, event string }{
		{"by its type", "POST", "/x", "Content-Type", "application/dns-message", "inspect open.test/x block doh"},
		{"by what it accepts", "GET", "/x", "Accept", "text/html, Application/DNS-Message;q=1", "inspect open.test/x block doh"},
		{"by its parameter", "GET", "/dns-query?ct=&dns=AAAB", "Accept", "*/*", "inspect open.test/dns-query block doh"},
		{"by its answer", "GET", "/hidden", "Accept", "*/*", "inspect open.test/hidden block doh"},
	} {
		r, err := http.NewRequest(c.method, g.url("open.test", c.path), strings.NewReader(""))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set(c.header, c.value)
		resp, err := g.device(g.school, true).Do(r)
		got := bodyOf(t, resp, err)
		if all := g.events(); resp == nil || resp.StatusCode != 403 || all[len(all)-1] != c.event {
			t.Errorf("%s: %q, events %q", c.name, got, all)
		}
	}
}

// TestNotBelievedInClear: OpenSSL says in clear that it does not know our
// authority, where TLS 1.3 would have it encrypted; one who breaks off without a
// word is believed the third time.
func TestNotBelievedInClear(t *testing.T) {
	for _, c := range []struct {
		name  string
		last  []byte
		times int
	}{
		{"unknown authority, in clear", []byte{20, 3, 3, 0, 1, 1, 21, 3, 3, 0, 2, 2, 48}, 1},
		{"without a word", nil, 3},
	} {
		t.Run(c.name, func(t *testing.T) {
			g := newGlass(t, hello, nil)
			for i := range c.times {
				if i > 0 && len(g.server.Untrusting()) > 0 {
					t.Errorf("remembered after %d", i)
				}
				conn, _ := g.connect("open.test:" + g.port)
				conn.Write(clientHelloFor(t, "open.test"))
				if _, err := conn.Read(make([]byte, 8<<10)); err != nil { // our certificate
					t.Fatal(err)
				}
				conn.Write(c.last)
				conn.(*net.TCPConn).CloseWrite()
				io.Copy(io.Discard, conn)
			}
			waitFor(t, func() bool { return len(g.server.Untrusting()) == 1 })
		})
	}
}
