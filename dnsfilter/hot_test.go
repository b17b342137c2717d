package dnsfilter

import (
	"bufio"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"unsafe"

	"github.com/miekg/dns"
	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sys/unix"

	"schoolgate/audit"
	"schoolgate/categories"
)

// BenchmarkBatch is what full batches of warm questions cost us besides the
// kernel's receiving and sending: the list, questions and journal of
// `make bench-dns`, without the noise of its cores and sockets.
func BenchmarkBatch(b *testing.B) {
	dir := b.TempDir()
	listed := setting("LISTED", 230_000)
	pkts := readPackets(b, writeQueries(b, dir, listed))
	s := benchServer(b, dir, listed)
	batch := s.newBatch(s.packets[0].ports[0])
	batch.stage = s.resolver.NewStage()
	next := 0
	run := func() {
		batch.fake(func(pkt []byte) int {
			n := copy(pkt, pkts[next])
			if next++; next == len(pkts) {
				next = 0
			}
			return n
		})
		s.decideBatch(b.Context(), batch)
	}
	for range 2 {
		for range len(pkts) / batchSize {
			run()
			s.settleFake(batch)
		}
	}
	b.ReportAllocs()
	before := ownCPU(b)
	for b.Loop() {
		run()
	}
	b.ReportMetric(float64(ownCPU(b)-before)/float64(b.N*batchSize), "cpu-ns/query")
}

// BenchmarkMisses is what full batches cost of which the cache can answer nothing, with
// the kernel's part and that of the resolver behind us, which is in this process.
func BenchmarkMisses(b *testing.B) {
	s := benchServer(b, b.TempDir(), setting("LISTED", 10_000))
	batch := s.newBatch(s.packets[0].ports[0])
	batch.stage = s.resolver.NewStage()
	pkt, err := question("u00000000.miss.example", dns.TypeA).Pack()
	if err != nil {
		b.Fatal(err)
	}
	n := 0
	b.ReportAllocs()
	before := ownCPU(b)
	for b.Loop() {
		batch.fake(func(to []byte) int {
			n++
			digits := pkt[headerLen+2:]
			for i, left := 7, n; i >= 0; i, left = i-1, left/10 {
				digits[i] = '0' + byte(left%10)
			}
			return copy(to, pkt)
		})
		s.decideBatch(b.Context(), batch)
		s.settleFake(batch)
	}
	b.ReportMetric(float64(ownCPU(b)-before)/float64(b.N*batchSize), "cpu-ns/query")
}

// fake fills a batch with packets that nobody has sent.
func (b *batch) fake(write func(pkt []byte) int) {
	b.received = batchSize
	for i, j := range b.jobs {
		j.pkt = j.pkt[:maxPacket]
		b.in[i].length = uint32(write(j.pkt))
		*(*unix.RawSockaddrInet4)(unsafe.Pointer(&j.sockaddr)) = unix.RawSockaddrInet4{Family: unix.AF_INET, Addr: [4]byte{127, 0, 0, 1}}
	}
}

// settleFake asks upstreams what a batch has left open, and waits for the answers.
func (s *Server) settleFake(b *batch) {
	b.stage.Depart()
	for s.flying[forUpstream].Load() > 0 && b.stage.Waiting() {
		b.stage.Await(b.port.fd)
	}
	s.waits.Wait()
}

// benchServer has the compiled store and writes the journal.
func benchServer(b *testing.B, dir string, listed int) *Server {
	origin, err := listenPackets("127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	var serving sync.WaitGroup
	origin.serve(&serving, serveOrigin)
	b.Cleanup(origin.close)
	path := os.Getenv("SCHOOLGATE_BENCH_STORE")
	if path == "" {
		path = buildStore(b, dir, listed)
	}
	store, err := categories.Open(path, nil)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = store.Close() })
	journal, err := audit.Open(filepath.Join(dir, "journal"), audit.Options{})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = journal.Close() })
	s, err := New(Config{
		Listen: []string{"127.0.0.1:0"}, Decider: benchEngine(b, store), Sink: journal, Upstreams: []string{origin.addr.String()},
		Sinkhole: []netip.Addr{netip.MustParseAddr("192.0.2.80")}, Rate: -1, Metrics: prometheus.NewRegistry(),
	})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(s.Close)
	return s
}

// readPackets reads questions as dnsperf does.
func readPackets(b *testing.B, path string) (pkts [][]byte) {
	f, err := os.Open(path)
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		name, _, _ := strings.Cut(lines.Text(), " ")
		pkt, err := question(name, dns.TypeA).Pack()
		if err != nil {
			b.Fatal(err)
		}
		pkts = append(pkts, pkt)
	}
	return pkts
}

// ownCPU is the time this process has had: what others on the machine do counts
// less in it than in the time on the wall.
func ownCPU(b *testing.B) int64 {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return unix.TimevalToNsec(u.Utime) + unix.TimevalToNsec(u.Stime)
}
