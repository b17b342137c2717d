package policy

import (
	"fmt"
	"iter"
	"math/bits"
)

// Category is a class of hosts. Its number is stored in category stores and its
// ID is written in policies and records; neither is ever reused.
type Category uint8

// NumCategories bounds the numbers a [CategorySet] can hold.
const NumCategories = 128

// Uncategorised is the absence of a category.
const Uncategorised Category = 0

// The categories. Numbers are stored on disk: append, never renumber.
const (
	ChildAbuse Category = iota + 1
	Terrorism
	CoerciveControl
	ExtremePornography
	Fraud
	PeopleSmuggling
	IntimateImageAbuse
	SexualExploitation
	Pornography
	AdultMixed
	RacialHatred
	Extremism
	Violence
	Weapons
	Drugs
	AlcoholTobacco
	SelfHarm
	EatingDisorders
	Misogyny
	Bullying
	Misinformation
	Gambling
	Malware
	Phishing
	Hacking
	Piracy
	VPNProxy
	DoH
	RemoteAccess
	Dating
	Gaming
	EducationalGames
	SocialNetworks
	Forums
	Chat
	Webmail
	Streaming
	YouTube
	AIChatbot
	AICompanion
	Shopping
	Ads
	FileSharing
	Shortener
	WebHosting
	Translation
	SearchEngines
	UnsafeSearch
	ChildSearch
	SexEducation
	Health
	Education
	News
	Finance
	Government
	Charity
	Children
	Reference
	Sport
	Jobs
	Travel
	Updates
	Infrastructure
	HelpLine
	SchoolServices
	Cryptocurrency
	endOfCategories
)

// String is the stable ID, "" for Uncategorised.
func (c Category) String() string {
	if int(c) < len(taxonomy) {
		return taxonomy[c].ID
	}
	return ""
}

// MarshalText and UnmarshalText make categories readable in records.
func (c Category) MarshalText() ([]byte, error) { return []byte(c.String()), nil }

// UnmarshalText reads an ID; an ID of a newer version is an error.
func (c *Category) UnmarshalText(b []byte) error {
	if len(b) == 0 {
		*c = Uncategorised
		return nil
	}
	got, ok := ParseCategory(string(b))
	if !ok {
		return fmt.Errorf("unknown category %q", b)
	}
	*c = got
	return nil
}

// ParseCategory finds a category by ID.
func ParseCategory(id string) (Category, bool) {
	for c := ChildAbuse; c < endOfCategories; c++ {
		if taxonomy[c].ID == id {
			return c, true
		}
	}
	return Uncategorised, false
}

// Mandatory reports whether lists of this category outrank everything.
func (c Category) Mandatory() bool { return c == ChildAbuse || c == Terrorism }

// Class describes the category.
func (c Category) Class() Class {
	if c == Uncategorised || int(c) >= len(taxonomy) {
		return Class{}
	}
	return taxonomy[c]
}

// Categories yields every category in order of its number.
func Categories() iter.Seq[Category] {
	return func(yield func(Category) bool) {
		for c := ChildAbuse; c < endOfCategories; c++ {
			if !yield(c) {
				return
			}
		}
	}
}

// CategorySet is a set of categories, one bit for each number.
type CategorySet [2]uint64

// SetOf is the set of the given categories.
func SetOf(cs ...Category) (s CategorySet) {
	for _, c := range cs {
		s = s.With(c)
	}
	return s
}

// With is the set and c; Uncategorised adds nothing.
func (s CategorySet) With(c Category) CategorySet {
	if c != Uncategorised && c < NumCategories {
		s[c>>6] |= 1 << (c & 63)
	}
	return s
}

// Without is the set less c.
func (s CategorySet) Without(c Category) CategorySet {
	if c < NumCategories {
		s[c>>6] &^= 1 << (c & 63)
	}
	return s
}

// Has reports whether c is in the set.
func (s CategorySet) Has(c Category) bool {
	return c < NumCategories && s[c>>6]&(1<<(c&63)) != 0
}

// Union, Intersect and Minus combine sets.
func (s CategorySet) Union(t CategorySet) CategorySet {
	return CategorySet{s[0] | t[0], s[1] | t[1]}
}

// Intersect is what both sets hold.
func (s CategorySet) Intersect(t CategorySet) CategorySet {
	return CategorySet{s[0] & t[0], s[1] & t[1]}
}

// Minus is what s holds and t does not.
func (s CategorySet) Minus(t CategorySet) CategorySet {
	return CategorySet{s[0] &^ t[0], s[1] &^ t[1]}
}

// Empty reports whether the set holds nothing.
func (s CategorySet) Empty() bool { return s[0]|s[1] == 0 }

// Len is how many categories the set holds.
func (s CategorySet) Len() int { return bits.OnesCount64(s[0]) + bits.OnesCount64(s[1]) }

// First is the category with the lowest number, which is the gravest of the
// set since the taxonomy begins with the gravest; Uncategorised if empty.
func (s CategorySet) First() Category {
	if s[0] != 0 {
		return Category(bits.TrailingZeros64(s[0]))
	}
	if s[1] != 0 {
		return Category(64 + bits.TrailingZeros64(s[1]))
	}
	return Uncategorised
}

// All yields the categories of the set, gravest first.
func (s CategorySet) All() iter.Seq[Category] {
	return func(yield func(Category) bool) {
		for !s.Empty() {
			c := s.First()
			if !yield(c) {
				return
			}
			s = s.Without(c)
		}
	}
}

// IDs lists the categories' IDs, gravest first.
func (s CategorySet) IDs() []string {
	ids := make([]string, 0, s.Len())
	for c := range s.All() {
		ids = append(ids, c.String())
	}
	return ids
}
