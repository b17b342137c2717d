package proxy

import (
	"net"
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
