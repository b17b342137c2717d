package blocklists

import (
	"archive/tar"
	"bytes"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"schoolgate/policy"
)

// fuzzFormat reads any bytes in a format: it must end, within its bounds, and
// every entry must be a host that reads back as itself.
func fuzzFormat(f *testing.F, feed Feed, seeds ...string) {
	for _, s := range seeds {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		feed.Path = write(t, "list", string(data))
		feed.Limits = Limits{Size: 1 << 20, Members: 50}
		lines := 0
		stats, _ := Read(t.Context(), feed, func(e Entry) error {
			again, err := policy.ParseHost(e.Host.String())
			if err != nil || again != e.Host {
				t.Fatalf("entry %q does not read back: %q, %v", e.Host, again, err)
			}
			if e.Path != "" && e.Path[0] != '/' {
				t.Fatalf("path %q of %q", e.Path, e.Host)
			}
			if e.File == "" || e.Line == 0 {
				t.Fatalf("entry %q has no place", e.Host)
			}
			return nil
		}, func(r Refusal) {
			if r.Reason == "" || r.File == "" {
				t.Fatalf("refusal without reason or place: %+v", r)
			}
			lines++
		})
		if stats.Refused != int64(lines) {
			t.Fatalf("%d refusals counted, %d told", stats.Refused, lines)
		}
	})
}

func public1(format Format) Feed {
	return Feed{Name: "fuzz", Format: format, Category: policy.Pornography, Kind: Public}
}

func FuzzDomains(f *testing.F) {
	fuzzFormat(f, public1(Domains), "a.example\n# c\nB.Example. # x\n*.c.example\nxxx\n192.0.2.1\n", "bücher.example\n\u202ea.example\na\x00\n", "\xef\xbb\xbfa.example\r\n")
}

func FuzzHosts(f *testing.F) {
	fuzzFormat(f, public1(Hosts), "0.0.0.0 a.example b.example # c\n127.0.0.1\tlocalhost\n::1 x\n192.0.2.1 y.example\n", "0.0.0.0\n")
}

func FuzzAdblock(f *testing.F) {
	fuzzFormat(f, public1(Adblock), "||a.example^\n@@||b.example^\n##.ad\n||c.example^$important,third-party\n/x/\n||d.example/p^|\n", "$\n|\n||\n^\n")
}

func FuzzDnsmasq(f *testing.F) {
	fuzzFormat(f, public1(Dnsmasq), "address=/a.example/\nserver=/b.example/#\nlocal=/c/d.example/\naddress=/#/\n", "address=\naddress=/\nx=/\n=\n")
}

func FuzzRPZ(f *testing.F) {
	fuzzFormat(f, public1(RPZ), "$TTL 3\n@ SOA a b ( 1\n2 )\n NS x.\na.example CNAME .\n*.b.example IN CNAME *.\n", "(\n)\n)\n$ORIGIN\n CNAME .\n* CNAME .\n")
}

func FuzzWildcards(f *testing.F) {
	fuzzFormat(f, public1(Wildcards), "*.a.example\n*\n*.*.b.example\nc*.example\n")
}

func FuzzURLs(f *testing.F) {
	fuzzFormat(f, public1(URLs), "a.example/x\nhttp://b.example:80/../y?z#f\n192.0.2.1/~u\nhttp://[::1]/\n", "http://\n//\n?\n")
}

func FuzzIPs(f *testing.F) {
	fuzzFormat(f, public1(IPs), "192.0.2.1\n2001:db8::1\nfe80::1%eth0\n1.2.3\n")
}

func FuzzCSV(f *testing.F) {
	feed := Feed{Name: "fuzz", Format: CSV, Kind: Public, Columns: Columns{Host: "host", Path: "path", Category: "code", Action: "action"},
		Categories: map[string]string{"x": "gaming", "*": "none"}}
	fuzzFormat(f, feed, "host,path,code,action\na.example,/x,x,add\n\"b.example\",,gaming,\n", "host,path,code\n\"\"\"\",\n", "\"\n")
}

func FuzzUT1(f *testing.F) {
	feed := Feed{Name: "fuzz", Format: UT1, Kind: Public, Categories: ut1Map}
	fuzzFormat(f, feed, tarOf("x/games/domains", "a.example\n"), tarOf("../games/domains", "a.example\n"), tarOf("poker/urls", "a.example/x\n"))
}

func FuzzV2fly(f *testing.F) {
	feed := Feed{Name: "fuzz", Format: V2fly, Kind: Public, Categories: map[string]string{"a": "gaming"}}
	fuzzFormat(f, feed, tarOf("data/a", "x.example\nfull:y.example @z\ninclude:a\nregexp:x\n"))
}

func FuzzFeedsFile(f *testing.F) {
	f.Add([]byte("feeds:" + goodFeed))
	f.Add([]byte("feeds: &a [*a]\n"))
	f.Add([]byte("feeds:\n  - {name: [x], columns: {where: {a: b}}}\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		path := filepath.Join(t.TempDir(), "feeds.yaml")
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		feeds, problems := LoadFeeds(path)
		if len(feeds.Feeds) == 0 && len(problems) == 0 {
			t.Fatal("neither feeds nor problems")
		}
		for _, p := range problems {
			if p.Pos.File == "" || strings.TrimSpace(p.Text) == "" {
				t.Fatalf("problem without place or text: %+v", p)
			}
		}
	})
}

func tarOf(name, text string) string {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	err := w.WriteHeader(&tar.Header{Name: name, Size: int64(len(text)), Mode: 0o644})
	if err == nil {
		_, err = io.WriteString(w, text)
	}
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		panic(err)
	}
	return b.String()
}
