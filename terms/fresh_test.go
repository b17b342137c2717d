package terms

import (
	"encoding/csv"
	"os"
	"path/filepath"
	"testing"
)

// TestJudgeFresh holds what was reached on the fresh sets: each was labelled and
// committed first, measured once, and learnt from after. What they measured untouched
// is in docs/decisions/0060-terms.md; these floors only keep what was learnt.
func TestJudgeFresh(t *testing.T) {
	const recall, precision = 0.94, 0.96
	set := watch(t)
	names, err := filepath.Glob("testdata/fresh-*.csv")
	if err != nil || len(names) < 4 {
		t.Fatalf("fresh sets: %v, %v", names, err)
	}
	for _, name := range names {
		var all score
		for theme, s := range judge(set, fresh(t, name), func(search, string) {}) {
			if theme != "" {
				all = score{all.right + s.right, all.missed + s.missed, all.false + s.false}
			}
		}
		t.Logf("%s: recall %.3f, precision %.3f of %d", name, all.recall(), all.precision(), all.right+all.missed)
		if all.recall() < recall || all.precision() < precision {
			t.Errorf("%s: recall %.3f, precision %.3f; want %.2f and %.2f", name, all.recall(), all.precision(), recall, precision)
		}
	}
}

// TestJudgeHeldBack holds what half of a set reaches that was never read while the
// packs were written, only counted: floors a little below what was measured.
func TestJudgeHeldBack(t *testing.T) {
	const recall, precision, overall, falseAlarms = 0.75, 0.75, 0.89, 0.08
	var all score
	alarms, innocent := 0, 0
	rows := fresh(t, "testdata/held-i.csv")
	scores := judge(watch(t), rows, func(s search, got string) {
		if s.theme == "" {
			alarms++
		}
	})
	for theme, s := range scores {
		if theme == "" {
			innocent = s.right + s.missed
			continue
		}
		all = score{all.right + s.right, all.missed + s.missed, all.false + s.false}
		if s.recall() < recall || s.precision() < precision {
			t.Errorf("%s: recall %.2f, precision %.2f; want %.2f and %.2f", theme, s.recall(), s.precision(), recall, precision)
		}
	}
	t.Logf("recall %.3f, precision %.3f of %d; %d false alarms of %d", all.recall(), all.precision(), all.right+all.missed, alarms, innocent)
	if all.recall() < overall || all.precision() < overall || float64(alarms) > falseAlarms*float64(innocent) {
		t.Errorf("all themes: recall %.3f, precision %.3f, %d false alarms of %d; want %.2f, %.2f and at most %.2f of them",
			all.recall(), all.precision(), alarms, innocent, overall, overall, falseAlarms)
	}
}

func fresh(t *testing.T, name string) (rows []search) {
	t.Helper()
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	all, err := csv.NewReader(f).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	for i, row := range all[1:] {
		rows = append(rows, search{row[0], row[1], i + 2})
	}
	return rows
}
