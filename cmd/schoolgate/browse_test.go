package main

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"schoolgate/internal/testkit"
)

// page is one answer through the proxy.
type page struct {
	status      int
	event, body string
}

func fetch(t *testing.T, client *http.Client, raw string) page {
	t.Helper()
	resp, err := client.Get(raw)
	if err != nil {
		t.Fatalf("%s: %v", raw, err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatalf("%s: %v", raw, err)
	}
	return page{resp.StatusCode, resp.Header.Get("Schoolgate-Event"), string(body)}
}

// What is allowed reaches a real origin, over HTTP and through CONNECT with TLS
// untouched, with names looked up through the DNS door's own resolver; each answer
// carries the number of its event.
func TestAllowedPagesReachTheirOrigin(t *testing.T) {
	lesson := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprintf(w, "a lesson at %s", r.URL.Path) })
	plain, secure := httptest.NewServer(lesson), httptest.NewTLSServer(lesson)
	defer plain.Close()
	defer secure.Close()
	secureURL, err := url.Parse(secure.URL)
	if err != nil {
		t.Fatal(err)
	}
	// The test server's certificate names example.com.
	upstream := testkit.NewUpstream(t, "example.com. 60 IN A 127.0.0.1", "lesson.example. 60 IN A 127.0.0.1", "approved.example. 60 IN A 127.0.0.1")
	b := testkit.NewBox(t, testkit.BoxOptions{Upstream: upstream.Addr, Ports: []string{secureURL.Port()}})
	b.Start()
	defer b.Stop()

	roots := x509.NewCertPool()
	roots.AddCert(secure.Certificate())
	client := b.Client("127.0.0.1")
	client.Transport.(*http.Transport).TLSClientConfig = &tls.Config{RootCAs: roots}
	over := map[string]string{"http": plain.URL[strings.LastIndex(plain.URL, ":"):], "https": ":" + secureURL.Port()}
	want := page{200, "", "a lesson at /volcanoes"}

	got := fetch(t, client, "http://lesson.example"+over["http"]+"/volcanoes")
	if got.event == "" {
		t.Error("the answer of the origin carries no event")
	}
	want.event = got.event
	if got != want {
		t.Errorf("over HTTP = %+v, want %+v", got, want)
	}
	want.event = "" // inside the tunnel nothing is touched
	if got := fetch(t, client, "https://example.com"+over["https"]+"/volcanoes"); got != want {
		t.Errorf("over TLS = %+v, want %+v", got, want)
	}
	client.CloseIdleConnections() // the box waits a while for tunnels when it stops
	// The nursery's tablet sees approved sites only, whatever the door.
	nursery := b.Client("127.0.0.3")
	if got := fetch(t, nursery, "http://approved.example"+over["http"]+"/volcanoes"); got.status != http.StatusOK {
		t.Errorf("an approved site for the nursery = %+v", got)
	}
	if got := fetch(t, nursery, "http://lesson.example"+over["http"]+"/"); got.status != http.StatusForbidden {
		t.Errorf("another site for the nursery = %+v", got)
	}
	var tunnels int
	for _, r := range exported(t, b, "--host", "example.com", "--verdict", "allow") {
		if r.Client != "127.0.0.1" || r.Group != "year5" {
			t.Errorf("the tunnel's event is %+v", r)
		}
		tunnels++
	}
	if tunnels == 0 {
		t.Error("the tunnel is not in the journal")
	}
}

// Each age band has a block page of its own; it carries the number under which the
// journal keeps the request, and staff see the rule.
func TestBlockPageFitsWhoAsks(t *testing.T) { // F12
	b := testkit.NewBox(t, testkit.BoxOptions{})
	b.Start()
	defer b.Stop()
	seen := map[string]string{}
	for _, from := range []string{"127.0.0.1", "127.0.0.2", "127.0.0.3"} {
		got := fetch(t, b.Client(from), "http://www.blocked.example/a/page")
		if got.status != http.StatusForbidden || got.event == "" || !strings.Contains(got.body, got.event) {
			t.Errorf("%s gets %d, event %q, and the page does not show it:\n%s", from, got.status, got.event, got.body)
		}
		if rule := strings.Contains(got.body, "policy.yaml:"); rule != (from == "127.0.0.2") {
			t.Errorf("%s sees the rule: %t", from, rule)
		}
		for other, body := range seen {
			if body == strings.ReplaceAll(got.body, got.event, "") {
				t.Errorf("%s and %s see the same page", from, other)
			}
		}
		seen[from] = strings.ReplaceAll(got.body, got.event, "")
		events := exported(t, b, "--client", from)
		if len(events) != 1 || events[0].ID != got.event || events[0].Host != "www.blocked.example" {
			t.Errorf("the journal has %+v, want one event %s", events, got.event)
		}
	}
}
