package alerts

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

const it = "it@school.example"

func (b *box) notice(n Notice, want int) {
	b.t.Helper()
	if got, err := b.s.Notice(b.t.Context(), n); err != nil || got != want {
		b.t.Errorf("Notice(%s) = %d, %v, want %d", n.key(), got, err, want)
	}
}

func keptBy(t *testing.T, routes roles) *box {
	b := newBox(t)
	b.roles = routes
	return b
}

var withIT = roles{DSL: []string{dsl}, Deputy: []string{deputy}, Head: []string{head}, IT: []string{it, strings.ToUpper(head)}}

// F14, I2: IT and leadership hear of it at once and once a day, nobody else does,
// and a restart neither repeats nor forgets.
func TestANoticeGoesToITAndLeadershipOnceADay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := keptBy(t, withIT)
		held := Notice{Kind: NoticeHeld, Version: 12, Since: time.Now(), Count: 1}
		b.start()
		b.notice(held, 2)
		for range 100 {
			b.notice(held, 0)
		}
		b.notice(Notice{Kind: NoticeHeld, Version: 13}, 2)
		synctest.Wait()
		b.stop()
		b.start()
		b.notice(held, 0)
		time.Sleep(noticeEvery)
		b.notice(held, 2)
		synctest.Wait()
		b.stop()
		var to, ids []string
		for _, m := range b.messages() {
			to = append(to, m.To)
			ids = append(ids, m.ID)
		}
		slices.Sort(to)
		if want := slices.Repeat([]string{head, it}, 3); !slices.Equal(to, slices.Sorted(slices.Values(want))) {
			t.Errorf("told %q, want %q", to, want)
		}
		slices.Sort(ids)
		if len(slices.Compact(ids)) != 6 {
			t.Errorf("Message-IDs are not all different: %q", ids)
		}
	})
}

// While the server is dead one notice waits for each person and matter, a grave
// alert goes before them, and after a week they give way to a fresh one.
func TestNoticesWaitForTheServerAndDoNotPileUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := keptBy(t, withIT)
		b.set(fails(TroubleTemporary))
		b.start()
		red := Notice{Kind: NoticeRed, Feed: "iwf-urls"}
		b.notice(red, 2)
		for range 9 {
			time.Sleep(noticeEvery + time.Minute)
			if _, err := b.s.Notice(t.Context(), red); err != nil {
				t.Fatal(err)
			}
			if n := b.s.Status().Queued; n != 2 {
				t.Errorf("%d mails wait, want 2", n)
			}
		}
		if dead := b.s.Status().Dead; dead != 0 {
			t.Errorf("%d notices count as alert mails given up", dead)
		}
		b.set(fails(TroubleUnreachable))
		b.add(severe(attempt("tablet-7"), 5))
		time.Sleep(slowest)
		b.set(nil)
		time.Sleep(slowest)
		b.stop()
		got := b.subjects()
		if len(got) != 4 || !strings.Contains(got[0], "severity 5") || !strings.Contains(got[3], "mandatory list") {
			t.Errorf("sent %q, want the alert first and then the notices", got)
		}
	})
}

// A kill between the step on disk and its mail loses nothing and repeats nothing.
func TestANoticeOutlivesACrash(t *testing.T) {
	for _, committed := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			b := keptBy(t, withIT)
			b.open()
			b.s.ledger.crash = func(after bool) error {
				if after == committed {
					return errors.New("power cut")
				}
				return nil
			}
			if _, err := b.s.Notice(t.Context(), Notice{Kind: NoticeHeld, Version: 12}); err == nil {
				t.Error("Notice = nil in a power cut")
			}
			if err := b.s.Close(); err != nil {
				t.Fatal(err)
			}
			b.start()
			b.notice(Notice{Kind: NoticeHeld, Version: 12}, map[bool]int{false: 2, true: 0}[committed])
			synctest.Wait()
			b.stop()
			if got := b.subjects(); len(got) != 2 {
				t.Errorf("committed %t: sent %q, want two mails", committed, got)
			}
		})
	}
}

// Nobody named is no error; a corrected address is told; a flood is refused.
func TestNoticesAndTheirRecipients(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := keptBy(t, roles{DSL: []string{dsl}})
		b.set(fails(TroubleUnreachable))
		b.start()
		b.notice(Notice{Kind: NoticeHeld, Version: 12}, 0)
		b.stop()
		b.roles.IT = []string{"ti@school.example"}
		b.start()
		b.notice(Notice{Kind: NoticeHeld, Version: 12}, 1)
		b.stop()
		b.roles.IT = []string{it}
		b.start()
		b.notice(Notice{Kind: NoticeHeld, Version: 12}, 1)
		for i := range maxNotices - 1 {
			b.notice(Notice{Kind: NoticeRed, Feed: fmt.Sprint("feed-", i)}, 1)
		}
		if _, err := b.s.Notice(t.Context(), Notice{Kind: NoticeRed, Feed: "one-more"}); !errors.Is(err, ErrNoRoom) {
			t.Errorf("Notice beyond the bound = %v", err)
		}
		b.set(nil)
		time.Sleep(time.Hour)
		b.stop()
		for _, m := range b.messages() {
			if m.To != it {
				t.Errorf("%q was told: %s", m.To, m.Subject)
			}
		}
		if n := len(b.messages()); n != maxNotices {
			t.Errorf("%d mails, want %d", n, maxNotices)
		}
	})
}
