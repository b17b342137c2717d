package blocklists

import (
	"archive/tar"
	"bufio"
	"bytes"
	"compress/gzip"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"schoolgate/policy"
)

// handed is all that a reading hands over, in its order.
type handed struct {
	Events []any
	Stats  Stats
}

func openParsed(t *testing.T) *Parsed {
	t.Helper()
	p := OpenParsed(t.TempDir(), []byte("a key of a box"), slog.New(slog.DiscardHandler))
	p.limits.least = 0
	return p
}

func readBy(t *testing.T, p *Parsed, f Feed) (h handed, kept bool) {
	t.Helper()
	var err error
	h.Stats, kept, err = p.Read(t.Context(), f,
		func(e Entry) error { h.Events = append(h.Events, e); return nil },
		func(r Refusal) { h.Events = append(h.Events, r) })
	if err != nil {
		t.Fatal(err)
	}
	return h, kept
}

func (h handed) same(t *testing.T, what string, want handed) {
	t.Helper()
	if d := cmp.Diff(want, h, cmp.Comparer(func(a, b policy.Host) bool { return a == b })); d != "" {
		t.Fatalf("%s: what is handed over differs (-anew +kept):\n%s", what, d)
	}
}

// randomFeed writes a feed in any format, with broken lines, or changes one.
func randomFeed(t *testing.T, rng *rand.Rand, dir string, i int) Feed {
	t.Helper()
	formats := []Format{Domains, Hosts, Adblock, Wildcards, URLs, CSV, UT1, V2fly}
	f := Feed{Name: fmt.Sprint("feed-", i), Format: formats[i%len(formats)], Category: policy.Gambling, Kind: Public}
	f.Path = filepath.Join(dir, f.Name)
	var s strings.Builder
	if f.Format == CSV {
		f.Columns = Columns{Host: "host", Category: "category"}
		f.Category = policy.Uncategorised
		s.WriteString("host,category\n")
	}
	for n := range 30 + rng.IntN(40) {
		host := fmt.Sprintf("h%d.b%d.example", rng.IntN(50), n)
		switch f.Format {
		case Domains, Wildcards:
			fmt.Fprintf(&s, "%s\n", []string{host, "*." + host, "# a comment", "bücher.example", "localhost", "192.0.2.7"}[rng.IntN(6)])
		case Hosts:
			fmt.Fprintf(&s, "0.0.0.0 %s www.%s\n", host, host)
		case Adblock:
			fmt.Fprintf(&s, "%s\n", []string{"||" + host + "^", "##.ad", "! a comment"}[rng.IntN(3)])
		case URLs, UT1:
			fmt.Fprintf(&s, "%s/p%d\n", host, rng.IntN(9))
		case V2fly:
			fmt.Fprintf(&s, "%s\n", []string{host, "full:" + host, "regexp:x.*"}[rng.IntN(3)])
		case CSV:
			fmt.Fprintf(&s, "%s,%s\n", host, []string{"gambling", "gaming", "gaming", "gambling", "gaming", "none", "none", "nonsense"}[rng.IntN(8)])
		}
	}
	s.WriteString("good.example\nbad host!\n")
	switch f.Format {
	case UT1:
		f.Category, f.Categories = policy.Uncategorised, map[string]string{"bets": "gambling", "*": "none"}
		f.Path = treeOf(t, dir, f.Name+".tar.gz", map[string]string{"bets/urls": s.String(), "bets/domains": "x.example\n", "other/domains": "y.example\n"})
	case V2fly:
		f.Category, f.Categories = policy.Uncategorised, map[string]string{"bets": "gambling", "games": "gaming"}
		mustWrite(t, filepath.Join(f.Path, "bets"), s.String()+"include:games\n")
		mustWrite(t, filepath.Join(f.Path, "games"), "full:play.example\n")
	case CSV:
		mustWrite(t, f.Path, strings.Replace(s.String(), "good.example\n", "good.example,gambling\n", 1))
	default:
		mustWrite(t, f.Path, s.String())
	}
	return f
}

func mustWrite(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func treeOf(t *testing.T, dir, name string, members map[string]string) string {
	t.Helper()
	var b bytes.Buffer
	zip := gzip.NewWriter(&b)
	w := tar.NewWriter(zip)
	for name, text := range members {
		h := &tar.Header{Name: name, Typeflag: tar.TypeReg, Mode: 0o600, Size: int64(len(text))}
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(text)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if err := zip.Close(); err != nil {
		t.Fatal(err)
	}
	mustWrite(t, filepath.Join(dir, name), b.String())
	return filepath.Join(dir, name)
}

// What was kept of a feed is what reading it anew gives, entry by entry and refusal
// by refusal, whatever changes between two builds (issue 5: incremental where the
// feed is unchanged).
func TestParsedIsWhatReadingGives(t *testing.T) {
	for seed := range uint64(12) {
		rng := rand.New(rand.NewPCG(seed, 3))
		p, dir := openParsed(t), t.TempDir()
		var feeds []Feed
		for i := range 8 {
			feeds = append(feeds, randomFeed(t, rng, dir, i))
		}
		for round := range 5 {
			for i := range feeds {
				changed := round == 0
				switch {
				case rng.IntN(3) == 0:
					feeds[i], changed = randomFeed(t, rng, dir, i), true
				case rng.IntN(4) == 0 && len(feeds[i].Categories) == 0 && feeds[i].Format != CSV:
					feeds[i].Category, changed = policy.Category(1+int(feeds[i].Category)%5), true
				}
				want, _ := readBy(t, nil, feeds[i])
				got, kept := readBy(t, p, feeds[i])
				got.same(t, fmt.Sprintf("seed %d, round %d, %s", seed, round, feeds[i].Format), want)
				if kept == changed {
					t.Fatalf("seed %d, round %d, %s: changed %v, and taken from what was kept: %v", seed, round, feeds[i].Format, changed, kept)
				}
			}
		}
	}
}

func manyNames(n int) string {
	var s strings.Builder
	for i := range n {
		fmt.Fprintf(&s, "name-%d.example\n", i)
	}
	return s.String()
}

// A reading that is damaged, cut, of another box or of another program is not
// believed: the feed is read anew, and kept anew.
func TestParsedIsNotBelievedWhenDamaged(t *testing.T) {
	p := openParsed(t)
	f := public1(Domains)
	f.Path = write(t, "list", manyNames(3000)+"bad host!\n")
	want, _ := readBy(t, p, f)
	whole, err := os.ReadFile(p.path(&f))
	if err != nil {
		t.Fatal(err)
	}
	spoilt := map[string][]byte{"empty": {}, "longer": append(bytes.Clone(whole), 0), "another file": []byte(manyNames(100))}
	for _, at := range []int{0, len(parsedMagic), len(parsedMagic) + 40, len(whole) / 2, len(whole) - 40, len(whole) - 1} {
		b := bytes.Clone(whole)
		b[at] ^= 4
		spoilt[fmt.Sprint("a flipped bit at ", at)] = b
		spoilt[fmt.Sprint("cut at ", at)] = whole[:at]
	}
	other := *p
	other.key = []byte("the key of another box")
	readBy(t, &other, f)
	if spoilt["of another box"], err = os.ReadFile(p.path(&f)); err != nil {
		t.Fatal(err)
	}
	for name, text := range spoilt {
		mustWrite(t, p.path(&f), string(text))
		got, kept := readBy(t, p, f)
		if got.same(t, name, want); kept {
			t.Errorf("%s: believed", name)
		}
		if again, kept := readBy(t, p, f); !kept {
			t.Errorf("%s: not kept anew", name)
		} else {
			again.same(t, name+", again", want)
		}
	}
}

// Nothing of a mandatory list is kept, nor of a list that is refused.
func TestParsedKeepsNoMandatoryAndNoRefusedList(t *testing.T) { // R1
	p := openParsed(t)
	f := public1(Domains)
	f.Kind, f.Category = Mandatory, policy.Terrorism
	f.Path = write(t, "list", manyNames(3000))
	for range 2 {
		if _, kept := readBy(t, p, f); kept {
			t.Error("a mandatory list was kept")
		}
	}
	f = public1(Domains)
	f.Path = write(t, "broken", manyNames(10)+strings.Repeat("bad host!\n", 100))
	if _, _, err := p.Read(t.Context(), f, func(Entry) error { return nil }, func(Refusal) {}); err == nil {
		t.Error("the broken list was read")
	}
	if left, err := filepath.Glob(filepath.Join(p.dir, "*")); err != nil || len(left) > 0 {
		t.Errorf("left on the disk: %v, %v", left, err)
	}
}

// What is kept has bounds: one reading, all of them, feeds that are declared.
func TestParsedIsBounded(t *testing.T) { // T2
	p := openParsed(t)
	var feeds []Feed
	for i := range 4 {
		f := public1(Domains)
		f.Name, f.Path = fmt.Sprint("list-", i), write(t, "list", manyNames(2000+i))
		readBy(t, p, f)
		old := time.Now().Add(time.Duration(i) * time.Minute)
		if err := os.Chtimes(p.path(&f), old, old); err != nil {
			t.Fatal(err)
		}
		feeds = append(feeds, f)
	}
	mustWrite(t, filepath.Join(p.dir, "123"+partEnd), "left by a kill")
	info, err := os.Stat(p.path(&feeds[0]))
	if err != nil {
		t.Fatal(err)
	}
	p.limits.all = 2*info.Size() + info.Size()/2
	p.Sweep(feeds[:3])
	left, err := filepath.Glob(filepath.Join(p.dir, "*"))
	if err != nil || len(left) != 2 || left[0] != p.path(&feeds[1]) || left[1] != p.path(&feeds[2]) {
		t.Errorf("after Sweep: %v, %v, want the two newest of the declared", left, err)
	}
	p.limits.file = 100
	f := public1(Domains)
	f.Path = write(t, "list", manyNames(50_000))
	readBy(t, p, f)
	if _, kept := readBy(t, p, f); kept {
		t.Error("a reading over the bound was kept")
	}
}

// A folder that cannot be written costs time and no list.
func TestParsedWithoutAFolder(t *testing.T) {
	p := openParsed(t)
	p.dir = filepath.Join(write(t, "a file", "x"), "below")
	f := public1(Domains)
	f.Path = write(t, "list", manyNames(300))
	want, _ := readBy(t, nil, f)
	got, kept := readBy(t, p, f)
	if got.same(t, "without a folder", want); kept {
		t.Error("kept in no folder")
	}
	p.Sweep([]Feed{f})
}

// Whatever a reading holds, replaying it ends without a panic.
func FuzzParsedReplay(f *testing.F) {
	f.Add([]byte{eventFile, 1, 'f', eventEntry | flagCategory, 2, 1, 9, 'a', '.', 'e', 'x', 'a', 'm', 'p', 'l', 'e'})
	f.Add([]byte{eventRefusal, 2, 1, 'r', 0, eventEnd, 2, '{', '}'})
	f.Add([]byte{eventEntry | flagPath, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f})
	f.Fuzz(func(t *testing.T, block []byte) {
		r := parsedReader{block: string(block), in: bufio.NewReader(strings.NewReader(""))}
		stats, err := r.replay(t.Context(), func(e Entry) error {
			if e.Host.IsZero() {
				t.Fatal("an entry without a host")
			}
			return nil
		}, func(Refusal) {})
		if err == nil && len(block) == 0 {
			t.Fatalf("nothing read as %+v", stats)
		}
	})
}
