package categories

import (
	"archive/tar"
	"bufio"
	"compress/gzip"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"testing"

	"schoolgate/internal/testkit"
	"schoolgate/policy"
)

// realLists are the lists of names that the benchmarks are run on: all that is
// beside the repository, 6.8 million names, 3.2 million with mirrors folded.
var realLists = []struct {
	pattern  string
	category policy.Category
}{
	{"ut1/adult-domains.txt.gz", policy.Pornography},
	{"ut1/blacklists.tar.gz", policy.Gaming},
	{"pornography/*.gz", policy.Pornography},
	{"malware/*.gz", policy.Malware},
	{"phishing/*.gz", policy.Phishing},
	{"gambling/*.gz", policy.Gambling},
	{"drugs/*.gz", policy.Drugs},
	{"social_networks/*.gz", policy.SocialNetworks},
	{"benign/*.domains.txt.gz", policy.Uncategorised},
}

// eachName calls visit with every host of the lists.
func eachName(tb testing.TB, visit func(list int, h policy.Host)) {
	dir := testkit.Lists(tb)
	for i, list := range realLists {
		paths, err := filepath.Glob(filepath.Join(dir, list.pattern))
		if err != nil || len(paths) == 0 {
			tb.Fatalf("no list %s: %v", list.pattern, err)
		}
		for _, path := range paths {
			readNames(tb, path, func(h policy.Host) { visit(i, h) })
		}
	}
}

func readNames(tb testing.TB, path string, visit func(policy.Host)) {
	f, err := os.Open(path)
	if err != nil {
		tb.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(bufio.NewReaderSize(f, 1<<16))
	if err != nil {
		tb.Fatal(err)
	}
	if !strings.HasSuffix(path, ".tar.gz") {
		readLines(tb, z, visit)
		return
	}
	for archive := tar.NewReader(z); ; {
		member, err := archive.Next()
		if err == io.EOF {
			return
		}
		if err != nil {
			tb.Fatal(err)
		}
		if filepath.Base(member.Name) == "domains" {
			readLines(tb, archive, visit)
		}
	}
}

// readLines reads names one a line, hosts format or Adblock, near enough.
func readLines(tb testing.TB, r io.Reader, visit func(policy.Host)) {
	lines := bufio.NewScanner(io.LimitReader(r, 1<<30))
	for lines.Scan() {
		line := strings.TrimSuffix(strings.TrimPrefix(lines.Text(), "||"), "^")
		if i := strings.LastIndexByte(line, ' '); i >= 0 {
			line = line[i+1:]
		}
		if line == "" || strings.ContainsAny(line, "!#[]") {
			continue
		}
		if h, err := policy.ParseHost(line); err == nil {
			visit(h)
		}
	}
	if err := lines.Err(); err != nil {
		tb.Fatal(err)
	}
}

type benchStore struct {
	store  *Store
	listed []policy.Host // a sample
	misses []policy.Host
}

// buildReal builds a store of all real lists.
func buildReal(b *testing.B, path string, change func(policy.Host) policy.Host) Report {
	b.Helper()
	builder, err := Create(path, BuildOptions{Version: 1})
	if err != nil {
		b.Fatal(err)
	}
	defer builder.Abort()
	var ids []SourceID
	for _, list := range realLists {
		ids = append(ids, builder.Source(Source{Name: list.pattern, Clean: list.category == policy.Uncategorised}))
	}
	eachName(b, func(list int, h policy.Host) {
		err := builder.Add(ids[list], Entry{Host: change(h), Category: realLists[list].category})
		if _, refused := err.(Refused); err != nil && !refused {
			b.Fatal(err)
		}
	})
	report, err := builder.Finish(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	return report
}

// BenchmarkBuild builds the store of all real lists, and once more as if their
// mirrors were sites of their own: 6.8 million names. The peak of memory is that
// of the process, so run each by itself.
func BenchmarkBuild(b *testing.B) {
	for name, change := range map[string]func(policy.Host) policy.Host{
		"Folded": func(h policy.Host) policy.Host { return h },
		"Unfolded": func(h policy.Host) policy.Host {
			if other, err := policy.ParseHost(strings.Replace(h.String(), ".blogspot.", ".unfolded.", 1)); err == nil {
				return other
			}
			return h
		},
	} {
		b.Run(name, func(b *testing.B) {
			var report Report
			for b.Loop() {
				report = buildReal(b, filepath.Join(b.TempDir(), "build.db"), change)
			}
			b.ReportMetric(float64(report.Names), "names")
			b.ReportMetric(float64(report.FileSize)/1e6, "file-MB")
			b.ReportMetric(peak(b), "peak-MB")
		})
	}
}

// peak is the most memory this process ever had resident, in MB.
func peak(b *testing.B) float64 {
	text, err := os.ReadFile("/proc/self/status")
	if err != nil {
		b.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), "VmHWM:")
	kb, err := strconv.Atoi(strings.Fields(rest)[0])
	if err != nil {
		b.Fatal(err)
	}
	return float64(kb) / 1000
}

func openBench(b *testing.B) *benchStore {
	b.Helper()
	path := os.Getenv("SCHOOLGATE_BENCH_STORE") // keep it between runs
	if path == "" {
		path = filepath.Join(b.TempDir(), "bench.db")
	}
	s := &benchStore{}
	if _, err := os.Stat(path); err != nil {
		buildReal(b, path, func(h policy.Host) policy.Host { return h })
	}
	var names []string
	readNames(b, filepath.Join(testkit.Lists(b), "malware/maltrail-malware.domains.txt.gz"), func(h policy.Host) {
		names = append(names, h.String())
	})
	rng := rand.New(rand.NewPCG(1, 2))
	rng.Shuffle(len(names), func(i, j int) { names[i], names[j] = names[j], names[i] })
	// Parsed in the order of use: a door has just read the name it asks about.
	s.listed, s.misses = parseAll(names, ""), parseAll(names, "q")
	var err error
	if s.store, err = Open(path, nil); err != nil {
		b.Fatal(err)
	}
	s.misses = slices.DeleteFunc(s.misses, func(h policy.Host) bool { // a parent is listed
		return !s.store.Classify(h, "").Categories.Empty()
	})
	runtime.GC()
	return s
}

func parseAll(names []string, prefix string) (hosts []policy.Host) {
	for _, name := range names {
		if h, err := policy.ParseHost(prefix + name); err == nil { // not a name: an address with a prefix
			hosts = append(hosts, h)
		}
	}
	return hosts
}

var sink policy.Facts

func classify(b *testing.B, s *Store, hosts []policy.Host) {
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		sink = s.Classify(hosts[i], "")
		if i++; i == len(hosts) {
			i = 0
		}
	}
	b.ReportMetric(float64(s.Info().IndexSize)/float64(s.Info().Names), "index-B/name")
	b.ReportMetric(float64(s.Info().FileSize)/float64(s.Info().Names), "file-B/name")
}

func BenchmarkClassify(b *testing.B) {
	s := openBench(b)
	b.Run("Miss", func(b *testing.B) { classify(b, s.store, s.misses) })
	b.Run("MissFew", func(b *testing.B) { classify(b, s.store, s.misses[:500]) })
	b.Run("Hit", func(b *testing.B) { classify(b, s.store, s.listed) })
	b.Run("HitCached", func(b *testing.B) { classify(b, s.store, s.listed[:500]) })
	b.Run("BareMapMiss", func(b *testing.B) { bareMap(b, s.misses) })
	b.Run("BareMapHit", func(b *testing.B) { bareMap(b, s.listed) })
}

// bareMap is the peer: a Go map asked for each parent of the host.
func bareMap(b *testing.B, hosts []policy.Host) {
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	m := map[string]policy.CategorySet{}
	eachName(b, func(list int, h policy.Host) {
		if _, mirrored := cutMirror(h.String()); !mirrored {
			m[h.String()] = policy.SetOf(policy.Pornography)
		}
	})
	runtime.GC()
	runtime.ReadMemStats(&after)
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		var set policy.CategorySet
		for name := hosts[i].String(); name != ""; {
			set = set.Union(m[name])
			_, name, _ = strings.Cut(name, ".")
		}
		sink.Categories = set
		if i++; i == len(hosts) {
			i = 0
		}
	}
	b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/float64(len(m)), "heap-B/name")
}

// BenchmarkOpen opens the store of all real lists, asks it a million times and
// says what the process then weighs: at most 200 MB, 60 MB of them Go's.
func BenchmarkOpen(b *testing.B) {
	s := openBench(b)
	path := s.store.file.db.Path()
	mixed := slices.Concat(s.listed[:len(s.listed)/2], s.misses[:len(s.misses)/2])
	rand.New(rand.NewPCG(3, 4)).Shuffle(len(mixed), func(i, j int) { mixed[i], mixed[j] = mixed[j], mixed[i] })
	if err := s.store.release(); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		store, err := Open(path, nil)
		if err != nil {
			b.Fatal(err)
		}
		if err := store.release(); err != nil {
			b.Fatal(err)
		}
	}
	before, heapBefore := resident(b)
	store, err := Open(path, nil)
	if err != nil {
		b.Fatal(err)
	}
	for i := range 1_000_000 {
		sink = store.Classify(mixed[i%len(mixed)], "")
	}
	after, heap := resident(b)
	b.ReportMetric(after-before, "store-MB-resident")
	b.ReportMetric(heap-heapBefore, "store-MB-heap")
	runtime.KeepAlive(s) // its hosts are in both figures
	if err := store.release(); err != nil {
		b.Fatal(err)
	}
}

// resident is the memory of this process, and of its heap, in MB.
func resident(b *testing.B) (rss, heap float64) {
	debug.FreeOSMemory()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	text, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		b.Fatal(err)
	}
	pages, err := strconv.Atoi(strings.Fields(string(text))[1])
	if err != nil {
		b.Fatal(err)
	}
	return float64(pages*os.Getpagesize()) / 1e6, float64(m.HeapAlloc) / 1e6
}
