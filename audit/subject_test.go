package audit

import (
	"iter"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"schoolgate/policy"
)

func events(list ...policy.Event) iter.Seq2[policy.Event, error] {
	return func(yield func(policy.Event, error) bool) {
		for i, e := range list {
			e.ID = policy.EventID(i + 1)
			e.Time = time.Date(2026, 11, 24, 10, i, 0, 0, time.UTC)
			if !yield(e, nil) {
				return
			}
		}
	}
}

// A copy holds what is the subject's, and nothing that is another person's.
func TestSubjectCopy(t *testing.T) { // R76, F2
	tablet := policy.Event{Door: policy.DoorInspect, Device: "tablet-7", Group: "year5", Verdict: policy.Allow, Reason: policy.ReasonDefault}
	with := func(change func(*policy.Event)) policy.Event {
		e := tablet
		change(&e)
		return e
	}
	staff := func(who, act, subject, why string) policy.Event {
		return policy.StaffAct(time.Time{}, who, act, subject, why)
	}
	list := events(
		with(func(e *policy.Event) { e.Host, e.Words, e.Theme = "www.google.com", "how to draw a volcano", "" }),
		with(func(e *policy.Event) { e.Person, e.Host = "Ann", "ann.example" }),
		with(func(e *policy.Event) { e.Person, e.Host = "Ben", "secret-of-ben.example" }),
		with(func(e *policy.Event) { e.Device, e.Person, e.Host = "office-pc", "Ann", "elsewhere.example" }),
		with(func(e *policy.Event) { e.Device, e.Host = "tablet-70", "other-tablet.example" }),
		with(func(e *policy.Event) {
			e.Reason, e.Verdict, e.Category, e.Severity, e.Rule, e.Host = policy.ReasonMandatory, policy.Block, policy.ChildAbuse, 5, "list:99", "never.example"
		}),
		staff("D. Lead", "audit.search", "device tablet-7, device of-carol", "Mrs Carol asked"),
		staff("D. Lead", "audit.search", "device tablet-70", "of no concern"),
		staff("Ann", "quarantine", "device of-carol", "Carol did it"),
		staff("Ann", "audit.search", "person Ann", "my own"),
	)
	for _, c := range []struct {
		name                 string
		subject              Subject
		want                 Copied
		holds, neither, page []string
	}{
		{"a device", Subject{Device: "tablet-7", School: "Sample <Primary>"}, Copied{Requests: 2, Refused: 1, Searches: 1, Sealed: 1, About: 1, Others: 2},
			[]string{"how to draw a volcano", "child_abuse", Redacted},
			[]string{"Ann", "Ben", "ann.example", "never.example", "list:99", "D. Lead", "Carol", "carol", "tablet-70", "other-tablet"},
			[]string{"Sample &lt;Primary&gt;", "A device is not a person", "2 requests on this device"}},
		{"a person", Subject{Person: "Ann"}, Copied{Requests: 2, Acts: 2},
			[]string{"ann.example", "elsewhere.example", "my own", Redacted}, []string{"Ben", "carol", "Carol", "volcano", "D. Lead"}, []string{"on Ann"}},
		{"a person and their device", Subject{Person: "Ann", Device: "tablet-7"}, Copied{Requests: 4, Refused: 1, Searches: 1, Sealed: 1, Acts: 2, About: 1, Others: 1},
			[]string{"ann.example", "elsewhere.example", "volcano"}, []string{"Ben", "carol", "D. Lead"}, []string{"Ann, and the device tablet-7"}},
		{"nobody", Subject{Person: "Nobody"}, Copied{}, nil, []string{"example"}, []string{"on Nobody"}},
	} {
		dir := filepath.Join(t.TempDir(), "copy")
		got, err := c.subject.WriteTo(dir, list)
		if err != nil {
			t.Fatal(err)
		}
		got.Gaps = nil
		if got.Requests != c.want.Requests || got.Refused != c.want.Refused || got.Searches != c.want.Searches || got.Sealed != c.want.Sealed ||
			got.Acts != c.want.Acts || got.About != c.want.About || got.Others != c.want.Others {
			t.Errorf("%s: %+v, want %+v", c.name, got, c.want)
		}
		read := func(name string) string {
			text, err := os.ReadFile(filepath.Join(dir, name))
			if err != nil {
				t.Fatal(err)
			}
			return string(text)
		}
		for _, file := range []string{subjectTable, subjectLines} {
			for _, want := range c.holds {
				if !strings.Contains(read(file), want) {
					t.Errorf("%s: %s lacks %q", c.name, file, want)
				}
			}
			for _, not := range c.neither {
				if strings.Contains(read(file), not) {
					t.Errorf("%s: %s holds %q", c.name, file, not)
				}
			}
		}
		cover := read(subjectCover)
		for _, want := range c.page {
			if !strings.Contains(cover, want) {
				t.Errorf("%s: the cover page lacks %q:\n%s", c.name, want, cover)
			}
		}
		if _, err := c.subject.WriteTo(dir, list); err == nil {
			t.Errorf("%s: a copy was overwritten", c.name)
		}
	}
}
