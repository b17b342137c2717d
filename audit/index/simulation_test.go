package index

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"schoolgate/audit"
	"schoolgate/policy"
)

// world is a box under simulation: a journal that is written, a maker that comes and
// goes, and a plain list of what was recorded.
type world struct {
	t       *testing.T
	s       *school
	box     box
	journal *audit.Journal
	maker   *Maker
	model   map[policy.EventID]policy.Event
	keep    audit.Retention
}

func (w *world) record() {
	for range 1 + w.s.rnd.IntN(3) {
		evs := make([]policy.Event, 1+w.s.rnd.IntN(60))
		for i := range evs {
			evs[i] = w.s.event()
			evs[i].Time = time.Now().Add(time.Duration(i) * time.Millisecond)
		}
		if err := w.journal.RecordBatch(evs); err != nil {
			w.t.Fatal(err)
		}
		for _, e := range evs {
			w.model[e.ID] = e
		}
	}
}

// follow has the maker run for a moment and be broken off.
func (w *world) follow() {
	ctx, cancel := context.WithTimeout(w.t.Context(), time.Duration(1+w.s.rnd.IntN(3000))*time.Millisecond)
	defer cancel()
	if err := w.maker.Run(ctx, w.journal); err != nil {
		w.t.Fatal(err)
	}
}

// crash ends the maker as kill -9 does: what it had in memory is gone, and a file may
// be half written beside the others.
func (w *world) crash() {
	if err := w.maker.Close(); err != nil {
		w.t.Fatal(err)
	}
	if names := w.files(); len(names) > 0 && w.s.rnd.IntN(2) == 0 {
		if err := copyFile(names[0], names[0]+".tmp"); err != nil {
			w.t.Fatal(err)
		}
	}
	w.maker = w.box.maker(w.t, 90)
}

func (w *world) files() []string {
	names, err := filepath.Glob(filepath.Join(w.box.dir, "*"+fileExt))
	if err != nil {
		w.t.Fatal(err)
	}
	return names
}

func (w *world) damage() {
	names := w.files()
	if len(names) == 0 {
		return
	}
	name := pick(w.s.rnd, names...)
	var err error
	switch w.s.rnd.IntN(4) {
	case 0:
		err = os.Remove(name)
	case 1:
		err = os.Truncate(name, int64(w.s.rnd.IntN(20_000)))
	case 2:
		err = flip(name, int64(w.s.rnd.IntN(12_000)))
	case 3:
		err = copyFile(pick(w.s.rnd, names...), name)
	}
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) retain() {
	time.Sleep(time.Duration(w.s.rnd.IntN(72)) * time.Hour)
	if _, err := w.journal.Retain(w.t.Context(), w.keep, audit.RetainOptions{}); err != nil {
		w.t.Fatal(err)
	}
}

// check holds the index against the journal, and the journal against the model: what
// is young is there as it was recorded, and nothing is there that was not.
func (w *world) check(step string) {
	w.t.Helper()
	x := w.maker.Index()
	for _, q := range []audit.Query{{}, {Newest: true}, w.s.query()} {
		got, want := events(w.t, x.Search(w.t.Context(), q, nil)), events(w.t, w.box.journal.Search(w.t.Context(), q))
		if !slices.Equal(got, want) {
			w.t.Fatalf("%s: %+v: index has %d events, journal %d", step, q, len(got), len(want))
		}
	}
	found := map[policy.EventID]policy.Event{}
	for _, e := range events(w.t, x.Search(w.t.Context(), audit.Query{}, nil)) {
		found[e.ID] = e
	}
	for id, e := range w.model {
		have, ok := found[id]
		if young := time.Since(e.Time) < 3*24*time.Hour; !ok && young {
			w.t.Fatalf("%s: event %v of %v is gone", step, id, e.Time)
		} else if ok && have.Host != e.Host || ok && young && !have.Time.Equal(e.Time) {
			w.t.Fatalf("%s: event %v is %+v, was %+v", step, id, have, e)
		}
	}
}

// F7, and "what it must stand": whatever is recorded, followed, broken off, damaged
// and removed, in whatever order, the index answers what the journal holds, and once
// mended it holds each event once.
func TestSimulation(t *testing.T) {
	removed := 0
	for seed := range schools() {
		synctest.Test(t, func(t *testing.T) { removed += simulate(t, seed) })
	}
	if removed == 0 {
		t.Error("retention removed nothing in any of them")
	}
}

func simulate(t *testing.T, seed uint64) (removed int) {
	w := &world{t: t, s: newSchool(seed), box: newBox(t), model: map[policy.EventID]policy.Event{}}
	day := 24 * time.Hour
	w.keep = audit.Retention{Keep: map[audit.Class]time.Duration{
		audit.ClassRequests: 6 * day, audit.ClassFlagged: 12 * day, audit.ClassGuest: 4 * day, audit.ClassStaff: 9 * day, audit.ClassPath: 5 * day,
	}, Guest: func(_, group string) bool { return group == "guests" }}
	var err error
	if w.journal, err = audit.Open(w.box.journal.Path, audit.Options{SegmentSize: 8 << 10}); err != nil {
		t.Fatal(err)
	}
	w.maker = w.box.maker(t, 90)
	for step := range 22 {
		w.record()
		time.Sleep(time.Second)
		var did string
		for _, act := range [...]struct {
			name string
			do   func()
		}{{"follow", w.follow}, {"crash", w.crash}, {"damage", w.damage}, {"retain", w.retain}} {
			if w.s.rnd.IntN(2) == 0 {
				act.do()
				did += " " + act.name
			}
		}
		w.check(fmt.Sprintf("seed %d, step %d,%s", seed, step, did))
	}
	w.follow()
	_ = w.maker.scrub(t.Context()) // tells of damage, and takes it away
	if err := w.maker.mend(t.Context()); err != nil {
		t.Fatal(err)
	}
	st, err := w.maker.index.Status()
	if err != nil || len(st.Redo) > 0 {
		t.Errorf("seed %d: mended: %+v, %v", seed, st, err)
	}
	w.check("at the end")
	if err := w.maker.Close(); err != nil {
		t.Error(err)
	}
	if err := w.journal.Close(); err != nil {
		t.Error(err)
	}
	r, err := w.box.journal.Verify(context.Background(), audit.VerifyOptions{})
	if err != nil || !r.OK() {
		t.Errorf("seed %d: verify: %v, %v", seed, r.Problems, err)
	}
	return int(r.Removed)
}
