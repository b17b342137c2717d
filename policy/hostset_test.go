package policy

import (
	"testing"
	"time"
)

func TestHostSetFind(t *testing.T) {
	ended := rule(t, 9, "ended.x.example", Allow)
	ended.Until = tuesday
	lasting := rule(t, 10, "lasting.x.example", Allow)
	lasting.Until = tuesday.Add(time.Nanosecond)
	exact := rule(t, 11, "exact.example", Allow)
	exact.Exact = true
	exactWWW := rule(t, 12, "www.only.example", Allow)
	exactWWW.Exact = true
	exactTie := rule(t, 13, "tie.example", Allow)
	exactTie.Exact = true
	set := NewHostSet(
		rule(t, 1, "x.example", Allow),
		rule(t, 2, "chat.x.example", Block),
		rule(t, 3, "x.example/a", Block),
		rule(t, 4, "x.example/a/b/", Allow),
		rule(t, 5, "x.example/watch?v=1", Warn),
		rule(t, 6, "twice.example", Allow), rule(t, 7, "twice.example", Block), rule(t, 8, "twice.example", Warn),
		ended, lasting, exact, exactWWW, exactTie,
		rule(t, 14, "tie.example", Block),
		rule(t, 15, "pages.example/a", Allow), rule(t, 16, "pages.example/b", Block),
		rule(t, 17, "https://slash.example/", Allow),
		rule(t, 18, "www.site.example", Allow),
		rule(t, 19, "www.part.example/a", Allow),
		rule(t, 20, "www.both.example", Allow), rule(t, 21, "both.example", Block),
		rule(t, 22, "www.low.high.example", Allow), rule(t, 23, "high.example", Block),
		rule(t, 24, "192.0.2.1", Allow), rule(t, 25, "2.1", Block),
	)
	for _, test := range []struct {
		promise, ask string
		want         int // line, 0 for none
	}{
		{"the host", "x.example", 1},
		{"below the host", "a.b.x.example", 1},
		{"a nearer host", "a.chat.x.example", 2},
		{"not a neighbour that ends alike", "ax.example", 0},
		{"not the parent", "example", 0},
		{"a page", "x.example/a", 3},
		{"below a page", "x.example/a/c", 3},
		{"a page and its query", "x.example/a?b", 3},
		{"not a page that begins alike", "x.example/ab", 1},
		{"a longer path", "x.example/a/b/c", 4},
		{"a path written with a slash, asked without", "x.example/a/b", 4},
		{"a page by its query", "x.example/watch?v=1", 5},
		{"a page by its query and more", "x.example/watch?v=1&t=2", 5},
		{"not a query that begins alike", "x.example/watch?v=12", 1},
		{"the strictest at a tie", "twice.example", 7},
		{"not a rule that has ended", "ended.x.example", 1},
		{"a rule that ends in a moment", "lasting.x.example", 10},
		{"exactly the host", "exact.example", 11},
		{"nothing below an exact host", "a.exact.example", 0},
		{"an exact www host has no bare one", "only.example", 0},
		{"the exact rule of two", "tie.example", 13},
		{"the other rule below", "a.tie.example", 14},
		{"the strictest page where no path is known", "pages.example", 16},
		{"pages only", "pages.example/c", 0},
		{"a front page is the whole host", "slash.example/a", 17},
		{"www", "www.site.example/a", 18},
		{"the bare name of www", "site.example/a", 18},
		{"nothing beside www", "other.site.example", 0},
		{"a page under www, on the bare name", "part.example/a", 19},
		{"only that page", "part.example/b", 0},
		{"a bare name with a rule of its own", "both.example", 21},
		{"www beside it", "www.both.example", 20},
		{"a bare name before its parent", "low.high.example", 22},
		{"an address", "192.0.2.1", 24},
		{"an address has no parents", "192.0.2.9", 0},
	} {
		u, err := ParseURL(test.ask)
		if err != nil {
			t.Fatal(err)
		}
		got := set.Find(u.Host, u.Path, tuesday)
		if (got == nil) != (test.want == 0) || got != nil && got.Rule.Line != test.want {
			t.Errorf("%s: Find(%s) = %+v, want line %d", test.promise, test.ask, got, test.want)
		}
	}
}

func TestHostSetOfNothing(t *testing.T) {
	var none *HostSet
	for _, s := range []*HostSet{none, {}, NewHostSet()} {
		if s.Find(host(t, "x.example"), "", tuesday) != nil || s.Len() != 0 {
			t.Errorf("%+v holds something", s)
		}
	}
	if NewHostSet(HostRule{Verdict: Allow}).Find(Host{}, "", tuesday) != nil {
		t.Error("no host at all is in a set")
	}
}
