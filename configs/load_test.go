package configs

import "testing"

func TestSampleLoadsWithoutAProblem(t *testing.T) {
	c, problems := Load("")
	for _, p := range problems {
		t.Error(p)
	}
	if c == nil {
		t.FailNow()
	}
	for _, w := range c.Warnings {
		t.Log("warning:", w)
	}
	t.Log(c.School.Policy.Version, len(c.School.Spec.NeverBlock), len(c.School.Spec.SafeHosts), len(c.School.Members))
}
