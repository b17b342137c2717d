package alerts

import (
	"compress/gzip"
	"io"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"schoolgate/policy"
)

// testdata/format1 is the state of a school by the last version that wrote format
// 1: AL-1 told and over; AL-2 to AL-4 with a mail that waits, AL-5 and AL-6 owed.
func format1(t *testing.T, dir string) {
	t.Helper()
	f, err := os.Open("testdata/format1/alerts.db.gz")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	data, err := io.ReadAll(z)
	if err == nil {
		err = os.MkdirAll(dir, 0o700)
	}
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, "alerts.db"), data, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// The former format is taken over: what waited is sent, nothing is told twice, no
// clock is begun for what nobody was asked to answer.
func TestFormat1(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := guarded(t)
		format1(t, b.cfg.Dir)
		time.Sleep(2 * time.Hour) // its events are of 2000-01-01 01:00
		for range 6 {
			b.add(attempt("x"))
		}
		b.start()
		b.add(staffAct("D", ActAck, "AL-2", ""), attempt("queued"))
		time.Sleep(30 * time.Minute)
		b.wantMails(
			head+": Schoolgate alert AL-3: severity 5, please review",
			toDSL+"Schoolgate alert AL-2: severity 3, please review",
			toDSL+"Schoolgate alert AL-4: severity 3, please review",
			toDSL+"Schoolgate: 2 more alerts, highest severity 3, please review",
			toDSL+"Schoolgate alert AL-8: severity 3, please review")
		for _, a := range b.listed() {
			if a.ID < 7 && (!a.Due.IsZero() || a.Late > 0) {
				t.Errorf("%s: a clock was begun: %+v", a.Reference(), a)
			}
			if want := map[policy.EventID]State{2: StateReview}[a.ID]; a.State != want {
				t.Errorf("%s is %s, want %s", a.Reference(), a.State, want)
			}
		}
		b.stop()
		b.start() // and again, as format 2
		time.Sleep(time.Minute)
		if n := len(b.messages()); n != 5 {
			t.Errorf("%d mails after another start", n)
		}
		b.stop()
	})
}
