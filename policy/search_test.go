package policy

import (
	"testing"
	"time"
)

// Whatever is known of a request, a search for help leaves nothing of a person.
func TestHearShieldsThePerson(t *testing.T) { // F10
	full := Event{
		ID: 7, Time: time.Unix(1, 0), Door: DoorInspect, Client: "10.2.15.7", Device: "tablet", Group: "year5", Profile: "ks2",
		Pupil: true, Person: "A. Child", Host: "images.example", Path: "/search/childline", Port: 8443, Method: "GET", Use: UsePerson,
		Words: "childline", Term: "childline", Verdict: Allow, Reason: ReasonCategory, Category: SearchEngines, Rule: "policy.yaml:4",
		Severity: 4, Finding: "x", Status: 200, Type: "text/html", Size: 7, PolicyVersion: "p", StoreVersion: 9,
	}
	full.Hear(Search{Words: "childline", Term: "childline", Theme: "help_seeking", Severity: 1, Shielded: true})
	want := Event{
		Time: time.Unix(1, 0), Door: DoorInspect, Theme: "help_seeking", Verdict: Allow, Reason: ReasonCategory, Status: 200,
		PolicyVersion: "p", StoreVersion: 9, Shielded: true,
	}
	if full != want {
		t.Errorf("Hear = %+v, want %+v", full, want)
	}
}

func TestHear(t *testing.T) {
	grave := Search{Words: "some words", Term: "words", Theme: "suicide", Severity: 5}
	for _, c := range []struct {
		name   string
		before Event
		search Search
		want   Event
	}{
		{"no search", Event{Host: "a.example", Severity: 3}, Search{}, Event{Host: "a.example", Severity: 3}},
		{"the graver severity stands", Event{Severity: 3}, grave, Event{Words: "some words", Term: "words", Theme: "suicide", Severity: 5}},
		{"that of the ruling too", Event{Severity: 4}, Search{Words: "w", Severity: 1}, Event{Words: "w", Severity: 4}},
		{"a mandatory hit keeps no words", Event{Reason: ReasonMandatory, Severity: 5}, grave, Event{Reason: ReasonMandatory, Severity: 5}},
	} {
		got := c.before
		got.Hear(c.search)
		if got != c.want {
			t.Errorf("%s: %+v, want %+v", c.name, got, c.want)
		}
	}
}

func TestGuestEventHasNoPath(t *testing.T) { // M4
	q := Request{Door: DoorHTTP, Path: "/search?q=x"}
	for band, want := range map[AgeBand]string{Guest: "", Staff: "/search", KS2: "/search"} {
		r := Ruling{Decision: Decision{Verdict: Allow, Reason: ReasonDefault, Profile: &Profile{Band: band}}}
		if got := r.Event(q).Path; got != want {
			t.Errorf("the path of %s = %q, want %q", band, got, want)
		}
	}
}

func TestProfileWatches(t *testing.T) { // M4
	for _, c := range []struct {
		profile *Profile
		theme   string
		want    bool
	}{
		{&Profile{Band: KS2, Watch: Themes()}, "suicide", true},
		{&Profile{Band: Staff, Watch: []string{"extremism"}}, "extremism", true},
		{&Profile{Band: Staff, Watch: []string{"extremism"}}, "suicide", false},
		{&Profile{Band: Guest, Watch: Themes()}, "suicide", false},
		{nil, "suicide", true},
	} {
		if got := c.profile.Watches(c.theme); got != c.want {
			t.Errorf("%+v.Watches(%s) = %v, want %v", c.profile, c.theme, got, c.want)
		}
	}
}
