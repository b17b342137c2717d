package appliance

import (
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"schoolgate/alerts"
	"schoolgate/configs"
	"schoolgate/desk"
	"schoolgate/supply"
)

// F14, I2: what IT and leadership are told of, and that a list mended or a
// version let in is told no more.
func TestITAndLeadershipHearOfHeldVersionsAndRedMandatoryLists(t *testing.T) {
	b := newFeedBox(t, betsAndFloor)
	told := func(later time.Duration) []alerts.Notice {
		t.Helper()
		status, err := supply.StatusOf(b.cfg, time.Now().Add(later))
		if err != nil {
			t.Fatal(err)
		}
		return supplyNotices(status)
	}
	same := func(when string, got []alerts.Notice, want ...alerts.Notice) {
		t.Helper()
		if diff := cmp.Diff(want, got, cmpopts.IgnoreFields(alerts.Notice{}, "Since"), cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", when, diff)
		}
	}
	same("before the first fetch", told(0), alerts.Notice{Kind: alerts.NoticeRed, Feed: "floor"})
	b.publish(numbered("bet", 20), numbered("bad", 20))
	b.fetch()
	same("fetched", told(0))
	same("three days later", told(72*time.Hour), alerts.Notice{Kind: alerts.NoticeRed, Feed: "floor"})
	b.publish(numbered("bet", 20)+"office.school.example\n", numbered("bad", 20))
	done := b.fetch()
	if done.Held == nil {
		t.Fatalf("not held back: %+v", done)
	}
	same("held back", told(0), alerts.Notice{Kind: alerts.NoticeHeld, Version: done.Held.Version, Count: 1})
	b.publish(numbered("bet", 21), numbered("bad", 20))
	b.fetch()
	same("mended", told(0))
}

// The roles are those of policy.yaml: it and leadership hear of the box and never
// of a child.
func TestITHearsOfTheBoxAndOfNoAlert(t *testing.T) {
	cfg, problems := configs.Load("")
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	cfg.School.Alerts.People = []configs.Recipient{
		{Roles: []string{"it"}, Mail: "it@school.example"}, {Roles: []string{"leadership"}, Mail: "slt@school.example"},
		{Roles: []string{"head"}, Mail: "head@school.example"},
	}
	cfg.School.Alerts.Night = []string{"it"}
	p := desk.Plan(cfg)
	saturday := time.Date(2026, 11, 28, 23, 0, 0, 0, time.UTC)
	for _, a := range []alerts.Alert{{Severity: 5}, {Severity: 5, Adult: true}, {Severity: 5, Roles: []string{"it"}}} {
		if got := p.To(&a, saturday); !slices.Equal(got, []string{"head@school.example"}) {
			t.Errorf("alert %+v goes to %q", a, got)
		}
	}
}
