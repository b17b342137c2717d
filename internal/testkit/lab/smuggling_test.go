package lab

import (
	"context"
	"io"
	"net"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// pairs are requests that two parsers in a row could read in two ways (T7), each
// with one for a blocked site hidden in it or behind it. The proxy's own tests have
// all of them; here they go through the whole box, both doors.
var pairs = []struct{ name, request string }{
	{"CL.TE", "POST / HTTP/1.1\r\nHost: allowed.example\r\nContent-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nG"},
	{"TE.CL", "POST / HTTP/1.1\r\nHost: allowed.example\r\nTransfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n2f\r\nGET / HTTP/1.1\r\nHost: blocked.example\r\n\r\n0\r\n\r\n"},
	{"TE.TE", "POST / HTTP/1.1\r\nHost: allowed.example\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: x\r\n\r\n0\r\n\r\n"},
	{"obs-fold", "GET / HTTP/1.1\r\nHost: allowed.example\r\nX: a\r\n Host: blocked.example\r\n\r\n"},
	{"bare LF", "GET / HTTP/1.1\nHost: allowed.example\n\n"},
	{"two Hosts", "GET / HTTP/1.1\r\nHost: allowed.example\r\nHost: blocked.example\r\n\r\n"},
	{"two lengths", "POST / HTTP/1.1\r\nHost: allowed.example\r\nContent-Length: 0\r\nContent-Length: 44\r\n\r\nGET / HTTP/1.1\r\nHost: blocked.example\r\n\r\n"},
	{"a space before the colon", "POST / HTTP/1.1\r\nHost: allowed.example\r\nContent-Length : 40\r\n\r\nGET / HTTP/1.1\r\nHost: blocked.example\r\n\r\n"},
	{"NUL", "GET / HTTP/1.1\r\nHost: allowed.example\r\nX: a\x00\r\n\r\n"},
}

// exchange sends bytes and gives what comes back until the other side closes, or
// falls silent.
func (h *Host) exchange(addr, request string) (string, error) { return h.speak(addr, request, false) }

// knock is exchange with a client that has said all when it has sent that.
func (h *Host) knock(addr, request string) (string, error) { return h.speak(addr, request, true) }

func (h *Host) speak(addr, request string, all bool) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), longTime)
	defer cancel()
	conn, err := h.Dial(ctx, "tcp", addr)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(longTime)); err != nil {
		return "", err
	}
	if _, err := io.WriteString(conn, request); err != nil {
		return "", err
	}
	if all {
		if err := conn.(*net.TCPConn).CloseWrite(); err != nil {
			return "", err
		}
	}
	reply, err := io.ReadAll(conn)
	if len(reply) > 0 {
		err = nil
	}
	return string(reply), err
}

// nothingIsSmuggled: T7, Y18. Pairs are refused at the transparent door and at the
// proxy; requests sent ahead are judged for themselves; an absolute address beside
// another Host, and an upgrade to h2c, change nothing.
func nothingIsSmuggled(t *testing.T, h *Host, v6 bool) {
	site, proxy := At(hostAllowed, v6, 80), net.JoinHostPort(h.router(v6), "3128")
	together(pairs, func(p struct{ name, request string }) {
		for at, request := range map[string]string{
			site:  p.request,
			proxy: strings.Replace(p.request, " / ", " http://allowed.example/ ", 1),
		} {
			reply, err := h.exchange(at, request)
			if !strings.HasPrefix(reply, "HTTP/1.1 400") || strings.Count(reply, "HTTP/1.") != 1 {
				t.Errorf("%s to %s = %q, %v, want one 400", p.name, at, reply, err)
			}
		}
	})
	reply, err := h.exchange(site, "GET / HTTP/1.1\r\nHost: allowed.example\r\n\r\nGET / HTTP/1.1\r\nHost: blocked.example\r\nConnection: close\r\n\r\n")
	if !strings.HasPrefix(reply, "HTTP/1.1 200") || strings.Count(reply, "HTTP/1.1 403") != 1 {
		t.Errorf("pipelined = %q, %v, want 200 and 403", reply, err)
	}
	reply, err = h.exchange(proxy, "GET http://allowed.example/ HTTP/1.1\r\nHost: blocked.example\r\nConnection: Upgrade, HTTP2-Settings, close\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n")
	if !strings.HasPrefix(reply, "HTTP/1.1 200") || !strings.Contains(reply, originHeader+": "+hostAllowed) {
		t.Errorf("an address beside another Host, and h2c = %q, %v, want the page of the address", reply, err)
	}
	reply, err = h.exchange(proxy, "GET http://user:allowed.example@blocked.example/ HTTP/1.1\r\nHost: allowed.example\r\nX-Forwarded-For: "+h.lab.Staff.IPv4+"\r\nVia: 1.1 allowed.example\r\nConnection: close\r\n\r\n")
	if strings.Contains(reply, originHeader) || !strings.HasPrefix(reply, "HTTP/1.1 40") {
		t.Errorf("userinfo, forged headers = %q, %v, want a refusal", reply, err)
	}
	if n := h.lab.Internet.Count("page " + hostBlocked); n > 0 {
		t.Errorf("the blocked server was asked %d times", n)
	}
}

// Guard runs the firewall's guard, as its unit does, until it is told to stop.
func (g *Gateway) Guard() (stop func()) {
	g.t.Helper()
	program := slices.Concat(firewallPrivileges, endsWithUs, []string{g.binary, "firewall", "guard", "--every", "500ms", "--config", g.Config})
	guard := g.command(context.Background(), "setpriv", program...)
	guard.Stdout, guard.Stderr = &g.log, &g.log
	ended, err := daemon(guard)
	if err != nil {
		g.t.Fatal(err)
	}
	stop = sync.OnceFunc(func() {
		_ = guard.Process.Signal(syscall.SIGTERM) // it may have ended by itself
		<-ended
	})
	g.t.Cleanup(stop)
	for end := time.Now().Add(longTime); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
		ctx, cancel := context.WithTimeout(context.Background(), longTime)
		err := g.command(ctx, "nft", "list", "table", "inet", "schoolgate_tries").Run()
		cancel()
		if _, failed := err.(*exec.ExitError); !failed {
			return stop
		}
	}
	g.t.Fatal("the guard does not watch for tries")
	return nil
}

// whatIsDroppedIsRecorded: S2. What the firewall drops of a device becomes events of
// that device, one for each way, and their kinds are those of an alert.
func whatIsDroppedIsRecorded(t *testing.T, h *Host, v6 bool) {
	client := h.IPv4
	if v6 {
		client = h.IPv6
	}
	kinds := []string{"dns_over_tls", "dns_over_quic", "doh_address", "tunnel", "vpn"}
	_ = h.Probe("tcp", At(hostDoH, v6, 443)) // the other ways have been tried
	missing := kinds
	for end := time.Now().Add(longTime); len(missing) > 0 && time.Now().Before(end); time.Sleep(200 * time.Millisecond) {
		out, err := h.lab.Gateway.AsDoors("audit", "search", "--client", client, "--verdict", "block", "--limit", "0")
		if err != nil {
			t.Fatalf("audit search: %v\n%s", err, out)
		}
		missing = nil
		for _, kind := range kinds {
			switch n := strings.Count(out, "dropped: "+kind); {
			case n == 0:
				missing = append(missing, kind)
			case n > 1:
				t.Errorf("%s of %s: %d events, want one in ten minutes", kind, client, n)
			}
		}
	}
	if len(missing) > 0 {
		t.Errorf("nothing on record of %v by %s", missing, client)
	}
}
