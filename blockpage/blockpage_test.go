package blockpage

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/base64"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/net/html"

	"schoolgate/policy"
)

var update = flag.Bool("update", false, "write the golden pages anew; look at them before committing")

// pages is one view of every kind of page. Look at them with
//
//	go test ./blockpage -update && chromium blockpage/testdata/golden/eyfs.html
var pages = map[string]View{
	"eyfs":                {Band: policy.EYFS, Status: 403, Reason: policy.ReasonNotApproved},
	"eyfs_trouble":        {Band: policy.EYFS, Status: 502, Verdict: policy.Allow},
	"ks1":                 {Band: policy.KS1, Status: 403, Reason: policy.ReasonNotApproved},
	"ks2_category":        {Band: policy.KS2, Status: 403, Reason: policy.ReasonCategory, Category: policy.Gambling},
	"ks2_warn":            {Band: policy.KS2, Status: 403, Verdict: policy.Warn, Reason: policy.ReasonCategory, Category: policy.Forums},
	"ks2_unchecked":       {Band: policy.KS2, Status: 403, Reason: policy.ReasonUncategorised},
	"ks2_mandatory":       {Band: policy.KS2, Status: 403, Reason: policy.ReasonMandatory, Category: policy.ChildAbuse},
	"ks2_trouble":         {Band: policy.KS2, Status: 504, Verdict: policy.Allow},
	"staff_category":      {Band: policy.Staff, Status: 403, Reason: policy.ReasonCategory, Category: policy.Gambling, Rule: "policy.yaml:41"},
	"staff_exception":     {Band: policy.Staff, Status: 403, Reason: policy.ReasonException, Rule: "policy.yaml:80", Note: "Closed during the inspection"},
	"staff_warn":          {Band: policy.Staff, Status: 403, Verdict: policy.Warn, Reason: policy.ReasonCategory, Category: policy.Forums},
	"staff_destination":   {Band: policy.Staff, Status: 403, Reason: policy.ReasonDestination},
	"staff_mandatory":     {Band: policy.Staff, Status: 403, Reason: policy.ReasonMandatory, Category: policy.Terrorism, Rule: "policy.yaml:1"},
	"staff_unreachable":   {Band: policy.Staff, Status: 502, Verdict: policy.Allow},
	"staff_slow":          {Band: policy.Staff, Status: 504, Verdict: policy.Allow},
	"staff_bad_address":   {Band: policy.Staff, Status: 400, Reason: policy.ReasonBadHost},
	"staff_not_ready":     {Band: policy.Staff, Status: 503, Reason: policy.ReasonNotReady},
	"staff_open_again":    {Band: policy.Staff, Status: 503, Verdict: policy.Allow, Reason: policy.ReasonDefault},
	"guest_warn":          {Band: policy.Guest, Status: 403, Verdict: policy.Warn, Reason: policy.ReasonUncategorised},
	"guest_not_on_a_list": {Band: policy.Guest, Status: 403, Reason: policy.ReasonUncategorised, Rule: "policy.yaml:90"},
}

func filled(v View) View {
	if v.Band.Pupil() && v.Status == 403 {
		v.Token = "t0ken"
	}
	if v.Verdict == policy.Warn && v.Status == 403 {
		v.Onward = "0nward"
	}
	v.Host, v.Reference, v.School, v.Profile = "asked-for.example", "SG-1A2B", "Millbrook Primary", v.Band.String()
	return v
}

func render(t *testing.T, v View) string {
	t.Helper()
	page, err := Render(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(page)
}

func TestGolden(t *testing.T) {
	for name, v := range pages {
		got := render(t, filled(v))
		file := filepath.Join("testdata", "golden", name+".html")
		if *update {
			if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
				t.Fatal(err)
			}
			continue
		}
		want, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(string(want), got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

// TestPromises holds what every page promises.
func TestPromises(t *testing.T) {
	for name, v := range pages {
		page := render(t, filled(v))
		contains := func(s string) bool { return strings.Contains(page, s) }
		if v.Band.Pupil() != contains("0800 1111") {
			t.Errorf("%s: Childline shown: %v", name, contains("0800 1111"))
		}
		if !contains("SG-1A2B") {
			t.Errorf("%s: no reference", name)
		}
		if v.Reason == policy.ReasonMandatory && contains("asked-for") { // I7, F2
			t.Errorf("%s: shows the host of a mandatory hit", name)
		}
		if v.Reason != policy.ReasonMandatory && !contains("asked-for.example") {
			t.Errorf("%s: does not say which site", name)
		}
		if v.Band.Pupil() && v.Category != policy.Uncategorised && contains(v.Category.Class().Title) {
			t.Errorf("%s: names the category to a child", name)
		}
		if v.Band.Pupil() && contains("policy.yaml") {
			t.Errorf("%s: shows the rule to a child", name)
		}
		if v.Reason == policy.ReasonMandatory && v.Band.Pupil() && contains("unlawful") {
			t.Errorf("%s: frightens a child", name)
		}
	}
}

// TestStaticPage: T22. No page holds a script, a form, a handler, an inline
// style or anything to fetch, and the policy sent with it allows only its own
// style sheet.
func TestStaticPage(t *testing.T) {
	for name, v := range pages {
		h := http.Header{}
		p, _, err := patternOf(filled(v))
		if err != nil {
			t.Fatal(err)
		}
		setHeader(h, p.policy)
		want := http.Header{
			"Content-Type": {"text/html; charset=utf-8"}, "Cache-Control": {"no-store"},
			"Referrer-Policy": {"same-origin"}, "X-Content-Type-Options": {"nosniff"},
			"Content-Security-Policy": p.policy,
		}
		if diff := cmp.Diff(want, h); diff != "" {
			t.Errorf("%s: headers (-want +got):\n%s", name, diff)
		}
		walk(t, render(t, filled(v)), func(n *html.Node) {
			switch n.Data {
			case "form", "input", "textarea", "button":
				if f := filled(v); f.Token == "" && f.Onward == "" { // a child's page has a button, and one that warns
					t.Errorf("%s: <%s>", name, n.Data)
				}
			case "script", "img", "iframe", "link", "object", "embed", "base", "use":
				t.Errorf("%s: <%s>", name, n.Data)
			case "style":
				sum := sha256.Sum256([]byte(n.FirstChild.Data))
				if want := "'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"; !strings.Contains(h.Get("Content-Security-Policy"), want) {
					t.Errorf("%s: the style sheet's hash %s is not in the policy", name, want)
				}
			}
			for _, a := range n.Attr {
				if strings.HasPrefix(a.Key, "on") || a.Key == "style" || a.Key == "src" || a.Key == "srcdoc" {
					t.Errorf("%s: <%s %s>", name, n.Data, a.Key)
				}
			}
		})
	}
}

// TestNaughtyStrings: T22. Whatever stands where a host, a note or a name goes,
// the page keeps its shape and shows it as text.
func TestNaughtyStrings(t *testing.T) {
	raw, err := os.ReadFile("testdata/naughty.txt")
	if err != nil {
		t.Fatal(err)
	}
	naughty := append(strings.Split(strings.TrimSpace(string(raw)), "\n"), "", "\x00", "\xff\xfe", "a\r\nb: c", strings.Repeat("x", 1<<16))
	for name, v := range pages {
		plain := shape(t, render(t, filled(v)))
		for _, s := range naughty {
			if s == "" {
				continue
			}
			w := filled(v)
			w.Host, w.School, w.Reference, w.Ask, w.Notice = s, s, s, s, ""
			if w.Token != "" {
				w.Token = s
			}
			if w.Note != "" {
				w.Note = s
			}
			if w.Rule != "" {
				w.Rule = s
			}
			if got := shape(t, render(t, w)); got != plain {
				t.Errorf("%s with %.60q: another page:\n%s", name, s, cmp.Diff(plain, got))
			}
		}
	}
}

// shape is a page's elements and attributes, without its text.
func shape(t *testing.T, page string) string {
	var b strings.Builder
	walk(t, page, func(n *html.Node) {
		b.WriteString("<" + n.Data)
		for _, a := range n.Attr {
			if a.Key == "value" { // the reference itself, which may be anything here
				a.Val = ""
			}
			b.WriteString(" " + a.Key + "=" + a.Val)
		}
		b.WriteString(">\n")
	})
	return b.String()
}

func walk(t *testing.T, page string, see func(*html.Node)) {
	t.Helper()
	doc, err := html.Parse(strings.NewReader(page))
	if err != nil {
		t.Fatal(err)
	}
	for n := range doc.Descendants() {
		if n.Type == html.ElementNode {
			see(n)
		}
	}
}

// TestPage: a door's ruling and event become the right page.
func TestPage(t *testing.T) {
	p := Pages{School: "Millbrook Primary", Ask: "the office", Notice: "The agreed words."}
	staff := policy.Ruling{Decision: policy.Decision{Profile: &policy.Profile{Name: "staff", Band: policy.Staff}}}
	for _, c := range []struct {
		name  string
		r     policy.Ruling
		e     policy.Event
		shows []string
		hides []string
	}{
		{"nobody knows who", policy.Ruling{}, policy.Event{ID: 46, Status: 403, Host: "x.example"}, []string{"Screen off", "SG-1E-3", "x.example"}, nil},
		{"adult", staff, policy.Event{ID: 46, Status: 403, Reason: policy.ReasonCategory, Category: policy.Gaming, Host: "x.example", Rule: "policy.yaml:7"}, []string{"Games", "policy.yaml:7", "the office", "x.example"}, []string{"Childline"}},
		{"mandatory", staff, policy.Event{ID: 46, Status: 403, Reason: policy.ReasonMandatory, Category: policy.ChildAbuse}, []string{"The agreed words.", "report.iwf.org.uk"}, []string{"Category"}},
		{"mandatory and not recorded", staff, policy.Event{Status: 503, Reason: policy.ReasonMandatory, Host: "slipped.example"}, []string{"Access to this page is denied"}, []string{"Reference", "slipped"}},
		{"not recorded", staff, policy.Event{Status: 503, Host: "x.example"}, []string{"not ready"}, []string{"SG-"}},
	} {
		h := http.Header{}
		page, err := p.Page(h, c.r, &c.e, false)
		if err != nil || h.Get("Content-Security-Policy") == "" {
			t.Fatalf("%s: %v, headers %v", c.name, err, h)
		}
		for _, s := range c.shows {
			if !strings.Contains(string(page), s) {
				t.Errorf("%s: does not show %q:\n%s", c.name, s, page)
			}
		}
		for _, s := range c.hides {
			if strings.Contains(string(page), s) {
				t.Errorf("%s: shows %q", c.name, s)
			}
		}
	}
}

func BenchmarkRender(b *testing.B) {
	for _, name := range []string{"eyfs", "ks2_category", "staff_category"} {
		v := filled(pages[name])
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := Render(v); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(name+"/gzip", func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				p, f, err := patternOf(v)
				if err != nil {
					b.Fatal(err)
				}
				b.SetBytes(int64(len(p.gzip(&f))))
			}
		})
	}
}

// TestPatterns: a page made from a kept pattern is the page its template makes.
func TestPatterns(t *testing.T) {
	for name, v := range pages {
		for range 2 { // once made, once kept
			want, _, err := execute(filled(v))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), render(t, filled(v))); diff != "" {
				t.Errorf("%s (-template +pattern):\n%s", name, diff)
			}
		}
	}
	for i := range 2 * maxPatterns {
		render(t, View{Note: strings.Repeat("x", i), Status: 403, Band: policy.Staff})
	}
	for i := range 3 {
		n := len(patterns.kept)
		v := filled(pages["ks2_warn"])
		v.Host, v.Reference, v.Token, v.Onward = v.Host+fmt.Sprint(i), fmt.Sprint(i), fmt.Sprint("a", i), fmt.Sprint("b", i)
		if render(t, v); i > 0 && len(patterns.kept) != n {
			t.Errorf("a warning for another host is another pattern")
		}
	}
	if n := len(patterns.kept); n > maxPatterns {
		t.Errorf("%d patterns kept, at most %d wanted", n, maxPatterns)
	}
}

// TestGzip: a page that was put together from compressed pieces is the plain one, whatever
// goes into its slots.
func TestGzip(t *testing.T) {
	for name, v := range pages {
		for _, host := range []string{"asked-for.example", "", "<b>", strings.Repeat("x", 3*maxStored)} {
			v := filled(v)
			v.Host = host
			p, f, err := patternOf(v)
			if err != nil {
				t.Fatal(err)
			}
			packed := p.gzip(&f)
			r, err := gzip.NewReader(bytes.NewReader(packed))
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			r.Multistream(false)
			text, err := io.ReadAll(r)
			if diff := cmp.Diff(render(t, v), string(text)); err != nil || diff != "" {
				t.Errorf("%s: %v (-plain +gzip):\n%s", name, err, diff)
			}
			if host == "asked-for.example" && len(packed) > len(text)*2/3 {
				t.Errorf("%s: %d bytes became %d", name, len(text), len(packed))
			}
		}
	}
	for _, packs := range []bool{true, false} {
		h := http.Header{}
		page, err := Pages{}.Page(h, policy.Ruling{}, &policy.Event{ID: 7, Status: 403, Host: "x.example"}, packs)
		if said := h.Get("Content-Encoding") == "gzip"; err != nil || said != packs || strings.HasPrefix(string(page), "\x1f\x8b") != packs {
			t.Errorf("gzip %v: %v, headers %v, page %.20q", packs, err, h, page)
		}
	}
}

// A page that warns has a button to go on, for whoever can read the warning; no
// other page has it, whatever it was given.
func TestGoOn(t *testing.T) {
	p := Pages{Onward: func(*policy.Event) string { return "0nward" }}
	for name, v := range pages {
		r := policy.Ruling{Decision: policy.Decision{Verdict: v.Verdict, Reason: v.Reason, Profile: &policy.Profile{Band: v.Band}}}
		e := policy.Event{ID: 7, Client: "192.0.2.7", Host: "asked-for.example", Status: v.Status, Verdict: v.Verdict, Reason: v.Reason, Category: v.Category}
		page := render(t, p.View(r, &e))
		if got, want := strings.Contains(page, `action="`+OnwardPath+`"`), strings.HasSuffix(name, "_warn"); got != want {
			t.Errorf("%s: a button to go on: %v, want %v", name, got, want)
		}
	}
	for _, band := range []policy.AgeBand{policy.EYFS, policy.KS1} {
		r := policy.Ruling{Decision: policy.Decision{Verdict: policy.Warn, Profile: &policy.Profile{Band: band}}}
		if v := p.View(r, &policy.Event{ID: 7, Status: 403, Verdict: policy.Warn, Reason: policy.ReasonUncategorised}); v.Onward != "" {
			t.Errorf("%s is asked to weigh a warning", band)
		}
	}
}

// A child's page has one button, which leads to the box and says which event is
// meant; free text is for KS2 alone. An adult's page has none, and the page of
// thanks repeats what to do (R17, R18, S12).
func TestTellSomebody(t *testing.T) {
	for name, v := range pages {
		page := render(t, filled(v))
		has := strings.Contains(page, `action="`+TellPath+`"`)
		if want := v.Band.Pupil() && v.Status == 403; has != want {
			t.Errorf("%s: button %v, want %v", name, has, want)
		}
		if text := strings.Contains(page, "<textarea"); text != (has && v.Band == policy.KS2) {
			t.Errorf("%s: a place to write: %v", name, text)
		}
		v.Reference = ""
		if has && strings.Contains(render(t, v), "<form") {
			t.Errorf("%s: a button without an event to tell of", name)
		}
	}
	for kept, says := range map[bool]string{true: "will hear of it", false: "go and tell a grown-up now"} {
		h := http.Header{}
		page, err := Thanks(h, "Millbrook Primary", kept)
		if err != nil || h.Get("Content-Security-Policy") != thanksPage.policy[0] {
			t.Fatalf("%v, headers %v", err, h)
		}
		for _, want := range []string{"Thank you", "Turn the screen away", "Tell your teacher", "0800 1111", says} {
			if !strings.Contains(string(page), want) {
				t.Errorf("kept %v: does not say %q:\n%s", kept, want, page)
			}
		}
	}
}
