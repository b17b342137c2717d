package policy

import "testing"

// An emergency block outranks everything but mandatory lists, the never-block set
// and a quarantine, for every profile (R25); without one nothing is as before.
func TestEmergencyBlock(t *testing.T) {
	s := *snapshot(t)
	rule := func(name, path string, n int) HostRule {
		h, err := ParseHost(name)
		if err != nil {
			t.Fatal(err)
		}
		return HostRule{Host: h, Path: path, Rule: Pos{File: "emergency", Line: n}}
	}
	s.Closed = NewHostSet(rule("pass.example", "", 1), rule("opened.example", "", 2), rule("first.example", "", 3),
		rule("help.example", "", 4), rule("illegal.example", "", 5), rule("paged.example", "/bad", 6))
	s.Version = "v+e6"
	for _, c := range []struct{ name, who, ask, want string }{
		{"over a pass", "year5", "pass.example", "block emergency emergency:1"},
		{"over an exception", "nursery", "opened.example", "block emergency emergency:2"},
		{"over an approved list", "nursery", "www.first.example", "block emergency emergency:3"},
		{"for staff", "teacher", "pass.example", "block emergency emergency:1"},
		{"not over a help-line", "year5", "help.example", "allow never_block policy.yaml:70"},
		{"not over a mandatory list", "year5", "illegal.example", "block mandatory "},
		{"not over a quarantine", "cutoff", "pass.example", "block quarantine "},
		{"one page", "teacher", "paged.example/bad/1", "block emergency emergency:6"},
		{"the page beside it", "year5", "paged.example/good", "allow uncategorised policy.yaml:21"},
		{"a page nobody can see", "year5", "paged.example", "block emergency emergency:6"},
	} {
		u, err := ParseURL(c.ask)
		if err != nil {
			t.Fatal(err)
		}
		path := u.Path
		if path == "/" {
			path = ""
		}
		q := Request{Door: DoorHTTP, Host: u.Host, Path: path, Time: tuesday}
		q.Client = map[string]Request{"year5": {Client: year5}, "nursery": {Client: nursery}, "teacher": {Client: teacher}, "cutoff": {Client: cutoff}}[c.who].Client
		r := s.Decide(q)
		if got := r.Verdict.String() + " " + r.Reason.String() + " " + r.Rule.String(); got != c.want && !(r.Rule.Line == 0 && got[:len(c.want)] == c.want) {
			t.Errorf("%s: Decide(%s) = %s, want %s", c.name, c.ask, got, c.want)
		}
		if c.ask == "paged.example" && !r.Unsettled() {
			t.Error("a door that sees the page must decide anew")
		}
		if r.PolicyVersion != "v+e6" {
			t.Errorf("policy version %q", r.PolicyVersion)
		}
	}
}
