package main

import (
	"strings"
	"testing"

	"github.com/miekg/dns"

	"schoolgate/internal/testkit"
)

// A child's help-line answers every client of the school, one in quarantine too,
// though a list and an exception say otherwise; and the journal keeps that it was
// used, not by whom, and not which.
func TestHelpLineWorksForEveryoneAndIsNotKept(t *testing.T) { // F10, privacy 9
	upstream := testkit.NewUpstream(t, "www.childline.org.uk. 60 IN A 203.0.113.7")
	b := testkit.NewBox(t, testkit.BoxOptions{Upstream: upstream.Addr, Policy: strings.Replace(testkit.SchoolPolicy, "exceptions:\n",
		"exceptions:\n  - {block: childline.org.uk, for: everyone, reason: a mistake, by: a test}\n", 1)})
	b.Start()
	defer b.Stop()
	for _, from := range testkit.Clients {
		for _, network := range []string{"udp", "tcp"} {
			r, err := b.Ask(from, network, "www.ChildLine.org.uk", dns.TypeA)
			if err != nil {
				t.Fatalf("%s over %s: %v", from, network, err)
			}
			if len(r.Answer) != 1 || !strings.HasSuffix(r.Answer[0].String(), "203.0.113.7") {
				t.Errorf("%s over %s gets\n%s", from, network, r)
			}
		}
	}
	if r, err := b.Ask("127.0.0.5", "udp", "www.example.org", dns.TypeA); err != nil || verdict(r) != "block" {
		t.Errorf("a device in quarantine gets %v, %v for any other site, want a refusal", r, err)
	}
	shielded := 0
	for _, r := range exported(t, b) {
		if r.Reason != "never_block" {
			continue
		}
		shielded++
		if r.Client != "" || r.Device != "" || r.Group != "" || r.Host != "" {
			t.Errorf("the journal tells on a child: %+v", r)
		}
	}
	if want := 2 * len(testkit.Clients); shielded != want {
		t.Errorf("%d uses of the help-line in the journal, want %d", shielded, want)
	}
	if out := b.Run("audit", "search"); strings.Contains(strings.ToLower(out), "childline") {
		t.Errorf("audit search names the help-line:\n%s", out)
	}
}
