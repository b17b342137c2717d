package blocklists

import (
	"crypto/x509"
	"encoding/pem"
	"errors"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"schoolgate/internal/testkit"
)

func TestParseCredential(t *testing.T) {
	for text, want := range map[string]credential{
		"basic school:s3cret\n":         {"Authorization", "Basic c2Nob29sOnMzY3JldA=="},
		"Bearer abc.def-ghi":            {"Authorization", "Bearer abc.def-ghi"},
		"header X-Api-Key: k3y with it": {"X-Api-Key", "k3y with it"},
		"header authorization:Token t":  {"Authorization", "Token t"},
	} {
		if got, err := parseCredential(text); err != nil || *got != want {
			t.Errorf("parseCredential(%q) = %v, %v, want %v", text, got, err, want)
		}
	}
	for _, text := range []string{
		"", "secret", "basic", "basic :pw", "basic nopassword", "bearer", "bearer two words", "header X-Key", "header X Key: v",
		"header Host: evil.example", "header X: ", "header X: a\nY: b", "basic a:b\nbasic c:d", "digest a:b", "bearer t\x00k", "header Range: bytes=0-",
	} {
		if got, err := parseCredential(text); err == nil {
			t.Errorf("parseCredential(%q) = %v, want an error", text, got)
		} else if strings.Contains(err.Error(), "secret") || strings.Contains(err.Error(), "evil") {
			t.Errorf("parseCredential(%q) says what is in the file: %v", text, err)
		}
	}
}

// publisher notes who showed which credential.
type publisher struct {
	mu    sync.Mutex
	shown map[string]string // path → Authorization
}

func (p *publisher) asks(name string, then http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		p.mu.Lock()
		p.shown[name] = r.Header.Get("Authorization")
		p.mu.Unlock()
		then(w, r)
	}
}

func (p *publisher) got(name string) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.shown[name]
}

// A publisher's credential is shown to the server of the feed and to no other,
// and its file is nobody else's to read.
func TestTheCredentialOfAFeed(t *testing.T) { // F2, I4
	server, elsewhere := testkit.Feeds(t), testkit.Feeds(t)
	p := &publisher{shown: map[string]string{}}
	list := func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer t0ken" {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		if _, err := w.Write([]byte(testkit.GoodList(100))); err != nil {
			return // the box hung up
		}
	}
	to := func(address string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, address, http.StatusFound) }
	}
	u, err := url.Parse(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	byName := "https://example.com:" + u.Port() // in the certificate of httptest
	server.Handle("list", p.asks("list", list))
	server.Handle("moved", p.asks("moved", to(server.URL+"/list")))
	server.Handle("other-name", p.asks("other-name", to(byName+"/seen")))
	server.Handle("other-port", p.asks("other-port", to(elsewhere.URL+"/seen-there")))
	server.Handle("there-and-back", p.asks("there-and-back", to(elsewhere.URL+"/back")))
	server.Handle("seen", p.asks("seen", list))
	server.Handle("back-here", p.asks("back-here", list))
	elsewhere.Handle("seen-there", p.asks("seen-there", list))
	elsewhere.Handle("back", p.asks("back", to(server.URL+"/back-here")))
	server.Roots.AddCert(certificateOf(t, elsewhere))
	from := NewFetcher(FetchOptions{Roots: server.Roots, Allow: loopback, Resolver: names{"example.com": "127.0.0.1"}})
	defer from.Close()
	file := filepath.Join(t.TempDir(), "token")
	write := func(mode os.FileMode) {
		if err := errors.Join(os.WriteFile(file, []byte("bearer t0ken\n"), 0o600), os.Chmod(file, mode)); err != nil {
			t.Fatal(err)
		}
	}
	write(0o600)
	for _, c := range []struct {
		name string
		ok   bool
		seen string // a path that must not see the credential
	}{
		{"list", true, ""}, {"moved", true, ""},
		{"other-name", false, "seen"}, {"other-port", false, "seen-there"}, {"there-and-back", false, "back-here"},
	} {
		feed := remoteFeed("list", server.URL+"/"+c.name)
		feed.Remote.AuthFile = file
		got := update(t, testCache(t), from, UpdateOptions{}, feed)
		if (got.Err == nil) != c.ok || p.got(c.name) != "Bearer t0ken" {
			t.Errorf("%s: %v, shown %q; want it taken: %v", c.name, got.Err, p.got(c.name), c.ok)
		}
		if got.Err != nil && strings.Contains(got.Err.Error()+got.State.Outcome, "t0ken") {
			t.Errorf("%s: the credential is in what is said: %v", c.name, got.Err)
		}
		if c.seen != "" && p.got(c.seen) != "" {
			t.Errorf("%s: the credential went to %s: %q", c.name, c.seen, p.got(c.seen))
		}
	}
	write(0o640)
	feed := remoteFeed("list", server.URL+"/list")
	feed.Remote.AuthFile = file
	asked := server.Asked("list")
	got := update(t, testCache(t), from, UpdateOptions{}, feed)
	if got.Err == nil || !strings.Contains(got.Err.Error(), "can be read by others") || server.Asked("list") != asked {
		t.Errorf("a file that others can read: %v, asked %d times more", got.Err, server.Asked("list")-asked)
	}
	other := Remote{URL: "https://lists.example/iwf", Timeout: time.Second}
	secret := &credential{"Authorization", "Bearer t0ken"}
	for address, want := range map[string]*credential{
		"https://lists.example/sums": secret, "https://lists.example:443/sums": secret, "https://lists.example:8443/sums": nil,
		"https://sums.example/": nil, "http://lists.example/sums": nil, "https://lists.example.evil.test/": nil,
	} {
		if got := other.credentialFor(address, secret); got != want {
			t.Errorf("credentialFor(%s) = %v, want %v", address, got, want)
		}
	}
}

func certificateOf(t *testing.T, s *testkit.FeedServer) *x509.Certificate {
	t.Helper()
	text, err := os.ReadFile(s.CA)
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(text)
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	return cert
}
