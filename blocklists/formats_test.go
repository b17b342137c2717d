package blocklists

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"schoolgate/policy"
)

// result is what became of a feed, in a form that reads.
type result struct {
	entries []string // host, path, "=" in front of an exact one, category if the feed has several
	refused []string // line: reason
	stats   Stats
	err     error
}

func read(t testing.TB, f Feed) (r result) {
	t.Helper()
	if f.Name == "" {
		f.Name = "test"
	}
	r.stats, r.err = Read(t.Context(), f, func(e Entry) error {
		text := e.Host.String() + e.Path
		if e.Exact {
			text = "=" + text
		}
		if len(f.Categories) > 0 || f.Columns.Category != "" {
			text += " " + e.Category.String()
		}
		r.entries = append(r.entries, text)
		return nil
	}, func(x Refusal) {
		r.refused = append(r.refused, fmt.Sprintf("%d: %s", x.Line, x.Reason))
	})
	return r
}

// readText reads a text in a format.
func readText(t testing.TB, format Format, text string) result {
	t.Helper()
	return read(t, Feed{Path: write(t, "list", text), Format: format, Category: policy.Gambling, Kind: Public})
}

func write(t testing.TB, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestFormats(t *testing.T) { // REQUIREMENTS 4.9
	for _, tc := range []struct {
		name    string
		format  Format
		text    string
		entries []string
		refused []string
	}{
		{"plain names", Domains, "# header\n\na.example\nB.Example.\n  c.example  # note\n*.d.example\n.e.example\n",
			[]string{"a.example", "b.example", "c.example", "d.example", "e.example"}, nil},
		{"windows line ends and byte order mark", Domains, "\xef\xbb\xbfa.example\r\nb.example\r\n", []string{"a.example", "b.example"}, nil},
		{"no line end at the end", Domains, "a.example\nb.example", []string{"a.example", "b.example"}, nil},
		{"names of other scripts", Domains, "bücher.example\nпример.example\nمثال.example\n",
			[]string{"xn--bcher-kva.example", "xn--e1afmkfd.example", "xn--mgbh0fb.example"}, nil},
		{"underscores and addresses", Domains, "a_b.example\n192.0.2.7\n2001:db8::1\n", []string{"a_b.example", "192.0.2.7", "2001:db8::1"}, nil},
		{"ports, paths and addresses with them are not names", Domains, "ok.example\na.example:8080\na.example/x\nhttp://a.example/\nu@a.example\n",
			[]string{"ok.example"}, []string{"2: " + string(NotPlain), "3: " + string(NotPlain), "4: " + string(NotPlain), "5: " + string(NotPlain)}},
		{"a top-level domain is not a name", Domains, "ok.example\ncom\nlocalhost\n", []string{"ok.example"},
			[]string{"2: " + string(TopLevel), "3: " + string(LocalName)}},
		{"addresses of the school's own network", Domains, "ok.example\n192.168.1.1\n::1\n", []string{"ok.example"},
			[]string{"2: " + string(PrivateAddress), "3: " + string(PrivateAddress)}},
		{"control characters and hidden turns of direction", Domains, "ok.example\na\x00b.example\na\u202egpj.example\na\xffb.example\na b.example\n",
			[]string{"ok.example"}, []string{"2: " + string(NotText), "3: " + string(NotText), "4: " + string(NotText), "5: " + string(BadHost)}},
		{"hosts file", Hosts, "127.0.0.1 localhost\n0.0.0.0\ta.example\twww.a.example # x\n::1 b.example\n216.239.38.120 c.example\nd.example\n0.0.0.0\n",
			[]string{"a.example", "www.a.example", "b.example"},
			[]string{"1: " + string(LocalName), "4: " + string(Forwards), "5: " + string(NotAddress), "6: " + string(BadHost)}},
		{"adblock", Adblock, "[Adblock Plus]\n! c\n||a.example^\n||b.example^$important\n||c.example/x^\nd.example\n||*.e.example^\n",
			[]string{"a.example", "b.example", "c.example/x", "d.example", "e.example"}, nil},
		{"adblock rules that are not for whole hosts", Adblock,
			"||ok.example^\n@@||a.example^\na.example##.ad\n/ads[0-9]/\n||a.example^$script\n||a*.example^\nbanner\n||^\n",
			[]string{"ok.example"}, []string{"2: " + string(Exception), "3: " + string(Cosmetic), "4: " + string(Expression),
				"5: " + string(SomeRequest), "6: " + string(PartOfName), "7: " + string(PartOfName), "8: " + string(Everything)}},
		{"adblock path", Adblock, "||a.example/forum\n", []string{"a.example/forum"}, nil},
		{"dnsmasq", Dnsmasq, "# c\naddress=/a.example/\naddress=/b.example/127.0.0.1\nserver=/c.example/\nlocal=/d.example/e.example/\naddress=/f.example/#\n",
			[]string{"a.example", "b.example", "c.example", "d.example", "e.example", "f.example"}, nil},
		{"dnsmasq lines that do not block", Dnsmasq, "local=/ok.example/\nserver=/a.example/8.8.8.8\naddress=/a.example/192.0.2.1\naddress=/#/\nconf-dir=/etc\nwhat\naddress=a\nserver=/b.example/#\n",
			[]string{"ok.example"}, []string{"2: " + string(Forwards), "3: " + string(Forwards), "4: " + string(Everything),
				"5: " + string(Directive), "6: " + string(NotDnsmasq), "7: " + string(NotDnsmasq), "8: " + string(Forwards)}},
		{"response policy zone", RPZ, "$TTL 30\n$ORIGIN rpz.test.\n@ IN SOA a. b. ( 1\n 2 ; serial\n 3 )\n NS localhost.\na.example CNAME .\n*.b.example 60 IN CNAME *.\nc.example.rpz.test. CNAME rpz-drop.\nd.example A 0.0.0.0\n; c\n",
			[]string{"=a.example", "b.example", "=c.example", "=d.example"}, nil},
		{"zone records that do not block a name", RPZ, "ok.example CNAME .\na.example CNAME rpz-passthru.\nb.example CNAME c.example.\n24.0.2.0.192.rpz-ip CNAME .\n* CNAME .\n$INCLUDE /etc/passwd\nd.example TXT x\ne.example\n",
			[]string{"=ok.example"}, []string{"2: " + string(Exception), "3: " + string(Forwards), "4: " + string(OtherRecord),
				"5: " + string(Everything), "6: " + string(Directive), "7: " + string(OtherRecord), "8: " + string(NotZoneLine)}},
		{"wildcards", Wildcards, "# c\n*.a.example\nb.example\n*\nc.*.example\n", []string{"a.example", "b.example"},
			[]string{"4: " + string(Everything), "5: " + string(PartOfName)}},
		{"URLs", URLs, "a.example/x/y?z=1\nhttps://B.example/q/../r\n192.0.2.7/~user\nc.example\nhttp://d.example/\nhttp:///\n",
			[]string{"a.example/x/y?z=1", "b.example/r", "192.0.2.7/~user", "c.example", "d.example"}, []string{"6: " + string(BadURL)}},
		{"addresses", IPs, "192.0.2.1\n2001:db8::2\na.example\n10.1.2.3\n", []string{"=192.0.2.1", "=2001:db8::2"},
			[]string{"3: " + string(NotAddress), "4: " + string(PrivateAddress)}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := readText(t, tc.format, tc.text)
			if r.err != nil {
				t.Fatal(r.err)
			}
			if diff := cmp.Diff(tc.entries, r.entries); diff != "" {
				t.Errorf("entries (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(tc.refused, r.refused); diff != "" {
				t.Errorf("refused (-want +got):\n%s", diff)
			}
		})
	}
}

// A pornography list may name the top-level domains that are sold for nothing
// else; no other list may, and none may name another.
func TestWholeTopLevelDomains(t *testing.T) {
	path := write(t, "list", "a.example\nxxx\nporn\ncom\n")
	got := read(t, Feed{Path: path, Format: Domains, Category: policy.Pornography, Kind: Public})
	if diff := cmp.Diff([]string{"a.example", "xxx", "porn"}, got.entries); diff != "" {
		t.Error(diff)
	}
	got = read(t, Feed{Path: path, Format: Domains, Category: policy.Gaming, Kind: Public})
	if diff := cmp.Diff([]string{"a.example"}, got.entries); diff != "" {
		t.Error(diff)
	}
}

// A refused line of a mandatory list is named by its place and never shown.
func TestMandatoryLinesAreNotShown(t *testing.T) { // F2
	f := Feed{Name: "m", Path: write(t, "list", "a.example\nhttp:///secret\n"), Format: URLs, Category: policy.ChildAbuse, Kind: Mandatory}
	var refused []Refusal
	_, err := Read(t.Context(), f, func(Entry) error { return nil }, func(r Refusal) { refused = append(refused, r) })
	if err != nil {
		t.Fatal(err)
	}
	if len(refused) != 1 || refused[0].Line != 2 || refused[0].Text != "" {
		t.Errorf("refused %v, want line 2 without its text", refused)
	}
}

func TestCSV(t *testing.T) {
	base := Feed{Format: CSV, Kind: Public, Columns: Columns{
		Host: "entry", Path: "prefix", Category: "code", Where: map[string][]string{"status": {"active"}},
	}, Categories: map[string]string{"G": "gambling", "X": "none"}}
	f := base
	f.Path = write(t, "list.csv", "status,entry,prefix,code,note\n"+
		"active,a.example,,G,\"a \"\"b\"\", c\"\n"+
		"removed,b.example,,G,\n"+
		"active,c.example,/kids,gaming,\n"+
		"active,https://d.example/x,,G,\n"+
		"active,e.example,,X,\n"+
		"active,f.example,,?,\n"+
		"active,g.example,,G\n"+
		"active,\"h.example,,G,\n")
	got := read(t, f)
	if got.err != nil {
		t.Fatal(got.err)
	}
	if diff := cmp.Diff([]string{"a.example gambling", "c.example/kids gaming", "d.example/x gambling"}, got.entries); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"7: " + string(UnknownCode), "8: " + string(NotCSV), "9: " + string(NotCSV)}, got.refused); diff != "" {
		t.Error(diff)
	}
	if got.stats.Unwanted != 2 {
		t.Errorf("unwanted = %d, want 2: a removed row and a code mapped to none", got.stats.Unwanted)
	}

	f.Path = write(t, "list.csv", "host,kind\na.example,G\n")
	if got := read(t, f); !errors.Is(got.err, ErrNotAList) || !strings.Contains(got.err.Error(), `no column ["code" "entry" "prefix" "status"]`) {
		t.Errorf("a table without the columns: %v", got.err)
	}
}

// A curated row of category "none" says that a site is in no category.
func TestCuratedNone(t *testing.T) {
	f := Feed{Format: CSV, Kind: Curated, Columns: Columns{Host: "host", Category: "category"},
		Path: write(t, "list.csv", "host,category\na.example,none\n")}
	if got := read(t, f); got.err != nil || len(got.entries) != 1 || got.entries[0] != "a.example " {
		t.Errorf("entries %q, err %v; want a.example without category", got.entries, got.err)
	}
}

func TestDelta(t *testing.T) {
	list := "ref,type,entry,status\n1,domain,a.example,active\n2,url,https://b.example/x,active\n3,domain,c.example,removed\n"
	f := Feed{Format: CSV, Kind: Mandatory, Category: policy.ChildAbuse, Path: write(t, "l.csv", list),
		Columns: Columns{Host: "entry", Action: "action", Where: map[string][]string{"status": {"active"}}}}
	f.Delta = write(t, "d.csv", "action,ref,type,entry\nremove,2,url,http://B.example/x\nadd,4,domain,d.example\nchange,5,domain,e.example\n")
	got := read(t, f)
	if got.err != nil {
		t.Fatal(got.err)
	}
	if diff := cmp.Diff([]string{"a.example", "d.example"}, got.entries); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"4: " + string(NotAnAction)}, got.refused); diff != "" {
		t.Error(diff)
	}
	f.Delta = write(t, "d.csv", "entry\na.example\n")
	if got := read(t, f); !errors.Is(got.err, ErrNotAList) {
		t.Errorf("a delta without actions: %v", got.err)
	}
}

func TestStarter(t *testing.T) {
	for _, f := range Starter() {
		got := read(t, f)
		if got.err != nil || len(got.refused) > 0 {
			t.Errorf("%s: %v, refused %v", f.Name, got.err, got.refused)
		}
	}
}

// The date of the starter lists is what people see of their age: whoever changes a
// line of theirs says on which day.
func TestStarterDateIsOfItsContent(t *testing.T) {
	const content, date = "8611b316497a824d10264019631ee0fff2e9684cbceee3c73f3b9a11dd17f40b", "2026-11-29"
	if got := Starter()[0]; got.Content() != content || got.Date.Format(time.DateOnly) != date {
		t.Errorf("the starter lists have changed: they are %s of %s.\nSet starterDate to the day of the change, and write both into this test", got.Content(), got.Date.Format(time.DateOnly))
	}
	if got := (Feed{Name: "mine"}).Content(); got != "" {
		t.Errorf("Content of a feed from outside = %q", got)
	}
}

func TestCancelled(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	f := Feed{Name: "t", Path: write(t, "list", strings.Repeat("a.example\n", 10_000)), Format: Domains, Category: policy.Gaming, Kind: Public}
	if _, err := Read(ctx, f, func(Entry) error { return nil }, func(Refusal) {}); !errors.Is(err, context.Canceled) {
		t.Errorf("Read with a cancelled context: %v", err)
	}
}
