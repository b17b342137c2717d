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
	style = mustRead("templates/style.css")

	eyfsPage      = parse("eyfs")
	ks1Page       = parse("ks1")
	ks2Page       = parse("ks2")
	adultPage     = parse("adult")
	mandatoryPage = parse("mandatory")
	troublePage   = parse("trouble")
	thanksPage    = parse("thanks")

	contentPolicy = csp()
)

func mustRead(name string) string {
	b, err := files.ReadFile(name)
	if err != nil {
		panic(err) // embedded: it is there or the build was wrong
	}
	return strings.TrimSpace(string(b))
}

// parse puts the style sheet into the layout as text: a value would be escaped
// anew for every page.
func parse(name string) *template.Template {
	layout := strings.Replace(mustRead("templates/layout.html"), "<style></style>", "<style>"+style+"</style>", 1)
	t := template.Must(template.New("layout.html").Parse(layout))
	return template.Must(t.ParseFS(files, "templates/symbols.html", "templates/tellform.html", "templates/onwardform.html", "templates/"+name+".html"))
}

// csp allows this page's style sheet, by its hash, and nothing else. It may not
// be framed: a small blocked frame, an advert, say, would otherwise show a stop
// hand to a child on a page that is quite all right.
func csp() string {
	sum := sha256.Sum256([]byte(style))
	return "default-src 'none'; style-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) +
		"'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
}

// SetHeader sets the headers that every page needs.
func SetHeader(h http.Header) {
	h["Content-Type"] = []string{"text/html; charset=utf-8"}
	h["Content-Security-Policy"] = []string{contentPolicy}
	h["Cache-Control"] = []string{"no-store"}
	// To the site itself only, and nothing of ours is sent there: with none at all a
	// browser hides from us where a press of the button came from.
	h["Referrer-Policy"] = []string{"same-origin"}
	h["X-Content-Type-Options"] = []string{"nosniff"}
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
	SetHeader(h)
	var buf bytes.Buffer
	s := &sheet{View: View{School: school}, Title: "Thank you", Class: "thanks", Pupil: true, Kept: kept}
	if err := thanksPage.ExecuteTemplate(&buf, "layout.html", s); err != nil {
		return nil, fmt.Errorf("page of thanks: %w", err)
	}
	return buf.Bytes(), nil
}

// execute writes the page for v from its template.
func execute(v View) ([]byte, error) {
	t, s := choose(&v)
	var buf bytes.Buffer
	buf.Grow(10 << 10)
	if err := t.ExecuteTemplate(&buf, "layout.html", s); err != nil {
		return nil, fmt.Errorf("block page for %s: %w", v.Band, err)
	}
	return buf.Bytes(), nil
}

// choose picks the page and its words. A child on a mandatory list sees the
// ordinary page of the band, without the host.
func choose(v *View) (*template.Template, *sheet) {
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
	return adultPage, s
}

func chooseChild(k kind, v *View, s *sheet) (*template.Template, *sheet) {
	if k == trouble {
		s.Title = "Not working just now"
		return troublePage, s
	}
	s.Title, s.Why = "This page is closed", whyChild(v)
	switch v.Band {
	case policy.KS2:
		return ks2Page, s
	case policy.KS1:
		return ks1Page, s
	}
	return eyfsPage, s
}
