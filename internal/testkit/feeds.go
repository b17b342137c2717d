package testkit

import (
	"bytes"
	"compress/gzip"
	"crypto/x509"
	"encoding/binary"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// FeedServer serves lists over TLS on loopback: good ones under the names a test
// sets, and every hostile one of [HostileFeeds] under its name.
type FeedServer struct {
	URL   string
	Roots *x509.CertPool // to trust it by
	CA    string         // the same, as a PEM file

	mu    sync.Mutex
	lists map[string]http.HandlerFunc
	asked map[string]int
}

// Feeds starts a server of feeds, which ends with the test.
func Feeds(t testing.TB) *FeedServer {
	t.Helper()
	s := &FeedServer{lists: map[string]http.HandlerFunc{}, asked: map[string]int{}, Roots: x509.NewCertPool()}
	for _, h := range HostileFeeds() {
		s.lists[h.Name] = h.Serve
	}
	server := httptest.NewUnstartedServer(s)
	server.Config.ErrorLog = log.New(io.Discard, "", 0) // clients that hang up are what is tested
	server.StartTLS()
	t.Cleanup(server.Close)
	t.Cleanup(server.CloseClientConnections)
	s.URL = server.URL
	s.Roots.AddCert(server.Certificate())
	s.CA = filepath.Join(t.TempDir(), "feeds-ca.pem")
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	if err := os.WriteFile(s.CA, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return s
}

// ServeHTTP gives what stands under the path.
func (s *FeedServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	name := strings.TrimPrefix(r.URL.Path, "/")
	s.mu.Lock()
	s.asked[name]++
	h := s.lists[name]
	s.mu.Unlock()
	if h == nil {
		http.NotFound(w, r)
		return
	}
	h(w, r)
}

// Handle has h answer for a name.
func (s *FeedServer) Handle(name string, h http.HandlerFunc) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lists[name] = h
}

// Set publishes a text under a name, with an ETag and a date, as servers do.
func (s *FeedServer) Set(name, text string) {
	changed := time.Now()
	etag := fmt.Sprintf("%q", fmt.Sprintf("%x-%d", len(text), changed.UnixNano()))
	s.Handle(name, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("ETag", etag)
		http.ServeContent(w, r, "list.txt", changed, strings.NewReader(text))
	})
}

// Asked is how often a name was asked for.
func (s *FeedServer) Asked(name string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.asked[name]
}

// HostileFeed is a way for a publisher, or someone in its place, to do harm.
type HostileFeed struct {
	Name  string
	Serve http.HandlerFunc
	Want  string // part of what is said of it
}

// HostileFeeds are all such ways that a server on loopback can show (F8, T16).
// Each must change nothing but the report.
func HostileFeeds() []HostileFeed {
	feeds := append(hostileAnswers(), hostileRedirects()...)
	return append(feeds, hostileBodies()...)
}

func status(code int, headers ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		for i := 0; i+1 < len(headers); i += 2 {
			w.Header().Set(headers[i], headers[i+1])
		}
		w.WriteHeader(code)
	}
}

func hostileAnswers() []HostileFeed {
	return []HostileFeed{
		{"status-404", status(404), "404"},
		{"status-410", status(410), "410"},
		{"status-500", status(500), "500"},
		{"status-204", status(204), "204"},
		{"status-206", status(206), "206"},
		{"status-304-unasked", func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(http.StatusNotModified)
		}, "304"},
		{"status-429", status(429, "Retry-After", "120"), "asks to wait 2m0s"},
		{"status-503-for-ever", status(503, "Retry-After", "99999999999"), "asks to wait 24h0m0s"},
		{"huge-headers", func(w http.ResponseWriter, _ *http.Request) {
			for i := range 40 {
				w.Header().Set(fmt.Sprintf("X-Padding-%d", i), strings.Repeat("x", 8<<10))
			}
			fmt.Fprint(w, GoodList(100))
		}, "header"},
		{"hangs-up", func(w http.ResponseWriter, _ *http.Request) { panic(http.ErrAbortHandler) }, ""},
	}
}

func redirect(to string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Location", to)
		w.WriteHeader(http.StatusFound)
	}
}

func hostileRedirects() []HostileFeed {
	return []HostileFeed{
		{"redirect-private", redirect("https://10.0.0.1/list"), "inside the school"},
		{"redirect-metadata", redirect("https://169.254.169.254/latest/"), "inside the school"},
		{"redirect-carrier", redirect("https://100.64.0.1/list"), "inside the school"},
		{"redirect-mapped", redirect("https://[::ffff:10.0.0.1]/list"), "inside the school"},
		{"redirect-unspecified", redirect("https://0.0.0.0/list"), "inside the school"},
		{"redirect-nat64", redirect("https://[64:ff9b::a00:1]/list"), "inside the school"},
		{"redirect-private-name", redirect("https://printer.inside.test/list"), "inside the school"},
		{"redirect-plain", redirect("http://feeds.example/list"), "from https to http"},
		{"redirect-file", redirect("file:///etc/passwd"), "redirect refused"},
		{"redirect-password", redirect("https://admin:secret@feeds.example/list"), "redirect refused"},
		{"redirect-loop", redirect("/redirect-loop"), "more than 5"},
		{"redirect-nowhere", redirect(""), ""},
	}
}

func text(body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain")
		fmt.Fprint(w, body)
	}
}

func hostileBodies() []HostileFeed {
	return []HostileFeed{
		{"html-200", func(w http.ResponseWriter, _ *http.Request) {
			fmt.Fprint(w, "<!DOCTYPE html>\n<html><body>Service unavailable</body></html>\n")
		}, "refused as a whole"},
		{"half-gzip", func(w http.ResponseWriter, _ *http.Request) {
			packed := zip([]byte(GoodList(5000)))
			w.Write(packed[:len(packed)/2])
		}, "truncated"},
		{"broken-gzip", func(w http.ResponseWriter, _ *http.Request) {
			packed := zip([]byte(GoodList(5000)))
			packed[len(packed)/2] ^= 0xff
			w.Write(packed)
		}, "refused as a whole"},
		{"zeros-10-gb", bomb(make([]byte, 10<<20)), "refused as a whole"},
		{"names-10-gb", bomb(bytes.Repeat([]byte("one.feed.example\n"), 10<<20/17)), "bomb"},
		{"endless", endless, "larger than max_size"},
		{"too-long", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "99999999999")
			fmt.Fprint(w, GoodList(10))
		}, "larger than max_size"},
		{"wrong-length", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "100000")
			fmt.Fprint(w, GoodList(100))
			panic(http.ErrAbortHandler)
		}, ""},
		{"slow-drip", drip, "too slow"},
		{"empty", text(""), "no entries"},
		{"blank", text("\n\n# nothing here\n"), "no entries"},
		{"shrunk", text(GoodList(50)), "shrank"},
		{"grown", text(GoodList(300)), "grew"},
		{"million-random-names", func(w http.ResponseWriter, _ *http.Request) { randomNames(w, 1_000_000) }, "grew"},
		{"another-list-each-time", func(w http.ResponseWriter, _ *http.Request) { randomNames(w, 100) }, "are gone"},
		{"only-top-levels", text("com\nnet\norg\nuk\n"), "no entries"},
		{"binary", func(w http.ResponseWriter, _ *http.Request) {
			w.Write([]byte("\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR"))
		}, "refused as a whole"},
		{"utf-16", text("\xff\xfea\x00.\x00t\x00e\x00s\x00t\x00\n\x00"), "refused as a whole"},
		{"right-to-left-names", text(strings.Repeat("\u202egro.elpmaxe\n", 40)), ""},
		{"one-endless-line", text(strings.Repeat("a", 6<<20)), ""},
	}
}

// GoodList is a list of n invented names.
func GoodList(n int) string {
	var b strings.Builder
	b.WriteString("# a good list\n")
	for i := range n {
		fmt.Fprintf(&b, "site-%d.feed.example\n", i)
	}
	return b.String()
}

func zip(plain []byte) []byte {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	if _, err := w.Write(plain); err != nil {
		panic(err) // a buffer takes everything
	}
	if err := w.Close(); err != nil {
		panic(err)
	}
	return b.Bytes()
}

// bomb sends 10 GB in some 10 MB: one packed piece of 10 MB, again and again.
func bomb(plain []byte) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		piece := zip(plain)
		for range 1000 {
			if _, err := w.Write(piece); err != nil {
				return
			}
		}
	}
}

// endless sends names for as long as anyone listens.
func endless(w http.ResponseWriter, _ *http.Request) {
	block := []byte(GoodList(5000))
	for {
		if _, err := w.Write(block); err != nil {
			return
		}
	}
}

// drip sends a byte now and then.
func drip(w http.ResponseWriter, r *http.Request) {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for _, b := range []byte(GoodList(10_000)) {
		if _, err := w.Write([]byte{b}); err != nil {
			return
		}
		w.(http.Flusher).Flush()
		select {
		case <-r.Context().Done():
			return
		case <-tick.C:
		}
	}
}

func randomNames(w io.Writer, n int) {
	var line []byte
	for range n {
		line = fmt.Appendf(line[:0], "%x.example\n", binary.BigEndian.AppendUint64(nil, rand.Uint64()))
		if _, err := w.Write(line); err != nil {
			return
		}
	}
}
