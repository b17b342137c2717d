package main

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/miekg/dns"

	"schoolgate/internal/testkit"
)

// answers are the requests that got an answer before the power went.
type answers struct {
	mu     sync.Mutex
	names  []string // each asked for once
	events []string // each the number on a web answer
	enough chan struct{}
	wanted int
}

func (a *answers) add(name, event string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if name != "" {
		a.names = append(a.names, name)
	} else {
		a.events = append(a.events, event)
	}
	if len(a.names)+len(a.events) == a.wanted {
		close(a.enough)
	}
}

// Every answered request is in the journal, whenever the process dies: an event
// is written before its answer leaves. Three rounds on the same data, under mixed
// load; what the crash left behind is taken up again without a word of complaint.
func TestKillLosesNoAnsweredRequest(t *testing.T) { // fault F2
	upstream := testkit.NewUpstream(t)
	b := testkit.NewBox(t, testkit.BoxOptions{Upstream: upstream.Addr, Program: underDetector})
	var all answers
	for round := range 3 {
		b.Start()
		got := load(t, b, round, 600)
		all.names, all.events = append(all.names, got.names...), append(all.events, got.events...)
	}
	b.Start()
	defer b.Stop()

	recorded, ids := map[string]int{}, map[string]bool{}
	for _, r := range exported(t, b) {
		recorded[r.Host]++
	}
	for id := range strings.FieldsSeq(b.Run("audit", "export", "--ids")) {
		ids[id] = true
	}
	for _, name := range all.names {
		if recorded[name] != 1 {
			t.Errorf("%s was answered once and is in the journal %d times", name, recorded[name])
		}
	}
	for _, id := range all.events {
		if !ids[id] {
			t.Errorf("%s stands on an answer and is not in the journal", id)
		}
	}
	if len(all.names) < 300 || len(all.events) < 100 {
		t.Errorf("%d names and %d web requests answered: too few to prove anything", len(all.names), len(all.events))
	}
	if out := b.Run("audit", "verify"); !strings.Contains(out, "verified: every record is as it was written") {
		t.Errorf("audit verify: %s", out)
	}
}

// load asks through both doors until the box, killed in the middle of it, answers
// no more, and gives what was answered.
func load(t *testing.T, b *testkit.Box, round, enough int) *answers {
	got := &answers{enough: make(chan struct{}), wanted: enough}
	origin := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "a page") }))
	defer origin.Close()
	var workers sync.WaitGroup
	for w := range 4 {
		from := fmt.Sprintf("127.0.1.%d", w+1)
		for _, network := range []string{"udp", "tcp"} {
			workers.Go(func() { askUntilDead(b, from, network, fmt.Sprintf("%d-%d-%s", round, w, network), got) })
		}
		for _, url := range []string{"http://blocked.example/page", origin.URL + "/"} {
			workers.Go(func() { browseUntilDead(b.Client(from), url, got) })
		}
	}
	<-got.enough
	b.Kill()
	workers.Wait()
	return got
}

func askUntilDead(b *testkit.Box, from, network, tag string, got *answers) {
	for i := 0; ; i++ {
		name := fmt.Sprintf("n%d-%s.open.example", i, tag)
		if i%3 == 0 {
			name = fmt.Sprintf("n%d-%s.blocked.example", i, tag)
		}
		if _, err := b.Ask(from, network, name, dns.TypeA); err != nil {
			return
		}
		got.add(name, "")
	}
}

// browseUntilDead fetches a page that is refused, or one that an origin answers: the
// event of the second is written between its answer's coming in and its going out.
func browseUntilDead(client *http.Client, url string, got *answers) {
	for {
		resp, err := client.Get(url)
		if err != nil {
			return
		}
		event := resp.Header.Get("Schoolgate-Event")
		_, err = io.Copy(io.Discard, resp.Body)
		_ = resp.Body.Close() // read to its end, or cut off
		if event == "" {
			event = fmt.Sprintf("(no event on an answer %s)", resp.Status)
		}
		got.add("", event)
		if err != nil {
			return
		}
	}
}
