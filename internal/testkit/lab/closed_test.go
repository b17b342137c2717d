package lab

import (
	"context"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// D5: while the daemon is down nothing is open, not even what it would serve; once
// it is back, all is as before.
func TestDaemonDown(t *testing.T) {
	l := New(t)
	all := []*Host{l.Pupil, l.Staff, l.Guest}
	l.Gateway.Kill()
	each(t, all, func(t *testing.T, h *Host, v6 bool) {
		for _, port := range []int{80, 443} {
			if got := h.Probe("tcp", At(hostAllowed, v6, port)); got != "refused" {
				t.Errorf("tcp/%d = %s, want refused", port, got)
			}
		}
		for _, server := range []string{hostLiar, hostResolver} {
			if got := h.Probe("udp", At(server, v6, 53)); got != "refused" {
				t.Errorf("udp/53 of .%s = %s, want refused", server, got)
			}
		}
		waysAreShut(t, h, v6)
	})
	if n := l.Internet.Count("page " + hostAllowed); n > 0 {
		t.Errorf("%d pages came from the internet", n)
	}
	l.Gateway.Start()
	each(t, all, browsingWithoutSettings)
}

// D5, boot order: what deploy/closed.nft leaves open before there is a
// configuration is nothing.
func TestClosedBeforeConfiguration(t *testing.T) {
	l := New(t)
	l.Gateway.Kill()
	l.Gateway.Open()
	l.Gateway.run("nft", "-f", l.Gateway.repository("deploy/closed.nft"))
	each(t, []*Host{l.Pupil, l.Staff}, func(t *testing.T, h *Host, v6 bool) {
		together(append(waysRound(), way{row: "web", network: "tcp", host: hostAllowed, port: 443}), func(w way) {
			if got := w.try(h, v6); got != "silent" {
				t.Errorf("%v = %s, want silence", w, got)
			}
		})
		if got := h.Probe("tcp", h.router(v6)+":22"); got == "open" {
			t.Errorf("the box's port 22 = %s", got)
		}
	})
	l.Gateway.Apply() // it replaces the closed table
	l.Gateway.Start()
	each(t, []*Host{l.Pupil}, browsingWithoutSettings)
}

// F22: rules that are gone or changed are told by check, and put back by guard
// while the school browses on.
func TestRulesGone(t *testing.T) {
	l := New(t)
	for _, test := range []struct{ promise, command, want string }{
		{"flushed", "flush ruleset", "absent: table inet schoolgate"},
		{"a way opened", "insert rule inet schoolgate forward accept", "foreign: chain forward: accept"},
		{"DNS let go", "flush chain inet schoolgate turned", "missing: chain turned: "},
	} {
		l.Gateway.run("nft", test.command)
		out, err := l.Gateway.Schoolgate("firewall", "check")
		if err == nil || !strings.Contains(out, test.want) || !strings.Contains(out, "schoolgate firewall apply") {
			t.Errorf("%s: check = %v, want exit 1 with %q:\n%s", test.promise, err, test.want, out)
		}
		if out, err := l.Gateway.Schoolgate("firewall", "apply"); err != nil || !strings.Contains(out, test.want) {
			t.Errorf("%s: apply = %v, want what was different:\n%s", test.promise, err, out)
		}
		if out, err := l.Gateway.Schoolgate("firewall", "check"); err != nil {
			t.Errorf("%s: check after apply = %v\n%s", test.promise, err, out)
		}
	}
	l.guarded(t)
}

// guarded flushes the rules under a running guard.
func (l *Lab) guarded(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	guard := l.Gateway.command(ctx, l.Gateway.binary, "firewall", "guard", "--every", "200ms", "--config", l.Gateway.Config)
	said := &journal{}
	guard.Stderr = said
	guard.Cancel = func() error { return guard.Process.Signal(syscall.SIGTERM) }
	ended, err := daemon(guard)
	if err != nil {
		t.Fatal(err)
	}
	l.Gateway.run("nft", "flush ruleset")
	restored := false
	for end := time.Now().Add(longTime); !restored && time.Now().Before(end); {
		_, err := l.Gateway.Schoolgate("firewall", "check")
		restored = err == nil
	}
	if !restored || !strings.Contains(said.String(), "firewall rules were different and have been restored") {
		t.Errorf("restored %t, the guard said:\n%s", restored, said)
	}
	waysAreShut(t, l.Pupil, false)
	browsingWithoutSettings(t, l.Pupil, true)
	cancel()
	if err := <-ended; err != nil && ctx.Err() == nil {
		t.Errorf("the guard ended with %v", err)
	}
}

// A pupil who was let through once is not let through any more when the rule goes.
func TestRuleTakenAway(t *testing.T) {
	l := New(t)
	conn, err := l.Staff.Dial(t.Context(), "tcp", At(hostMail, false, 993))
	if err != nil {
		t.Fatal(err)
	}
	conn.Close()
	l.Gateway.write("schoolgate.yaml", strings.Replace(config, "    - {ports: [tcp/993]", "    # - {ports: [tcp/993]", 1))
	out, err := l.Gateway.Schoolgate("firewall", "apply")
	if err != nil || !strings.Contains(out, "foreign: chain allowed: ") || !strings.Contains(out, "setting: net/ipv4/ip_forward is 1, want 0") {
		t.Errorf("apply = %v, want the rule and forwarding gone:\n%s", err, out)
	}
	if got := l.Staff.Probe("tcp", At(hostMail, false, 993)); got != "silent" {
		t.Errorf("the mail server = %s, want silence", got)
	}
	// Without forwarding in the kernel the doors serve all the same, and IPv6
	// devices keep their route.
	for _, v6 := range []bool{false, true} {
		status, origin, _, err := Get(l.Staff.Browser(v6, nil), "https://allowed.example/")
		if err != nil || status != http.StatusOK || origin != hostAllowed {
			t.Errorf("IPv6 %t: %d by %q, %v, want the page", v6, status, origin, err)
		}
		waysAreShut(t, l.Staff, v6)
	}
	if _, err := l.Staff.Ask("udp", At(hostLiar, true, 53), "allowed.example", dns.TypeAAAA); err != nil {
		t.Errorf("DNS: %v", err)
	}
}
