package categories

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"schoolgate/policy"
)

// I3, F2
func TestMandatory(t *testing.T) {
	s := build(t,
		line{"iwf", "domain.test", policy.ChildAbuse, false},
		line{"iwf", "www.site.test", policy.Terrorism, false},
		line{"iwf", "share.test/pic/21/a.png", policy.ChildAbuse, false},
		line{"iwf", "share.test/thread.php?t=37&page=16", policy.Terrorism, false},
		line{"iwf", "www.share.test/d/3288/", policy.Terrorism, false},
		line{"iwf", "blog.blogspot.com/2020/x.html", policy.ChildAbuse, false},
		line{"iwf", "192.0.2.9", policy.ChildAbuse, false},
		line{"iwf", "192.0.2.8/x", policy.ChildAbuse, false},
		line{"curated", "domain.test", policy.Children, false},
	)
	const none, abuse, terror = policy.Uncategorised, policy.ChildAbuse, policy.Terrorism
	for _, test := range []struct {
		promise, url       string
		mandatory, unclear policy.Category
	}{
		{"a domain", "domain.test", abuse, none},
		{"and all below it", "a.b.domain.test", abuse, none},
		{"whatever the page", "domain.test/x", abuse, none},
		{"whole labels only", "subdomain.test", none, none},
		{"a www entry is the site", "site.test", terror, none},
		{"the host of a page is unsettled", "share.test", none, abuse},
		{"with www as well", "www.share.test", none, abuse},
		{"no other host below it", "cdn.share.test", none, none},
		{"the page", "share.test/pic/21/a.png", abuse, none},
		{"by every name of the site", "www.share.test/pic/21/a.png", abuse, none},
		{"and below", "cdn.share.test/pic/21/a.png", abuse, none},
		{"with a query added", "share.test/pic/21/a.png?x=1", abuse, none},
		{"with a slash added", "share.test/pic/21/a.png/", abuse, none},
		{"not its neighbour", "share.test/pic/21/b.png", none, none},
		{"not what is above it", "share.test/pic/21", none, none},
		{"what a server answers with it, too", "share.test/pic/21/a.png/more?x=1", abuse, none},
		{"whole segments of it only", "share.test/pic/21/a.pngx", none, none},
		{"not the start page", "share.test/", none, none},
		{"a page known by its query", "share.test/thread.php?t=37&page=16", terror, none},
		{"not without it", "share.test/thread.php", none, none},
		{"not with another", "share.test/thread.php?t=38&page=16", none, none},
		{"with its parameters in another order", "share.test/thread.php?page=16&t=37", terror, none},
		{"with others before, between and behind", "share.test/thread.php?a&t=37&b=2&page=16&utm_source=z", terror, none},
		{"with a slash before the query", "share.test/thread.php/?t=37&page=16", terror, none},
		{"in other case", "share.test/THREAD.php?T=37&Page=16", terror, none},
		{"not with one of two parameters", "share.test/thread.php?t=37", none, none},
		{"a page in other case", "share.test/Pic/21/A.PNG", abuse, none},
		{"a page with a parameter behind a semicolon", "share.test/pic/21/a.png;jsessionid=1", abuse, none},
		{"dots behind one", "share.test/x/..;/pic/21/a.png", abuse, none},
		{"a segment with one", "share.test/pic;x=1/21;y/a.png", abuse, none},
		{"a tree", "share.test/d/3288/", terror, none},
		{"without its slash", "share.test/d/3288", terror, none},
		{"and all in it", "share.test/d/3288/a/b/c?d", terror, none},
		{"whole segments only", "share.test/d/32889", none, none},
		{"a mirror is its site", "blog.blogspot.co.uk/2020/x.html", abuse, none},
		{"and its host as unsettled", "blog.blogspot.de", none, abuse},
		{"an address", "192.0.2.9", abuse, none},
		{"a page on an address", "192.0.2.8/x", abuse, none},
		{"no other page there", "192.0.2.8/y", none, none},
	} {
		h, path := splitEntry(t, test.url)
		got := s.Classify(h, path)
		if got.Mandatory != test.mandatory || got.MandatoryPaths != test.unclear {
			t.Errorf("%s: Classify(%s) = %q, pages %q; want %q, %q", test.promise, test.url,
				got.Mandatory, got.MandatoryPaths, test.mandatory, test.unclear)
		}
		for _, m := range s.Lookup(h, path) {
			if m.Mandatory && (m.Host != "" || m.Path != "" || m.Sources != nil || strings.Contains(m.String(), "test")) {
				t.Errorf("Lookup(%s) prints %v, want no entry of a mandatory list", test.url, m)
			}
		}
	}
	if got := s.Info().Mandatory; got[abuse] != 5 || got[terror] != 3 {
		t.Errorf("Info().Mandatory = %v, want 5 and 3", got)
	}
}

func TestMandatoryEntriesAreNotInTheFile(t *testing.T) {
	b, ids := create(t)
	var hosts []string
	for i := range 200 {
		name := fmt.Sprintf("secret-name-%d.test", i)
		hosts = append(hosts, name)
		path := ""
		if i%2 == 0 {
			path = fmt.Sprintf("/hidden-page-%d/", i)
		}
		if err := b.Add(ids["iwf"], Entry{Host: host(t, name), Path: path, Category: policy.ChildAbuse}); err != nil {
			t.Fatal(err)
		}
	}
	s := finish(t, b)
	text, err := os.ReadFile(b.path)
	if err != nil {
		t.Fatal(err)
	}
	for _, word := range []string{"secret-name", "eman-terces", "hidden-page", string(testKey)} {
		if bytes.Contains(text, []byte(word)) {
			t.Errorf("the store file holds %q in clear", word)
		}
	}
	if bytes.Contains(text, appendKey(nil, host(t, hosts[1]))) {
		t.Errorf("the store file holds %q in clear, reversed", hosts[1])
	}
	for i, name := range hosts {
		f := s.Classify(host(t, name), "")
		if i%2 == 0 && f.MandatoryPaths == 0 || i%2 == 1 && f.Mandatory == 0 {
			t.Errorf("Classify(%s) = %v, want it on a mandatory list", name, f)
		}
	}
}

func TestMandatoryStoreNeedsItsKey(t *testing.T) {
	b, ids := create(t)
	if err := b.Add(ids["iwf"], Entry{Host: host(t, "domain.test"), Category: policy.ChildAbuse}); err != nil {
		t.Fatal(err)
	}
	finish(t, b)
	for name, key := range map[string][]byte{
		"no key": nil, "another key": bytes.Repeat([]byte{1}, KeySize), "half a key": testKey[:16],
	} {
		if s, err := Open(b.path, key); !errors.Is(err, ErrKey) || s != nil {
			t.Errorf("Open with %s = %v, want ErrKey", name, err)
		}
	}
	if _, err := Create(b.path+"2", BuildOptions{Key: testKey[:16]}); err == nil {
		t.Error("Create with half a key = nil, want an error")
	}
	keyless, err := Create(b.path+"3", BuildOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer keyless.Abort()
	id := keyless.Source(Source{Name: "iwf", Mandatory: true})
	err = keyless.Add(id, Entry{Host: host(t, "domain.test"), Category: policy.ChildAbuse})
	if err == nil || strings.Contains(err.Error(), "domain.test") {
		t.Errorf("Add without a key = %v, want an error without the entry", err)
	}
	if _, refused := err.(Refused); refused {
		t.Errorf("Add without a key = %v: a mandatory entry must not be passed over", err)
	}
}

func TestLoadOrCreateKey(t *testing.T) {
	path := filepath.Join(t.TempDir(), "keys", "mandatory.key")
	made, err := LoadOrCreateKey(path)
	if err != nil {
		t.Fatal(err)
	}
	again, err := LoadOrCreateKey(path)
	if err != nil || !bytes.Equal(made, again) || len(made) != KeySize {
		t.Errorf("LoadOrCreateKey again = %d bytes, %v; want the key it made", len(again), err)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("key file: %v, %v; want 0600", info.Mode(), err)
	}
	if err := os.WriteFile(path, made[:5], 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := LoadOrCreateKey(path); err == nil {
		t.Error("LoadOrCreateKey of a torn file = nil, want an error: a new key would lose the lists")
	}
}
