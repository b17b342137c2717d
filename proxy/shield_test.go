package proxy

import (
	"crypto/tls"
	"strings"
	"testing"

	"schoolgate/policy"
)

// Whichever door a help-line is reached by, its event is only to be counted, and holds
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
	wantShielded(t, events)
}

// The same where nobody asked the client: by the name in a request or in a ClientHello.
func TestHelpLineAtTheTransparentDoors(t *testing.T) { // F10
	shielded := allowedBy(policy.ReasonNeverBlock)
	shielded.Shielded = true
	plain := newBox(t, meantFor("127.0.0.1:"+portOf(t, origin(t, hello))))
	plain.school.set("open.test", shielded)
	if got := plain.raw("GET /chat HTTP/1.1\r\nHost: open.test\r\nConnection: close\r\n\r\n"); !strings.Contains(got, "hello from the origin") {
		t.Errorf("the help-line says %q", got)
	}
	wantShielded(t, plain.journal.all())
	b, conn, trust := transparentTLSBox(t, "198.51.100.7", nil)
	b.school.set("example.com", shielded)
	trust.ServerName, trust.InsecureSkipVerify = "example.com", true // the name is the point here
	if err := tls.Client(conn, trust).Handshake(); err != nil {
		t.Error(err)
	}
	conn.Close()
	wantShielded(t, b.journal.all())
}

func wantShielded(t *testing.T, events []policy.Event) {
	t.Helper()
	if len(events) == 0 {
		t.Error("nothing is to be counted")
	}
	for _, e := range events {
		kept := policy.Event{
			ID: e.ID, Time: e.Time, Door: e.Door, Method: e.Method, Verdict: e.Verdict, Reason: e.Reason, Category: e.Category,
			Status: e.Status, Finding: e.Finding, PolicyVersion: e.PolicyVersion, StoreVersion: e.StoreVersion, Shielded: true,
		}
		if e != kept {
			t.Errorf("the event of a help-line tells more than that it was one: %+v", e)
		}
	}
}
