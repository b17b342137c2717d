package proxy

import (
	"net"
	"net/http"
	"sync"
	"testing"
	"time"

	"schoolgate/internal/testkit"
)

// TestSilentOrigin: when the line to an origin has silently died, the connection kept to
// it is found dead, and what is asked then goes by a new one.
func TestSilentOrigin(t *testing.T) {
	t.Parallel()
	g := newGlass(t, hello, func(c *Config) { c.Limits.OriginReply = 500 * time.Millisecond })
	line := testkit.NewLine(t, g.origin.Listener.Addr().String())
	_, port, err := net.SplitHostPort(line.Addr)
	if err != nil {
		t.Fatal(err)
	}
	g.server.connectPorts = append(g.server.connectPorts, portNumber(port))
	device := g.device(g.school, true)
	ask := func() string {
		resp, err := device.Get("https://open.test:" + port + "/")
		return bodyOf(t, resp, err)
	}
	const page = "hello from the origin"
	if got := ask(); got != page {
		t.Fatal(got)
	}
	line.Cut()
	got := ""
	for end := time.Now().Add(10 * time.Second); got != page && time.Now().Before(end); {
		got = ask()
	}
	if got != page || line.Opened() != 2 {
		t.Errorf("%q by %d connections, want the page by the second", got, line.Opened())
	}
}

// TestSilentOriginHTTP1: the same with HTTP/1.1, of whose connections there are several:
// when one is found dead, those kept beside it are not tried one after the other.
func TestSilentOriginHTTP1(t *testing.T) {
	t.Parallel()
	const several = 5
	var together sync.WaitGroup
	together.Add(several)
	o := origin(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/together" {
			together.Done()
			together.Wait()
		}
		hello(w, r)
	})
	line := testkit.NewLine(t, o.Listener.Addr().String())
	_, port, err := net.SplitHostPort(line.Addr)
	if err != nil {
		t.Fatal(err)
	}
	b := newBox(t, func(c *Config) {
		c.Limits.OriginReply = 200 * time.Millisecond
		c.HTTPPorts = []uint16{portNumber(port)}
	})
	site := "http://open.test:" + port
	var all sync.WaitGroup
	for range several {
		all.Go(func() {
			if _, got := b.get(site + "/together"); got != "hello from the origin" {
				t.Error(got)
			}
		})
	}
	all.Wait()
	line.Cut()
	if resp, got := b.get(site + "/"); resp.StatusCode != http.StatusGatewayTimeout {
		t.Errorf("by a dead connection: %s %q", resp.Status, got)
	}
	if resp, got := b.get(site + "/"); resp.StatusCode != http.StatusOK || line.Opened() != several+1 {
		t.Errorf("after it: %s %q by %d connections, want the page by one that is new", resp.Status, got, line.Opened())
	}
}
