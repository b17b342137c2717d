package appliance

import (
	"bufio"
	"compress/gzip"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"schoolgate/categories"
	"schoolgate/configs"
	"schoolgate/internal/testkit"
	"schoolgate/policy"
)

// What one box is promised to need. The benchmarks below fail where it does not hold.
const (
	promisedDecision = time.Microsecond       // policy, client and look-up of an unlisted host
	promisedOpening  = 200 * time.Millisecond // of the store of all lists
	promisedHeap     = 60e6                   // bytes of Go's, after a million mixed look-ups
	promisedResident = 200e6                  // bytes in all
)

// boxEngine is the sample school over a store, as the doors ask it.
func boxEngine(tb testing.TB, store *categories.Store) *policy.Engine {
	tb.Helper()
	cfg, problems := configs.Load("")
	for _, p := range problems {
		tb.Fatal(p)
	}
	people, err := Identify(cfg.School.Members)
	if err != nil {
		tb.Fatal(err)
	}
	e := &policy.Engine{}
	e.Swap(&policy.Snapshot{Policy: cfg.School.Policy, Lists: store, Clients: people, StoreVersion: 1})
	return e
}

// namesFile is a list of 900,000 names, one a line.
func namesFile(tb testing.TB) string {
	return filepath.Join(testkit.Lists(tb), "malware", "maltrail-malware.domains.txt.gz")
}

// someNames calls visit with the names of a file, until it has had enough.
func someNames(path string, visit func(name string) (more bool)) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	z, err := gzip.NewReader(bufio.NewReader(f))
	if err != nil {
		return err
	}
	lines := bufio.NewScanner(z)
	for lines.Scan() {
		if !visit(lines.Text()) {
			return nil
		}
	}
	return lines.Err()
}

// asks are requests of a Year 5 tablet: names of a list, or names beside them.
func asks(tb testing.TB, e *policy.Engine, listed bool) (requests []policy.Request) {
	tb.Helper()
	prefix := "q"
	if listed {
		prefix = ""
	}
	err := someNames(namesFile(tb), func(name string) bool {
		h, err := policy.ParseHost(prefix + name)
		if err != nil {
			return true
		}
		q := policy.Request{Door: policy.DoorDNS, Client: netip.MustParseAddr("127.0.0.1"), Host: h, Time: schoolTime}
		if isListed := e.Decide(q).Reason != policy.ReasonUncategorised; isListed == listed {
			requests = append(requests, q)
		}
		return len(requests) < 200_000
	})
	if err != nil {
		tb.Fatal(err)
	}
	return requests
}

var ruling policy.Ruling

// BenchmarkDecide is the whole of a decision at the real store: client, look-up
// and policy. Unlisted is what nearly all of a school's requests are.
func BenchmarkDecide(b *testing.B) {
	store := realStore(b)
	e := boxEngine(b, store)
	for name, listed := range map[string]bool{"Unlisted": false, "Listed": true} {
		requests := asks(b, e, listed)
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			i := 0
			for b.Loop() {
				ruling = e.Decide(requests[i])
				if i++; i == len(requests) {
					i = 0
				}
			}
			each := b.Elapsed() / time.Duration(b.N)
			if !listed && b.N > 1000 && each > promisedDecision {
				b.Errorf("a decision on an unlisted host takes %v, want at most %v", each, promisedDecision)
			}
		})
	}
}

// Nothing is allocated for a decision on an unlisted host.
func TestDecideUnlistedAllocatesNothing(t *testing.T) {
	store := realStore(t)
	e := boxEngine(t, store)
	requests := asks(t, e, false)[:1000]
	i := 0
	allocs := testing.AllocsPerRun(len(requests), func() {
		ruling = e.Decide(requests[i%len(requests)])
		i++
	})
	if allocs != 0 {
		t.Errorf("Decide(unlisted) allocates %v times, want 0", allocs)
	}
}

// BenchmarkStoreOfAllLists opens the store of all real lists, and weighs a
// process of its own that opens it and asks it a million times.
func BenchmarkStoreOfAllLists(b *testing.B) {
	realStore(b)
	path := filepath.Join(real.dir, "store.db")
	b.Run("Open", func(b *testing.B) {
		for b.Loop() {
			store, err := categories.Open(path, testKey)
			if err != nil {
				b.Fatal(err)
			}
			store.Close()
		}
		if each := b.Elapsed() / time.Duration(b.N); each > promisedOpening {
			b.Errorf("opening takes %v, want at most %v", each, promisedOpening)
		}
	})
	b.Run("MillionLookups", func(b *testing.B) {
		var heap, resident float64
		for b.Loop() {
			child := exec.Command(os.Args[0])
			child.Env = append(os.Environ(), weighedStore+"="+path, weighedNames+"="+namesFile(b))
			child.Stderr = os.Stderr
			out, err := child.Output()
			if err != nil {
				b.Fatal(err)
			}
			if _, err := fmt.Sscan(string(out), &heap, &resident); err != nil {
				b.Fatalf("%q: %v", out, err)
			}
		}
		b.ReportMetric(heap/1e6, "heap-MB")
		b.ReportMetric(resident/1e6, "resident-MB")
		if heap > promisedHeap || resident > promisedResident {
			b.Errorf("after a million look-ups: %.0f bytes of heap and %.0f resident, want at most %.0f and %.0f",
				heap, resident, promisedHeap, promisedResident)
		}
	})
}

// What a process that only weighs itself is told in its environment: the store,
// and a file of names to ask it for.
const (
	weighedStore = "SCHOOLGATE_WEIGHED_STORE"
	weighedNames = "SCHOOLGATE_WEIGHED_NAMES"
)

// weigh asks a store a million times, for the names of a file and for names beside
// them in turn, and prints what the process then weighs. The names are read as
// they are asked for, so that they weigh nothing.
func weigh(out io.Writer, path, names string) error {
	store, err := categories.Open(path, testKey)
	if err != nil {
		return err
	}
	defer store.Close()
	asked := 0
	for asked < 1_000_000 {
		err := someNames(names, func(name string) bool {
			for _, prefix := range []string{"", "q"} {
				if h, err := policy.ParseHost(prefix + name); err == nil {
					store.Classify(h, "")
					asked++
				}
			}
			return asked < 1_000_000
		})
		if err != nil {
			return err
		}
	}
	resident, err := residentBytes()
	if err != nil {
		return err
	}
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	_, err = fmt.Fprintln(out, m.HeapAlloc, resident)
	return err
}

// residentBytes is what this process has in memory, the mapped store with it.
func residentBytes() (int, error) {
	text, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0, err
	}
	_, rest, _ := strings.Cut(string(text), "VmRSS:")
	number, _, _ := strings.Cut(strings.TrimSpace(rest), " ")
	kb, err := strconv.Atoi(number)
	return kb * 1024, err
}
