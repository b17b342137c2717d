package proxy

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"schoolgate/policy"
)

// ear is a watch that takes the parameter q, or the first bytes of a body, for
// words and raises what they begin with.
type ear struct{}

func (ear) Posts(_ policy.Host, path string) bool { return path == "/search" }

func (ear) Search(q *policy.Request, _ *policy.Ruling, body Body) policy.Search {
	_, words, _ := strings.Cut(q.Path, "?q=")
	words += string(body.Start[:min(len(body.Start), 20)])
	switch {
	case strings.HasPrefix(words, "help"):
		return policy.Search{Theme: "help_seeking", Shielded: true}
	case strings.HasPrefix(words, "grave"):
		return policy.Search{Words: words, Theme: "suicide", Term: "grave", Severity: 5}
	}
	return policy.Search{Words: words}
}

func listening(c *Config) { c.Watch = ear{} }

func TestSearchIsInTheEvent(t *testing.T) { // M11, F10, privacy 4
	g := newGlass(t, hello, listening)
	g.box.school.set("other.test/search?q=grave", blockedBy(policy.Gambling))
	g.box.school.set("safe.test/sealed?q=grave", policy.Ruling{Decision: policy.Decision{Verdict: policy.Block, Reason: policy.ReasonMandatory, Severity: 5}})
	g.box.school.set("safe.test", insideRuling)
	client := g.device(g.school, false)
	for _, c := range []struct {
		name, url string
		want      policy.Event
	}{
		{"an allowed search raises", "https://open.test:PORT/search?q=grave", policy.Event{Words: "grave", Theme: "suicide", Term: "grave", Severity: 5, Host: "open.test"}},
		{"a blocked one too", "https://other.test:PORT/search?q=grave", policy.Event{Words: "grave", Theme: "suicide", Term: "grave", Severity: 5, Host: "other.test"}},
		{"one that raises nothing", "https://open.test:PORT/search?q=kittens", policy.Event{Words: "kittens", Host: "open.test"}},
		{"a mandatory hit keeps no words", "https://safe.test:PORT/sealed?q=grave", policy.Event{Severity: 5}},
		{"a search for help keeps nothing of anybody", "https://open.test:PORT/search?q=help", policy.Event{Theme: "help_seeking"}},
	} {
		resp, err := client.Get(strings.Replace(c.url, "PORT", g.port, 1))
		if err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		resp.Body.Close()
		e := g.journal.last(t)
		got := policy.Event{Words: e.Words, Theme: e.Theme, Term: e.Term, Severity: e.Severity, Host: e.Host}
		if got != c.want {
			t.Errorf("%s: %+v, want %+v", c.name, got, c.want)
		}
		if strings.Contains(e.Path, "?") {
			t.Errorf("%s: the path has its query: %q", c.name, e.Path)
		}
		if c.want.Theme == "help_seeking" && (e.Client != "" || e.Profile != "" || e.Path != "" || e.Method != "") {
			t.Errorf("%s: %+v tells of somebody", c.name, e)
		}
	}
}

// A posted search is heard, and the origin gets the body as it was sent, longer
// than what is looked at or not.
func TestPostedSearchIsHeard(t *testing.T) {
	var sent []byte
	g := newGlass(t, func(w http.ResponseWriter, r *http.Request) {
		var err error
		if sent, err = io.ReadAll(r.Body); err != nil {
			t.Error(err)
		}
		fmt.Fprintln(w, len(sent))
	}, listening)
	for _, h2 := range []bool{false, true} {
		postSearches(t, g, g.device(g.school, h2), &sent)
	}
}

func postSearches(t *testing.T, g *glass, client *http.Client, sent *[]byte) {
	t.Helper()
	for _, size := range []int{30, maxPeek - 1, maxPeek, maxPeek + 1, 5 * maxPeek} {
		body := append([]byte("grave words to send."), bytes.Repeat([]byte("x"), size)...)
		for _, of := range []struct {
			name string
			body io.Reader
		}{{"of a known length", bytes.NewReader(body)}, {"in chunks", io.MultiReader(bytes.NewReader(body))}} {
			resp, err := client.Post("https://open.test:"+g.port+"/search", "text/plain", of.body)
			if err != nil {
				t.Fatal(err)
			}
			resp.Body.Close()
			if e := g.journal.last(t); e.Words != "grave words to send." || e.Severity != 5 {
				t.Errorf("%d bytes %s: %+v", size, of.name, e)
			}
			if !bytes.Equal(*sent, body) {
				t.Errorf("%d bytes %s: the origin got %d bytes, want them as they were", size, of.name, len(*sent))
			}
		}
	}
	resp, err := client.Post("https://open.test:"+g.port+"/form", "text/plain", strings.NewReader("grave"))
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if e := g.journal.last(t); e.Words != "" {
		t.Errorf("a form that is no search was read: %+v", e) // privacy 4
	}
}
