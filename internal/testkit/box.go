package testkit

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// BoxOptions say what appliance a test wants.
type BoxOptions struct {
	Policy   string   // policy.yaml; "" is SchoolPolicy
	Upstream string   // resolver of the DNS door; "" is one that is not there
	DNS      string   // more of the dns block, as in "dnssec: validate"
	Mail     string   // the mail block, indented, without its first line
	Ports    []string // what CONNECT may be carried to, beside 443
	Program  string   // the command on the PATH that it runs; "" is schoolgate
	Env      []string // NAME=value that the process gets beside ours
}

// SchoolPolicy is a small school. 127.0.0.1 and addresses above 127.0.1.0 are
// Year 5 tablets, 127.0.0.2 is a member of staff, 127.0.0.3 the nursery's tablet,
// 127.0.0.4 a visitor, 127.0.0.5 a Year 5 tablet in quarantine.
const SchoolPolicy = `profiles:
  ks2:
    title: Years 3 to 6
    band: ks2
    block: [pornography, extremism, gambling, gaming]
    uncategorised: allow
  nursery:
    title: Nursery
    band: eyfs
    like: ks2
    approved_only: yes
    approved: [for-nursery]
    uncategorised: block
  staff:
    title: Staff
    band: staff
    block: [pornography, extremism]
    uncategorised: allow
  guest:
    title: Visitors
    band: guest
    like: staff
groups:
  year5: {profile: ks2, addresses: [127.0.0.1, 127.0.1.0/24]}
  office: {profile: staff, addresses: [127.0.0.2]}
  nursery: {profile: nursery, addresses: [127.0.0.3]}
  visitors: {profile: guest, addresses: [127.0.0.4]}
devices:
  cut-off: {group: year5, address: 127.0.0.5, quarantine: a test}
lists:
  for-nursery: {sites: [approved.example]}
exceptions:
  - {block: blocked.example, for: everyone, reason: a test, by: a test}
alerts:
  quiet: 10m
  recipients: {dsl: dsl@school.example, deputy: deputy@school.example, head: head@school.example}
  rules:
    - {categories: [child_abuse, terrorism], for: pupils, severity: 5, to: [dsl, deputy]}
    - {categories: [child_abuse, terrorism], for: [staff, guest], severity: 5, to: [head]}
    - {categories: [extremism], for: pupils, severity: 4, to: [dsl, deputy]}
    - {categories: [pornography], for: pupils, severity: 3, to: [dsl]}
`

// Clients are one address of each kind of client in SchoolPolicy, and one of
// nobody's.
var Clients = []string{"127.0.0.1", "127.0.0.2", "127.0.0.3", "127.0.0.4", "127.0.0.5", "127.0.9.9"}

// Box is the appliance as a real process, with a folder and ports of its own.
type Box struct {
	Dir, Config        string // its folder, and the configuration in it
	DNS, Proxy, Health string // host:port
	program            string
	t                  testing.TB
	env                []string
	log                *Log
	process            *os.Process // nil while it does not run
	alive              context.Context
	end                error // of the process, once it lives no more
}

// NewBox writes the configuration; Start starts it. The command is found on the
// PATH, where the tests of cmd/schoolgate put it.
func NewBox(t testing.TB, o BoxOptions) *Box {
	t.Helper()
	ports := FreePorts(t, 3)
	b := &Box{t: t, env: o.Env, Dir: t.TempDir(), log: &Log{}, program: cmp.Or(o.Program, "schoolgate")}
	b.Config = filepath.Join(b.Dir, "schoolgate.yaml")
	for i, to := range []*string{&b.DNS, &b.Proxy, &b.Health} {
		*to = fmt.Sprintf("127.0.0.1:%d", ports[i])
	}
	if o.Upstream == "" {
		o.Upstream = "127.0.0.1:9"
	}
	if o.Policy == "" {
		o.Policy = SchoolPolicy
	}
	text := fmt.Sprintf("policy: policy.yaml\ndata: data\n"+
		"dns: {listen: [%q], upstreams: [%q], %s}\nmetrics: {listen: [%q]}\n"+
		"proxy:\n  listen: [%q]\n  allow_destinations: [127.0.0.0/8]\n  connect_ports: [%s]\n",
		b.DNS, o.Upstream, o.DNS, b.Health, b.Proxy, strings.Join(append([]string{"443"}, o.Ports...), ", "))
	if o.Mail != "" {
		text += "mail:\n" + o.Mail
	}
	b.Write("schoolgate.yaml", text)
	b.Write("policy.yaml", o.Policy)
	t.Cleanup(func() {
		if b.process != nil && b.alive.Err() == nil {
			b.Kill()
		}
		if t.Failed() {
			t.Logf("log of the appliance:\n%s", b.log)
		}
		b.checkLog()
	})
	return b
}

// Write puts a file into the box's folder.
func (b *Box) Write(name, text string) {
	b.t.Helper()
	if err := os.WriteFile(filepath.Join(b.Dir, name), []byte(text), 0o600); err != nil {
		b.t.Fatal(err)
	}
}

// Start starts the process and returns when it is ready.
func (b *Box) Start() {
	b.t.Helper()
	b.launch()
	if err := Ready(b.Health, 30*time.Second, b.alive.Done()); err != nil {
		b.t.Fatal(err)
	}
}

// StartUnwell starts the process and returns when it serves, ready or not.
func (b *Box) StartUnwell() {
	b.t.Helper()
	b.launch()
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		conn, err := net.Dial("tcp", b.Health)
		if err == nil {
			_ = conn.Close() // it was only to see whether anybody is there
			return
		}
		if time.Now().After(end) {
			b.t.Fatal(err)
		}
	}
}

func (b *Box) launch() {
	b.t.Helper()
	cmd := exec.Command(b.program, "serve", "--config", b.Config)
	cmd.Env = append(cmd.Environ(), b.env...)
	cmd.Stdout, cmd.Stderr = b.log, b.log
	if err := cmd.Start(); err != nil {
		b.t.Fatal(err)
	}
	alive, died := context.WithCancel(context.Background())
	b.process, b.alive = cmd.Process, alive
	go func() {
		b.end = cmd.Wait()
		died()
	}()
}

// Stop asks it to end and wants it to end well.
func (b *Box) Stop() {
	b.t.Helper()
	b.Signal(syscall.SIGTERM)
	b.process = nil
	select {
	case <-b.alive.Done():
		if b.end != nil {
			b.t.Errorf("the appliance ended with %v, want exit code 0", b.end)
		}
	case <-time.After(30 * time.Second):
		b.t.Fatal("the appliance does not end")
	}
}

// Kill ends it as a power cut would, as far as one process can tell.
func (b *Box) Kill() {
	b.t.Helper()
	b.Signal(syscall.SIGKILL)
	b.process = nil
	<-b.alive.Done()
}

// Signal sends it a signal.
func (b *Box) Signal(s os.Signal) {
	b.t.Helper()
	if err := b.process.Signal(s); err != nil {
		b.t.Fatal(err)
	}
}

// Log is what the process has said.
func (b *Box) Log() *Log { return b.log }

// Command is a command on the box's configuration.
func (b *Box) Command(args ...string) *exec.Cmd {
	cmd := exec.Command("schoolgate", append(args, "--config", b.Config)...)
	cmd.Env = append(cmd.Environ(), b.env...)
	return cmd
}

// Try runs a command on the box's configuration.
func (b *Box) Try(args ...string) (stdout, stderr string, err error) {
	cmd := b.Command(args...)
	var out, trouble bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &trouble
	err = cmd.Run()
	return out.String(), trouble.String(), err
}

// Run runs a command that must end well.
func (b *Box) Run(args ...string) string {
	b.t.Helper()
	out, trouble, err := b.Try(args...)
	if err != nil {
		b.t.Fatalf("schoolgate %s: %v\n%s%s", strings.Join(args, " "), err, out, trouble)
	}
	return out
}

// Ask asks the DNS door as a client would that has the address from. A client
// that gets no answer gets an error: nothing is asked twice. A box that is killed
// is not waited for.
func (b *Box) Ask(from, network, name string, qtype uint16) (*dns.Msg, error) {
	q := new(dns.Msg).SetQuestion(dns.Fqdn(name), qtype)
	q.SetEdns0(1232, false)
	d := &net.Dialer{Timeout: 10 * time.Second, LocalAddr: &net.UDPAddr{IP: net.ParseIP(from)}}
	if network == "tcp" {
		d.LocalAddr = &net.TCPAddr{IP: net.ParseIP(from)}
	}
	plain, err := d.Dial(network, b.DNS)
	if err != nil {
		return nil, err
	}
	conn := &dns.Conn{Conn: plain, UDPSize: 1232}
	release := context.AfterFunc(b.alive, func() { _ = plain.Close() }) // so that the read ends
	defer release()
	defer conn.Close()
	r, _, err := (&dns.Client{Net: network, Timeout: 10 * time.Second}).ExchangeWithConn(q, conn)
	return r, err
}

// Client is a browser with the address from that uses the proxy.
func (b *Box) Client(from string) *http.Client {
	dialer := &net.Dialer{Timeout: 10 * time.Second, LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
	transport := &http.Transport{
		Proxy:       http.ProxyURL(&url.URL{Scheme: "http", Host: b.Proxy}),
		DialContext: dialer.DialContext, DisableCompression: true,
	}
	b.t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{
		Transport: transport, Timeout: 20 * time.Second,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// Dial opens a plain connection to one of the box's addresses.
func (b *Box) Dial(from, addr string) net.Conn {
	b.t.Helper()
	dialer := &net.Dialer{Timeout: 10 * time.Second, LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
	conn, err := dialer.Dial("tcp", addr)
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() { _ = conn.Close() }) // closed already by a test that cares
	if err := conn.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		b.t.Fatal(err)
	}
	return conn
}

// checkLog holds what an operator's log may not have: a race, a panic, browsing.
func (b *Box) checkLog() {
	for line := range strings.Lines(b.log.String()) {
		for _, bad := range []string{"DATA RACE", "panic", "goroutine "} {
			if strings.Contains(line, bad) {
				b.t.Errorf("the appliance's log: %s", line)
			}
		}
		if strings.Contains(strings.ReplaceAll(line, "school.example", ""), ".example") {
			b.t.Errorf("the operator's log holds browsing: %s", line)
		}
	}
}

// Log collects the output of a process.
type Log struct {
	mu   sync.Mutex
	text bytes.Buffer
}

// Write takes output.
func (l *Log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

// String is all of it so far.
func (l *Log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// Count is how often the words have been said.
func (l *Log) Count(words string) int { return strings.Count(l.String(), words) }

// Wait returns once the words have been said n times.
func (l *Log) Wait(ctx context.Context, words string, n int) error {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for l.Count(words) < n {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return errors.Join(fmt.Errorf("waiting for %q in the log, %d times", words, n), ctx.Err())
		}
	}
	return nil
}
