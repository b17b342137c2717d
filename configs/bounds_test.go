package configs

import (
	"fmt"
	"strings"
	"testing"
)

// TestHostileFilesStayWithinBounds loads large files, made
// to be slow. That it ends, and is explained, is the promise.
func TestHostileFilesStayWithinBounds(t *testing.T) {
	repeat := func(s string) string { return strings.Repeat(s, maxFile/4/len(s)) }
	numbered := func(format string, n int) string {
		var b strings.Builder
		for i := range n {
			fmt.Fprintf(&b, format, i)
		}
		return b.String()
	}
	for name, text := range map[string]string{
		"open brackets":        "profiles: " + repeat("["),
		"question marks":       repeat("? "),
		"dashes":               repeat("- "),
		"unknown fields":       "profiles:\n" + numbered("f%d: x\n", 15_000),
		"unknown categories":   "profiles:\n  ks2:\n    band: ks2\n    block: [" + repeat("gamling, ") + "]\n",
		"groups of no profile": "profiles:\n  ks2: {band: ks2}\ngroups:\n" + numbered("  g%d: {profile: x}\n", 7_000),
		"profiles":             "profiles:\n" + numbered("  p%d: {band: kx2}\n", 7_000),
		"one long line":        "profiles: \"" + repeat("x") + "\n",
		"one long key":         repeat("x") + ": 1\n",
		"a mistake at the end": "profiles:\n" + numbered("  p%d: {band: ks2}\n", 2_000) + "}\n",
		"colons":               repeat("a: "),
		"comments":             repeat("#\n"),
		"quotes":               repeat("'\n"),
	} {
		c, problems := loadText("policy.yaml", map[string]string{"policy.yaml": text})
		if c != nil || len(problems) == 0 || len(problems) > maxProblems+1 {
			t.Errorf("%s: a configuration: %v, %d problems", name, c != nil, len(problems))
		}
		for _, p := range problems {
			if len(p.Text) > 1000 {
				t.Errorf("%s: a problem of %d bytes", name, len(p.Text))
			}
		}
	}
}

func TestOfManyProblemsTheFirstAreTold(t *testing.T) {
	_, problems := loadText("policy.yaml", map[string]string{"policy.yaml": "profiles:\n  ks2: {band: ks2}\n" + strings.Repeat("zone: x\n", 1000)})
	if got, want := problems[len(problems)-1].Error(), "policy.yaml:1: and perhaps more: mend these first"; got != want || len(problems) != maxProblems+1 {
		t.Errorf("%d problems, the last is %q, want %q", len(problems), got, want)
	}
}
