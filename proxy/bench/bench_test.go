package bench

import (
	"bufio"
	"crypto/x509"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// line is one line of the table.
type line struct {
	name    string
	clients int
	load    func(p peer, trust *x509.CertPool) work // nil: the peer cannot do it
	threads bool                                    // each client waits on a thread of its own
}

var cold atomic.Int64

// pageSize is how long our block page is, compressed.
var pageSize atomic.Int64

func site() string { return siteHost }

func coldSite() string { return fmt.Sprintf("n%d.cold.example", cold.Add(1)) }

// plain asks for pages in clear.
func plain(host, path, status string) func(peer, *x509.CertPool) work {
	return func(p peer, trust *x509.CertPool) work {
		return browser{p.from, trust}.keptPlain(p.plain, host, path, status)
	}
}

// by opens connections: a CONNECT to a port of the proxy, or straight to the origin
// from an address whose connections the packet filter turns.
func by(b browser, proxy string) func(string) (net.Conn, error) {
	if proxy == "" {
		return func(string) (net.Conn, error) { return b.dial(originAddr + ":443") }
	}
	return func(host string) (net.Conn, error) { return b.connect(proxy, host+":443") }
}

var lines = []line{
	{name: "kept 1 KB", clients: 16, load: plain(siteHost, "/1k", "200")},
	{name: "kept 100 KB", clients: 8, load: plain(siteHost, "/100k", "200")},
	{name: "block page", clients: 16, load: plain(blockedHost, "/", "403")},
	{name: "block page, as many bytes from bare", clients: 16, load: func(p peer, trust *x509.CertPool) work {
		return plain(blockedHost, fmt.Sprintf("/?bytes=%d", pageSize.Load()), "403")(p, trust)
	}},
	{name: "tunnel by CONNECT, new", clients: 8, load: func(p peer, trust *x509.CertPool) work {
		b := browser{p.from, trust}
		return b.opened(by(b, p.plain), site, "")
	}},
	{name: "transparent splice, new", clients: 8, load: func(p peer, trust *x509.CertPool) work {
		b := browser{p.transparent, trust}
		return b.opened(by(b, ""), site, "")
	}},
	{name: "replayed: tunnel by CONNECT, new", clients: 8, threads: true, load: func(p peer, _ *x509.CertPool) work {
		return browser{from: p.from}.replayed(p.shared, p.plain)
	}},
	{name: "replayed: transparent splice, new", clients: 8, threads: true, load: func(p peer, _ *x509.CertPool) work {
		return browser{from: p.transparent}.replayed(p.shared, "")
	}},
	{name: "inspected, new, cold", clients: 8, load: func(p peer, trust *x509.CertPool) work {
		b := browser{p.inspected, trust}
		return b.opened(by(b, p.inspect), coldSite, "/1k")
	}},
	{name: "inspected, new, warm", clients: 8, load: func(p peer, trust *x509.CertPool) work {
		b := browser{p.inspected, trust}
		return b.opened(by(b, p.inspect), site, "/1k")
	}},
	{name: "inspected, new, warm, squid not peeking", clients: 8, load: func(p peer, trust *x509.CertPool) work {
		if p.unpeeked == "" && p.again == nil {
			return nil
		}
		b, proxy := browser{p.inspected, trust}, p.unpeeked
		if proxy == "" {
			proxy = p.inspect
		}
		return b.opened(by(b, proxy), site, "/1k")
	}},
	{name: "inspected, kept 1 KB", clients: 16, load: func(p peer, trust *x509.CertPool) work {
		b := browser{p.inspected, trust}
		return b.keptInside(by(b, p.inspect), "/1k")
	}},
	{name: "inspected, kept 1 KB, HTTP/2", clients: 16, load: func(p peer, trust *x509.CertPool) work {
		if p.name == "squid" {
			return nil
		}
		b := browser{p.inspected, trust}
		return b.keptHTTP2(by(b, p.inspect), "/1k")
	}},
	{name: "inspected, transparent, new", clients: 8, load: func(p peer, trust *x509.CertPool) work {
		b := browser{p.transparentInspected, trust}
		return b.opened(by(b, ""), site, "/1k")
	}},
}

// TestPeers is `make bench-proxy`; it measures and proves nothing.
func TestPeers(t *testing.T) {
	if os.Getenv("SCHOOLGATE_BENCH_PROXY") == "" {
		t.Skip("SKIPPED: a measurement, see make bench-proxy")
	}
	for _, a := range []string{originAddr, replayAddr, resolverAddr} {
		if out, err := exec.Command("ip", "address", "add", a+"/32", "dev", "lo").CombinedOutput(); err != nil {
			t.Fatalf("ip: %v: %s", err, out)
		}
	}
	// All peers dial one origin from one address. Connections that have ended keep their
	// port for a minute, and with most ports taken the kernel searches for milliseconds.
	for name, value := range map[string]string{"tcp_tw_reuse": "1", "ip_local_port_range": "10000 65000"} {
		if err := os.WriteFile("/proc/sys/net/ipv4/"+name, []byte(value), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	peers, trust := startAll(t)
	for _, l := range lines {
		if wanted(l.name) {
			measure(t, l, peers, trust)
		}
	}
	if wanted("bulk") {
		measureBulk(t, peers)
	}
	if wanted("first byte") {
		measureFirstByte(t, peers, trust)
	}
	if wanted("idle tunnels") {
		measureIdle(t, peers)
	}
}

func startAll(t *testing.T) ([]peer, *x509.CertPool) {
	dir := t.TempDir()
	origins, own := newAuthority(t, "the bench's internet"), newAuthority(t, "bare")
	for name, a := range map[string]*authority{"origins": origins, "bare": own} {
		a.write(t, dir, name)
		a.writeKey(t, dir, name)
	}
	startChild(t, "origin", dir, originAddr+":80", originAddr+":443", originAddr+":"+bulkPort)
	trust := origins.pool()
	shakeHands(t, dir, origins, trust)
	startChild(t, "replay", dir) // it is there long before it is asked
	trust.AddCert(own.cert)
	ours, school := startOurs(t, box{"ours", os.Getenv("SCHOOLGATE_BENCH_PROXY"), 31, "127.0.1", "127.0.2"}, origins)
	squid, squids := startSquid(t, origins)
	trust.AddCert(school)
	trust.AddCert(squids)
	pageSize.Store(pageOf(t, ours))
	peers := []peer{ours, squid, startBare(t, dir)}
	if binary := os.Getenv("SCHOOLGATE_BENCH_BEFORE"); binary != "" {
		before, school := startOurs(t, box{"before", binary, 36, "127.0.6", "127.0.7"}, origins)
		trust.AddCert(school)
		peers = append(peers, before)
	}
	for i := range peers {
		peers[i].shared = dir
	}
	redirects(t, peers, map[string]string{
		"127.0.1.2": "3143", "127.0.2.2": "3143", "127.0.6.2": "3643", "127.0.7.2": "3643", "127.0.3.2": "3204", "127.0.3.3": "3205", "127.0.4.2": "3304", "127.0.4.3": "3305",
	})
	if only := os.Getenv("SCHOOLGATE_BENCH_PEER"); only != "" {
		peers = slices.DeleteFunc(peers, func(p peer) bool { return !slices.Contains(strings.Split(only, ","), p.name) })
	}
	return peers, trust
}

func pageOf(t *testing.T, p peer) int64 {
	conn, err := browser{from: p.from}.dial(p.plain)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := conn.Write(get("http://"+blockedHost+"/", blockedHost)); err != nil {
		t.Fatal(err)
	}
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil || resp.StatusCode != http.StatusForbidden {
		t.Fatalf("block page: %v, %v", resp, err)
	}
	return resp.ContentLength
}

func wanted(name string) bool {
	list := os.Getenv("SCHOOLGATE_BENCH_LINES")
	return list == "" || slices.ContainsFunc(strings.Split(list, ","), func(part string) bool { return strings.Contains(name, part) })
}

func setting(name string, value, short float64) float64 {
	if n, err := strconv.ParseFloat(os.Getenv("SCHOOLGATE_BENCH_"+name), 64); err == nil {
		return n
	}
	if testing.Short() {
		return short
	}
	return value
}

// measure takes turns and prints a line: what each did, its CPU, and the ratios.
func measure(t *testing.T, l line, peers []peer, trust *x509.CertPool) {
	length := time.Duration(setting("SECONDS", 1.5, 0.5) * float64(time.Second))
	if l.threads {
		defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(2 * threads))
	}
	all := map[string][]result{}
	for range int(setting("ROUNDS", 3, 1)) {
		for _, p := range peers {
			w := l.load(p, trust)
			if w == nil {
				continue
			}
			r, err := turn(p, w, l.clients, length)
			if err != nil {
				t.Errorf("%s: %s: %v", l.name, p.name, err)
				continue
			}
			all[p.name] = append(all[p.name], r)
		}
	}
	text := fmt.Sprintf("%-40s", l.name)
	for _, p := range peers {
		if m, ok := median(all[p.name]); ok {
			text += fmt.Sprintf("  %s %7.0f/s %5.0f µs", p.name, m.rate, m.cpu)
		}
	}
	t.Log(text + ratios(all["ours"], all["squid"], "squid") + ratios(all["ours"], all["bare"], "bare") + ratios(all["ours"], all["before"], "before"))
}

// ratios are ours to a peer's: how many a second, and how much CPU each.
func ratios(ours, theirs []result, name string) string {
	a, ok := median(ours)
	b, there := median(theirs)
	if !ok || !there {
		return ""
	}
	return fmt.Sprintf("  | %.2f x %s (CPU %.2f)", a.rate/b.rate, name, a.cpu/b.cpu)
}

func median(all []result) (m result, ok bool) {
	if len(all) == 0 {
		return m, false
	}
	middle := func(of func(result) float64) float64 {
		var list []float64
		for _, r := range all {
			list = append(list, of(r))
		}
		slices.Sort(list)
		return list[len(list)/2]
	}
	return result{middle(func(r result) float64 { return r.rate }), middle(func(r result) float64 { return r.cpu })}, true
}

func measureBulk(t *testing.T, peers []peer) {
	size := uint64(setting("BULK_MB", 2048, 512)) << 20
	all := map[string][]result{}
	for range int(setting("ROUNDS", 3, 1)) {
		for _, p := range peers {
			cpu := p.cpu()
			seconds, err := browser{from: p.from}.bulk(p.plain, size)
			if err != nil {
				t.Errorf("bulk: %s: %v", p.name, err)
				continue
			}
			mb := float64(size >> 20)
			all[p.name] = append(all[p.name], result{mb / seconds, float64((p.cpu() - cpu).Microseconds()) / mb})
		}
	}
	text := fmt.Sprintf("%-40s", "bulk through a tunnel, MB")
	for _, p := range peers {
		m, _ := median(all[p.name])
		text += fmt.Sprintf("  %s %7.0f/s %5.0f µs", p.name, m.rate, m.cpu)
	}
	t.Log(text + ratios(all["ours"], all["squid"], "squid") + ratios(all["ours"], all["bare"], "bare") + ratios(all["ours"], all["before"], "before"))
}

// measureFirstByte says how much later than the origin's write a first byte comes, and
// how much later than it would come straight: in clear, in a tunnel and looked into.
func measureFirstByte(t *testing.T, peers []peer, trust *x509.CertPool) {
	inTLS := func(b browser, conn net.Conn, err error) (net.Conn, error) {
		if err != nil {
			return nil, err
		}
		return b.secure(conn, siteHost)
	}
	straight := browser{"127.0.5.1", trust}
	for _, way := range []struct {
		name, target string
		open         func(p peer) (net.Conn, error)
		direct       func() (net.Conn, error)
	}{
		{
			"in clear", "http://" + siteHost + "/drip",
			func(p peer) (net.Conn, error) { return browser{p.from, trust}.dial(p.plain) },
			func() (net.Conn, error) { return straight.dial(originAddr + ":80") },
		},
		{
			"in a tunnel", "/drip",
			func(p peer) (net.Conn, error) {
				b := browser{p.from, trust}
				conn, err := b.connect(p.plain, siteHost+":443")
				return inTLS(b, conn, err)
			},
			func() (net.Conn, error) {
				conn, err := straight.dial(originAddr + ":443")
				return inTLS(straight, conn, err)
			},
		},
		{
			"inspected", "/drip",
			func(p peer) (net.Conn, error) {
				b := browser{p.inspected, trust}
				conn, err := b.connect(p.inspect, siteHost+":443")
				return inTLS(b, conn, err)
			},
			func() (net.Conn, error) {
				conn, err := straight.dial(originAddr + ":443")
				return inTLS(straight, conn, err)
			},
		},
	} {
		all := append(slices.Clone(peers), peer{name: "direct"})
		delays := map[string][]time.Duration{}
		for range int(setting("BYTES", 300, 60)) {
			for _, p := range all {
				open := way.direct
				if p.name != "direct" {
					open = func() (net.Conn, error) { return way.open(p) }
				}
				conn, err := open()
				if err != nil {
					t.Errorf("first byte %s: %s: %v", way.name, p.name, err)
					return
				}
				d, err := firstByte(conn, way.target)
				conn.Close()
				if err != nil {
					t.Errorf("first byte %s: %s: %v", way.name, p.name, err)
					return
				}
				delays[p.name] = append(delays[p.name], d)
			}
		}
		at := func(p peer, percent int) int64 {
			d := delays[p.name]
			slices.Sort(d)
			return d[len(d)*percent/100].Microseconds()
		}
		text := fmt.Sprintf("%-40s", "first byte "+way.name+", µs")
		for _, p := range all {
			text += fmt.Sprintf("  %s p50 %d p99 %d", p.name, at(p, 50), at(p, 99))
		}
		t.Log(text + fmt.Sprintf("  | ours %d later than direct, p99 %d", at(all[0], 50)-at(all[len(all)-1], 50), at(all[0], 99)-at(all[len(all)-1], 99)))
	}
}

// measureIdle holds many tunnels of ours open and looks at the memory, of CONNECT and
// of connections that were turned to us. Each begins with the box as it starts.
func measureIdle(t *testing.T, peers []peer) {
	at := slices.IndexFunc(peers, func(p peer) bool { return p.name == "ours" })
	if at < 0 {
		return
	}
	p := peers[at]
	for _, way := range []struct {
		name    string
		dial    func(b browser) (net.Conn, error)
		from    string
		answers bool // the origin says something at once
	}{
		{"idle tunnels, CONNECT", func(b browser) (net.Conn, error) { return b.connect(p.plain, siteHost+":"+bulkPort) }, "127.1.%d.%d", false},
		{"idle tunnels, transparent", func(b browser) (net.Conn, error) { return b.dial(originAddr + ":443") }, "127.2.%d.%d", true},
	} {
		p.pid = p.again()
		measureHeld(t, p, way.name, way.answers, func(i int) (net.Conn, error) {
			return way.dial(browser{from: fmt.Sprintf(way.from, i/1000, 1+i%200)})
		})
	}
}

// tunnelsHere is how many tunnels the descriptors of a process here allow: each takes
// two.
func tunnelsHere(t *testing.T, wanted int) int {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	return min(wanted, (int(limit.Max)-300)/2)
}

func measureHeld(t *testing.T, p peer, name string, answers bool, open func(i int) (net.Conn, error)) {
	n := tunnelsHere(t, int(setting("TUNNELS", 10_000, 2_000)))
	before := p.settled(t)
	hello := append(helloFor(siteHost), make([]byte, 8)...)
	var held []net.Conn
	defer func() {
		for _, conn := range held {
			conn.Close()
		}
	}()
	for i := range n {
		conn, err := open(i)
		if err == nil {
			held = append(held, conn)
			_, err = conn.Write(hello)
		}
		if err == nil && answers { // it stands
			_, err = conn.Read(make([]byte, 1))
		}
		if err != nil {
			t.Errorf("%s: tunnel %d: %v", name, i, err)
			return
		}
	}
	most := p.resident()
	after := p.atRest()
	t.Logf("%-40s  %d tunnels (%d open): %d MiB before, %d MiB after the last was opened, %d MiB at rest with them, %.1f KiB each", name, len(held), p.tunnels(t), before>>20, most>>20, after>>20, float64(after-before)/1024/float64(len(held)))
}
