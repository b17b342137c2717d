package bench

import (
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"schoolgate/categories"
	"schoolgate/policy"
)

// peer is a proxy that is measured: where it listens for what, and what it costs.
type peer struct {
	name string
	pid  int
	// at is its address for a way of being used; "" where it has none.
	plain, inspect, unpeeked string
	// from is the client's address that chooses how a connection is carried: our
	// door goes by who asks, and the packet filter by it too.
	from, inspected, transparent, transparentInspected string
	metrics                                            string           // where one of ours tells how it is
	shared                                             string           // the folder of the bench
	again                                              func() (pid int) // starts it anew
	busy                                               time.Duration    // the CPU it had when last looked at
}

// start runs a process that ends with the test, and waits for its ports.
func start(t *testing.T, cmd *exec.Cmd, ports ...string) int {
	t.Helper()
	said, err := os.Create(filepath.Join(t.TempDir(), "said"))
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stdout, cmd.Stderr = said, said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // it may have ended by itself
		_ = cmd.Wait()
		said.Close()
	})
	for _, port := range ports {
		await(t, port, said.Name())
	}
	return cmd.Process.Pid
}

func await(t *testing.T, addr, said string) {
	t.Helper()
	for end := time.Now().Add(60 * time.Second); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if conn, err := net.Dial("tcp", addr); err == nil {
			conn.Close()
			return
		}
	}
	text, _ := os.ReadFile(said)
	t.Fatalf("nothing listens on %s; it said:\n%s", addr, text)
}

const boxConfig = `policy: policy.yaml
data: data
dns: {listen: ["127.0.0.1:%[2]d30"], upstreams: ["203.0.113.53:53"]}
proxy:
  listen: ["127.0.0.1:%[2]d28"]
  transparent: {http: ["127.0.0.1:%[2]d80"], tls: ["127.0.0.1:%[2]d43"]}
  connect_ports: [443, 9000]
  allow_destinations: [203.0.113.10/32, 203.0.113.11/32] # addresses of this very machine, in the bench
  max_connections: 12000
  max_per_client: 2000
inspect: {enabled: yes, upstream_roots: %[1]s}
metrics: {listen: ["127.0.0.1:%[2]d90"]}
`

const boxPolicy = `profiles:
  ks2: {title: Years 3 to 6, band: ks2, block: [pornography, gambling], uncategorised: allow, inspect: none}
  seen: {title: The same and looked into, band: ks2, like: ks2, uncategorised: allow, inspect: all}
groups:
  spliced: {profile: ks2, addresses: [127.0.1.0/24, 127.0.6.0/24, 127.1.0.0/16, 127.2.0.0/16]}
  inspected: {profile: seen, addresses: [127.0.2.0/24, 127.0.7.0/24]}
`

// box is one of ours: a binary, on ports that begin with two digits, and the networks
// of its clients.
type box struct {
	name, binary string
	ports        int
	net, seen    string
}

// startOurs is a built binary, as a school runs it.
func startOurs(t *testing.T, b box, authority *authority) (peer, *x509.Certificate) {
	t.Helper()
	dir := t.TempDir()
	roots := authority.write(t, dir, "origins")
	write(t, dir, "schoolgate.yaml", fmt.Sprintf(boxConfig, roots, b.ports))
	write(t, dir, "policy.yaml", boxPolicy)
	config := filepath.Join(dir, "schoolgate.yaml")
	if out, err := exec.Command(b.binary, "ca", "init", "--config", config).CombinedOutput(); err != nil {
		t.Fatalf("ca init: %v\n%s", err, out)
	}
	useStore(t, filepath.Join(dir, "data", "store"), listed())
	at := func(port int) string { return fmt.Sprintf("127.0.0.1:%d%02d", b.ports, port) }
	p := peer{
		name: b.name, plain: at(28), inspect: at(28), metrics: "http://" + at(90),
		from: b.net + ".1", inspected: b.seen + ".1", transparent: b.net + ".2", transparentInspected: b.seen + ".2",
	}
	var cmd *exec.Cmd
	p.again = func() int {
		if cmd != nil {
			_ = cmd.Process.Kill() // it may have ended by itself
			_ = cmd.Wait()
		}
		cmd = exec.Command(b.binary, "serve", "--config", config)
		pid := start(t, cmd, p.plain)
		p.awaitReady(t)
		return pid
	}
	p.pid = p.again()
	return p, certificateIn(t, filepath.Join(dir, "data", "ca"))
}

func (p peer) awaitReady(t *testing.T) {
	t.Helper()
	for end := time.Now().Add(60 * time.Second); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		if resp, err := http.Get(p.metrics + "/healthz"); err == nil {
			resp.Body.Close()
			return
		}
	}
	t.Fatal("the box is not well")
}

func listed() int {
	n := 6_800_000
	if testing.Short() {
		n = 200_000
	}
	if m, err := strconv.Atoi(os.Getenv("SCHOOLGATE_BENCH_LISTED")); err == nil {
		n = m
	}
	return n
}

// useStore puts a store of n names in place; one that was built before is kept
// beside and linked, for building millions takes longer than measuring.
func useStore(t *testing.T, dir string, n int) {
	t.Helper()
	kept := filepath.Join(os.TempDir(), fmt.Sprintf("schoolgate-bench-%d.db", n))
	if _, err := os.Stat(kept); err != nil {
		buildStore(t, kept, n)
	}
	d, err := categories.OpenDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(kept)
	if err == nil {
		err = os.WriteFile(d.Path(1), text, 0o600)
	}
	if err == nil {
		err = d.Publish(1)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func buildStore(t *testing.T, path string, n int) {
	t.Helper()
	b, err := categories.Create(path, categories.BuildOptions{Version: 1})
	if err != nil {
		t.Fatal(err)
	}
	source := b.Source(categories.Source{Name: "bench", Weight: 1, Curated: true})
	add(t, b, source, blockedHost)
	for i := range n - 1 {
		add(t, b, source, fmt.Sprintf("host%d.listed%d.example", i, i%977))
	}
	if _, err := b.Finish(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func add(t *testing.T, b *categories.Builder, source categories.SourceID, name string) {
	t.Helper()
	h, err := policy.ParseHost(name)
	if err == nil {
		err = b.Add(source, categories.Entry{Host: h, Category: policy.Gambling})
	}
	if err != nil {
		t.Fatal(err)
	}
}

const squidConfig = `http_port 127.0.0.1:3201
http_port 127.0.0.1:3202 ssl-bump generate-host-certificates=on dynamic_cert_mem_cache_size=32MB tls-cert=%[1]s tls-key=%[2]s
http_port 127.0.0.1:3203 ssl-bump generate-host-certificates=on dynamic_cert_mem_cache_size=32MB tls-cert=%[1]s tls-key=%[2]s
https_port 127.0.0.1:3204 intercept ssl-bump generate-host-certificates=on dynamic_cert_mem_cache_size=32MB tls-cert=%[1]s tls-key=%[2]s
https_port 127.0.0.1:3205 intercept ssl-bump generate-host-certificates=on dynamic_cert_mem_cache_size=32MB tls-cert=%[1]s tls-key=%[2]s
acl peeked myportname 127.0.0.1:3202 127.0.0.1:3204 127.0.0.1:3205
acl spliced myportname 127.0.0.1:3204
acl step1 at_step SslBump1
acl barred dstdomain %[3]s
http_access deny barred
http_access allow all
ssl_bump peek step1 peeked
ssl_bump splice spliced
ssl_bump bump all
sslcrtd_program /usr/lib/squid/security_file_certgen -s %[4]s/leaves -M 64MB
sslcrtd_children 4 startup=4
tls_outgoing_options cafile=%[5]s
cache deny all
cache_mem 0 MB
access_log none
cache_log %[4]s/cache.log
pid_filename %[4]s/squid.pid
coredump_dir %[4]s
dns_nameservers 203.0.113.53
host_verify_strict off
client_dst_passthru on
pinger_enable off
max_filedescriptors 16384
server_persistent_connections on
client_persistent_connections on
shutdown_lifetime 0 seconds
visible_hostname bench
via off
forwarded_for delete
`

// startSquid is squid from Debian, which keeps no cache here and no log: the
// quickest it can be made to do the same work.
func startSquid(t *testing.T, origins *authority) (peer, *x509.Certificate) {
	t.Helper()
	dir := t.TempDir()
	own := newAuthority(t, "squid")
	cert := own.write(t, dir, "own")
	roots := origins.write(t, dir, "origins")
	write(t, dir, "squid.conf", fmt.Sprintf(squidConfig, cert, own.writeKey(t, dir, "own"), blockedHost, dir, roots))
	if out, err := exec.Command("/usr/lib/squid/security_file_certgen", "-c", "-s", filepath.Join(dir, "leaves"), "-M", "64MB").CombinedOutput(); err != nil {
		t.Fatalf("certgen: %v\n%s", err, out)
	}
	open(t, dir)
	pid := start(t, exec.Command("squid", "-N", "-f", filepath.Join(dir, "squid.conf")), "127.0.0.1:3201", "127.0.0.1:3202")
	return peer{
		name: "squid", pid: pid, plain: "127.0.0.1:3201", inspect: "127.0.0.1:3202", unpeeked: "127.0.0.1:3203",
		from: "127.0.3.1", inspected: "127.0.3.1", transparent: "127.0.3.2", transparentInspected: "127.0.3.3",
	}, own.cert
}

// open gives all of a folder to everyone, and the way to it: squid is a user of its own.
func open(t *testing.T, dir string) {
	t.Helper()
	if out, err := exec.Command("chmod", "-R", "a+rwX", dir).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	for ; strings.HasPrefix(dir, os.TempDir()+"/"); dir = filepath.Dir(dir) {
		if err := os.Chmod(dir, 0o777); err != nil {
			t.Fatal(err)
		}
	}
}

// redirects are what a gateway does: connections to the origin from some clients
// arrive at a proxy.
func redirects(t *testing.T, peers []peer, ports map[string]string) {
	t.Helper()
	rules := "table ip bench { chain out { type nat hook output priority -100;\n"
	for _, p := range peers {
		for _, from := range []string{p.transparent, p.transparentInspected} {
			if port := ports[from]; port != "" {
				rules += fmt.Sprintf("ip saddr %s ip daddr { %s, %s } tcp dport 443 redirect to :%s\n", from, originAddr, replayAddr, port)
			}
		}
	}
	rules += fmt.Sprintf("ip saddr 127.2.0.0/16 ip daddr %s tcp dport 443 redirect to :3143\n", originAddr) // idle tunnels of ours
	cmd := exec.Command("nft", "-f", "-")
	cmd.Stdin = strings.NewReader(rules + "}\n}\n")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("nft: %v\n%s", err, out)
	}
}

// cpu is the time a process and its children have had.
func (p peer) cpu() time.Duration {
	total := time.Duration(0)
	for _, pid := range family(p.pid) {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil {
			continue
		}
		_, rest, _ := strings.Cut(string(text), ") ")
		fields := strings.Fields(rest)
		if len(fields) < 13 {
			continue
		}
		for _, f := range fields[11:13] {
			n, _ := strconv.Atoi(f) // the kernel writes numbers
			total += time.Duration(n) * 10 * time.Millisecond
		}
	}
	return total
}

// settled is the memory once nothing more is done behind the doors after a start.
func (p peer) settled(t *testing.T) int64 {
	t.Helper()
	const still = 30
	last, same := int64(0), 0
	for end := time.Now().Add(60 * time.Second); same < still; time.Sleep(100 * time.Millisecond) {
		if now, cpu := p.resident(), p.cpu(); now>>20 == last>>20 && cpu == p.busy {
			same++
		} else {
			last, p.busy, same = now, cpu, 0
		}
		if time.Now().After(end) {
			t.Fatal("the box does not come to rest")
		}
	}
	return last
}

// atRest is the memory once it has stood still for a while, or after half a minute: with
// tunnels open there is always a little to do.
func (p peer) atRest() int64 {
	const still = 80
	last, same := p.resident(), 0
	for end := time.Now().Add(30 * time.Second); same < still && time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
		if now := p.resident(); now>>20 == last>>20 {
			same++
		} else {
			last, same = now, 0
		}
	}
	return last
}

// tunnels is how many tunnels of ours are open, by its own count.
func (p peer) tunnels(t *testing.T) int {
	t.Helper()
	resp, err := http.Get(p.metrics + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if number, ok := strings.CutPrefix(line, "schoolgate_proxy_tunnels "); ok {
			n, err := strconv.ParseFloat(strings.TrimSpace(number), 64)
			if err != nil {
				t.Fatal(err)
			}
			return int(n)
		}
	}
	t.Fatal("no count of tunnels among the metrics")
	return 0
}

// resident is the memory of a process and its children, in bytes.
func (p peer) resident() int64 {
	total := int64(0)
	for _, pid := range family(p.pid) {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid))
		if fields := strings.Fields(string(text)); err == nil && len(fields) > 1 {
			n, _ := strconv.ParseInt(fields[1], 10, 64) // as above
			total += n * int64(os.Getpagesize())
		}
	}
	return total
}

func family(pid int) []int {
	list := []int{pid}
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%[1]d/children", pid))
	if err != nil {
		return list
	}
	for f := range strings.FieldsSeq(string(text)) {
		if child, err := strconv.Atoi(f); err == nil {
			list = append(list, family(child)...)
		}
	}
	return list
}

func write(t *testing.T, dir, name, text string) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}
