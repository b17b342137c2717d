package main

import (
	"strings"
	"testing"

	"schoolgate/internal/testkit"
)

// An incident of what the Headteacher's own device did is the chair's alone: whoever
// opens it, and whatever they say that it is about.
func TestIncidentOnTheHeadIsTheChairs(t *testing.T) { // R36, F8
	school, _, _ := strings.Cut(testkit.SchoolPolicy, "\nalerts:")
	policy := school + "\nalerts:\n  recipients:\n    dsl: dsl@school.example\n    chair: chair@school.example\n" +
		"    head: {mail: head@school.example, addresses: [127.0.0.2]}\n" +
		"  rules: [{categories: [child_abuse], for: [staff], severity: 5, to: [head]}]\n"
	b := testkit.NewBox(t, testkit.BoxOptions{Policy: policy})
	b.Start()
	defer b.Stop()
	fetch(t, b.Client("127.0.0.2"), "http://"+readSealed(t).hosts[0]+"/")
	event := strings.TrimSpace(b.Run("audit", "export", "--ids", "--flagged"))
	if out := b.Run("incidents", "open", "--by", "A Teacher", "--event", event, "--kind", "staff_misuse", "--about", "staff"); !strings.Contains(out, "only the chair of governors") {
		t.Errorf("opened: %s", out)
	}
	for _, role := range []string{"dsl", "deputy", "head"} {
		for _, args := range [][]string{
			{"show", "IN-1", "--reason", "to see it"}, {"note", "IN-1", "--text", "nothing to see"}, {"triage", "IN-1", "--kind", "other"},
			{"open", "--event", event, "--kind", "other"},
		} {
			out, errs, err := b.Try(append(append([]string{"incidents"}, args...), "--by", "Somebody", "--as", role)...)
			if err == nil || strings.Contains(out, "IN-1") || args[0] == "open" && strings.Contains(errs, "IN-1") {
				t.Errorf("%s as %s: %s %s", args[0], role, out, errs)
			}
		}
		if out := b.Run("incidents", "list", "--by", "Somebody", "--as", role); strings.Contains(out, "IN-1") {
			t.Errorf("%s sees %s", role, out)
		}
	}
	if out := b.Run("incidents", "show", "IN-1", "--by", "A Chair", "--as", "chair", "--reason", "to see it"); !strings.Contains(out, "for the chair of governors alone") {
		t.Error(out)
	}
}
