package main

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"schoolgate/internal/testkit"
)

// A child's help-line answers every client of the school, one in quarantine too,
// though a list and an exception say otherwise; and the journal has no entry of it.
func TestHelpLineWorksForEveryoneAndIsNotKept(t *testing.T) { // F10, privacy 9
	upstream := testkit.NewUpstream(t, "www.childline.org.uk. 60 IN A 203.0.113.7")
	b := testkit.NewBox(t, testkit.BoxOptions{Upstream: upstream.Addr, Policy: strings.Replace(testkit.SchoolPolicy, "exceptions:\n",
		"exceptions:\n  - {block: childline.org.uk, for: everyone, reason: a mistake, by: a test}\n", 1)})
	b.Start()
	defer b.Stop()
	for _, from := range testkit.Clients {
		for _, network := range []string{"udp", "tcp"} {
			r, err := b.Ask(from, network, "www.ChildLine.org.uk", dns.TypeA)
			if err != nil {
				t.Fatalf("%s over %s: %v", from, network, err)
			}
			if len(r.Answer) != 1 || !strings.HasSuffix(r.Answer[0].String(), "203.0.113.7") {
				t.Errorf("%s over %s gets\n%s", from, network, r)
			}
		}
	}
	if r, err := b.Ask("127.0.0.5", "udp", "www.example.org", dns.TypeA); err != nil || verdict(r) != "block" {
		t.Errorf("a device in quarantine gets %v, %v for any other site, want a refusal", r, err)
	}
	if all := exported(t, b); len(all) != 1 || all[0].ID != "SG-1" || all[0].Host != "www.example.org" {
		t.Errorf("the journal tells on a child: %+v", all)
	}
	if got := helpCounts(t, b); got.Questions != uint64(2*len(testkit.Clients)) {
		t.Errorf("%+v counted, want %d questions", got, 2*len(testkit.Clients))
	}
}

// helpCounts is what the box has counted.
func helpCounts(t *testing.T, b *testkit.Box) (sum struct{ Questions, Visits, Searches uint64 }) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(b.Dir, "data", "help-count.json"))
	if err != nil {
		t.Fatal(err)
	}
	var days map[string]struct{ Questions, Visits, Searches uint64 }
	if err := json.Unmarshal(text, &days); err != nil {
		t.Fatal(err)
	}
	for _, d := range days {
		sum.Questions += d.Questions
		sum.Visits += d.Visits
		sum.Searches += d.Searches
	}
	return sum
}

// Whatever way a tablet takes to a help-line, nothing in the journal, its order and
// its numbers included, tells that it was this tablet, or when: the journal has one
// line for the whole day, once that is over, and kill -9 takes nothing from it.
func TestHelpLineLeavesNoPlaceInTheJournal(t *testing.T) { // F10
	mail := testkit.NewSMTP(t, testkit.SMTPOptions{})
	b, browser, port := searchBox(t, mail)
	const tablet = "127.0.0.1"
	for _, q := range []struct {
		network, name string
		qtype         uint16
	}{
		{"udp", "www.childline.org.uk", dns.TypeA}, {"tcp", "childline.org.uk", dns.TypeHTTPS},
		{"udp", "kindline.example", dns.TypeA},                  // another name of it
		{"udp", "www.childline.org.uk.school.test", dns.TypeA},  // what a device asks for next
		{"udp", "alateen.org.uk", dns.TypeA},                    // by the lists' word
		{"udp", "www.childline.org.uk.school.local", dns.TypeA}, // answered by the box itself
	} {
		if _, err := b.Ask(tablet, q.network, q.name, q.qtype); err != nil {
			t.Fatal(err)
		}
	}
	if head := tunnel(t, b, tablet, "www.childline.org.uk:443"); strings.Contains(head, "SG-") {
		t.Errorf("the answer to CONNECT has the number of an entry:\n%s", head)
	}
	fetch(t, b.Client(tablet), "http://www.childline.org.uk/chat?with=me")
	for _, words := range []string{"childline+phone+number", "www.youngminds.org.uk"} {
		fetch(t, browser(tablet), "https://www.bing.com:"+port+"/search?q="+words)
	}
	fetch(t, browser(tablet), "https://notasearch.example:"+port+"/copies/https://www.childline.org.uk/chat")
	fetch(t, browser(tablet), "https://www.bing.com:"+port+"/search?q=how+to+kill+myself+or+www.childline.org.uk")

	numbers := map[string]bool{}
	for _, r := range exported(t, b) {
		numbers[r.ID] = true
		if r.Client == "" || strings.Contains(r.Host, "childline") || r.Reason == "never_block" {
			t.Errorf("the journal has %+v", r)
		}
	}
	for i := range len(numbers) {
		if id := fmt.Sprintf("SG-%X", i+1); !numbers[id] && len(numbers) < 16 {
			t.Errorf("there is a gap at %s", id)
		}
	}
	out := b.Run("audit", "export", "--format", "json")
	for _, word := range []string{"childline", "youngminds", "kindline", "alateen", "help_seeking"} {
		if strings.Contains(out, word) {
			t.Errorf("%q is in the journal:\n%s", word, out)
		}
	}
	if !strings.Contains(out, `"words":"how to kill myself or (a help-line)"`) || !strings.Contains(out, `"theme":"suicide"`) {
		t.Errorf("what the DSL must hear of is not in the journal:\n%s", out)
	}
	b.Kill()
	want := struct{ Questions, Visits, Searches uint64 }{6, 2, 2}
	if got := helpCounts(t, b); got != want {
		t.Errorf("counted %+v, want %+v", got, want)
	}
	// The day is over.
	file := filepath.Join(b.Dir, "data", "help-count.json")
	if err := os.WriteFile(file, []byte(`{"2026-01-05":{"questions":6,"visits":2,"searches":2}}`), 0o600); err != nil {
		t.Fatal(err)
	}
	b.Start()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	if err := b.Log().Wait(ctx, "help-lines counted", 1); err != nil {
		t.Fatal(err)
	}
	out = b.Run("audit", "search", "--text", "help.counted")
	if !strings.Contains(out, "help.counted 2026-01-05") || strings.Contains(out, tablet) {
		t.Errorf("of the day there is\n%s", out)
	}
}

// tunnel asks for one and gives the head of the answer.
func tunnel(t *testing.T, b *testkit.Box, from, to string) string {
	t.Helper()
	conn := b.Dial(from, b.Proxy)
	defer conn.Close()
	fmt.Fprintf(conn, "CONNECT %s HTTP/1.1\r\nHost: %s\r\n\r\n", to, to)
	resp, err := http.ReadResponse(bufio.NewReader(conn), &http.Request{Method: http.MethodConnect})
	if err != nil {
		t.Fatal(err)
	}
	if resp.StatusCode == http.StatusOK { // nobody is at the other end: what matters is that it was tried
		host, _, _ := strings.Cut(to, ":")
		if err := tls.Client(conn, &tls.Config{ServerName: host}).HandshakeContext(t.Context()); err == nil {
			t.Errorf("%s answers", to)
		}
	}
	return fmt.Sprint(resp.Status, resp.Header)
}
