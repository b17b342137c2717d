package dnsfilter

import (
	"context"
	"net/netip"
	"testing"
	"time"

	"github.com/miekg/dns"

	"schoolgate/internal/testkit"
	"schoolgate/policy"
)

// benchmarks of one question from packet to answer, without the sockets.
func benchmarkQuestion(b *testing.B, name string) {
	u := testkit.NewUpstream(b, "open.example. 86400 IN A 203.0.113.1", "www.chain.example. 86400 IN CNAME open.example.")
	s, err := New(Config{Listen: []string{"127.0.0.1:0"}, Upstreams: []string{u.Addr}, Rate: -1, CacheBytes: 1 << 20,
		Decider: rules{"": allowed(), "casino.example": blocked(policy.Gambling)}, Sink: &journal{}})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(s.Close)
	pkt, err := question(name, dns.TypeA).Pack()
	if err != nil {
		b.Fatal(err)
	}
	j := s.getJob()
	j.pkt, j.from, j.start = append(j.pkt, pkt...), netip.MustParseAddr("10.0.0.1"), time.Now()
	s.read(j)
	if s.begin(j) == await {
		s.work(context.Background(), j)
	}
	b.ReportAllocs()
	for b.Loop() {
		j.start = time.Now()
		s.read(j)
		if s.begin(j) != record {
			b.Fatal("not answered at once")
		}
		s.record(j)
	}
}

func BenchmarkCached(b *testing.B)  { benchmarkQuestion(b, "open.example") }
func BenchmarkChain(b *testing.B)   { benchmarkQuestion(b, "www.chain.example") }
func BenchmarkBlocked(b *testing.B) { benchmarkQuestion(b, "www.casino.example") }
