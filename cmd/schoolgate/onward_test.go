package main

import (
	"encoding/pem"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/miekg/dns"

	"schoolgate/internal/testkit"
)

// A page that warns lets a grown-up go on, in clear and inside https: to that site,
// on that device, and recorded. A forged press, one of another device, of another
// site's form, or on a page that refuses opens nothing; no other door is wider than
// the page's.
func TestGoOnPastAWarning(t *testing.T) {
	world := newInternet(t)
	lesson := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprintf(w, "a lesson at %s", r.URL) })
	secure := world.origin(t, lesson, "secure.example")
	origin := httptest.NewServer(lesson)
	defer origin.Close()
	_, port, err := net.SplitHostPort(origin.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	upstream := testkit.NewUpstream(t, "lesson.example. 60 IN A 127.0.0.1", "pictures.lesson.example. 60 IN A 127.0.0.1",
		"other.example. 60 IN A 127.0.0.1", "secure.example. 60 IN A 127.0.0.1")
	staff := strings.Replace(testkit.SchoolPolicy, "    block: [pornography, extremism]\n    uncategorised: allow\n", "    block: [pornography, extremism]\n    uncategorised: warn\n    inspect: all\n", 1)
	staff = strings.Replace(staff, "addresses: [127.0.0.2]", "addresses: [127.0.0.2, 127.0.0.6]", 1)
	b := testkit.NewBox(t, testkit.BoxOptions{Upstream: upstream.Addr, Ports: []string{secure.Port()}, Policy: staff})
	config, err := os.ReadFile(b.Config)
	if err != nil {
		t.Fatal(err)
	}
	b.Write("roots.pem", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: world.root.Raw})))
	b.Write("schoolgate.yaml", string(config)+"inspect: {enabled: yes, upstream_roots: roots.pem}\n")
	b.Run("ca", "init", "--config", b.Config)
	b.Run("ca", "export", "--config", b.Config, "--out", filepath.Join(b.Dir, "for-devices"))
	b.Start()
	defer b.Stop()
	trusts := certificatesOf(t, filepath.Join(b.Dir, "for-devices", "school-ca-1.pem"))
	office, colleague := trusting(b, "127.0.0.2", trusts), trusting(b, "127.0.0.6", trusts)
	at := func(host, path string) string { return "http://" + host + ":" + port + path }
	want := func(when string, c *http.Client, url string, status int, says string) page {
		t.Helper()
		got := fetch(t, c, url)
		if got.status != status || !strings.Contains(got.body, says) {
			_, body, _ := strings.Cut(got.body, "<body")
			t.Errorf("%s: %s: %d %q, want %d %q", when, url, got.status, body, status, says)
		}
		return got
	}

	warning := want("before", office, at("lesson.example", "/a?b=c"), 403, "Go on to the site")
	form := button(t, warning.body)
	told := button(t, fetch(t, b.Client("127.0.0.1"), at("blocked.example", "/")).body)
	refused := want("a site that the school closed", office, at("blocked.example", "/"), 403, "This site is blocked")
	if strings.Contains(refused.body, "<form") {
		t.Errorf("a page that refuses has a button:\n%s", refused.body)
	}
	for name, c := range map[string]struct {
		form   url.Values
		client *http.Client
		origin string
	}{
		"a forged token":         {url.Values{"ref": form["ref"], "token": {"AAAA"}}, office, ""},
		"another event":          {url.Values{"ref": told["ref"], "token": form["token"]}, office, ""},
		"a token to tell":        {told, b.Client("127.0.0.1"), ""},
		"another device":         {form, colleague, ""},
		"a form of another site": {form, office, "http://evil.example"},
		"nothing":                {url.Values{}, office, ""},
	} {
		if got := goOn(t, c.client, at("lesson.example", ""), c.form, c.origin, ""); got.StatusCode != http.StatusForbidden {
			t.Errorf("%s: %s", name, got.Status)
		}
	}
	want("after forged presses", office, at("lesson.example", "/"), 403, "Go on to the site")
	if got := addressFor(t, b, "127.0.0.2", "lesson.example"); got != "0.0.0.0" {
		t.Errorf("the name before: %s", got)
	}

	for range 2 { // a person presses more than once
		got := goOn(t, office, at("lesson.example", ""), form, at("lesson.example", ""), at("lesson.example", "/a?b=c"))
		if got.StatusCode != http.StatusSeeOther || got.Header.Get("Location") != "/a?b=c" {
			t.Fatalf("pressed: %s to %q", got.Status, got.Header.Get("Location"))
		}
	}
	for _, from := range []string{"http://evil.example/x", at("lesson.example", "//evil.example/"), "%", ""} {
		if got := goOn(t, office, at("lesson.example", ""), form, "", from).Header.Get("Location"); got != "/" {
			t.Errorf("pressed on %q: leads to %q", from, got)
		}
	}
	want("after", office, at("lesson.example", "/a?b=c"), 200, "a lesson at /a?b=c")
	want("its pictures", office, at("pictures.lesson.example", "/"), 200, "a lesson")
	want("another site", office, at("other.example", "/"), 403, "Go on to the site")
	want("another device", colleague, at("lesson.example", "/"), 403, "Go on to the site")
	if got := addressFor(t, b, "127.0.0.2", "lesson.example"); got != "127.0.0.1" {
		t.Errorf("the name after: %s", got)
	}

	inside := "https://secure.example:" + secure.Port()
	warning = want("inside", office, inside+"/x", 403, "Go on to the site")
	if got := goOn(t, office, inside, button(t, warning.body), "", inside+"/x"); got.StatusCode != http.StatusSeeOther || got.Header.Get("Location") != "/x" {
		t.Fatalf("pressed inside: %s to %q", got.Status, got.Header.Get("Location"))
	}
	want("inside, after", office, inside+"/x", 200, "a lesson at /x")
	want("inside, another device", colleague, inside+"/x", 403, "Go on to the site")

	record := b.Run("audit", "export")
	for _, is := range []string{",warn,uncategorised,", ",went_on,", ",allow,warned,"} {
		if !strings.Contains(record, is) {
			t.Errorf("the record has no %q:\n%s", is, record)
		}
	}
	b.Kill()
	b.Start()
	want("after a restart it warns again", office, at("lesson.example", "/"), 403, "Go on to the site")
}

func goOn(t *testing.T, c *http.Client, site string, form url.Values, origin, from string) *http.Response {
	t.Helper()
	req, err := http.NewRequest(http.MethodPost, site+"/.well-known/schoolgate-go-on", strings.NewReader(form.Encode()))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	for name, value := range map[string]string{"Origin": origin, "Referer": from} {
		if value != "" {
			req.Header.Set(name, value)
		}
	}
	resp, err := c.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		t.Fatal(err)
	}
	return resp
}

// addressFor is what the DNS door tells a client.
func addressFor(t *testing.T, b *testkit.Box, client, name string) string {
	t.Helper()
	r, err := b.Ask(client, "udp", name, dns.TypeA)
	if err != nil || len(r.Answer) != 1 {
		t.Fatalf("%s: %v %v", name, r, err)
	}
	return r.Answer[0].(*dns.A).A.String()
}
