package main

import (
	"context"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"schoolgate/internal/testkit"
)

// searchBox is a school that looks into https, with search engines of a made-up
// internet behind it.
func searchBox(t *testing.T, mail *testkit.SMTP) (b *testkit.Box, browser func(from string) *http.Client, port string) {
	t.Helper()
	world := newInternet(t)
	names := []string{"www.google.com", "www.bing.com", "www.youtube.com", "www.startpage.com", "duckduckgo.com", "notasearch.example"}
	site := world.origin(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		fmt.Fprintf(w, "%d bytes sent to %s", len(body), r.URL.Path)
	}), names...)
	var zone []string
	for _, name := range append(names, "forcesafesearch.google.com", "strict.bing.com", "restrict.youtube.com", "safe.duckduckgo.com") {
		zone = append(zone, name+". 60 IN A 127.0.0.1")
	}
	zone = append(zone, "www.childline.org.uk. 60 IN A 127.0.0.1", "kindline.example. 60 IN CNAME www.childline.org.uk.")
	upstream := testkit.NewUpstream(t, zone...)
	policy := strings.ReplaceAll(testkit.SchoolPolicy, "    uncategorised: allow\n", "    uncategorised: allow\n    inspect: all\n")
	policy = strings.Replace(policy, "block: [pornography, extremism, gambling, gaming]", "block: [pornography, extremism, gambling, gaming]\n    allow: [unsafe_search]", 1)
	b = testkit.NewBox(t, testkit.BoxOptions{
		Upstream: upstream.Addr, Ports: []string{site.Port()}, Policy: policy,
		Mail: fmt.Sprintf("  server: %s\n  tls: starttls\n  ca_file: %s\n  from: schoolgate@school.example\n  timeout: 10s\n", mail.Addr, mail.CAFile),
	})
	config, err := os.ReadFile(b.Config)
	if err != nil {
		t.Fatal(err)
	}
	b.Write("roots.pem", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: world.root.Raw})))
	b.Write("schoolgate.yaml", string(config)+"inspect: {enabled: yes, upstream_roots: roots.pem}\n")
	b.Run("ca", "init", "--config", b.Config)
	b.Run("ca", "export", "--config", b.Config, "--out", filepath.Join(b.Dir, "for-devices"))
	b.Start()
	t.Cleanup(b.Stop)
	ours := certificatesOf(t, filepath.Join(b.Dir, "for-devices", "school-ca-1.pem"))
	return b, func(from string) *http.Client { return trusting(b, from, ours) }, site.Port()
}

// heard is what the journal keeps of a search.
type heard struct {
	Client, Device, Group, Profile, Host, Path, Words, Theme, Term, Verdict string
	Severity                                                                uint8
}

func searches(t *testing.T, b *testkit.Box) (all []heard) {
	t.Helper()
	for line := range strings.Lines(b.Run("audit", "export", "--format", "json")) {
		var h heard
		if err := json.Unmarshal([]byte(line), &h); err != nil {
			t.Fatal(err)
		}
		if h.Words != "" || h.Theme != "" {
			all = append(all, h)
		}
	}
	return all
}

// A search through an inspected tunnel, as a browser sends it, is in the journal
// with its words, theme and severity though the page was allowed, and becomes a
// mail; a search for help leaves nothing of the child; adults are heard for what is
// a crime and no more, guests not at all.
func TestSearchesAreHeard(t *testing.T) { // M1, M4, M11, F10, privacy 4
	mail := testkit.NewSMTP(t, testkit.SMTPOptions{})
	b, browser, port := searchBox(t, mail)
	send := func(from, method, address, contentType, body string) {
		t.Helper()
		host, path, _ := strings.Cut(address, "/")
		r, err := http.NewRequestWithContext(t.Context(), method, "https://"+host+":"+port+"/"+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("User-Agent", "Mozilla/5.0 (X11; CrOS x86_64 14541.0.0) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0.0.0 Safari/537.36")
		r.Header.Set("Sec-Fetch-Mode", "navigate")
		if contentType != "" {
			r.Header.Set("Content-Type", contentType)
		}
		got, err := browser(from).Do(r)
		if err != nil {
			t.Fatalf("%s %s: %v", from, address, err)
		}
		page, err := io.ReadAll(got.Body)
		got.Body.Close()
		if err != nil || got.StatusCode != 200 || !strings.Contains(string(page), fmt.Sprintf("%d bytes sent", len(body))) {
			t.Fatalf("%s %s: %s %q, %v", from, address, got.Status, page, err)
		}
	}
	form := "application/x-www-form-urlencoded"
	send("127.0.0.1", "GET", "www.google.com/search?q=how+to+kill+myself&sourceid=chrome&ie=UTF-8", "", "")
	send("127.0.0.1", "GET", "www.google.com/complete/search?q=how+to+kill+mys&client=gws-wiz", "", "")
	send("127.0.0.1", "GET", "www.google.com/search?q=romeo+and+juliet&start=10", "", "")
	send("127.0.1.1", "POST", "www.startpage.com/sp/search", form, url.Values{"query": {"buy a gun online"}, "cat": {"web"}}.Encode())
	send("127.0.1.2", "POST", "www.youtube.com/youtubei/v1/search?prettyPrint=false", "application/json", `{"context":{"client":{"clientName":"WEB"}},"query":"how to make a bomb"}`)
	send("127.0.1.3", "GET", "www.bing.com/search?q=childline+phone+number", "", "")
	send("127.0.1.3", "POST", "notasearch.example/search", form, "q=how+to+kill+myself")
	send("127.0.0.2", "GET", "duckduckgo.com/?q=how+to+kill+myself", "", "") // staff: not listened to for this
	send("127.0.0.2", "GET", "duckduckgo.com/?q=how+to+join+isis", "", "")
	want := []heard{
		{"127.0.0.1", "", "year5", "ks2", "www.google.com", "/search", "how to kill myself", "suicide", "kill myself", "allow", 5},
		{"127.0.0.1", "", "year5", "ks2", "www.google.com", "/search", "romeo and juliet", "", "", "allow", 0},
		{"127.0.1.1", "", "year5", "ks2", "www.startpage.com", "/sp/search", "buy a gun online", "weapons", "", "allow", 5},
		{"127.0.1.2", "", "year5", "ks2", "www.youtube.com", "/youtubei/v1/search", "how to make a bomb", "weapons", "", "allow", 5},
		{"127.0.0.2", "", "office", "staff", "duckduckgo.com", "/", "how to join isis", "extremism", "", "allow", 5},
	}
	got := searches(t, b)
	for i := range got {
		if got[i].Term != "kill myself" {
			got[i].Term = ""
		}
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("searches =\n%v\nwant\n%v", got, want)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	mail.WaitFor(ctx, 7)
	to := map[string]int{}
	for _, m := range mail.Messages() {
		to[m.To[0]]++
		if text := strings.ToLower(string(m.Data)); strings.Contains(text, "kill") || strings.Contains(text, "isis") || strings.Contains(text, "127.0.") {
			t.Errorf("a mail tells of the search:\n%s", m.Data) // privacy 7
		}
	}
	if to["dsl@school.example"] != 3 || to["deputy@school.example"] != 3 || to["head@school.example"] != 1 {
		t.Errorf("mails = %v, want three alerts to DSL and deputy, that of the adult to the Headteacher (R36)", to)
	}
}
