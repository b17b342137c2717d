package lab

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// forms are ways to write blocked.example (Y16, Y17): each is that host, or no host.
var forms = []string{
	"blocked.example", "BLOCKED.Example", "blocked.example.", "blocked.example..", "www.blocked.example", "a.b.c.blocked.example", "blocked.example:80",
	"user@blocked.example", "allowed.example@blocked.example", "allowed.example:80@blocked.example", "a@allowed.example@blocked.example", "allowed.example%40blocked.example", "@blocked.example",
	"%62locked.example", "%2562locked.example", "blocked%2eexample", "blocked%252eexample", "blocked%00.allowed.example", "blocked.example%00",
	"blocked.example\\@allowed.example", "blocked.example\\.allowed.example", "allowed.example\\@blocked.example", "blo\tcked.example", "blocked.example\x00.allowed.example",
	"block\u00aded.example", "block\u200bed.example", "block\u2060ed.example", "\ufeffblocked.example",
	"ｂｌｏｃｋｅｄ.example", "ⓑⓛⓞⓒⓚⓔⓓ.example", "𝐛𝐥𝐨𝐜𝐤𝐞𝐝.example", "blocked。example", "blocked．example", "blocked｡example", "BLOC\u212aED.example",
	"xn--blocked-.example", "xn--blocked.example", "blocked.example#allowed.example", "blocked.example?allowed.example", "blocked.example;allowed.example", "[blocked.example]", " blocked.example",
}

// lookAlikes are other names that look like it (Y17): they never lead to its server.
var lookAlikes = []string{"bl\u043ecked.example", "bl\u03bfcked.example", "b\u0142ocked.example", "blocke\u0501.example", "xn--blcked-xqf.example", "b1ocked.example", "blocked.examp1e"}

// writtenFormsAreOneHost: Y16, Y17, T1. However the blocked host is written, in an
// address, in Host, in CONNECT or in a ClientHello, by either door, its server does
// not answer.
func writtenFormsAreOneHost(t *testing.T, c *catalogue, h *Host, v6 bool) {
	rest := " HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n"
	together(append(append([]string(nil), forms...), lookAlikes...), func(form string) {
		for way, probe := range map[string][2]string{
			"the proxy, by its address":       {h.proxy(v6), "GET http://" + form + "/" + fmt.Sprintf(rest, "allowed.example")},
			"the proxy, by its Host":          {h.proxy(v6), "GET /" + fmt.Sprintf(rest, form)},
			"the transparent door, by Host":   {At(hostAllowed, v6, 80), "GET /" + fmt.Sprintf(rest, form)},
			"its own address, by Host":        {At(hostBlocked, v6, 80), "GET /" + fmt.Sprintf(rest, form)},
			"the transparent door, absolute":  {At(hostAllowed, v6, 80), "GET http://" + form + "/" + fmt.Sprintf(rest, "allowed.example")},
			"a path with two slashes":         {At(hostAllowed, v6, 80), "GET //" + form + "/" + fmt.Sprintf(rest, form)},
			"the page address of the box":     {net.JoinHostPort(c.sinkhole(v6), "80"), "GET /" + fmt.Sprintf(rest, form)},
			"a request for an https address":  {h.proxy(v6), "GET https://" + form + "/" + fmt.Sprintf(rest, "allowed.example")},
			"CONNECT in the transparent door": {At(hostAllowed, v6, 80), "CONNECT " + form + ":443" + fmt.Sprintf(rest, form)},
		} {
			reply, err := h.knock(probe[0], probe[1])
			paged := strings.HasPrefix(reply, "HTTP/1.1 200 Connection established") // to show the block page inside
			if strings.Contains(reply, originHeader) || strings.HasPrefix(reply, "HTTP/1.1 2") && !paged || strings.HasPrefix(reply, "HTTP/1.1 3") {
				t.Errorf("%q by %s = %.80q, %v, want a refusal", form, way, reply, err)
			}
		}
		for _, to := range []string{form, strings.TrimSuffix(form, ":80")} {
			conn, status, err := h.connect(t.Context(), v6, to+":443")
			if err != nil {
				continue // what cannot be read is answered and closed
			}
			if status == http.StatusOK { // to show the block page, or nothing
				if _, err := h.shake(conn, "blocked.example"); err == nil {
					t.Errorf("CONNECT %q leads to the blocked server", to)
				}
			}
			conn.Close()
		}
		// Whose answer it is, if there is one, shows at the blocked server alone.
		_, _ = h.knock(At(hostBlocked, v6, 443), string(named(t, form)))
	})
	for _, form := range []string{"blocked.example.", "BLOCKED.EXAMPLE", "www.blocked.example", "bLoCkEd.eXaMpLe"} {
		if a, err := h.Lookup(form, v6); err != nil || a.String() != c.sinkhole(v6) {
			t.Errorf("DNS: %s = %s, %v, want the sinkhole", form, a, err)
		}
	}
	// A look-alike that somebody has registered is a site of its own, and is told.
	for way, browser := range map[string]*http.Client{"transparent": h.Browser(v6, nil), "proxy": h.ProxyBrowser(v6)} {
		for _, scheme := range []string{"http", "https"} {
			if _, origin, _, err := Get(browser, scheme+"://"+lookAlikeSite+"/"); err != nil || origin != hostOther {
				t.Errorf("%s, %s: by %q, %v, want the site", way, scheme, origin, err)
			}
		}
	}
	c.recordedAs(t, h, v6, "allow", lookAlikeSite, `"finding":"look_alike"`)
}

// named is a ClientHello with a name as it is written, whatever it is.
func named(t *testing.T, name string) []byte {
	t.Helper()
	const placeholder = "placeholder.example"
	h := hello(t, placeholder)
	i := strings.Index(string(h), placeholder)
	if i < 9 {
		t.Fatal("no name in a hello")
	}
	out := append(append(append([]byte(nil), h[:i]...), name...), h[i+len(placeholder):]...)
	grow := func(at int) {
		n := int(out[at])<<8 | int(out[at+1])
		n += len(name) - len(placeholder)
		out[at], out[at+1] = byte(n>>8), byte(n)
	}
	grow(3)     // the record
	grow(7)     // the message, of whose length the first byte stays 0
	grow(i - 2) // the name
	grow(i - 5) // the list of names
	grow(i - 7) // the extension
	at := 5 + 4 + 2 + 32
	at += 1 + int(out[at])
	at += 2 + int(out[at])<<8 + int(out[at+1])
	at += 1 + int(out[at])
	grow(at) // all extensions
	return out
}

// oddRequestsAreRefused: Y18. Methods that no browser uses, old and made-up versions,
// two targets in one request: refused, or the one target that was judged answers.
func oddRequestsAreRefused(t *testing.T, _ *catalogue, h *Host, v6 bool) {
	site, proxy := At(hostAllowed, v6, 80), h.proxy(v6)
	together([]struct {
		name, at, request string
		want              string // how the answer begins, "" for none of an origin
	}{
		{"TRACE", site, "TRACE / HTTP/1.1\r\nHost: allowed.example\r\n", "HTTP/1.1 405"},
		{"TRACE by the proxy", proxy, "TRACE http://allowed.example/ HTTP/1.1\r\nHost: allowed.example\r\n", "HTTP/1.1 405"},
		{"a made-up method", site, "FETCH / HTTP/1.1\r\nHost: allowed.example\r\n", "HTTP/1.1 405"},
		{"WebDAV", site, "PROPFIND / HTTP/1.1\r\nHost: allowed.example\r\n", "HTTP/1.1 405"},
		{"a method in lower case", site, "get / HTTP/1.1\r\nHost: allowed.example\r\n", "HTTP/1.1 405"},
		{"connect in lower case", proxy, "connect blocked.example:443 HTTP/1.1\r\nHost: blocked.example:443\r\n", ""},
		{"CONNECT at the transparent door", site, "CONNECT blocked.example:443 HTTP/1.1\r\nHost: allowed.example\r\n", ""},
		{"two Hosts", site, "GET / HTTP/1.1\r\nHost: allowed.example\r\nHost: blocked.example\r\n", "HTTP/1.1 400"},
		{"an address beside another Host", site, "GET http://blocked.example/ HTTP/1.1\r\nHost: allowed.example\r\n", "HTTP/1.1 403"},
		{"the same the other way round", site, "GET http://allowed.example/ HTTP/1.1\r\nHost: blocked.example\r\n", "HTTP/1.1 200"},
		{"the same by the proxy", proxy, "GET http://blocked.example/ HTTP/1.1\r\nHost: allowed.example\r\n", "HTTP/1.1 403"},
		{"X-Forwarded-Host", site, "GET / HTTP/1.1\r\nHost: blocked.example\r\nX-Forwarded-Host: allowed.example\r\n", "HTTP/1.1 403"},
		{"X-Original-URL", proxy, "GET http://blocked.example/ HTTP/1.1\r\nHost: x\r\nX-Original-URL: http://allowed.example/\r\nX-HTTP-Method-Override: OPTIONS\r\n", "HTTP/1.1 403"},
		{"HTTP/1.0", site, "GET / HTTP/1.0\r\nHost: blocked.example\r\n", "HTTP/1.1 403"},
		{"HTTP/1.0 without Host", site, "GET / HTTP/1.0\r\n", "HTTP/1.1 403"},
		{"HTTP/0.9", site, "GET /\r\n", ""},
		{"another version", site, "GET / HTTP/3.0\r\nHost: allowed.example\r\n", ""},
		{"h2 without asking", site, "PRI * HTTP/2.0\r\n\r\nSM\r\n", ""},
		{"h2c at the transparent door", site, "GET / HTTP/1.1\r\nHost: allowed.example\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n", "HTTP/1.1 200"},
		{"h2c to a blocked host", site, "GET / HTTP/1.1\r\nHost: blocked.example\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n", "HTTP/1.1 403"},
		{"TLS on port 80", site, string(hello(t, "blocked.example")), ""},
		{"ftp", proxy, "GET ftp://blocked.example/ HTTP/1.1\r\nHost: x\r\n", "HTTP/1.1 4"},
		{"the proxy's own address", proxy, "GET http://" + h.proxy(v6) + "/ HTTP/1.1\r\nHost: x\r\n", "HTTP/1.1 4"},
		{"the console of the box", proxy, "GET http://127.0.0.1:9300/metrics HTTP/1.1\r\nHost: x\r\n", "HTTP/1.1 403"},
		{"the metadata of a cloud", proxy, "GET http://169.254.169.254/latest/ HTTP/1.1\r\nHost: x\r\n", "HTTP/1.1 403"},
	}, func(o struct{ name, at, request, want string }) {
		request := o.request
		if !strings.HasPrefix(request, "\x16") {
			if strings.Contains(request, "HTTP/1.1") && !strings.Contains(request, "Connection:") {
				request += "Connection: close\r\n"
			}
			request = strings.Replace(request, "Connection: Upgrade", "Connection: close, Upgrade", 1) + "\r\n"
		}
		speak := h.exchange
		if o.want == "" { // some of these wait for more
			speak = h.knock
		}
		reply, err := speak(o.at, request)
		fromBlocked := strings.Contains(reply, originHeader) && o.want != "HTTP/1.1 200"
		if !strings.HasPrefix(reply, o.want) || fromBlocked || strings.HasPrefix(reply, "HTTP/1.1 101") || strings.Count(reply, "HTTP/1.1 ") > 1 && o.want != "" {
			t.Errorf("%s = %.100q, %v, want %q", o.name, reply, err, o.want)
		}
	})
}

// namesMustAgree: Y19. The name in a tunnel is judged too, and its own server is what
// answers: a tunnel asked for one site is no way to another that is closed.
func namesMustAgree(t *testing.T, c *catalogue, h *Host, v6 bool) {
	for _, test := range []struct {
		connect, name string
		open          bool
	}{
		{"allowed.example", "blocked.example", false}, {"blocked.example", "allowed.example", false}, {"allowed.example", "flagged.example", false},
		{"allowed.example", "other.example", true}, // by the server of that name
	} {
		conn, status, err := h.connect(t.Context(), v6, test.connect+":443")
		if err != nil {
			t.Fatal(err)
		}
		if status == http.StatusOK {
			_, err = h.shake(conn, test.name)
		} else {
			err = fmt.Errorf("CONNECT: %d", status)
		}
		conn.Close()
		if (err == nil) != test.open {
			t.Errorf("CONNECT %s, hello for %s: %v, want open %t", test.connect, test.name, err, test.open)
		}
	}
	conn, err := h.Dial(t.Context(), "tcp", At(hostAllowed, v6, 443))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := h.shake(conn, "blocked.example"); err == nil {
		t.Error("a hello for the blocked name, sent to the allowed address, was let through")
	}
	c.recorded(t, h, v6, "sni_mismatch", "blocked.example")
}

// nothingIsBelieved: T20, Y33. What a request says of who sends it, or by what way it
// came, makes nobody of the staff, and leaves the school in no request.
func nothingIsBelieved(t *testing.T, c *catalogue, h *Host, v6 bool) {
	forged := ""
	for _, name := range []string{"X-Forwarded-For", "X-Real-IP", "Client-IP", "True-Client-IP", "X-Client-IP", "X-Originating-IP"} {
		forged += name + ": " + c.Staff.own(v6) + "\r\n"
	}
	forged += "Forwarded: for=" + c.Staff.own(v6) + ";host=staffroom.example\r\nVia: 1.1 " + h.router(v6) + " (schoolgate)\r\nX-Forwarded-Host: allowed.example\r\nConnection: close\r\n\r\n"
	for _, explicit := range []bool{false, true} {
		for host, want := range map[string]string{"staffroom.example": "HTTP/1.1 403", "allowed.example": "HTTP/1.1 200"} {
			conn, ahead, err := h.upgrade(t.Context(), v6, explicit, host, "/")
			if err != nil {
				t.Fatal(err)
			}
			fmt.Fprintf(conn, "GET %s/ HTTP/1.1\r\nHost: %s\r\n%s", ahead, host, forged)
			reply, err := io.ReadAll(conn)
			conn.Close()
			if !strings.HasPrefix(string(reply), want) {
				t.Errorf("proxy %t: %s = %.80q, %v, want %s", explicit, host, reply, err, want)
			}
		}
	}
	if status, origin, _, err := Get(c.Staff.Browser(v6, nil), "http://staffroom.example/"); err != nil || status != http.StatusOK || origin != hostOther {
		t.Errorf("to staff = %d by %q, %v, want the page", status, origin, err)
	}
	for _, name := range []string{"X-Forwarded-For", "Forwarded", "Via", "X-Forwarded-Host", "X-Real-Ip"} {
		if n := c.Internet.Count("header " + name); n > 0 {
			t.Errorf("%d requests left with %s", n, name)
		}
	}
}

// nothingIsSmuggledInside: T7. The pairs of nothingIsSmuggled inside TLS.
func nothingIsSmuggledInside(t *testing.T, _ *catalogue, h *Host, v6 bool) {
	together(pairs, func(p struct{ name, request string }) {
		for _, explicit := range []bool{false, true} {
			conn, err := h.inside(t.Context(), v6, explicit, "allowed.example", "http/1.1")
			if err != nil {
				t.Errorf("%s: %v", p.name, err)
				continue
			}
			_, err = io.WriteString(conn, p.request)
			reply, _ := io.ReadAll(conn) // however it ends
			conn.Close()
			if err != nil || !strings.HasPrefix(string(reply), "HTTP/1.1 400") || strings.Count(string(reply), "HTTP/1.") != 1 {
				t.Errorf("%s, proxy %t = %q, %v, want one 400", p.name, explicit, reply, err)
			}
		}
	})
}

// addressesAreNoHosts: Y15, T1. The blocked server's address, in every way to write
// one, by either door, leads nowhere; nor do the addresses of the inside.
func addressesAreNoHosts(t *testing.T, c *catalogue, h *Host, v6 bool) {
	rest := " HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n"
	together([]string{
		"203.0.113.11", "3405803787", "0xcb00710b", "0XCB00710B", "0313.0.0161.013", "0313.0x0.113.11", "203.0.28939", "203.28939", "203.0.113.011", "203.0.113.11.", "%32%30%33.0.113.11",
		"[2001:db8:77::11]", "[2001:0db8:0077:0000:0000:0000:0000:0011]", "[::ffff:203.0.113.11]", "[::ffff:cb00:710b]", "[64:ff9b::cb00:710b]", "[2002:cb00:710b::1]", "[::203.0.113.11]", "[2001:db8:77::11%25eth0]",
		"２０３.0.113.11", "203。0。113。11", "①②⑦.0.0.1", "127.1", "2130706433", "0177.1", "0", "[::]", "[::1]", "[::ffff:127.0.0.1]", "169.254.169.254", "10.77.3.7", "[2001:db8:7003::7]", "localhost", "localhost.", "a.localhost",
	}, func(form string) {
		for way, probe := range map[string][2]string{
			"the proxy":            {h.proxy(v6), "GET http://" + form + "/" + fmt.Sprintf(rest, "allowed.example")},
			"the transparent door": {At(hostBlocked, v6, 80), "GET /" + fmt.Sprintf(rest, form)},
			"CONNECT":              {h.proxy(v6), "CONNECT " + form + ":443" + fmt.Sprintf(rest, form)},
		} {
			reply, err := h.knock(probe[0], probe[1])
			if !strings.HasPrefix(reply, "HTTP/1.1 40") && !strings.HasPrefix(reply, "HTTP/1.1 502") || strings.Contains(reply, originHeader) {
				t.Errorf("%q by %s = %.80q, %v, want a refusal", form, way, reply, err)
			}
		}
	})
	c.recorded(t, h, v6, "ip_literal")
}

// hellosAreJoined: Y20. A hello in many records or segments is one hello: a blocked name
// in it is refused, an allowed one served; two names in one are none.
func hellosAreJoined(t *testing.T, c *catalogue, h *Host, v6 bool) {
	for _, size := range []int{1, 7, 64} {
		for name, open := range map[string]bool{"other.example": true, "blocked.example": false} {
			whole := hello(t, name)
			var cut []byte
			for body := whole[5:]; len(body) > 0; { // in records of that size
				part := body[:min(size, len(body))]
				cut = append(append(cut, 22, 3, 1, 0, byte(len(part))), part...)
				body = body[len(part):]
			}
			for how, write := range map[string]string{"records": string(cut), "segments": string(whole)} {
				reply, err := h.inPieces(t, At(hostBlocked, v6, 443), write, size)
				// A blocked name is answered, if at all, by the box for its block page: see
				// blockedWasNeverReached.
				if open && !strings.HasPrefix(reply, "\x16") {
					t.Errorf("%s, %s of %d = %.30q, %v, want open %t", name, how, size, reply, err, open)
				}
			}
		}
	}
	twice := named(t, "other.example\x00\x00\x0fblocked.example") // read as two entries by the lengths below
	at := strings.Index(string(twice), "other.example")
	twice[at-2], twice[at-1] = 0, byte(len("other.example"))
	if reply, err := h.knock(At(hostBlocked, v6, 443), string(twice)); strings.HasPrefix(reply, "\x16") {
		t.Errorf("two names = %.30q, %v, want a refusal", reply, err)
	}
	c.recorded(t, h, v6, "two_names", "blocked.example")
}

// inPieces sends a few bytes at a time, each in a segment of its own, and gives what
// comes back first.
func (h *Host) inPieces(t *testing.T, addr, text string, size int) (string, error) {
	t.Helper()
	conn, err := h.Dial(t.Context(), "tcp", addr)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(longTime)); err != nil {
		return "", err
	}
	for part := range slices.Chunk([]byte(text), size) { // Go sends each write at once
		if _, err := conn.Write(part); err != nil {
			return "", err
		}
	}
	reply := make([]byte, 64)
	n, err := conn.Read(reply)
	return string(reply[:n]), err
}

// dnsInHTTPSIsSeen: Y4. Where requests are seen, a DNS question in one is refused
// whatever the site and the path.
func dnsInHTTPSIsSeen(t *testing.T, c *catalogue, h *Host, v6 bool) {
	for way, browser := range map[string]*http.Client{"transparent": h.Browser(v6, nil), "proxy": h.ProxyBrowser(v6)} {
		for _, r := range []struct{ method, url, kind, accept string }{
			{http.MethodPost, "https://carrier.example/a/path", "application/dns-message", ""},
			{http.MethodPost, "https://carrier.example/", "Application/DNS-Message; charset=x", ""},
			{http.MethodGet, "https://carrier.example/dns-query?dns=AAABAAABAAAAAAAAA3d3dwdleGFtcGxlA2NvbQAAAQAB", "", ""},
			{http.MethodGet, "https://carrier.example/x?dns=AAAB", "", "application/dns-message"},
		} {
			q, err := http.NewRequest(r.method, r.url, strings.NewReader("\x00\x01"))
			if err != nil {
				t.Fatal(err)
			}
			q.Header.Set("Content-Type", r.kind)
			q.Header.Set("Accept", r.accept)
			resp, err := browser.Do(q)
			if err != nil {
				t.Errorf("%s: %v", way, err)
				continue
			}
			resp.Body.Close()
			if resp.StatusCode != http.StatusForbidden || resp.Header.Get(originHeader) != "" {
				t.Errorf("%s: %s %s = %d, want 403", way, r.method, r.url, resp.StatusCode)
			}
		}
	}
	c.recorded(t, h, v6, `"doh"`)
}

// networksAreAsked: Y5, Y11. The box says that it minds encrypted DNS and relays, to
// whoever asks, and names no other resolver.
func networksAreAsked(t *testing.T, c *catalogue, h *Host, v6 bool) {
	for _, server := range []string{net.JoinHostPort(h.router(v6), "53"), At(hostLiar, v6, 53)} {
		for name, want := range map[string]int{
			"use-application-dns.net": dns.RcodeNameError, "mask.icloud.com": dns.RcodeNameError, "mask-h2.icloud.com": dns.RcodeNameError, "doh.dns.apple.com": dns.RcodeNameError,
		} {
			for _, qtype := range []uint16{dns.TypeA, dns.TypeAAAA} {
				if reply, err := h.Ask("udp", server, name, qtype); err != nil || reply.Rcode != want || len(reply.Answer) > 0 {
					t.Errorf("%s: %v, %v, want no such name", name, reply, err)
				}
			}
		}
		for _, name := range []string{"_dns.resolver.arpa", "_dns.allowed.example"} {
			if reply, err := h.Ask("udp", server, name, dns.TypeSVCB); err != nil || len(reply.Answer) > 0 {
				t.Errorf("%s: %v, %v, want nothing", name, reply, err)
			}
		}
	}
	if n := c.Internet.Count("resolver _dns.resolver.arpa"); n > 0 {
		t.Error("_dns.resolver.arpa was asked of others")
	}
}
