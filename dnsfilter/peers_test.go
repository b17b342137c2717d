package dnsfilter

import (
	"context"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/miekg/dns"
	"github.com/prometheus/client_golang/prometheus"

	"schoolgate/internal/testkit"
	"schoolgate/policy"
)

// TestPeers is `make bench-dns`: this door beside dnsdist and unbound from Debian
// with the same list, the same questions and the same load, in turns. It is run
// by bench/bench-dns.sh, and skipped otherwise: it measures, it proves nothing.
func TestPeers(t *testing.T) {
	if os.Getenv("SCHOOLGATE_BENCH_DNS") == "" {
		t.Skip("SKIPPED: a measurement, see make bench-dns")
	}
	listed := 230_000
	if n, err := strconv.Atoi(os.Getenv("SCHOOLGATE_BENCH_LISTED")); err == nil {
		listed = n
	}
	cores := os.Getenv("SCHOOLGATE_BENCH_CORES") // of the server: "0", or "0,1" with the load on the same
	if cores == "" {
		cores = "0"
	}
	dir := t.TempDir()
	u := testkit.NewUpstream(t)
	for i := range benchAllowed {
		u.Add(t, fmt.Sprintf("www%d.allowed.example. 86400 IN A 203.0.113.1", i))
	}
	queries := writeQueries(t, dir, listed)
	peers := []peer{ours(listed, u.Addr), dnsdist(t, dir, u.Addr, listed), unbound(t, dir, u.Addr, listed)}
	figures := map[string][]figure{}
	for round := range 4 { // the first warms up
		for _, p := range peers {
			f := p.measure(t, queries, cores)
			if round > 0 {
				figures[p.name] = append(figures[p.name], f)
			}
		}
	}
	base := median(figures["dnsdist"])
	for _, p := range peers {
		m := median(figures[p.name])
		t.Logf("%-10s %8.0f queries/s  %5.2f µs CPU a query  %5.0f MiB  %.2f x dnsdist", p.name, m.rate, m.cpu, m.memory, m.rate/base.rate)
	}
}

const benchAllowed = 5000

type figure struct{ rate, cpu, memory float64 }

func median(f []figure) figure {
	if len(f) == 0 {
		return figure{rate: 1}
	}
	slices.SortFunc(f, func(a, b figure) int { return int(a.rate - b.rate) })
	return f[len(f)/2]
}

func listedName(i int) string { return fmt.Sprintf("host%d.listed%d.example", i, i%977) }

// writeQueries writes questions, 70 % of them for allowed names.
func writeQueries(t *testing.T, dir string, listed int) string {
	r := rand.New(rand.NewPCG(7, 8))
	var b strings.Builder
	for range 200_000 {
		if r.IntN(10) < 7 {
			fmt.Fprintf(&b, "www%d.allowed.example A\n", r.IntN(benchAllowed))
		} else {
			fmt.Fprintf(&b, "%s A\n", listedName(r.IntN(listed)))
		}
	}
	return write(t, dir, "queries", b.String())
}

func write(t *testing.T, dir, name, text string) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// peer is a server to start and to ask.
type peer struct {
	name string
	port int
	argv []string
	env  []string
}

func ours(listed int, upstream string) peer {
	return peer{name: "schoolgate", port: 15301, argv: []string{os.Args[0], "-test.run=^TestServeForPeers$", "-test.timeout=0"},
		env: []string{"SCHOOLGATE_BENCH_SERVE=" + strconv.Itoa(listed), "SCHOOLGATE_BENCH_UPSTREAM=" + upstream}}
}

func dnsdist(t *testing.T, dir, upstream string, listed int) peer {
	var b strings.Builder
	fmt.Fprintf(&b, "setLocal('127.0.0.1:15302')\nnewServer({address='%s'})\nsetACL('127.0.0.0/8')\n", upstream)
	b.WriteString("pc = newPacketCache(200000, {maxTTL=86400})\ngetPool(''):setCache(pc)\nlist = newSuffixMatchNode()\n")
	fmt.Fprintf(&b, "for line in io.lines('%s') do list:add(newDNSName(line)) end\n", filepath.Join(dir, "listed"))
	b.WriteString("addAction(SuffixMatchNodeRule(list), SpoofAction({'192.0.2.80'}))\n")
	var names strings.Builder
	for i := range listed {
		names.WriteString(listedName(i) + ".\n")
	}
	write(t, dir, "listed", names.String())
	return peer{name: "dnsdist", port: 15302, argv: []string{"dnsdist", "--supervised", "--disable-syslog", "-C", write(t, dir, "dnsdist.conf", b.String())}}
}

func unbound(t *testing.T, dir, upstream string, listed int) peer {
	host, port, _ := net.SplitHostPort(upstream)
	var b strings.Builder
	fmt.Fprintf(&b, "server:\n interface: 127.0.0.1@15303\n do-daemonize: no\n chroot: \"\"\n username: \"\"\n pidfile: \"\"\n directory: %q\n use-syslog: no\n module-config: iterator\n do-not-query-localhost: no\n num-threads: 1\n msg-cache-size: 64m\n rrset-cache-size: 128m\n access-control: 127.0.0.0/8 allow\n", dir)
	for i := range listed {
		fmt.Fprintf(&b, " local-zone: \"%s\" redirect\n local-data: \"%s A 192.0.2.80\"\n", listedName(i), listedName(i))
	}
	fmt.Fprintf(&b, "forward-zone:\n name: \".\"\n forward-addr: %s@%s\n", host, port)
	return peer{name: "unbound", port: 15303, argv: []string{"unbound", "-d", "-c", write(t, dir, "unbound.conf", b.String())}}
}

// measure starts the server, warms its cache and loads it.
func (p peer) measure(t *testing.T, queries, cores string) figure {
	t.Helper()
	cmd := exec.Command("taskset", append([]string{"-c", cores}, p.argv...)...)
	cmd.Env = append(os.Environ(), p.env...)
	cmd.Env = append(cmd.Env, "GOMAXPROCS="+strconv.Itoa(strings.Count(cores, ",")+1))
	if err := cmd.Start(); err != nil {
		t.Skipf("SKIPPED: %s: %v (apt-get install dnsdist unbound dnsperf)", p.name, err)
	}
	defer func() {
		_ = cmd.Process.Signal(syscall.SIGKILL) // it holds nothing worth keeping
		_ = cmd.Wait()
	}()
	p.awaitAnswer(t)
	load := func(seconds string) string {
		out, err := exec.Command("taskset", "-c", strconv.Itoa(runtime.NumCPU()-1), "dnsperf", "-s", "127.0.0.1", "-p", strconv.Itoa(p.port),
			"-d", queries, "-l", seconds, "-c", "8", "-q", "200").CombinedOutput()
		if err != nil {
			t.Skipf("SKIPPED: dnsperf: %v\n%s", err, out)
		}
		return string(out)
	}
	load("2")
	before := cpuTime(t, cmd.Process.Pid)
	out := load("4")
	used := cpuTime(t, cmd.Process.Pid) - before
	done := number(t, out, `Queries completed:\s+([0-9]+)`)
	return figure{rate: number(t, out, `Queries per second:\s+([0-9.]+)`), cpu: used.Seconds() * 1e6 / done, memory: resident(t, cmd.Process.Pid)}
}

func (p peer) awaitAnswer(t *testing.T) {
	t.Helper()
	for range 600 {
		m := question("www1.allowed.example", dns.TypeA)
		c := dns.Client{Timeout: 100 * time.Millisecond}
		if r, _, err := c.Exchange(m, net.JoinHostPort("127.0.0.1", strconv.Itoa(p.port))); err == nil && len(r.Answer) == 1 {
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
	t.Fatalf("%s does not answer", p.name)
}

func number(t *testing.T, text, pattern string) float64 {
	t.Helper()
	m := regexp.MustCompile(pattern).FindStringSubmatch(text)
	if m == nil {
		t.Fatalf("no %q in\n%s", pattern, text)
	}
	v, err := strconv.ParseFloat(m[1], 64)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func cpuTime(t *testing.T, pid int) time.Duration {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		t.Fatal(err)
	}
	fields := strings.Fields(string(b[strings.LastIndexByte(string(b), ')')+1:]))
	var ticks time.Duration
	for _, f := range fields[11:13] { // user and system, in hundredths
		n, err := strconv.Atoi(f)
		if err != nil {
			t.Fatal(err)
		}
		ticks += time.Duration(n)
	}
	return ticks * 10 * time.Millisecond
}

func resident(t *testing.T, pid int) float64 {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	return number(t, string(b), `VmRSS:\s+([0-9]+)`) / 1024
}

// TestServeForPeers is the child that serves for TestPeers, with a list as large
// and every event written to a file before its answer leaves.
func TestServeForPeers(t *testing.T) {
	listed, err := strconv.Atoi(os.Getenv("SCHOOLGATE_BENCH_SERVE"))
	if err != nil {
		t.Skip("SKIPPED: the child of TestPeers")
	}
	sink := newFileSink(t)
	lists := benchLists{listed: make(map[string]struct{}, listed)}
	for i := range listed {
		lists.listed[listedName(i)] = struct{}{}
	}
	spec := policy.Spec{Version: "bench", Profiles: []policy.Profile{{
		Name: "ks2", Band: policy.KS2, Uncategorised: policy.Allow,
		Categories: []policy.CategoryRule{{Category: policy.Gambling, Verdict: policy.Block, Rule: policy.Pos{File: "policy.yaml", Line: 7}}},
	}}}
	compiled, problems := policy.Compile(spec)
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	var engine policy.Engine
	engine.Swap(&policy.Snapshot{Policy: compiled, Lists: lists, Clients: lists, StoreVersion: 1})
	s, err := New(Config{
		Listen: []string{"127.0.0.1:15301"}, Decider: &engine, Sink: sink, Upstreams: []string{os.Getenv("SCHOOLGATE_BENCH_UPSTREAM")},
		Sinkhole: []netip.Addr{netip.MustParseAddr("192.0.2.80")}, Rate: -1, Metrics: prometheus.NewRegistry(),
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM) // so that it can be profiled
	defer stop()
	if err := s.Run(ctx); err != nil {
		t.Fatal(err)
	}
}

// benchLists stands for the category store: a set of names, parents included.
type benchLists struct{ listed map[string]struct{} }

func (l benchLists) Classify(h policy.Host, _ string) policy.Facts {
	for name := h.String(); name != ""; _, name, _ = strings.Cut(name, ".") {
		if _, ok := l.listed[name]; ok {
			return policy.Facts{Categories: policy.SetOf(policy.Gambling)}
		}
	}
	return policy.Facts{}
}

func (l benchLists) Identify(a netip.Addr) policy.Client { return policy.Client{Addr: a} }

// fileSink writes a frame of each event's main fields, a write a batch.
type fileSink struct {
	mu  sync.Mutex
	out *os.File
	buf []byte
	n   uint64
}

func newFileSink(t *testing.T) *fileSink {
	f, err := os.Create(filepath.Join(t.TempDir(), "journal"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	return &fileSink{out: f}
}

func (s *fileSink) Record(e *policy.Event) error { return s.RecordBatch([]policy.Event{*e}) }

func (s *fileSink) RecordBatch(events []policy.Event) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.buf = s.buf[:0]
	for i := range events {
		e := &events[i]
		s.n++
		s.buf = binary.LittleEndian.AppendUint64(s.buf, s.n)
		s.buf = binary.LittleEndian.AppendUint64(s.buf, uint64(e.Time.UnixNano()))
		for _, f := range []string{e.Client, e.Profile, e.Host, e.Method, e.Rule} {
			s.buf = append(append(s.buf, byte(len(f))), f...)
		}
		s.buf = append(s.buf, byte(e.Verdict), byte(e.Reason), byte(e.Category), byte(e.Status))
	}
	if s.n%(1<<20) < uint64(len(events)) { // a segment is full
		if _, err := s.out.Seek(0, 0); err != nil {
			return err
		}
	}
	_, err := s.out.Write(s.buf)
	return err
}
