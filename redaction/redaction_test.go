package redaction

import (
	"strings"
	"testing"

	"schoolgate/policy"
)

// listedSite is a list with one host and one page on it.
type listedSite struct{}

func (listedSite) Classify(h policy.Host, path string) (f policy.Facts) {
	if site, _ := policy.ParseHost("closed.example"); h.Within(site) {
		f.Mandatory = policy.ChildAbuse
	}
	if h.String() == "album.example" && strings.HasPrefix(path, "/3") {
		f.Mandatory = policy.ChildAbuse
	}
	return f
}

// An address of a mandatory list is taken out of what somebody typed, however it is
// written; all else stays as it was.
func TestText(t *testing.T) { // F7, privacy 8
	for text, want := range map[string]string{
		"":                                    "",
		"romeo and juliet. the end":           "romeo and juliet. the end",
		"closed.example":                      "(sealed)",
		"what is  closed.example/a?b=c about": "what is  (sealed) about",
		"he saw http://www.closed.example/x, \nand told me": "he saw (sealed) \nand told me",
		"(hxxps://closed[.]example/x)":                      "((sealed)",
		"CLOSED.Example. Then":                              "(sealed) Then",
		"q=closed.example&x":                                "q=(sealed)",
		"\"closed.example\"":                                "\"(sealed)",
		"user@closed.example":                               "user@(sealed)",
		"closed.example:8080":                               "(sealed)",
		"/go/closed.example/secret":                         "/go/(sealed)",
		"/static/app.min.js":                                "/static/app.min.js",
		"album.example/2 and album.example/3/x":             "album.example/2 and (sealed)",
		"see bbc.co.uk, album.example":                      "see bbc.co.uk, album.example",
		"host closed.example":                               "host (sealed)",
	} {
		if got := Text(listedSite{}, text); got != want {
			t.Errorf("Text(%q) = %q, want %q", text, got, want)
		}
	}
	many := strings.Repeat("a.example ", 200) + "closed.example"
	if got := Text(listedSite{}, many); strings.Contains(got, "closed") {
		t.Error("an address after many others is left in")
	}
}

func FuzzText(f *testing.F) {
	f.Add("a", " b")
	f.Add("/x/", "/y?z")
	f.Fuzz(func(t *testing.T, before, after string) {
		got := Text(listedSite{}, before+" closed.example "+after)
		if strings.Contains(got, "closed.example") && !strings.Contains(before+after, "closed.example") {
			t.Errorf("left in: %q", got)
		}
	})
}
