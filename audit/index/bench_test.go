package index

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"testing"
	"time"

	"schoolgate/audit"
	"schoolgate/policy"
)

// rowsEnv is how many events the benchmark makes; 20,000,000 is 40 school days.
const rowsEnv = "BENCH_ROWS"

// dayEnv is how many of them are of one day.
const dayEnv = "BENCH_DAY"

// days makes realistic school days: 1,500 pupils in 50 classes, 60,000 hosts by Zipf,
// lessons from nine to three, pages that bring 5 to 80 requests with them, searches in
// 1.2 %, a path in 40 %, a block in 3 %, something flagged in 0.1 %.
type days struct {
	rnd     *rand.Rand
	hosts   *rand.Zipf
	names   []string
	now     time.Time
	perDay  int
	today   int
	pending []policy.Event
}

var (
	searches = []string{"volcano facts", "romans for kids", "how to draw a dragon", "times tables game", "tudor houses", "water cycle", "minecraft castle", "rivers of europe"}
	worrying = []struct{ words, theme, term string }{
		{"how to hurt myself", "self_harm", "hurt myself"}, {"where to buy vapes", "drugs", "buy vapes"}, {"nobody likes me", "bullying", "nobody likes me"},
	}
	sections = []string{"lesson", "games", "news", "images", "assets", "api", "video", "class"}
)

func newDays(perDay int) *days {
	d := &days{rnd: rand.New(rand.NewPCG(1, 2)), now: time.Date(2026, 9, 1, 8, 30, 0, 0, time.UTC), perDay: perDay}
	d.hosts = rand.NewZipf(d.rnd, 1.08, 8, 59_999)
	for i := range 60_000 {
		d.names = append(d.names, fmt.Sprintf("%s%d.site%d.example", []string{"www", "cdn", "img", "api"}[i%4], i%7, i/5))
	}
	return d
}

// next is the next event of the day.
func (d *days) next() policy.Event {
	if len(d.pending) == 0 {
		d.page()
	}
	e := d.pending[0]
	d.pending = d.pending[1:]
	if d.today++; d.today >= d.perDay {
		d.today, d.pending = 0, nil
		d.now = time.Date(d.now.Year(), d.now.Month(), d.now.Day()+1, 8, 30, 0, 0, time.UTC)
	}
	return e
}

// page is a page somebody opens and all that it fetches.
func (d *days) page() {
	r := d.rnd
	lesson := 7 * time.Hour
	d.now = d.now.Add(lesson / time.Duration(d.perDay/30+1))
	pupil := r.IntN(1500)
	n := 5 + r.IntN(55)
	site := int(d.hosts.Uint64())
	for i := range n {
		e := policy.Event{
			Time: d.now.Add(time.Duration(i) * 20 * time.Millisecond), Door: policy.DoorInspect, Client: fmt.Sprintf("10.2.%d.%d", pupil/250, pupil%250),
			Device: "tablet-" + strconv.Itoa(pupil), Group: "class" + strconv.Itoa(pupil/30), Profile: "ks2", Pupil: true,
			Host: d.names[site], Method: "GET", Use: policy.UseBackground, Verdict: policy.Allow, Reason: policy.ReasonDefault,
			Rule: "policy.yaml:" + strconv.Itoa(40+site%30), Status: 200, PolicyVersion: "5f0c1d2e3a4b", StoreVersion: 7,
		}
		switch {
		case i == 0:
			e.Use = policy.UsePerson
			e.Path = "/" + sections[r.IntN(8)] + "/" + strconv.Itoa(r.IntN(5000))
			if r.IntN(100) < 36 { // one page in three is a search: 1.2 % of all requests
				e.Host, e.Path, e.Words = "www.search.example", "/search", searches[r.IntN(8)]+" "+strconv.Itoa(r.IntN(400))
			}
			if r.IntN(35) == 0 {
				w := worrying[r.IntN(3)]
				e.Host, e.Path, e.Words, e.Theme, e.Term, e.Severity = "www.search.example", "/search", w.words, w.theme, w.term, uint8(2+r.IntN(4))
			}
		case i%5 < 2:
			e.Path = "/" + sections[r.IntN(8)] + "/" + strconv.Itoa(r.IntN(20000)) + ".js"
			e.Type, e.Size = "text/javascript", int64(r.IntN(100_000))
		}
		if i%4 == 3 {
			e.Host = d.names[int(d.hosts.Uint64())]
		}
		if r.IntN(33) == 0 {
			e.Verdict, e.Reason, e.Category, e.Status = policy.Block, policy.ReasonCategory, []policy.Category{policy.Gambling, policy.Pornography, policy.Violence}[r.IntN(3)], 403
		}
		d.pending = append(d.pending, e)
	}
}

// shapes are what a DSL asks, and what a plan for it must not do.
func shapes(last time.Time) []struct {
	name string
	q    audit.Query
} {
	from := last.AddDate(0, 0, -30)
	list := []struct {
		name string
		q    audit.Query
	}{
		{"a pupil", audit.Query{Device: "tablet-731"}},
		{"a pupil, blocked", audit.Query{Device: "tablet-731", Verdicts: []policy.Verdict{policy.Block}}},
		{"a pupil, one category", audit.Query{Device: "tablet-731", Category: policy.Gambling}},
		{"a class, blocked", audit.Query{Group: "class12", Verdicts: []policy.Verdict{policy.Block}}},
		{"a class in one lesson", audit.Query{Group: "class12", To: last.AddDate(0, 0, -3), From: last.AddDate(0, 0, -3).Add(-time.Hour)}},
		{"a site seldom asked for", audit.Query{Host: "site11801.example"}},
		{"a site everybody asks for", audit.Query{Host: "site1.example"}},
		{"a site nobody asked for", audit.Query{Host: "nowhere.example"}},
		{"an address range", audit.Query{Client: "10.2.3.16/30"}},
		{"a theme, grave", audit.Query{Theme: "self_harm", Severity: 4}},
		{"flagged", audit.Query{Flagged: true}},
		{"search words", audit.Query{Text: "hurt myself"}},
		{"words seldom searched", audit.Query{Text: "tudor houses 311"}},
		{"words nobody searched", audit.Query{Text: "zebra crossing"}},
		{"part of a path", audit.Query{Text: "lesson/4711"}},
		{"part of a host", audit.Query{Text: "site11801"}},
		{"typed by a person", audit.Query{Use: policy.UsePerson, Device: "tablet-731"}},
		{"a person nobody knows", audit.Query{Person: "p.smith"}},
		{"everything, newest first", audit.Query{}},
	}
	for i := range list {
		q := &list[i].q
		q.Newest, q.Limit = true, 50
		if q.From.IsZero() {
			q.From = from
		}
	}
	return list
}

// BenchmarkSchoolDays indexes BENCH_ROWS events (1,000,000 unless said) and asks for
// the first page of 30 days, each shape five times. Figures are in the decision.
func BenchmarkSchoolDays(b *testing.B) {
	rows := 1_000_000
	if s := os.Getenv(rowsEnv); s != "" {
		n, err := strconv.Atoi(s)
		if err != nil {
			b.Fatal(err)
		}
		rows = n
	}
	box := newBox(b)
	perDay := min(500_000, rows/2)
	if n, err := strconv.Atoi(os.Getenv(dayEnv)); err == nil && n > 0 {
		perDay = n
	}
	d := newDays(perDay)
	start := time.Now()
	last := writeDays(b, box, d, rows)
	say(b, "journal: %d events in %v, %.0f B an event", rows, time.Since(start).Round(time.Second), float64(dirSize(b, box.journal.Path))/float64(rows))
	b.ResetTimer()
	start = time.Now()
	box.rebuild(b, 0)
	took := time.Since(start)
	b.StopTimer()
	bytes := dirSize(b, box.dir)
	b.ReportMetric(float64(rows)/took.Seconds(), "events/s")
	b.ReportMetric(float64(bytes)/float64(rows), "B/event")
	x := box.open(b)
	st, err := x.Status()
	if err != nil {
		b.Fatal(err)
	}
	say(b, "index: %d events in %v with sealing, %.0f events/s, %d files, %.1f B an event", st.Events, took.Round(time.Second), float64(rows)/took.Seconds(), st.Files, float64(bytes)/float64(rows))
	worst := time.Duration(0)
	for _, s := range shapes(last) {
		var took []time.Duration
		var used Used
		n := 0
		for range 5 {
			start := time.Now()
			used = Used{}
			n = len(events(b, x.Search(b.Context(), s.q, &used)))
			took = append(took, time.Since(start))
		}
		slices.Sort(took)
		worst = max(worst, took[2])
		say(b, "%-28s %4d found, %2d files, median %6.1f ms, worst %6.1f ms", s.name, n, used.Files, ms(took[2]), ms(took[4]))
	}
	b.ReportMetric(ms(worst), "ms/worst-query")
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	say(b, "heap %d MB", m.Sys>>20)
}

// say tells a figure at once: a long run may be broken off.
func say(b *testing.B, format string, args ...any) {
	if os.Getenv(rowsEnv) != "" {
		fmt.Fprintf(os.Stderr, format+"\n", args...)
	} else {
		b.Logf(format, args...)
	}
}

func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

func writeDays(b testing.TB, box box, d *days, rows int) (last time.Time) {
	j, err := audit.Open(box.journal.Path, audit.Options{})
	if err != nil {
		b.Fatal(err)
	}
	evs := make([]policy.Event, 0, 256)
	for n := range rows {
		evs = append(evs, d.next())
		if len(evs) == cap(evs) || n == rows-1 {
			if err := j.RecordBatch(evs); err != nil {
				b.Fatal(err)
			}
			last = evs[len(evs)-1].Time
			evs = evs[:0]
		}
	}
	if err := j.Close(); err != nil {
		b.Fatal(err)
	}
	return last
}

func dirSize(t testing.TB, dir string) (n int64) {
	names, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		if info, err := os.Stat(name); err == nil && info.Mode().IsRegular() {
			n += info.Size()
		}
	}
	return n
}

// BenchmarkAdd is what the index costs an event while it follows.
func BenchmarkAdd(b *testing.B) {
	day := newDays(1 << 18)
	events := make([]policy.Event, 1<<14)
	for i := range events {
		events[i] = day.next()
	}
	m, err := newBuilder(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	defer m.close()
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		e := events[i%len(events)]
		e.ID = policy.EventID(i + 1)
		if err := m.add(b.Context(), &e); err != nil {
			b.Fatal(err)
		}
	}
}
