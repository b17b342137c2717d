package policy

import (
	"encoding/json"
	"fmt"
	"math"
	"net/netip"
	"strings"
	"testing"
	"testing/quick"
	"time"
)

func TestEventID(t *testing.T) {
	if err := quick.Check(func(n uint64) bool {
		id := EventID(max(n, 1))
		up, err := ParseEventID(id.String())
		low, err2 := ParseEventID(strings.ToLower(id.String()))
		return err == nil && err2 == nil && up == id && low == id
	}, nil); err != nil {
		t.Error(err)
	}
	if got := EventID(math.MaxUint64).String(); got != "SG-FZZZZZZZZZZZZ-E" {
		t.Errorf("the last id is %s", got)
	}
	for _, bad := range []string{"", "SG-", "SG-0", "SG", "1A2B", "SG--1", "SG-+1", "SG-1 ", "SG-1_0", "SG-3W5E11264SGSG", "XX-1"} {
		if id, err := ParseEventID(bad); err == nil {
			t.Errorf("ParseEventID(%q) = %d, want an error", bad, id)
		}
	}
}

func TestEventJSON(t *testing.T) {
	for _, want := range []Event{
		{},
		{
			ID: 42, Time: tuesday, Door: DoorInspect, Client: "10.2.0.7", Device: "tablet 7", Group: "year 5", Profile: "ks2",
			Pupil: true, Host: "x.example", Path: "/a", Method: "GET", Verdict: Warn, Reason: ReasonExcept, Category: Gaming,
			Rule: "policy.yaml:4", Severity: 3, Finding: "sni_mismatch", Status: 403, PolicyVersion: "v1", StoreVersion: 7,
		},
	} {
		line, err := json.Marshal(want)
		if err != nil {
			t.Fatal(err)
		}
		var got Event
		if err := json.Unmarshal(line, &got); err != nil || got != want {
			t.Errorf("%s reads back as %+v, %v", line, got, err)
		}
	}
}

func TestWordsReadBack(t *testing.T) {
	for v := Block; v <= Allow; v++ {
		var got Verdict
		text, _ := v.MarshalText()
		if err := got.UnmarshalText(text); err != nil || got != v {
			t.Errorf("verdict %s reads back as %s, %v", v, got, err)
		}
	}
	for r := ReasonNotReady; r <= ReasonProtocol; r++ {
		var got Reason
		text, _ := r.MarshalText()
		if err := got.UnmarshalText(text); err != nil || got != r {
			t.Errorf("reason %s reads back as %s, %v", r, got, err)
		}
	}
	for d := Door(0); d <= DoorCheck; d++ {
		got := Door(99)
		text, _ := d.MarshalText()
		if err := got.UnmarshalText(text); err != nil || got != d {
			t.Errorf("door %s reads back as %s, %v", d, got, err)
		}
	}
	for b := EYFS; b <= Guest; b++ {
		if got, ok := ParseAgeBand(b.String()); !ok || got != b {
			t.Errorf("band %s reads back as %s, %v", b, got, ok)
		}
	}
	if Verdict(9).String() != "block" || Reason(99).String() != "not_ready" || !AgeBand(9).Pupil() {
		t.Error("a value that means nothing is not read as the strictest")
	}
}

// What may be known of whom (F2, F10, privacy 4 and 8).
func TestEvent(t *testing.T) {
	s := snapshot(t)
	for _, test := range []struct {
		promise string
		client  netip.Addr
		ask     string
		want    Event
	}{
		{"a page without its query", year5, "porn.example/a/b?q=secret", Event{
			Client: "10.2.0.7", Device: "tablet 7", Group: "year 5", Profile: "ks2", Pupil: true, Host: "porn.example",
			Path: "/a/b", Verdict: Block, Reason: ReasonCategory, Category: Pornography, Rule: "policy.yaml:22", Severity: 4,
		}},
		{"an IPv4 client is one, however it came", netip.MustParseAddr("::ffff:10.2.0.7"), "nowhere.example", Event{
			Client: "10.2.0.7", Device: "tablet 7", Group: "year 5", Profile: "ks2", Pupil: true, Host: "nowhere.example",
			Verdict: Allow, Reason: ReasonUncategorised, Rule: "policy.yaml:21",
		}},
		{"a mandatory hit: who and when, never what", year5, "hosting.example/bad", Event{
			Client: "10.2.0.7", Device: "tablet 7", Group: "year 5", Profile: "ks2", Pupil: true,
			Verdict: Block, Reason: ReasonMandatory, Category: ChildAbuse, Severity: 5,
		}},
		{"a host with pages on a mandatory list: an over-block, and not what", year5, "hosting.example", Event{
			Client: "10.2.0.7", Device: "tablet 7", Group: "year 5", Profile: "ks2", Pupil: true,
			Verdict: Block, Reason: ReasonMandatory, Category: ChildAbuse, Rule: "policy.yaml:20", Severity: 1, Finding: FindingOverblock,
		}},
		{"a help-line: only to be counted, never by whom and which", year5, "help.example/a?b", Event{
			Verdict: Allow, Reason: ReasonNeverBlock, Category: HelpLine, Shielded: true,
		}},
		{"no client", netip.Addr{}, "nowhere.example", Event{
			Profile: "eyfs", Pupil: true, Host: "nowhere.example", Verdict: Block, Reason: ReasonNotApproved, Rule: "policy.yaml:10",
		}},
	} {
		u, err := ParseURL(test.ask)
		if err != nil {
			t.Fatal(err)
		}
		q := Request{Door: DoorHTTP, Client: test.client, Host: u.Host, Path: u.Path, Time: tuesday}
		test.want.Time, test.want.Door, test.want.PolicyVersion, test.want.StoreVersion = tuesday, DoorHTTP, "v1", 7
		got := s.Decide(q).Event(q)
		if mandatory := got.Reason == ReasonMandatory && got.Finding == ""; (got.Secret != nil) != mandatory { // F7
			t.Errorf("%s: something to seal: %v, want %v", test.promise, got.Secret != nil, mandatory)
		} else if mandatory {
			if s := fmt.Sprintf("%v %+v %#v %s", got, &got, got.Secret, got.Secret); strings.Contains(s, u.Host.String()) || got.Secret.Reveal() != "http://"+u.Host.String()+u.Path {
				t.Errorf("%s: printed as %s, revealed as %s", test.promise, s, got.Secret.Reveal())
			}
			if b, err := json.Marshal(got); err != nil || strings.Contains(string(b), u.Host.String()) {
				t.Errorf("%s: as JSON %s, %v", test.promise, b, err)
			}
		}
		got.Secret = nil
		if got != test.want {
			t.Errorf("%s:\n got %+v\nwant %+v", test.promise, got, test.want)
		}
	}
	if e := (Ruling{}).Event(Request{Host: host(t, "x.example"), Time: time.Time{}}); e.Verdict != Block || e.Reason != ReasonNotReady || !e.Pupil {
		t.Errorf("the event of a ruling nobody filled in is %+v", e)
	}
}
