package acts

import (
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"schoolgate/audit"
	"schoolgate/categories"
	"schoolgate/configs"
	"schoolgate/control"
	"schoolgate/policy"
)

func atRest(t *testing.T) *configs.Config {
	t.Helper()
	cfg, problems := configs.Load("")
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	cfg.Box.Data, cfg.Box.Lists.Store = t.TempDir(), filepath.Join(t.TempDir(), "lists")
	return cfg
}

// closed gives a box a list that nothing overrides.
func closed(t *testing.T, cfg *configs.Config, name string) {
	t.Helper()
	dir, err := categories.OpenDir(cfg.Box.Lists.Store)
	if err != nil {
		t.Fatal(err)
	}
	key, err := categories.StoreKey(cfg.Box.Lists.Store)
	if err != nil {
		t.Fatal(err)
	}
	b, err := categories.Create(dir.Path(1), categories.BuildOptions{Version: 1, Key: key})
	if err != nil {
		t.Fatal(err)
	}
	host, err := policy.ParseHost(name)
	if err != nil {
		t.Fatal(err)
	}
	id := b.Source(categories.Source{Name: "closed", Mandatory: true})
	if err := b.Add(id, categories.Entry{Host: host, Category: policy.ChildAbuse}); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Finish(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := dir.Publish(1); err != nil {
		t.Fatal(err)
	}
}

func act(words string) policy.Event {
	return policy.StaffAct(time.Date(2026, 11, 27, 10, 0, 0, 0, time.UTC), "A DSL", "pass.give", "year5: "+words, "asked to see "+words)
}

// Who, what and why go into the journal, without an address of a mandatory list; where
// the lists cannot be read, without any address.
func TestRecord(t *testing.T) {
	for _, c := range []struct {
		name    string
		lists   func(*testing.T, *configs.Config)
		subject string
	}{
		{"no lists yet", func(*testing.T, *configs.Config) {}, "year5: closed.example and open.example"},
		{"lists", func(t *testing.T, cfg *configs.Config) { closed(t, cfg, "closed.example") }, "year5: (sealed) and open.example"},
		{"lists that cannot be read", func(t *testing.T, cfg *configs.Config) {
			closed(t, cfg, "closed.example")
			dir, err := categories.OpenDir(cfg.Box.Lists.Store)
			if err == nil {
				err = os.Truncate(dir.Path(1), 100)
			}
			if err != nil {
				t.Fatal(err)
			}
		}, "year5: (sealed) and (sealed)"},
	} {
		t.Run(c.name, func(t *testing.T) {
			cfg := atRest(t)
			c.lists(t, cfg)
			e := act("closed.example and open.example")
			if err := Record(t.Context(), cfg, &e); err != nil || e.ID == 0 {
				t.Fatalf("number %d, %v", e.ID, err)
			}
			got, err := audit.In(cfg.Box.Data).Event(t.Context(), e.ID)
			want := "asked to see " + strings.TrimPrefix(c.subject, "year5: ")
			if err != nil || got.Person != "A DSL" || got.Act != "pass.give" || got.Subject != c.subject || got.Note != want || got.Door != policy.DoorStaff || !got.Time.Equal(e.Time) {
				t.Errorf("on record: %+v, %v; want %q, %q", got, err, c.subject, want)
			}
		})
	}
}

// An act that cannot be recorded is an error, whoever should have recorded it; and where
// the daemon refuses one it is not recorded behind its back.
func TestWhatIsNotOnRecordIsNotDone(t *testing.T) {
	cfg := atRest(t)
	path := audit.In(cfg.Box.Data).Path
	j, err := audit.Open(path, audit.Options{})
	if err != nil {
		t.Fatal(err)
	}
	e := act("a site")
	if err := Record(t.Context(), cfg, &e); err == nil || e.ID != 0 {
		t.Errorf("recorded as %d in another's journal", e.ID)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}

	cfg.Box.Data = shortDir(t)
	l, err := control.Listen(t.Context(), cfg.Box.Data)
	if err != nil {
		t.Fatal(err)
	}
	refuse, heard := false, policy.Event{}
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := json.NewDecoder(r.Body).Decode(&heard); err != nil || r.URL.Path != "/record" || refuse {
			http.Error(w, "the disk is full", http.StatusServiceUnavailable)
			return
		}
		json.NewEncoder(w).Encode(policy.EventID(77))
	})}
	done := make(chan bool)
	go func() { server.Serve(l); close(done) }()
	t.Cleanup(func() { server.Close(); <-done })
	if err := Record(t.Context(), cfg, &e); err != nil || e.ID != 77 || heard.Person != "A DSL" || heard.Act != "pass.give" || heard.Note != e.Note || heard.Subject != e.Subject {
		t.Errorf("the daemon heard %+v, number %d, %v", heard, e.ID, err)
	}
	refuse = true
	if err := Record(t.Context(), cfg, &e); err == nil || !strings.Contains(err.Error(), "the disk is full") {
		t.Errorf("the daemon refused: %v", err)
	}
	if _, err := os.Stat(audit.In(cfg.Box.Data).Path); !os.IsNotExist(err) {
		t.Errorf("there is a journal beside the daemon's: %v", err)
	}
}

// shortDir is a folder whose name leaves room for that of a socket.
func shortDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "sg")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// A box that says so has each act on disk before it is answered.
func TestJournalOptions(t *testing.T) {
	cfg := atRest(t)
	if o := JournalOptions(&cfg.Box); o.Reserve != journalReserve || o.SegmentSize != cfg.Box.Audit.SegmentSize || o.Durability == audit.Strict {
		t.Errorf("%+v", o)
	}
	cfg.Box.Audit.Durability = configs.StrictlySync
	if o := JournalOptions(&cfg.Box); o.Durability != audit.Strict {
		t.Errorf("%+v", o)
	}
}
