package index

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"schoolgate/audit"
	"schoolgate/policy"
)

var monday = time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC)

// school makes events like a school's, and some that nobody would expect.
type school struct {
	rnd *rand.Rand
	now time.Time
}

func newSchool(seed uint64) *school {
	return &school{rand.New(rand.NewPCG(seed, 7)), monday}
}

func pick[T any](r *rand.Rand, from ...T) T { return from[r.IntN(len(from))] }

func (s *school) event() policy.Event {
	r := s.rnd
	s.now = s.now.Add(time.Duration(r.IntN(2000)) * time.Millisecond)
	if r.IntN(200) == 0 { // the clock is set
		s.now = s.now.Add(time.Duration(r.IntN(7200)-3600) * time.Second)
	}
	if r.IntN(60) == 0 {
		return policy.StaffAct(s.now, pick(r, "m.jones", "head"), pick(r, "audit.search", "quarantine"), pick(r, "Year5 Tablet", ""), pick(r, "asked by the Head", ""))
	}
	n := r.IntN(12)
	e := policy.Event{
		Time: s.now, Door: pick(r, policy.DoorDNS, policy.DoorHTTP, policy.DoorTLS), Client: fmt.Sprintf("10.2.%d.%d", n%3, n),
		Device: pick(r, "", fmt.Sprintf("tablet-%d", n)), Group: pick(r, "year5", "year6", "guests"), Profile: pick(r, "ks2", "staff"),
		Pupil: n < 10, Person: pick(r, "", "", "", "p.smith"),
		Host: pick(r, "www.example.org", "example.org", "poker.example", "a.b.poker.example", "notpoker.example", "10.2.3.4", "ΚΑΦΕΣ.example", ""),
		Path: pick(r, "", "", "/volcano/Ash", "/v\x00olcano", "/"+fmt.Sprint(r.IntN(50))), Method: pick(r, "A", "GET", "\xff"),
		Verdict: pick(r, policy.Allow, policy.Allow, policy.Block, policy.Warn), Reason: pick(r, policy.ReasonDefault, policy.ReasonCategory),
		Use: pick(r, policy.UseUnknown, policy.UsePerson, policy.UseBackground), Rule: pick(r, "policy.yaml:51", "policy.yaml:7"),
		Size: pick(r, int64(0), int64(r.IntN(1<<20))), Status: pick(r, 0, 200, 403), PolicyVersion: "rev1", StoreVersion: 3,
	}
	if r.IntN(9) == 0 {
		e.Words, e.Theme, e.Term, e.Severity = pick(r, "how to hurt myself", "volcano ash", "ΚΑΦΈΣ \xfe"), pick(r, "self_harm", ""), pick(r, "hurt myself", ""), uint8(r.IntN(6))
	}
	if e.Verdict != policy.Allow {
		e.Category = pick(r, policy.Gambling, policy.Uncategorised)
		e.Finding = pick(r, "", "sni_mismatch")
	}
	return e
}

// record writes n events into a journal and closes it.
func record(t testing.TB, dir string, s *school, n int) {
	t.Helper()
	j, err := audit.Open(dir, audit.Options{SegmentSize: 64 << 10})
	if err != nil {
		t.Fatal(err)
	}
	for n > 0 {
		evs := make([]policy.Event, min(n, 1+s.rnd.IntN(40)))
		for i := range evs {
			evs[i] = s.event()
		}
		if err := j.RecordBatch(evs); err != nil {
			t.Fatal(err)
		}
		n -= len(evs)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
}

// box is a journal and its index.
type box struct {
	journal audit.Dir
	dir     string
}

func newBox(t testing.TB) box {
	return box{journal: audit.Dir{Path: filepath.Join(t.TempDir(), "journal")}, dir: filepath.Join(t.TempDir(), "index")}
}

func (b box) maker(t testing.TB, maxEvents int) *Maker {
	t.Helper()
	m, err := NewMaker(Config{Dir: b.dir, Journal: b.journal, MaxEvents: maxEvents})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// rebuild indexes everything there is.
func (b box) rebuild(t testing.TB, maxEvents int) {
	t.Helper()
	m := b.maker(t, maxEvents)
	if _, err := m.Rebuild(t.Context(), "", true); err != nil {
		t.Fatal(err)
	}
	if err := m.Close(); err != nil {
		t.Fatal(err)
	}
}

func (b box) open(t testing.TB) *Index {
	t.Helper()
	x, err := Open(b.dir, b.journal)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := x.Close(); err != nil {
			t.Error(err)
		}
	})
	return x
}

func events(t testing.TB, seq func(func(policy.Event, error) bool)) (list []policy.Event) {
	t.Helper()
	for e, err := range seq {
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, e)
	}
	return list
}

// query is one at random, of all that can be asked.
func (s *school) query() audit.Query {
	r := s.rnd
	q := audit.Query{Newest: r.IntN(2) == 0}
	for range 1 + r.IntN(3) {
		switch r.IntN(16) {
		case 0:
			q.From = monday.Add(time.Duration(r.IntN(72)) * time.Hour)
		case 1:
			q.To = monday.Add(time.Duration(r.IntN(72)) * time.Hour)
		case 2:
			q.Client = pick(r, "10.2.1.4", "10.2.1.0/24", "::ffff:10.2.0.3", "nobody")
		case 3:
			q.Device = pick(r, "tablet-3", "tablet-99")
		case 4:
			q.Person = pick(r, "p.smith", "m.jones", "nobody")
		case 5:
			q.Group = pick(r, "year5", "guests")
		case 6:
			q.Profile = "ks2"
		case 7:
			q.Host = pick(r, "poker.example", "example", "*.example.org", "nowhere.example", "3.4")
		case 8:
			q.Category = policy.Gambling
		case 9:
			q.Theme = "self_harm"
		case 10:
			q.Severity = uint8(r.IntN(6))
		case 11:
			q.Use = policy.UsePerson
		case 12:
			q.Verdicts = pick(r, []policy.Verdict{policy.Block}, []policy.Verdict{policy.Block, policy.Allow}, []policy.Verdict{policy.Allow})
		case 13:
			q.Flagged = true
		case 14:
			q.Text = pick(r, "Volcano", "v", "poker", "hurt my", "sni_mis", "policy.yaml:7", "καφ", "ΚΑΦΈ", "Asked", "tablet-1", "\x00ol", "nothing at all", "10.2", `"`)
		case 15:
			q.Limit = 1 + r.IntN(30)
			q.After = policy.EventID(r.IntN(2000))
			if r.IntN(2) == 0 {
				q.Before = q.After + policy.EventID(r.IntN(2000))
			}
		}
	}
	return q
}

// S13: the index answers exactly what the journal answers, whatever is asked, with
// files for all of it, some of it or none.
func TestSearchIsTheJournals(t *testing.T) {
	for seed := range schools() {
		s := newSchool(seed)
		b := newBox(t)
		record(t, b.journal.Path, s, 2000)
		b.rebuild(t, 700)
		record(t, b.journal.Path, s, 300) // the tail, which no file holds
		x := b.open(t)
		files := 0
		for range 150 {
			q := s.query()
			var used Used
			got, want := events(t, x.Search(t.Context(), q, &used)), events(t, b.journal.Search(t.Context(), q))
			if !slices.Equal(want, got) {
				t.Fatalf("seed %d: %+v: -journal +index\n%s", seed, q, cmp.Diff(want, got))
			}
			if len(used.Damaged) > 0 {
				t.Fatalf("seed %d: %+v: %v", seed, q, used.Damaged)
			}
			files += used.Files
		}
		if files == 0 {
			t.Error("no file was ever asked")
		}
	}
}

// schools is how many of them a test plays.
func schools() uint64 {
	if underRace {
		return 1
	}
	return 2
}

// F7: a file that is deleted, cut, altered, foreign or of another journal changes no
// answer, and is made again.
func TestDamagedFile(t *testing.T) {
	s := newSchool(1)
	b := newBox(t)
	record(t, b.journal.Path, s, 3000)
	b.rebuild(t, 500)
	want := events(t, b.journal.Search(t.Context(), audit.Query{}))
	other := newBox(t)
	record(t, other.journal.Path, newSchool(2), 3000)
	other.rebuild(t, 500)
	files := func(dir string) []string {
		names, err := filepath.Glob(filepath.Join(dir, "*"+fileExt))
		if err != nil || len(names) < 4 {
			t.Fatalf("%d files (%v), want several", len(names), err)
		}
		return names
	}
	for _, test := range []struct {
		what   string
		damage func(name string) error
	}{
		{"deleted", os.Remove},
		{"cut", func(name string) error { return os.Truncate(name, 9000) }},
		{"empty", func(name string) error { return os.Truncate(name, 0) }},
		{"a page altered", func(name string) error { return flip(name, 3*pageSize) }},
		{"the last page altered", func(name string) error { return flip(name, -1) }},
		{"the first page altered", func(name string) error { return flip(name, pageSize+5) }},
		{"the head altered", func(name string) error { return flip(name, 60) }},
		{"text", func(name string) error { return os.WriteFile(name, []byte("hello"), 0o600) }},
		{"foreign", func(name string) error { return copyFile(files(other.dir)[1], name) }},
		{"another's place", func(name string) error { return copyFile(files(b.dir)[3], name) }},
	} {
		t.Run(test.what, func(t *testing.T) {
			if err := test.damage(files(b.dir)[1]); err != nil {
				t.Fatal(err)
			}
			x := b.open(t)
			for _, q := range []audit.Query{{}, {Newest: true}} {
				var used Used
				got := events(t, x.Search(t.Context(), q, &used))
				if !q.Newest && !cmp.Equal(want, got) {
					t.Errorf("%d events, want the journal's %d", len(got), len(want))
				}
				if len(got) != len(want) {
					t.Errorf("newest first: %d events, want %d", len(got), len(want))
				}
			}
			m := b.maker(t, 500)
			if err := m.scrub(t.Context()); err != nil && !errors.Is(err, ErrDamaged) {
				t.Fatal(err)
			}
			if err := m.mend(t.Context()); err != nil {
				t.Fatal(err)
			}
			st, err := m.index.Status()
			if err != nil || len(st.Redo) > 0 || st.Events != len(want) {
				t.Errorf("mended: %+v, %v; want %d events", st, err, len(want))
			}
			if err := m.scrub(t.Context()); err != nil {
				t.Errorf("after mending: %v", err)
			}
			if err := m.Close(); err != nil {
				t.Error(err)
			}
		})
	}
}

func flip(name string, at int64) error {
	b, err := os.ReadFile(name)
	if err != nil {
		return err
	}
	if at < 0 {
		at += int64(len(b))
	}
	b[at] ^= 1
	return os.WriteFile(name, b, 0o600)
}

func copyFile(from, to string) error {
	b, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	return os.WriteFile(to, b, 0o600)
}

// Privacy 2: nothing of an event is in a file in clear, and erasing the month's
// key erases its files.
func TestFilesAreSealed(t *testing.T) {
	b := newBox(t)
	record(t, b.journal.Path, newSchool(3), 800)
	b.rebuild(t, 500)
	names, _ := filepath.Glob(filepath.Join(b.dir, "*"))
	for _, name := range names {
		content, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, secret := range []string{"poker", "tablet-", "p.smith", "SQLite format", "10.2."} {
			if contains(content, secret) {
				t.Errorf("%s holds %q in clear", filepath.Base(name), secret)
			}
		}
	}
	if n, err := b.journal.EraseMonth("2026-11"); err != nil || n == 0 {
		t.Fatalf("EraseMonth = %d, %v", n, err)
	}
	x := b.open(t)
	for e, err := range x.Search(context.Background(), audit.Query{}, nil) {
		if err == nil {
			t.Fatalf("event %v after its key was erased", e)
		}
	}
}

func contains(b []byte, s string) bool {
	for i := range len(b) - len(s) + 1 {
		if string(b[i:i+len(s)]) == s {
			return true
		}
	}
	return false
}
