package desk

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"schoolgate/alerts"
	"schoolgate/audit"
	"schoolgate/configs"
	"schoolgate/evidence"
	"schoolgate/incidents"
	"schoolgate/policy"
)

// desk is a box at rest with a journal of these events, numbered from 1, and these
// alerts.
func desk(t *testing.T, events []policy.Event, list ...alerts.Alert) *configs.Config {
	t.Helper()
	cfg, problems := configs.Load("")
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	cfg.Box.Data = t.TempDir()
	journal, err := audit.Open(audit.In(cfg.Box.Data).Path, audit.Options{})
	if err != nil {
		t.Fatal(err)
	}
	for i := range events {
		err = errors.Join(err, journal.Record(&events[i]))
	}
	dir := alerts.In(cfg.Box.Data)
	text, jsonErr := json.Marshal(alerts.Listing{Total: len(list), Alerts: list})
	err = errors.Join(err, jsonErr, journal.Close(), os.Mkdir(dir, 0o700), os.WriteFile(filepath.Join(dir, "alerts.json"), text, 0o600))
	if err != nil {
		t.Fatal(err)
	}
	return cfg
}

var morning = time.Date(2026, 11, 24, 10, 0, 0, 0, time.UTC)

// searched is what a pupil searched for on the tablet, so long after the morning's
// lesson began.
func searched(words string, severity uint8, after time.Duration, person string) policy.Event {
	return policy.Event{
		Time: morning.Add(after), Door: policy.DoorInspect, Client: "10.2.15.7", Device: "tablet", Person: person, Group: "year5", Profile: "ks2", Pupil: true,
		Host: "www.google.com", Path: "/search", Words: words, Theme: "suicide", Severity: severity, Verdict: policy.Allow, Reason: policy.ReasonCategory,
	}
}

// An incident of an alert says what was gravest, not what came first; and it is found,
// and shown, where the clock was set back an hour in between (F12).
func TestIncidentOfAnAlertIsOfTheGravest(t *testing.T) {
	cfg := desk(t, []policy.Event{
		searched("first", 3, 0, ""), searched("gravest", 5, -time.Hour, ""), searched("later", 4, time.Minute, ""),
		{Time: morning, Door: policy.DoorInspect, Client: "10.2.15.9", Pupil: true, Words: "somebody else", Theme: "suicide", Severity: 5},
	}, alerts.Alert{ID: 1, Severity: 5, Theme: "suicide", Client: "10.2.15.7", Device: "tablet", First: morning, Last: morning.Add(time.Minute), Count: 3, Events: []policy.EventID{1, 2, 3, 4}})
	f, about, err := FactsOfAlert(t.Context(), cfg, "AL-1", incidents.RoleDSL)
	if err != nil || about != incidents.Pupils || f.Words != "gravest" || f.Event != 2 || f.Severity != 5 || !slices.Equal(f.More, []policy.EventID{1, 3}) {
		t.Errorf("the incident says %+v of %q, %v", f, about, err)
	}
	d, err := Open(cfg, alerts.Reader{As: "dsl"})
	if err != nil {
		t.Fatal(err)
	}
	events, err := d.Events(t.Context(), &d.Listing.Alerts[0])
	if err != nil || len(events) != 3 {
		t.Errorf("%d events are shown, want the 3 of the device: %v", len(events), err)
	}
}

// What another child did, who had signed in on the same tablet, is in no incident,
// evidence or copy of this one's.
func TestSharedTablet(t *testing.T) { // R27, R76
	cfg := desk(t, []policy.Event{
		searched("mine", 5, 0, "pupil-a"), searched("theirs", 4, time.Minute, "pupil-b"), searched("nobody signed in", 3, 2*time.Minute, ""),
	},
		alerts.Alert{ID: 1, Theme: "suicide", Device: "tablet", Person: "pupil-a", Review: alerts.Review{State: alerts.StateClosed}},
		alerts.Alert{ID: 2, Theme: "suicide", Device: "tablet", Person: "pupil-b", Review: alerts.Review{State: alerts.StateClosed}},
		alerts.Alert{ID: 3, Theme: "suicide", Device: "tablet"},
		alerts.Alert{ID: 4, Theme: "extremism", Device: "tablet", Person: "a-teacher", Adult: true, Review: alerts.Review{State: alerts.StateClosed}},
		alerts.Alert{ID: 5, Theme: "suicide", Device: "another", Person: "pupil-a", Review: alerts.Review{State: alerts.StateClosed}},
	)
	f, _, err := FactsAround(t.Context(), cfg, "tablet", morning)
	if err != nil || f.Words != "mine" || !slices.Equal(f.More, []policy.EventID{3}) {
		t.Errorf("the incident says %+v, %v", f, err)
	}
	f.More = append(f.More, 2) // as one of before
	var out bytes.Buffer
	if _, err := evidence.Write(t.Context(), cfg, &out, &incidents.Incident{ID: 1, Facts: f}, evidence.Options{By: "A DSL", Reason: "the police asked", Around: time.Hour}); err != nil {
		t.Fatal(err)
	}
	if text := out.String(); !strings.Contains(text, "mine") || !strings.Contains(text, "nobody signed in") || strings.Contains(text, "theirs") || strings.Contains(text, "pupil-b") {
		t.Errorf("the evidence:\n%s", text)
	}
	for _, c := range []struct {
		person, device string
		closed         []policy.EventID
		open           int
	}{
		{"pupil-a", "", []policy.EventID{1, 5}, 0},
		{"", "tablet", nil, 1},
		{"pupil-a", "tablet", []policy.EventID{1, 5}, 1},
		{"pupil-b", "tablet", []policy.EventID{2}, 1},
		{"a-teacher", "", nil, 0}, // the Headteacher's to tell (R36)
	} {
		closed, open, err := AlertsOf(cfg, c.person, c.device)
		var got []policy.EventID
		for _, a := range closed {
			got = append(got, a.ID)
		}
		if err != nil || !slices.Equal(got, c.closed) || open != c.open {
			t.Errorf("alerts of %q on %q: %v and %d open, %v; want %v and %d", c.person, c.device, got, open, err, c.closed, c.open)
		}
	}
}

// Of a sealed address nobody learns whose alert is not theirs, keys or not (R36).
func TestSealedAddressIsForWhomTheAlertIs(t *testing.T) {
	hit := policy.Event{Time: morning, Door: policy.DoorHTTP, Client: "10.2.15.7", Profile: "ks2", Pupil: true, Reason: policy.ReasonMandatory, Severity: 5, Sealed: "a blob"}
	staff := hit
	staff.Client, staff.Profile, staff.Pupil = "10.2.100.7", "staff", false
	cfg := desk(t, []policy.Event{hit, staff})
	for _, c := range []struct {
		ref  string
		role incidents.Role
		want bool
	}{
		{"SG-1", incidents.RoleDSL, true}, {"SG-1", incidents.RoleHead, true}, {"SG-1", incidents.RoleChair, false},
		{"SG-2", incidents.RoleDSL, false}, {"SG-2", incidents.RoleHead, true}, {"SG-2", incidents.RoleChair, true},
	} {
		blob, err := SealedAddress(t.Context(), cfg, c.ref, c.role)
		if got := string(blob) == "a blob" && err == nil; got != c.want || !got && !errors.Is(err, incidents.ErrUnknown) {
			t.Errorf("%s for %s: %q, %v", c.ref, c.role, blob, err)
		}
	}
}
