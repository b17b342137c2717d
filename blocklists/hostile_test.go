package blocklists

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"

	"schoolgate/policy"
)

// F8, T16: a bad feed is refused as a whole, with a reason a person can act on.
func TestNotAList(t *testing.T) {
	gz := func(text string) string {
		var b bytes.Buffer
		w := gzip.NewWriter(&b)
		must(t, w, text)
		return b.String()
	}
	for _, tc := range []struct{ name, text, want string }{
		{"empty", "", "no entries"},
		{"comments only", "# nothing here\n", "no entries"},
		{"web page with status 200", "\n<!DOCTYPE html><html><body>Sorry</body></html>\n", "a web page"},
		{"web page in gzip", gz("<html>\n<a href=x>\n"), "a web page"},
		{"UTF-16 with byte order mark", "\xff\xfea\x00.\x00b\x00\n\x00", "UTF-16"},
		{"UTF-16 without byte order mark", strings.Repeat("a\x00.\x00b\x00\n\x00", 40), "UTF-16"},
		{"zip archive", "PK\x03\x04rest", "zip archive"},
		{"picture", "\x89PNG\r\n\x1a\n", "a picture"},
		{"program", "\x7fELF\x02\x01", "a program"},
		{"JSON", `{"error":"rate limited"}`, "JSON"},
		{"binary junk", strings.Repeat("\x00\x01\x02\x80abc", 100), "binary data"},
		{"half a gzip", gz(strings.Repeat("a.example\n", 1000))[:40], "truncated"},
		{"gzip with a broken body", gz(strings.Repeat("abcdefgh.example\n", 9))[:20] + "xxxxxxxxxxxxxxx", "refused as a whole"},
		{"gzip inside gzip", gz(gz("a.example\n")), "gzip inside gzip"},
		{"gzip and then junk", gz("a.example\n") + "junk after the end", "broken gzip"},
		{"mostly broken lines", "a.example\n" + strings.Repeat("not a name\n", 60), "60 of 61 lines are broken"},
		{"a million broken lines", strings.Repeat("not a name\n", 1_000_000), "1000 of 1000 lines are broken"},
		{"a million broken lines among good ones", strings.Repeat("a.example\nb.example\nc.example\nd.example\nbad name\n", 1_000_000), "100000 broken lines"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got := readText(t, Domains, tc.text)
			if !errors.Is(got.err, ErrNotAList) || !strings.Contains(got.err.Error(), tc.want) {
				t.Errorf("Read = %v, want a refusal that says %q", got.err, tc.want)
			}
		})
	}
}

func must(t testing.TB, w io.WriteCloser, text string) {
	t.Helper()
	if _, err := io.WriteString(w, text); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
}

// endless gives n bytes of one letter without holding them.
type endless struct{ n int64 }

func (e *endless) Read(b []byte) (int, error) {
	if e.n == 0 {
		return 0, io.EOF
	}
	n := min(int64(len(b)), e.n)
	for i := range b[:n] {
		b[i] = 'a'
	}
	e.n -= n
	return int(n), nil
}

// A line of 2 GB costs neither memory nor the time to read it.
func TestLineOfTwoGigabytes(t *testing.T) {
	line := &endless{n: 2 << 30}
	source := io.MultiReader(strings.NewReader("a.example\n"), line, strings.NewReader("\nb.example\n"))
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	s := newTestScan(t, Feed{Format: Domains, Category: policy.Gaming, Kind: Public})
	err := s.lines("list", source, s.domainLine)
	runtime.ReadMemStats(&after)
	if !errors.Is(err, ErrNotAList) || !strings.Contains(err.Error(), "over-long") {
		t.Errorf("err = %v, want over-long lines refused", err)
	}
	if used := after.TotalAlloc - before.TotalAlloc; used > 8<<20 {
		t.Errorf("allocated %d bytes", used)
	}
	if left := line.n; left < 1<<30 {
		t.Errorf("read on through the line, %d bytes of it left", left)
	}
}

func newTestScan(t testing.TB, f Feed) *scan {
	t.Helper()
	return newScan(t.Context(), &f, func(Entry) error { return nil }, func(Refusal) {})
}

// An over-long line is refused and the lines after it are read, wherever the
// ends of blocks fall.
func TestLongLines(t *testing.T) {
	limits := Limits{}.orDefault()
	for _, size := range []int{limits.Line, limits.Line + 1, blockSize - 1, blockSize, blockSize + 1, 3 * blockSize} {
		text := "a.example\n" + strings.Repeat("x", size) + "\r\nb.example"
		for name, r := range map[string]io.Reader{"whole": strings.NewReader(text), "by halves": iotest.HalfReader(strings.NewReader(text))} {
			l := newLineReader(r, limits)
			var got []string
			for {
				line, long, err := l.next()
				if errors.Is(err, io.EOF) {
					break
				}
				if err != nil {
					t.Fatal(err)
				}
				got = append(got, fmt.Sprintf("%d %v", len(line), long))
			}
			want := []string{"9 false", fmt.Sprintf("%d %v", min(size, limits.Line), size > limits.Line), "9 false"}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("%s, a line of %d bytes (-want +got):\n%s", name, size, diff)
			}
		}
	}
}

func TestGzipBomb(t *testing.T) {
	path := filepath.Join(t.TempDir(), "bomb.gz")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	w := gzip.NewWriter(f)
	for range 4000 { // 40 MB of the same lines
		if _, err := io.WriteString(w, strings.Repeat("a.example\n", 1000)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	got := read(t, Feed{Path: path, Format: Domains, Category: policy.Gaming, Kind: Public})
	if !errors.Is(got.err, ErrNotAList) || !strings.Contains(got.err.Error(), "archive bomb") {
		t.Errorf("err = %v, want an archive bomb refused", got.err)
	}
	if got.stats.Bytes > 8<<20 {
		t.Errorf("unpacked %d bytes before it was refused", got.stats.Bytes)
	}
}

func TestSizeBound(t *testing.T) {
	f := Feed{Path: write(t, "list", strings.Repeat("a.example\n", 100_000)), Format: Domains, Category: policy.Gaming, Kind: Public}
	f.Limits.Size = 500_000
	if got := read(t, f); !errors.Is(got.err, ErrNotAList) {
		t.Errorf("err = %v, want the size bound", got.err)
	}
}

type member struct {
	name string
	kind byte
	text string
	link string
}

func tarball(t testing.TB, members ...member) string {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, m := range members {
		if m.kind == 0 {
			m.kind = tar.TypeReg
		}
		if err := w.WriteHeader(&tar.Header{Name: m.name, Typeflag: m.kind, Size: int64(len(m.text)), Linkname: m.link, Mode: 0o644}); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, m.text); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

var ut1Map = map[string]string{"games": "gaming", "poker": "gambling", "exam": "none"}

func TestUT1Tree(t *testing.T) {
	members := []member{
		{name: "blacklists/", kind: tar.TypeDir},
		{name: "blacklists/games/domains", text: "a.example\n192.0.2.9\n"},
		{name: "blacklists/games/urls", text: "b.example/~x/y\n"},
		{name: "blacklists/games/expressions", text: "(ga|me)s\n"},
		{name: "blacklists/games/usage", text: "black\n"},
		{name: "blacklists/exam/domains", text: "wikipedia.example\n"},
		{name: "blacklists/other/domains", text: "c.example\n"},
		{name: "blacklists/games/photo.jpg", text: "x"},
	}
	want := []string{"a.example gaming", "192.0.2.9 gaming", "b.example/~x/y gaming"}
	refused := []string{"1: " + string(Expression), "0: " + string(NotMapped), "0: " + string(OtherMember)}
	f := Feed{Format: UT1, Kind: Public, Categories: ut1Map, Path: write(t, "ut1.tar", tarball(t, members...))}
	got := read(t, f)
	if diff := cmp.Diff(want, got.entries); diff != "" || got.err != nil {
		t.Errorf("tar: %v\n%s", got.err, diff)
	}
	if diff := cmp.Diff(refused, got.refused); diff != "" {
		t.Errorf("tar, refused:\n%s", diff)
	}

	dir := t.TempDir()
	for _, m := range members[1:] {
		path := filepath.Join(dir, m.name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, []byte(m.text), 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("/etc/passwd", filepath.Join(dir, "blacklists/poker")); err != nil {
		t.Fatal(err)
	}
	f.Path = dir
	got = read(t, f)
	if diff := cmp.Diff(want, got.entries); diff != "" || got.err != nil {
		t.Errorf("folder: %v\n%s", got.err, diff)
	}
	if got.stats.ByReason[Link] != 1 {
		t.Errorf("folder, refused %v, want one link", got.refused)
	}
}

// T16: an archive cannot name a file outside itself.
func TestTarMembersStayInside(t *testing.T) {
	f := Feed{Format: UT1, Kind: Public, Categories: ut1Map, Path: write(t, "ut1.tar", tarball(t,
		member{name: "../games/domains", text: "a.example\n"},
		member{name: "/etc/games/domains", text: "a.example\n"},
		member{name: "x/../../games/domains", text: "a.example\n"},
		member{name: "games/domains", kind: tar.TypeSymlink, link: "/etc/passwd"},
		member{name: "games/urls", kind: tar.TypeLink, link: "../../x"},
		member{name: "games/domains", kind: tar.TypeFifo},
		member{name: "poker/domains", text: "ok.example\n"},
	))}
	got := read(t, f)
	if diff := cmp.Diff([]string{"ok.example gambling"}, got.entries); diff != "" || got.err != nil {
		t.Errorf("%v\n%s", got.err, diff)
	}
	want := map[Reason]int64{Outside: 3, Link: 2, OtherMember: 1}
	if diff := cmp.Diff(want, got.stats.ByReason); diff != "" {
		t.Error(diff)
	}
}

func TestTarTrouble(t *testing.T) {
	whole := tarball(t, member{name: "games/domains", text: strings.Repeat("a.example\n", 500)})
	for _, tc := range []struct{ name, text, want string }{
		{"not a tar", "a.example\n", "truncated"},
		{"not a tar, longer", strings.Repeat("a.example\n", 200), "not a tar archive"},
		{"cut in a member", whole[:2000], "truncated"},
		{"too many members", tarball(t, slicesOf(member{name: "games/usage"}, 40)...), "more than 30 members"},
	} {
		f := Feed{Format: UT1, Kind: Public, Categories: ut1Map, Path: write(t, "x.tar", tc.text), Limits: Limits{Members: 30}}
		if got := read(t, f); !errors.Is(got.err, ErrNotAList) || !strings.Contains(got.err.Error(), tc.want) {
			t.Errorf("%s: %v, want a refusal that says %q", tc.name, got.err, tc.want)
		}
	}
}

func slicesOf(m member, n int) (list []member) {
	for range n {
		list = append(list, m)
	}
	return list
}

func TestV2fly(t *testing.T) {
	path := write(t, "v2fly.tar", tarball(t,
		member{name: "data/games", text: "# games\ninclude:big @-cn\na.example @ads # note\nfull:b.example\nkeyword:poke\nregexp:^x\nodd:c.example\n"},
		member{name: "data/big", text: "include:games\nd.example\ne.example @cn\ninclude:gone\n"},
		member{name: "data/unused", text: "z.example\n"},
	))
	got := read(t, Feed{Format: V2fly, Kind: Public, Path: path, Categories: map[string]string{"games": "gaming", "missing": "chat"}})
	if diff := cmp.Diff([]string{"d.example gaming", "a.example gaming", "=b.example gaming"}, got.entries); diff != "" || got.err != nil {
		t.Errorf("%v\n%s", got.err, diff)
	}
	want := []string{"1: " + string(Cycle), "4: " + string(NoFile), "5: " + string(PartOfName), "6: " + string(Expression), "7: " + string(BadHost), "0: " + string(NoFile)}
	if diff := cmp.Diff(want, got.refused); diff != "" {
		t.Error(diff)
	}
}

func TestPaths(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{"a.txt": "a.example\n", "b.txt": "b.example\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	f := Feed{Format: Domains, Category: policy.Gaming, Kind: Public, Path: filepath.Join(dir, "*.txt")}
	if diff := cmp.Diff([]string{"a.example", "b.example"}, read(t, f).entries); diff != "" {
		t.Error(diff)
	}
	for _, path := range []string{filepath.Join(dir, "none*"), filepath.Join(dir, "gone.txt"), dir, "/dev/zero"} {
		f.Path = path
		if got := read(t, f); got.err == nil {
			t.Errorf("Read(%s) = %d entries, want an error", path, len(got.entries))
		}
	}
}
