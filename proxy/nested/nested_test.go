package nested

import (
	"encoding/base64"
	"net/url"
	"testing"

	"schoolgate/policy"
)

// TestNested: what a fetching service is asked for counts as visited (Y13).
func TestNested(t *testing.T) {
	b64 := base64.RawURLEncoding.EncodeToString([]byte("https://bad.example/x"))
	twice := url.QueryEscape(url.QueryEscape("http://bad.example/x"))
	for _, c := range []struct{ name, address, want string }{
		{"translated, as a label", "https://bad-example.translate.goog/x?_x_tr_sl=en", "bad.example/x?_x_tr_sl=en"},
		{"a label with hyphens", "https://very--bad-example.translate.goog/", "very-bad.example/"},
		{"a label with sub-domains", "https://www-bad-example.translate.goog/", "www.bad.example/"},
		{"an international label", "https://0-xn----mnchen--3ya-example-0.translate.goog/", "xn--mnchen-3ya.example/"},
		{"translated, by parameter", "https://translate.google.com/translate?sl=en&u=http://bad.example/x", "bad.example/x"},
		{"the same, escaped", "https://translate.google.com/translate?u=http%3A%2F%2Fbad.example%2Fx", "bad.example/x"},
		{"the same, escaped twice", "https://translate.google.com/translate?u=" + twice, "bad.example/x"},
		{"the same, without a scheme", "https://translate.google.com/translate?u=bad.example/x", "bad.example/x"},
		{"the same, with a name in capitals", "https://translate.google.com/translate?U=HTTP://BAD.EXAMPLE/x", "bad.example/x"},
		{"another translator", "https://www.translatetheweb.com/?from=&to=en&a=https://bad.example/x", "bad.example/x"},
		{"the archive", "https://web.archive.org/web/20200101000000/http://bad.example/x", "bad.example/x"},
		{"the archive, one slash", "https://web.archive.org/web/2020/http:/bad.example/x", "bad.example/x"},
		{"the archive, its picture form", "https://web.archive.org/web/2020im_/https://bad.example/x", "bad.example/x"},
		{"the archive, without a scheme", "https://web.archive.org/web/2020/bad.example/x", "bad.example/x"},
		{"the archive, escaped", "https://web.archive.org/web/2020/http%3A%2F%2Fbad.example/x", "bad.example/x"},
		{"another archive", "https://archive.ph/https://bad.example/x", "bad.example/x"},
		{"another archive, newest", "https://archive.ph/newest/https://bad.example/x", "bad.example/x"},
		{"Google's cache", "https://webcache.googleusercontent.com/search?q=cache:bad.example/x+words", "bad.example/x+words"},
		{"Bing's cache", "https://cc.bingj.com/cache.aspx?q=x&u=http://bad.example/x", "bad.example/x"},
		{"a picture in a search", "https://www.google.com/imgres?imgurl=https://bad.example/x.jpg", "bad.example/x.jpg"},
		{"AMP at Google", "https://www.google.com/amp/s/bad.example/x", "bad.example/x"},
		{"AMP's own host", "https://bad-example.cdn.ampproject.org/c/s/bad.example/x", "bad.example/c/s/bad.example/x bad.example/x"},
		{"a document viewer", "https://docs.google.com/gview?url=https://bad.example/x.pdf", "bad.example/x.pdf"},
		{"another viewer", "https://view.officeapps.live.com/op/view.aspx?src=https://bad.example/x.doc", "bad.example/x.doc"},
		{"a picture service", "https://images.weserv.nl/?url=bad.example/x.jpg", "bad.example/x.jpg"},
		{"another picture service", "https://i0.wp.com/bad.example/x.jpg", "bad.example/x.jpg"},
		{"a search engine's pictures", "https://external-content.duckduckgo.com/iu/?u=https%3A%2F%2Fbad.example%2Fx", "bad.example/x"},
		{"a reader", "https://r.jina.ai/https://bad.example/x", "bad.example/x"},
		{"a web proxy, plainly", "https://anything.test/browse/https://bad.example/x", "bad.example/x"},
		{"a web proxy, in base64", "https://anything.test/go/" + b64, "bad.example/x"},
		{"a web proxy, escaped", "https://anything.test/service/https%3A%2F%2Fbad.example%2Fx", "bad.example/x"},
		{"an unknown site, by parameter", "https://anything.test/?go=https://bad.example/x&a=b", "bad.example/x"},
		{"an unknown site, in base64", "https://anything.test/?go=" + b64, "bad.example/x"},
		{"an unknown site, without a name for it", "https://anything.test/browse?https://bad.example/x?a=b", "bad.example/x?a=b"},
		{"the same, escaped", "https://anything.test/browse?https%3A%2F%2Fbad.example%2Fx", "bad.example/x"},
		{"the same, in base64", "https://anything.test/browse?" + b64, "bad.example/x"},
		{"an address as a number", "https://anything.test/http://3232235777/", "192.168.1.1/"},

		{"nothing", "https://anything.test/a/b?c=d", ""},
		{"a word with a dot", "https://anything.test/?file=a.txt", ""},
		{"itself", "https://anything.test/?back=https://anything.test/x", ""},
		{"noise", "https://anything.test/http://%00/?u=https://[", ""},
	} {
		u, err := policy.ParseURL(c.address)
		if err != nil {
			t.Fatal(err)
		}
		got := ""
		for i, n := range Addresses(u.Host, u.Path, true) {
			if i > 0 {
				got += " "
			}
			got += n.String()
		}
		if got != c.want {
			t.Errorf("%s: Addresses(%s) = %q, want %q", c.name, c.address, got, c.want)
		}
	}
	known, err := policy.ParseURL("https://news.test/share?url=https://bad.example/x")
	if err != nil {
		t.Fatal(err)
	}
	if got := Addresses(known.Host, known.Path, false); got != nil {
		t.Errorf("a parameter of a known site that fetches nothing: %v", got)
	}
}

func FuzzNested(f *testing.F) {
	f.Add("translate.google.com", "/translate?u=http://bad.example/x")
	f.Add("0-a-0.translate.goog", "/http://%00/aHR0cHM6Ly9i")
	f.Fuzz(func(t *testing.T, name, path string) {
		h, err := policy.ParseHost(name)
		if err != nil || len(path) > policy.MaxURL {
			return
		}
		list := Addresses(h, policy.ParseRequestPath(path), true)
		if len(list) > Max {
			t.Errorf("%d addresses", len(list))
		}
		for _, u := range list {
			if u.Host.IsZero() || u.Host == h || u.Path == "" {
				t.Errorf("Addresses(%q, %q) = %+v", name, path, u)
			}
		}
	})
}
