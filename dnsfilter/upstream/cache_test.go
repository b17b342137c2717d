package upstream

import (
	"encoding/binary"
	"math/rand/v2"
	"net/netip"
	"testing"

	"github.com/miekg/dns"
)

// The cache against a plain map: what it gives is what was last put, and what it
// holds stays within its bound.
func TestCacheAgainstMap(t *testing.T) {
	c := newCache(0) // the smallest
	truth := map[uint32]uint32{}
	r := rand.New(rand.NewPCG(5, 6))
	keyOf := func(n uint32) []byte { return binary.BigEndian.AppendUint32(nil, n) }
	var buf entry
	hits := 0
	for i := range uint32(200_000) {
		n := r.Uint32N(50_000)
		if r.IntN(2) == 0 {
			e := failureEntry(keyOf(n), i, 1)
			e = append(e, make([]byte, r.IntN(600))...)
			e.setU32(0, uint32(len(e)))
			c.put(e)
			truth[n] = i
			continue
		}
		var ok bool
		if buf, ok = c.get(buf, keyOf(n)); ok {
			hits++
			if buf.stored() != truth[n] {
				t.Fatalf("get(%d) = put of step %d, want step %d", n, buf.stored(), truth[n])
			}
		}
	}
	for i := range c.shards {
		s := &c.shards[i]
		if n := cap(s.young.bytes) + cap(s.old.bytes); n > minShardSize {
			t.Errorf("shard %d has grown to %d bytes", i, n)
		}
	}
	if hits == 0 {
		t.Error("nothing was found")
	}
}

// A name that is asked for again and again survives a flood of random names.
func TestCacheKeepsBusyNames(t *testing.T) {
	c := newCache(0)
	busy := []byte("busy")
	c.put(failureEntry(busy, 1, 1))
	var buf entry
	for i := range uint32(100_000) {
		c.put(failureEntry(binary.BigEndian.AppendUint32(nil, i), 1, 1))
		if i%100 == 0 {
			var ok bool
			if buf, ok = c.get(buf, busy); !ok {
				t.Fatalf("the busy name is gone after %d others", i)
			}
		}
	}
}

func TestCacheRefusesGiants(t *testing.T) {
	c := newCache(0)
	e := failureEntry([]byte("giant"), 1, 1)
	e = append(e, make([]byte, 60_000)...)
	e.setU32(0, uint32(len(e)))
	c.put(e)
	if _, ok := c.get(nil, []byte("giant")); ok {
		t.Error("an entry larger than its shard was kept")
	}
}

// FuzzReply: no reply makes us fail, and what we keep of it can be read again.
func FuzzReply(f *testing.F) {
	m := new(dns.Msg).SetQuestion("www.example.", dns.TypeHTTPS)
	for _, text := range []string{
		"www.example. 60 IN CNAME a.example.", `a.example. 60 IN HTTPS 1 b.example. mandatory=alpn alpn="h2,h3" ech="AEX+DQBBpQAgACB=" ipv4hint=203.0.113.1`,
		"www.example. 60 IN RRSIG HTTPS 8 2 300 20300101000000 20200101000000 1 example. c2lnbmF0dXJl",
	} {
		rr, err := dns.NewRR(text)
		if err != nil {
			f.Fatal(err)
		}
		m.Answer = append(m.Answer, rr)
	}
	wire, err := m.Pack()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(wire, uint16(dns.TypeHTTPS))
	f.Add(wire[:40], uint16(dns.TypeA))
	name, _ := WireName("www.example")
	l := limits{minTTL: 5, maxTTL: 86400, maxNegative: 3600, private: (&Resolver{}).forbidden}
	f.Fuzz(func(t *testing.T, wire []byte, qtype uint16) {
		m, err := unpack(wire)
		if err != nil {
			return
		}
		q := Question{Name: name, Type: qtype, DO: len(wire)%2 == 0}
		v, err := vet(m, "www.example.", q, l)
		if err != nil {
			return
		}
		e, err := newEntry(q.appendKey(nil), len(name), v, 7)
		if err != nil {
			return
		}
		a := Answer{e: e, now: 9}
		_ = read(t, &a, q)
		for _, addr := range a.AppendAddrs(nil) {
			if Special(addr) {
				t.Fatalf("private address %s got through", addr)
			}
		}
		for range a.Chain() {
		}
	})
}

func TestSpecial(t *testing.T) {
	for addr, want := range map[string]bool{
		"8.8.8.8": false, "203.0.113.1": false, "2001:db8::1": false, "2606:4700::1": false, "0.0.0.0": true, "127.1.2.3": true,
		"10.0.0.1": true, "172.16.0.1": true, "172.32.0.1": false, "192.168.1.1": true, "169.254.169.254": true, "100.64.0.1": true,
		"224.0.0.1": true, "255.255.255.255": true, "::": true, "::1": true, "fe80::1": true, "fc00::1": true, "fd12::1": true,
		"ff02::1": true, "::ffff:10.0.0.1": true, "::ffff:8.8.8.8": false, "64:ff9b::7f00:1": true, "64:ff9b::808:808": false,
		"2002:7f00:1::": true, "2002:808:808::": false, "2001::1": true, "::a00:1": true,
	} {
		if got := Special(netip.MustParseAddr(addr)); got != want {
			t.Errorf("Special(%s) = %t, want %t", addr, got, want)
		}
	}
}
