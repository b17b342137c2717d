package proxy

import (
	"context"
	"crypto/tls"
	"io"
	"net/http"
	"net/netip"
	"os"
	"strings"
	"sync"
	"testing"

	"schoolgate/configs"
	"schoolgate/policy"
)

// noLists is a store that holds nothing; everybody is a Year 5 child.
type noLists struct{}

func (noLists) Classify(policy.Host, string) policy.Facts { return policy.Facts{} }

func (noLists) Identify(addr netip.Addr) policy.Client {
	return policy.Client{Addr: addr, Group: "year5"}
}

// everywhere resolves every name to the origin of the test, and remembers which
// names were asked for.
type everywhere struct {
	mu    sync.Mutex
	asked []string
}

func (e *everywhere) LookupHost(_ context.Context, name string) ([]netip.Addr, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.asked = append(e.asked, name)
	return []netip.Addr{netip.MustParseAddr("127.0.0.1")}, nil
}

func (e *everywhere) take() string {
	e.mu.Lock()
	defer e.mu.Unlock()
	list := strings.Join(e.asked, " ")
	e.asked = nil
	return list
}

// engines are the hosts of REQUIREMENTS 4.1 and 4.2 with what they are to be dialled
// as for a Year 5 child, "" for the host itself.
func engines(t *testing.T) map[string]string {
	t.Helper()
	all := map[string]string{
		"www.bing.com": "strict.bing.com", "bing.com": "strict.bing.com", "edgeservices.bing.com": "strict.bing.com",
		"duckduckgo.com": "safe.duckduckgo.com", "www.duckduckgo.com": "safe.duckduckgo.com", "start.duckduckgo.com": "safe.duckduckgo.com",
		"duck.com": "safe.duckduckgo.com", "www.duck.com": "safe.duckduckgo.com",
		"search.brave.com": "forcesafe.search.brave.com", "www.ecosia.org": "strict-safe-search.ecosia.org", "pixabay.com": "safesearch.pixabay.com",
		"www.youtube.com": "restrict.youtube.com", "m.youtube.com": "restrict.youtube.com", "youtubei.googleapis.com": "restrict.youtube.com",
		"youtube.googleapis.com": "restrict.youtube.com", "www.youtube-nocookie.com": "restrict.youtube.com",
		// Left alone: accounts, Classroom and Drive would break.
		"accounts.google.com": "", "classroom.google.com": "", "drive.google.com": "", "rr1.googlevideo.com": "", "i.ytimg.com": "", "www.gstatic.com": "",
		"maps.google.co.uk": "", "www.google.com.example.org": "",
	}
	domains, err := os.ReadFile("../configs/sample/google-domains.txt")
	if err != nil {
		t.Fatal(err)
	}
	google := 0
	for line := range strings.Lines(string(domains)) {
		if d := strings.TrimSpace(line); d != "" && d[0] != '#' {
			all["www."+d] = "forcesafesearch.google.com"
			google++
		}
	}
	if google < 180 {
		t.Fatalf("%d domains of Google, want all of them", google)
	}
	return all
}

// TestSafeHostsUnseen: issue 4 item 6. Nothing is looked into; every search engine
// and YouTube is dialled at its safe host by CONNECT and by the transparent door, and
// the TLS name passes as the browser wrote it.
func TestSafeHostsUnseen(t *testing.T) {
	cfg, problems := configs.Load("")
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	engine := &policy.Engine{}
	engine.Swap(&policy.Snapshot{Policy: cfg.School.Policy, Lists: noLists{}, Clients: noLists{}})
	var mu sync.Mutex
	name := ""
	o, trust := secure(t, func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "reached") })
	o.TLS.GetConfigForClient = func(h *tls.ClientHelloInfo) (*tls.Config, error) {
		mu.Lock()
		defer mu.Unlock()
		name = h.ServerName
		return nil, nil
	}
	resolver := &everywhere{}
	port := portOf(t, o)
	change := func(c *Config) {
		c.Decider, c.Resolver, c.ConnectPorts = engine, resolver, []uint16{portNum(t, o)}
	}
	explicit := newBox(t, change)
	transparent := newBox(t, func(c *Config) {
		change(c)
		meantFor("198.51.100.7:" + port)(c)
		c.Transparent.HTTP = nil
	})
	for host, safe := range engines(t) {
		if safe == "" {
			safe = host
		}
		for door, b := range map[string]*box{"CONNECT": explicit, "transparent": transparent} {
			b.server.origins.Forget() // what was found for the host before
			conn := b.dial()
			if door == "CONNECT" {
				conn.Close()
				var resp *http.Response
				if conn, resp = b.connect(host + ":" + port); resp.StatusCode != 200 {
					t.Errorf("%s %s: %d", door, host, resp.StatusCode)
					continue
				}
			}
			c := tls.Client(conn, &tls.Config{RootCAs: trust.RootCAs, InsecureSkipVerify: true, ServerName: host}) // whose name arrives is the point
			if err := c.Handshake(); err != nil {
				t.Errorf("%s %s: %v", door, host, err)
				continue
			}
			own := c.ConnectionState().PeerCertificates[0].Equal(o.Certificate())
			mu.Lock()
			if asked := resolver.take(); asked != safe || name != host || !own {
				t.Errorf("%s %s: dialled %q, want %q; the origin saw the name %q, its own certificate %t", door, host, asked, safe, name, own)
			}
			mu.Unlock()
			c.Close()
		}
	}
}
