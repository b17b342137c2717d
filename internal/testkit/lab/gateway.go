package lab

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"schoolgate/internal/testkit"
)

// Gateway is the box: the real binary, in the gateway's namespace.
type Gateway struct {
	*namespace
	lab         *Lab
	Dir, Config string
	binary      string
	process     *exec.Cmd
	ended       chan error
	log         journal
}

// config is the schoolgate.yaml of the lab.
const config = `policy: policy.yaml
data: data
dns:
  listen: ["[::]:53"]
  upstreams: ["203.0.113.53:53"]
  networks: [10.77.0.0/16, "2001:db8:7000::/36", "fe80::/10", "127.0.0.0/8"]
  block: {answer: sinkhole, addresses: [10.77.2.1, "2001:db8:7002::1"]}
proxy:
  listen: ["[::]:3128"]
  page_listen: ["10.77.2.1:80", "[2001:db8:7002::1]:80"]
  transparent: {http: ["[::]:8080"], tls: ["[::]:8443"]}
metrics: {listen: ["[::]:9300"]}
gateway:
  wan: [wan0]
  networks:
    pupils: {interface: pupils, box: [10.77.2.1/24, "2001:db8:7002::1/64"]}
    staff: {interface: staff, box: [10.77.3.1/24, "2001:db8:7003::1/64"]}
    guests: {interface: guests, box: [10.77.4.1/24, "2001:db8:7004::1/64"]}
    it: {interface: it, box: [10.77.9.1/24, "2001:db8:7009::1/64"]}
  management: {networks: [it], ports: [22, 9300]}
  allow:
    - {ports: [tcp/993], from: [staff], to: [203.0.113.25, "2001:db8:77::25"]}
  doh_addresses: [doh.txt]
`

// schoolPolicy is the policy of the lab: the same for all but the band, so that
// what differs between the networks is the firewall's doing.
const schoolPolicy = `profiles:
  ks2:
    title: Years 3 to 6
    band: ks2
    block: [pornography, gambling]
    uncategorised: allow
  staff:
    title: Staff
    band: staff
    like: ks2
    uncategorised: allow
  guest:
    title: Visitors
    band: guest
    like: ks2
    uncategorised: allow
groups:
  pupils: {profile: ks2, addresses: [10.77.2.0/24, "2001:db8:7002::/64"]}
  office: {profile: staff, addresses: [10.77.3.0/24, "2001:db8:7003::/64", 10.77.9.0/24, "2001:db8:7009::/64"]}
  visitors: {profile: guest, addresses: [10.77.4.0/24, "2001:db8:7004::/64"]}
exceptions:
  - {block: blocked.example, for: everyone, reason: a test, by: a test}
  - {block: doh.example, for: everyone, reason: a test, by: a test}
`

func newGateway(l *Lab, n *namespace, s Settings) *Gateway {
	l.t.Helper()
	g := &Gateway{namespace: n, lab: l, Dir: l.t.TempDir()}
	g.Config = filepath.Join(g.Dir, "schoolgate.yaml")
	g.binary = filepath.Join(g.Dir, "schoolgate")
	g.handOver()
	g.write("schoolgate.yaml", s.Box)
	g.write("policy.yaml", s.Policy)
	g.write("doh.txt", Address(hostDoH, false)+"\n"+Address(hostDoH, true)+"\n")
	if err := g.program(); err != nil {
		l.t.Fatal(err)
	}
	l.t.Cleanup(func() {
		g.Kill()
		if l.t.Failed() {
			l.t.Logf("the appliance said:\n%s", g.log.String())
		}
	})
	return g
}

// built is the program, compiled once for all labs of a test binary.
var built struct {
	sync.Mutex
	program []byte
}

// program puts the program where the doors' user may run it.
func (g *Gateway) program() error {
	built.Lock()
	defer built.Unlock()
	if built.program != nil {
		return os.WriteFile(g.binary, built.program, 0o755)
	}
	err := testkit.BuildProgram(g.binary)
	if err == nil {
		built.program, err = os.ReadFile(g.binary)
	}
	return err
}

// handOver gives the folder to the user that the doors run as.
func (g *Gateway) handOver() {
	g.t.Helper()
	uid, err := strconv.Atoi(nobody)
	if err := errors.Join(err, os.Chown(g.Dir, uid, uid), os.Chmod(filepath.Dir(g.Dir), 0o711)); err != nil {
		g.t.Fatal(err)
	}
}

func (g *Gateway) write(name, text string) {
	g.t.Helper()
	if err := os.WriteFile(filepath.Join(g.Dir, name), []byte(text), 0o644); err != nil {
		g.t.Fatal(err)
	}
}

// Schoolgate runs a command of the binary on the gateway.
func (g *Gateway) Schoolgate(args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	program := slices.Concat(firewallPrivileges, []string{g.binary}, args, []string{"--config", g.Config})
	out, err := g.command(ctx, "setpriv", program...).CombinedOutput()
	return string(out), err
}

// AsDoors runs a command as the doors' own user: a look at the journal is written
// into it.
func (g *Gateway) AsDoors(args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	program := slices.Concat(unprivileged, []string{g.binary}, args, []string{"--config", g.Config})
	out, err := g.command(ctx, "setpriv", program...).CombinedOutput()
	return string(out), err
}

// Apply has the firewall applied.
func (g *Gateway) Apply() {
	g.t.Helper()
	if out, err := g.Schoolgate("firewall", "apply"); err != nil {
		g.t.Fatalf("firewall apply: %v\n%s", err, out)
	}
}

// Open takes the firewall away and forwards everything: what a gateway without it
// would let through, every probe must then find open.
func (g *Gateway) Open() {
	g.t.Helper()
	g.run("nft", "flush ruleset")
	g.run("sysctl", "-q", "net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1", "net.ipv4.conf.all.rp_filter=0")
}

// Start starts the appliance and waits until it is ready.
func (g *Gateway) Start() {
	g.t.Helper()
	g.process = g.command(context.Background(), "setpriv", slices.Concat(unprivileged, endsWithUs, []string{g.binary, "serve", "--config", g.Config})...)
	g.process.Stdout, g.process.Stderr = &g.log, &g.log
	var err error
	if g.ended, err = daemon(g.process); err != nil {
		g.t.Fatal(err)
	}
	if err := g.ready(); err != nil {
		g.t.Fatalf("the appliance is not ready: %v\n%s", err, g.log.String())
	}
}

// unprivileged is what deploy/systemd/schoolgate.service gives the doors: a user of
// their own and the ports below 1024.
var unprivileged = []string{
	"--reuid=" + nobody, "--regid=" + nobody, "--clear-groups", "--no-new-privs",
	"--bounding-set=-all,+net_bind_service", "--inh-caps=-all,+net_bind_service", "--ambient-caps=-all,+net_bind_service",
}

// endsWithUs has the kernel end the appliance when the test is killed: none is left.
var endsWithUs = []string{"--pdeathsig", "KILL"}

const nobody = "65534"

// firewallPrivileges are those of deploy/systemd/schoolgate-firewall.service.
var firewallPrivileges = []string{"--no-new-privs", "--bounding-set=-all,+net_admin,+sys_admin,+dac_read_search"}

// Kill ends the appliance as a crash would.
func (g *Gateway) Kill() {
	if g.process == nil {
		return
	}
	_ = g.process.Process.Signal(syscall.SIGKILL) // it may have ended by itself
	<-g.ended
	g.process = nil
}

func (g *Gateway) ready() error {
	client := &http.Client{Timeout: longTime, Transport: &http.Transport{
		DialContext: func(ctx context.Context, network, addr string) (conn net.Conn, err error) {
			g.do(func() { conn, err = (&net.Dialer{}).DialContext(ctx, network, addr) })
			return conn, err
		},
	}}
	defer client.CloseIdleConnections()
	last := errors.New("never asked")
	for end := time.Now().Add(60 * time.Second); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		select {
		case err := <-g.ended:
			g.ended <- err
			return fmt.Errorf("it ended: %w", err)
		default:
		}
		resp, err := client.Get("http://127.0.0.1:9300/readyz")
		if err != nil {
			last = err
			continue
		}
		_ = resp.Body.Close() // the status is all
		if resp.StatusCode == http.StatusOK {
			return nil
		}
		last = errors.New(resp.Status)
	}
	return last
}

// journal collects what a process says.
type journal struct {
	mu   sync.Mutex
	text bytes.Buffer
}

// Write takes output.
func (j *journal) Write(p []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.Write(p)
}

// String is all of it so far.
func (j *journal) String() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.String()
}

// repository is a file of this repository.
func (g *Gateway) repository(name string) string {
	g.t.Helper()
	out, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}").Output()
	if err != nil {
		g.t.Fatal(err)
	}
	return filepath.Join(strings.TrimSpace(string(out)), name)
}
