package main

import (
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"schoolgate/audit"
	"schoolgate/internal/testkit"
	"schoolgate/policy"
)

// What is due is kept by a legal hold, goes once two people have lifted it, with the
// appliance running or not, and leaves a receipt that the journal is held against.
func TestReceiptOfWhatWasRemoved(t *testing.T) { // R28, R76, F13
	b := testkit.NewBox(t, testkit.BoxOptions{Policy: testkit.SchoolPolicy + "retention: {requests: 1, path: 1}\n"})
	synctest.Test(t, func(t *testing.T) { // its clock begins in the year 2000
		j, err := audit.Open(filepath.Join(b.Dir, "data", "journal"), audit.Options{})
		if err != nil {
			t.Fatal(err)
		}
		for _, device := range []string{"tablet-7", "tablet-8", "tablet-8"} {
			if err := j.Record(&policy.Event{
				Time: time.Now(), Door: policy.DoorDNS, Device: device, Profile: "ks2", Pupil: true, Host: device + ".example",
				Verdict: policy.Allow, Reason: policy.ReasonDefault,
			}); err != nil {
				t.Fatal(err)
			}
		}
		if err := j.Close(); err != nil {
			t.Fatal(err)
		}
	})
	look := func(device, want string) {
		t.Helper()
		if out := b.Run("audit", "search", "--by", "A Lead", "--device", device); !strings.Contains(out, want) {
			t.Errorf("of %s, want %s:\n%s", device, want, out)
		}
	}
	b.Run("audit", "hold", "add", "--device", "tablet-7", "--by", "A Lead", "--reason", "police, CAD 123")
	out := b.Run("audit", "retention", "--run", "--trust-clock", "--by", "A Lead", "--reason", "the box was off for years")
	if !strings.Contains(out, "SG-1 to SG-3 ") || !strings.Contains(out, "2 requests removed, 1 held, 1 left") {
		t.Errorf("the receipt says %s", out)
	}
	look("tablet-8", "0 events")
	look("tablet-7", "1 event\n")
	b.Start()
	defer b.Stop()
	if _, errs, err := b.Try("audit", "hold", "lift", "1", "--by", "A Lead", "--second", "a  lead", "--reason", "the police agree"); err == nil || !strings.Contains(errs, "two different people") {
		t.Errorf("lifted by one person: %v %s", err, errs)
	}
	b.Run("audit", "hold", "lift", "1", "--by", "A Lead", "--second", "A Head", "--reason", "the police agree")
	if out = b.Run("audit", "retention", "--run"); !strings.Contains(out, "1 requests removed, 0 left") {
		t.Errorf("the second receipt says %s", out)
	}
	look("tablet-7", "0 events")
	if out = b.Run("audit", "retention", "--receipts"); strings.Count(out, " UTC: SG-1 to SG-3 (2000-01-01 00:00 UTC to ") != 2 || !strings.HasSuffix(out, "2 receipts\n") {
		t.Errorf("receipts:\n%s", out)
	}
	if out = b.Run("audit", "verify"); !strings.Contains(out, "3 events were removed by retention, as 2 receipts in the journal say") || !strings.Contains(out, "\nverified: ") {
		t.Errorf("verify:\n%s", out)
	}
}
