package main

import (
	"bufio"
	"crypto/tls"
	"encoding/csv"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"os"
	"strings"
	"testing"

	"github.com/miekg/dns"

	"schoolgate/internal/testkit"
)

// everythingAllowed is the most careless policy that can be written.
const everythingAllowed = `profiles:
  ks2: {title: Juniors, band: ks2, block: [], uncategorised: allow}
  staff: {title: Staff, band: staff, block: [], uncategorised: allow}
groups:
  year5: {profile: ks2, addresses: [127.0.0.1, 127.0.0.3, 127.0.0.5]}
  office: {profile: staff, addresses: [127.0.0.2, 127.0.0.4]}
exceptions:
`

// sealed are hosts and pages of the synthetic mandatory lists in the binary.
type sealed struct {
	hosts []string
	pages []*url.URL
}

func readSealed(t *testing.T) (s sealed) {
	t.Helper()
	f, err := os.Open("../../blocklists/starter/SYNTHETIC-iwf-style.csv")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	rows, err := csv.NewReader(f).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	removed := map[string]bool{} // the delta in the binary takes some out again
	delta, err := os.ReadFile("../../blocklists/starter/SYNTHETIC-iwf-style-delta.csv")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(delta)) {
		if fields := strings.Split(line, ","); fields[0] == "remove" {
			removed[fields[3]] = true
		}
	}
	for _, row := range rows[1:] {
		entry, active := row[2], row[5] == "active"
		if !active || removed[entry] {
			continue
		}
		if u, err := url.Parse(entry); err == nil && u.Scheme != "" {
			s.pages = append(s.pages, u)
		} else if row[1] == "domain" {
			s.hosts = append(s.hosts, entry)
		}
	}
	if len(s.hosts) < 100 || len(s.pages) < 100 {
		t.Fatalf("%d hosts and %d pages in the synthetic list", len(s.hosts), len(s.pages))
	}
	return s
}

// A site or page of a mandatory list is reached by nobody: however it is written,
// through whichever door, whoever asks, under a policy that allows everything and
// has an exception and a pass for the very host. It is not even looked up.
func TestMandatoryListIsNeverServed(t *testing.T) { // R1, T1
	lists := readSealed(t)
	rng := rand.New(rand.NewPCG(2, 1))
	t.Logf("seed 2, 1")
	opened := make([]string, 40)
	for i := range opened {
		opened[i] = lists.hosts[i]
	}
	careless := everythingAllowed + fmt.Sprintf("  - {allow: [%s], for: everyone, until: 2099-01-01, reason: a test, by: a test}\n", strings.Join(opened, ", ")) +
		fmt.Sprintf("passes:\n  - {site: %s, for: {group: year5}, until: 2099-01-01, reason: a test, by: a test}\n", opened[0])
	upstream := testkit.NewUpstream(t)
	b := testkit.NewBox(t, testkit.BoxOptions{Policy: careless, Upstream: upstream.Addr})
	b.Start()
	defer b.Stop()
	upstream.Tell(testkit.Private) // would answer for any name

	for range 150 {
		from := testkit.Clients[rng.IntN(len(testkit.Clients))]
		host := lists.hosts[rng.IntN(len(lists.hosts))]
		if rng.IntN(3) == 0 {
			host = opened[rng.IntN(len(opened))]
		}
		page := lists.pages[rng.IntN(len(lists.pages))]
		noDNS(t, b, from, respellName(rng, host))
		noPage(t, b, from, "http://"+respellHost(rng, host)+"/"+respellPath(rng, "any/page"))
		noPage(t, b, from, "http://"+respellHost(rng, page.Host)+respellPath(rng, page.RequestURI()))
		noTunnel(t, b, from, "www.example.org", host)
		noTunnel(t, b, from, host, "www.example.org")
		noTunnel(t, b, from, page.Host, page.Host) // the page cannot be seen, so the host is refused
	}
	if n := upstream.Asked(""); n > 0 {
		_, _, names := upstream.Seen()
		for _, name := range names {
			if !strings.HasSuffix(strings.ToLower(name), "example.org.") {
				t.Errorf("the upstream was asked for %s", name)
			}
		}
	}
	for _, r := range exported(t, b) {
		if r.Reason == "mandatory" && (r.Host != "" || r.Verdict != "block") {
			t.Errorf("the journal can print the list: %+v", r)
		}
	}
}

// respellName writes a DNS name in another way.
func respellName(rng *rand.Rand, host string) string {
	if rng.IntN(2) == 0 {
		host = []string{"www.", "a.b.", "x_y."}[rng.IntN(3)] + host
	}
	return mixCase(rng, host)
}

func mixCase(rng *rand.Rand, s string) string {
	return strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' && rng.IntN(3) == 0 {
			return r - 'a' + 'A'
		}
		return r
	}, s)
}

// respellHost writes the host of a URL in another way.
func respellHost(rng *rand.Rand, host string) string {
	host = mixCase(rng, host)
	if rng.IntN(4) == 0 {
		host += "."
	}
	if rng.IntN(4) == 0 {
		host = "someone:secret@" + host
	}
	if rng.IntN(4) == 0 {
		host += ":80"
	}
	return host
}

// respellPath writes a path in another way that a server would take for the same.
func respellPath(rng *rand.Rand, path string) string {
	path, query, listed := strings.Cut(path, "?")
	path = respellSegments(rng, path)
	switch {
	case listed: // the same parameters, among others and in another order
		parts := append(strings.Split(query, "&"), "utm_source=x")
		rng.Shuffle(len(parts), func(i, j int) { parts[i], parts[j] = parts[j], parts[i] })
		return path + "?" + strings.Join(parts, "&")
	case rng.IntN(2) == 0: // what a mail program adds
		return path + "?utm_source=x"
	}
	return path
}

func respellSegments(rng *rand.Rand, path string) string {
	switch rng.IntN(5) {
	case 0:
		return "/" + path
	case 1:
		return "/./" + strings.TrimPrefix(path, "/")
	case 2:
		return "/x/.." + path
	case 3: // escape a letter that needs no escape
		for i := range path {
			if c := path[i]; c >= 'g' && c <= 'z' && !strings.Contains(path[max(0, i-2):i], "%") {
				return path[:i] + fmt.Sprintf("%%%02X", c) + path[i+1:]
			}
		}
	}
	return path
}

func noDNS(t *testing.T, b *testkit.Box, from, name string) {
	t.Helper()
	network := "udp"
	if len(name)%2 == 0 {
		network = "tcp"
	}
	for _, qtype := range []uint16{dns.TypeA, dns.TypeHTTPS} {
		r, err := b.Ask(from, network, name, qtype)
		if err != nil {
			t.Errorf("%s asks for %s: %v", from, name, err)
		} else if !testkit.Blocked(r) && r.Rcode != dns.RcodeRefused {
			t.Errorf("%s asks for %s and is answered:\n%s", from, name, r)
		}
	}
}

// noPage sends the request line as it is: net/url would tidy it up.
func noPage(t *testing.T, b *testkit.Box, from, raw string) {
	t.Helper()
	conn := b.Dial(from, b.Proxy)
	defer conn.Close()
	fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: harmless.example\r\nConnection: close\r\n\r\n", raw)
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Errorf("%s wants %s: %v", from, raw, err)
		return
	}
	defer resp.Body.Close()
	page, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Errorf("%s wants %s: %v", from, raw, err)
	}
	if resp.StatusCode != http.StatusForbidden && resp.StatusCode != http.StatusBadRequest {
		t.Errorf("%s wants %s and gets %s", from, raw, resp.Status)
	}
	if u, err := url.Parse(raw); err == nil && strings.Contains(strings.ToLower(string(page)), strings.TrimSuffix(strings.ToLower(u.Hostname()), ".")) {
		t.Errorf("the block page of %s names it", raw)
	}
}

// noTunnel wants no TLS answer for a CONNECT to one host with the SNI of another,
// where one of the two is sealed.
func noTunnel(t *testing.T, b *testkit.Box, from, connect, sni string) {
	t.Helper()
	conn := b.Dial(from, b.Proxy)
	defer conn.Close()
	fmt.Fprintf(conn, "CONNECT %s:443 HTTP/1.1\r\nHost: %s:443\r\n\r\n", connect, connect)
	resp, err := http.ReadResponse(bufio.NewReader(conn), &http.Request{Method: http.MethodConnect})
	if err != nil {
		t.Errorf("%s opens a tunnel to %s: %v", from, connect, err)
		return
	}
	if resp.StatusCode != http.StatusOK {
		_ = resp.Body.Close() // only its status was asked for
		return
	}
	if err := tls.Client(conn, &tls.Config{ServerName: sni, InsecureSkipVerify: true}).HandshakeContext(t.Context()); err == nil {
		t.Errorf("%s reaches %s through a tunnel to %s", from, sni, connect)
	}
}
