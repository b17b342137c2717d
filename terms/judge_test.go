package terms

import (
	"encoding/csv"
	"os"
	"strings"
	"testing"
)

// search is one row of testdata/searches.csv.
type search struct {
	input, theme string
	line         int
}

// labelled reads the searches with the theme a careful reader would raise. Rows of
// odd lines (held) were never looked at while the packs were written.
func labelled(t *testing.T, held bool) (rows []search) {
	t.Helper()
	f, err := os.Open("testdata/searches.csv")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	all, err := csv.NewReader(f).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	for i, row := range all[1:] {
		if line := i + 2; (line%2 == 1) == held {
			rows = append(rows, search{row[0], row[1], line})
		}
	}
	return rows
}

// words is what is judged of an input: the words of a search, or the input itself.
func words(input string) string {
	if !strings.Contains(input, "://") {
		return input
	}
	_, text, _ := Query(input)
	return text
}

// score is how often a theme was raised where it should be, was not, and was where
// it should not be.
type score struct{ right, missed, false int }

func (s score) recall() float64    { return ratio(s.right, s.right+s.missed) }
func (s score) precision() float64 { return ratio(s.right, s.right+s.false) }

func ratio(n, of int) float64 {
	if of == 0 {
		return 1
	}
	return float64(n) / float64(of)
}

// judge compares a set with the labels; wrong is called for every difference.
func judge(set *Set, rows []search, wrong func(s search, got string)) map[string]score {
	scores := map[string]score{}
	for _, row := range rows {
		got := ""
		if hit, ok := set.MatchAny(words(row.input)); ok {
			got = hit.Theme.String()
		}
		if got == row.theme {
			s := scores[got]
			s.right++
			scores[got] = s
			continue
		}
		s := scores[row.theme]
		s.missed++
		scores[row.theme] = s
		s = scores[got]
		s.false++
		scores[got] = s
		wrong(row, got)
	}
	return scores
}

func report(t *testing.T, title string, scores map[string]score) {
	t.Logf("%-18s %6s %9s %s", title, "recall", "precision", "of")
	for _, theme := range append(Themes(), NoTheme) {
		s := scores[theme.String()]
		t.Logf("%-18s %6.2f %9.2f %d", theme, s.recall(), s.precision(), s.right+s.missed)
	}
}

// The half the packs were tuned on: what is wrong is shown.
func TestJudgeTuning(t *testing.T) {
	set := watch(t)
	scores := judge(set, labelled(t, false), func(s search, got string) {
		t.Logf("searches.csv:%d: %q: got %q, want %q (read as %q)", s.line, words(s.input), got, s.theme, set.Fold(words(s.input)))
	})
	report(t, "tuning half", scores)
}

// The half nobody tuned on: how the packs will do with searches they have not met.
func TestJudgeHeldOut(t *testing.T) {
	const recall, precision, overall = 0.75, 0.75, 0.9
	scores := judge(watch(t), labelled(t, true), func(search, string) {})
	report(t, "held-out half", scores)
	var all score
	for theme, s := range scores {
		if s.recall() < recall || s.precision() < precision {
			t.Errorf("%s: recall %.2f, precision %.2f; want %.2f and %.2f", theme, s.recall(), s.precision(), recall, precision)
		}
		if theme != "" {
			all = score{all.right + s.right, all.missed + s.missed, all.false + s.false}
		}
	}
	t.Logf("%-18s %6.2f %9.2f %d", "all themes", all.recall(), all.precision(), all.right+all.missed)
	if all.recall() < overall || all.precision() < overall {
		t.Errorf("all themes: recall %.2f, precision %.2f; want %.2f", all.recall(), all.precision(), overall)
	}
}
