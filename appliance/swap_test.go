package appliance

import (
	"context"
	"encoding/binary"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"

	"schoolgate/audit"
	"schoolgate/blocklists"
	"schoolgate/configs"
	"schoolgate/internal/testkit"
	"schoolgate/policy"
	"schoolgate/supply"
)

// swapBox is a running box with two versions of the store to swap between.
type swapBox struct {
	testing.TB
	*Appliance
	dns      string
	versions [2]uint64
	swaps    atomic.Int64
}

// newSwapBox runs a box whose store versions are made of two lots of feeds.
func newSwapBox(tb testing.TB, lots [2][]blocklists.Feed) *swapBox {
	tb.Helper()
	dir := tb.TempDir()
	up := testkit.NewUpstream(tb, "open.example. 300 IN A 203.0.113.1")
	ports := testkit.FreePorts(tb, 3)
	write := func(name, text string) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			tb.Fatal(err)
		}
	}
	write("schoolgate.yaml", fmt.Sprintf(`policy: policy.yaml
data: var
dns: {listen: ["127.0.0.1:%d"], upstreams: ["%s"], rate: 0}
proxy: {listen: ["127.0.0.1:%d"]}
metrics: {listen: ["127.0.0.1:%d"]}
`, ports[0], up.Addr, ports[1], ports[2]))
	write("policy.yaml", "profiles:\n  ks2:\n    band: ks2\n    block: [pornography, gambling, gaming, malware, phishing]\n    uncategorised: allow\n")
	cfg, problems := configs.Load(filepath.Join(dir, "schoolgate.yaml"))
	if err := blocklists.Joined(problems); err != nil {
		tb.Fatal(err)
	}
	a, err := New(tb.Context(), Options{Config: cfg})
	if err != nil {
		tb.Fatal(err)
	}
	b := &swapBox{TB: tb, Appliance: a, dns: fmt.Sprintf("127.0.0.1:%d", ports[0])}
	ctx, stop := context.WithCancel(context.WithoutCancel(tb.Context()))
	ended := make(chan error, 1)
	go func() { ended <- a.Run(ctx) }()
	tb.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			tb.Error(err)
		}
	})
	for i, feeds := range lots {
		b.versions[i] = b.build(feeds)
	}
	return b
}

func (b *swapBox) build(feeds []blocklists.Feed) uint64 {
	b.Helper()
	version, err := b.dir.Next()
	if err != nil {
		b.Fatal(err)
	}
	key, err := supply.Key(b.box())
	if err != nil {
		b.Fatal(err)
	}
	report, err := supply.BuildLists(b.Context(), supply.ListsBuild{Feeds: feeds, Out: b.dir.Path(version), Version: version, Key: key})
	if err != nil {
		b.Fatal(err)
	}
	b.Logf("store %d: %d names built in %s", version, report.Store.Names, report.Elapsed.Round(time.Millisecond))
	return version
}

// swap puts the other version in force as a fetch does: the file that names it
// is replaced, the store is read through and opened, and decisions change over.
func (b *swapBox) swap() {
	if err := b.dir.Publish(b.versions[b.swaps.Add(1)%2]); err != nil {
		b.Error(err)
	}
	if err := b.takeUpStore(); err != nil {
		b.Error(err)
	}
}

// swapUntil swaps every so often until ctx is done.
func (b *swapBox) swapUntil(ctx context.Context, every time.Duration) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			b.swap()
		}
	}
}

// listOf writes a list of names and gives it as a feed.
func listOf(tb testing.TB, name string, c policy.Category, hosts string) []blocklists.Feed {
	tb.Helper()
	path := filepath.Join(tb.TempDir(), name)
	if err := os.WriteFile(path, []byte(hosts), 0o600); err != nil {
		tb.Fatal(err)
	}
	return []blocklists.Feed{{Name: name, Path: path, Format: "domains", Category: c, Kind: blocklists.Public, Weight: 1, Enabled: true, Licence: "test"}}
}

// F17: while the store is swapped again and again no question is lost, and each
// verdict is of one version: the category is the one that version lists.
func TestNoQuestionIsLostInASwapOfTheStore(t *testing.T) {
	hosts := numbered("swapped", 50)
	b := newSwapBox(t, [2][]blocklists.Feed{listOf(t, "bets", policy.Gambling, hosts), listOf(t, "games", policy.Gaming, hosts)})
	b.swap()
	ctx, stop := context.WithCancel(t.Context())
	var swapper, askers sync.WaitGroup
	swapper.Go(func() { b.swapUntil(ctx, time.Millisecond) })
	const each = 300
	for range 4 {
		askers.Go(func() {
			for i := range each {
				r, err := ask(b.dns, fmt.Sprintf("swapped-%d.example", i%50))
				if err != nil || !testkit.Blocked(r) {
					t.Errorf("question %d: %v %v", i, r, err)
					return
				}
			}
		})
	}
	askers.Wait()
	stop()
	swapper.Wait()
	if t.Failed() {
		return // fewer events than questions, and no end of waiting for them
	}
	categories := map[uint64]policy.Category{b.versions[0]: policy.Gambling, b.versions[1]: policy.Gaming}
	seen := map[uint64]int{}
	total := func() (n int) {
		clear(seen)
		for ev, err := range audit.In(b.box().Data).Search(t.Context(), audit.Query{}) {
			if err != nil {
				t.Fatal(err)
			}
			if want := categories[ev.StoreVersion]; ev.Category != want {
				t.Fatalf("%s by store %d is %s, want %s", ev.Host, ev.StoreVersion, ev.Category, want)
			}
			seen[ev.StoreVersion]++
			n++
		}
		return n
	}
	for total() < 4*each && t.Context().Err() == nil {
		time.Sleep(10 * time.Millisecond) // ordinary events are on the disk within a second
	}
	if len(seen) != 2 {
		t.Errorf("questions met only these versions: %v", seen)
	}
	t.Logf("%d swaps under %d questions: %v", b.swaps.Load(), 4*each, seen)
}

func ask(addr, name string) (*dns.Msg, error) {
	c := dns.Client{Timeout: 20 * time.Second}
	q := new(dns.Msg).SetQuestion(dns.Fqdn(name), dns.TypeA)
	q.SetEdns0(1232, false) // so that a refusal says it is one
	r, _, err := c.Exchange(q, addr)
	return r, err
}

// load is what a steady stream of questions met.
type load struct {
	lost int
	took []time.Duration // sorted
}

func (l load) at(share float64) time.Duration {
	if len(l.took) == 0 {
		return 0
	}
	return l.took[int(share*float64(len(l.took)-1))]
}

// stream asks rate questions a second for a while, from several sockets. A
// question is timed from when it was due, so one that waits for its turn counts.
func (b *swapBox) stream(questions [][]byte, rate int, during time.Duration) load {
	const sockets = 8
	parts := make([]load, sockets)
	var all sync.WaitGroup
	for i := range parts {
		all.Go(func() { parts[i] = b.socket(questions, i*997, rate/sockets, during) })
	}
	all.Wait()
	var sum load
	for _, p := range parts {
		sum.lost += p.lost
		sum.took = append(sum.took, p.took...)
	}
	slices.Sort(sum.took)
	return sum
}

func (b *swapBox) socket(questions [][]byte, from, rate int, during time.Duration) (l load) {
	conn, err := net.Dial("udp", b.dns)
	if err != nil {
		b.Error(err)
		return l
	}
	defer conn.Close()
	var due [1 << 16]atomic.Int64 // when each ID's question was due; 0 once answered
	began := time.Now()
	var reader sync.WaitGroup
	reader.Go(func() {
		buf := make([]byte, 1500)
		for {
			n, err := conn.Read(buf)
			if err != nil {
				return
			}
			if n < 2 {
				continue
			}
			if at := due[binary.BigEndian.Uint16(buf)].Swap(0); at != 0 {
				l.took = append(l.took, time.Since(began)-time.Duration(at))
			}
		}
	})
	buffer := make([]byte, 0, 512)
	total := int(during.Seconds() * float64(rate))
	for i := 0; i < total; {
		ready := min(total, int(time.Since(began).Seconds()*float64(rate)))
		for ; i < ready; i++ {
			q := append(buffer[:0], questions[(from+i)%len(questions)]...)
			binary.BigEndian.PutUint16(q, uint16(i))
			if due[uint16(i)].Swap(int64(i)*int64(time.Second)/int64(rate)+1) != 0 {
				l.lost++
			}
			if _, err := conn.Write(q); err != nil {
				b.Error(err)
			}
		}
		time.Sleep(time.Millisecond)
	}
	if err := conn.SetReadDeadline(time.Now().Add(2 * time.Second)); err != nil {
		b.Error(err)
	}
	reader.Wait()
	for i := range due {
		if due[i].Load() != 0 {
			l.lost++
		}
	}
	return l
}

// BenchmarkSwapUnderLoad streams 20,000 questions a second at a box with all
// shared lists, first left alone and then with the whole store swapped twice a
// second, and prints both and their ratio.
func BenchmarkSwapUnderLoad(b *testing.B) {
	const rate, during = 20_000, 10 * time.Second
	feeds, problems := blocklists.LoadFeeds(filepath.Join("..", "configs", "feeds.shared.yaml"))
	if err := blocklists.Joined(problems); err != nil {
		b.Fatal(err)
	}
	testkit.Lists(b)
	box := newSwapBox(b, [2][]blocklists.Feed{feeds.Enabled(), feeds.Enabled()})
	box.swap()
	questions := packed(b)
	box.stream(questions, rate/4, 3*time.Second) // warm
	for b.Loop() {
		alone := box.stream(questions, rate, during)
		ctx, stop := context.WithCancel(b.Context())
		var swapper sync.WaitGroup
		before := box.swaps.Load()
		swapper.Go(func() { box.swapUntil(ctx, 500*time.Millisecond) })
		swapping := box.stream(questions, rate, during)
		stop()
		swapper.Wait()
		for name, l := range map[string]load{"alone": alone, "swapping": swapping} {
			b.Logf("%-8s %d answered, %d lost; p50 %s, p99 %s, p99.9 %s, longest %s", name, len(l.took), l.lost, l.at(0.5), l.at(0.99), l.at(0.999), l.at(1))
		}
		b.ReportMetric(float64(box.swaps.Load()-before), "swaps")
		b.ReportMetric(float64(alone.at(0.99).Microseconds()), "p99-alone-µs")
		b.ReportMetric(float64(swapping.at(0.99).Microseconds()), "p99-swapping-µs")
		b.ReportMetric(float64(swapping.at(0.99))/float64(alone.at(0.99)), "ratio")
		b.ReportMetric(float64(alone.lost+swapping.lost), "lost")
	}
}

// packed are questions for names of a list, which are refused, and as many for
// one that is answered from the cache.
func packed(tb testing.TB) (questions [][]byte) {
	tb.Helper()
	add := func(name string) {
		q, err := new(dns.Msg).SetQuestion(dns.Fqdn(name), dns.TypeA).Pack()
		if err != nil {
			return // a list may hold a name that no resolver would be asked for
		}
		questions = append(questions, q)
	}
	err := someNames(namesFile(tb), func(name string) bool {
		add(strings.TrimSpace(name))
		add("open.example")
		return len(questions) < 40_000
	})
	if err != nil {
		tb.Fatal(err)
	}
	return questions
}
