package main

import (
	"encoding/binary"
	"io"
	"math/rand/v2"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"schoolgate/internal/testkit"
)

// Whatever comes in, from packets cut anywhere to noise: the box stays up, serves
// the next client as before, and says nothing of panics in its log.
func TestJunkAtEveryDoorHarmsNobody(t *testing.T) {
	upstream := testkit.NewUpstream(t, "lesson.example. 60 IN A 127.0.0.1")
	b := testkit.NewBox(t, testkit.BoxOptions{Upstream: upstream.Addr, Program: underDetector})
	b.Start()
	defer b.Stop()
	rng := rand.New(rand.NewPCG(7, 7))
	for range 100 {
		packet := mangle(rng, question(t))
		junkUDP(t, b, packet)
		junkTCP(t, b, b.DNS, append(binary.BigEndian.AppendUint16(nil, uint16(len(packet)+rng.IntN(3))), packet...))
	}
	for _, text := range []string{
		"", "\r\n\r\n", "GET\r\n\r\n", "GET / HTTP/9.9\r\n\r\n", "GET http://a b/ HTTP/1.1\r\n\r\n",
		"GET http:// HTTP/1.1\r\nHost:\r\n\r\n", "CONNECT  HTTP/1.1\r\n\r\n", "CONNECT :443 HTTP/1.1\r\n\r\n",
		"CONNECT lesson.example:99999 HTTP/1.1\r\n\r\n", "CONNECT lesson.example:22 HTTP/1.1\r\nHost: x\r\n\r\n",
		"GET http://lesson.example/ HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
		"POST http://lesson.example/ HTTP/1.1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		"GET http://lesson.example/ HTTP/1.1\r\nX: " + strings.Repeat("x", 1<<20) + "\r\n\r\n",
		"GET http://" + strings.Repeat("a.", 5000) + "example/ HTTP/1.1\r\n\r\n",
		"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", "\x05\x01\x00", "\x04\x01\x01\xbb",
	} {
		junkTCP(t, b, b.Proxy, []byte(text))
		junkTCP(t, b, b.Health, []byte(text))
	}
	for range 60 {
		noise := make([]byte, 1+rng.IntN(3000))
		for i := range noise {
			noise[i] = byte(rng.Uint32())
		}
		junkTCP(t, b, b.Proxy, noise)
		hello := append([]byte("CONNECT lesson.example:443 HTTP/1.1\r\nHost: lesson.example:443\r\n\r\n"), mangle(rng, clientHello(t))...)
		junkTCP(t, b, b.Proxy, hello)
	}
	if r, err := b.Ask("127.0.0.1", "udp", "lesson.example", dns.TypeA); err != nil || len(r.Answer) != 1 {
		t.Errorf("afterwards a good question gets %v, %v", r, err)
	}
	if got := fetch(t, b.Client("127.0.0.1"), "http://blocked.example/"); got.status != 403 {
		t.Errorf("afterwards a blocked page gets %d, want 403", got.status)
	}
	if err := testkit.Ready(b.Health, 5*time.Second, nil); err != nil {
		t.Errorf("afterwards: %v", err)
	}
	_, metrics := health(t, b, "/metrics")
	for _, want := range []string{"schoolgate_dnsfilter_panics_total 0\n", "schoolgate_proxy_panics_total 0\n"} {
		if !strings.Contains(metrics, want) {
			t.Errorf("/metrics does not say %q", want)
		}
	}
	if out := b.Run("audit", "verify"); !strings.Contains(out, "verified") {
		t.Errorf("audit verify: %s", out)
	}
}

func question(t *testing.T) []byte {
	t.Helper()
	q := new(dns.Msg).SetQuestion("lesson.example.", dns.TypeHTTPS)
	q.SetEdns0(1232, true)
	packet, err := q.Pack()
	if err != nil {
		t.Fatal(err)
	}
	return packet
}

// mangle cuts, flips and repeats.
func mangle(rng *rand.Rand, good []byte) []byte {
	b := append([]byte(nil), good...)
	switch rng.IntN(3) {
	case 0:
		return b[:rng.IntN(len(b))]
	case 1:
		return append(b, b[rng.IntN(len(b)):]...)
	}
	for range 1 + rng.IntN(8) {
		b[rng.IntN(len(b))] ^= byte(1 + rng.IntN(255))
	}
	return b
}

func junkUDP(t *testing.T, b *testkit.Box, packet []byte) {
	t.Helper()
	conn, err := net.Dial("udp", b.DNS)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := conn.Write(packet); err != nil {
		t.Errorf("the DNS door is gone: %v", err)
	}
}

// junkTCP sends what it is given, ends its side, and reads what comes to its end.
// A door may cut it off at any point; it may not be gone for the next.
func junkTCP(t *testing.T, b *testkit.Box, addr string, text []byte) {
	t.Helper()
	conn := b.Dial("127.0.0.1", addr)
	defer conn.Close()
	_, _ = conn.Write(text) // it may be cut off in the middle
	_ = conn.(*net.TCPConn).CloseWrite()
	n, err := io.Copy(io.Discard, io.LimitReader(conn, 1<<20))
	if timeout, ok := err.(net.Error); ok && timeout.Timeout() {
		t.Errorf("%s keeps a connection that said %.40q and nothing more (%d bytes read)", addr, text, n)
	}
}

// clientHello is the first flight of a real TLS client.
func clientHello(t *testing.T) []byte {
	t.Helper()
	hello, err := testkit.ClientHello("lesson.example")
	if err != nil {
		t.Fatal(err)
	}
	return hello
}
