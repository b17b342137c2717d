package proxy

import (
	"encoding/csv"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"os"
	"strings"
	"testing"

	"schoolgate/configs"
	"schoolgate/policy"
	"schoolgate/proxy/pagescan"
)

// somebody is every client as one of a group, and may be cut off.
type somebody struct {
	noLists
	group  string
	cutOff bool
}

func (s somebody) Identify(addr netip.Addr) policy.Client {
	return policy.Client{Addr: addr, Group: s.group, Quarantined: s.cutOff}
}

// TestCaptiveChecks: 4.6. What a device asks to see whether there is an internet is
// answered by its origin and unaltered, whoever asks and whatever their profile: or
// the device takes the network for broken and looks for another.
func TestCaptiveChecks(t *testing.T) {
	cfg, problems := configs.Load("")
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	set, err := pagescan.Shipped()
	if err != nil {
		t.Fatal(err)
	}
	const success = "<HTML><HEAD><TITLE>Success</TITLE></HEAD><BODY>Success</BODY></HTML>\n"
	o := origin(t, func(w http.ResponseWriter, r *http.Request) {
		if strings.Contains(r.URL.Path, "204") {
			w.WriteHeader(http.StatusNoContent)
			return
		}
		w.Header().Set("Content-Type", "text/html")
		fmt.Fprintf(w, "%s%s %s", success, r.Host, r.URL)
	})
	f, err := os.Open("../configs/sample/captive-portal-checks.csv")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	rows, err := csv.NewReader(f).ReadAll()
	if err != nil || len(rows) < 20 {
		t.Fatalf("%d rows, %v", len(rows), err)
	}
	mustSignIn := cfg.School.Spec
	mustSignIn.Profiles = append([]policy.Profile(nil), mustSignIn.Profiles...)
	for i := range mustSignIn.Profiles {
		mustSignIn.Profiles[i].SignIn, mustSignIn.Profiles[i].InspectAll = policy.SignInRequired, true
	}
	strict, wrong := policy.Compile(mustSignIn)
	if len(wrong) > 0 {
		t.Fatal(wrong)
	}
	for who, snapshot := range map[string]*policy.Snapshot{
		"a Year 5 child":                  {Policy: cfg.School.Policy, Clients: somebody{group: "year5"}},
		"a device nobody knows":           {Policy: cfg.School.Policy, Clients: somebody{}},
		"a device cut off":                {Policy: cfg.School.Policy, Clients: somebody{group: "year5", cutOff: true}},
		"somebody who must sign in first": {Policy: strict, Clients: somebody{group: "year5"}},
	} {
		snapshot.Lists = noLists{}
		engine := &policy.Engine{}
		engine.Swap(snapshot)
		for _, door := range []string{"explicit", "transparent"} {
			b := newBox(t, func(c *Config) {
				if door == "transparent" {
					meantFor("198.51.100.7:" + portOf(t, o))(c)
				}
				c.Decider, c.Resolver, c.Phrases, c.HTTPPorts = engine, &everywhere{}, set, []uint16{portNum(t, o)}
			})
			for _, row := range rows[1:] {
				host, path := row[0], row[1]
				if path == "" {
					continue // a look-up, and no page
				}
				uri := path
				if door == "explicit" {
					uri = "http://" + host + ":" + portOf(t, o) + path
				}
				conn := b.dial()
				fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n", uri, host)
				reply, err := io.ReadAll(conn)
				conn.Close()
				want := "\r\n\r\n" + success + host + ":" + portOf(t, o) + " " + path
				if strings.Contains(path, "204") {
					want = "HTTP/1.1 204 No Content\r\n"
				}
				if err != nil || !strings.Contains(string(reply), want) {
					t.Errorf("%s, %s door, %s%s: %q, %v", who, door, host, path, reply, err)
				}
			}
			b.stop()
		}
	}
}

// TestSettings: issue 4 item 7. Browsers are told of the proxy that suits their
// device, and never of a way round it (4.6).
func TestSettings(t *testing.T) {
	b, _, client := newSigning(t, policy.SignInRequired, "80")
	_ = client
	secure := addrPort(b.server.Addrs()[1]).Port()
	plain := addrPort(b.server.Addrs()[0]).Port()
	ask := func(b *box, host, path string) string {
		return b.raw("GET " + path + " HTTP/1.1\r\nHost: " + host + "\r\nConnection: close\r\n\r\n")
	}
	inside := fmt.Sprintf("FindProxyForURL(url, host) { return \"HTTPS 127.0.0.1:%d\"; }\n", secure)
	for _, path := range []string{"/proxy.pac", "/wpad.dat"} {
		reply := ask(b, "filter.test", path)
		if !strings.Contains(reply, inside) || !strings.Contains(reply, "Content-Type: application/x-ns-proxy-autoconfig\r\n") || strings.Contains(reply, "DIRECT") {
			t.Errorf("where people sign in, %s: %q", path, reply)
		}
	}
	b.server.name = hosts("filter.test")[0]
	if reply := ask(b, "x", "/proxy.pac"); !strings.Contains(reply, fmt.Sprintf("HTTPS filter.test:%d", secure)) {
		t.Errorf("by name: %q", reply)
	}
	b.server.decider = b.school // nobody signs in
	if reply := ask(b, "x", "/proxy.pac"); !strings.Contains(reply, fmt.Sprintf("PROXY 127.0.0.1:%d", plain)) {
		t.Errorf("where nobody signs in: %q", reply)
	}
	// What a browser looks for by itself is ours to answer, whoever the name is said to
	// be, at the transparent door and at the sinkhole.
	for _, change := range []func(*Config){
		func(c *Config) { c.Transparent.HTTP, c.Listen = []string{"127.0.0.1:0"}, []string{"127.0.0.1:0"} },
		func(c *Config) { c.PageListen = []string{"127.0.0.1:0"} },
	} {
		b := newBox(t, change)
		b.addr = b.server.Addrs()[1].String()
		want := fmt.Sprintf("PROXY 127.0.0.1:%d", addrPort(b.server.Addrs()[0]).Port())
		for _, host := range []string{"wpad", "WPAD.school.internal", "wpad.evil.test", "wpad:80"} {
			if reply := ask(b, host, "/wpad.dat"); !strings.Contains(reply, want) {
				t.Errorf("%s: %q, want %s", host, reply, want)
			}
		}
		if n := len(b.journal.all()); n != 0 {
			t.Errorf("%d events for settings", n)
		}
	}
}
