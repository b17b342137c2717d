package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"schoolgate/internal/testkit"
)

// internet is an authority of the world outside, and origins it vouches for.
type internet struct {
	root *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newInternet(t *testing.T) *internet {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	n := &internet{key: key}
	n.root = n.sign(t, &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "Internet"}, IsCA: true,
		BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}, nil)
	return n
}

func (n *internet) sign(t *testing.T, c, by *x509.Certificate) *x509.Certificate {
	t.Helper()
	if by == nil {
		by = c
	}
	c.NotBefore, c.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	der, err := x509.CreateCertificate(rand.Reader, c, by, &n.key.PublicKey, n.key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return cert
}

func (n *internet) origin(t *testing.T, h http.Handler, names ...string) *url.URL {
	t.Helper()
	site := n.sign(t, &x509.Certificate{SerialNumber: big.NewInt(2), DNSNames: names, KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}, n.root)
	s := httptest.NewUnstartedServer(h)
	s.TLS = &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{site.Raw}, PrivateKey: n.key}}}
	s.EnableHTTP2 = true
	s.StartTLS()
	t.Cleanup(s.Close)
	u, err := url.Parse(s.URL)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

// The whole way of looking into https: the authority is made, the box started,
// and a device that has the certificate gets pages decided one by one, the block
// page on a blocked site, and no page of an origin that is not who it says. A
// private site keeps its own certificate, and a device without ours is carried
// by its host alone and named to IT.
func TestInspection(t *testing.T) {
	world := newInternet(t)
	lesson := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/homework" { // a web proxy in disguise
			w.Header().Set("Content-Type", "text/html")
			io.WriteString(w, `<title>Homework</title><script src="/uv/uv.bundle.js"></script><script>__uv$config.prefix</script>`)
			return
		}
		fmt.Fprintf(w, "a lesson at %s for %q", r.URL.Path, r.Header.Get("X-GoogApps-Allowed-Domains"))
	})
	site := world.origin(t, lesson, "lesson.example", "docs.google.com", "www.nhs.uk")
	upstream := testkit.NewUpstream(t, "lesson.example. 60 IN A 127.0.0.1", "impostor.example. 60 IN A 127.0.0.1",
		"docs.google.com. 60 IN A 127.0.0.1", "www.nhs.uk. 60 IN A 127.0.0.1")
	b := testkit.NewBox(t, testkit.BoxOptions{
		Upstream: upstream.Addr, Ports: []string{site.Port()}, Policy: lookedInto(testkit.SchoolPolicy), Program: underDetector,
	})
	config, err := os.ReadFile(b.Config)
	if err != nil {
		t.Fatal(err)
	}
	b.Write("roots.pem", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: world.root.Raw})))
	b.Write("schoolgate.yaml", string(config)+"inspect: {enabled: yes, upstream_roots: roots.pem, google_accounts: [school.sch.uk]}\n")
	b.Run("ca", "init", "--config", b.Config)
	b.Run("ca", "export", "--config", b.Config, "--out", filepath.Join(b.Dir, "for-devices"))
	b.Start()
	defer b.Stop()

	ours := certificatesOf(t, filepath.Join(b.Dir, "for-devices", "school-ca-1.pem"))
	theirs := x509.NewCertPool()
	theirs.AddCert(world.root)
	at := func(host, path string) string { return "https://" + host + ":" + site.Port() + path }
	tablet := trusting(b, "127.0.0.1", ours)
	for _, c := range []struct {
		name, url string
		status    int
		says      string
	}{
		{"a page", at("lesson.example", "/volcanoes"), 200, "a lesson at /volcanoes"},
		{"a page that the school closed, on the same site", at("lesson.example", "/games/1"), 403, "This page is closed"},
		{"a page that is a web proxy", at("lesson.example", "/homework"), 403, "This page is closed"},
		{"a blocked site shows its page", at("blocked.example", "/"), 403, "This page is closed"},
		{"an impostor", at("impostor.example", "/"), 502, "Not working just now"},
		{"the school's accounts", at("docs.google.com", "/"), 200, `for "school.sch.uk"`},
	} {
		if got := fetch(t, tablet, c.url); got.status != c.status || !strings.Contains(got.body, c.says) {
			t.Errorf("%s: %d %q, want %d %q", c.name, got.status, got.body, c.status, c.says)
		}
	}
	private := trusting(b, "127.0.0.1", theirs)
	if got := fetch(t, private, at("www.nhs.uk", "/asthma")); got.body != `a lesson at /asthma for ""` {
		t.Errorf("a private site: %+v", got)
	}
	stranger := trusting(b, "127.0.1.9", theirs)
	if resp, err := stranger.Get(at("docs.google.com", "/")); err == nil {
		t.Errorf("a device without our certificate got %s", resp.Status)
	}
	var got page
	for end := time.Now().Add(10 * time.Second); got.status != 200 && time.Now().Before(end); {
		if resp, err := stranger.Get(at("docs.google.com", "/")); err == nil {
			got.status = resp.StatusCode
			resp.Body.Close()
		}
	}
	if resp, err := stranger.Get(at("lesson.example", "/")); err == nil {
		t.Errorf("a rule for pages nobody can see holds for the host, and it got %s", resp.Status)
	}
	if out := b.Run("ca", "untrusting"); !strings.HasPrefix(out, "127.0.1.9\n1 device refused") {
		t.Errorf("ca untrusting: %q", out)
	}
	for _, want := range []string{"schoolgate_proxy_untrusting_clients 1", `schoolgate_proxy_read_pages_total{outcome="blocked"} 1`, `schoolgate_proxy_reply_bytes_total{read="yes"} 98`} {
		if metrics := fetch(t, http.DefaultClient, "http://"+b.Health+"/metrics"); !strings.Contains(metrics.body, want) {
			t.Errorf("the metrics say no %s", want)
		}
	}
	if out := b.Run("audit", "export"); !strings.Contains(out, ",block,content,vpn_proxy,") || !strings.Contains(out, ",content_scan,") || !strings.Contains(out, ",text/plain,") {
		t.Errorf("audit export: %s", out)
	}
	ready := fetch(t, http.DefaultClient, "http://"+b.Health+"/readyz")
	if got.status != 200 || !strings.Contains(ready.body, "the school's certificate is not trusted by 1 device: 127.0.1.9") {
		t.Errorf("a device without our certificate: %+v\n%s", got, ready.body)
	}
}

// The authority of a box may come, go and be replaced while it serves (fault F19): a
// start without one is a start all the same, what is in use stays in use, a reload
// takes up what is on the disk, and /readyz says what stands apart. An app that has
// certificates of its own is named to IT, and never: is taken up by a reload, too.
func TestAuthorityComesAndGoes(t *testing.T) {
	world := newInternet(t)
	site := world.origin(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "a lesson") }), "lesson.example", "app.example")
	upstream := testkit.NewUpstream(t, "lesson.example. 60 IN A 127.0.0.1", "app.example. 60 IN A 127.0.0.1")
	b := testkit.NewBox(t, testkit.BoxOptions{
		Upstream: upstream.Addr, Ports: []string{site.Port()}, Policy: strings.Replace(testkit.SchoolPolicy, "    uncategorised: allow\n", "    uncategorised: allow\n    inspect: all\n", 1),
	})
	config, err := os.ReadFile(b.Config)
	if err != nil {
		t.Fatal(err)
	}
	b.Write("roots.pem", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: world.root.Raw})))
	inside := fmt.Sprintf("127.0.0.1:%d", testkit.FreePorts(t, 1)[0])
	configure := func(never string) {
		b.Write("schoolgate.yaml", string(config)+fmt.Sprintf("  tls_listen: [%q]\ninspect: {enabled: yes, upstream_roots: roots.pem, never: [%s]}\n", inside, never))
	}
	configure("")
	theirs := x509.NewCertPool()
	theirs.AddCert(world.root)
	visit := func(host string, pool *x509.CertPool) string {
		t.Helper()
		c := trusting(b, "127.0.0.1", pool)
		defer c.CloseIdleConnections()
		resp, err := c.Get("https://" + host + ":" + site.Port() + "/")
		if err != nil {
			return err.Error()
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		return fmt.Sprint(resp.StatusCode, " ", string(body), err)
	}
	const lesson = "200 a lesson<nil>"
	wants := func(when, got, want string) {
		t.Helper()
		if !strings.Contains(got, want) {
			t.Errorf("%s: %q, want %q", when, got, want)
		}
	}
	ready := func() string { return fetch(t, http.DefaultClient, "http://"+b.Health+"/readyz").body }
	exported := func(name string) *x509.CertPool {
		b.Run("ca", "export", "--out", filepath.Join(b.Dir, "for-devices"))
		return certificatesOf(t, filepath.Join(b.Dir, "for-devices", name))
	}

	b.StartUnwell()
	defer b.Stop()
	wants("no authority", ready(), "NOT OK   inspect    https is not looked into: the school has no certificate authority yet: run schoolgate ca init")
	wants("no authority", visit("lesson.example", theirs), lesson)
	if conn, err := tls.Dial("tcp", inside, &tls.Config{RootCAs: theirs}); err == nil {
		conn.Close()
		t.Error("a connection to the proxy inside TLS that nobody has a certificate for")
	}
	b.Run("ca", "init")
	wants("it is made", ready(), "can be used again: run schoolgate reload")
	wants("it is made", b.Run("reload"), "taken up: the school's certificate authority school-ca-1, which signs from ")
	ours := exported("school-ca-1.pem")
	wants("it is taken up", visit("lesson.example", ours), lesson)
	wants("it is taken up", visit("lesson.example", theirs), "certificate signed by unknown authority")
	if conn, err := tls.Dial("tcp", inside, &tls.Config{RootCAs: ours}); err != nil {
		t.Errorf("the proxy inside TLS: %v", err)
	} else {
		conn.Close()
	}

	key := filepath.Join(b.Dir, "data", "ca", "school-ca-1.key")
	text, err := os.ReadFile(key)
	if err != nil {
		t.Fatal(err)
	}
	for _, harm := range []func() error{func() error { return os.Remove(key) }, func() error { return os.WriteFile(key, []byte("noise"), 0o600) }} {
		if err := harm(); err != nil {
			t.Fatal(err)
		}
		wants("its key is lost", ready(), "NOT OK   inspect    https is looked into until the next start")
		wants("its key is lost", b.Run("reload"), "not taken up: certificate authority: ")
		wants("its key is lost", visit("app.example", ours), lesson)
	}
	b.Write("data/ca/school-ca-1.key", string(text))
	b.Run("ca", "rotate", "--now")
	wants("a second", ready(), "the authorities on the disk are others than those in use: run schoolgate reload")
	wants("a second", b.Run("reload"), "taken up: the school's certificate authority school-ca-2")
	ours = exported("school-ca-2.pem")
	wants("a second", visit("app.example", ours), lesson)
	wants("nothing new", b.Run("reload"), "in force: policy")

	wants("an app", visit("app.example", theirs), "certificate signed by unknown authority")
	var out string
	for end := time.Now().Add(10 * time.Second); !strings.Contains(out, "app.example") && time.Now().Before(end); {
		out = b.Run("ca", "untrusting") // the door hears of it a moment after the app
	}
	wants("an app", out, "0 devices refused the school's certificate")
	wants("an app", out, "lesson.example  ")
	wants("an app", ready(), "apps refuse it on devices that trust it, for 2 sites (schoolgate ca untrusting)")
	configure("app.example")
	if got := b.Run("reload"); strings.Contains(got, "restart") {
		t.Errorf("inspect.never: %q", got)
	}
	wants("an app of a site never looked into", visit("app.example", theirs), lesson)
	wants("a browser at a site never looked into", visit("app.example", ours), "certificate signed by unknown authority")
}

// A certificate that is lost, of a door or of those whom sites are believed by, keeps
// nobody else from being served (fault F18): the box starts, and says what is wrong.
func TestLostCertificates(t *testing.T) {
	world := newInternet(t)
	site := world.origin(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "a lesson") }), "lesson.example")
	upstream := testkit.NewUpstream(t, "lesson.example. 60 IN A 127.0.0.1")
	ports := testkit.FreePorts(t, 2)
	dot, inside := fmt.Sprintf("127.0.0.1:%d", ports[0]), fmt.Sprintf("127.0.0.1:%d", ports[1])
	b := testkit.NewBox(t, testkit.BoxOptions{
		Upstream: upstream.Addr, Ports: []string{site.Port()}, DNS: fmt.Sprintf("dot_listen: [%q], certificate: dns.crt, key: dns.key", dot),
		Policy: strings.Replace(testkit.SchoolPolicy, "    uncategorised: allow\n", "    uncategorised: allow\n    inspect: all\n", 1),
	})
	config, err := os.ReadFile(b.Config)
	if err != nil {
		t.Fatal(err)
	}
	b.Write("schoolgate.yaml", string(config)+fmt.Sprintf("  tls_listen: [%q]\n  certificate: proxy.crt\n  key: proxy.key\ninspect: {enabled: yes, upstream_roots: roots.pem}\n", inside))
	b.Run("ca", "init")
	b.StartUnwell()
	defer b.Stop()
	ready := func() string { return fetch(t, http.DefaultClient, "http://"+b.Health+"/readyz").body }
	for _, want := range []string{"NOT OK   tls        dns serves nobody over TLS: ", "NOT OK   tls        proxy serves nobody over TLS: ",
		"NOT OK   inspect    https is not looked into: inspect.upstream_roots: "} {
		if got := ready(); !strings.Contains(got, want) {
			t.Errorf("/readyz says no %q:\n%s", want, got)
		}
	}
	if m, err := b.Ask("127.0.0.1", "udp", "lesson.example", dns.TypeA); err != nil || len(m.Answer) != 1 {
		t.Errorf("names: %v, %v", m, err)
	}
	theirs := x509.NewCertPool()
	theirs.AddCert(world.root)
	tablet := trusting(b, "127.0.0.1", theirs)
	defer tablet.CloseIdleConnections() // or the end waits for them
	if got := fetch(t, tablet, "https://lesson.example:"+site.Port()+"/"); got.body != "a lesson" {
		t.Errorf("the web: %+v", got)
	}
	over := func(addr string) error {
		conn, err := tls.Dial("tcp", addr, &tls.Config{RootCAs: theirs, ServerName: "box.example"})
		if err == nil {
			conn.Close()
		}
		return err
	}
	key, err := x509.MarshalPKCS8PrivateKey(world.key)
	if err != nil {
		t.Fatal(err)
	}
	box := world.sign(t, &x509.Certificate{SerialNumber: big.NewInt(3), DNSNames: []string{"box.example"}, KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}, world.root)
	for door, addr := range map[string]string{"dns": dot, "proxy": inside} {
		if err := over(addr); err == nil {
			t.Errorf("%s: a connection without a certificate", door)
		}
		b.Write(door+".crt", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: box.Raw})))
		b.Write(door+".key", string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key})))
		if err := over(addr); err != nil {
			t.Errorf("%s, once its certificate is there: %v", door, err)
		}
		b.Write(door+".crt", "noise")
		if got, want := ready(), "NOT OK   tls        "+door+" has a certificate in use that is lost with the next start: "; !strings.Contains(got, want) {
			t.Errorf("/readyz says no %q:\n%s", want, got)
		}
		if err := over(addr); err != nil {
			t.Errorf("%s, while what is in use is good: %v", door, err)
		}
	}
}

// lookedInto is the school with everything looked into for Year 5, and some
// pages of one site closed.
func lookedInto(school string) string {
	school = strings.Replace(school, "    uncategorised: allow\n", "    uncategorised: allow\n    inspect: all\n", 1)
	school = strings.Replace(school, "block: [pornography,", "block: [vpn_proxy, pornography,", 1)
	return strings.Replace(school, "exceptions:\n", "exceptions:\n  - {block: lesson.example/games, for: everyone, reason: a test, by: a test}\n", 1)
}

func certificatesOf(t *testing.T, file string) *x509.CertPool {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(text) {
		t.Fatalf("%s holds no certificate", file)
	}
	return pool
}

// trusting is a browser that trusts a set of authorities.
func trusting(b *testkit.Box, from string, trusts *x509.CertPool) *http.Client {
	c := b.Client(from)
	tr := c.Transport.(*http.Transport)
	tr.TLSClientConfig, tr.ForceAttemptHTTP2 = &tls.Config{RootCAs: trusts}, true
	return c
}
