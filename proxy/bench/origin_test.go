package bench

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// Where things are in the bench's network namespace: nothing of it is outside.
const (
	originAddr   = "203.0.113.10"
	resolverAddr = "203.0.113.53"
	blockedHost  = "blocked.example"
	siteHost     = "www.site.example"
	bulkPort     = "9000"
)

// TestChild is a process of the bench: the origin or the bare proxy.
func TestChild(t *testing.T) {
	dir := os.Getenv("SCHOOLGATE_BENCH_DIR")
	switch os.Getenv("SCHOOLGATE_BENCH_CHILD") {
	case "origin":
		runOrigin(t, dir)
	case "replay":
		runReplay(t, dir)
	case "bare":
		runBare(t, dir)
	default:
		t.Skip("SKIPPED: a part of make bench-proxy")
	}
}

// runOrigin answers on 80, 443 and the bulk port, with as little work as can be.
func runOrigin(t *testing.T, dir string) {
	a, err := readAuthority(dir, "origins")
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := a.leaf(siteHost, "*.cold.example", originAddr)
	if err != nil {
		t.Fatal(err)
	}
	go serveDNS()
	secure := &tls.Config{Certificates: []tls.Certificate{leaf}, NextProtos: []string{"http/1.1"}}
	go accept(t, ":80", answer)
	go accept(t, ":"+bulkPort, stream)
	accept(t, ":443", func(c net.Conn) { answer(tls.Server(c, secure)) })
}

func accept(t *testing.T, port string, serve func(net.Conn)) {
	l, err := net.Listen("tcp", originAddr+port)
	if err != nil {
		t.Error(err)
		return
	}
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		go serve(c)
	}
}

func reply(size int) []byte {
	return fmt.Appendf(nil, "HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\nContent-Length: %d\r\nCache-Control: no-store\r\n\r\n%s", size, strings.Repeat("x", size))
}

var replies = map[string][]byte{"/1k": reply(1 << 10), "/100k": reply(100 << 10)}

// answer serves one connection.
func answer(c net.Conn) {
	defer c.Close()
	br := bufio.NewReaderSize(c, 8<<10)
	for {
		path := ""
		for {
			line, err := br.ReadSlice('\n')
			if err != nil {
				return
			}
			if path == "" {
				_, rest, _ := strings.Cut(string(line), " ")
				path, _, _ = strings.Cut(rest, " ")
			}
			if len(line) <= 2 {
				break
			}
		}
		if strings.HasSuffix(path, "/drip") { // straight to the origin it is absolute
			drip(c)
			continue
		}
		if _, err := c.Write(replies[path]); err != nil {
			return
		}
	}
}

// drip sends its headers, and with a first byte the time it left.
func drip(c net.Conn) {
	_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Length: 16\r\n\r\n")
	time.Sleep(3 * time.Millisecond)
	_, _ = c.Write(binary.BigEndian.AppendUint64(nil, uint64(time.Now().UnixNano())))
	time.Sleep(3 * time.Millisecond)
	_, _ = c.Write(make([]byte, 8)) // whoever has gone needs none of it
}

// stream reads a number and sends as many bytes; before it may come a ClientHello,
// which begins a tunnel. A number of 0 waits for the end.
func stream(c net.Conn) {
	defer c.Close()
	br := bufio.NewReader(c)
	if first, err := br.Peek(5); err != nil {
		return
	} else if first[0] == 22 {
		if _, err := br.Discard(5 + int(binary.BigEndian.Uint16(first[3:]))); err != nil {
			return
		}
	}
	var size uint64
	if binary.Read(br, binary.BigEndian, &size) != nil {
		return
	}
	for part := bytes.Repeat([]byte("x"), 256<<10); size > 0; {
		n, err := c.Write(part[:min(uint64(len(part)), size)])
		if err != nil {
			return
		}
		size -= uint64(n)
	}
	_, _ = br.ReadByte() // until the client goes
}

// addrOf is where a name leads.
func addrOf(name string) string {
	if strings.EqualFold(strings.TrimSuffix(name, "."), replayHost) { // who asks may mix the case
		return replayAddr
	}
	return originAddr
}

// serveDNS answers every name.
func serveDNS() {
	handler := dns.HandlerFunc(func(w dns.ResponseWriter, q *dns.Msg) {
		m := new(dns.Msg).SetReply(q)
		m.RecursionAvailable = true
		if q.Question[0].Qtype == dns.TypeA {
			h := dns.RR_Header{Name: q.Question[0].Name, Rrtype: dns.TypeA, Class: dns.ClassINET, Ttl: 3600}
			m.Answer = []dns.RR{&dns.A{Hdr: h, A: net.ParseIP(addrOf(q.Question[0].Name))}}
		} else { // with what says how long there is none
			h := dns.RR_Header{Name: "example.", Rrtype: dns.TypeSOA, Class: dns.ClassINET, Ttl: 3600}
			m.Ns = []dns.RR{&dns.SOA{Hdr: h, Ns: "ns.example.", Mbox: "root.example.", Serial: 1, Refresh: 3600, Retry: 600, Expire: 86400, Minttl: 3600}}
		}
		_ = w.WriteMsg(m) // it is asked again
	})
	go func() { _ = dns.ListenAndServe(resolverAddr+":53", "tcp", handler) }()
	_ = dns.ListenAndServe(resolverAddr+":53", "udp", handler) // a failure shows at the first question
}
