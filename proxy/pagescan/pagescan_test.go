package pagescan

import (
	"bytes"
	"compress/gzip"
	"compress/zlib"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/andybalholm/brotli"
	"github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/zstd"
	"golang.org/x/text/encoding/charmap"
	"golang.org/x/text/encoding/unicode"

	"schoolgate/policy"
)

var update = flag.Bool("update", false, "write testdata/scores.golden anew")

func shippedSet(t testing.TB) *Set {
	t.Helper()
	set, err := Shipped()
	if err != nil {
		t.Fatal(err)
	}
	return set
}

var everything = policy.SetOf(policy.Pornography, policy.Violence, policy.SelfHarm, policy.EatingDisorders, policy.Gambling, policy.Drugs, policy.VPNProxy)

// youngest is the lowest limit that a shipped profile has.
const youngest = 80

// TestPages: S4, known page scores. What helps, teaches, reports or cooks passes at
// the strictest limit; what is made to harm does not. All pages are made up.
func TestPages(t *testing.T) {
	set := shippedSet(t)
	files, err := filepath.Glob("testdata/pages/*.html")
	if err != nil || len(files) < 25 {
		t.Fatalf("%d pages, %v", len(files), err)
	}
	var got strings.Builder
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		p := set.Read(text, "text/html; charset=utf-8", "")
		about, over := p.About(youngest, everything)
		name := strings.TrimSuffix(filepath.Base(file), ".html")
		if harmless := strings.HasPrefix(name, "pass_"); harmless == over {
			t.Errorf("%s: about %s with %d, met %+v", name, about.Theme, about.Score, p.Scores()[0])
		}
		fmt.Fprintf(&got, "%s:", name)
		for _, s := range p.Scores() {
			if s.Score > 0 {
				fmt.Fprintf(&got, " %s %d", s.Theme, s.Score)
			}
		}
		fmt.Fprintln(&got)
	}
	const golden = "testdata/scores.golden"
	if *update {
		if err := os.WriteFile(golden, []byte(got.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got.String()); diff != "" {
		t.Errorf("scores (-want +got); -update writes them:\n%s", diff)
	}
}

// pornHome is a page over every limit.
func pornHome(t testing.TB) []byte {
	t.Helper()
	text, err := os.ReadFile("testdata/pages/porn_home.html")
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func packed(t testing.TB, coding string, text []byte) []byte {
	t.Helper()
	var buf bytes.Buffer
	var w io.WriteCloser
	switch coding {
	case "gzip":
		w = gzip.NewWriter(&buf)
	case "deflate":
		w = zlib.NewWriter(&buf)
	case "br":
		w = brotli.NewWriter(&buf)
	case "zstd":
		z, err := zstd.NewWriter(&buf)
		if err != nil {
			t.Fatal(err)
		}
		w = z
	default:
		return text
	}
	if _, err := w.Write(text); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

// TestCodings: each coding that is offered is read, and two on one another.
func TestCodings(t *testing.T) {
	set, text := shippedSet(t), pornHome(t)
	plain := set.Read(text, "text/html; charset=utf-8", "identity")
	want, _ := plain.About(youngest, everything)
	for _, list := range []string{"gzip", "x-gzip", "deflate", "br", "zstd", "gzip, br", "BR, gzip"} {
		body := text
		for name := range strings.SplitSeq(strings.ToLower(list), ", ") {
			body = packed(t, strings.TrimPrefix(name, "x-"), body)
		}
		p := set.Read(body, "text/html; charset=utf-8", list)
		if got, ok := p.About(youngest, everything); !ok || got != want || p.Err() != nil {
			t.Errorf("%s: about %+v, want %+v (%v)", list, got, want, p.Err())
		}
	}
	if p := set.Read(text, "text/html", "gzip, gzip, gzip"); !p.Bomb() {
		t.Error("three on one another, which browsers unpack, are not refused")
	}
}

// TestStrangeCodings: what is no coding of browsers takes no page out of sight. Chrome
// shows its bytes as they are; the header that is passed on says the same to all.
func TestStrangeCodings(t *testing.T) {
	set, text := shippedSet(t), pornHome(t)
	for list, want := range map[string]string{
		"": "", "gzip": "gzip", "GZIP,br": "GZIP,br", "utf-8": "", "compress": "", "dcb": "", "identity": "",
		"gzip, identity": "gzip", "none,gzip": "gzip", "aes128gcm, gzip, br": "gzip, br",
	} {
		if got := Encoding(list); got != want {
			t.Errorf("%q is passed on as %q, want %q", list, got, want)
		}
		body := text
		for name := range strings.SplitSeq(strings.ToLower(strings.ReplaceAll(want, " ", "")), ",") {
			if name != "" {
				body = packed(t, name, body)
			}
		}
		if _, ok := set.Read(body, "text/html", list).About(youngest, everything); !ok {
			t.Errorf("a page in %q is not read", list)
		}
	}
}

// TestCharsets: a page is read in the charset that a browser would find.
func TestCharsets(t *testing.T) {
	set := shippedSet(t)
	text := "<html><head>HEAD<title>café — free porn videos</title></head><body>hardcore sex naïve xxx videos, live sex cams</body></html>"
	latin, err := charmap.Windows1252.NewEncoder().String(strings.Replace(text, "HEAD", "", 1))
	if err != nil {
		t.Fatal(err)
	}
	meta, err := charmap.Windows1252.NewEncoder().String(strings.Replace(text, "HEAD", `<meta charset="windows-1252">`, 1))
	if err != nil {
		t.Fatal(err)
	}
	wide := func(order unicode.Endianness, mark unicode.BOMPolicy) string {
		s, err := unicode.UTF16(order, mark).NewEncoder().String(text)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	for _, c := range []struct{ promise, contentType, page string }{
		{"UTF-8 by the header", "text/html; charset=utf-8", text},
		{"UTF-8 by nothing", "text/html", text},
		{"windows-1252 by the header", "text/html; charset=windows-1252", latin},
		{"windows-1252 by the page", "text/html", meta},
		{"windows-1252 by nothing", "text/html", latin},
		{"UTF-16 by its mark", "text/html", wide(unicode.LittleEndian, unicode.UseBOM)},
		{"UTF-16 the other way round", "text/html", wide(unicode.BigEndian, unicode.UseBOM)},
		{"UTF-16 by the header", "text/html; charset=utf-16le", wide(unicode.LittleEndian, unicode.IgnoreBOM)},
		{"a charset that is none", "text/html; charset=klingon", text},
	} {
		p := set.Read([]byte(c.page), c.contentType, "")
		if got, ok := p.About(youngest, everything); !ok || got.Theme != policy.Pornography {
			t.Errorf("%s: about %+v, %t", c.promise, got, ok)
		}
	}
}

// TestPartsDoNotMatter: cut anywhere, a page has the same score (property).
func TestPartsDoNotMatter(t *testing.T) {
	set := shippedSet(t)
	files, err := filepath.Glob("testdata/pages/*.html")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, coding := range []string{"", "gzip", "br", "zstd"} {
			body := packed(t, coding, text)
			whole := set.Read(body, "text/html; charset=utf-8", coding)
			p := set.Open("text/html; charset=utf-8", coding)
			for rest := body; len(rest) > 0; {
				n := 1 + rand.N(min(40, len(rest)))
				part := bytes.Clone(rest[:n])
				p.Feed(part)
				clear(part) // what was fed is not kept
				rest = rest[n:]
			}
			p.End()
			p.Close()
			if diff := cmp.Diff(whole.Scores(), p.Scores()); diff != "" {
				t.Errorf("%s in %q: %s", file, coding, diff)
			}
		}
	}
}

// TestSettle: a page that its origin holds open is read as far as it came, however
// short, and then on as if nothing had been.
func TestSettle(t *testing.T) {
	set := shippedSet(t)
	text, err := os.ReadFile("testdata/pages/proxy_ultraviolet.html")
	if err != nil {
		t.Fatal(err)
	}
	whole := set.Read(text, "text/html; charset=utf-8", "")
	for cut := 1; cut < min(sniffed, len(text)); cut += 61 {
		p := set.Open("text/html; charset=utf-8", "")
		p.Feed(text[:cut])
		p.Settle()
		p.Feed(text[cut:])
		p.End()
		if diff := cmp.Diff(whole.Scores(), p.Scores()); diff != "" {
			t.Errorf("settled at %d (-whole +settled):\n%s", cut, diff)
		}
		p.Close()
	}
	short := []byte(`<title>free</title><script src="/uv/uv.bundle.js"></script><p>` + strings.Repeat("x", 100))
	for _, coding := range []string{"", "gzip"} {
		p := set.Open("text/html", coding)
		defer p.Close()
		wire := short
		if coding == "gzip" { // flushed, and not ended
			var b bytes.Buffer
			w := gzip.NewWriter(&b)
			if _, err := w.Write(short); err != nil {
				t.Fatal(err)
			}
			if err := w.Flush(); err != nil {
				t.Fatal(err)
			}
			wire = b.Bytes()
		}
		p.Feed(wire)
		if _, ok := p.About(youngest, everything); ok {
			t.Errorf("%q: read before anybody said that no more comes: the test shows nothing", coding)
		}
		p.Settle()
		if f, ok := p.About(youngest, everything); !ok || f.Theme != policy.VPNProxy {
			t.Errorf("%q: a short page held open is about %v, %v, want a web proxy", coding, f, ok)
		}
	}
}

// TestNarrowed: a brotli stream that asks for a window of 16 MiB gets less and unpacks
// alike, as far as it is read.
func TestNarrowed(t *testing.T) {
	text := make([]byte, 3<<20)
	if _, err := rand.NewChaCha8([32]byte{9}).Read(text[:1<<20]); err != nil {
		t.Fatal(err)
	}
	copy(text[2<<20:], text[:1<<20]) // found again from far back
	for _, window := range []int{16, 18, 22, 23, 24} {
		var packed bytes.Buffer
		w := brotli.NewWriterOptions(&packed, brotli.WriterOptions{Quality: 5, LGWin: window})
		if _, err := w.Write(text); err != nil {
			t.Fatal(err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		first := packed.Bytes()[0]
		if n := (&narrowed{r: bytes.NewReader(packed.Bytes())}); window > 22 {
			var b [1]byte
			if _, err := n.Read(b[:]); err != nil || b[0]&0xf != 0xb || first&0xf == 0xb {
				t.Errorf("window %d: first byte %x became %x, %v", window, first, b[0], err)
			}
		}
		r, err := unpack(bytes.NewReader(packed.Bytes()), "br")
		if err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(r); err != nil || !bytes.Equal(got, text) {
			t.Errorf("window %d: %d bytes, %v, want all %d as they were", window, len(got), err, len(text))
		}
	}
}

// TestLongPage: what is behind the bound is not read, and the page is not a bomb.
func TestLongPage(t *testing.T) {
	set := shippedSet(t)
	long := strings.Repeat("<p>words upon words of a long and harmless page, number after number ", MaxPage/60) + string(pornHome(t))
	for _, coding := range []string{"", "gzip"} {
		body := []byte(long)
		if coding != "" { // one that does not pack well
			r := rand.NewChaCha8([32]byte{})
			for i := range MaxPage {
				if i%2 == 0 {
					body[i] = 'a' + byte(r.Uint64()%26)
				}
			}
		}
		p := set.Read(packed(t, coding, body), "text/html", coding)
		if got, ok := p.About(youngest, everything); ok || p.Bomb() || p.Length() != MaxPage {
			t.Errorf("%q: about %+v, bomb %t, %d bytes read", coding, got, p.Bomb(), p.Length())
		}
	}
}

// TestWords: what a person would see, and nothing else.
func TestWords(t *testing.T) {
	for _, c := range []struct{ html, want string }{
		{"Hello, World!", "hello world"},
		{"<p>one</p><p>two", "one two"},
		{"t<b>h</b>ree <i>fo</i>ur", "three four"},
		{"don't don’t can&rsquo;t", "dont dont cant"},
		{"caf\u00e9 na\u00efve Stra\u00dfe \u0141\u00f3d\u017a", "cafe naive straße lodz"},
		{"&#112;&#x6f;rn &amp; &nbsp;&copy; x&shy;y", "porn xy"},
		{"<script>var a = '</p>hidden';</script >shown", "shown"},
		{"<SCRIPT>x</SCRIPTx></script>shown<style>p{}</style>", "shown"},
		{"<!-- hidden > --> shown <!--> also", "shown also"},
		{"<img alt='a cat' src=\"dog.jpg\" title=sleeping>end", "a cat sleeping end"},
		{"<a href=\"x>y\" title = \"q &#114;\">z</a>", "q r z"},
		{"1 < 2 and <3", "1 2 and 3"},
		{"<?xml hidden?><!DOCTYPE html>shown", "shown"},
		{"\u200bz\u200de\u0301ro \uff37\uff49\uff44\uff45", "zero wide"},
		{"بم ب", "بم ب"},
		{"\xff\xfe broken \xe2\x82 bytes", "broken bytes"},
	} {
		w := words{spaced: true}
		got := string(w.feed([]byte(c.html)))
		got += string(w.end())
		if strings.TrimSpace(got) != c.want {
			t.Errorf("words of %q = %q, want %q", c.html, strings.TrimSpace(got), c.want)
		}
	}
}

// TestAbout: which themes count is the profile's word, and no single phrase closes
// a page.
func TestAbout(t *testing.T) {
	set := shippedSet(t)
	p := set.Read(pornHome(t), "text/html", "")
	if got, ok := p.About(youngest, everything.Minus(policy.SetOf(policy.Pornography))); ok {
		t.Errorf("of other themes: %+v", got)
	}
	if got, ok := p.About(5000, everything); ok {
		t.Errorf("by a limit of 5000: %+v", got)
	}
	hidden := string(pornHome(t)) + strings.Repeat("<p hidden>sex education safeguarding nhs clinic childline puberty consent curriculum museum", 5)
	p = set.Read([]byte(hidden), "text/html", "")
	if _, ok := p.About(youngest, everything); !ok {
		t.Errorf("good words hid a bad page: %+v", p.Scores()[0])
	}
	one := strings.Repeat("free porn, ", 50)
	p = set.Read([]byte(one), "text/html", "")
	if got, ok := p.About(youngest, everything); ok && p.sums[policy.Pornography].kinds < enough {
		t.Errorf("one phrase closed a page: %+v", got)
	}
}

// FuzzRead: any bytes in any coding are read without a panic, within bounds.
func FuzzRead(f *testing.F) {
	set := shippedSet(f)
	f.Add([]byte("<p title='a'>&#112;orn<!-- --!>"), "gzip", uint8(3))
	for _, coding := range []string{"gzip", "deflate", "br", "zstd"} {
		f.Add(packed(f, coding, pornHome(f)), coding, uint8(7))
	}
	f.Fuzz(func(t *testing.T, body []byte, coding string, cut uint8) {
		p := set.Open("text/html", coding)
		defer p.Close()
		for rest := body; len(rest) > 0; {
			n := min(len(rest), 1+int(cut))
			p.Feed(rest[:n])
			rest = rest[n:]
		}
		p.End()
		p.About(youngest, everything)
		if p.Length() > MaxPage {
			t.Fatalf("%d bytes read", p.Length())
		}
	})
}

// BenchmarkPage reads pages of ordinary words.
func BenchmarkPage(b *testing.B) {
	set := shippedSet(b)
	var page bytes.Buffer
	for page.Len() < 100<<10 {
		for _, name := range []string{"pass_sex_education", "pass_news_violence", "pass_recipe", "pass_js_filter_list"} {
			text, err := os.ReadFile("testdata/pages/" + name + ".html")
			if err != nil {
				b.Fatal(err)
			}
			page.Write(text)
		}
	}
	for _, coding := range []string{"identity", "gzip", "br", "zstd"} {
		body := packed(b, coding, page.Bytes())
		b.Run(coding, func(b *testing.B) {
			b.SetBytes(int64(page.Len()))
			b.ReportAllocs()
			for b.Loop() {
				set.Read(body, "text/html; charset=utf-8", coding)
			}
		})
	}
}
