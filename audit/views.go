package audit

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"golang.org/x/net/publicsuffix"

	"schoolgate/policy"
)

// View is one thing that somebody did, as far as the record can tell: the event that
// began it, and what came with it folded under it (R42, S13).
type View struct {
	Head    policy.Event
	Folded  []policy.EventID // what came with it, in order
	Last    time.Time        // of the latest of them
	Blocked int              // of all of them, the head included
	Flagged int

	site string
}

// What is known of who began a view. A view never claims more.
const (
	viewPerson     = "typed or opened by a person"
	viewBackground = "fetched by a page or program"
	viewUnknown    = "not known who or what"
	viewStaff      = "staff, on the box"
)

// Began says who or what began the view, in words.
func (v *View) Began() string {
	switch {
	case v.Head.Door == policy.DoorStaff:
		return viewStaff
	case v.Head.Use == policy.UsePerson:
		return viewPerson
	case v.Head.Use == policy.UseBackground:
		return viewBackground
	}
	return viewUnknown
}

// Count is how many events the view holds.
func (v *View) Count() int { return 1 + len(v.Folded) }

// How events are folded. A browser says which request a person made and which a
// page made; of names alone (DNS, SNI) it is not known, and only what surely belongs
// together is folded: the same site, and what follows at once as a page's parts do.
const (
	pageQuiet  = time.Minute     // a page that fetched nothing for so long is over
	siteQuiet  = 5 * time.Minute // names of one site, asked for at most so far apart
	burst      = 2 * time.Second // after the head, nobody opens another site by hand
	maxOpen    = 16              // views of one client that may grow at once
	maxFolded  = 5000            // of one view; a page that fetches more begins another
	maxLongest = time.Hour       // from head to last, or a game left open would be one line a day
)

// Fold puts events, in order of their numbers, into views, in order of their heads.
func Fold(events []policy.Event) []View {
	f := folder{open: map[string][]*View{}}
	for i := range events {
		f.add(&events[i])
	}
	views := make([]View, len(f.all))
	for i, v := range f.all {
		views[i] = *v
	}
	return views
}

type folder struct {
	all  []*View
	open map[string][]*View // by client, the latest last
}

func (f *folder) add(e *policy.Event) {
	key := strings.Join([]string{e.Client, e.Device, e.Person, e.Door.String()}, "\x00")
	if e.Use != policy.UseUnknown { // doors that see requests share their pages
		key = strings.Join([]string{e.Client, e.Device, e.Person, ""}, "\x00")
	}
	site := siteOf(e.Host)
	if v := f.home(key, site, e); v != nil {
		v.Folded = append(v.Folded, e.ID)
		if e.Time.After(v.Last) {
			v.Last = e.Time
		}
		v.count(e)
		return
	}
	v := &View{Head: *e, Last: e.Time, site: site}
	v.count(e)
	f.all = append(f.all, v)
	open := append(f.open[key], v)
	if len(open) > maxOpen {
		open = open[1:]
	}
	f.open[key] = open
}

func (v *View) count(e *policy.Event) {
	if e.Verdict == policy.Block {
		v.Blocked++
	}
	if e.Flagged() {
		v.Flagged++
	}
}

// home is the view an event belongs to; nil if it begins one. What a person must
// hear of, what a person typed, searches and staff's acts are never folded away.
func (f *folder) home(key, site string, e *policy.Event) *View {
	if e.Flagged() || e.Use == policy.UsePerson || e.Door == policy.DoorStaff || e.Words != "" || e.Host == "" {
		return nil
	}
	open := f.open[key]
	var near *View
	for i := len(open) - 1; i >= 0; i-- {
		v := open[i]
		if len(v.Folded) >= maxFolded || e.Time.Sub(v.Head.Time) > maxLongest || v.Head.Door == policy.DoorStaff {
			continue
		}
		quiet := e.Time.Sub(v.Last)
		switch {
		case e.Use == policy.UseBackground:
			if quiet > pageQuiet || v.Head.Use == policy.UseUnknown {
				continue
			}
			if v.site == site {
				return v
			}
			if near == nil {
				near = v // the page that is open: what it fetches may lie anywhere
			}
		case v.site == site && quiet <= siteQuiet && (e.Verdict == v.Head.Verdict):
			return v
		case near == nil && e.Verdict == policy.Allow && v.Head.Verdict == policy.Allow && !v.Head.Flagged() &&
			e.Time.Sub(v.Head.Time) >= 0 && e.Time.Sub(v.Head.Time) <= burst:
			near = v
		}
	}
	return near
}

// siteOf is the name somebody registered, under which all hosts of a site are.
func siteOf(host string) string {
	if site, err := publicsuffix.EffectiveTLDPlusOne(host); err == nil {
		return site
	}
	return host
}

// ViewTable prints views as aligned lines.
type ViewTable struct {
	Location *time.Location // nil is the box's own time
	Width    int            // in characters; 0 is 160
}

// Head is the line of titles.
func (t ViewTable) Head() string {
	return t.put("time", "who", "began", "verdict", "with it", "what", "id")
}

// Line is one view.
func (t ViewTable) Line(v *View) string {
	loc := t.Location
	if loc == nil {
		loc = time.Local
	}
	e := &v.Head
	what := where(e)
	if e.Words != "" {
		what = e.Host + " searched: " + e.Words
	}
	if e.Theme != "" {
		what += " [" + e.Theme + "]"
	}
	verdict := e.Verdict.String()
	if v.Blocked > 0 && e.Verdict != policy.Block {
		verdict = fmt.Sprintf("%s, %d blocked", verdict, v.Blocked)
	}
	with := ""
	if n := len(v.Folded); n > 0 {
		with = fmt.Sprintf("+%d", n)
	}
	return t.put(e.Time.In(loc).Format("2006-01-02 15:04:05"), escaped(who(e)), v.Began(), verdict, with, escaped(what), e.ID.String())
}

func (t ViewTable) put(at, who, began, verdict, with, what, id string) string {
	width := cmp.Or(t.Width, 160)
	rest := max(20, width-19-16-28-17-7-10-6)
	return fmt.Sprintf("%-19s %s %s %s %s %s %s", at, padded(who, 16), padded(began, 28), padded(verdict, 17), padded(with, 7), padded(what, rest), id)
}

// padded is a text as wide as its column; one too long ends in "…".
func padded(s string, width int) string {
	letters := []rune(cmp.Or(s, "-"))
	if len(letters) > width {
		letters = append(slices.Clone(letters[:width-1]), '…')
	}
	return string(letters) + strings.Repeat(" ", width-len(letters))
}
