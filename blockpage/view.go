package blockpage

import (
	"net/http"

	"schoolgate/policy"
)

// View is exactly what a page shows.
type View struct {
	Band     policy.AgeBand
	Status   int            // the HTTP status it is sent with
	Verdict  policy.Verdict // Allow on an error page: nothing was refused
	Reason   policy.Reason
	Category policy.Category
	Finding  string // a word for what was odd, e.g. certificate

	Host      string // "" where it must not be shown
	Profile   string
	Rule      string // file:line; adults only
	Note      string // the school's own reason; adults only
	Reference string // "" where no event could be recorded
	Token     string // lets a pupil tell somebody of this page ([TellPath]); "" leaves the button out
	Onward    string // lets somebody go on past a warning ([OnwardPath]); "" leaves the button out

	School string // name of the school
	Ask    string // whom adults ask, e.g. "the IT office, extension 12"
	Notice string // the list owner's agreed words for mandatory hits; "" for ours (I7)
}

// Pages makes views of what a door decided.
type Pages struct {
	School string
	Ask    string
	Notice string
	Token  func(*policy.Event) string // of the button to tell somebody; nil for none
	Onward func(*policy.Event) string // of the button to go on past a warning; nil for none
}

// Page writes the page for a recorded event and sets the headers it needs; compressed,
// where the client takes gzip.
func (p Pages) Page(h http.Header, r policy.Ruling, e *policy.Event, gzip bool) ([]byte, error) {
	pattern, f, err := patternOf(p.View(r, e))
	if err != nil {
		return nil, err
	}
	setHeader(h, pattern.policy)
	if !gzip {
		return pattern.plain(&f), nil
	}
	h["Content-Encoding"] = gzipped
	return pattern.gzip(&f), nil
}

// View is what the page for this event shows.
func (p Pages) View(r policy.Ruling, e *policy.Event) View {
	v := View{
		Band: r.Band(), Status: e.Status, Verdict: e.Verdict, Reason: e.Reason, Category: e.Category, Finding: e.Finding,
		Host: e.Host, Profile: r.ProfileName(), Rule: e.Rule, Note: r.Note,
		School: p.School, Ask: p.Ask, Notice: p.Notice,
	}
	if e.ID != 0 {
		v.Reference = e.ID.String()
		if p.Token != nil && v.Band.Pupil() && v.kind() != trouble {
			v.Token = p.Token(e)
		}
		// Children who cannot read a warning yet are not asked to weigh it.
		if p.Onward != nil && v.Verdict == policy.Warn && v.kind() == blocked && v.Band != policy.EYFS && v.Band != policy.KS1 {
			v.Onward = p.Onward(e)
		}
	}
	if e.Reason == policy.ReasonMandatory {
		v.Host, v.Rule, v.Note, v.Category = "", "", "", policy.Uncategorised
	}
	return v
}

// kind is the page that suits what happened.
type kind uint8

const (
	blocked   kind = iota // refused by a decision
	mandatory             // refused by a list that nothing lifts
	trouble               // not a decision: something did not work
)

func (v *View) kind() kind {
	switch {
	case v.Reason == policy.ReasonMandatory:
		return mandatory // whatever else went wrong with it
	case v.Status == http.StatusForbidden:
		return blocked
	}
	return trouble
}
