package categories

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"schoolgate/policy"
)

func TestClassify(t *testing.T) {
	s := build(t,
		line{"public", "poker.example", policy.Gambling, false},
		line{"public", "www.casino.example", policy.Gambling, false},
		line{"public", "x.co", policy.Malware, false},
		line{"public", "only.example", policy.Drugs, true},
		line{"public", "www.exact.example", policy.Drugs, true},
		line{"public", "site.blogspot.de", policy.Pornography, false},
		line{"public", "192.0.2.7", policy.VPNProxy, false},
		line{"public", "2001:db8::7", policy.VPNProxy, false},
		line{"public", "evil.github.io", policy.Phishing, false},
		line{"public", "pages.example/bad/page", policy.Drugs, false},
		line{"public", "pages.example/tree/", policy.Weapons, false},
		line{"public", "pages.example/view?id=7", policy.Violence, false},
		line{"public", "192.0.2.8/~user", policy.Hacking, false},
		line{"weak", "doubtful.example", policy.Drugs, false},
		line{"weak", "both.example", policy.Drugs, false},
		line{"feeble", "both.example", policy.Drugs, false},
		line{"public", "famous.example", policy.Drugs, false},
		line{"clean", "famous.example", policy.Uncategorised, false},
		line{"public", "copied.example", policy.Drugs, false},
		line{"copy", "copied.example", policy.Drugs, false},
		line{"clean", "copied.example", policy.Uncategorised, false},
		line{"public", "notorious.example", policy.Drugs, false},
		line{"second", "notorious.example", policy.Drugs, false},
		line{"clean", "notorious.example", policy.Uncategorised, false},
		line{"public", "video.example", policy.Piracy, false},
		line{"curated", "video.example", policy.Streaming, false},
		line{"public", "m.video.example", policy.Piracy, false},
		line{"second", "m.video.example", policy.Piracy, false},
		line{"public", "bad.video.example", policy.Malware, false},
		line{"public", "worse.video.example", policy.Malware, false},
		line{"second", "worse.video.example", policy.Malware, false},
		line{"public", "video.example/gore", policy.Violence, false},
		line{"curated", "video.example/class", policy.Education, false},
		line{"curated", "kids.video.example", policy.Children, false},
		line{"curated", "blogs.example", policy.WebHosting, false},
		line{"public", "rude.blogs.example", policy.Pornography, false},
		line{"curated", "cleared.example", policy.Uncategorised, false},
		line{"public", "cleared.example", policy.Gambling, false},
		line{"additive", "more.example", policy.Chat, false},
		line{"public", "more.example", policy.Gaming, false},
		line{"curated", "github.io", policy.WebHosting, false},
		line{"public", "crowd.example", policy.Pornography, false},
		line{"clean", "a.crowd.example", policy.Uncategorised, false},
		line{"clean", "b.crowd.example", policy.Uncategorised, false},
		line{"clean", "c.crowd.example", policy.Uncategorised, false},
	)
	for _, test := range []struct{ promise, url, want string }{
		{"a listed name", "poker.example", "gambling"},
		{"and all below it", "a.b.poker.example", "gambling"},
		{"whole labels only", "xpoker.example", ""},
		{"not what is above it", "example.example", ""},
		{"a short name is no tail of a longer one", "ax.co", ""},
		{"www counts for the site", "casino.example", "gambling"},
		{"and for all of it", "m.casino.example", "gambling"},
		{"an exact entry", "only.example", "drugs"},
		{"has nothing below it", "www.only.example", ""},
		{"an exact www is the very name", "www.exact.example", "drugs"},
		{"and no other", "exact.example", ""},
		{"a mirror is its site", "site.blogspot.com", "pornography"},
		{"under every country", "site.blogspot.co.uk", "pornography"},
		{"and two-label country", "a.site.blogspot.com.au", "pornography"},
		{"no other site of the service", "other.blogspot.com", ""},
		{"a mirror's name elsewhere is no mirror", "site.blogspot.example.org", ""},
		{"an address", "192.0.2.7", "vpn_proxy"},
		{"no neighbour of it", "192.0.2.77", ""},
		{"an IPv6 address", "[2001:db8::7]", "vpn_proxy"},
		{"a page", "pages.example/bad/page", "drugs"},
		{"with a query", "pages.example/bad/page?x=1", "drugs"},
		{"and what is below it", "sub.pages.example/bad/page/more", "drugs"},
		{"whole segments only", "pages.example/bad/pages", ""},
		{"not its host", "pages.example", ""},
		{"a tree", "pages.example/tree/x/y", "weapons"},
		{"a page with a query", "pages.example/view?id=7&lang=en", "violence"},
		{"whole parameters only", "pages.example/view?id=77", ""},
		{"a page on an address", "192.0.2.8/~user/x", "hacking"},
		{"a weak source alone does not count", "doubtful.example", ""},
		{"two weak ones do", "both.example", "drugs"},
		{"a clean record outweighs one source", "famous.example", ""},
		{"a copy of a list is no second source", "copied.example", ""},
		{"two sources outweigh a clean record", "notorious.example", "drugs"},
		{"curated replaces public", "video.example", "streaming"},
		{"and below it", "eu.video.example", "streaming"},
		{"the mobile site is the site", "m.video.example", "streaming"},
		{"one source below a curated name is not heard", "bad.video.example", "streaming"},
		{"two are, and add", "worse.video.example", "malware streaming"},
		{"one source is heard on a page", "video.example/gore/1", "streaming violence"},
		{"a curated page says otherwise", "video.example/class/1", "education"},
		{"a nearer curated entry says otherwise", "kids.video.example", "children"},
		{"on a host of many users one source is heard", "rude.blogs.example", "pornography web_hosting"},
		{"curated as nothing", "cleared.example", ""},
		{"an additive source adds", "more.example", "gaming chat"},
		{"a shared suffix by a curated source", "someone.github.io", "web_hosting"},
		{"with sites judged by themselves", "evil.github.io", "phishing web_hosting"},
		{"one source does not condemn a crowd", "x.crowd.example", ""},
	} {
		h, path := splitEntry(t, test.url)
		got := strings.Join(s.Classify(h, path).Categories.IDs(), " ")
		if !sameWords(got, test.want) {
			t.Errorf("%s: Classify(%s) = %q, want %q\n%v", test.promise, test.url, got, test.want, s.Lookup(h, path))
		}
		if counted := strings.Join(countedIDs(s.Lookup(h, path)), " "); !sameWords(counted, test.want) {
			t.Errorf("%s: Lookup(%s) counts %q, want %q\n%v", test.promise, test.url, counted, test.want, s.Lookup(h, path))
		}
	}
}

func sameWords(a, b string) bool {
	x, y := strings.Fields(a), strings.Fields(b)
	slices.Sort(x)
	slices.Sort(y)
	return slices.Equal(x, y)
}

func countedIDs(matches []Match) []string {
	var set policy.CategorySet
	for _, m := range matches {
		if m.Counted && !m.Mandatory {
			set = set.With(m.Category)
		}
	}
	return set.IDs()
}

// I3: only hosts that the lists name pages of are worth inspecting.
func TestPathsMarkTheHostThatIsListed(t *testing.T) {
	s := build(t, line{"public", "pages.example/bad", policy.Drugs, false})
	for name, want := range map[string]bool{
		"pages.example": true, "www.pages.example": true, "cdn.pages.example": false, "example.test": false,
	} {
		if got := s.Classify(host(t, name), "").Paths; got != want {
			t.Errorf("Classify(%s).Paths = %v, want %v", name, got, want)
		}
	}
}

func TestRefused(t *testing.T) {
	b, ids := create(t)
	for _, test := range []struct {
		source, entry string
		category      policy.Category
		want          string
	}{
		{"public", "porn", policy.Pornography, ""}, // a registry for that and nothing else
		{"public", "porn", policy.Gambling, ReasonTLD},
		{"public", "com", policy.Pornography, ReasonTLD},
		{"curated", "dating", policy.Dating, ReasonTLD},
		{"public", "gov.uk", policy.Government, ReasonRestricted},
		{"curated", "gov.uk", policy.Government, ""},
		{"public", "co.uk", policy.Pornography, ReasonPublicSuffix},
		{"curated", "co.uk", policy.Pornography, ReasonPublicSuffix},
		{"public", "blogspot.com", policy.Pornography, ReasonSharedSuffix},
		{"public", "blogspot.de", policy.Pornography, ReasonSharedSuffix},
		{"public", "www.blogspot.fr", policy.Pornography, ""},
		{"public", "github.io", policy.Phishing, ReasonSharedSuffix},
		{"curated", "github.io", policy.WebHosting, ""},
		{"second", "github.io", policy.Phishing, ReasonSharedSuffix},
		{"public", "clinic.nhs.uk", policy.Gambling, ReasonRestricted},
		{"public", "www.gov.uk", policy.Phishing, ReasonRestricted},
		{"public", "hill.leeds.sch.uk", policy.Pornography, ReasonRestricted},
		{"public", "uni.ac.uk", policy.Education, ""},
		{"curated", "force.police.uk", policy.Fraud, ""},
		{"clean", "clinic.nhs.uk", policy.Uncategorised, ""},
		{"public", "some.example", policy.Uncategorised, ReasonNoCategory},
		{"iwf", "some.example", policy.Drugs, ReasonMandatory},
		{"iwf", "github.io", policy.ChildAbuse, ReasonSharedSuffix},
		{"iwf", "page.gov.uk/x", policy.ChildAbuse, ""},
		{"public", "long.example/" + strings.Repeat("x", MaxPath), policy.Drugs, ReasonLongPath},
	} {
		h, path := splitEntry(t, test.entry)
		got := ""
		if err := b.Add(ids[test.source], Entry{Host: h, Path: path, Category: test.category}); err != nil {
			refused, ok := err.(Refused)
			if !ok {
				t.Fatalf("Add(%s, %s) = %v, want a Refused", test.source, test.entry, err)
			}
			got = refused.Reason
		}
		if got != test.want {
			t.Errorf("Add(%s, %.40s) = %q, want %q", test.source, test.entry, got, test.want)
		}
	}
}

func TestReportCounts(t *testing.T) {
	b, ids := create(t)
	for _, name := range []string{"a.example", "www.a.example", "x.blogspot.de", "x.blogspot.com", "x.blogspot.fr", "co.uk"} {
		err := b.Add(ids["public"], Entry{Host: host(t, name), Category: policy.Gambling})
		if _, refused := err.(Refused); err != nil && !refused {
			t.Fatal(err)
		}
	}
	for source, c := range map[string]policy.Category{"clean": 0, "weak": policy.Drugs} {
		if err := b.Add(ids[source], Entry{Host: host(t, "famous.example"), Category: c}); err != nil {
			t.Fatal(err)
		}
	}
	r, err := b.Finish(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	public := r.Sources[ids["public"]]
	want := SourceInfo{Source: Source{Name: "public"}, Entries: 2, Duplicates: 3, Folded: 2, Refused: map[string]int{ReasonPublicSuffix: 1},
		Categories: map[policy.Category]int{policy.Gambling: 2}}
	if diff := cmp.Diff(want, public); diff != "" {
		t.Errorf("Finish: source (-want +got):\n%s", diff)
	}
	if r.Names != 3 || r.Indexed != 3 || r.Categories[policy.Gambling] != 2 || r.Version != 7 {
		t.Errorf("Finish = %d names, %d indexed, %d gambling, version %d; want 3, 3, 2, 7", r.Names, r.Indexed, r.Categories[policy.Gambling], r.Version)
	}
	s, err := Open(b.path, testKey)
	if err != nil {
		t.Fatal(err)
	}
	defer s.release()
	if diff := cmp.Diff(r.Info, s.Info()); diff != "" {
		t.Errorf("Info (-built +opened):\n%s", diff)
	}
	if r.SuspectCount != 1 || r.Suspects[0].Host != "famous.example" {
		t.Errorf("Finish: suspects %v, want famous.example", r.Suspects)
	}
}

// TestSimulation holds the store against a plain map of names.
func TestSimulation(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 5))
	labels := []string{"a", "b", "ab", "ba", "www", "m", "aaaaaaaaaaaaaaaaa", "x-y", "blogspot", "zz_z"}
	tops := []string{"com", "co.uk", "example", "de", "github.io"}
	name := func() string {
		parts := []string{tops[rng.IntN(len(tops))]}
		for range 1 + rng.IntN(4) {
			parts = append([]string{labels[rng.IntN(len(labels))]}, parts...)
		}
		return strings.Join(parts, ".")
	}
	model := map[string]policy.CategorySet{}
	b, ids := create(t)
	for range 600 {
		n, c := name(), policy.Category(1+rng.IntN(60))
		if c.Mandatory() {
			continue
		}
		err := b.Add(ids["public"], Entry{Host: host(t, n), Category: c})
		if _, refused := err.(Refused); refused {
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		n = modelName(canonical(host(t, n), false).String())
		model[n] = model[n].With(c)
	}
	s := finish(t, b)
	for range 4000 {
		n := name()
		var want policy.CategorySet
		for rest := modelName(n); rest != ""; _, rest, _ = strings.Cut(rest, ".") {
			want = want.Union(model[rest])
		}
		if got := s.Classify(host(t, n), "").Categories; got != want {
			t.Fatalf("Classify(%s) = %v, want %v", n, got.IDs(), want.IDs())
		}
	}
}

// modelName folds mirrors the plain way.
func modelName(n string) string {
	parts := strings.Split(n, ".")
	for _, tail := range []int{2, 3} {
		i := len(parts) - tail
		if i < 0 || parts[i] != "blogspot" || len(parts[len(parts)-1]) != 2 {
			continue
		}
		if tail == 2 || parts[i+1] == "co" || parts[i+1] == "com" {
			return strings.Join(append(parts[:i:i], "blogspot", "com"), ".")
		}
	}
	return n
}

// TestLookupExplainsClassify: whatever the evidence, what Lookup counts is what
// Classify answers, though one reads names and the other hashes.
func TestLookupExplainsClassify(t *testing.T) {
	rng := rand.New(rand.NewPCG(8, 13))
	labels := []string{"a", "b", "c", "m", "www"}
	paths := []string{"", "", "", "/p", "/p/q", "/p?x=1", "/p?x=1&y=2", "/r/"}
	name := func(depth int) string {
		n := "site.example"
		for range rng.IntN(depth) {
			n = labels[rng.IntN(len(labels))] + "." + n
		}
		return n
	}
	for round := range 30 {
		var lines []line
		for range 40 {
			src := testSources[rng.IntN(len(testSources))]
			c := []policy.Category{policy.Gambling, policy.WebHosting, policy.Drugs, policy.News, policy.Pornography}[rng.IntN(5)]
			if src.Mandatory {
				c = policy.ChildAbuse
			}
			lines = append(lines, line{src.Name, name(4) + paths[rng.IntN(len(paths))], c, rng.IntN(4) == 0})
		}
		s := build(t, lines...)
		for range 200 {
			h, path := host(t, name(5)), paths[rng.IntN(len(paths))]
			got, want := s.Classify(h, path).Categories.IDs(), countedIDs(s.Lookup(h, path))
			if !slices.Equal(got, want) {
				t.Fatalf("round %d: Classify(%s%s) = %v, Lookup counts %v:\n%s", round, h, path, got, want, explain(s.Lookup(h, path)))
			}
		}
	}
}

func explain(matches []Match) string {
	var b strings.Builder
	for _, m := range matches {
		fmt.Fprintf(&b, "  %v %v\n", m.Counted, m)
	}
	return b.String()
}

func TestClassifyAllocatesNothing(t *testing.T) {
	s := build(t,
		line{"public", "poker.example", policy.Gambling, false},
		line{"public", "pages.example/a", policy.Drugs, false},
		line{"iwf", "hidden.example", policy.ChildAbuse, false},
		line{"iwf", "share.example/x", policy.ChildAbuse, false},
	)
	for _, url := range []string{"free.example", "a.b.c.free.example/path?x", "x.blogspot.co.uk", "a.poker.example", "pages.example/a/b", "192.0.2.1"} {
		h, path := splitEntry(t, url)
		if n := testing.AllocsPerRun(100, func() { s.Classify(h, path) }); n != 0 {
			t.Errorf("Classify(%s): %v allocations, want none", url, n)
		}
	}
}

// A clash of hashes must not block: the name decides.
func TestNameConfirmsTheHash(t *testing.T) {
	s := build(t, line{"public", "poker.example", policy.Gambling, false})
	innocent := host(t, "innocent.example")
	table := slices.Clone(s.index.slots)
	w := &indexWriter{index: newIndex(s.index.seed, table)}
	if err := w.add(s.index.seed.hashKey(appendKey(nil, innocent)), 1); err != nil {
		t.Fatal(err)
	}
	s.index = w.index
	if got := s.Classify(innocent, ""); !got.Categories.Empty() || got.Unreadable {
		t.Errorf("Classify(innocent.example) with a false hit in the index = %v, want nothing", got)
	}
	if got := s.Classify(host(t, "poker.example"), ""); got.Categories.Empty() {
		t.Errorf("Classify(poker.example) = %v, want gambling", got)
	}
}
