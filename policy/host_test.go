package policy

import (
	"errors"
	"net/netip"
	"strings"
	"testing"
)

// host is a host that a test takes for granted.
func host(t testing.TB, raw string) Host {
	t.Helper()
	h, err := ParseHost(raw)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// Every spelling that reaches a host is that host (Y15, Y16, Y17).
func TestParseHost(t *testing.T) {
	long := strings.Repeat("a", 63)
	for _, test := range []struct{ promise, raw, want string }{
		{"plain", "www.x.example", "www.x.example"},
		{"single label", "intranet", "intranet"},
		{"case", "WwW.X.eXample", "www.x.example"},
		{"one trailing dot", "x.example.", "x.example"},
		{"underscore, which DNS lists have", "_dmarc.x_y.example", "_dmarc.x_y.example"},
		{"hyphens where a video service has them", "r3---sn-abc.x.example", "r3---sn-abc.x.example"},
		{"a label of digits that is not the last", "123.example", "123.example"},
		{"last label ends in a digit", "x.example1", "x.example1"},
		{"last label looks like hex", "x.0xyz", "x.0xyz"},
		{"longest label", long + ".example", long + ".example"},

		{"%-escape", "%77%77w.x.ex%61mple", "www.x.example"},
		{"%-escape in upper-case hex", "x%2Eexample", "x.example"},
		{"%-escaped UTF-8", "b%C3%BCcher.example", "xn--bcher-kva.example"},
		{"full width", "ｗｗｗ．ｘ．ｅｘａｍｐｌｅ", "www.x.example"},
		{"full width, %-escaped", "%EF%BC%8Ex.example", ""},
		{"ideographic dot", "www。x。example", "www.x.example"},
		{"half-width ideographic dot, trailing too", "www｡x.example｡", "www.x.example"},
		{"soft hyphen", "ex\u00adam\u00adple.example", "example.example"},
		{"zero-width space", "exa\u200bmple.example", "example.example"},
		{"word joiner", "exa\u2060mple.example", "example.example"},
		{"circled letters", "ⓧ.ⓔⓧⓐⓜⓟⓛⓔ", "x.example"},
		{"mathematical letters", "𝐱.𝕖𝖝𝗮𝘮𝙥𝚕𝑒", "x.example"},
		{"Kelvin sign", "\u212a.example", "k.example"},
		{"long s", "ſ.example", "s.example"},
		{"ligature", "ﬁ.example", "fi.example"},

		{"international", "Bücher.example", "xn--bcher-kva.example"},
		{"decomposed", "bu\u0308cher.example", "xn--bcher-kva.example"},
		{"punycode", "xn--bcher-kva.example", "xn--bcher-kva.example"},
		{"punycode in upper case", "XN--BCHER-KVA.example", "xn--bcher-kva.example"},
		{"sharp s is a letter of its own", "faß.example", "xn--fa-hia.example"},
		{"final sigma is a letter of its own", "βόλος.example", "xn--nxasmm1c.example"},
		{"emoji", "☕.example", "xn--53h.example"},
		{"right to left", "אב.example", "xn--4dbc.example"},
		{"Cyrillic look-alike is another name", "ex\u0430mple.example", "xn--exmple-4nf.example"},
		{"Greek look-alike is another name", "g\u03bfogle.example", "xn--gogle-rce.example"},

		{"IPv4", "192.0.2.1", "192.0.2.1"},
		{"IPv4, trailing dot", "192.0.2.1.", "192.0.2.1"},
		{"IPv4, one number", "3221225985", "192.0.2.1"},
		{"IPv4, one number in hex", "0xC0000201", "192.0.2.1"},
		{"IPv4, one number in octal", "030000001001", "192.0.2.1"},
		{"IPv4, octal", "0300.0.02.01", "192.0.2.1"},
		{"IPv4, padded octal", "0000300.0000.00002.0001", "192.0.2.1"},
		{"IPv4, hex", "0xc0.0x0.0x2.0x1", "192.0.2.1"},
		{"IPv4, hex in upper case", "0XC0.0X0.0X2.0X1", "192.0.2.1"},
		{"IPv4, mixed", "192.0x0.02.1", "192.0.2.1"},
		{"IPv4, three parts", "192.0.513", "192.0.2.1"},
		{"IPv4, two parts", "192.513", "192.0.2.1"},
		{"IPv4, empty hex is nought", "127.0x.0x.1", "127.0.0.1"},
		{"IPv4, nought", "0", "0.0.0.0"},
		{"IPv4, full-width digits and dots", "１９２．０。２｡１", "192.0.2.1"},
		{"IPv4, circled digits", "①②⑦.0.0.1", "127.0.0.1"},
		{"IPv4, %-escaped", "%31%39%32.0.2.1", "192.0.2.1"},
		{"IPv4, soft hyphen", "192.0.2\u00ad.1", "192.0.2.1"},

		{"IPv6", "[2001:db8::1]", "2001:db8::1"},
		{"IPv6 without brackets", "2001:db8::1", "2001:db8::1"},
		{"IPv6 written out", "[2001:0DB8:0000:0000:0000:0000:0000:0001]", "2001:db8::1"},
		{"IPv6 with IPv4 at its end", "[2001:db8::192.0.2.1]", "2001:db8::c000:201"},
		{"IPv4 mapped into IPv6", "[::ffff:192.0.2.1]", "192.0.2.1"},
		{"IPv4 mapped into IPv6, in hex", "[::ffff:c000:201]", "192.0.2.1"},
		{"IPv4 mapped into IPv6, written out", "[0:0:0:0:0:FFFF:C000:0201]", "192.0.2.1"},
		{"IPv4 behind NAT64", "[64:ff9b::192.0.2.1]", "192.0.2.1"},

		{"empty", "", ""},
		{"a dot", ".", ""},
		{"two trailing dots", "x.example..", ""},
		{"leading dot", ".x.example", ""},
		{"empty label", "x..example", ""},
		{"empty label by soft hyphen", "x.\u00ad.example", ""},
		{"nothing but a soft hyphen", "\u00ad", ""},
		{"label too long", long + "a.example", ""},
		{"name too long", strings.Repeat("abcdefghi.", 25) + "example", ""},
		{"input too long", strings.Repeat("%61", 400), ""},
		{"NUL", "x\x00.example", ""},
		{"NUL, %-escaped", "x%00.example", ""},
		{"tab", "x\t.example", ""},
		{"line feed", "x\n.example", ""},
		{"delete", "x\x7f.example", ""},
		{"space", "x .example", ""},
		{"space, leading", " x.example", ""},
		{"no-break space", "x\u00a0.example", ""},
		{"slash", "x/.example", ""},
		{"slash, %-escaped", "x.example%2F.y.example", ""},
		{"slash, full width", "x.example／.y.example", ""},
		{"fraction of care-of sign", "x.example℀.y.example", ""},
		{"backslash", `x\.example`, ""},
		{"userinfo", "u@x.example", ""},
		{"userinfo, %-escaped", "u%40x.example", ""},
		{"question mark, full width", "x.example？.y.example", ""},
		{"number sign, full width", "x.example＃.y.example", ""},
		{"port", "x.example:80", ""},
		{"colon, full width", "x.example：80", ""},
		{"colon, %-escaped", "x.example%3A80", ""},
		{"wildcard", "*.x.example", ""},
		{"%-escaped twice", "ex%2561mple.example", ""},
		{"bare percent", "x%.example", ""},
		{"not UTF-8", "x\xff.example", ""},
		{"not UTF-8, %-escaped", "x%FF.example", ""},
		{"overlong dot", "x%C0%AEexample", ""},
		{"replacement character", "x\ufffd.example", ""},
		{"punycode of nothing", "xn--.example", ""},
		{"punycode of ASCII", "xn--example-.example", ""},
		{"punycode that does not decode", "xn--a.example", ""},
		{"punycode of a capital", "xn--B-ifa.example", ""},
		{"punycode hiding a slash", "a/é.example", ""},
		{"joiner without a script that joins", "a\u200dé.example", ""},
		{"both directions in a label", "אa.example", ""},
		{"Arabic digits as an address", "١٢٧.0.0.1", ""},
		{"IPv4, part too large", "256.0.0.1", ""},
		{"IPv4, last part too large", "1.2.65536", ""},
		{"IPv4, number too large", "4294967296", ""},
		{"IPv4, number beyond 64 bits", "99999999999999999999999", ""},
		{"IPv4, not octal", "08.0.0.1", ""},
		{"IPv4, five parts", "1.2.3.4.5", ""},
		{"IPv4, empty part", "1..2.3", ""},
		{"ends in a number", "x.example.1", ""},
		{"ends in hex", "x.0x4", ""},
		{"IPv6, zone", "[fe80::1%25eth0]", ""},
		{"IPv6, bare zone", "fe80::1%eth0", ""},
		{"IPv6, missing bracket", "[2001:db8::1", ""},
		{"IPv6, other missing bracket", "2001:db8::1]", ""},
		{"IPv6, too short", "[2001:db8]", ""},
		{"IPv6, two gaps", "[2001::db8::1]", ""},
		{"IPv4 in brackets", "[192.0.2.1]", ""},
		{"name in brackets", "[x.example]", ""},
		{"empty brackets", "[]", ""},
	} {
		got, err := ParseHost(test.raw)
		if got.String() != test.want || (err != nil) != (test.want == "") {
			t.Errorf("%s: ParseHost(%+q) = %q, %v; want %q", test.promise, test.raw, got, err, test.want)
		}
		if err != nil && !errors.Is(err, ErrBadHost) {
			t.Errorf("%s: ParseHost(%+q): %v does not wrap ErrBadHost", test.promise, test.raw, err)
		}
	}
}

func TestBadHostQuotesLittle(t *testing.T) {
	_, err := ParseHost(strings.Repeat("\x00", 5000))
	if err == nil || len(err.Error()) > 500 {
		t.Errorf("error of %d bytes, want a short one", len(err.Error()))
	}
}

func TestHostAddr(t *testing.T) {
	for raw, want := range map[string]netip.Addr{
		"x.example":         {},
		"0x7f.1":            netip.MustParseAddr("127.0.0.1"),
		"[::ffff:10.0.0.1]": netip.MustParseAddr("10.0.0.1"),
		"[::1]":             netip.MustParseAddr("::1"),
	} {
		if got, ok := host(t, raw).Addr(); got != want || ok != want.IsValid() {
			t.Errorf("ParseHost(%q).Addr() = %v, %v; want %v", raw, got, ok, want)
		}
	}
	if host(t, "0x7f.1") != host(t, "127.1") {
		t.Error("two spellings of one address do not compare equal")
	}
}

func TestHostWithin(t *testing.T) {
	for _, test := range []struct {
		host, parent string
		want         bool
	}{
		{"x.example", "x.example", true},
		{"www.x.example", "x.example", true},
		{"a.b.x.example", "example", true},
		{"notx.example", "x.example", false},
		{"x.example", "www.x.example", false},
		{"10.0.0.1", "0.0.0.1", false},
	} {
		if got := host(t, test.host).Within(host(t, test.parent)); got != test.want {
			t.Errorf("%q within %q = %v, want %v", test.host, test.parent, got, test.want)
		}
	}
	if host(t, "x.example").Within(Host{}) {
		t.Error("x.example is within no host at all")
	}
}

func TestHostParent(t *testing.T) {
	for raw, want := range map[string]string{
		"www.x.example": "x.example", "x.example": "example", "example": "", "192.0.2.1": "", "[::1]": "",
	} {
		if got, ok := host(t, raw).Parent(); got.String() != want || ok != (want != "") {
			t.Errorf("parent of %q = %q, %v; want %q", raw, got, ok, want)
		}
	}
}

func TestParseHostAllocates(t *testing.T) {
	for raw, want := range map[string]float64{
		"www.some-school_site.example": 0, "www.x.example.": 0, "WWW.X.EXAMPLE": 1,
	} {
		if got := testing.AllocsPerRun(100, func() { _, _ = ParseHost(raw) }); got > want {
			t.Errorf("ParseHost(%q) allocates %v times, want %v", raw, got, want)
		}
	}
}

// FuzzParseHost holds what every reader of a Host relies on: it is canonical, it
// reads back as itself, and it is the same host in any case.
func FuzzParseHost(f *testing.F) {
	for _, seed := range []string{
		"www.x.example", "X.EXAMPLE.", "0x7f.1", "[::ffff:1.2.3.4]", "bücher.example", "xn--bcher-kva.example",
		"%77ww.x.example", "ｘ。example", "a\u00adb.example", "xn--a.example", "fe80::1%eth0", "x..example", "1.2.3.08",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		h, err := ParseHost(raw)
		if err != nil {
			if !errors.Is(err, ErrBadHost) || !h.IsZero() {
				t.Fatalf("ParseHost(%q) = %q, %v", raw, h, err)
			}
			return
		}
		checkCanonicalHost(t, h)
		if upper, err := ParseHost(strings.ToUpper(h.String())); err != nil || upper != h {
			t.Fatalf("ParseHost(%q) = %q, in upper case %q, %v", raw, h, upper, err)
		}
		if dotted, err := ParseHost(h.String() + "."); !strings.Contains(h.String(), ":") && (err != nil || dotted != h) {
			t.Fatalf("ParseHost(%q) = %q, with a trailing dot %q, %v", raw, h, dotted, err)
		}
	})
}

func checkCanonicalHost(t *testing.T, h Host) {
	t.Helper()
	name := h.String()
	if again, err := ParseHost(name); err != nil || again != h {
		t.Fatalf("host %q reads back as %q, %v", name, again, err)
	}
	set := "abcdefghijklmnopqrstuvwxyz0123456789-_."
	if addr, ok := h.Addr(); ok {
		set = "abcdef0123456789.:"
		if addr.String() != name || addr.Is4In6() || addr.Zone() != "" {
			t.Fatalf("host %q has the address %v", name, addr)
		}
	}
	if name == "" || len(name) > MaxHost || strings.Trim(name, set) != "" || strings.Contains(name, "..") {
		t.Fatalf("host %q is not canonical", name)
	}
	for _, label := range strings.Split(name, ".") {
		if len(label) > 63 {
			t.Fatalf("host %q has the label %q", name, label)
		}
	}
}

func BenchmarkParseHost(b *testing.B) {
	for name, raw := range map[string]string{
		"canonical": "www.some-school-site.example", "upper": "WWW.Some-School-Site.Example",
		"punycode": "xn--bcher-kva.example", "unicode": "bücher.example", "ipv4": "192.0.2.1", "bad": "x example",
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				_, _ = ParseHost(raw)
			}
		})
	}
}
