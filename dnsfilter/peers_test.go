package dnsfilter

import (
	"context"
	"encoding/binary"
	"errors"
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
	"runtime/pprof"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/miekg/dns"
	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sys/unix"

	"schoolgate/audit"
	"schoolgate/categories"
	"schoolgate/policy"
)

// TestPeers is `make bench-dns`: this door beside dnsdist and unbound from Debian
// with the same list, the same questions and the same load, in turns. It is run
// by bench/bench-dns.sh, and skipped otherwise: it measures, it proves nothing.
// Ours has the real category store and writes the real journal.
func TestPeers(t *testing.T) {
	if os.Getenv("SCHOOLGATE_BENCH_DNS") == "" {
		t.Skip("SKIPPED: a measurement, see make bench-dns")
	}
	listed := setting("LISTED", 230_000)
	dir := t.TempDir()
	startOrigin(t)
	store := buildStore(t, dir, listed)
	bare := peer{name: "bare", port: 25305, argv: []string{os.Args[0], "-test.run=^TestOriginForPeers$", "-test.timeout=0"},
		env: []string{"SCHOOLGATE_BENCH_ORIGIN=127.0.0.1:25305"}}
	peers := []peer{ours(store), bare, dnsdist(t, dir, listed, "dnsdist", 25302, ""), dnsdist(t, dir, listed, "dnsdist+recvmmsg", 25304, "setUDPMultipleMessagesVectorSize(64)\n")}
	if listed <= 1_000_000 { // it needs 2 GB for more
		peers = append(peers, unbound(t, dir, listed))
	}
	if only := os.Getenv("SCHOOLGATE_BENCH_PEER"); only != "" {
		peers = slices.DeleteFunc(peers, func(p peer) bool { return !slices.Contains(strings.Split(only, ","), p.name) })
	}
	loads := []load{
		{name: "warm", queries: writeQueries(t, dir, listed), warm: true},
		{name: "misses", queries: writeMisses(t, dir)},
		{name: "5000/s", warm: true, paced: true},
		{name: "rush", queries: writeQueries(t, dir, listed), warm: true, rush: true},
	}
	for _, l := range loads {
		if only := os.Getenv("SCHOOLGATE_BENCH_LOAD"); only != "" && only != l.name {
			continue
		}
		figures := map[string][]figure{}
		for round := range setting("ROUNDS", 3) + 1 { // the first warms up
			for _, p := range peers {
				f := p.measure(t, l)
				if round > 0 {
					figures[p.name] = append(figures[p.name], f)
				}
			}
		}
		base := median(figures["dnsdist"])
		for _, p := range peers {
			m := median(figures[p.name])
			t.Logf("%-7s %-17s %8.0f queries/s  %5.2f µs CPU a query  %5.0f MiB  p50 %4.0f µs  p99 %5.0f µs  p99.9 %5.0f µs  %.2f x dnsdist",
				l.name, p.name, m.rate, m.cpu, m.memory, m.p50, m.p99, m.p999, m.rate/base.rate)
		}
	}
}

func setting(name string, value int) int {
	if n, err := strconv.Atoi(os.Getenv("SCHOOLGATE_BENCH_" + name)); err == nil {
		return n
	}
	return value
}

// benchCores are of the servers: "0", or "0,1" with the load on the same.
func benchCores() string {
	if cores := os.Getenv("SCHOOLGATE_BENCH_CORES"); cores != "" {
		return cores
	}
	return "0"
}

// load is what the servers are asked.
type load struct {
	name, queries string
	warm          bool // two seconds before the measurement
	paced         bool // 5,000 a second by our own client, which measures the time of each
	rush          bool // by our own client, which needs less for a question than dnsperf
}

const (
	benchAllowed = 5000
	originAddr   = "127.0.0.1:25300"
)

type figure struct{ rate, cpu, memory, p50, p99, p999 float64 }

// median of each figure by itself.
func median(all []figure) (m figure) {
	if len(all) == 0 {
		return figure{rate: 1}
	}
	of := func(field func(*figure) *float64) {
		values := make([]float64, len(all))
		for i := range all {
			values[i] = *field(&all[i])
		}
		slices.Sort(values)
		*field(&m) = values[len(values)/2]
	}
	of(func(f *figure) *float64 { return &f.rate })
	of(func(f *figure) *float64 { return &f.cpu })
	of(func(f *figure) *float64 { return &f.memory })
	of(func(f *figure) *float64 { return &f.p50 })
	of(func(f *figure) *float64 { return &f.p99 })
	of(func(f *figure) *float64 { return &f.p999 })
	return m
}

func listedName(i int) string { return fmt.Sprintf("host%d.listed%d.example", i, i%977) }

// writeQueries writes questions, 70 % of them for allowed names.
func writeQueries(t testing.TB, dir string, listed int) string {
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

// writeMisses writes questions that nobody asks twice.
func writeMisses(t *testing.T, dir string) string {
	var b strings.Builder
	for i := range 1_500_000 {
		fmt.Fprintf(&b, "u%d.miss.example A\n", i)
	}
	return write(t, dir, "misses", b.String())
}

func write(t testing.TB, dir, name, text string) string {
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

func ours(store string) peer {
	return peer{name: "schoolgate", port: 25301, argv: []string{os.Args[0], "-test.run=^TestServeForPeers$", "-test.timeout=0"},
		env: []string{"SCHOOLGATE_BENCH_STORE=" + store}}
}

func dnsdist(t *testing.T, dir string, listed int, name string, port int, extra string) peer {
	var b strings.Builder
	fmt.Fprintf(&b, "%ssetLocal('127.0.0.1:%d')\nnewServer({address='%s', sockets=8})\nsetACL('127.0.0.0/8')\n", extra, port, originAddr)
	b.WriteString("pc = newPacketCache(200000, {maxTTL=86400})\ngetPool(''):setCache(pc)\nlist = newSuffixMatchNode()\n")
	fmt.Fprintf(&b, "for line in io.lines('%s') do list:add(newDNSName(line)) end\n", filepath.Join(dir, "listed"))
	b.WriteString("addAction(SuffixMatchNodeRule(list), SpoofAction({'192.0.2.80'}))\n")
	var names strings.Builder
	for i := range listed {
		names.WriteString(listedName(i) + ".\n")
	}
	write(t, dir, "listed", names.String())
	return peer{name: name, port: port, argv: []string{"dnsdist", "--supervised", "--disable-syslog", "-C", write(t, dir, name+".conf", b.String())}}
}

func unbound(t *testing.T, dir string, listed int) peer {
	host, port, _ := net.SplitHostPort(originAddr)
	var b strings.Builder
	fmt.Fprintf(&b, "server:\n interface: 127.0.0.1@25303\n do-daemonize: no\n chroot: \"\"\n username: \"\"\n pidfile: \"\"\n directory: %q\n use-syslog: no\n module-config: iterator\n do-not-query-localhost: no\n num-threads: 1\n msg-cache-size: 64m\n rrset-cache-size: 128m\n access-control: 127.0.0.0/8 allow\n", dir)
	for i := range listed {
		fmt.Fprintf(&b, " local-zone: \"%s\" redirect\n local-data: \"%s A 192.0.2.80\"\n", listedName(i), listedName(i))
	}
	fmt.Fprintf(&b, "forward-zone:\n name: \".\"\n forward-addr: %s@%s\n", host, port)
	return peer{name: "unbound", port: 25303, argv: []string{"unbound", "-d", "-c", write(t, dir, "unbound.conf", b.String())}}
}

// measure starts the server, warms its cache and loads it.
func (p peer) measure(t *testing.T, l load) figure {
	t.Helper()
	cores := benchCores()
	cmd := exec.Command("taskset", append([]string{"-c", cores}, p.argv...)...)
	cmd.Env = append(os.Environ(), p.env...)
	cmd.Env = append(cmd.Env, "GOMAXPROCS="+strconv.Itoa(2*(strings.Count(cores, ",")+1))) // as schoolgate serve has it
	if err := cmd.Start(); err != nil {
		t.Skipf("SKIPPED: %s: %v (apt-get install dnsdist unbound dnsperf)", p.name, err)
	}
	defer func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		if os.Getenv("SCHOOLGATE_BENCH_PROFILE") == "" {
			_ = cmd.Process.Signal(syscall.SIGKILL) // it holds nothing worth keeping
		}
		_ = cmd.Wait()
	}()
	p.awaitAnswer(t)
	run := p.perf
	switch {
	case l.paced:
		run = p.pace
	case l.rush:
		run = p.rush
	}
	if l.warm {
		run(t, l, 2)
	}
	before := cpuTime(t, cmd.Process.Pid)
	f, done := run(t, l, 4)
	used := cpuTime(t, cmd.Process.Pid) - before
	f.cpu, f.memory = used.Seconds()*1e6/done, resident(t, cmd.Process.Pid)
	return f
}

func lastCore() string { return strconv.Itoa(runtime.NumCPU() - 1) }

// perf is dnsperf, as fast as it goes.
func (p peer) perf(t *testing.T, l load, seconds int) (f figure, done float64) {
	t.Helper()
	b, err := exec.Command("taskset", "-c", lastCore(), "dnsperf", "-s", "127.0.0.1", "-p", strconv.Itoa(p.port),
		"-d", l.queries, "-l", strconv.Itoa(seconds), "-c", "8", "-q", "200").CombinedOutput()
	out := string(b)
	if err != nil {
		t.Skipf("SKIPPED: dnsperf: %v\n%s", err, out)
	}
	return figure{rate: number(t, out, `Queries per second:\s+([0-9.]+)`)}, number(t, out, `Queries completed:\s+([0-9]+)`)
}

// pace asks 5,000 questions a second for warm names, whatever the answers do, and
// measures how long each takes.
func (p peer) pace(t *testing.T, _ load, seconds int) (f figure, done float64) {
	t.Helper()
	var err error
	var asking sync.WaitGroup
	asking.Go(func() {
		runtime.LockOSThread() // the thread ends with the goroutine
		if err = onLastCore(); err == nil {
			f, err = p.askSteadily(5000 * seconds)
		}
	})
	asking.Wait()
	if err != nil {
		t.Fatal(err)
	}
	return f, float64(5000 * seconds)
}

func onLastCore() error {
	n, err := strconv.Atoi(lastCore())
	if err != nil {
		return err
	}
	var core unix.CPUSet
	core.Set(n)
	return unix.SchedSetaffinity(0, &core)
}

// askSteadily asks one question each 200 µs, and takes the answers between.
func (p peer) askSteadily(all int) (f figure, err error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM, 0)
	if err != nil {
		return f, err
	}
	defer unix.Close(fd)
	if err := unix.Connect(fd, &unix.SockaddrInet4{Port: p.port, Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		return f, err
	}
	pkt, err := question("www1.allowed.example", dns.TypeA).Pack()
	if err != nil {
		return f, err
	}
	var sent [1 << 16]time.Time
	var took []float64
	buf := make([]byte, 4096)
	start := time.Now()
	const gap = 200 * time.Microsecond
	for i := 0; ; { // it never sleeps, since a sleep comes back late
		now := time.Now()
		switch due := start.Add(time.Duration(i) * gap); {
		case i < all && !now.Before(due):
			binary.BigEndian.PutUint16(pkt, uint16(i))
			sent[uint16(i)] = now
			if _, err := unix.Write(fd, pkt); err != nil {
				return f, err
			}
			i++
		case i == all && (len(took) == all || now.Sub(due) > time.Second):
			slices.Sort(took)
			at := func(q float64) float64 { return took[int(q*float64(len(took)-1))] }
			return figure{rate: float64(len(took)) / (time.Duration(all) * gap).Seconds(), p50: at(0.5), p99: at(0.99), p999: at(0.999)}, nil
		}
		n, _, err := unix.Recvfrom(fd, buf, unix.MSG_DONTWAIT)
		if err == nil && n >= headerLen {
			took = append(took, float64(time.Since(sent[binary.BigEndian.Uint16(buf)]).Nanoseconds())/1000)
		} else if err != nil && !errors.Is(err, unix.EAGAIN) && !errors.Is(err, unix.EINTR) {
			return f, err
		}
	}
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

// TestServeForPeers is the child that serves for TestPeers, from a compiled store
// and with the journal on.
func TestServeForPeers(t *testing.T) {
	path := os.Getenv("SCHOOLGATE_BENCH_STORE")
	if path == "" {
		t.Skip("SKIPPED: the child of TestPeers")
	}
	store, err := categories.Open(path, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	journal, err := audit.Open(filepath.Join(t.TempDir(), "journal"), audit.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer journal.Close()
	s, err := New(Config{
		Listen: []string{"127.0.0.1:25301"}, Decider: benchEngine(t, store), Sink: journal, Upstreams: []string{originAddr},
		Sinkhole: []netip.Addr{netip.MustParseAddr("192.0.2.80")}, Rate: -1, MaxPerGuest: 4096, Metrics: prometheus.NewRegistry(),
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM) // so that it can be profiled
	defer stop()
	if name := os.Getenv("SCHOOLGATE_BENCH_PROFILE"); name != "" {
		f, err := os.Create(name)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		if err := pprof.StartCPUProfile(f); err != nil {
			t.Fatal(err)
		}
		defer pprof.StopCPUProfile()
	}
	if err := s.Run(ctx); err != nil {
		t.Fatal(err)
	}
}

// benchEngine blocks what the store lists.
func benchEngine(t testing.TB, store *categories.Store) *policy.Engine {
	t.Helper()
	spec := policy.Spec{Version: "bench", Profiles: []policy.Profile{{
		Name: "ks2", Band: policy.KS2, Uncategorised: policy.Allow,
		Categories: []policy.CategoryRule{{Category: policy.Gambling, Verdict: policy.Block, Rule: policy.Pos{File: "policy.yaml", Line: 7}}},
	}}}
	compiled, problems := policy.Compile(spec)
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	var engine policy.Engine
	engine.Swap(&policy.Snapshot{Policy: compiled, Lists: store, Clients: benchLists{}, StoreVersion: 1})
	return &engine
}

// buildStore compiles the list as `schoolgate lists build` would.
func buildStore(t testing.TB, dir string, listed int) string {
	t.Helper()
	path := filepath.Join(dir, "store.db")
	b, err := categories.Create(path, categories.BuildOptions{Version: 1})
	if err != nil {
		t.Fatal(err)
	}
	source := b.Source(categories.Source{Name: "bench", Weight: 1, Curated: true})
	for i := range listed {
		h, err := policy.ParseHost(listedName(i))
		if err == nil {
			err = b.Add(source, categories.Entry{Host: h, Category: policy.Gambling})
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if _, err := b.Finish(t.Context()); err != nil {
		t.Fatal(err)
	}
	return path
}

// startOrigin starts the resolver behind all of them: it answers any question for
// an address, in a process of its own beside the load.
func startOrigin(t *testing.T) {
	t.Helper()
	cmd := exec.Command("taskset", "-c", lastCore(), os.Args[0], "-test.run=^TestOriginForPeers$", "-test.timeout=0")
	cmd.Env = append(os.Environ(), "SCHOOLGATE_BENCH_ORIGIN="+originAddr, "GOMAXPROCS=1")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	peer{name: "origin", port: 25300}.awaitAnswer(t)
}

// TestOriginForPeers is that resolver.
func TestOriginForPeers(t *testing.T) {
	addr := os.Getenv("SCHOOLGATE_BENCH_ORIGIN")
	if addr == "" {
		t.Skip("SKIPPED: the child of TestPeers")
	}
	p, err := listenPackets(addr)
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	p.serve(&all, serveOrigin)
	all.Wait()
}

// serveOrigin answers every question at a port with one address until it is
// closed: the least that a server with our way of reading and sending can do.
func serveOrigin(port *port) {
	s := &Server{}
	s.jobs.New = func() any { return newJob() }
	b := s.newBatch(port)
	for {
		if more, err := b.receive(); !more || err != nil {
			return
		}
		b.answers = b.answers[:0]
		for i := range b.received {
			j := b.jobs[i]
			j.pkt, j.nameLen = j.pkt[:b.in[i].length], b.in[i].Namelen
			if j.q.read(j.pkt) == readQuery {
				j.msg.begin(j.buf, &j.q)
				j.msg.address(originAddress, 86400)
				j.buf = j.msg.finish(&j.q, maxUDPSize)
				b.answers = append(b.answers, j)
			}
		}
		s.sendAll(b.port, b.answers, &b.out)
		for i := range b.received {
			b.jobs[i].pkt = b.jobs[i].pkt[:maxPacket]
			b.rearm(i)
		}
	}
}

var originAddress = netip.MustParseAddr("203.0.113.1")

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
