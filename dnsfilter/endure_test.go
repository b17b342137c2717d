package dnsfilter

import (
	"bytes"
	"crypto/tls"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/miekg/dns"

	"schoolgate/policy"
)

// What the door must stand. Under `go test` each is a part of what is run with
// SCHOOLGATE_ENDURE=1, and nothing is held against a clock there.

func endure(part, whole int) int {
	if os.Getenv("SCHOOLGATE_ENDURE") != "" {
		return whole
	}
	return part
}

// stream asks over connections that the server may close after any packet.
type stream struct {
	dial func() (net.Conn, error)
	conn net.Conn
}

// send sends a packet with its length before it and reads the answer; nil is none.
func (s *stream) send(t *testing.T, pkt []byte) []byte {
	t.Helper()
	if s.conn == nil {
		var err error
		if s.conn, err = s.dial(); err != nil {
			t.Fatal(err)
		}
		_ = s.conn.SetDeadline(time.Now().Add(time.Minute))
	}
	_, err := s.conn.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(pkt))), pkt...))
	var length [2]byte
	if err == nil {
		_, err = io.ReadFull(s.conn, length[:])
	}
	answer := make([]byte, binary.BigEndian.Uint16(length[:]))
	if err == nil {
		_, err = io.ReadFull(s.conn, answer)
	}
	if err != nil {
		_ = s.conn.Close()
		s.conn = nil
		return nil
	}
	return answer
}

// The same packets as over UDP, over each of the other transports: the header is
// looked at before anything else on every one of them (M2).
func TestMalformedOverStreams(t *testing.T) {
	cert, pool := certificate(t)
	trust := &tls.Config{RootCAs: pool, ServerName: "dns.school.test"}
	d := openDoor(t, rules{"": blocked(policy.Gambling)}, func(c *Config) {
		c.ListenTLS, c.ListenHTTPS, c.TLS = []string{"127.0.0.1:0"}, []string{"127.0.0.1:0"}, &tls.Config{Certificates: []tls.Certificate{cert}}
	})
	plain := &stream{dial: func() (net.Conn, error) { return net.Dial("tcp", d.addr) }}
	secure := &stream{dial: func() (net.Conn, error) { return tls.Dial("tcp", d.TLSAddrs()[0].String(), trust) }}
	transport := &http.Transport{ForceAttemptHTTP2: true, TLSClientConfig: trust}
	t.Cleanup(transport.CloseIdleConnections)
	client := &http.Client{Transport: transport, Timeout: time.Minute}
	url := "https://" + d.HTTPSAddrs()[0].String() + dohPath
	web := func(t *testing.T, pkt []byte) []byte {
		r, err := client.Post(url, dohType, bytes.NewReader(pkt))
		if err != nil {
			t.Fatal(err)
		}
		defer r.Body.Close()
		answer, err := io.ReadAll(r.Body)
		if err != nil || r.StatusCode >= 500 {
			t.Fatalf("packet %x: %s, %v", pkt, r.Status, err)
		}
		if r.StatusCode != http.StatusOK {
			return nil
		}
		return answer
	}
	probe := packed(t, "probe.example")
	for _, over := range []struct {
		name string
		send func(*testing.T, []byte) []byte
		step int
	}{{"TCP", plain.send, endure(1, 1)}, {"TLS", secure.send, endure(8, 1)}, {"HTTPS", web, endure(2, 1)}} {
		t.Run(over.name, func(t *testing.T) {
			corpus, sent := malformed(t), 0
			for i := 0; i < len(corpus); i += over.step {
				sent++
				answer := over.send(t, corpus[i])
				if answer != nil && (len(answer) < headerLen || answer[2]&0x80 == 0 || len(corpus[i]) > 1 && !bytes.Equal(answer[:2], corpus[i][:2])) {
					t.Fatalf("packet %x: answer %x", corpus[i], answer)
				}
				if sent%50 != 0 {
					continue
				}
				var m dns.Msg
				if err := m.Unpack(over.send(t, probe)); err != nil || said(&m) != "NOERROR | A 192.0.2.80" {
					t.Fatalf("after packet %x: %s, %v", corpus[i], said(&m), err)
				}
			}
			t.Logf("%d packets", sent)
		})
	}
	if plain.conn != nil {
		_ = plain.conn.Close()
	}
	if secure.conn != nil {
		_ = secure.conn.Close()
	}
	if n := d.upstream.Asked(""); n != 0 {
		t.Errorf("%d malformed questions went upstream", n)
	}
}

// from is a connection that asks from another of this machine's addresses.
func from(t *testing.T, ip, addr string) *dns.Conn {
	t.Helper()
	dialer := net.Dialer{LocalAddr: &net.UDPAddr{IP: net.ParseIP(ip)}}
	c, err := dialer.Dial("udp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return &dns.Conn{Conn: c, UDPSize: 4096}
}

// flood sends names that nobody asked for before, as fast as it goes, until stop.
func flood(c *dns.Conn, most int, stop <-chan struct{}) (sent int) {
	for sent < most {
		select {
		case <-stop:
			return sent
		default:
		}
		pkt, err := question(fmt.Sprintf("r%d.attack.example", sent), dns.TypeA).Pack()
		if err != nil {
			return sent
		}
		if _, err := c.Write(pkt); err == nil { // the socket's buffer is full now and then
			sent++
		}
	}
	return sent
}

// One client asks for random names without end; the one beside it has its answers
// (T5), from the cache and from upstream, and nothing grows.
func TestFloodBesideAVictim(t *testing.T) {
	d := openDoor(t, rules{"": allowed(), "casino.example": blocked(policy.Gambling)}, func(c *Config) { c.Rate, c.Burst, c.CacheBytes = 500, 1000, 16<<20 },
		"busy.example. 300 IN A 203.0.113.1")
	d.ask(t, "busy.example", dns.TypeA)
	stop, sent := make(chan struct{}), make(chan int)
	attacker := from(t, "127.0.0.2", d.addr)
	go func() { sent <- flood(attacker, endure(20_000, 1<<30), stop) }()
	var took []time.Duration
	victim := dns.Client{Timeout: 2 * time.Second}
	for i := range endure(150, 3000) {
		name, want := "busy.example", "NOERROR | A 203.0.113.1"
		switch i % 3 {
		case 1:
			name, want = "casino.example", "NOERROR | A 192.0.2.80"
		case 2:
			name, want = fmt.Sprintf("own%d.example", i), "NXDOMAIN"
		}
		var got *dns.Msg
		for try := 0; got == nil && try < 10; try++ { // as a device does
			start := time.Now()
			got, _, _ = victim.Exchange(question(name, dns.TypeA), d.addr)
			took = append(took, time.Since(start))
		}
		if said(got) != want {
			t.Fatalf("beside the flood: %s = %s, want %s", name, said(got), want)
		}
		if os.Getenv("SCHOOLGATE_ENDURE") != "" {
			time.Sleep(20 * time.Millisecond) // 50 a second
		}
	}
	close(stop)
	slices.Sort(took)
	t.Logf("%d packets of the attacker, %d questions passed on; the victim's p50 %v, p99 %v", <-sent, d.upstream.Asked("")-d.upstream.Asked("busy.example"),
		took[len(took)/2], took[len(took)*99/100])
	if n := d.upstream.Asked("busy.example"); n != 1 {
		t.Errorf("the busy name was asked for %d times, want once: the flood washed it out", n)
	}
}

// Connections that say nothing cost little, make room for one that does, and are
// closed in the end.
func TestIdleConnections(t *testing.T) {
	n := endure(400, 5000)
	cert, pool := certificate(t)
	d := openDoor(t, rules{"": blocked(policy.Gambling)}, func(c *Config) {
		c.MaxConns, c.MaxPerAddr = n/2, n
		c.ListenTLS, c.TLS = []string{"127.0.0.1:0"}, &tls.Config{Certificates: []tls.Certificate{cert}}
	})
	trust := &tls.Config{RootCAs: pool, ServerName: "dns.school.test"}
	heap := func() uint64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.GC() // what pools held goes with the second
		runtime.ReadMemStats(&m)
		return m.HeapInuse + m.StackInuse
	}
	before := heap()
	for i := range n {
		var c net.Conn
		var err error
		if i%10 == 0 {
			c, err = tls.Dial("tcp", d.TLSAddrs()[0].String(), trust)
		} else {
			c, err = net.Dial("tcp", d.addr)
		}
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
	}
	r := d.via(t, "tcp", question("probe.example", dns.TypeA))
	if said(r) != "NOERROR | A 192.0.2.80" {
		t.Errorf("beside %d idle connections: %s", n, said(r))
	}
	if open := int(d.conns.count()); open > n/2 {
		t.Errorf("%d connections are open, want at most %d", open, n/2)
	}
	grown := int64(heap()) - int64(before)
	t.Logf("%d idle connections, %d kept: %d bytes each", n, n/2, grown/int64(n/2))
	if grown > int64(n/2)*128<<10 {
		t.Errorf("%d idle connections take %d bytes", n/2, grown)
	}
}

// AD and DO are handled as RFC 4035 and 6840 say, and no answer that we made or
// changed is called authentic.
func TestAuthenticDataAtTheDoor(t *testing.T) {
	records := []string{"open.example. 300 IN A 203.0.113.1", "open.example. 300 IN RRSIG A 8 2 300 20300101000000 20200101000000 1 example. c2lnbmF0dXJl",
		"alias.example. 300 IN CNAME casino.example.", "casino.example. 300 IN A 203.0.113.2", "forcesafesearch.google.com. 300 IN A 216.239.38.120",
		`quic.example. 300 IN HTTPS 1 . alpn="h3,h2"`, `plain.example. 300 IN HTTPS 1 . alpn="h2"`, "inside.example. 300 IN A 192.168.0.1"}
	decide := rules{"": allowed(), "casino.example": blocked(policy.Gambling), "www.google.com": safe(t, "forcesafesearch.google.com")}
	ad := func(m *dns.Msg) { m.AuthenticatedData = true }
	do := func(m *dns.Msg) { m.IsEdns0().SetDo() }
	none := func(*dns.Msg) {}
	trusting := openDoor(t, decide, func(c *Config) { c.TrustAD = true }, records...)
	doubting := openDoor(t, decide, nil, records...)
	for _, d := range []*door{trusting, doubting} {
		d.upstream.Authentic(true)
	}
	for _, tc := range []struct {
		promise string
		d       *door
		name    string
		qtype   uint16
		change  func(*dns.Msg)
		ad      bool
		records int
	}{
		{"the client asks for AD", trusting, "open.example", dns.TypeA, ad, true, 1},
		{"it asks for signatures", trusting, "open.example", dns.TypeA, do, true, 2},
		{"it knows neither", trusting, "open.example", dns.TypeA, none, false, 1},
		{"the upstream is not trusted with it", doubting, "open.example", dns.TypeA, ad, false, 1},
		{"signatures all the same", doubting, "open.example", dns.TypeA, do, false, 2},
		{"no such name", trusting, "gone.example", dns.TypeA, ad, true, 0},
		{"blocked", trusting, "casino.example", dns.TypeA, ad, false, 1},
		{"blocked behind an alias", trusting, "alias.example", dns.TypeA, do, false, 1},
		{"a safe host in its place", trusting, "www.google.com", dns.TypeA, do, false, 2},
		{"and for another type", trusting, "www.google.com", dns.TypeHTTPS, do, false, 1},
		{"h3 taken out", trusting, "quic.example", dns.TypeHTTPS, do, false, 1},
		{"nothing taken out", trusting, "plain.example", dns.TypeHTTPS, do, true, 1},
		{"a private address taken out", trusting, "inside.example", dns.TypeA, do, false, 0},
		{"a canary", trusting, "use-application-dns.net", dns.TypeA, do, false, 0},
		{"localhost", trusting, "localhost", dns.TypeA, do, false, 1},
		{"ANY", trusting, "open.example", dns.TypeANY, do, false, 1},
	} {
		m := question(tc.name, tc.qtype)
		tc.change(m)
		r := tc.d.send(t, m)
		if r.AuthenticatedData != tc.ad || len(r.Answer) != tc.records {
			t.Errorf("%s: AD %t with %d records, want %t with %d", tc.promise, r.AuthenticatedData, len(r.Answer), tc.ad, tc.records)
		}
		if got, want := r.IsEdns0().Do(), m.IsEdns0().Do(); got != want {
			t.Errorf("%s: DO comes back as %t, want %t", tc.promise, got, want)
		}
	}
}
