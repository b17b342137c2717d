package revisions

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"schoolgate/configs"
	"schoolgate/terms"
)

const ourPack = "language: en\ntheme: bullying\nterms: [{severity: 4, say: [sunny hill gang]}]\n"

// A person alone can have more heard and never less; what may not be in force is
// stood in for by the last revision, and a revision that was altered by none.
func TestTermsChangeControl(t *testing.T) { // M3, S3
	cfg := &configs.Config{Box: configs.Box{Data: t.TempDir()}}
	heard := func(want bool, trouble error) {
		t.Helper()
		set, _, err := InForce(cfg)
		if !errors.Is(err, trouble) || set == nil {
			t.Fatalf("InForce: %v, %v, want %v", set != nil, err, trouble)
		}
		if _, _, ok := terms.Hear(set, nil, "the sunny hill gang"); ok != want {
			t.Errorf("the school's phrase is heard: %v, want %v", ok, want)
		}
		if _, _, ok := terms.Hear(set, nil, "how to kill myself"); !ok {
			t.Error("the phrases in the program are not heard")
		}
	}
	save := func(s Saving) (Revision, error) { return Save(t.Context(), cfg, s) }
	heard(false, nil)
	cfg.School.Terms.Packs = map[string]string{"terms/ours.yaml": ourPack}
	heard(true, nil) // tightening is at once
	if r, err := save(Saving{By: "dsl", Reason: "an old worry"}); err != nil || r.Number != 1 {
		t.Fatalf("Save = %d, %v", r.Number, err)
	}
	cfg.School.Terms.Packs = nil
	heard(true, ErrLoosens)
	if _, err := save(Saving{By: "dsl", Reason: "too many"}); !errors.Is(err, ErrLoosens) {
		t.Errorf("one person alone: %v, want %v", err, ErrLoosens)
	}
	if _, err := save(Saving{By: "dsl", Second: " Dsl ", Reason: "too many"}); err == nil {
		t.Error("the same person twice is taken for two")
	}
	if _, err := save(Saving{By: "dsl", Second: "head"}); err == nil {
		t.Error("saved without a reason")
	}
	heard(true, ErrLoosens)
	if r, err := save(Saving{By: "dsl", Second: "head", Reason: "too many"}); err != nil || r.Number != 2 {
		t.Fatalf("Save = %d, %v", r.Number, err)
	}
	heard(false, nil)

	name := filepath.Join(cfg.Box.Data, folder, revisionName(1))
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(strings.Replace(string(text), "sunny", "rainy", 2)), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := List(cfg); err == nil || !strings.Contains(err.Error(), "not as they were saved") {
		t.Errorf("an altered revision: %v", err)
	}
	if set, _, err := InForce(cfg); set == nil || err == nil {
		t.Errorf("an altered revision: %v, %v, want the phrases in the program and an error", set != nil, err)
	}
}
