package terms

import (
	"fmt"
	"strings"
	"testing"
)

func TestChanges(t *testing.T) { // M3, S3: nobody loosens alone
	const base = "language: en\ntheme: drugs\nnever: [weed killer]\nterms: [{severity: 3, say: [bongo juice, other]}]\n"
	for _, c := range []struct {
		name, after string
		want        []string
	}{
		{"written otherwise", "theme: drugs\nlanguage: en\nnever:\n  - weed killer\nterms:\n  - {severity: 3, say: [other]}\n  - {severity: 3, say: [bongo juice]}\n", nil},
		{"another phrase", strings.Replace(base, "other", "other, more", 1), []string{`+ drugs 3 "more"`}},
		{"a phrase less", strings.Replace(base, ", other", "", 1), []string{`LOOSENS - drugs 3 "other"`}},
		{"graver", strings.Replace(base, "severity: 3", "severity: 4", 1), []string{`~ drugs 4 "bongo juice" (was 3)`, `~ drugs 4 "other" (was 3)`}},
		{"less grave", strings.Replace(base, "severity: 3", "severity: 2", 1), []string{`LOOSENS ~ drugs 2 "bongo juice" (was 3)`, `LOOSENS ~ drugs 2 "other" (was 3)`}},
		{"narrowed", strings.Replace(base, "say:", "unless: [band], say:", 1), []string{
			`LOOSENS - drugs 3 "bongo juice"`, `+ drugs 3 "bongo juice" unless "band"`, `LOOSENS - drugs 3 "other"`, `+ drugs 3 "other" unless "band"`}},
		{"an exception more", strings.Replace(base, "weed killer", "weed killer, weed whacker", 1), []string{`LOOSENS + never drugs "weed whacker"`}},
		{"an exception less", strings.Replace(base, "never: [weed killer]\n", "", 1), []string{`- never drugs "weed killer"`}},
		{"a grade below", base + "grade: [{severity: 1, say: [weed club]}]", []string{`LOOSENS + grade 1 drugs "weed club"`}},
		{"the gravest grade", base + "grade: [{severity: 5, say: [weed club]}]", []string{`+ grade 5 drugs "weed club"`}},
		{"help that speaks over a theme", strings.Replace(base, "other]}]", "other]}, {theme: help_seeking, severity: 1, over: [drugs], say: [no more]}]", 1), []string{`LOOSENS + help_seeking 1 "no more" over drugs`}},
		{"a spelling", base + "same: {kitten: [kitn]}", []string{`LOOSENS + same "kitn" read as "kitten"`}},
		{"nothing left", "theme: drugs\n", []string{`- never drugs "weed killer"`, `LOOSENS - drugs 3 "bongo juice"`, `LOOSENS - drugs 3 "other"`}},
	} {
		var got []string
		for _, change := range Changes(map[string]string{"a.yaml": base}, map[string]string{"b.yaml": c.after}) {
			text := change.Text
			if change.Loosens {
				text = "LOOSENS " + text
			}
			got = append(got, text)
		}
		if sorted(got) != sorted(c.want) {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}

func sorted(list []string) string {
	seen := map[string]bool{}
	for _, s := range list {
		seen[s] = true
	}
	return fmt.Sprint(len(list), seen)
}

// A school's packs stand on those in the program: they add, pass over and grade.
func TestOwnPacks(t *testing.T) { // M7
	set, problems := LoadWith(map[string]string{"terms/ours.yaml": `language: en
theme: drugs
never: [buy weed for the pond]
grade:
  - {severity: 2, say: [cannabis farm game]}
  - {severity: 5, say: [cannabis at school]}
terms: [{severity: 4, say: [bongo juice]}]
`})
	if set == nil {
		t.Fatal(problems)
	}
	for words, want := range map[string]string{
		"bongo juice": "drugs 4", "buy weed": "drugs 4", "how to buy weed for the pond": "", "cannabis farm game": "drugs 2",
		"cannabis at school": "drugs 5", "kill myself": "suicide 5",
	} {
		got := ""
		if hit, ok := set.MatchAny(words); ok {
			got = fmt.Sprint(hit.Theme, " ", hit.Severity)
		}
		if got != want {
			t.Errorf("%q: %q, want %q", words, got, want)
		}
		e := set.Explain(words, ^Bands(0))
		if (e.Gravest == nil) != (want == "") || e.Gravest != nil && fmt.Sprint(e.Gravest.Term.Theme, " ", e.Gravest.Severity) != want {
			t.Errorf("Explain(%q) says otherwise: %+v", words, e.Gravest)
		}
	}
	if _, problems := LoadWith(map[string]string{"terms/bad.yaml": "language: en\ngrade: [{severity: 9, say: [x y]}]\n"}); len(problems) != 1 ||
		problems[0].Error() != `terms/bad.yaml:2:20: severity: want 1 to 5, got "9"` {
		t.Errorf("a bad grade: %v", problems)
	}
}
