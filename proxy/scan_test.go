package proxy

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"schoolgate/policy"
	"schoolgate/proxy/pagescan"
)

// reader is a door that reads pages for a Year 5 child, and an origin of pages.
type reader struct {
	*box
	origin *httptest.Server
}

func newReader(t testing.TB, h http.HandlerFunc, change func(*Config)) *reader {
	t.Helper()
	set, err := pagescan.Shipped()
	if err != nil {
		t.Fatal(err)
	}
	r := &reader{origin: origin(t, h)}
	r.origin.Config.ErrorLog = discard
	r.box = newBox(t, func(c *Config) {
		c.Phrases = set
		if change != nil {
			change(c)
		}
	})
	reads := allowedBy(policy.ReasonUncategorised)
	reads.Scan = policy.SetOf(policy.Pornography, policy.VPNProxy)
	r.school.set("open.test", reads)
	return r
}

func (r *reader) url(path string) string { return "http://open.test:" + portOf(r.t, r.origin) + path }

func fixture(t testing.TB, name string) []byte {
	t.Helper()
	text, err := os.ReadFile("pagescan/testdata/pages/" + name + ".html")
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func gzipped(t testing.TB, text []byte) []byte {
	t.Helper()
	var buf bytes.Buffer
	w := gzip.NewWriter(&buf)
	if _, err := w.Write(text); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

// TestScan: S4. A page about what is blocked is answered with our page, in one
// event; every other reply passes byte for byte, in the coding it came in.
func TestScan(t *testing.T) {
	bad, good := fixture(t, "porn_home"), fixture(t, "pass_sex_education")
	type reply struct{ kind, coding, path string }
	bodies := map[string][]byte{
		"/bad": bad, "/good": good, "/bad.gz": gzipped(t, bad), "/good.gz": gzipped(t, good), "/proxy": fixture(t, "proxy_ultraviolet"),
		"/long": append(bytes.Repeat([]byte("<p>some harmless words "), 20000), good...), "/bomb": gzipped(t, make([]byte, 64<<20)), "/empty": nil,
	}
	r := newReader(t, func(w http.ResponseWriter, q *http.Request) {
		w.Header().Set("Content-Type", q.Header.Get("X-Type"))
		if c := q.Header.Get("X-Coding"); c != "" {
			w.Header().Set("Content-Encoding", c)
		}
		w.Write(bodies[q.URL.Path])
	}, nil)
	for _, c := range []struct {
		promise string
		reply
		from   string
		status int
		want   policy.Event
	}{
		{"bad", reply{"text/html", "", "/bad"}, "127.0.0.1", 403, policy.Event{Verdict: policy.Block, Reason: policy.ReasonContent, Category: policy.Pornography, Theme: "pornography", Finding: findingContent}},
		{"bad, packed", reply{"text/html; charset=utf-8", "gzip", "/bad.gz"}, "127.0.0.1", 403, policy.Event{Verdict: policy.Block, Reason: policy.ReasonContent, Category: policy.Pornography, Theme: "pornography", Finding: findingContent}},
		{"bad, of no type", reply{"", "", "/bad"}, "127.0.0.1", 403, policy.Event{Verdict: policy.Block, Reason: policy.ReasonContent, Category: policy.Pornography, Theme: "pornography", Finding: findingContent}},
		{"a web proxy by its marks (Y12)", reply{"text/html", "", "/proxy"}, "127.0.0.1", 403, policy.Event{Verdict: policy.Block, Reason: policy.ReasonContent, Category: policy.VPNProxy, Theme: "vpn_proxy", Finding: findingContent}},
		{"a bomb (T6)", reply{"text/html", "gzip", "/bomb"}, "127.0.0.1", 403, policy.Event{Verdict: policy.Block, Reason: policy.ReasonProtocol, Finding: findingBomb}},
		{"good", reply{"text/html", "", "/good"}, "127.0.0.1", 200, policy.Event{Verdict: policy.Allow, Reason: policy.ReasonUncategorised}},
		{"good, packed", reply{"text/html", "gzip", "/good.gz"}, "127.0.0.1", 200, policy.Event{Verdict: policy.Allow, Reason: policy.ReasonUncategorised}},
		{"long", reply{"text/html", "", "/long"}, "127.0.0.1", 200, policy.Event{Verdict: policy.Allow, Reason: policy.ReasonUncategorised}},
		{"empty", reply{"text/html", "", "/empty"}, "127.0.0.1", 200, policy.Event{Verdict: policy.Allow, Reason: policy.ReasonUncategorised}},
		{"no page", reply{"image/png", "", "/bad"}, "127.0.0.1", 200, policy.Event{Verdict: policy.Allow, Reason: policy.ReasonUncategorised}},
		{"bad, in what is no coding", reply{"text/html", "utf-8", "/bad"}, "127.0.0.1", 403, policy.Event{Verdict: policy.Block, Reason: policy.ReasonContent, Category: policy.Pornography, Theme: "pornography", Finding: findingContent}},
	} {
		begun := len(r.journal.all())
		q, err := http.NewRequest(http.MethodGet, r.url(c.path), nil)
		if err != nil {
			t.Fatal(err)
		}
		q.Header.Set("X-Type", c.kind)
		q.Header.Set("X-Coding", c.coding)
		resp, err := r.client(c.from).Do(q)
		if err != nil {
			t.Errorf("%s: %v", c.promise, err)
			continue
		}
		body, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		all := r.journal.all()[begun:]
		if len(all) != 1 {
			t.Errorf("%s: events %+v, want one", c.promise, all)
			continue
		}
		e := all[0]
		got := policy.Event{Verdict: e.Verdict, Reason: e.Reason, Category: e.Category, Theme: e.Theme, Finding: e.Finding}
		if err != nil || resp.StatusCode != c.status || got != c.want || resp.Header.Get(EventHeader) != e.ID.String() {
			t.Errorf("%s: answer %d %v, event %+v, want %d, %+v", c.promise, resp.StatusCode, err, e, c.status, c.want)
		}
		if c.status == 200 && (!bytes.Equal(body, bodies[c.path]) || resp.Header.Get("Content-Encoding") != c.coding) {
			t.Errorf("%s: %d bytes in %q came, of %d in %q", c.promise, len(body), resp.Header.Get("Content-Encoding"), len(bodies[c.path]), c.coding)
		}
		if c.status == 403 && !strings.HasPrefix(string(body), "page 403 ks2") {
			t.Errorf("%s: %q", c.promise, body)
		}
	}
	// Nor is a page read less for being the answer to somebody who asked for a socket.
	socket := r.raw("GET " + r.url("/bad") + " HTTP/1.1\r\nHost: x\r\nX-Type: text/html\r\nConnection: Upgrade, close\r\nUpgrade: websocket\r\n\r\n")
	if e := r.journal.last(t); !strings.HasPrefix(socket, "HTTP/1.1 403 ") || e.Reason != policy.ReasonContent {
		t.Errorf("a page in place of a socket: %q, event %+v", socket, e)
	}
	if n := r.server.reading.Load(); n != 0 {
		t.Errorf("%d pages are still being read", n)
	}
}

// TestScanLate: what turns up after the beginning has passed breaks the reply off,
// in an event of its own.
func TestScanLate(t *testing.T) {
	bad := fixture(t, "porn_home")
	r := newReader(t, func(w http.ResponseWriter, q *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		for range 20 {
			w.Write(bytes.Repeat([]byte("<p>harmless "), 1000))
		}
		w.Write(bad)
		w.Write(bytes.Repeat([]byte("<p>harmless "), 100000))
	}, nil)
	resp, err := r.client("127.0.0.1").Get(r.url("/"))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err == nil || bytes.Contains(body, []byte("xxx videos")) {
		t.Errorf("%d bytes came, %v: want a broken reply without the words", len(body), err)
	}
	all := r.journal.all()
	if len(all) != 2 || all[0].Verdict != policy.Allow || all[1].Verdict != policy.Block || all[1].Finding != findingContent || all[1].Theme != "pornography" {
		t.Errorf("events %+v", all)
	}
}

// TestScanParts: of a page no part is had that would be read without the rest, as a browser
// asks for what it lacks of one that was broken off; of what is no page it is.
func TestScanParts(t *testing.T) {
	bad, good := fixture(t, "porn_home"), fixture(t, "pass_sex_education")
	bodies := map[string][]byte{"/bad": bad, "/good": good, "/film": good, "/stubborn": bad}
	r := newReader(t, func(w http.ResponseWriter, q *http.Request) {
		w.Header().Set("Etag", `"strong"`)
		w.Header().Set("Content-Type", "text/html")
		switch q.URL.Path {
		case "/film":
			w.Header().Set("Content-Type", "video/mp4")
		case "/stubborn": // sends parts, whatever it is asked for
			q.Header.Set("Range", "bytes=0-9")
		}
		http.ServeContent(w, q, "", time.Time{}, bytes.NewReader(bodies[q.URL.Path]))
	}, nil)
	for _, c := range []struct {
		path, part, request string
		status              int
		want                []byte
	}{
		{"/bad", "bytes=0-9", "", 403, nil},
		{"/bad", "bytes=420-", "If-Range: \"strong\"\r\n", 403, nil},
		{"/bad", "bytes=0-9,20-29", "", 403, nil},
		{"/bad", "bytes=0-9", "Connection: Upgrade\r\nUpgrade: websocket\r\n", 403, nil},
		{"/bad", "bytes=0-9", "Content-Length: 2\r\n", 502, nil},
		{"/good", "bytes=100-", "If-Range: \"strong\"\r\n", 200, good},
		{"/stubborn", "bytes=0-9", "", 502, nil},
		{"/film", "bytes=100-199", "", 206, good[100:200]},
	} {
		begun := len(r.journal.all())
		text := "GET " + r.url(c.path) + " HTTP/1.1\r\nHost: x\r\nRange: " + c.part + "\r\n" + c.request
		if !strings.Contains(text, "Upgrade") {
			text += "Connection: close\r\n"
		}
		text += "\r\n"
		if strings.Contains(text, "Content-Length") {
			text += "hi"
		}
		conn := r.dial()
		if _, err := io.WriteString(conn, text); err != nil {
			t.Fatal(err)
		}
		resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
		body := bodyOf(t, resp, err)
		if all := r.journal.all()[begun:]; err != nil || resp.StatusCode != c.status || c.want != nil && body != string(c.want) || len(all) != 1 {
			t.Errorf("%s, %s, %q: %v, %d bytes, %d events, want %d", c.path, c.part, c.request, resp, len(body), len(all), c.status)
		}
	}
}

// TestScanWaits: a page that comes in drops is held for a while and then passes as
// it comes; one that stands still ends with its client.
func TestScanWaits(t *testing.T) {
	more := make(chan string)
	r := newReader(t, func(w http.ResponseWriter, q *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		for text := range more {
			io.WriteString(w, text)
			http.NewResponseController(w).Flush()
		}
	}, func(c *Config) { c.Limits.ScanHold = 20 * time.Millisecond })
	go func() { more <- "<p>one" }()
	resp, err := r.client("127.0.0.1").Get(r.url("/"))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	buf := make([]byte, 100)
	for _, text := range []string{"<p>one", "<p>two", "<p>three"} {
		if text != "<p>one" {
			more <- text
		}
		n, err := resp.Body.Read(buf)
		if got := string(buf[:n]); err != nil || got != text {
			t.Fatalf("got %q, %v, want %q", got, err, text)
		}
	}
	more <- string(fixture(t, "porn_home"))
	if rest, err := io.ReadAll(resp.Body); err == nil {
		t.Errorf("%q came, want a broken reply", rest)
	}
	close(more)
}

// TestScanRecordedFirst: a request that was recorded ahead has a second event when
// its page is closed.
func TestScanRecordedFirst(t *testing.T) {
	bad := fixture(t, "porn_home")
	r := newReader(t, func(w http.ResponseWriter, q *http.Request) {
		io.Copy(io.Discard, q.Body)
		w.Header().Set("Content-Type", "text/html")
		w.Write(bad)
	}, nil)
	resp, err := r.client("127.0.0.1").Post(r.url("/"), "text/plain", strings.NewReader(strings.Repeat("x", longUpload+1)))
	if got := bodyOf(t, resp, err); !strings.HasPrefix(got, "page 403") {
		t.Errorf("got %q", got)
	}
	if all := r.journal.all(); len(all) != 2 || all[1].Finding != findingContent || resp.Header.Get(EventHeader) != all[1].ID.String() {
		t.Errorf("events %+v", all)
	}
}

// TestScanOffers: only codings that can be read are asked for, and no dictionaries.
func TestScanOffers(t *testing.T) {
	r := newReader(t, func(w http.ResponseWriter, q *http.Request) {
		fmt.Fprintf(w, "%q %q", q.Header["Accept-Encoding"], q.Header["Available-Dictionary"])
	}, nil)
	for offered, want := range map[string]string{
		"gzip, deflate, br, zstd, dcb, dcz": `["gzip, deflate, br, zstd"] []`, "dcz;q=1": `["identity"] []`, "br;q=0.5, *": `["br;q=0.5"] []`,
	} {
		q, err := http.NewRequest(http.MethodGet, r.url("/"), nil)
		if err != nil {
			t.Fatal(err)
		}
		q.Header.Set("Accept-Encoding", offered)
		q.Header.Set("Available-Dictionary", ":abc:")
		resp, err := r.client("127.0.0.1").Do(q)
		if got := bodyOf(t, resp, err); got != want {
			t.Errorf("%q: the origin saw %s, want %s", offered, got, want)
		}
	}
}

// TestProxyPaths: Y12. What only a web proxy asks for is refused without asking.
func TestProxyPaths(t *testing.T) {
	r := newReader(t, func(w http.ResponseWriter, q *http.Request) { fmt.Fprint(w, "reached") }, nil)
	for path, want := range map[string]string{
		"/uv/uv.bundle.js": "page 403", "/assets/scramjet.all.js?v=2": "page 403", "/wisp/": "page 403", "/baremux/worker.js": "page 403",
		"/": "reached", "/will-o-the-wisp": "reached", "/js/bundle.js": "reached",
	} {
		resp, err := r.client("127.0.0.1").Get(r.url(path))
		if got := bodyOf(t, resp, err); !strings.HasPrefix(got, want) {
			t.Errorf("%s: %q, want %s", path, got, want)
		}
	}
	r.school.set("open.test", allowedBy(policy.ReasonUncategorised)) // a profile that reads nothing
	resp, err := r.client("127.0.0.1").Get(r.url("/wisp/"))
	if got := bodyOf(t, resp, err); got != "reached" {
		t.Errorf("unread: %q", got)
	}
}

// BenchmarkScan is a page of 30 KB over a kept connection, read and not read.
func BenchmarkScan(b *testing.B) {
	page := bytes.Repeat(fixture(b, "pass_sex_education"), 20)
	for _, coding := range []string{"identity", "gzip"} {
		body := page
		if coding == "gzip" {
			body = gzipped(b, page)
		}
		for _, read := range []bool{false, true} {
			b.Run(fmt.Sprintf("%s/read=%t", coding, read), func(b *testing.B) {
				r := newReader(b, func(w http.ResponseWriter, _ *http.Request) {
					w.Header()["Content-Type"], w.Header()["Content-Encoding"] = []string{"text/html"}, []string{coding}
					w.Write(body)
				}, func(c *Config) {
					if !read {
						c.Phrases = nil
					}
				})
				c := r.client("127.0.0.1")
				b.SetBytes(int64(len(page)))
				for b.Loop() {
					resp, err := c.Get(r.url("/"))
					if err != nil {
						b.Fatal(err)
					}
					io.Copy(io.Discard, resp.Body)
					resp.Body.Close()
				}
			})
		}
	}
}
