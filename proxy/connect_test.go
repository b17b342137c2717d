package proxy

import (
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"schoolgate/policy"
)

func tunnelBox(t *testing.T, change func(*Config)) (*box, string, *tls.Config) {
	o, trust := secure(t, hello)
	b := newBox(t, func(c *Config) {
		c.ConnectPorts = []uint16{portNum(t, o)}
		c.Resolver.(names)["example.com"] = []string{"127.0.0.1"}
		c.Resolver.(names)["www.example.com"] = []string{"127.0.0.1"}
		if change != nil {
			change(c)
		}
	})
	return b, portOf(t, o), trust
}

func fetch(t *testing.T, conn io.ReadWriter) string {
	t.Helper()
	fmt.Fprint(conn, "GET / HTTP/1.1\r\nHost: example.com\r\nConnection: close\r\n\r\n")
	reply, err := io.ReadAll(conn)
	if err != nil {
		t.Fatal(err)
	}
	return string(reply)
}

func TestTunnel(t *testing.T) {
	b, port, trust := tunnelBox(t, nil)
	conn, resp := b.connect("example.com:" + port)
	if resp.StatusCode != 200 || resp.Header.Get(EventHeader) != "SG-1" {
		t.Fatalf("CONNECT: %d %v", resp.StatusCode, resp.Header)
	}
	if got := fetch(t, tls.Client(conn, trust)); !strings.HasSuffix(got, "hello from the origin") {
		t.Errorf("got %q", got)
	}
	// One event: the SNI is the CONNECT host.
	if all := b.journal.all(); len(all) != 1 || all[0].Door != policy.DoorCONNECT || all[0].Host != "example.com" {
		t.Errorf("events = %+v", all)
	}
}

func TestTunnelNames(t *testing.T) {
	for _, c := range []struct {
		name, connect, sni string
		open               bool
		door               policy.Door // of the last event
		finding            string
	}{
		{"same name", "example.com", "example.com", true, policy.DoorCONNECT, ""},
		{"another allowed name is decided and recorded", "open.test", "example.com", true, policy.DoorTLS, "sni_mismatch"},
		{"an allowed CONNECT with a blocked name", "open.test", "blocked.test", false, policy.DoorTLS, "sni_mismatch"},
		{"a blocked CONNECT with an allowed name", "blocked.test", "example.com", false, policy.DoorCONNECT, ""},
		{"a blocked name below an allowed one", "open.test", "x.blocked.test", false, policy.DoorTLS, "sni_mismatch"},
		{"a name that leads nowhere", "open.test", "nowhere.test", false, policy.DoorTLS, "sni_mismatch"},
		{"a name that leads inside", "open.test", "inside.test", false, policy.DoorTLS, "inside"},
		{"a literal of the intranet", "127.0.0.1", "example.com", true, policy.DoorTLS, "sni_mismatch"},
		{"no name at all", "open.test", "bad name!", false, policy.DoorTLS, "malformed"},
	} {
		t.Run(c.name, func(t *testing.T) {
			b, port, trust := tunnelBox(t, nil)
			conn, resp := b.connect(c.connect + ":" + port)
			if resp.StatusCode == 200 {
				trust.ServerName, trust.InsecureSkipVerify = c.sni, true // the name is the point here
				err := tls.Client(conn, trust).Handshake()
				if (err == nil) != c.open {
					t.Errorf("handshake: %v, want open %v", err, c.open)
				}
			} else if c.open {
				t.Errorf("CONNECT: %d", resp.StatusCode)
			}
			if e := b.journal.last(t); e.Door != c.door || e.Finding != c.finding || (e.Status == 0) != c.open {
				t.Errorf("event = %+v", e)
			}
		})
	}
}

// TestEarlyHello: G7. A ClientHello in the same write as CONNECT is not lost.
func TestEarlyHello(t *testing.T) {
	b, port, trust := tunnelBox(t, nil)
	conn := b.dial()
	early := &withFirstWrite{Conn: conn, before: "CONNECT example.com:" + port + " HTTP/1.1\r\nHost: x\r\n\r\n"}
	if got := fetch(t, tls.Client(early, trust)); !strings.HasSuffix(got, "hello from the origin") {
		t.Errorf("got %q", got)
	}
}

func TestRefusedConnects(t *testing.T) {
	b := newBox(t, nil)
	for _, c := range []struct {
		authority string
		status    int
		reason    policy.Reason
	}{
		{"open.test:22", 403, policy.ReasonProtocol}, // Y9
		{"open.test:80", 403, policy.ReasonProtocol},
		{"open.test:8443", 403, policy.ReasonProtocol}, // Y22
		{"open.test:0", 403, policy.ReasonProtocol},
		{"blocked.test:443", 403, policy.ReasonCategory},
		{"BLOCKED.test.:443", 403, policy.ReasonCategory}, // Y16
		{"93.184.216.34:443", 403, policy.ReasonProtocol}, // Y15
		{"nowhere.test:443", 502, policy.ReasonUncategorised},
	} {
		_, resp := b.connect(c.authority)
		e := b.journal.last(t)
		if resp.StatusCode != c.status || e.Reason != c.reason || resp.Header.Get(EventHeader) != e.ID.String() {
			t.Errorf("CONNECT %s = %d by %s, want %d by %s", c.authority, resp.StatusCode, e.Reason, c.status, c.reason)
		}
	}
}

// TestEmptyPolicyRefuses: G1. A door without a policy tunnels nothing.
func TestEmptyPolicyRefuses(t *testing.T) {
	b := newBox(t, func(c *Config) { c.Decider = &policy.Engine{} })
	for _, a := range []string{"open.test:443", "a.test:443", "127.0.0.1:443"} {
		if _, resp := b.connect(a); resp.StatusCode != http.StatusServiceUnavailable {
			t.Errorf("CONNECT %s: %d, want 503", a, resp.StatusCode)
		}
	}
}

// TestNotTLS: Y9. What is no TLS in a tunnel is recorded and closed.
func TestNotTLS(t *testing.T) {
	for _, first := range []string{"SSH-2.0-OpenSSH_9.2\r\n", "GET / HTTP/1.1\r\n\r\n", "\x05\x01\x00", "\x80\x2e\x01\x00\x02"} {
		b, port, _ := tunnelBox(t, nil)
		conn, _ := b.connect("example.com:" + port)
		io.WriteString(conn, first)
		reply, _ := io.ReadAll(conn)
		e := b.journal.last(t)
		if strings.Contains(string(reply), "hello") || e.Door != policy.DoorTLS || e.Finding != findingNotTLS || e.Verdict != policy.Block {
			t.Errorf("%q: reply %q, event %+v", first, reply, e)
		}
	}
}
