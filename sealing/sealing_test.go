package sealing

import (
	"log/slog"
	"strings"
	"testing"
	"time"

	"schoolgate/audit"
	"schoolgate/configs"
	"schoolgate/helpcount"
	"schoolgate/policy"
)

// closed is a list with one host on it.
type closed struct{}

func (closed) Classify(h policy.Host, _ string) (f policy.Facts) {
	if h.String() == "closed.example" {
		f.Mandatory = policy.ChildAbuse
	}
	return f
}

// What the doors hand over is written without what must be kept from everybody: one
// event at a time or several, each with the number that it has in the journal.
func TestNothingThatMustBeKeptIsWritten(t *testing.T) { // F7, F10
	data := t.TempDir()
	log := slog.New(slog.DiscardHandler)
	journal, err := audit.Open(audit.In(data).Path, audit.Options{})
	if err != nil {
		t.Fatal(err)
	}
	help, err := helpcount.Open(data, log, func() *time.Location { return time.UTC })
	if err != nil {
		t.Fatal(err)
	}
	s := New(Options{
		Journal: journal, Help: help, Log: log,
		Lists:    func() policy.Classifier { return closed{} },
		HelpLine: func(name string, _ bool) bool { return name == "help.example" },
	})
	if err := s.Configure(configs.Seal{}); err != nil {
		t.Fatal(err)
	}
	day := time.Date(2026, 11, 24, 10, 0, 0, 0, time.UTC)
	event := func(host, words string) policy.Event {
		return policy.Event{Time: day, Door: policy.DoorInspect, Client: "10.0.0.1", Host: host, Words: words, Verdict: policy.Allow}
	}
	hit := event("", "")
	hit.Secret = policy.NewSecret("https://closed.example/a")
	if err := s.Record(&hit); err != nil || hit.Secret != nil || hit.Sealed != "" {
		t.Errorf("Record of a hit = %+v, %v, want its address dropped: the school has given no keys", hit, err)
	}
	list := []policy.Event{
		event("search.example", "closed.example and trains"), event("search.example", "help.example"), event("www.example", ""),
	}
	if err := s.RecordBatch(list); err != nil {
		t.Fatal(err)
	}
	if list[0].ID != hit.ID+1 || list[1].ID != 0 || list[2].ID != hit.ID+2 {
		t.Errorf("numbers %d, %d, %d after %d: want the help-line to have none", list[0].ID, list[1].ID, list[2].ID, hit.ID)
	}
	var counted string
	if err := help.Enter(day.AddDate(0, 0, 1), func(_ string, d helpcount.Day) error { counted = d.String(); return nil }); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(counted, "1 searches were for help") {
		t.Errorf("counted: %q", counted)
	}
	if err := help.Close(); err != nil {
		t.Error(err)
	}
	if err := journal.Close(); err != nil {
		t.Fatal(err)
	}
	written := 0
	for e, err := range audit.In(data).Search(t.Context(), audit.Query{}) {
		if err != nil {
			t.Fatal(err)
		}
		written++
		if text := e.Host + e.Path + e.Words; strings.Contains(text, "closed.example") || strings.Contains(text, "help.example") {
			t.Errorf("written: %+v", e)
		}
	}
	if written != 3 {
		t.Errorf("%d events are written, want 3", written)
	}
}
