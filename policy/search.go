package policy

import "slices"

// Search is what a request searched for at a known engine, and the watched phrase
// that speaks for it. The zero Search is a request that was none.
type Search struct {
	Words    string // "" where they are not to be kept
	Theme    string // one of [Themes], "" where nothing was raised
	Term     string // the phrase
	Severity uint8  // 1 to 5
	Shielded bool   // nothing of the person is to be kept: somebody looks for help (F10)

	// Mandatory is the list that an address in the words is on, and Secret that address.
	Mandatory Category
	Secret    *Secret
}

// Hear writes a search into the event of its request, whatever the verdict on it
// was (M11). The graver of the two severities stands. A mandatory hit keeps no
// words, as it keeps no address; a search for help is only to be counted (F10).
func (e *Event) Hear(s Search) {
	switch {
	case e.Reason == ReasonMandatory:
		if s.Secret != nil {
			e.Secret = s.Secret
		}
	case s.Shielded:
		*e = Event{
			Time: e.Time, Door: e.Door, Verdict: e.Verdict, Reason: e.Reason, Theme: s.Theme, Status: e.Status,
			PolicyVersion: e.PolicyVersion, StoreVersion: e.StoreVersion, Shielded: true,
		}
	default:
		e.Words, e.Theme, e.Term = s.Words, s.Theme, s.Term
		e.Severity = max(e.Severity, s.Severity)
	}
}

// themes is what a search can be about (M1), gravest first.
var themes = []string{
	"suicide", "self_harm", "grooming", "extremism", "violence", "weapons", "running_away", "eating_disorders",
	"pornography", "drugs", "hate", "bullying", "gambling", "help_seeking",
}

// Themes is what a search can be about, by ID, gravest first.
func Themes() []string { return slices.Clone(themes) }

// Watches reports whether searches about a theme are listened to for the profile.
// A guest is never listened to (M4); without a profile nothing is known of who
// asks, and everything is.
func (p *Profile) Watches(theme string) bool {
	return p == nil || p.Band != Guest && slices.Contains(p.Watch, theme)
}
