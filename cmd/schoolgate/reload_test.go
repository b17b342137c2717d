package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/miekg/dns"

	"schoolgate/internal/testkit"
)

// reloads is a school whose policy and lists change while children work.
type reloads struct {
	t      *testing.T
	box    *testkit.Box
	origin string // a web server's port
	asked  atomic.Int64
}

// While both doors are under load, policy and store are swapped by SIGHUP and by
// the command, and mistakes are refused. No question goes without an answer, no
// request fails, and what was put in force is in force when the command returns.
func TestReloadUnderLoadLosesNothing(t *testing.T) { // fault F17
	origin := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, "a lesson")
	}))
	defer origin.Close()
	upstream := testkit.NewUpstream(t, "always.example. 60 IN A 127.0.0.1", "flip.example. 60 IN A 127.0.0.1", "fresh.example. 60 IN A 127.0.0.1")
	b := testkit.NewBox(t, testkit.BoxOptions{Upstream: upstream.Addr, Program: underDetector})
	b.Start()
	defer b.Stop()
	r := &reloads{t: t, box: b, origin: origin.URL[strings.LastIndex(origin.URL, ":"):]}

	ctx, finish := context.WithCancel(t.Context())
	var load sync.WaitGroup
	defer func() { finish(); load.Wait() }()
	for w := range 3 {
		from := fmt.Sprintf("127.0.1.%d", w+1)
		load.Go(func() { r.ask(ctx, from, "udp") })
		load.Go(func() { r.ask(ctx, from, "tcp") })
		load.Go(func() { r.browse(ctx, from) })
	}
	r.changes()
	finish()
	load.Wait()
	if n := r.asked.Load(); n < 200 {
		t.Errorf("%d requests answered: too few to prove anything", n)
	}
	if out := b.Run("audit", "verify"); !strings.Contains(out, "verified") {
		t.Errorf("audit verify: %s", out)
	}
}

// changes are those of an eventful morning.
func (r *reloads) changes() {
	t, b := r.t, r.box
	closed := testkit.SchoolPolicy
	open := strings.Replace(closed, "exceptions:\n", "exceptions:\n  - {block: flip.example, for: everyone, reason: a test, by: a test}\n", 1)
	broken := strings.Replace(closed, "gambling", "gamling", 1)
	refused, done := 0, 0
	for round := range 3 {
		b.Write("policy.yaml", open)
		b.Run("reload")
		done++
		r.want("flip.example", "block")

		b.Write("policy.yaml", broken)
		b.Signal(syscall.SIGHUP)
		refused++
		said(t, b, "reload refused, keeping the last good state", refused)
		r.want("flip.example", "block")
		if _, trouble, err := b.Try("reload"); err == nil || !strings.Contains(trouble, `unknown category "gamling" (did you mean "gambling"?)`) {
			t.Errorf("reload of a broken policy: %v, %s", err, trouble)
		}

		b.Write("policy.yaml", closed)
		b.Signal(syscall.SIGHUP)
		done++
		said(t, b, "msg=reloaded", done)
		r.want("flip.example", "allow")

		listed := map[bool]string{true: "fresh.example", false: "other.example"}[round%2 == 0]
		b.Write("list.txt", listed+"\n")
		b.Write("feeds.yaml", "feeds:\n  - {name: mine, path: list.txt, format: domains, category: gambling, kind: curated, licence: ours, date: 2026-08-01}\n")
		b.Run("lists", "build", "--feeds", b.Dir+"/feeds.yaml")
		done++
		r.want("fresh.example", map[bool]string{true: "block", false: "allow"}[round%2 == 0])
	}
	b.Run("lists", "rollback", "3") // that of the second round
	r.want("fresh.example", "allow")

	// What a reload leaves alone is told each time, not only the first.
	box, err := os.ReadFile(b.Dir + "/schoolgate.yaml")
	if err != nil {
		t.Fatal(err)
	}
	b.Write("schoolgate.yaml", strings.Replace(string(box), "dns: {", "dns: {burst: 4999, ", 1))
	for range 2 {
		if out, want := b.Run("reload"), "not taken up before a restart: changes of dns"; !strings.Contains(out, want) {
			t.Errorf("reload says %q, want %q in it", out, want)
		}
	}
	said(t, b, "not taken up before a restart", 2)
}

// want asks both doors for a verdict.
func (r *reloads) want(host, want string) {
	r.t.Helper()
	answer, err := r.box.Ask("127.0.0.1", "udp", host, dns.TypeA)
	if err != nil {
		r.t.Fatalf("%s: %v", host, err)
	}
	if got := verdict(answer); got != want {
		r.t.Errorf("%s by DNS = %s, want %s", host, got, want)
	}
	status := map[string]int{"block": http.StatusForbidden, "allow": http.StatusOK}[want]
	if got := r.get(r.box.Client("127.0.0.1"), host); got != status {
		r.t.Errorf("http://%s/ = %d, want %d", host, got, status)
	}
}

// get gives the status of a page, 0 if the request failed.
func (r *reloads) get(client *http.Client, host string) int {
	resp, err := client.Get("http://" + host + r.origin + "/")
	if err != nil {
		r.t.Errorf("http://%s/: %v", host, err)
		return 0
	}
	defer resp.Body.Close()
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		r.t.Errorf("http://%s/: %v", host, err)
	}
	return resp.StatusCode
}

func (r *reloads) ask(ctx context.Context, from, network string) {
	for ; ctx.Err() == nil; r.asked.Add(1) {
		for host, want := range map[string]string{"always.example": "allow", "blocked.example": "block"} {
			answer, err := r.box.Ask(from, network, host, dns.TypeA)
			if err != nil {
				r.t.Errorf("%s over %s: %v", host, network, err)
				return
			}
			if got := verdict(answer); got != want {
				r.t.Errorf("%s over %s = %s, want %s", host, network, got, want)
				return
			}
		}
	}
}

func (r *reloads) browse(ctx context.Context, from string) {
	client := r.box.Client(from)
	for ; ctx.Err() == nil; r.asked.Add(1) {
		for host, want := range map[string]int{"always.example": 200, "blocked.example": 403} {
			if got := r.get(client, host); got != want {
				r.t.Errorf("http://%s/ = %d, want %d", host, got, want)
				return
			}
		}
	}
}
