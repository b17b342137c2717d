package appliance

import (
	"context"
	"strings"
	"testing"
	"time"

	"schoolgate/acts"
	"schoolgate/audit"
	"schoolgate/configs"
	"schoolgate/control"
	"schoolgate/policy"
)

// What staff do with the box is in its journal, whether the daemon runs or not; what
// is no act of a person is refused (D2, privacy 6).
func TestRecordAct(t *testing.T) {
	cfg := &configs.Config{Box: configs.Box{Data: t.TempDir()}}
	journal, err := audit.Open(audit.In(cfg.Box.Data).Path, audit.Options{})
	if err != nil {
		t.Fatal(err)
	}
	a := &Appliance{journal: journal}
	a.config.Store(cfg)
	l, err := control.Listen(t.Context(), cfg.Box.Data)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() { served <- serveHTTP(ctx, l, a.controlHandler()) }()

	running := policy.StaffAct(time.Now(), "dsl", "audit.search", "device tablet-7", "a parent asked")
	if err := acts.Record(t.Context(), cfg, &running); err != nil || running.ID != 1 {
		t.Errorf("with the daemon: event %s, %v", running.ID, err)
	}
	forged := policy.Event{Time: time.Now(), Door: policy.DoorDNS, Host: "www.example.org"}
	if err := acts.Record(t.Context(), cfg, &forged); err == nil || !strings.Contains(err.Error(), "not the act of a person") {
		t.Errorf("a request as an act: %v, want it refused", err)
	}
	stop()
	if err := <-served; err != nil {
		t.Error(err)
	}
	if err := journal.Close(); err != nil {
		t.Error(err)
	}
	alone := policy.StaffAct(time.Now(), "dsl", "audit.search", "", "termly check")
	if err := acts.Record(t.Context(), cfg, &alone); err != nil || alone.ID != 2 {
		t.Errorf("without the daemon: event %s, %v", alone.ID, err)
	}
	var got []string
	for e, err := range audit.In(cfg.Box.Data).Search(t.Context(), audit.Query{}) {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, e.Person+" "+e.Act+" "+e.Note)
	}
	want := "dsl audit.search a parent asked, dsl audit.search termly check"
	if s := strings.Join(got, ", "); s != want {
		t.Errorf("journal = %s, want %s", s, want)
	}
}
