package lab

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// way is a way round that a pupil may try: something sent to the internet past
// the doors. Without the firewall each is open.
type way struct {
	row      string // of RELIABILITY.md
	network  string // tcp, udp, or the number of another protocol
	host     string
	port     int
	want     string
	protocol int
}

// waysRound: every port not carried by a door, with a name or without.
func waysRound() (list []way) {
	add := func(row, want, network, host string, ports ...int) {
		for _, p := range ports {
			list = append(list, way{row: row, network: network, host: host, port: p, want: want})
		}
	}
	add("Y2 DNS over TLS", "silent", "tcp", hostDoH, 853)
	add("Y2 DNS over QUIC", "silent", "udp", hostDoH, 784, 853, 8853)
	add("Y7 QUIC", "refused", "udp", hostAnything, 80, 443)
	add("Y8 VPN over UDP", "silent", "udp", hostAnything, 500, 1194, 1701, 4500, 9993, 41641, 51820)
	add("Y8 VPN over TCP", "silent", "tcp", hostAnything, 1194, 1723)
	add("Y9 SSH, SOCKS, RDP", "silent", "tcp", hostAnything, 22, 1080, 3389)
	add("Y10 Tor", "silent", "tcp", hostAnything, 9001, 9030)
	add("Y22 other ports", "silent", "tcp", hostAnything, 21, 25, 81, 3128, 5222, 8000, 8080, 8443, 65535)
	add("Y22 other ports", "silent", "udp", hostAnything, 1, 123, 3478, 5349, 8443, 65535)
	add("Y23 Teredo", "silent", "udp", hostAnything, 3544)
	for _, p := range append([]int{1}, protocols...) {
		list = append(list, way{row: "Y8, Y23 other protocols", network: "ip", host: hostAnything, protocol: p, want: "silent"})
	}
	return list
}

func (w way) String() string {
	if w.network == "ip" {
		return fmt.Sprintf("%s: protocol %d", w.row, w.protocol)
	}
	return fmt.Sprintf("%s: %s/%d", w.row, w.network, w.port)
}

func (w way) try(h *Host, v6 bool) string {
	switch {
	case w.network != "ip":
		return h.Probe(w.network, At(w.host, v6, w.port))
	case w.protocol == 1 && v6:
		return h.ProbeProtocol(58, Address(w.host, v6)) // what ICMP is called there
	}
	return h.ProbeProtocol(w.protocol, Address(w.host, v6))
}

// each runs a test for every kind of client, over IPv4 and IPv6 (Y23), all of them
// at the same time.
func each(t *testing.T, hosts []*Host, f func(t *testing.T, h *Host, v6 bool)) {
	t.Helper()
	t.Run("each", func(t *testing.T) {
		for _, h := range hosts {
			for _, v6 := range []bool{false, true} {
				version := "IPv4"
				if v6 {
					version = "IPv6"
				}
				_, who, _ := strings.Cut(h.name, "-")
				t.Run(who+" over "+version, func(t *testing.T) {
					t.Parallel()
					f(t, h, v6)
				})
			}
		}
	})
}

// S2: the bypass catalogue, as far as a network can show it.
func TestNoWayRound(t *testing.T) {
	l := New(t)
	stopGuard := l.Gateway.Guard()
	all := []*Host{l.Pupil, l.Staff, l.Guest}
	t.Run("what no door carries does not leave", func(t *testing.T) {
		each(t, all, waysAreShut)
	})
	t.Run("S2 what is dropped is on record", func(t *testing.T) { each(t, all, whatIsDroppedIsRecorded) })
	t.Run("T7 nothing is smuggled", func(t *testing.T) { each(t, []*Host{l.Pupil}, nothingIsSmuggled) })
	t.Run("Y1 every name server is the box", func(t *testing.T) { each(t, all, everyNameServerIsTheBox) })
	t.Run("Y3 DNS over HTTPS", func(t *testing.T) { each(t, all, dnsOverHTTPSIsRefused) })
	t.Run("Y15 bare addresses", func(t *testing.T) { each(t, []*Host{l.Pupil}, bareAddressesAreRefused) })
	t.Run("Y20 no server name", func(t *testing.T) { each(t, []*Host{l.Pupil}, theNameGivenCounts) })
	t.Run("S2 all of it is on record", func(t *testing.T) { each(t, []*Host{l.Pupil}, everythingIsRecorded) })
	t.Run("Y21 the origin of the name answers", func(t *testing.T) { each(t, all, theOriginOfTheNameAnswers) })
	t.Run("Y30 browsing without settings", func(t *testing.T) { each(t, all, browsingWithoutSettings) })
	t.Run("Y33 an address of another network", func(t *testing.T) { each(t, []*Host{l.Pupil, l.Guest}, addressesOfOthers) })
	t.Run("Y9, Y22 the proxy carries to nowhere else", func(t *testing.T) { each(t, all, proxyCarriesNowhereElse) })
	t.Run("management", func(t *testing.T) { each(t, all, managementIsShut) })
	t.Run("what the school allows", func(t *testing.T) { each(t, all, onlyWhatIsAllowed) })
	t.Run("R29 and nothing in quarantine", func(t *testing.T) { l.quarantineClosesWhatIsAllowed(t) })
	t.Run("networks apart", l.networksApart)
	if out, err := l.Gateway.Schoolgate("firewall", "check"); err != nil {
		t.Errorf("firewall check after all that: %v\n%s", err, out)
	}
	l.countsWereKept(t)
	stopGuard()
	l.Gateway.Open()
	t.Run("the same ways without the firewall", func(t *testing.T) {
		each(t, all, waysAreOpen)
	})
}

// countsWereKept: IT sees that somebody tried, not who.
func (l *Lab) countsWereKept(t *testing.T) {
	out, err := l.Gateway.Schoolgate("firewall", "count")
	if err != nil {
		t.Errorf("firewall count: %v\n%s", err, out)
	}
	for _, row := range []string{"Y1 pupils", "Y2 DNS over TLS", "Y2 DNS over QUIC", "Y3 ", "Y7 ", "Y8 IKE", "Y23 Teredo", "Y30 pupils: TLS", "Y33 an address of another", "everything else"} {
		if !regexp.MustCompile(`(?m)^ +[1-9][0-9]*  ` + row).MatchString(out) {
			t.Errorf("firewall count has nothing of %q:\n%s", row, out)
		}
	}
}

func waysAreShut(t *testing.T, h *Host, v6 bool) {
	together(waysRound(), func(w way) {
		if got := w.try(h, v6); got != w.want {
			t.Errorf("%v = %s, want %s", w, got, w.want)
		}
	})
}

// together calls f with each at the same time: silence takes its time.
func together[T any](list []T, f func(T)) {
	var all sync.WaitGroup
	for _, v := range list {
		all.Go(func() { f(v) })
	}
	all.Wait()
}

// The control: had the firewall not been there, each way would have been one.
func waysAreOpen(t *testing.T, h *Host, v6 bool) {
	together(waysRound(), func(w way) {
		if got := w.try(h, v6); got != "open" {
			t.Errorf("without the firewall %v = %s, want open: the probe proves nothing", w, got)
		}
	})
}

func everyNameServerIsTheBox(t *testing.T, h *Host, v6 bool) {
	for _, server := range []string{hostLiar, hostAnything, "199"} { // nobody has the last
		for _, network := range []string{"udp", "tcp"} {
			for name, want := range map[string]string{"allowed.example": Address(hostAllowed, false), "blocked.example": "10.77.2.1"} {
				reply, err := h.Ask(network, At(server, v6, 53), name, dns.TypeA)
				if err != nil || len(reply.Answer) != 1 || !strings.HasSuffix(reply.Answer[0].String(), "\t"+want) {
					t.Errorf("%s asked of .%s over %s = %v, %v, want %s", name, server, network, reply, err, want)
				}
			}
		}
	}
	if n := h.lab.Internet.Count("liar allowed.example") + h.lab.Internet.Count("liar blocked.example"); n > 0 {
		t.Errorf("the other name server was asked %d times", n)
	}
}

// askOverHTTPS asks the DNS-over-HTTPS server, by a name, at an address.
func askOverHTTPS(h *Host, name, addr string) (string, error) {
	q, err := new(dns.Msg).SetQuestion("blocked.example.", dns.TypeA).Pack()
	if err != nil {
		return "", err
	}
	c := h.Browser(false, func(string) string { return addr })
	resp, err := c.Post("https://"+name+"/dns-query", "application/dns-message", bytes.NewReader(q))
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	return resp.Header.Get(originHeader), nil
}

func dnsOverHTTPSIsRefused(t *testing.T, h *Host, v6 bool) {
	if a, err := h.Lookup("doh.example", v6); err != nil || a.String() != h.lab.sinkhole(v6) {
		t.Errorf("lookup of doh.example = %s, %v, want the sinkhole", a, err)
	}
	for _, test := range []struct{ promise, name, addr string }{
		{"known address", "doh.example", At(hostDoH, v6, 443)},
		{"known address, other name", "allowed.example", At(hostDoH, v6, 443)},
		{"known address, no name", netipHost(hostDoH, v6), At(hostDoH, v6, 443)},
		{"name at another address", "doh.example", At(hostOther, v6, 443)},
	} {
		before := h.lab.Internet.Count("doh")
		if by, err := askOverHTTPS(h, test.name, test.addr); err == nil || h.lab.Internet.Count("doh") != before {
			t.Errorf("%s: answered by %s, %v, want a refusal", test.promise, by, err)
		}
	}
}

func (l *Lab) sinkhole(v6 bool) string {
	if v6 {
		return l.Pupil.Router6
	}
	return l.Pupil.Router4
}

// netipHost is an address as a URL has it.
func netipHost(host string, v6 bool) string {
	if v6 {
		return "[" + Address(host, v6) + "]"
	}
	return Address(host, v6)
}

func bareAddressesAreRefused(t *testing.T, h *Host, v6 bool) {
	direct := h.Browser(v6, func(hostport string) string { return hostport })
	site := netipHost(hostOther, v6)
	if status, origin, _, err := Get(direct, "http://"+site+"/"); err != nil || status != http.StatusForbidden || origin != "" {
		t.Errorf("http = %d by %q, %v, want the block page", status, origin, err)
	}
	if status, _, _, err := Get(direct, "https://"+site+"/"); err == nil {
		t.Errorf("https = %d, want a refusal", status)
	}
}

// theNameGivenCounts: a connection without a server name stands for the name that
// this device was given for the address, and for none that another was given (Y20).
func theNameGivenCounts(t *testing.T, h *Host, v6 bool) {
	if _, err := h.Lookup("www.allowed.example", v6); err != nil {
		t.Fatal(err)
	}
	if _, err := h.lab.Staff.Lookup("other.example", v6); err != nil {
		t.Fatal(err)
	}
	direct := h.Browser(v6, func(hostport string) string { return hostport })
	status, origin, _, err := Get(direct, "https://"+netipHost(hostAllowed, v6)+"/")
	if err != nil || status != http.StatusOK || origin != hostAllowed {
		t.Errorf("no server name, to an address it was given = %d by %q, %v, want the page", status, origin, err)
	}
	if status, _, _, err := Get(direct, "https://"+netipHost(hostOther, v6)+"/"); err == nil {
		t.Errorf("no server name, to an address another device was given = %d, want a refusal", status)
	}
}

// everythingIsRecorded: the doors wrote down what was tried (S2).
func everythingIsRecorded(t *testing.T, h *Host, v6 bool) {
	client := h.IPv4
	if v6 {
		client = h.IPv6
	}
	out, err := h.lab.Gateway.AsDoors("audit", "search", "--client", client, "--verdict", "block")
	for _, host := range []string{"doh.example", "blocked.example", Address(hostOther, v6)} {
		if err != nil || !strings.Contains(out, host) {
			t.Errorf("the journal has no refusal of %s to %s: %v\n%s", host, client, err, out)
		}
	}
}

// theOriginOfTheNameAnswers: where a connection was going has no say.
func theOriginOfTheNameAnswers(t *testing.T, h *Host, v6 bool) {
	toward := func(host string) *http.Client {
		return h.Browser(v6, func(hostport string) string {
			_, port, _ := net.SplitHostPort(hostport)
			return net.JoinHostPort(Address(host, v6), port)
		})
	}
	for _, scheme := range []string{"http", "https"} {
		if _, origin, _, err := Get(toward(hostBlocked), scheme+"://allowed.example/"); err != nil || origin != hostAllowed {
			t.Errorf("%s to the blocked server's address with the allowed name: by %q, %v, want %s", scheme, origin, err, hostAllowed)
		}
		if status, origin, _, err := Get(toward(hostAllowed), scheme+"://blocked.example/"); err == nil && status != http.StatusForbidden || origin != "" {
			t.Errorf("%s to an allowed address with the blocked name: %d by %q, %v, want a refusal", scheme, status, origin, err)
		}
	}
}

func browsingWithoutSettings(t *testing.T, h *Host, v6 bool) {
	c := h.Browser(v6, nil)
	for _, url := range []string{"http://allowed.example/", "https://allowed.example/", "https://www.allowed.example/"} {
		status, origin, page, err := Get(c, url)
		if err != nil || status != http.StatusOK || origin != hostAllowed {
			t.Errorf("%s = %d by %q, %v, want the page", url, status, origin, err)
		}
		if strings.HasPrefix(url, "https") && !strings.Contains(page, "HTTP/2.0") {
			t.Errorf("%s: %s, want HTTP/2 untouched", url, page)
		}
	}
	if status, origin, _, err := Get(c, "http://blocked.example/"); err != nil || status != http.StatusForbidden || origin != "" {
		t.Errorf("blocked over http = %d by %q, %v, want the block page", status, origin, err)
	}
	if status, _, _, err := Get(c, "https://blocked.example/"); err == nil {
		t.Errorf("blocked over https = %d, want a refusal", status)
	}
	if n := h.lab.Internet.Count("page " + hostBlocked); n > 0 {
		t.Errorf("the blocked server was asked %d times", n)
	}
}

// proxyCarriesNowhereElse: what the firewall shuts, CONNECT does not open, nor does
// it lead into the school's own networks or the box.
func proxyCarriesNowhereElse(t *testing.T, h *Host, v6 bool) {
	together([]string{
		At(hostAnything, v6, 22), At(hostAnything, v6, 8443), "allowed.example:22", "blocked.example:443",
		net.JoinHostPort(h.lab.Staff.IPv4, "443"), net.JoinHostPort(h.lab.Staff.IPv6, "443"), "[::ffff:10.77.3.7]:443",
		net.JoinHostPort(h.lab.IT.router(v6), "443"), "127.0.0.1:443", "[::1]:443", "10.77.9.1:22", "127.0.0.1:9300",
	}, func(target string) {
		conn, err := h.Dial(t.Context(), "tcp", net.JoinHostPort(h.router(v6), "3128"))
		if err != nil {
			t.Errorf("the proxy: %v", err)
			return
		}
		defer conn.Close()
		if err := conn.SetDeadline(time.Now().Add(longTime)); err != nil {
			t.Error(err)
			return
		}
		fmt.Fprintf(conn, "CONNECT %s HTTP/1.1\r\nHost: %s\r\n\r\n", target, target)
		reply, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil || reply.StatusCode != http.StatusForbidden {
			t.Errorf("CONNECT %s = %+v, %v, want 403", target, reply, err)
		}
	})
}

// addressesOfOthers: a device that takes an address of the staff gets no answer,
// from the box or through it.
func addressesOfOthers(t *testing.T, h *Host, v6 bool) {
	taken, mask := h.lab.Staff.IPv4, "/32"
	if v6 {
		taken, mask = h.lab.Staff.IPv6, "/128"
	}
	h.addresses("lo", taken+mask)
	t.Cleanup(func() { ip(t, "-n "+h.name+" addr del "+taken+mask+" dev lo") })
	name := "asked-by-" + h.name + strings.ReplaceAll(taken, ":", "-") + ".example"
	h.askAs(t, taken, net.JoinHostPort(h.router(v6), "53"), name)
	together([]string{
		At(hostAllowed, v6, 80), At(hostAllowed, v6, 443),
		net.JoinHostPort(h.router(v6), "3128"), net.JoinHostPort(h.router(v6), "53"),
	}, func(to string) {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		var err error
		h.do(func() {
			d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(taken)}}
			var c net.Conn
			if c, err = d.DialContext(ctx, "tcp", to); err == nil {
				c.Close()
			}
		})
		cancel()
		if err == nil || outcome(err) != "silent" {
			t.Errorf("%s from %s: %v, want silence", to, taken, err)
		}
	})
	if n := h.lab.Internet.Count("resolver " + name); n > 0 {
		t.Errorf("a question in the name of %s was taken up", taken)
	}
}

// askAs sends a question in another's name; the answer would go to the other, so
// whether it was taken up shows at the resolver only.
func (h *Host) askAs(t *testing.T, from, server, name string) {
	t.Helper()
	question, err := new(dns.Msg).SetQuestion(dns.Fqdn(name), dns.TypeA).Pack()
	if err != nil {
		t.Fatal(err)
	}
	h.do(func() {
		d := net.Dialer{LocalAddr: &net.UDPAddr{IP: net.ParseIP(from)}}
		var c net.Conn
		if c, err = d.Dial("udp", server); err == nil {
			_, err = c.Write(question)
			err = errors.Join(err, c.Close())
		}
	})
	if err != nil {
		t.Fatal(err)
	}
}

func (h *Host) router(v6 bool) string {
	if v6 {
		return h.Router6
	}
	return h.Router4
}

// managementIsShut: the ports of IT are for IT's network, and the doors behind the
// redirect are reached by the redirect alone.
func managementIsShut(t *testing.T, h *Host, v6 bool) {
	var shut []string
	for _, box := range []string{h.router(v6), h.lab.IT.router(v6)} {
		for _, port := range []string{"22", "9300", "8080", "8443"} {
			shut = append(shut, net.JoinHostPort(box, port))
		}
	}
	together(shut, func(to string) {
		if got := h.Probe("tcp", to); got != "silent" {
			t.Errorf("tcp to %s = %s, want silence", to, got)
		}
	})
	status, _, _, err := Get(h.lab.IT.Browser(v6, func(hostport string) string { return hostport }), "http://"+net.JoinHostPort(h.lab.IT.router(v6), "9300")+"/healthz")
	if err != nil || status != http.StatusOK {
		t.Errorf("IT's look at /healthz = %d, %v, want 200", status, err)
	}
}

func onlyWhatIsAllowed(t *testing.T, h *Host, v6 bool) {
	want := "silent"
	if h == h.lab.Staff {
		want = "open"
	}
	if got := h.Probe("tcp", At(hostMail, v6, 993)); got != want {
		t.Errorf("the mail server that staff may use = %s, want %s", got, want)
	}
	together([]int{25, 143, 994}, func(port int) {
		if got := h.Probe("tcp", At(hostMail, v6, port)); got != "silent" {
			t.Errorf("another port of it, %d = %s, want silence", port, got)
		}
	})
}

// quarantineClosesWhatIsAllowed: what the school lets through besides the doors is
// closed to a device in quarantine, and open again once it is lifted.
func (l *Lab) quarantineClosesWhatIsAllowed(t *testing.T) {
	becomes := func(v6 bool, want string) {
		t.Helper()
		got := ""
		for end := time.Now().Add(longTime); got != want && time.Now().Before(end); {
			got = l.Staff.Probe("tcp", At(hostMail, v6, 993))
		}
		if got != want {
			t.Errorf("IPv6 %t: the mail server = %s, want %s", v6, got, want)
		}
	}
	for v6, addr := range map[bool]string{false: l.Staff.IPv4, true: l.Staff.IPv6} {
		if out, err := l.Gateway.AsDoors("quarantine", "add", addr, "--by", "A DSL", "--reason", "the police asked"); err != nil {
			t.Fatalf("quarantine add: %v\n%s", err, out)
		}
		becomes(v6, "silent")
		if out, err := l.Gateway.AsDoors("quarantine", "lift", addr, "--by", "A DSL", "--second", "A Head", "--reason", "they are done"); err != nil {
			t.Fatalf("quarantine lift: %v\n%s", err, out)
		}
		becomes(v6, "open")
	}
}

func (l *Lab) networksApart(t *testing.T) {
	at := map[bool]net.Listener{}
	for _, v6 := range []bool{false, true} {
		at[v6] = l.Staff.listen("tcp", net.JoinHostPort(l.Staff.own(v6), "7777"))
		defer at[v6].Close()
	}
	each(t, []*Host{l.Pupil, l.Guest}, func(t *testing.T, h *Host, v6 bool) {
		if got := h.Probe("tcp", at[v6].Addr().String()); got != "silent" {
			t.Errorf("a computer of the staff = %s, want silence", got)
		}
	})
}
