package policy

import "testing"

// M11: what a rule watches is heard of where it was allowed too: by a pass, an
// exception or the category rules. What an adult approved, a help-line, and a site
// taken for something better than its list says raise nothing.
func TestAllowedIsWatched(t *testing.T) {
	spec := school(t)
	spec.Alerts = append(spec.Alerts, AlertRule{
		Categories: SetOf(Pornography, Education, HelpLine, Infrastructure, Gambling), Bands: [5]bool{KS1: true, KS2: true, EYFS: true, Staff: true},
		Severity: 3, Allowed: true, Rule: line(82),
	})
	p := compiled(t, spec)
	for _, test := range []struct {
		promise  string
		reason   Reason
		verdict  Verdict
		cats     CategorySet
		severity uint8
		category Category
	}{
		{"a pass", ReasonPass, Allow, SetOf(Pornography), 3, Pornography},
		{"an exception", ReasonException, Allow, SetOf(Gambling, News), 3, Gambling},
		{"an open category", ReasonCategory, Allow, SetOf(Education), 3, Education},
		{"no rule of the profile", ReasonDefault, Allow, SetOf(Gambling), 3, Gambling},
		{"nothing watched", ReasonDefault, Allow, SetOf(News), 0, Uncategorised},
		{"approved", ReasonApproved, Allow, SetOf(Pornography), 0, Uncategorised},
		{"better than its list", ReasonExcept, Allow, SetOf(Pornography, SexEducation), 0, Uncategorised},
		{"a help-line", ReasonNeverBlock, Allow, SetOf(HelpLine), 0, Uncategorised},
	} {
		q := question{facts: Facts{Categories: test.cats}, profile: p.profiles["ks2"]}
		d := Decision{Verdict: test.verdict, Reason: test.reason, Profile: q.profile}
		if got := p.severity(&q, &d); got != test.severity || d.Category != test.category {
			t.Errorf("%s: severity %d of %v, want %d of %v", test.promise, got, d.Category, test.severity, test.category)
		}
	}
}
