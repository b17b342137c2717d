package helpcount

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"schoolgate/policy"
)

// file is the count, in the data directory.
const file = "help-count.json"

// Theme is the theme of a search for help.
const Theme = "help_seeking"

// Day is what was counted on one day.
type Day struct {
	Questions uint64 `json:"questions,omitempty"` // of names
	Visits    uint64 `json:"visits,omitempty"`    // connections and requests
	Searches  uint64 `json:"searches,omitempty"`  // for help, at a search engine
}

// String tells a day to a person.
func (d Day) String() string {
	return fmt.Sprintf("help-lines were looked up %d times and connected to %d times; %d searches were for help. Nothing is kept of who it was.",
		d.Questions, d.Visits, d.Searches)
}

// Count counts by day, by the school's clock. What it holds is in a file as soon
// as the kernel has it, so that kill -9 loses nothing; a power cut may lose the last
// half a minute of it.
type Count struct {
	log  *slog.Logger
	zone func() *time.Location

	mu   sync.Mutex
	file *os.File
	size int            // of what is in it, in bytes
	days map[string]Day // by date, 2026-11-29
	sick bool           // the last write failed, and was told
}

// Open opens the count of a data directory. One that cannot be read begins
// anew: a number is not worth a help-line.
func Open(dir string, log *slog.Logger, zone func() *time.Location) (*Count, error) {
	f, err := os.OpenFile(filepath.Join(dir, file), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("count of help-lines: %w", err)
	}
	h := &Count{log: log, zone: zone, file: f, days: map[string]Day{}}
	text, err := io.ReadAll(f)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("count of help-lines: %w", err), f.Close())
	}
	if h.size = len(text); h.size == 0 {
		return h, nil
	}
	if err := json.Unmarshal(text, &h.days); err != nil {
		h.days = map[string]Day{}
		log.Warn("the count of help-lines cannot be read and begins anew", "err", err)
	}
	return h, nil
}

// Add counts an event.
func (h *Count) Add(e *policy.Event) {
	h.mu.Lock()
	defer h.mu.Unlock()
	today := h.date(e.Time)
	d := h.days[today]
	switch {
	case e.Theme != "":
		d.Searches++
	case e.Door == policy.DoorDNS:
		d.Questions++
	default:
		d.Visits++
	}
	h.days[today] = d
	h.write()
}

func (h *Count) date(t time.Time) string { return t.In(h.zone()).Format(time.DateOnly) }

// write puts the count in place of the one before, in one call. The file's own time
// says no more than the day.
func (h *Count) write() {
	text, err := json.Marshal(h.days)
	if err == nil {
		for len(text) < h.size { // what was longer is written over
			text = append(text, ' ')
		}
		_, err = h.file.WriteAt(text, 0)
		h.size = len(text)
	}
	if err == nil {
		now := time.Now().In(h.zone())
		day := time.Date(now.Year(), now.Month(), now.Day(), 0, 0, 0, 0, now.Location())
		err = os.Chtimes(h.file.Name(), day, day)
	}
	if err != nil && !h.sick {
		h.log.Error("the count of help-lines is kept in memory alone", "err", err)
	}
	h.sick = err != nil
}

// Enter hands every day before now's to record, and forgets it once that is done.
func (h *Count) Enter(now time.Time, record func(day string, d Day) error) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	today := h.date(now)
	for _, day := range slices.Sorted(maps.Keys(h.days)) {
		if day >= today {
			break
		}
		if err := record(day, h.days[day]); err != nil {
			return fmt.Errorf("count of help-lines of %s: %w", day, err)
		}
		delete(h.days, day)
		h.write()
	}
	return nil
}

// Close ends it. What was counted stays.
func (h *Count) Close() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.file.Close()
}
