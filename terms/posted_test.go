package terms

import (
	"bytes"
	"compress/gzip"
	"strings"
	"testing"

	"schoolgate/policy"
)

const form = "application/x-www-form-urlencoded"

func TestPosted(t *testing.T) {
	packed := &bytes.Buffer{}
	z := gzip.NewWriter(packed)
	z.Write([]byte(`{"context":{"a":[1,{"query":"no"}]},"query":"how to draw"}`))
	z.Close()
	for _, c := range []struct{ name, address, mediaType, encoding, body, want string }{
		{"Startpage", "https://www.startpage.com/sp/search", form, "", "query=how+to+draw&cat=web", "how to draw"},
		{"Google's form", "https://www.google.co.uk/search", form, "", "q=how%20to%20draw", "how to draw"},
		{"a name in capitals and escaped", "https://www.bing.com/search", form, "", "%51=how+to+draw", "how to draw"},
		{"DuckDuckGo without scripts", "https://html.duckduckgo.com/html/", form, "", "q=how+to+draw&b=", "how to draw"},
		{"YouTube", "https://www.youtube.com/youtubei/v1/search?prettyPrint=false", "application/json", "", `{"context":{"query":"no"},"query":" how to draw ","params":""}`, "how to draw"},
		{"YouTube's apps", "https://youtubei.googleapis.com/youtubei/v1/search", "application/json", "", `{"query":"how to draw"}`, "how to draw"},
		{"YouTube, packed", "https://www.youtube.com/youtubei/v1/search", "application/json", "gzip", packed.String(), "how to draw"},
		{"YouTube, packed and cut off", "https://www.youtube.com/youtubei/v1/search", "application/json", "gzip", packed.String()[:packed.Len()-9], "how to draw"},
		{"YouTube, cut off behind the words", "https://www.youtube.com/youtubei/v1/search", "application/json", "", `{"query":"how to draw","context":{"a":`, "how to draw"},
		{"more of a page already open", "https://www.youtube.com/youtubei/v1/search", "application/json", "", `{"context":{},"continuation":"x"}`, ""},
		{"no text", "https://www.youtube.com/youtubei/v1/search", "application/json", "", `{"query":{"a":1}}`, ""},
		{"no object", "https://www.youtube.com/youtubei/v1/search", "application/json", "", `["query","x"]`, ""},
		{"a coding nobody reads", "https://www.youtube.com/youtubei/v1/search", "application/json", "br", `{"query":"x"}`, ""},
		{"not packed at all", "https://www.youtube.com/youtubei/v1/search", "application/json", "gzip", `{"query":"x"}`, ""},
		{"another form of an engine", "https://www.google.com/preferences", form, "", "q=x", ""},
		{"suggestions", "https://www.startpage.com/osuggestions", form, "", "query=ho", ""},
		{"any other site", "https://school.example/search", form, "", "q=x", ""}, // privacy 4
	} {
		u, err := policy.ParseURL(c.address)
		if err != nil {
			t.Fatal(err)
		}
		_, words, ok := Posted(u.Host, u.Path, c.mediaType, c.encoding, []byte(c.body))
		if words != c.want || ok != (c.want != "") {
			t.Errorf("%s: %q, %v, want %q", c.name, words, ok, c.want)
		}
		if ok && !Posts(u.Host, u.Path) {
			t.Errorf("%s: nobody would look", c.name)
		}
	}
}

// A body of any kind is read within its bounds and never panics.
func FuzzPosted(f *testing.F) {
	f.Add([]byte(`{"context":{"a":[]},"query":"x"}`), false)
	f.Add([]byte("q=a+b&q=%zz"), false)
	f.Add([]byte("\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff"), true)
	youtube, err := policy.ParseHost("www.youtube.com")
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, body []byte, packed bool) {
		encoding := ""
		if packed {
			encoding = "gzip"
		}
		for _, path := range []string{youtubeSearch, "/results"} {
			_, words, ok := Posted(youtube, path, form, encoding, body)
			if ok != (words != "") || !packed && len(words) > 3*len(body) || strings.TrimSpace(words) != words && path == youtubeSearch {
				t.Errorf("Posted(%q) = %q, %v", body, words, ok)
			}
		}
	})
}
