package appliance

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"schoolgate/blocklists"
	"schoolgate/categories"
	"schoolgate/policy"
	"schoolgate/supply"
)

// careless makes random schools that try to open what a mandatory list holds.
type careless struct {
	*rand.Rand
	targets []blocklists.Entry
}

func (c careless) yes() bool                { return c.IntN(2) == 0 }
func (c careless) target() blocklists.Entry { return c.targets[c.IntN(len(c.targets))] }
func (c careless) group() string            { return []string{"", "a", "b"}[c.IntN(3)] }
func (c careless) at(base time.Time) time.Time {
	return base.Add(time.Duration(c.IntN(20_000)) * time.Hour)
}

// rule opens a listed host, a page of it, or what lies above.
func (c careless) rule() policy.HostRule {
	e := c.target()
	r := policy.HostRule{Host: e.Host, Exact: c.yes(), Verdict: policy.Allow, Until: c.at(schoolTime.AddDate(1, 0, 0))}
	if c.yes() {
		r.Path = e.Path
	}
	if _, above, ok := strings.Cut(e.Host.String(), "."); ok && c.IntN(3) == 0 {
		if h, err := policy.ParseHost(above); err == nil {
			r.Host, r.Path = h, ""
		}
	}
	return r
}

func (c careless) profile(name string, band policy.AgeBand) policy.Profile {
	p := policy.Profile{Name: name, Band: band, Approved: []string{"list"}, Uncategorised: policy.Allow, Unsettled: policy.Verdict(2 * c.IntN(2))}
	for cat := range policy.Categories() {
		if cat.Mandatory() {
			continue // a policy that says allow of one does not compile
		}
		p.Categories = append(p.Categories, policy.CategoryRule{Category: cat, Verdict: policy.Allow})
	}
	return p
}

func (c careless) spec() policy.Spec {
	s := policy.Spec{
		Profiles:  []policy.Profile{c.profile("child", policy.AgeBand(c.IntN(3))), c.profile("adult", policy.Staff), c.profile("guest", policy.Guest)},
		Groups:    []policy.Group{{Name: "a", Profile: "child"}, {Name: "b", Profile: "adult"}},
		Timetable: policy.Timetable{Periods: []policy.Period{{Name: "club", From: c.IntN(1440), To: c.IntN(1440)}}},
		Lists:     map[string][]policy.HostRule{"list": {c.rule(), c.rule()}},
	}
	for range c.IntN(8) {
		s.Exceptions = append(s.Exceptions, policy.Exception{HostRule: c.rule()})
		s.Passes = append(s.Passes, policy.Exception{HostRule: c.rule(), Group: "b"})
		n := policy.NeverBlock{HostRule: c.rule(), HelpLine: c.yes()}
		if n.HelpLine {
			n.Path = ""
		}
		s.NeverBlock = append(s.NeverBlock, n)
	}
	return s
}

// someone is a client of any kind.
type someone policy.Client

func (s someone) Identify(addr netip.Addr) policy.Client {
	c := policy.Client(s)
	c.Addr = addr
	return c
}

// Whatever a school writes, whoever asks, at any time and through any door, a host
// or page of a mandatory list is never allowed, in the store of all real lists (R1,
// I5; issue 5, item 5).
func TestMandatoryIsNeverAllowed(t *testing.T) {
	store := realStore(t)
	targets := mandatoryEntries(t)
	for seed := range uint64(300) {
		c := careless{rand.New(rand.NewPCG(seed, 5)), targets}
		p, problems := policy.Compile(c.spec())
		if problems != nil {
			t.Fatalf("seed %d: the random school is refused: %v", seed, problems)
		}
		s := &policy.Snapshot{Policy: p, Lists: store, Clients: someone{Group: c.group(), Quarantined: c.yes(), Unsigned: c.yes()}}
		for range 20 {
			e := c.target()
			written := respelt(c.Rand, e)
			u, err := policy.ParseURL(written)
			if err != nil {
				t.Fatalf("seed %d: %q: %v", seed, written, err)
			}
			q := policy.Request{Host: u.Host, Path: u.Path, Time: c.at(schoolTime), Client: netip.AddrFrom4([4]byte{10, 0, 0, byte(c.IntN(9))})}
			q.Door = policy.DoorHTTP
			if got := s.Decide(q); got.Verdict == policy.Allow || got.Reason != policy.ReasonMandatory {
				t.Fatalf("seed %d: %s (%s:%d) = %s by %s, want block by the mandatory list", seed, written, e.File, e.Line, got.Verdict, got.Reason)
			}
			if e.Path != "" {
				continue // the DNS door sees the host alone, and a school may choose there (I3)
			}
			q.Door, q.Path = policy.DoorDNS, ""
			if got := s.Decide(q); got.Verdict != policy.Block || got.Reason != policy.ReasonMandatory {
				t.Fatalf("seed %d: %s (%s:%d) by DNS = %s by %s, want block by the mandatory list", seed, u.Host, e.File, e.Line, got.Verdict, got.Reason)
			}
		}
	}
}

// mandatoryEntries are the entries of the synthetic mandatory lists in the binary.
func mandatoryEntries(t *testing.T) (all []blocklists.Entry) {
	t.Helper()
	for _, feed := range blocklists.Starter() {
		if feed.Kind != blocklists.Mandatory {
			continue
		}
		_, err := blocklists.Read(t.Context(), feed, func(e blocklists.Entry) error {
			all = append(all, e)
			return nil
		}, func(r blocklists.Refusal) { t.Error(r) })
		if err != nil {
			t.Fatal(err)
		}
	}
	if len(all) < 3000 {
		t.Fatalf("%d entries in the synthetic mandatory lists", len(all))
	}
	return all
}

// respelt writes an entry as a URL in one of the ways that reach the same page.
func respelt(rng *rand.Rand, e blocklists.Entry) string {
	host, path := e.Host.String(), e.Path
	if addr, ok := e.Host.Addr(); ok && addr.Is6() {
		host = "[" + host + "]"
	} else if ok {
		b := addr.As4()
		host = []string{
			host, fmt.Sprintf("0%o.%d.0x%x.%d", b[0], b[1], b[2], b[3]),
			fmt.Sprint(uint32(b[0])<<24 | uint32(b[1])<<16 | uint32(b[2])<<8 | uint32(b[3])),
		}[rng.IntN(3)]
	} else {
		host = []string{host, strings.ToUpper(host), host + ".", "www." + host, strings.Replace(host, "e", "%65", 1)}[rng.IntN(5)]
	}
	host = []string{host, "someone@" + host, "a:b@" + host, host + ":443"}[rng.IntN(4)]
	if path == "" {
		path = "/any/page"
	}
	bare, query, _ := strings.Cut(path, "?")
	switch rng.IntN(5) {
	case 0:
		bare = "/." + bare
	case 1:
		bare = "/x/.." + bare
	case 2:
		bare = strings.ReplaceAll(bare, "a", "%61")
	case 3:
		bare = strings.ReplaceAll(bare, "/", `\`)
	}
	if query != "" {
		bare += "?" + query
	}
	return []string{"https://", "HTTPS:", `https:\\`, "https:////"}[rng.IntN(4)] + host + bare
}

// Every way to write one page meets the same entry, as a technician would see it
// (issue 5, item 6; REQUIREMENTS 4.9).
func TestEvasionsMeetTheEntry(t *testing.T) {
	bets := feedOf(t, "bets", blocklists.Public, policy.Gambling, "bets.example/odds/today\nxn--bcher-kva.example/spiele\n192.0.2.7/slots\n")
	bets.Format = blocklists.URLs
	secret := feedOf(t, "secret", blocklists.Mandatory, policy.ChildAbuse, "worst.example/pic/a.png\n")
	secret.Format = blocklists.URLs
	store := storeOf(t, bets, secret)
	for _, test := range []struct{ name, url, category string }{
		{"as listed", "http://bets.example/odds/today", "gambling"},
		{"below it", "http://bets.example/odds/today/3", "gambling"},
		{"not beside it", "http://bets.example/odds/todays", ""},
		{"nor above it", "http://bets.example/odds", ""},
		{"mixed case", "HTTP://Bets.EXAMPLE/odds/today", "gambling"},
		{"a dot at the end", "http://bets.example./odds/today", "gambling"},
		{"www", "http://www.bets.example/odds/today", "gambling"},
		{"a user", "http://bbc.co.uk@bets.example/odds/today", "gambling"},
		{"a user and a password", "http://a:b@c@bets.example/odds/today", "gambling"},
		{"a port", "http://bets.example:8080/odds/today", "gambling"},
		{"no scheme", "bets.example/odds/today", "gambling"},
		{"an escape", "http://bets.example/odds/%74oday", "gambling"},
		{"an escape in the host", "http://b%65ts.example/odds/today", "gambling"},
		{"an escape of an escape", "http://bets.example/odds/%2574oday", "gambling"},
		{"an escaped slash, as nginx and IIS read it", "http://bets.example/x%2f..%2fodds%2Ftoday", "gambling"},
		{"dot segments", "http://bets.example/x/../odds/./today", "gambling"},
		{"escaped dot segments", "http://bets.example/x/%2e%2E/odds/%2e/today", "gambling"},
		{"above the root", "http://bets.example/../../odds/today", "gambling"},
		{"backslashes", `http:\\bets.example\odds\today`, "gambling"},
		{"extra slashes", "http:////bets.example//odds///today", "gambling"},
		{"a query", "http://bets.example/odds/today?x=1", "gambling"},
		{"a fragment", "http://bets.example/odds/today#top", "gambling"},
		{"tabs and lines", "http://bets.exa\tmple/od\nds/today", "gambling"},
		{"letters as wide ones", "http://ｂｅｔｓ．example/odds/today", "gambling"},
		{"a dot of another script", "http://bets。example/odds/today", "gambling"},
		{"a name in its own letters", "http://bücher.example/spiele", "gambling"},
		{"the same decomposed", "http://bu\u0308cher.example/spiele", "gambling"},
		{"in capitals", "http://BÜCHER.example/spiele", "gambling"},
		{"as punycode", "http://XN--BCHER-KVA.example/spiele", "gambling"},
		{"an address", "http://192.0.2.7/slots", "gambling"},
		{"as one number", "http://3221225991/slots", "gambling"},
		{"in octal", "http://0300.0.02.07/slots", "gambling"},
		{"in hexadecimal", "http://0xc0.0x0.0x2.0x7/slots", "gambling"},
		{"as one hexadecimal", "http://0xC0000207/slots", "gambling"},
		{"short", "http://192.0.519/slots", "gambling"},
		{"as mapped IPv6", "http://[::ffff:192.0.2.7]/slots", "gambling"},
		{"the mandatory page", "https://worst.example/pic/a.png", "child_abuse"},
		{"written otherwise", `HTTPS:\\x@WORST.example.:443//pic/./%61.png?utm=1#x`, "child_abuse"},
		{"its sibling", "https://worst.example/pic/b.png", ""},
	} {
		u, err := policy.ParseURL(test.url)
		if err != nil {
			t.Errorf("%s: %v", test.name, err)
			continue
		}
		f := store.Classify(u.Host, u.Path)
		got := strings.Join(f.Categories.IDs(), " ")
		if f.Mandatory != policy.Uncategorised {
			got = f.Mandatory.String()
		}
		if got != test.category {
			t.Errorf("%s: %q is %q, want %q", test.name, test.url, got, test.category)
		}
		var said bytes.Buffer
		if err := supply.PrintLookup(&said, store, test.url); err != nil {
			t.Errorf("%s: %v", test.name, err)
		}
		if test.category != "" && !strings.Contains(said.String(), test.category) {
			t.Errorf("%s: lists lookup says %q, want %s", test.name, said.String(), test.category)
		}
		if test.category == "" && strings.Contains(said.String(), "a.png") { // a lookup must not tell what is listed nearby
			t.Errorf("%s: lists lookup tells an entry of a mandatory list: %q", test.name, said.String())
		}
		if test.category == "child_abuse" && strings.Contains(strings.SplitN(said.String(), "\n", 2)[1], "pic") {
			t.Errorf("%s: lists lookup tells the entry that matched: %q", test.name, said.String())
		}
	}
}

func feedOf(t *testing.T, name string, kind blocklists.Kind, c policy.Category, text string) blocklists.Feed {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return blocklists.Feed{Name: name, Path: path, Format: blocklists.Domains, Category: c, Kind: kind, Licence: "MIT", Weight: 1}
}

// storeOf builds and opens a store of a few feeds.
func storeOf(t *testing.T, feeds ...blocklists.Feed) *categories.Store {
	t.Helper()
	out := filepath.Join(t.TempDir(), "store.db")
	if _, err := supply.BuildLists(t.Context(), supply.ListsBuild{Feeds: feeds, Out: out, Key: testKey, Version: 1}); err != nil {
		t.Fatal(err)
	}
	store, err := categories.Open(out, testKey)
	if err != nil {
		t.Fatal(err)
	}
	return store
}
