package policy

import (
	"maps"
	"math/rand/v2"
	"regexp"
	"slices"
	"testing"
)

// CategorySet is simulated against a plain map.
func TestCategorySetModel(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	var set CategorySet
	model := map[Category]bool{}
	for range 5000 {
		c := Category(random.IntN(NumCategories + 10))
		if random.IntN(2) == 0 {
			set = set.With(c)
			if c != Uncategorised && c < NumCategories {
				model[c] = true
			}
		} else {
			set = set.Without(c)
			delete(model, c)
		}
		want := slices.Sorted(maps.Keys(model))
		if got := slices.Collect(set.All()); !slices.Equal(got, want) {
			t.Fatalf("All = %v, want %v", got, want)
		}
		if set.Has(c) != model[c] || set.Len() != len(model) || set.Empty() != (len(model) == 0) || set != SetOf(want...) {
			t.Fatalf("after %d: Has = %v, Len = %d, want %v", c, set.Has(c), set.Len(), want)
		}
		if len(want) > 0 && set.First() != want[0] || len(want) == 0 && set.First() != Uncategorised {
			t.Fatalf("First = %d, want the first of %v", set.First(), want)
		}
	}
}

func TestCategorySetAlgebra(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	for range 1000 {
		a := CategorySet{random.Uint64() &^ 1, random.Uint64()}
		b := CategorySet{random.Uint64() &^ 1, random.Uint64()}
		for c := range Category(NumCategories) {
			if got, want := a.Union(b).Has(c), a.Has(c) || b.Has(c); got != want {
				t.Fatalf("%v union %v has %d = %v", a, b, c, got)
			}
			if got, want := a.Intersect(b).Has(c), a.Has(c) && b.Has(c); got != want {
				t.Fatalf("%v intersect %v has %d = %v", a, b, c, got)
			}
			if got, want := a.Minus(b).Has(c), a.Has(c) && !b.Has(c); got != want {
				t.Fatalf("%v minus %v has %d = %v", a, b, c, got)
			}
		}
	}
}

func TestTaxonomy(t *testing.T) {
	id := regexp.MustCompile(`^[a-z_]+$`)
	seen := map[string]Category{}
	for c := range Categories() {
		class := c.Class()
		if !id.MatchString(class.ID) {
			t.Errorf("category %d has the ID %q, want %s", c, class.ID, id)
		}
		if other, ok := seen[class.ID]; ok {
			t.Errorf("categories %d and %d are both %q", other, c, class.ID)
		}
		seen[class.ID] = c
		if class.Title == "" || class.Holds == "" || class.Why == "" || class.Age == "" { // S6
			t.Errorf("category %s lacks a title, its contents, a rationale or age advice", class.ID)
		}
		if got, ok := ParseCategory(class.ID); !ok || got != c || c.String() != class.ID {
			t.Errorf("ParseCategory(%q) = %d, %v; want %d", class.ID, got, ok, c)
		}
		text, _ := c.MarshalText()
		var back Category
		if err := back.UnmarshalText(text); err != nil || back != c {
			t.Errorf("%s reads back as %s, %v", c, back, err)
		}
	}
	if len(seen) != int(endOfCategories)-1 || endOfCategories > NumCategories {
		t.Errorf("%d categories, want %d of at most %d", len(seen), endOfCategories-1, NumCategories)
	}
	for _, c := range []Category{Uncategorised, endOfCategories, 255} {
		if c.String() != "" || c.Class() != (Class{}) {
			t.Errorf("category %d is %q, want none", c, c)
		}
	}
	if _, ok := ParseCategory(""); ok {
		t.Error("the empty ID is a category")
	}
	if err := new(Category).UnmarshalText([]byte("of_a_newer_version")); err == nil {
		t.Error("an unknown ID is read")
	}
}

// The numbers are on disk: those that a record or store may hold never change.
func TestCategoryNumbers(t *testing.T) {
	for c, want := range map[Category]uint8{
		ChildAbuse: 1, Terrorism: 2, Pornography: 9, Gambling: 22, VPNProxy: 27, Gaming: 31, SearchEngines: 47,
		SexEducation: 50, HelpLine: 64, SchoolServices: 65, Cryptocurrency: 66,
	} {
		if uint8(c) != want {
			t.Errorf("%s has the number %d, want %d for ever", c, c, want)
		}
	}
}

func TestOnlyTwoCategoriesAreMandatory(t *testing.T) {
	for c := range Categories() {
		if want := c == ChildAbuse || c == Terrorism; c.Mandatory() != want {
			t.Errorf("%s: Mandatory = %v", c, c.Mandatory())
		}
	}
}

// Every offence and every theme a school must answer for has a category.
func TestTaxonomyCovers(t *testing.T) {
	offences, themes := map[string]bool{}, map[string]bool{}
	for c := range Categories() {
		offences[c.Class().Offence] = true
		themes[c.Class().Theme] = true
	}
	delete(offences, "")
	delete(themes, "")
	for what, both := range map[string]struct {
		got  map[string]bool
		want []string
	}{
		"offence (I6)": {offences, []string{
			"child sexual abuse", "controlling or coercive behaviour", "extreme sexual violence and extreme pornography", "fraud",
			"hate offences", "inciting violence", "intimate image abuse", "people smuggling", "promoting suicide",
			"selling illegal drugs or weapons", "sexual exploitation", "terrorism",
		}},
		"theme (C1-C11)": {themes, []string{
			"drugs and substance abuse", "extremism", "gambling", "harmful content", "hate and discrimination",
			"malware and hacking", "misinformation and disinformation", "piracy", "pornography",
			"self-harm, suicide and eating disorders", "violence against women and girls",
		}},
	} {
		if got := slices.Sorted(maps.Keys(both.got)); !slices.Equal(got, both.want) {
			t.Errorf("each %s has a category:\n got %q\nwant %q", what, got, both.want)
		}
	}
}
