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
	if out := b.Run("ca", "untrusting"); !strings.HasPrefix(out, "127.0.1.9\n1 devices refused") {
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
	if got.status != 200 || !strings.Contains(ready.body, "1 devices do not trust the school's certificate: 127.0.1.9") {
		t.Errorf("a device without our certificate: %+v\n%s", got, ready.body)
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
