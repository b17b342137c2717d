package policy

import (
	"errors"
	"net/url"
	"regexp"
	"strings"
	"testing"
)

func TestParseURL(t *testing.T) {
	for _, test := range []struct{ promise, raw, want string }{
		{"bare host", "www.x.example", "www.x.example"},
		{"bare host, trailing dot", "www.x.example.", "www.x.example"},
		{"bare host and port", "x.example:8080", "x.example:8080"},
		{"bare host and path", "x.example/a/b?c=d", "x.example/a/b?c=d"},
		{"bare host, port and path", "x.example:8080/a", "x.example:8080/a"},
		{"bare host and query", "x.example?q", "x.example/?q"},
		{"bare host and fragment", "x.example#f", "x.example"},
		{"bare host that is named like a scheme", "http:8080", "http:8080"},
		{"bare host with user", "u@x.example", "x.example"},
		{"bare IPv4", "127.0.0.1", "127.0.0.1"},
		{"bare IPv6", "2001:db8::1", "[2001:db8::1]"},
		{"bare IPv6 that begins with a letter", "fe80::1", "[fe80::1]"},
		{"IPv6 and port", "[2001:db8::1]:8080", "[2001:db8::1]:8080"},
		{"no scheme, two slashes", "//x.example/a", "x.example/a"},

		{"http", "http://x.example", "x.example/"},
		{"http and slash", "http://x.example/", "x.example/"},
		{"https", "https://x.example/a", "x.example/a"},
		{"ws", "ws://x.example/a", "x.example/a"},
		{"wss", "wss://x.example/a", "x.example/a"},
		{"scheme in upper case", "HTTPS://x.example/a", "x.example/a"},
		{"default port of http", "http://x.example:80/", "x.example/"},
		{"default port of https", "https://x.example:443/", "x.example/"},
		{"default port padded", "https://x.example:000443/", "x.example/"},
		{"empty port", "http://x.example:/", "x.example/"},
		{"port of another scheme", "http://x.example:443/", "x.example:443/"},
		{"other port", "http://x.example:8080/", "x.example:8080/"},

		{"user", "http://www.good.example@x.example/", "x.example/"},
		{"user and password", "http://www.good.example:80@x.example/", "x.example/"},
		{"several at signs", "http://a@b@x.example/", "x.example/"},
		{"at sign in the path", "http://x.example/@y.example", "x.example/@y.example"},
		{"backslash ends the host", `http://x.example\@good.example/`, "x.example/@good.example/"},
		{"question mark ends the host", "http://x.example?@good.example/", "x.example/?@good.example/"},
		{"number sign ends the host", "http://x.example#@good.example/", "x.example/"},
		{"no slashes", "http:x.example/a", "x.example/a"},
		{"one slash", "http:/x.example/a", "x.example/a"},
		{"many slashes", "http://///x.example/a", "x.example/a"},
		{"backslashes", `http:\\x.example\a`, "x.example/a"},
		{"mixed slashes", `http:/\/x.example/a`, "x.example/a"},
		{"spaces around", "  http://x.example/a\u0020", "x.example/a"},
		{"controls around", "\x00\x1fhttp://x.example/a\x00", "x.example/a"},
		{"tab inside the scheme", "ht\ttp://x.example/a", "x.example/a"},
		{"line breaks inside", "http://x.ex\r\nample/a\r\nb", "x.example/ab"},

		{"host in another spelling", "http://%77ww。Ｘ.EXAMPLE./", "www.x.example/"},
		{"IPv4 as one number", "http://2130706433/", "127.0.0.1/"},
		{"IPv4 as one number, no slashes", "http:2130706433", "127.0.0.1/"},
		{"IPv4 mapped", "http://[::ffff:7f00:1]/", "127.0.0.1/"},

		{"empty", "", ""},
		{"spaces", "   ", ""},
		{"scheme alone", "http://", ""},
		{"user alone", "http://u@/", ""},
		{"port alone", "http://:80/", ""},
		{"path alone", "/a/b", ""},
		{"query alone", "?q", ""},
		{"ftp", "ftp://x.example/", ""},
		{"file", "file:///etc/passwd", ""},
		{"javascript", "javascript:alert(1)", ""},
		{"data", "data:text/html,x", ""},
		{"blob", "blob:http://x.example/1", ""},
		{"about", "about:blank", ""},
		{"mail address", "mailto:a@x.example", ""},
		{"port too large", "http://x.example:65536/", ""},
		{"port nought", "http://x.example:0/", ""},
		{"port with a sign", "http://x.example:+80/", ""},
		{"port in hex", "http://x.example:0x50/", ""},
		{"port of a bare host too large", "x.example:65536", ""},
		{"two ports", "http://x.example:80:80/", ""},
		{"brackets and more", "http://[::1]x/", ""},
		{"NUL in the host", "http://x\x00.example/", ""},
		{"space in the host", "http://x .example/", ""},
		{"host %-escaped twice", "http://%2577ww.x.example/", ""},
		{"too long", "http://x.example/" + strings.Repeat("a", MaxURL), ""},
	} {
		got, err := ParseURL(test.raw)
		if got.String() != test.want || (err != nil) != (test.want == "") {
			t.Errorf("%s: ParseURL(%+q) = %q, %v; want %q", test.promise, test.raw, got, err, test.want)
		}
		if err != nil && !errors.Is(err, ErrBadURL) && !errors.Is(err, ErrBadHost) {
			t.Errorf("%s: ParseURL(%+q): %v wraps neither ErrBadURL nor ErrBadHost", test.promise, test.raw, err)
		}
		if err != nil && len(err.Error()) > 500 {
			t.Errorf("%s: ParseURL(%+.20q): error of %d bytes, want a short one", test.promise, test.raw, len(err.Error()))
		}
	}
}

// Each spelling of a page meets the same list entry (Y16, REQUIREMENTS 4.9).
func TestParseRequestPath(t *testing.T) {
	for _, test := range []struct{ promise, raw, want string }{
		{"root", "/", "/"},
		{"plain", "/a/b.html?q=1&r=2", "/a/b.html?q=1&r=2"},
		{"nothing", "", "/"},
		{"no slash", "a", "/a"},
		{"asterisk", "*", "/*"},
		{"case is kept", "/Bad/Page", "/Bad/Page"},
		{"trailing slash is kept", "/bad/", "/bad/"},
		{"hidden file", "/.well-known/x", "/.well-known/x"},
		{"three dots", "/.../x", "/.../x"},
		{"marks that mean nothing to a path", "/!$&'()*+,;=:@[]|^", "/!$&'()*+,;=:@[]|^"},

		{"unreserved escaped", "/%62%61%64/p%61ge", "/bad/page"},
		{"hex in either case", "/%6A%6a", "/jj"},
		{"escaped twice", "/%2562ad", "/bad"},
		{"escaped five times", "/%25252562ad", "/bad"},
		{"escape within an escape", "/%%362ad", "/bad"},
		{"escape spread over two", "/%2%35%36%32ad", "/bad"},
		{"mark escaped", "/a%28b%29", "/a(b)"},
		{"slash escaped", "/a%2fb", "/a/b"},
		{"slash escaped twice", "/a%252fb", "/a/b"},
		{"question mark escaped", "/a%3fb", "/a%3Fb"},
		{"number sign escaped", "/a%23b", "/a%23b"},
		{"backslash escaped", "/a%5cb", "/a/b"},
		{"backslash escaped twice", "/a%255cb", "/a/b"},
		{"space", "/a b", "/a%20b"},
		{"space escaped", "/a%20b", "/a%20b"},
		{"NUL", "/a\x00b", "/a%00b"},
		{"UTF-8", "/bücher", "/b%C3%BCcher"},
		{"UTF-8 escaped in lower case", "/b%c3%bccher", "/b%C3%BCcher"},
		{"not UTF-8", "/\xff", "/%FF"},
		{"bare percent", "/100%", "/100%"},
		{"bare percent escaped", "/100%25", "/100%"},
		{"bare percent and letters", "/100%zz", "/100%zz"},

		{"backslash", `\bad\page`, "/bad/page"},
		{"leading slashes", "//bad/page", "/bad/page"},
		{"slashes inside", "/bad///page", "/bad/page"},
		{"trailing slashes", "/bad//", "/bad/"},
		{"slash and backslash", `/bad\/page`, "/bad/page"},
		{"dot", "/./bad/./page", "/bad/page"},
		{"dot at the end", "/bad/.", "/bad/"},
		{"dots", "/x/../bad/page", "/bad/page"},
		{"dots at the end", "/bad/page/..", "/bad/"},
		{"dots beyond the root", "/../../bad", "/bad"},
		{"dots alone", "/..", "/"},
		{"dots escaped", "/x/%2e%2E/bad", "/bad"},
		{"dots half escaped", "/x/.%2e/bad", "/bad"},
		{"dots escaped twice", "/x/%252e%252e/bad", "/bad"},
		{"dots with backslashes", `/x\..\bad`, "/bad"},
		{"dots take an empty segment, as in a browser", "/a//../b", "/a/b"},
		{"dots behind an escaped slash", "/x/..%2fbad", "/bad"},
		{"dots between escaped backslashes", "/x%5c..%5Cbad", "/bad"},
		{"escaped slashes are joined", "/bad%2f%2Fpage%2f", "/bad/page/"},

		{"fragment", "/a#b", "/a"},
		{"fragment behind a query", "/a?b#c", "/a?b"},
		{"empty query", "/a?", "/a"},
		{"empty query and fragment", "/a?#b", "/a"},
		{"query keeps its dots and slashes", "/a?b=//c/../d", "/a?b=//c/../d"},
		{"query keeps a second question mark", "/a?b?c", "/a?b?c"},
		{"query, unreserved escaped", "/a?%62=%2563", "/a?b=c"},
		{"query, mark escaped", "/a?b=c%26d", "/a?b=c%26d"},
		{"query, hex in lower case", "/a?b=c%2fd", "/a?b=c%2Fd"},
		{"query, space", "/a?b c", "/a?b%20c"},
		{"query, quote", "/a?b'c", "/a?b%27c"},
	} {
		if got := ParseRequestPath(test.raw); got != test.want {
			t.Errorf("%s: ParseRequestPath(%q) = %q, want %q", test.promise, test.raw, got, test.want)
		}
	}
}

func TestParseURLAllocates(t *testing.T) {
	for _, raw := range []string{"https://www.x.example/a/b.html?q=1", "www.x.example", "x.example/a"} {
		if got := testing.AllocsPerRun(100, func() { _, _ = ParseURL(raw) }); got > 0 {
			t.Errorf("ParseURL(%q) allocates %v times, want 0", raw, got)
		}
	}
}

// An escape of an escape of an escape must not cost the square of its length.
func TestParseRequestPathIsLinear(t *testing.T) {
	for _, part := range []string{"%25", "%", "%%32%35", "../", "%2e%2e/", `\`} {
		raw := "/" + strings.Repeat(part, 1<<20/len(part))
		if got := ParseRequestPath(raw); len(got) > 3*len(raw) {
			t.Errorf("%q repeated over 1 MiB grows to %d bytes", part, len(got))
		}
	}
}

var plainURL = regexp.MustCompile(`^https?://[a-z][a-z0-9]{0,20}(\.[a-z]{1,20})?(/[a-zA-Z0-9_-]{1,20})+(\?[a-z=&]+)?$`)

// FuzzParseURL: an address reads back as itself, its parts are canonical, and a
// plain one is what net/url says it is.
func FuzzParseURL(f *testing.F) {
	for _, seed := range []string{
		"http://x.example", "https://u:p@x.example:8443/a/../b?c#d", `http:\\x.example\a`, "x.example:80/a", "[::1]:80",
		"fe80::1", "http:8080", "//x.example//a", "http://x.example/%252e%252e/%%32e?%2561", " \thttp://x.example ",
		"https://www.x.example/Path/to?a=b&c=d", "data:,x", "x.example?q#f", "http://x.example/\xff\x00",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		u, err := ParseURL(raw)
		if err != nil {
			if u != (URL{}) || !errors.Is(err, ErrBadURL) && !errors.Is(err, ErrBadHost) {
				t.Fatalf("ParseURL(%q) = %q, %v", raw, u, err)
			}
			return
		}
		checkCanonicalHost(t, u.Host)
		checkCanonicalPath(t, u.Path)
		if s := u.String(); len(s) <= MaxURL {
			if again, err := ParseURL(s); err != nil || again != u {
				t.Fatalf("ParseURL(%q) = %q, which reads back as %q, %v", raw, s, again, err)
			}
		}
		if plainURL.MatchString(raw) {
			want, err := url.Parse(raw)
			if err != nil || u.Host.String() != want.Host || u.Path != want.RequestURI() {
				t.Fatalf("ParseURL(%q) = %q, want %v, %v", raw, u, want, err)
			}
		}
	})
}

// FuzzParseRequestPath: the answer is its own canonical form, and a spelling that
// says the same another way has the same answer.
func FuzzParseRequestPath(f *testing.F) {
	for _, seed := range []string{"/a/b?c", "//a/./../b", "/%2561%%32e", `\a\..\b`, "/%2f%2F?%2f", "*", "/%", "/\xff ?\xff "} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		got := ParseRequestPath(raw)
		if got == "" {
			t.Fatalf("ParseRequestPath(%q) is empty", raw)
		}
		checkCanonicalPath(t, got)
		path, query, found := strings.Cut(got, "?")
		evasive := "/%2E/x\\..\\" + strings.ReplaceAll(path, "/", "//")[1:]
		if found {
			evasive += "?" + query
		}
		if again := ParseRequestPath(evasive + "#f"); again != got {
			t.Fatalf("ParseRequestPath(%q) = %q, but %q has %q", raw, got, evasive, again)
		}
	})
}

func checkCanonicalPath(t *testing.T, path string) {
	t.Helper()
	if path == "" {
		return
	}
	if again := ParseRequestPath(path); again != path {
		t.Fatalf("path %q reads back as %q", path, again)
	}
	for i := range len(path) {
		if path[i] <= ' ' || path[i] >= 0x7f {
			t.Fatalf("path %q is not canonical", path)
		}
	}
	plain, _, _ := strings.Cut(path, "?")
	if plain[0] != '/' || strings.ContainsAny(path, "#") || strings.Contains(plain, `\`) || strings.Contains(plain, "//") ||
		strings.Contains(plain+"/", "/./") || strings.Contains(plain+"/", "/../") {
		t.Fatalf("path %q is not canonical", path)
	}
}

func BenchmarkParseURL(b *testing.B) {
	for name, raw := range map[string]string{
		"canonical": "https://www.some-site.example/a/page.html?q=1", "host": "www.some-site.example",
		"evasive": `HTTP:\\WWW.Some-Site.example\x/..//%61/%252e/page.html?%71=1#f`,
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				_, _ = ParseURL(raw)
			}
		})
	}
}
