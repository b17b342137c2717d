package evidence

import (
	"bytes"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"schoolgate/audit"
	"schoolgate/configs"
	"schoolgate/incidents"
	"schoolgate/policy"
)

var morning = time.Date(2026, 11, 24, 10, 0, 0, 0, time.UTC)

// box is one at rest with a journal of these events, numbered from 1.
func box(t *testing.T, events ...policy.Event) *configs.Config {
	t.Helper()
	cfg, problems := configs.Load("")
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	cfg.Box.Data, cfg.Box.Lists.Store = t.TempDir(), filepath.Join(t.TempDir(), "none")
	if len(events) == 0 {
		return cfg
	}
	j, err := audit.Open(audit.In(cfg.Box.Data).Path, audit.Options{})
	for i := range events {
		if err == nil {
			err = j.Record(&events[i])
		}
	}
	if err = errors.Join(err, j.Close()); err != nil {
		t.Fatal(err)
	}
	return cfg
}

func seen(site, device, person string, after time.Duration) policy.Event {
	return policy.Event{
		Time: morning.Add(after), Door: policy.DoorInspect, Client: "10.2.15.7", Device: device, Person: person, Profile: "ks2", Pupil: true,
		Host: site, Verdict: policy.Block, Reason: policy.ReasonCategory,
	}
}

func incident(facts incidents.Facts) *incidents.Incident {
	return &incidents.Incident{ID: 1, Facts: facts, Steps: []incidents.Step{
		{ID: 1, At: morning, By: "A DSL", Act: incidents.ActOpen, Change: incidents.Change{Text: "opened"}},
		{ID: 2, At: morning, By: "A Head", Act: incidents.ActOpen, Change: incidents.Change{Text: "noted"}},
	}}
}

func bundle(t *testing.T, cfg *configs.Config, i *incidents.Incident) ([]byte, ed25519.PublicKey) {
	t.Helper()
	var out bytes.Buffer
	key, err := Write(t.Context(), cfg, &out, i, Options{By: "A DSL", Reason: "the police asked", Around: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	return out.Bytes(), key
}

// A bundle holds each step, each entry once that the incident names or its device made
// around that time, and nobody else's; a mandatory hit only sealed. It verifies with the
// box's key.
func TestBundleHolds(t *testing.T) {
	hit := seen("", "tablet", "", 5*time.Minute)
	hit.Reason, hit.Sealed = policy.ReasonMandatory, "a blob"
	cfg := box(t, seen("first.example", "tablet", "pupil-a", 0), seen("around.example", "tablet", "", time.Minute), hit,
		seen("sister.example", "tablet", "pupil-b", time.Minute), seen("other-device.example", "laptop", "", time.Minute),
		seen("too-late.example", "tablet", "pupil-a", 2*time.Hour), seen("named.example", "laptop", "pupil-a", 3*time.Hour))
	// An entry that is named twice, and one that the log no longer has.
	text, key := bundle(t, cfg, incident(incidents.Facts{Event: 1, More: []policy.EventID{7, 1, 99}, Time: morning, Device: "tablet", Person: "pupil-a"}))
	report, err := audit.VerifyBundle(bytes.NewReader(text))
	if err != nil || !report.OK() || !report.Key.Equal(key) {
		t.Fatalf("%+v, %v", report, err)
	}
	if got, want := report.Contents(), "1 about, 4 event, 2 step"; got != want {
		t.Errorf("in it are %s, want %s:\n%s", got, want, text)
	}
	for _, in := range []string{"first.example", "around.example", "named.example", `"sealed":"YSBibG9i"`, "opened", "noted"} {
		if !bytes.Contains(text, []byte(in)) {
			t.Errorf("%q is not in it", in)
		}
	}
	for _, out := range []string{"sister", "pupil-b", "other-device", "too-late", "a blob"} {
		if bytes.Contains(text, []byte(out)) {
			t.Errorf("%q is in it", out)
		}
	}
	var about bundleAbout
	if err := json.Unmarshal(report.About, &about); err != nil || about.By != "A DSL" || about.Reason != "the police asked" || about.Incident != incidents.RefOf(1) ||
		about.Unreadable != 1 || about.JournalHead == "" || !about.From.Equal(morning.Add(-time.Hour)) || !about.To.Equal(morning.Add(time.Hour)) {
		t.Errorf("it says of itself %+v, %v", about, err)
	}
	mine, err := Key(cfg)
	if err != nil || !key.Equal(mine.Public()) {
		t.Errorf("it is signed with another key than the box's: %v", err)
	}
}

// Whatever is changed in a bundle is told.
func TestTamperingIsTold(t *testing.T) {
	text, key := bundle(t, box(t, seen("first.example", "tablet", "", 0)), incident(incidents.Facts{Event: 1, Time: morning, Device: "tablet"}))
	good := func(text []byte) bool {
		report, err := audit.VerifyBundle(bytes.NewReader(text))
		return err == nil && report.OK() && report.Key.Equal(key)
	}
	if !good(text) {
		t.Fatal("it is not good as it is")
	}
	for n := 0; n < len(text); n += 7 { // each of them is tried in package audit
		bad := bytes.Clone(text)
		if bad[n] ^= 1; good(bad) {
			t.Fatalf("byte %d was changed, and it is good", n)
		}
	}
	lines := bytes.SplitAfter(text, []byte("\n"))
	lines = lines[:len(lines)-1]
	for n := range lines {
		without := bytes.Join(append(append([][]byte{}, lines[:n]...), lines[n+1:]...), nil)
		twice := bytes.Join(append(append([][]byte{}, lines[:n+1]...), lines[n:]...), nil)
		if good(without) || good(twice) {
			t.Errorf("line %d was removed or copied, and it is good", n+1)
		}
	}
	other, _ := bundle(t, box(t), incident(incidents.Facts{}))
	if good(other) {
		t.Error("another box's bundle bears this one's key")
	}
}

// The key is made once, whoever is first, is for the box alone, and is not made anew
// where it is damaged: what was signed with it would be nobody's.
func TestKey(t *testing.T) {
	cfg := box(t)
	keys := make([]ed25519.PrivateKey, 8)
	var all sync.WaitGroup
	for n := range keys {
		all.Go(func() {
			var err error
			if keys[n], err = Key(cfg); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	for _, k := range keys {
		if !k.Equal(keys[0]) {
			t.Fatal("the box has two keys")
		}
	}
	path := filepath.Join(cfg.Box.Data, keyFile)
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the key is readable by others: %v, %v", info.Mode(), err)
	}
	if list, err := os.ReadDir(cfg.Box.Data); err != nil || len(list) != 1 {
		t.Errorf("beside the key are left %v, %v", list, err)
	}
	if err := os.Truncate(path, 5); err != nil {
		t.Fatal(err)
	}
	if _, err := Key(cfg); err == nil || !strings.Contains(err.Error(), "backup") {
		t.Errorf("a damaged key: %v", err)
	}
}

// A bundle says that it has every entry of the device: one that cannot have them all is not
// written, and who asked is told what to do.
func TestBundleIsWhole(t *testing.T) {
	t.Parallel()
	events := make([]policy.Event, maxEvents+1)
	for n := range events {
		events[n] = seen("busy.example", "tablet", "", time.Minute)
	}
	cfg := box(t, events...)
	about := incident(incidents.Facts{Event: 1, Time: morning, Device: "tablet"})
	_, err := Write(t.Context(), cfg, io.Discard, about, Options{By: "A DSL", Reason: "the police asked", Around: time.Hour})
	if err == nil || !strings.Contains(err.Error(), "more than 20000 log entries within 1h0m0s") {
		t.Errorf("%v, want that there are too many", err)
	}
	if _, err := Write(t.Context(), cfg, io.Discard, about, Options{By: "A DSL", Reason: "the police asked", Around: time.Second}); err != nil {
		t.Errorf("a shorter time: %v", err)
	}
}
