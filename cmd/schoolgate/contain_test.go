package main

import (
	"bufio"
	"crypto/tls"
	"encoding/pem"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"schoolgate/internal/testkit"
)

// soon is within what a quarantine and an emergency block must be in force, on
// every door, counted from when the command was typed.
const soon = 2 * time.Second

// containBox is a school that looks into what Year 5 does, and the ways in which
// a site is open to a device when it must be closed.
type containBox struct {
	*testkit.Box
	t     *testing.T
	plain string   // port of the origin over http
	site  *url.URL // and over https
	tls   *tls.Config
}

func newContainBox(t *testing.T) *containBox {
	t.Helper()
	world := newInternet(t)
	drip := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/live" {
			fmt.Fprint(w, "a page")
			return
		}
		for r.Context().Err() == nil { // a live stream
			if _, err := fmt.Fprintln(w, "frame"); err != nil || http.NewResponseController(w).Flush() != nil {
				return
			}
			time.Sleep(50 * time.Millisecond)
		}
	})
	origin := httptest.NewServer(drip)
	t.Cleanup(origin.Close)
	c := &containBox{t: t, plain: origin.URL[strings.LastIndex(origin.URL, ":")+1:], site: world.origin(t, drip, "wrong.example", "other.example")}
	upstream := testkit.NewUpstream(t, "wrong.example. 600 IN A 127.0.0.1", "other.example. 600 IN A 127.0.0.1",
		"alias.example. 600 IN CNAME wrong.example.", "www.childline.org.uk. 600 IN A 203.0.113.7")
	school := strings.Replace(testkit.SchoolPolicy, "    uncategorised: allow\n", "    uncategorised: allow\n    inspect: all\n", 1)
	c.Box = testkit.NewBox(t, testkit.BoxOptions{Upstream: upstream.Addr, Ports: []string{c.site.Port()}, Policy: school +
		"passes:\n  - {site: wrong.example, for: {group: year5}, until: 2099-01-01T00:00, reason: a lesson, by: a teacher}\n"})
	config, err := os.ReadFile(c.Config)
	if err != nil {
		t.Fatal(err)
	}
	c.Write("roots.pem", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: world.root.Raw})))
	c.Write("schoolgate.yaml", string(config)+"inspect: {enabled: yes, upstream_roots: roots.pem}\n")
	c.Run("ca", "init", "--config", c.Config)
	c.Run("ca", "export", "--config", c.Config, "--out", filepath.Join(c.Dir, "for-devices"))
	roots := certificatesOf(t, filepath.Join(c.Dir, "for-devices", "school-ca-1.pem"))
	roots.AddCert(world.root)
	c.tls = &tls.Config{RootCAs: roots}
	return c
}

func (c *containBox) browser(from string) *http.Client {
	client := c.Client(from)
	tr := client.Transport.(*http.Transport)
	tr.TLSClientConfig, tr.ForceAttemptHTTP2 = c.tls, true
	client.Timeout = 0
	return client
}

// way is one way to a site, open and in use.
type way struct {
	name   string
	closed func() bool // asks again, or reads on
}

// ways opens every way to a host for a client.
func (c *containBox) ways(from, host string) (list []way) {
	c.t.Helper()
	add := func(name string, closed func() bool) {
		if closed() {
			c.t.Fatalf("%s: %s by %s is closed before anybody closed it", from, host, name)
		}
		list = append(list, way{from + " " + host + " " + name, closed})
	}
	for _, network := range []string{"udp", "tcp"} {
		add("dns "+network, func() bool { // the answer is in the cache by the second time
			r, err := c.Ask(from, network, host, dns.TypeA)
			return err == nil && verdict(r) == "block"
		})
	}
	for scheme, port := range map[string]string{"http": c.plain, "https": c.site.Port()} {
		kept := c.browser(from)
		add(scheme+" on a kept connection", func() bool { return c.refused(kept, scheme+"://"+host+":"+port+"/") })
		add(scheme+" anew", func() bool { return c.refused(c.browser(from), scheme+"://"+host+":"+port+"/") })
		list = append(list, way{from + " " + host + " " + scheme + " stream", c.stream(from, scheme+"://"+host+":"+port+"/live")})
	}
	return list
}

// refused reports whether a page is not to be had.
func (c *containBox) refused(client *http.Client, address string) bool {
	resp, err := client.Get(address)
	if err != nil {
		return true
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return err != nil || resp.StatusCode == http.StatusForbidden || string(body) != "a page"
}

// stream opens a reply that does not end, and says whether it has.
func (c *containBox) stream(from, address string) func() bool {
	c.t.Helper()
	resp, err := c.browser(from).Get(address)
	if err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(func() { _ = resp.Body.Close() }) // it was cut off by then
	lines := bufio.NewScanner(resp.Body)
	if !lines.Scan() || lines.Text() != "frame" {
		c.t.Fatalf("%s: no stream: %q", address, lines.Text())
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for lines.Scan() {
		}
	}()
	return func() bool {
		select {
		case <-ended:
			return true
		default:
			return false
		}
	}
}

// allClosed waits until every way is closed and fails where one took too long.
func (c *containBox) allClosed(typed time.Time, ways []way) {
	c.t.Helper()
	for _, w := range ways {
		for !w.closed() {
			if time.Since(typed) > 10*soon {
				break
			}
			time.Sleep(10 * time.Millisecond)
		}
		if took := time.Since(typed); took > soon {
			c.t.Errorf("%s was open %s after the command was typed, want at most %s", w.name, took, soon)
		}
	}
}

// One command closes a site to everybody, staff too, on every door and in what is
// open already, in under two seconds; whatever a pass opened. It is on record with
// its reason, outlives reload and restart, and opens again by two people only.
func TestEmergencyBlockIsLive(t *testing.T) { // R25
	b := newContainBox(t)
	b.Start()
	ways := append(b.ways("127.0.0.1", "wrong.example"), b.ways("127.0.0.2", "wrong.example")...)
	still := b.browser("127.0.0.1")
	typed := time.Now()
	b.Run("block", "https://wrong.example/", "--by", "A Head", "--reason", "a page no child may see", "--incident", "IN-1")
	b.allClosed(typed, ways)
	if b.refused(still, "http://other.example:"+b.plain+"/") {
		t.Error("another site was closed with it")
	}
	if r, err := b.Ask("127.0.0.1", "udp", "alias.example", dns.TypeA); err != nil || verdict(r) != "block" {
		t.Errorf("an alias of the site: %v, %v, want it refused", r, err)
	}
	for name, again := range map[string]func(){
		"reload": func() { b.Run("reload") }, "restart": func() { b.Stop(); b.Start() }, "kill": func() { b.Kill(); b.Start() },
	} {
		again()
		if !b.refused(b.browser("127.0.0.2"), "http://wrong.example:"+b.plain+"/") {
			t.Errorf("open after a %s", name)
		}
	}
	out := b.Run("audit", "search", "--text", "block.add")
	for _, want := range []string{"A Head", "block.add", "1 event"} {
		if !strings.Contains(out, want) {
			t.Errorf("the journal does not say %q:\n%s", want, out)
		}
	}
	if _, trouble, err := b.Try("unblock", "wrong.example", "--by", "A Head", "--second", "a  head", "--reason", "looked at it"); err == nil || !strings.Contains(trouble, "two different people") {
		t.Errorf("one person opened it: %v, %s", err, trouble)
	}
	b.Run("unblock", "wrong.example", "--by", "A Head", "--second", "B Lead", "--reason", "police are done with it")
	if b.refused(b.browser("127.0.0.2"), "http://wrong.example:"+b.plain+"/") {
		t.Error("closed after two people opened it")
	}
	if _, trouble, err := b.Try("block", "www.childline.org.uk", "--by", "A Head", "--reason", "a mistake"); err == nil || !strings.Contains(trouble, "never-block set") {
		t.Errorf("a help-line: %v, %s", err, trouble)
	}
	b.Stop()
}

// A device is cut off on every door in under two seconds, and what it has open is
// closed; help-lines stay open to it, other devices do not notice (R29, R30).
func TestQuarantineIsLive(t *testing.T) {
	b := newContainBox(t)
	b.Start()
	defer b.Stop()
	ways := b.ways("127.0.1.7", "other.example")
	typed := time.Now()
	b.Run("quarantine", "add", "127.0.1.7", "--by", "A DSL", "--reason", "police asked us to keep it")
	b.allClosed(typed, ways)
	if b.refused(b.browser("127.0.1.8"), "http://other.example:"+b.plain+"/") {
		t.Error("the tablet beside it is cut off too")
	}
	if r, err := b.Ask("127.0.1.7", "udp", "www.childline.org.uk", dns.TypeA); err != nil || len(r.Answer) == 0 || !strings.Contains(r.String(), "203.0.113.7") {
		t.Errorf("a help-line from quarantine: %v, %v", r, err)
	}
	if list := b.Run("quarantine", "list"); !strings.Contains(list, "127.0.1.7") || !strings.Contains(list, "police asked us to keep it") {
		t.Errorf("quarantine list:\n%s", list)
	}
	b.Run("quarantine", "lift", "127.0.1.7", "--by", "A DSL", "--second", "A Head", "--reason", "police agree")
	if b.refused(b.browser("127.0.1.7"), "http://other.example:"+b.plain+"/") {
		t.Error("cut off after it was lifted")
	}
}

// A record of quarantines that cannot be read cuts everybody off and says so; help-lines
// stay open, and two people begin it anew. One damaged copy of two harms nothing.
func TestDamagedQuarantineFailsClosed(t *testing.T) {
	b := newContainBox(t)
	b.Start()
	b.Run("quarantine", "add", "127.0.1.7", "--by", "A DSL", "--reason", "police asked us to keep it")
	b.Stop()
	spoilt := func(name string) {
		path := filepath.Join(b.Dir, "data", name)
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		text[len(text)/2] ^= 1
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	address := "http://other.example:" + b.plain + "/"
	spoilt("containment")
	b.Start()
	if !b.refused(b.browser("127.0.1.7"), address) || b.refused(b.browser("127.0.1.8"), address) {
		t.Error("one bad copy: want the tablet cut off and no other")
	}
	b.Stop()
	spoilt("containment.copy")
	b.StartUnwell()
	if !b.refused(b.browser("127.0.0.2"), address) {
		t.Error("nobody knows who is cut off, and staff get through")
	}
	if r, err := b.Ask("127.0.1.7", "udp", "www.childline.org.uk", dns.TypeA); err != nil || !strings.Contains(r.String(), "203.0.113.7") {
		t.Errorf("a help-line: %v, %v", r, err)
	}
	if got := fetch(t, http.DefaultClient, "http://"+b.Health+"/readyz"); !strings.Contains(got.body, "every device is cut off: the record of quarantines and emergency blocks cannot be read") {
		t.Errorf("readyz does not say it:\n%s", got.body)
	}
	b.Run("quarantine", "reset", "--by", "A Head", "--second", "B Lead", "--reason", "the disk was replaced")
	if b.refused(b.browser("127.0.0.2"), address) {
		t.Error("closed after two people began it anew")
	}
	b.Stop()
}
