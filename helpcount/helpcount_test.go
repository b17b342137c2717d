package helpcount

import (
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"schoolgate/policy"
)

// What is counted survives an end without a word, and is handed over once its day is
// over, once.
func TestHelpCount(t *testing.T) { // F10
	dir := t.TempDir()
	open := func() *Count {
		h, err := Open(dir, slog.New(slog.DiscardHandler), func() *time.Location { return time.UTC })
		if err != nil {
			t.Fatal(err)
		}
		return h
	}
	monday := time.Date(2026, 11, 30, 23, 59, 0, 0, time.UTC)
	h := open()
	for range 12 {
		h.Add(&policy.Event{Time: monday, Door: policy.DoorDNS})
	}
	h.Add(&policy.Event{Time: monday, Door: policy.DoorCONNECT})
	h.Add(&policy.Event{Time: monday.Add(time.Hour), Door: policy.DoorInspect, Theme: Theme})
	if err := h.Close(); err != nil {
		t.Fatal(err)
	}
	h = open()
	var got []string
	record := func(day string, d Day) error {
		got = append(got, day+" "+d.String())
		return nil
	}
	if err := h.Enter(monday, record); err != nil || got != nil {
		t.Errorf("on the day itself: %q, %v", got, err)
	}
	broken := errors.New("the disk is full")
	if err := h.Enter(monday.Add(time.Hour), func(string, Day) error { return broken }); !errors.Is(err, broken) {
		t.Errorf("enter = %v, want the error of the journal", err)
	}
	for range 2 {
		if err := h.Enter(monday.Add(time.Hour), record); err != nil {
			t.Error(err)
		}
	}
	want := "2026-11-30 help-lines were looked up 12 times and connected to 1 times; 0 searches were for help. Nothing is kept of who it was."
	if len(got) != 1 || got[0] != want {
		t.Errorf("entered %q, want %q", got, want)
	}
	if err := h.Close(); err != nil {
		t.Fatal(err)
	}
	h = open() // a shorter text was written over a longer one
	if d := h.days["2026-12-01"]; len(h.days) != 1 || d.Searches != 1 {
		t.Errorf("left %v, want the one search", h.days)
	}
	info, err := os.Stat(filepath.Join(dir, file))
	if err != nil {
		t.Fatal(err)
	}
	if at := info.ModTime().UTC(); at.Hour() != 0 || at.Minute() != 0 || at.Second() != 0 {
		t.Errorf("the file was changed at %v: it may tell the day and no more", at)
	}
	if err := h.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, file), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	h = open()
	defer h.Close()
	h.Add(&policy.Event{Time: monday, Door: policy.DoorDNS})
	if h.days["2026-11-30"].Questions != 1 {
		t.Errorf("a damaged count does not begin anew: %v", h.days)
	}
}
