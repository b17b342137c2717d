package proxy

import (
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"schoolgate/policy"
)

// TestRecordOfReply: the event of an answered request says what the answer was, its
// port where that is unusual, and who asked (issue 4 item 5, R42).
func TestRecordOfReply(t *testing.T) {
	g := newGlass(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", r.Header.Get("X-Type"))
		io.WriteString(w, "0123456789")
		if r.URL.Path == "/long" {
			http.NewResponseController(w).Flush()
		}
	}, nil)
	plain := origin(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) })
	c := g.device(g.school, true)
	for _, test := range []struct {
		promise, url, kind, mode string
		want                     policy.Event
	}{
		{"type without parameters", g.url("open.test", "/"), "Text/HTML; charset=utf-8", "navigate", policy.Event{Type: "text/html", Size: 10, Use: policy.UsePerson}},
		{"a size nobody said", g.url("open.test", "/long"), "image/png", "no-cors", policy.Event{Type: "image/png", Use: policy.UseBackground}},
		{"free text for a type", g.url("open.test", "/"), "secret words of an origin", "", policy.Event{Size: 10}},
		{"a type of two kilobytes", g.url("open.test", "/"), "text/" + strings.Repeat("x", 2000), "", policy.Event{Size: 10}},
		{"plain HTTP", "http://open.test:" + portOf(t, plain) + "/", "", "", policy.Event{}},
	} {
		r, err := http.NewRequest(http.MethodGet, test.url, nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("X-Type", test.kind)
		if test.mode != "" {
			r.Header.Set("Sec-Fetch-Mode", test.mode)
			r.Header.Set("Sec-Fetch-Dest", "document")
			r.Header.Set("Sec-Fetch-User", "?1")
		}
		resp, err := c.Do(r)
		bodyOf(t, resp, err)
		e := g.journal.last(t)
		if e.Type != test.want.Type || e.Size != test.want.Size || e.Use != test.want.Use || e.Port == 0 || e.Verdict != policy.Allow {
			t.Errorf("%s: event %+v, want %+v", test.promise, e, test.want)
		}
		if resp.Header.Get(EventHeader) != e.ID.String() {
			t.Errorf("%s: the answer says %s, the journal %s", test.promise, resp.Header.Get(EventHeader), e.ID)
		}
	}
}

// TestRecordOfTrouble: an origin that does not answer, or is not what it seems, is
// told in the one event of its request.
func TestRecordOfTrouble(t *testing.T) {
	g := newGlass(t, hello, func(c *Config) { c.Limits.OriginReply = 50 * time.Millisecond })
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	broken := origin(t, func(w http.ResponseWriter, r *http.Request) { panic(http.ErrAbortHandler) })
	broken.Config.ErrorLog = discard
	dns := origin(t, func(w http.ResponseWriter, r *http.Request) { w.Header().Set("Content-Type", dnsMessage) })
	c := g.device(g.school, false)
	for _, test := range []struct {
		promise, url    string
		status, events  int
		verdict         policy.Verdict
		finding, before string
	}{
		{"silent", "http://" + strings.Replace(silent.Addr().String(), "127.0.0.1", "open.test", 1) + "/", 504, 1, policy.Allow, "", ""},
		{"broken", "http://open.test:" + portOf(t, broken) + "/", 502, 1, policy.Allow, "", ""},
		{"an answer to a DNS question", "http://open.test:" + portOf(t, dns) + "/", 403, 1, policy.Block, findingDoH, ""},
		{"a certificate for another name", g.url("wrong.test", "/"), 502, 2, policy.Block, findingCertificate, "connect"},
	} {
		begun := len(g.journal.all())
		resp, err := c.Get(test.url)
		bodyOf(t, resp, err)
		all := g.journal.all()[begun:]
		e := all[len(all)-1]
		if len(all) != test.events || resp.StatusCode != test.status || e.Status != test.status || e.Verdict != test.verdict || e.Finding != test.finding {
			t.Errorf("%s: answer %d, events %+v", test.promise, resp.StatusCode, all)
		}
	}
}

// TestRecordedFirst: what a person must hear of and a long upload are in the
// journal before the origin sees anything of them.
func TestRecordedFirst(t *testing.T) {
	var b *box
	o := origin(t, func(w http.ResponseWriter, r *http.Request) {
		n := len(b.journal.all())
		io.Copy(io.Discard, r.Body)
		fmt.Fprint(w, n)
	})
	b = newBox(t, nil)
	flagged := allowedBy(policy.ReasonDefault)
	flagged.Severity = 4
	b.school.set("flagged.test", flagged)
	b.names.(names)["flagged.test"] = []string{"127.0.0.1"}
	for _, test := range []struct {
		host, body string
		want       int // events at the origin's, of this request
	}{
		{"open.test", "", 0}, {"open.test", "short", 0}, {"open.test", strings.Repeat("x", longUpload+1), 1}, {"flagged.test", "", 1},
	} {
		begun := len(b.journal.all())
		resp, err := b.client("127.0.0.1").Post("http://"+test.host+":"+portOf(t, o)+"/", "text/plain", strings.NewReader(test.body))
		if got := bodyOf(t, resp, err); got != fmt.Sprint(begun+test.want) {
			t.Errorf("%s with %d bytes: %s events when the origin was asked, want %d", test.host, len(test.body), got, begun+test.want)
		}
		if n := len(b.journal.all()); n != begun+1 {
			t.Errorf("%s: %d events, want one", test.host, n-begun)
		}
	}
}

// TestAnsweredIsRecorded: whatever a request is and however it ends, an answer
// that left bears the number of an event that was there before, and no request has
// more than one, unless it was recorded ahead and its answer refused (property).
func TestAnsweredIsRecorded(t *testing.T) {
	o := origin(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/reset":
			panic(http.ErrAbortHandler)
		case "/half":
			w.Header().Set("Content-Length", "1000")
			io.WriteString(w, "half of it")
		case "/dns":
			w.Header().Set("Content-Type", dnsMessage)
		case "/none":
			w.WriteHeader(http.StatusNotModified)
		default:
			io.WriteString(w, r.URL.Path)
		}
	})
	o.Config.ErrorLog = discard
	b := newBox(t, nil)
	paths := []string{"/", "/reset", "/half", "/dns", "/none", "/long"}
	hosts := []string{"open.test", "blocked.test", "inside.test", "nowhere.test"}
	methods := []string{"GET", "HEAD", "POST", "OPTIONS", "TRACE"}
	c := b.client("127.0.0.1")
	for range 300 {
		host, path, method := hosts[rand.N(len(hosts))], paths[rand.N(len(paths))], methods[rand.N(len(methods))]
		r, err := http.NewRequest(method, "http://"+host+":"+portOf(t, o)+path, strings.NewReader(strings.Repeat("x", rand.N(3)*longUpload)))
		if err != nil {
			t.Fatal(err)
		}
		begun := b.journal.all()
		resp, err := c.Do(r)
		if err != nil {
			continue // nothing was answered
		}
		// At the first byte of the answer, and not only after it.
		all := b.journal.all()
		io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
		most := 1
		if path == "/dns" && r.ContentLength > longUpload {
			most = 2
		}
		if n := len(all) - len(begun); n < 1 || n > most || all[len(all)-1].ID.String() != resp.Header.Get(EventHeader) || all[len(all)-1].Host != host {
			t.Errorf("%s %s%s: answer %d bears %q, events %+v", method, host, path, resp.StatusCode, resp.Header.Get(EventHeader), all[len(begun):])
		}
	}
}

// TestUse: R42. What the browser says, and what is made of the silence of old ones.
func TestUse(t *testing.T) {
	for _, c := range []struct {
		promise, headers string
		want             policy.Use
	}{
		{"a click", "Sec-Fetch-Mode: navigate|Sec-Fetch-Dest: document|Sec-Fetch-User: ?1|Sec-Fetch-Site: cross-site", policy.UsePerson},
		{"the address bar", "Sec-Fetch-Mode: navigate|Sec-Fetch-Dest: document|Sec-Fetch-Site: none", policy.UsePerson},
		{"a page that leads on by itself", "Sec-Fetch-Mode: navigate|Sec-Fetch-Dest: document|Sec-Fetch-Site: cross-site", policy.UseBackground},
		{"a frame", "Sec-Fetch-Mode: navigate|Sec-Fetch-Dest: iframe|Sec-Fetch-User: ?1", policy.UseBackground},
		{"a picture", "Sec-Fetch-Mode: no-cors|Sec-Fetch-Dest: image|Accept: text/html", policy.UseBackground},
		{"a script's question", "Sec-Fetch-Mode: cors|Sec-Fetch-Dest: empty", policy.UseBackground},
		{"a page fetched ahead", "Sec-Fetch-Mode: navigate|Sec-Fetch-Dest: document|Sec-Fetch-User: ?1|Sec-Purpose: prefetch;prerender", policy.UseBackground},
		{"an old browser's page", "Accept: text/html,application/xhtml+xml", policy.UsePerson},
		{"an old browser's picture", "Accept: image/*", policy.UseBackground},
		{"an old browser's script", "Accept: */*|Referer: http://open.test/", policy.UseBackground},
		{"an old page's question", "Accept: text/html|X-Requested-With: XMLHttpRequest", policy.UseBackground},
		{"a program", "", policy.UseUnknown},
		{"another program", "Accept: */*", policy.UseUnknown},
	} {
		r := &http.Request{Header: http.Header{}}
		for line := range strings.SplitSeq(c.headers, "|") {
			name, value, _ := strings.Cut(line, ": ")
			r.Header.Set(name, value)
		}
		if got := useOf(r); got != c.want {
			t.Errorf("%s: useOf = %q, want %q", c.promise, got, c.want)
		}
	}
}
