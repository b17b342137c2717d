package main

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/miekg/dns"

	"schoolgate/internal/testkit"
)

// record is what these tests read of an exported event.
type record struct {
	ID       string `json:"id"`
	Door     string `json:"door"`
	Client   string `json:"client"`
	Device   string `json:"device"`
	Group    string `json:"group"`
	Host     string `json:"host"`
	Verdict  string `json:"verdict"`
	Reason   string `json:"reason"`
	Category string `json:"category"`
	Finding  string `json:"finding"`
}

// exported are the events of the journal, as audit export gives them.
func exported(t *testing.T, b *testkit.Box, args ...string) []record {
	t.Helper()
	var records []record
	for line := range strings.Lines(b.Run(append([]string{"audit", "export", "--format", "json"}, args...)...)) {
		var r record
		if err := json.Unmarshal([]byte(line), &r); err != nil {
			t.Fatalf("audit export: %v: %s", err, line)
		}
		records = append(records, r)
	}
	return records
}

// verdict is what a DNS answer says.
func verdict(r *dns.Msg) string {
	switch {
	case testkit.Blocked(r):
		return "block"
	case r.Rcode == dns.RcodeSuccess || r.Rcode == dns.RcodeNameError:
		return "allow"
	}
	return dns.RcodeToString[r.Rcode]
}
