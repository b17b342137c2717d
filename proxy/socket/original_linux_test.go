package socket

import (
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// TestRedirected asks the kernel itself, in a network namespace of its own, for
// where redirected connections were meant to go, IPv4 and IPv6 alike (Y23).
func TestRedirected(t *testing.T) {
	const inside = "SCHOOLGATE_TEST_NETNS"
	if os.Getenv(inside) == "" {
		if os.Getuid() != 0 {
			t.Skip("SKIPPED: redirecting connections needs root")
		}
		cmd := exec.Command("unshare", "--net", os.Args[0], "-test.run=^TestRedirected$", "-test.v")
		cmd.Env = append(os.Environ(), inside+"=1")
		out, err := cmd.CombinedOutput()
		if text := string(out); err != nil && (strings.Contains(text, "not permitted") || strings.Contains(text, "executable file not found")) {
			t.Skipf("SKIPPED: no network namespace with nftables here: %s", out)
		} else if err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		return
	}
	listeners := map[string]net.Listener{}
	for _, addr := range []string{"127.0.0.1:8443", "[::1]:8443", "[::]:9443"} {
		setUp(t)
		l, err := net.Listen("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		listeners[addr] = l
	}
	for _, c := range []struct{ dial, listener, want string }{
		{"127.0.0.9:443", "127.0.0.1:8443", "127.0.0.9:443"},
		{"[2001:db8::7]:443", "[::1]:8443", "[2001:db8::7]:443"},
		{"127.0.0.9:80", "[::]:9443", "127.0.0.9:80"}, // IPv4 on a listener for both
		{"[2001:db8::7]:80", "[::]:9443", "[2001:db8::7]:80"},
		{"127.0.0.1:8443", "127.0.0.1:8443", ""}, // nothing redirected it
	} {
		client, err := net.Dial("tcp", c.dial)
		if err != nil {
			t.Fatal(err)
		}
		conn, err := listeners[c.listener].Accept()
		if err != nil {
			t.Fatal(err)
		}
		got, ok := Original(conn)
		if want, _ := netip.ParseAddrPort(c.want); ok && got != want && c.want != "" || ok != got.IsValid() || !ok && c.want != "" {
			t.Errorf("Original(%s) = %v, %v, want %q", c.dial, got, ok, c.want)
		}
		client.Close()
		conn.Close()
	}
}

// setUp brings loopback up with rules that redirect as the gateway does.
func setUp(t *testing.T) {
	rules := `flush ruleset
table inet t {
chain output {
type nat hook output priority -100;
tcp dport 443 redirect to :8443
tcp dport 80 redirect to :9443
}
}`
	for _, c := range [][]string{{"ip", "link", "set", "lo", "up"}, {"ip", "-6", "addr", "replace", "2001:db8::7/128", "dev", "lo", "nodad"}} {
		if out, err := exec.Command(c[0], c[1:]...).CombinedOutput(); err != nil {
			t.Fatalf("%v: %v: %s", c, err, out)
		}
	}
	nft := exec.Command("nft", "-f", "-")
	nft.Stdin = strings.NewReader(rules)
	if out, err := nft.CombinedOutput(); err != nil {
		t.Fatalf("no nft: %v: %s", err, out)
	}
}
