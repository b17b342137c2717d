package categories

import (
	"path/filepath"
	"testing"

	"schoolgate/policy"
)

func TestSmoke(t *testing.T) {
	b, err := Create(filepath.Join(t.TempDir(), "a.db"), BuildOptions{Version: 3, Key: make([]byte, 32)})
	if err != nil {
		t.Fatal(err)
	}
	id := b.Source(Source{Name: "x"})
	h := func(s string) policy.Host {
		h, err := policy.ParseHost(s)
		if err != nil {
			t.Fatal(err)
		}
		return h
	}
	for _, n := range []string{"poker.example", "www.casino.test", "x.blogspot.de"} {
		if err := b.Add(id, Entry{Host: h(n), Category: policy.Gambling}); err != nil {
			t.Fatal(err)
		}
	}
	b.Add(id, Entry{Host: h("pages.example"), Path: "/a/b", Category: policy.Drugs})
	b.Add(id, Entry{Host: h("bad.test"), Category: policy.ChildAbuse})
	b.Add(id, Entry{Host: h("share.test"), Path: "/x.png", Category: policy.ChildAbuse})
	r, err := b.Finish(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%+v", r)
	s, err := Open(filepath.Join(filepath.Dir(b.path), "a.db"), make([]byte, 32))
	if err != nil {
		t.Fatal(err)
	}
	for _, q := range [][2]string{{"a.poker.example", ""}, {"poker.example", ""}, {"xpoker.example", ""}, {"casino.test", ""}, {"q.x.blogspot.co.uk", ""}, {"pages.example", ""}, {"pages.example", "/a/b/c"}, {"pages.example", "/a/bc"}, {"z.bad.test", ""}, {"share.test", ""}, {"www.share.test", "/x.png?a"}, {"share.test", "/y"}} {
		f := s.Classify(h(q[0]), q[1])
		t.Log(q, f, s.Lookup(h(q[0]), q[1]))
	}
}
