package terms

import "schoolgate/policy"

// Hear is the gravest phrase in a search by somebody of a profile, as it was said;
// nobody's is that of the youngest pupil.
func Hear(set *Set, p *policy.Profile, words string) (hit Hit, said string, ok bool) {
	band := policy.EYFS
	if p != nil {
		band = p.Band
	}
	return set.MatchOf(words, band, watched(p))
}

// watched is the themes that a profile is listened to for.
func watched(p *policy.Profile) (set ThemeSet) {
	for _, theme := range Themes() {
		if p.Watches(theme.String()) {
			set = set.With(theme)
		}
	}
	return set
}
