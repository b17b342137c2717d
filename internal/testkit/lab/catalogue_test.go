package lab

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"schoolgate/internal/testkit"
)

// catalogueBox is the box of TestCatalogue: it looks into the https of devices that
// have the school's certificate, and mails its alerts.
const catalogueBox = config + `inspect: {enabled: yes, upstream_roots: roots.pem}
mail: {server: "203.0.113.26:587", tls: starttls, from: schoolgate@school.example, ca_file: mail-ca.pem, timeout: 10s}
`

// cataloguePolicy has pupils whose devices are not looked into, as a phone, and
// pupils whose devices are.
const cataloguePolicy = `profiles:
  ks2:
    title: Years 3 to 6
    band: ks2
    block: [pornography, gambling, vpn_proxy, doh, unsafe_search]
    uncategorised: allow
    safe_search: strict
    youtube: strict
    scan: 100
  looked:
    title: Years 3 to 6, on devices of the school
    band: ks2
    like: ks2
    uncategorised: allow
    safe_search: strict
    youtube: strict
    inspect: all
    scan: 100
  staff: {title: Staff, band: staff, like: ks2, uncategorised: allow, scan: off}
groups:
  pupils: {profile: ks2, addresses: [10.77.2.0/25, "2001:db8:7002::/112"]}
  tablets: {profile: looked, addresses: [10.77.2.128/25, "2001:db8:7002::1:0/112", 10.77.4.0/24, "2001:db8:7004::/64"]}
  office: {profile: staff, addresses: [10.77.3.0/24, "2001:db8:7003::/64", 10.77.9.0/24, "2001:db8:7009::/64"]}
exceptions:
  - {block: blocked.example, for: everyone, reason: a test, by: a test}
  - {block: doh.example, for: everyone, reason: a test, by: a test}
  - {block: staffroom.example, for: {profile: ks2}, reason: a test, by: a test}
  - {block: staffroom.example, for: {profile: looked}, reason: a test, by: a test}
  - {block: hosting.example, for: everyone, reason: a test, by: a test}
  - {allow: class5.hosting.example, for: everyone, until: 2099-01-01, reason: a test, by: a test}
  - {block: games.open-hosting.example, for: everyone, reason: a test, by: a test}
  - {block: pages.example/games, for: everyone, reason: a test, by: a test}
alerts:
  quiet: 10m
  recipients: {dsl: dsl@school.example, deputy: deputy@school.example, head: head@school.example}
  rules:
    - {categories: [child_abuse], for: pupils, severity: 5, to: [dsl]}
    - {categories: [pornography], for: pupils, severity: 4, to: [dsl]}
    - {bypass: {tries: 5, within: 10m}, for: pupils, severity: 4, to: [deputy]}
  still_alive: never
`

const catalogueFeeds = `feeds:
  - {name: flagged, path: flagged.txt, format: domains, category: pornography, kind: curated, licence: ours, date: 2026-08-01}
  - {name: sealed, path: sealed.csv, format: csv, columns: {host: entry}, category: child_abuse, kind: mandatory, licence: none, date: 2026-08-01}
  - {builtin: starter}
`

// catalogue is the lab of TestCatalogue.
type catalogue struct {
	*Lab
	mail      *testkit.SMTP
	school    *x509.CertPool // the school's authority and the lab's: what a device of the school trusts
	authority *x509.Certificate
}

func newCatalogue(t *testing.T) *catalogue {
	t.Helper()
	c := &catalogue{}
	c.Lab = NewWith(t, Settings{Box: catalogueBox, Policy: cataloguePolicy, Prepare: func(g *Gateway) { c.prepare(t, g) }})
	return c
}

// prepare gives the box its lists and its authority, and starts the mail server.
func (c *catalogue) prepare(t *testing.T, g *Gateway) {
	t.Helper()
	at := At(hostMailer, false, 587)
	inet := g.lab.Internet.namespace
	c.mail = testkit.NewSMTP(t, testkit.SMTPOptions{Name: Address(hostMailer, false), Listen: func(string) (net.Listener, error) {
		return inet.listen("tcp", at), nil
	}})
	authority, err := os.ReadFile(c.mail.CAFile)
	if err != nil {
		t.Fatal(err)
	}
	g.write("mail-ca.pem", string(authority))
	root := string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: g.lab.Authority.cert.Raw}))
	g.write("roots.pem", root)
	g.write("feeds.yaml", catalogueFeeds)
	g.write("flagged.txt", "flagged.example\n")
	g.write("sealed.csv", "entry\nsealed.example\n")
	export := filepath.Join(g.Dir, "for-devices")
	for _, args := range [][]string{{"lists", "build", "--feeds", filepath.Join(g.Dir, "feeds.yaml")}, {"ca", "init"}, {"ca", "export", "--out", export}} {
		if out, err := g.AsDoors(args...); err != nil {
			t.Fatalf("%v: %v\n%s", args, err, out)
		}
	}
	ours, err := os.ReadFile(filepath.Join(export, "school-ca-1.pem"))
	if err != nil {
		t.Fatal(err)
	}
	c.school = x509.NewCertPool()
	if !c.school.AppendCertsFromPEM(ours) || !c.school.AppendCertsFromPEM([]byte(root)) {
		t.Fatal("no certificates")
	}
	block, _ := pem.Decode(ours)
	if c.authority, err = x509.ParseCertificate(block.Bytes); err != nil {
		t.Fatal(err)
	}
}

// row is a row of RELIABILITY.md 4, tried by a device of its own, over IPv4 and IPv6:
// what one row does is not on record of another.
type row struct {
	name   string
	looked bool // the device is one of the school's, and looked into
	f      func(t *testing.T, c *catalogue, h *Host, v6 bool)
}

var rows = []row{
	{"Y4 DNS over HTTPS at a site nobody knows, looked into", true, dnsInHTTPSIsSeen},
	{"Y5, Y11 names that networks answer for", false, networksAreAsked},
	{"Y15 addresses as hosts", false, addressesAreNoHosts},
	{"Y20 hellos in pieces", false, hellosAreJoined},
	{"Y6 encrypted hellos", false, encryptedHellosAreRefused},
	{"Y6 encrypted hellos, looked into", true, encryptedHellosFallBack},
	{"Y10 relays at bare addresses", false, relaysAreNotReached},
	{"Y10 meek, Y19 fronting, looked into", true, frontsAreSeen},
	{"Y12 a web proxy nobody knows", false, webProxiesAreRead},
	{"Y12 the same over https, looked into", true, webProxiesAreRead},
	{"Y13 pages fetched by others", false, pagesInPagesAreJudged},
	{"Y13 the same over https, looked into", true, pagesInPagesAreJudged},
	{"Y14 search engines", false, searchIsHeldSafe},
	{"Y14 search engines, looked into", true, searchIsRewritten},
	{"Y16, Y17 written forms", false, writtenFormsAreOneHost},
	{"Y18 odd requests", false, oddRequestsAreRefused},
	{"Y19 names that disagree", false, namesMustAgree},
	{"T7 nothing is smuggled, looked into", true, nothingIsSmuggledInside},
	{"T20 forged headers", false, nothingIsBelieved},
	{"T20 forged headers, looked into", true, nothingIsBelieved},
	{"Y25 allowed sites as carriers", true, childrenAreJudgedAlone},
	{"Y27 redirects", false, redirectsAreJudged},
	{"Y27 redirects, looked into", true, redirectsAreJudged},
	{"Y28 WebSockets", false, webSocketsAreJudged},
	{"Y28 WebSockets, looked into", true, webSocketsAreJudged},
	{"Y29 data in names", false, namesCarryNothing},
	{"Y31 proxies inside HTTP/2, looked into", true, http2CarriesNothingElse},
	{"Y36 nothing to unlock", false, nothingToUnlock},
	{"S2 five tries at a flagged name", true, flaggedTriesAreOneMail("flagged.example", "4")},
	{"S2 five tries at a name of a mandatory list", true, flaggedTriesAreOneMail("sealed.example", "5")},
	{"S2 five different tries", false, differentTriesAreOneMail},
}

// S2: the bypass catalogue, what a network with a browser, a mail server and an
// authority of the school's can show besides. doc.go says which row is shown where.
func TestCatalogue(t *testing.T) {
	c := newCatalogue(t)
	stopGuard := c.Gateway.Guard()
	t.Run("rows", func(t *testing.T) {
		for i, r := range rows {
			number := strconv.Itoa(20 + i)
			h := c.device(c.Pupil, number, number)
			if r.looked {
				h = c.device(c.Pupil, strconv.Itoa(140+i), "1:"+number)
				h.trusts = c.school
			}
			t.Run(r.name, func(t *testing.T) {
				t.Parallel()
				each(t, []*Host{h}, func(t *testing.T, h *Host, v6 bool) { r.f(t, c, h, v6) })
			})
		}
	})
	t.Run("Chromium", c.chromiumBrowses)
	t.Run("Y34 what is open ends", c.openEndsWithItsVerdict)
	t.Run("Y35 a flood", c.floodOpensNothing)
	c.blockedWasNeverReached(t)
	stopGuard()
	c.Gateway.Open()
	t.Run("the same ways without the firewall", func(t *testing.T) {
		each(t, []*Host{c.Pupil}, func(t *testing.T, h *Host, v6 bool) { catalogueIsOpen(t, c, h, v6) })
	})
}

// blockedWasNeverReached: whatever was tried, by whom, the host of blocked sites was
// asked for nothing.
func (c *catalogue) blockedWasNeverReached(t *testing.T) {
	t.Helper()
	if n := c.Internet.Count("page " + hostBlocked); n > 0 {
		t.Errorf("the blocked server was asked %d times: %v", n, c.Internet.requests("blocked.example", "flagged.example"))
	}
	if n := c.Internet.Count("hello " + hostBlocked); n > 0 {
		t.Errorf("%d TLS connections reached the blocked server", n)
	}
	for _, what := range c.Internet.requests("blocked.example") {
		t.Errorf("a request for the blocked name reached the internet: %s", what)
	}
}

// catalogueIsOpen is the control: without the box each of these reaches its end.
func catalogueIsOpen(t *testing.T, c *catalogue, h *Host, v6 bool) {
	for front := range c.Internet.ech.lists {
		if err := helloBehind(t, c, h, front, At(hostFront, v6, 443), ""); err != nil {
			t.Errorf("an encrypted hello by %s: %v, want it accepted: the probe proves nothing", front, err)
		}
	}
	if reply, err := h.knock(At(hostOther, v6, 443), string(hello(t, relayName))); err != nil || !strings.HasPrefix(reply, "\x16") {
		t.Errorf("a relay's hello = %.20q, %v, want an answer: the probe proves nothing", reply, err)
	}
	direct := h.Browser(v6, func(hostport string) string {
		_, port, _ := net.SplitHostPort(hostport)
		return net.JoinHostPort(Address(hostBlocked, v6), port)
	})
	if _, origin, _, err := Get(direct, "https://blocked.example/"); err != nil || origin != hostBlocked {
		t.Errorf("the blocked page by %q, %v: the probe proves nothing", origin, err)
	}
}

// proxy is the explicit proxy as the device reaches it.
func (h *Host) proxy(v6 bool) string { return net.JoinHostPort(h.router(v6), "3128") }

// ProxyBrowser is a browser that is set to the proxy.
func (h *Host) ProxyBrowser(v6 bool) *http.Client {
	c := h.Browser(v6, func(hostport string) string { return hostport })
	c.Transport.(*http.Transport).Proxy = http.ProxyURL(&url.URL{Scheme: "http", Host: h.proxy(v6)})
	return c
}

// connect opens a tunnel by the explicit proxy; status is what the proxy said.
func (h *Host) connect(ctx context.Context, v6 bool, target string) (conn net.Conn, status int, err error) {
	conn, err = h.Dial(ctx, "tcp", h.proxy(v6))
	if err != nil {
		return nil, 0, err
	}
	if err = conn.SetDeadline(time.Now().Add(longTime)); err == nil {
		_, err = fmt.Fprintf(conn, "CONNECT %s HTTP/1.1\r\nHost: %s\r\n\r\n", target, target)
	}
	if err != nil {
		return nil, 0, errors.Join(err, conn.Close())
	}
	br := bufio.NewReader(conn)
	reply, err := http.ReadResponse(br, &http.Request{Method: http.MethodConnect})
	if err != nil {
		return nil, 0, errors.Join(err, conn.Close())
	}
	return conn, reply.StatusCode, nil
}

// shake makes a TLS handshake and gives the connection.
func (h *Host) shake(conn net.Conn, name string, protocols ...string) (*tls.Conn, error) {
	c := tls.Client(conn, &tls.Config{RootCAs: h.roots(), ServerName: name, NextProtos: protocols})
	if err := conn.SetDeadline(time.Now().Add(longTime)); err != nil {
		return nil, err
	}
	return c, c.Handshake()
}

// inside opens a TLS connection to a site, by the transparent door or by CONNECT.
func (h *Host) inside(ctx context.Context, v6, explicit bool, name string, protocols ...string) (*tls.Conn, error) {
	conn, err := h.toward(ctx, v6, explicit, name)
	if err != nil {
		return nil, err
	}
	c, err := h.shake(conn, name, protocols...)
	if err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return c, nil
}

// toward is a connection to port 443 of a site, by the transparent door or by CONNECT.
func (h *Host) toward(ctx context.Context, v6, explicit bool, name string) (net.Conn, error) {
	if !explicit {
		return h.Dial(ctx, "tcp", At(siteOf(name), v6, 443))
	}
	conn, status, err := h.connect(ctx, v6, name+":443")
	if err == nil && status != http.StatusOK {
		err = errors.Join(fmt.Errorf("CONNECT %s: %d", name, status), conn.Close())
	}
	return conn, err
}

// hello is the ClientHello of a real client.
func hello(t testing.TB, name string) []byte {
	t.Helper()
	p, err := testkit.ClientHello(name)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// recorded waits until the journal holds all of these in refusals of the device.
func (c *catalogue) recorded(t *testing.T, h *Host, v6 bool, words ...string) {
	t.Helper()
	c.recordedAs(t, h, v6, "block", words...)
}

// recordedAs is recorded with another verdict.
func (c *catalogue) recordedAs(t *testing.T, h *Host, v6 bool, verdict string, words ...string) {
	t.Helper()
	out, missing := "", words
	for end := time.Now().Add(longTime); len(missing) > 0 && time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
		var err error
		if out, err = c.Gateway.AsDoors("audit", "export", "--format", "json", "--client", h.own(v6), "--verdict", verdict, "--limit", "0"); err != nil {
			t.Fatalf("audit search: %v\n%s", err, out)
		}
		missing = nil
		for _, w := range words {
			if !strings.Contains(out, w) {
				missing = append(missing, w)
			}
		}
	}
	if len(missing) > 0 {
		t.Errorf("the journal holds no %s with %q of %s:\n%s", verdict, missing, h.own(v6), out)
	}
}

// flaggedTriesAreOneMail: S2, M9. A pupil who tries a name five times, each time by
// another door, is one alert with five lines, and one mail at a real mail server.
func flaggedTriesAreOneMail(name, severity string) func(t *testing.T, c *catalogue, h *Host, v6 bool) {
	return func(t *testing.T, c *catalogue, h *Host, v6 bool) {
		if a, err := h.Lookup(name, v6); err != nil || a.String() != c.sinkhole(v6) {
			t.Errorf("DNS: %s = %s, %v, want the sinkhole", name, a, err)
		}
		plain := "GET %s HTTP/1.1\r\nHost: " + name + "\r\nConnection: close\r\n\r\n"
		for at, request := range map[string]string{
			At(hostOther, v6, 80): fmt.Sprintf(plain, "/"), h.proxy(v6): fmt.Sprintf(plain, "http://"+name+"/"),
		} {
			if reply, err := h.exchange(at, request); err != nil || !strings.HasPrefix(reply, "HTTP/1.1 403") {
				t.Errorf("http at %s: %.60q, %v, want 403", at, reply, err)
			}
		}
		for _, explicit := range []bool{false, true} {
			var conn net.Conn
			var err error
			if explicit {
				conn, _, err = h.connect(t.Context(), v6, name+":443")
			} else {
				conn, err = h.Dial(t.Context(), "tcp", At(hostOther, v6, 443))
			}
			if err != nil {
				t.Fatal(err)
			}
			if _, err := h.shake(conn, name); err != nil {
				t.Errorf("https, by the proxy %t: %v, want the school's certificate for the block page", explicit, err)
			}
			conn.Close()
		}
		c.oneMail(t, h, v6, "dsl", severity, 5)
	}
}

var (
	alertReference = regexp.MustCompile(`AL-[0-9A-Z-]+`)
	mailReference  = regexp.MustCompile(`Reference +(AL-[0-9A-Z-]+)`)
)

// oneMail waits for the alert of a device, looks at its lines (0 for some) and at the
// mails of it.
func (c *catalogue) oneMail(t *testing.T, h *Host, v6 bool, to, severity string, lines int) {
	t.Helper()
	shown, reference := "", ""
	for end := time.Now().Add(2 * longTime); time.Now().Before(end); time.Sleep(200 * time.Millisecond) {
		out, err := c.Gateway.AsDoors("alerts", "list")
		if err != nil {
			t.Fatalf("alerts list: %v\n%s", err, out)
		}
		reference = ""
		for line := range strings.Lines(out) {
			if strings.Contains(line, " "+h.own(v6)+" ") {
				reference = alertReference.FindString(line)
			}
		}
		if reference == "" {
			shown = out
			continue
		}
		if shown, err = c.Gateway.AsDoors("alerts", "show", reference, "--by", "a test"); err != nil {
			t.Fatalf("alerts show: %v\n%s", err, shown)
		}
		if countLines(shown) >= max(lines, 1) {
			break
		}
	}
	if got := countLines(shown); got != lines && lines > 0 || got == 0 {
		t.Errorf("the alert of %s has %d lines, want %d:\n%s", h.own(v6), got, lines, shown)
		return
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*longTime)
	defer cancel()
	for ctx.Err() == nil && len(c.mailsOf(reference)) == 0 {
		time.Sleep(20 * time.Millisecond) // rows run beside each other: an arrival wakes only one who waits
	}
	mails := c.mailsOf(reference)
	if len(mails) != 1 || strings.Join(mails[0].To, " ") != to+"@school.example" || mails[0].TLS < tls.VersionTLS12 {
		t.Fatalf("%d mails on %s, want one to %s over TLS: %+v", len(mails), reference, to, mails)
	}
	text := string(mails[0].Data)
	if !strings.Contains(text, "severity "+severity) {
		t.Errorf("the mail is not of severity %s:\n%s", severity, text)
	}
	for _, secret := range []string{".example", h.own(v6)} { // privacy 7
		if strings.Contains(strings.ReplaceAll(text, "school.example", ""), secret) {
			t.Errorf("the mail tells %q:\n%s", secret, text)
		}
	}
}

// countLines is how many events an alert shows.
func countLines(shown string) int {
	_, list, _ := strings.Cut(shown, "What was asked for\n")
	list, _, _ = strings.Cut(list, "\n\n")
	return strings.Count(list, "  SG-")
}

func (c *catalogue) mailsOf(reference string) (list []testkit.SMTPMessage) {
	for _, m := range c.mail.Messages() {
		if found := mailReference.FindStringSubmatch(string(m.Data)); found != nil && found[1] == reference {
			list = append(list, m)
		}
	}
	return list
}

// differentTriesAreOneMail: S2. Five ways round of different kinds, by five doors
// (the firewall, DNS, both proxies and the transparent one), are one alert with five
// lines, and one mail.
func differentTriesAreOneMail(t *testing.T, c *catalogue, h *Host, v6 bool) {
	if got := h.Probe("tcp", At(hostAnything, v6, 853)); got != "silent" { // dns_over_tls
		t.Errorf("DNS over TLS = %s, want silence", got)
	}
	if reply, err := h.exchange(At(hostAllowed, v6, 443), "SSH-2.0-OpenSSH_9.9\r\n"); err == nil && strings.HasPrefix(reply, "SSH") { // not_tls
		t.Errorf("SSH on 443 = %q", reply)
	}
	conn, status, err := h.connect(t.Context(), v6, "allowed.example:443") // sni_mismatch
	if err != nil || status != http.StatusOK {
		t.Fatalf("CONNECT = %d, %v", status, err)
	}
	if _, err := h.shake(conn, "blocked.example"); err == nil {
		t.Error("another name in a tunnel was let through")
	}
	conn.Close()
	if status, _, _, err := Get(h.ProxyBrowser(v6), "http://carrier.example/browse/http://blocked.example/"); err != nil || status != http.StatusForbidden { // nested
		t.Errorf("a page in a page = %d, %v, want 403", status, err)
	}
	if err := helloBehind(t, c, h, "cloudflare-ech.com", At(hostFront, v6, 443), ""); err == nil { // ech
		t.Error("an encrypted hello was let through")
	}
	c.oneMail(t, h, v6, "deputy", "4", 5)
}

// nothingToUnlock: Y36. There is no console on the box that a pupil could ask, and
// nothing that its doors serve opens anything: what is not a page of a site, the
// settings of a browser or the button of a block page is a 404 of ours.
func nothingToUnlock(t *testing.T, c *catalogue, h *Host, v6 bool) {
	for _, at := range []string{h.proxy(v6), net.JoinHostPort(c.sinkhole(v6), "80")} {
		for _, request := range []string{
			"GET /admin", "GET /console", "GET /login", "GET /unblock?site=blocked.example", "POST /unblock", "POST /api/exceptions", "PUT /policy.yaml", "GET /metrics",
			"GET /readyz", "GET /..%2f..%2fpolicy.yaml", "GET /debug/pprof/",
		} {
			host := at
			if strings.HasSuffix(at, ":80") {
				host = strings.TrimSuffix(at, ":80")
			}
			reply, err := h.exchange(at, request+" HTTP/1.1\r\nHost: "+host+"\r\nContent-Length: 0\r\nAuthorization: Basic YWRtaW46YWRtaW4=\r\nConnection: close\r\n\r\n")
			if err != nil || strings.HasPrefix(reply, "HTTP/1.1 2") || strings.HasPrefix(reply, "HTTP/1.1 3") || !strings.HasPrefix(reply, "HTTP/1.1 ") {
				t.Errorf("%s at %s = %.100q, %v, want nothing there", request, at, reply, err)
			}
		}
	}
	if a, err := h.Lookup("blocked.example", v6); err != nil || a.String() != c.sinkhole(v6) {
		t.Errorf("blocked.example = %s, %v after all that", a, err)
	}
}

// namesCarryNothing: Y29. Data in names is noticed, told once and closed; NULL and
// many texts are not carried.
func namesCarryNothing(t *testing.T, c *catalogue, h *Host, v6 bool) {
	server := net.JoinHostPort(h.router(v6), "53")
	ask := func(name string, qtype uint16) int {
		t.Helper()
		reply, err := h.Ask("udp", server, name, qtype)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		return reply.Rcode
	}
	if got := ask("a.data.example", dns.TypeA); got != dns.RcodeSuccess {
		t.Fatalf("before: %s", dns.RcodeToString[got])
	}
	if got := ask("b.data.example", dns.TypeNULL); got == dns.RcodeSuccess {
		t.Error("NULL is carried")
	}
	passed, kind := 0, map[bool]string{false: "4", true: "6"}[v6]
	for i := range 500 {
		if ask(fmt.Sprintf("%s%049d.data.example", kind, i), dns.TypeA) == dns.RcodeSuccess {
			passed++
		}
	}
	if passed < 50 || passed > 300 {
		t.Errorf("%d of 500 long names passed, want about 200", passed)
	}
	if got := ask("a.data.example", dns.TypeA); got != dns.RcodeRefused {
		t.Errorf("the domain afterwards: %s, want REFUSED", dns.RcodeToString[got])
	}
	if _, err := c.Staff.Lookup("a.data.example", v6); err != nil {
		t.Errorf("to another device: %v, want an answer", err)
	}
	texts := 0
	for i := range 100 {
		if ask(fmt.Sprint("t", kind, i, ".open-hosting.example"), dns.TypeTXT) != dns.RcodeRefused {
			texts++
		}
	}
	if texts > 60 {
		t.Errorf("%d of 100 TXT questions passed, want at most 60", texts)
	}
	c.recorded(t, h, v6, "dns_tunnel", "dns_texts")
	c.oneMail(t, h, v6, "deputy", "4", 0)
}

// searchIsHeldSafe: Y14, S14. Search engines and YouTube lead to their safe hosts, by
// DNS (all names of Google: TestSafeSearchOfEveryEngine), by CONNECT, and by the
// transparent door whatever address a device got elsewhere; engines without one are
// closed.
func searchIsHeldSafe(t *testing.T, c *catalogue, h *Host, v6 bool) {
	real := h.Browser(v6, func(hostport string) string {
		_, port, _ := net.SplitHostPort(hostport)
		return net.JoinHostPort(Address(hostSearch, v6), port)
	})
	for _, name := range []string{"www.google.co.uk", "www.youtube.com", "www.bing.com", "duckduckgo.com"} {
		if a, err := h.Lookup(name, v6); err != nil || a.String() != Address(hostSafe, v6) {
			t.Errorf("DNS: %s = %s, %v, want the safe host", name, a, err)
		}
		for way, browser := range map[string]*http.Client{"transparent": real, "proxy": h.ProxyBrowser(v6)} {
			for _, scheme := range []string{"http", "https"} {
				if _, origin, _, err := Get(browser, scheme+"://"+name+"/"); err != nil || origin != hostSafe {
					t.Errorf("%s, %s://%s: by %q, %v, want the safe host", way, scheme, name, origin, err)
				}
			}
		}
	}
	if a, err := h.Lookup("yandex.com", v6); err != nil || a.String() != c.sinkhole(v6) {
		t.Errorf("yandex.com = %s, %v, want the sinkhole", a, err)
	}
	if status, _, _, err := Get(real, "https://yandex.com/"); err == nil {
		t.Errorf("https://yandex.com/ = %d, want a refusal", status)
	}
}

// searchIsRewritten: the same where requests are seen: what turns safety off in an
// address is put right, and HTTP/3 is not offered (Y7).
func searchIsRewritten(t *testing.T, c *catalogue, h *Host, v6 bool) {
	query := "volcanoes-" + map[bool]string{false: "4", true: "6"}[v6]
	for way, browser := range map[string]*http.Client{"transparent": h.Browser(v6, nil), "proxy": h.ProxyBrowser(v6)} {
		resp, err := browser.Get("https://www.google.co.uk/search?q=" + query + "&safe=off")
		if err != nil {
			t.Errorf("%s: %v", way, err)
			continue
		}
		_, err = io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
		if err != nil || resp.StatusCode != http.StatusOK || resp.Header.Get(originHeader) != hostSafe || resp.Header.Get("Alt-Svc") != "" {
			t.Errorf("%s: %d, %v, %v, want the safe host's page and no Alt-Svc", way, resp.StatusCode, resp.Header, err)
		}
	}
	for _, what := range c.Internet.requests("www.google.co.uk") {
		if strings.Contains(what, query) && (!strings.Contains(what, "safe=active") || strings.Contains(what, "safe=off")) {
			t.Errorf("the engine was asked for %s", what)
		}
	}
}
