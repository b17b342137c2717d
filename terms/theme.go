package terms

import "fmt"

// Theme is what a watched phrase is about. A lower one is graver: it speaks where
// two phrases have the same severity. The zero value is no theme.
type Theme uint8

// The themes (M1), gravest first.
const (
	NoTheme Theme = iota
	Suicide
	SelfHarm
	Grooming // and any sexual exploitation of a child
	Extremism
	Violence
	Weapons
	RunningAway
	EatingDisorders
	Pornography
	Drugs // and alcohol, tobacco, vapes
	Hate
	Bullying
	Gambling
	HelpSeeking // shielded
)

var themeIDs = [...]string{
	Suicide: "suicide", SelfHarm: "self_harm", Grooming: "grooming", Extremism: "extremism", Violence: "violence",
	Weapons: "weapons", RunningAway: "running_away", EatingDisorders: "eating_disorders", Pornography: "pornography",
	Drugs: "drugs", Hate: "hate", Bullying: "bullying", Gambling: "gambling", HelpSeeking: "help_seeking",
}

// String is the theme's ID as packs write it, "" for no theme.
func (t Theme) String() string {
	if int(t) < len(themeIDs) {
		return themeIDs[t]
	}
	return fmt.Sprintf("theme(%d)", uint8(t))
}

// Shielded reports whether a search of this theme must leave no record of the
// person who made it (F10).
func (t Theme) Shielded() bool { return t == HelpSeeking }

// ParseTheme reads a theme's ID.
func ParseTheme(id string) (Theme, bool) {
	for i, known := range themeIDs {
		if known == id && id != "" {
			return Theme(i), true
		}
	}
	return NoTheme, false
}

// Themes is every theme, gravest first.
func Themes() []Theme {
	all := make([]Theme, 0, len(themeIDs)-1)
	for t := Suicide; int(t) < len(themeIDs); t++ {
		all = append(all, t)
	}
	return all
}

// ThemeSet is the themes that somebody is listened to for.
type ThemeSet uint32

// AllThemes is every theme.
const AllThemes = ^ThemeSet(0)

// With is the set with one more theme.
func (s ThemeSet) With(t Theme) ThemeSet { return s | 1<<t }

// Has reports whether the set holds a theme.
func (s ThemeSet) Has(t Theme) bool { return s>>t&1 != 0 }
