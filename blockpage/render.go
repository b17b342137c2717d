package blockpage

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/base64"
	"fmt"
	"html/template"
	"net/http"
	"strings"

	"schoolgate/policy"
)

//go:embed templates
var files embed.FS

var (
	eyfsPage      = parse("eyfs", "child", "tell", "pictures", "tellform")
	ks1Page       = parse("ks1", "child", "tell", "pictures", "ks1", "tellform")
	ks2Page       = parse("ks2", "child", "tell", "head", "cards", "tellform")
	ks2WarnPage   = parse("ks2", "child", "tell", "head", "cards", "tellform", "onwardform")
	adultPage     = parse("adult", "adult")
	adultWarnPage = parse("adult", "adult", "onwardform")
	mandatoryPage = parse("mandatory")
	troublePage   = parse("trouble", "child", "head", "ks1")
	thanksPage    = parse("thanks", "child", "tell", "pictures")
)

// page is a template with the style sheet that it needs, and no more of it.
type page struct {
	*template.Template
	policy []string // for Content-Security-Policy
}

func mustRead(name string) string {
	b, err := files.ReadFile(name)
	if err != nil {
		panic(err) // embedded: it is there or the build was wrong
	}
	return strings.TrimSpace(string(b))
}

// parse puts the style sheets into the layout as text: a value would be escaped
// anew for every page.
func parse(name string, sheets ...string) page {
	style := mustRead("templates/style.css")
	for _, sheet := range sheets {
		style += "\n" + mustRead("templates/"+sheet+".css")
	}
	layout := strings.Replace(mustRead("templates/layout.html"), "<style></style>", "<style>"+style+"</style>", 1)
	t := template.Must(template.New("layout.html").Parse(layout))
	template.Must(t.ParseFS(files, "templates/symbols.html", "templates/tellform.html", "templates/onwardform.html", "templates/"+name+".html"))
	return page{t, []string{contentPolicy(style)}}
}

// contentPolicy allows a page's style sheet, by its hash, and nothing else. It may not
// be framed: a small blocked frame, an advert, say, would otherwise show a stop
// hand to a child on a page that is quite all right.
func contentPolicy(style string) string {
	sum := sha256.Sum256([]byte(style))
	return "default-src 'none'; style-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) +
		"'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
}

// Values of headers that all pages share: nobody adds to one.
var (
	contentType = []string{"text/html; charset=utf-8"}
	noStore     = []string{"no-store"}
	sameOrigin  = []string{"same-origin"}
	noSniff     = []string{"nosniff"}
	gzipped     = []string{"gzip"}
)

// setHeader sets the headers that every page needs.
func setHeader(h http.Header, policy []string) {
	h["Content-Type"] = contentType
	h["Content-Security-Policy"] = policy
	h["Cache-Control"] = noStore
	// To the site itself only, and nothing of ours is sent there: with none at all a
	// browser hides from us where a press of the button came from.
	h["Referrer-Policy"] = sameOrigin
	h["X-Content-Type-Options"] = noSniff
}

// sheet is what the templates see.
type sheet struct {
	View
	Title, Heading, Why, Help string
	Category, About           string
	Class                     string
	Pupil                     bool
	Grave                     bool // nothing that a lesson could need
	Kept                      bool // of the page of thanks: somebody will hear
}

// TellPath is where the button to tell somebody leads, on whatever site the page
// stands for: the door takes it, and the site never hears of it.
const TellPath = "/.well-known/schoolgate-tell"

// OnwardPath is where the button to go on past a warning leads, as [TellPath].
const OnwardPath = "/.well-known/schoolgate-go-on"

// OnwardPath is for the templates.
func (*sheet) OnwardPath() string { return OnwardPath }

// TellPath is for the templates.
func (*sheet) TellPath() string { return TellPath }

// Thanks is the page for a child that told somebody (R18). Where it could not be
// kept, it says to go and tell a grown-up.
func Thanks(h http.Header, school string, kept bool) ([]byte, error) {
	setHeader(h, thanksPage.policy)
	var buf bytes.Buffer
	s := &sheet{View: View{School: school}, Title: "Thank you", Class: "thanks", Pupil: true, Kept: kept}
	if err := thanksPage.ExecuteTemplate(&buf, "layout.html", s); err != nil {
		return nil, fmt.Errorf("page of thanks: %w", err)
	}
	return buf.Bytes(), nil
}

// execute writes the page for v from its template, and says what it may load.
func execute(v View) (text []byte, policy []string, err error) {
	t, s := choose(&v)
	var buf bytes.Buffer
	buf.Grow(10 << 10)
	if err := t.ExecuteTemplate(&buf, "layout.html", s); err != nil {
		return nil, nil, fmt.Errorf("block page for %s: %w", v.Band, err)
	}
	return buf.Bytes(), t.policy, nil
}

// choose picks the page and its words. A child on a mandatory list sees the
// ordinary page of the band, without the host.
func choose(v *View) (page, *sheet) {
	k := v.kind()
	if k == mandatory {
		v.Host, v.Rule, v.Note, v.Category = "", "", "", policy.Uncategorised
	}
	s := &sheet{View: *v, Pupil: v.Band.Pupil(), Class: v.Band.String(), Grave: k == mandatory}
	if s.Pupil {
		return chooseChild(k, v, s)
	}
	s.Help = helpAdult(v)
	s.Heading, s.Why = "This site is blocked", whyAdult(v)
	if v.Onward != "" {
		s.Heading = "Think before you open this site"
	}
	if k == mandatory {
		s.Title = "Access denied"
		return mandatoryPage, s
	}
	if k == trouble {
		s.Heading, s.Why = troubleAdult(v)
		s.Rule, s.Note, s.View.Category = "", "", policy.Uncategorised
	}
	class := s.View.Category.Class()
	s.Category, s.About = class.Title, class.Holds
	s.Title = s.Heading
	if v.Onward != "" {
		return adultWarnPage, s
	}
	return adultPage, s
}

func chooseChild(k kind, v *View, s *sheet) (page, *sheet) {
	if k == trouble {
		s.Title = "Not working just now"
		return troublePage, s
	}
	s.Title, s.Why = "This page is closed", whyChild(v)
	switch {
	case v.Band == policy.KS2 && v.Onward != "":
		return ks2WarnPage, s
	case v.Band == policy.KS2:
		return ks2Page, s
	case v.Band == policy.KS1:
		return ks1Page, s
	}
	return eyfsPage, s
}
