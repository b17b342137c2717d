package policy

import (
	"strings"
	"testing"
	"time"
)

// A policy that could not work as written is refused, all of it at once.
func TestCompileProblems(t *testing.T) {
	for _, test := range []struct {
		promise string
		spoil   func(*Spec)
		want    string // one problem, with its place
	}{
		{"two profiles of a name", func(s *Spec) { s.Profiles[2].Name = "ks2" }, `policy.yaml:30: profile "ks2": already defined at policy.yaml:20`},
		{"no age band", func(s *Spec) { s.Profiles[1].Band = 9 }, `policy.yaml:20: profile "ks2": there is no age band 9`},
		{"no such list", func(s *Spec) { s.Profiles[0].Approved = []string{"first", "second"} }, `policy.yaml:10: profile "eyfs": there is no list "second"`},
		{"approved-only with nothing approved", func(s *Spec) { s.Lists["first"] = nil }, `approved lists hold nothing`},
		{"no such period", func(s *Spec) { s.Profiles[1].Categories[2].During = "clob" }, `policy.yaml:24: profile "ks2": there is no period "clob"`},
		{"a mandatory category allowed (I5)", func(s *Spec) {
			s.Profiles[2].Categories[0] = CategoryRule{Category: ChildAbuse, Verdict: Allow, Rule: line(32)}
		}, `policy.yaml:32: profile "staff": child_abuse is mandatory`},
		{"a mandatory category outranked (I5)", func(s *Spec) { s.Profiles[1].Excepts[0].Over = SetOf(Pornography, Terrorism) },
			`policy.yaml:27: profile "ks2": sex_education cannot outrank [terrorism]`},
		{"no such profile for a group", func(s *Spec) { s.Groups[0].Profile = "ks3"; s.Groups[0].Rule = line(35) }, `policy.yaml:35: group "year 5": there is no profile "ks3"`},
		{"two groups of a name", func(s *Spec) { s.Groups[1].Name = "year 5" }, `group "year 5": already defined`},
		{"an exception without a host", func(s *Spec) { s.Exceptions[0].Host = Host{} }, `policy.yaml:50: exception: it names no host`},
		{"an exception for two", func(s *Spec) { s.Exceptions[0].Device, s.Exceptions[0].Profile = "tablet 7", "ks2" }, `policy.yaml:50: exception for "opened.example": it is for more than one`},
		{"an exception for no such group", func(s *Spec) { s.Exceptions[0].Group = "year 7" }, `policy.yaml:50: exception for "opened.example": there is no group "year 7"`},
		{"an exception for no such profile", func(s *Spec) { s.Exceptions[0].Profile = "ks3" }, `policy.yaml:50: exception for "opened.example": there is no profile "ks3"`},
		{"a pass without an end", func(s *Spec) { s.Passes[0].Until = time.Time{} }, `policy.yaml:60: pass for "pass.example": it has no end`},
		{"a pass for everyone", func(s *Spec) { s.Passes[0].Group = "" }, `policy.yaml:60: pass for "pass.example": it is for one class or client`},
		{"a pass that blocks", func(s *Spec) { s.Passes[0].Verdict = Block }, `policy.yaml:60: pass for "pass.example": a pass opens a site`},
		{"a help-line that is a page", func(s *Spec) { s.NeverBlock[0].Path = "/talk" }, `policy.yaml:70: help-line "help.example": it is one page (/talk)`},
		{"a never-block entry without a host", func(s *Spec) { s.NeverBlock[1].Host = Host{} }, `policy.yaml:71: never-block: it names no host`},
		{"no profile for pupils", func(s *Spec) { *s = Spec{Profiles: s.Profiles[2:]} }, `no profile for pupils`},
		{"nothing at all", func(s *Spec) { *s = Spec{} }, `no profile for pupils`},
	} {
		spec := school(t)
		test.spoil(&spec)
		p, problems := Compile(spec)
		if p != nil {
			t.Errorf("%s: there is a policy", test.promise)
		}
		var all []string
		for _, problem := range problems {
			all = append(all, problem.Error())
		}
		if got := strings.Join(all, "\n"); !strings.Contains(got, test.want) {
			t.Errorf("%s: Compile says\n%s\nwant %s", test.promise, got, test.want)
		}
	}
}

func TestCompileTellsAllProblems(t *testing.T) {
	spec := school(t)
	spec.Passes[0].Group = ""
	spec.Exceptions[0].Group = "year 7"
	spec.Profiles[0].Approved = []string{"second"}
	if _, problems := Compile(spec); len(problems) < 3 {
		t.Errorf("Compile tells %v, want all three", problems)
	}
}

// A spec may be compiled twice, and a policy does not follow its spec.
func TestCompileLeavesTheSpecAlone(t *testing.T) {
	spec := school(t)
	first, second := compiled(t, spec), compiled(t, spec)
	for i, p := range first.Profiles() {
		if p == second.Profiles()[i] || p.severity != second.Profiles()[i].severity {
			t.Errorf("profile %q differs or is shared between two policies", p.Name)
		}
	}
	if spec.Profiles[0].tables != nil {
		t.Error("Compile writes into the spec")
	}
}

func TestStrictest(t *testing.T) {
	for _, test := range []struct {
		promise string
		spec    []Profile
		want    string
	}{
		{"the youngest", []Profile{{Name: "ks2", Band: KS2}, {Name: "ks1", Band: KS1}, {Name: "staff", Band: Staff}}, "ks1"},
		{"approved-only before the youngest", []Profile{
			{Name: "eyfs", Band: EYFS}, {Name: "ks1", Band: KS1, ApprovedOnly: true, Approved: []string{"first"}},
		}, "ks1"},
		{"the first written of two alike", []Profile{{Name: "a", Band: KS2}, {Name: "b", Band: KS2}}, "a"},
		{"never staff", []Profile{{Name: "staff", Band: Staff, ApprovedOnly: true, Approved: []string{"first"}}, {Name: "ks2", Band: KS2}}, "ks2"},
	} {
		p := compiled(t, Spec{Profiles: test.spec, Lists: school(t).Lists})
		if got := p.Strictest().Name; got != test.want {
			t.Errorf("%s: strictest = %s, want %s", test.promise, got, test.want)
		}
		if got := p.ProfileOf("no such group").Name; got != test.want {
			t.Errorf("%s: profile of no group = %s, want %s", test.promise, got, test.want)
		}
	}
}

func TestHelpLine(t *testing.T) {
	p := compiled(t, school(t))
	if !p.HelpLine(host(t, "www.help.example"), tuesday) || p.HelpLine(host(t, "updates.example"), tuesday) {
		t.Error("help-lines and never-block hosts are mixed up")
	}
}
