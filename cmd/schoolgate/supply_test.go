package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/miekg/dns"

	"schoolgate/internal/testkit"
)

// feedBox is a box with a publisher of lists on loopback.
type feedBox struct {
	*testkit.Box
	t      *testing.T
	server *testkit.FeedServer
}

func newSupply(t *testing.T, feeds string) *feedBox {
	server := testkit.Feeds(t)
	s := &feedBox{t: t, server: server, Box: testkit.NewBox(t, testkit.BoxOptions{Env: []string{"SSL_CERT_FILE=" + server.CA}})}
	config, err := os.ReadFile(s.Config)
	if err != nil {
		t.Fatal(err)
	}
	s.Write("schoolgate.yaml", string(config)+"lists: {feeds: feeds.yaml}\n")
	s.feeds(feeds)
	return s
}

func (s *feedBox) feeds(text string) {
	s.t.Helper()
	s.Write("feeds.yaml", "feeds:\n"+strings.ReplaceAll(text, "SERVER", s.server.URL))
}

const betsFeed = "  - {name: bets, url: SERVER/bets, format: domains, category: gambling, kind: public, licence: test}\n"

// listed wants a host to be in a category, or in none, of the store in force.
func (s *feedBox) listed(when, host, category string) {
	s.t.Helper()
	out, trouble, err := s.Try("lists", "lookup", host)
	if err != nil || !regexp.MustCompile(`(?m)^`+regexp.QuoteMeta(host)+`: .*`+category).MatchString(out) {
		s.t.Errorf("%s: lists lookup %s: %v, want %s:\n%s%s", when, host, err, category, out, trouble)
	}
}

// F8, T16: whatever comes as a feed's first list is refused in words that say why, or
// taken without what is not a name; the others go on, and so does the store in force.
func TestHostileFirstDownload(t *testing.T) {
	t.Parallel()
	const good = "  - builtin: starter\n" + betsFeed
	s := newSupply(t, good)
	s.server.Set("bets", testkit.GoodList(100))
	s.Run("lists", "fetch")

	// Not names, or names of others: left out, and the rest is taken.
	s.server.Set("odd", testkit.GoodList(100)+"com\nco.uk\n*.com\n\u202egro.elpmaxe\nbbc\u202e.co.uk\n\u0441om\nbb\u0441.co.uk\n\uff42\uff42\uff43.co.uk\nkent.gov.uk\nhidden\u200b.feed.example\n")
	feeds := good + "  - {name: odd, url: SERVER/odd, format: domains, category: gambling, kind: public, licence: test}\n"
	refused := map[string]string{
		"html-200": "a web page", "half-gzip": "truncated", "broken-gzip": "refused as a whole", "zeros-10-gb": "refused as a whole", "names-10-gb": "bomb",
		"endless": "larger than max_size", "too-long": "larger than max_size", "wrong-length": "ended before", "million-random-names": "it has 1000000 entries, and the feed file says about 100",
		"only-top-levels": "no entries", "right-to-left-names": "refused as a whole", "binary": "refused as a whole", "utf-16": "refused as a whole", "empty": "no entries",
		"redirect-private": "inside the school", "redirect-metadata": "inside the school", "redirect-plain": "from https to http", "redirect-loop": "more than 5",
		"slow-drip": "not done within 2s", "status-500": "500", "hangs-up": "EOF", "one-endless-line": "refused as a whole", "huge-headers": "header",
	}
	for name := range refused {
		feeds += fmt.Sprintf("  - {name: %s, url: SERVER/%s, format: domains, category: gambling, kind: public, licence: test, entries: 100, timeout: %s, max_size: 32MiB}\n",
			name, name, map[bool]string{true: "2s", false: "1m"}[name == "slow-drip"])
	}
	s.feeds(feeds)
	out, trouble, err := s.Try("lists", "fetch")
	if exit := (*exec.ExitError)(nil); !errors.As(err, &exit) || exit.ExitCode() != 1 {
		t.Errorf("lists fetch: %v, want exit code 1: %s", err, trouble)
	}
	for name, want := range refused {
		line := regexp.MustCompile(`(?m)^` + name + `: .*$`).FindString(out)
		if !strings.Contains(line, "REFUSED, and there is no copy yet: ") || !strings.Contains(line, want) {
			t.Errorf("%s: want REFUSED and %q: %s", name, want, line)
		}
		if len(line) > 600 {
			t.Errorf("%s: %d letters are no clear word: %s", name, len(line), line)
		}
	}
	if !strings.Contains(out, "bets: unchanged, 100 entries") || !strings.Contains(out, "odd: updated, 10") {
		t.Errorf("lists fetch: %s", out)
	}
	s.listed("the good list", "site-3.feed.example", "gambling")
	for _, host := range []string{"some.com", "bbc.co.uk", "anything.co.uk", "kent.gov.uk"} {
		if out := s.Run("lists", "lookup", host); regexp.MustCompile(`(?m)^ +counts +gambling`).MatchString(out) {
			t.Errorf("%s was listed by what only looks like it, or by a whole suffix:\n%s", host, out)
		}
	}
	if out := s.Run("lists", "status"); strings.Count(out, "RED") < len(refused) {
		t.Errorf("lists status does not show every feed that has no copy as red:\n%s", out)
	}
}

// The command that fetches is killed at random moments, in a download, a build or a
// publication: there is always a store, and the next fetch ends what was begun.
func TestKilledFetch(t *testing.T) {
	t.Parallel()
	s := newSupply(t, betsFeed)
	text := testkit.GoodList(5000)
	var list atomic.Value // of a string: what is published now
	list.Store(text)
	s.server.Handle("bets", func(w http.ResponseWriter, _ *http.Request) {
		for part := range slicesOf(list.Load().(string), 8) { // slowly, so that a kill may fall into it
			_, _ = io.WriteString(w, part) // a client that was killed reads no more
			w.(http.Flusher).Flush()
			time.Sleep(10 * time.Millisecond)
		}
	})
	began := time.Now()
	s.Run("lists", "fetch")
	took := time.Since(began)
	rng := rand.New(rand.NewPCG(uint64(began.UnixNano()), 0))
	killed := 0
	for round := range 8 {
		text += fmt.Sprintf("round-%d.feed.example\n", round)
		list.Store(text)
		after := time.Duration(rng.Int64N(int64(took)))
		cmd := s.Command("lists", "fetch")
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		ended := make(chan error, 1)
		go func() { ended <- cmd.Wait() }()
		select {
		case <-time.After(after):
			_ = cmd.Process.Kill() // it may just have ended
			if <-ended != nil {
				killed++
			}
		case err := <-ended:
			if err != nil {
				t.Fatal(err)
			}
		}
		s.listed(fmt.Sprintf("killed after %s", after), "site-7.feed.example", "gambling")
	}
	if killed < 3 {
		t.Errorf("only %d of 8 were killed in time", killed)
	}
	s.Run("lists", "fetch")
	s.listed("at the end", "round-7.feed.example", "gambling")
	if left, err := filepath.Glob(filepath.Join(s.Dir, "data", "feeds", "*", "*.part")); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v %v", left, err)
	}
	if out := s.Run("lists", "status"); strings.Contains(strings.ToLower(out), "damaged") {
		t.Error(out)
	}
}

// slicesOf cuts a text into n parts.
func slicesOf(text string, n int) func(func(string) bool) {
	return func(yield func(string) bool) {
		for i := range n {
			if !yield(text[len(text)*i/n : len(text)*(i+1)/n]) {
				return
			}
		}
	}
}

// The box that fetches by itself, on its schedule and from a slow publisher, is
// killed while it does: it starts again, with a store, and ends what was begun.
func TestKilledWhileItFetches(t *testing.T) {
	t.Parallel()
	const lists = 12 // at addresses of their own, so that the first look at one of them comes soon
	asked := make(chan string, 1000)
	text := func(round string) string {
		var b strings.Builder
		for i := range lists {
			fmt.Fprintf(&b, "  - {name: bets-%d, url: 'SERVER/bets-%d?round=%s', format: domains, category: gambling, kind: public, licence: test}\n", i, i, round)
		}
		return b.String()
	}
	s := newSupply(t, text("0"))
	for i := range lists {
		s.server.Handle(fmt.Sprintf("bets-%d", i), func(w http.ResponseWriter, r *http.Request) {
			asked <- r.URL.Query().Get("round")
			for part := range slicesOf(testkit.GoodList(2000)+fmt.Sprintf("list-%d-round-%s.feed.example\n", i, r.URL.Query().Get("round")), 5) {
				_, _ = io.WriteString(w, part) // the box may be dead
				w.(http.Flusher).Flush()
				time.Sleep(20 * time.Millisecond)
			}
		})
	}
	s.Run("lists", "fetch")
	rng := rand.New(rand.NewPCG(uint64(time.Now().UnixNano()), 0))
	for round := 1; round <= 4; round++ {
		s.feeds(text(fmt.Sprint(round)))
		s.Start()
		for now := ""; now != fmt.Sprint(round); { // until it asks for this round's list
			now = <-asked
		}
		time.Sleep(time.Duration(rng.Int64N(int64(600 * time.Millisecond)))) // then at any moment
		s.Kill()
		s.listed("killed while it fetched", "site-7.feed.example", "gambling")
	}
	s.Start()
	defer s.Stop()
	if r, err := s.Ask("127.0.0.1", "udp", "site-7.feed.example", dns.TypeA); err != nil || !testkit.Blocked(r) {
		t.Errorf("after the last start: %v %v", r, err)
	}
	s.Run("lists", "fetch")
	s.listed("at the end", "list-11-round-4.feed.example", "gambling")
}

// A person at a terminal sees how far a download is; a pipe gets words and no bars.
func TestProgressOfAFetch(t *testing.T) {
	t.Parallel()
	s := newSupply(t, betsFeed)
	list := testkit.GoodList(20_000)
	var half sync.WaitGroup
	half.Add(1)
	s.server.Handle("bets", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", fmt.Sprint(len(list)))
		_, _ = io.WriteString(w, list[:len(list)/2])
		w.(http.Flusher).Flush()
		half.Wait() // until half of it has been seen
		_, _ = io.WriteString(w, list[len(list)/2:])
	})
	screen, far := terminal(t)
	cmd := s.Command("lists", "fetch")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = far, far, far
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if err := far.Close(); err != nil {
		t.Fatal(err)
	}
	var seen bytes.Buffer
	waiting := true
	block := make([]byte, 4096)
	for {
		n, err := screen.Read(block)
		seen.Write(block[:n])
		if waiting && regexp.MustCompile(`bets +\S+ [KM]iB / \S+ [KM]iB +\[=+>-+\]`).Match(seen.Bytes()) {
			waiting = false
			half.Done()
		}
		if err != nil {
			break // EIO: the other end is closed
		}
	}
	if waiting {
		half.Done()
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("lists fetch on a terminal: %v", err)
	}
	if waiting || !strings.Contains(seen.String(), "bets: updated, 20000 entries") {
		t.Errorf("on a terminal: %q", seen.String())
	}
	t.Logf("on a terminal:\n%s", seen.String())

	out, trouble, err := s.Try("lists", "fetch", "--force")
	if err != nil || trouble != "bets: fetching\n" || strings.ContainsAny(out, "\x1b\r[") {
		t.Errorf("in a pipe: %v\n%q\n%q", err, out, trouble)
	}
}
