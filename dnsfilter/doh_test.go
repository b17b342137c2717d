package dnsfilter

import (
	"bytes"
	"crypto/tls"
	"encoding/base64"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"schoolgate/policy"
)

// openDoH is a door with DNS over HTTPS and a client that trusts it.
func openDoH(t *testing.T, change func(*Config)) (d *door, url string, client *http.Client) {
	t.Helper()
	cert, pool := certificate(t)
	d = openDoor(t, rules{"": allowed(), "casino.example": blocked(policy.Gambling)}, func(c *Config) {
		c.ListenHTTPS, c.TLS = []string{"127.0.0.1:0"}, &tls.Config{Certificates: []tls.Certificate{cert}}
		if change != nil {
			change(c)
		}
	}, "open.example. 300 IN A 203.0.113.1")
	transport := &http.Transport{ForceAttemptHTTP2: true, TLSClientConfig: &tls.Config{RootCAs: pool, ServerName: "dns.school.test"}}
	t.Cleanup(transport.CloseIdleConnections)
	return d, "https://" + d.HTTPSAddrs()[0].String(), &http.Client{Transport: transport, Timeout: 10 * time.Second}
}

func packed(t testing.TB, name string) []byte {
	t.Helper()
	m := question(name, dns.TypeA)
	m.Id = 0 // as RFC 8484 asks
	b, err := m.Pack()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// DNS over HTTPS is the same door: the same verdicts and the same events, and
// each mistake in the envelope gets its own status (RFC 8484).
func TestDNSOverHTTPS(t *testing.T) {
	d, url, client := openDoH(t, nil)
	get := func(b []byte) *http.Request {
		r, _ := http.NewRequest(http.MethodGet, url+dohPath+"?dns="+base64.RawURLEncoding.EncodeToString(b), nil)
		r.Header.Set("Accept", dohType)
		return r
	}
	post := func(b []byte) *http.Request {
		r, _ := http.NewRequest(http.MethodPost, url+dohPath, bytes.NewReader(b))
		r.Header.Set("Content-Type", dohType)
		return r
	}
	with := func(r *http.Request, change func(*http.Request)) *http.Request {
		change(r)
		return r
	}
	update := packed(t, "open.example")
	update[2] |= dns.OpcodeUpdate << 3
	reply := packed(t, "open.example")
	reply[2] |= 0x80
	for _, tc := range []struct {
		promise string
		request *http.Request
		status  int
		want    string
	}{
		{"GET, allowed", get(packed(t, "open.example")), 200, "NOERROR | A 203.0.113.1"},
		{"GET, blocked", get(packed(t, "www.casino.example")), 200, "NOERROR | A 192.0.2.80"},
		{"POST, allowed", post(packed(t, "open.example")), 200, "NOERROR | A 203.0.113.1"},
		{"POST, blocked", post(packed(t, "casino.example")), 200, "NOERROR | A 192.0.2.80"},
		{"a forwarded address is not believed", with(post(packed(t, "open.example")), func(r *http.Request) { r.Header.Set("X-Forwarded-For", "203.0.113.200") }), 200, "NOERROR | A 203.0.113.1"},
		{"UPDATE is refused on this transport too (M2)", post(update), 200, "REFUSED"},
		{"a reply is no question", post(reply), 400, ""},
		{"counts that lie are a FORMERR", post(append(packed(t, "open.example")[:11], 9)), 200, "FORMERR"},
		{"nothing", post(nil), 400, ""},
		{"half a header", post(make([]byte, 6)), 400, ""},
		{"too long", post(make([]byte, maxPacket+1)), 413, ""},
		{"too long in the URL", get(make([]byte, maxPacket+1)), 413, ""},
		{"not base64url", with(get(nil), func(r *http.Request) { r.URL.RawQuery = "dns=***" }), 400, ""},
		{"no question at all", with(get(nil), func(r *http.Request) { r.URL.RawQuery = "" }), 400, ""},
		{"its type with a parameter", with(post(packed(t, "open.example")), func(r *http.Request) { r.Header.Set("Content-Type", "Application/DNS-Message; charset=utf-8") }), 200, "NOERROR | A 203.0.113.1"},
		{"another type", with(post(packed(t, "open.example")), func(r *http.Request) { r.Header.Set("Content-Type", "text/plain") }), 415, ""},
		{"another method", with(post(nil), func(r *http.Request) { r.Method = http.MethodPut }), 405, ""},
		{"another path", with(get(nil), func(r *http.Request) { r.URL.Path = "/" }), 404, ""},
	} {
		t.Run(tc.promise, func(t *testing.T) {
			r, err := client.Do(tc.request)
			if err != nil {
				t.Fatal(err)
			}
			defer r.Body.Close()
			body, err := io.ReadAll(r.Body)
			if err != nil || r.StatusCode != tc.status || r.ProtoMajor != 2 {
				t.Fatalf("status = %d over HTTP/%d, %v; want %d over HTTP/2", r.StatusCode, r.ProtoMajor, err, tc.status)
			}
			if tc.want == "" {
				return
			}
			var m dns.Msg
			if err := m.Unpack(body); err != nil {
				t.Fatal(err)
			}
			if got := said(&m); got != tc.want || r.Header.Get("Content-Type") != dohType {
				t.Errorf("answer = %s (%s), want %s", got, r.Header.Get("Content-Type"), tc.want)
			}
			if tc.want[0] == 'N' && d.journal.last(t).Client != "127.0.0.1" {
				t.Errorf("client = %q, want who the connection comes from", d.journal.last(t).Client)
			}
		})
	}
}

// A client that is not served gets no connection, and HTTP/1.1 does as well.
func TestDoHConnections(t *testing.T) {
	_, url, client := openDoH(t, func(c *Config) { c.Clients = homeNetworks[1:2] })
	if r, err := client.Get(url + dohPath); err == nil {
		_ = r.Body.Close()
		t.Errorf("an outsider got %s", r.Status)
	}
	d, url, client := openDoH(t, func(c *Config) { c.MaxPerAddr = 3 })
	client.Transport.(*http.Transport).ForceAttemptHTTP2 = false
	r, err := client.Post(url+dohPath, dohType, bytes.NewReader(packed(t, "open.example")))
	if err != nil || r.StatusCode != http.StatusOK || r.ProtoMajor != 1 {
		t.Fatalf("HTTP/1.1: %v, %v", r, err)
	}
	_ = r.Body.Close()
	for range 10 { // more than its share: the idle ones make room
		nc, err := net.Dial("tcp", strings.TrimPrefix(url, "https://"))
		if err != nil {
			t.Fatal(err)
		}
		defer nc.Close()
	}
	r, err = client.Post(url+dohPath, dohType, bytes.NewReader(packed(t, "open.example")))
	if err != nil || r.StatusCode != http.StatusOK {
		t.Fatalf("beside idle connections: %v, %v", r, err)
	}
	_ = r.Body.Close()
	for range 3 { // half a request has no place of its own either
		nc, err := tls.Dial("tcp", strings.TrimPrefix(url, "https://"), client.Transport.(*http.Transport).TLSClientConfig)
		if err != nil {
			t.Fatal(err)
		}
		defer nc.Close()
		if _, err := io.WriteString(nc, "POST "+dohPath+" HTTP/1.1\r\nHost: dns\r\nContent-Type: "+dohType+"\r\nContent-Length: 100\r\nExpect: 100-continue\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		if _, err := nc.Read(make([]byte, 100)); err != nil { // "go on", says who waits for the rest
			t.Fatal(err)
		}
	}
	client.CloseIdleConnections()
	r, err = client.Post(url+dohPath, dohType, bytes.NewReader(packed(t, "open.example")))
	if err != nil || r.StatusCode != http.StatusOK {
		t.Fatalf("beside halves of requests: %v, %v", r, err)
	}
	_ = r.Body.Close()
	if n := d.conns.count(); n > 3 {
		t.Errorf("%v connections of one client are open, want at most 3", n)
	}
}

// Another web server can carry the door at its own port, beside its own pages: the
// same answers and events, and a stranger is as refused.
func TestDoHBesideOtherPages(t *testing.T) {
	d := openDoor(t, rules{"": allowed(), "casino.example": blocked(policy.Gambling)}, func(c *Config) {
		c.Clients = []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}
	}, "open.example. 300 IN A 203.0.113.1")
	mux := http.NewServeMux()
	mux.Handle(dohPath, d.DoH())
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "a page for staff") })
	server := httptest.NewTLSServer(mux)
	t.Cleanup(server.Close)
	for _, tc := range []struct{ from, name, want string }{
		{"127.0.0.1", "open.example", "NOERROR | A 203.0.113.1"},
		{"127.0.0.1", "casino.example", "NOERROR | A 192.0.2.80"},
		{"127.0.0.2", "open.example", "REFUSED"},
	} {
		transport := server.Client().Transport.(*http.Transport).Clone()
		transport.DialContext = (&net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(tc.from)}}).DialContext
		client := &http.Client{Transport: transport, Timeout: 10 * time.Second}
		r, err := client.Post(server.URL+dohPath, dohType, bytes.NewReader(packed(t, tc.name)))
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(r.Body)
		_ = r.Body.Close()
		var m dns.Msg
		if err == nil {
			err = m.Unpack(body)
		}
		if err != nil || said(&m) != tc.want {
			t.Errorf("%s from %s = %s, %v; want %s", tc.name, tc.from, said(&m), err, tc.want)
		}
		transport.CloseIdleConnections()
	}
	if r, err := server.Client().Get(server.URL); err != nil || r.StatusCode != http.StatusOK {
		t.Errorf("the other pages: %v, %v", r, err)
	}
}
