package proxy

import (
	"testing"

	"schoolgate/policy"
)

// Whichever door a help-line is reached by, its event tells that it was used, and
// nothing of the person or of which it was.
func TestHelpLineLeavesNothingOfThePerson(t *testing.T) { // F10, privacy 9
	g := newGlass(t, hello, listening)
	shielded := allowedBy(policy.ReasonNeverBlock)
	shielded.Shielded = true
	for _, host := range []string{"open.test", "private.test"} {
		g.box.school.set(host, shielded)
	}
	before := len(g.journal.all())
	for _, address := range []string{
		g.url("open.test", "/chat?q=grave"), g.url("private.test", "/"), "http://open.test:" + g.port + "/chat?q=help",
	} {
		for _, h2 := range []bool{false, true} {
			// What comes of it is no matter here: the certificate may be the origin's own.
			if resp, err := g.device(g.school, h2).Get(address); err == nil {
				resp.Body.Close()
			}
		}
	}
	events := g.journal.all()[before:]
	if len(events) < 6 {
		t.Errorf("%d events of 6 visits", len(events))
	}
	for _, e := range events {
		kept := policy.Event{
			ID: e.ID, Time: e.Time, Door: e.Door, Method: e.Method, Verdict: e.Verdict, Reason: e.Reason, Category: e.Category,
			Status: e.Status, Finding: e.Finding, PolicyVersion: e.PolicyVersion, StoreVersion: e.StoreVersion,
		}
		if e != kept {
			t.Errorf("the event of a help-line tells more than that it was one: %+v", e)
		}
	}
}
