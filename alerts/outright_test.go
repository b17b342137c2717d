package alerts

import (
	"context"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

// refusing is a mail server that takes nothing for the people named.
type refusing struct {
	Mailer
	whom []string
}

func (r *refusing) Send(ctx context.Context, m Message) error {
	if slices.Contains(r.whom, m.To) {
		return &SendError{Trouble: TroublePermanent}
	}
	return r.Mailer.Send(ctx, m)
}

// F3, F4: when the disk takes nothing, IT and leadership hear all the same, once a day;
// and again at the next look as long as nobody could be reached.
func TestANoticeThatCannotBeKeptIsSentOutright(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := keptBy(t, withIT)
		server := &refusing{&b.postbox, []string{it, head}}
		b.cfg.Mailer = server
		b.start()
		defer b.stop()
		closed := Notice{Kind: NoticeClosed}
		says := func(want int, wantErr bool) {
			t.Helper()
			if got, err := b.s.Outright(t.Context(), closed); got != want || (err != nil) != wantErr {
				t.Errorf("Outright = %d, %v, want %d and an error: %t", got, err, want, wantErr)
			}
		}
		says(0, true)
		says(0, true)
		server.whom = []string{it}
		says(1, true)
		says(0, false)
		b.notice(closed, 0) // though by now it could be kept
		time.Sleep(noticeEvery)
		server.whom = nil
		says(2, false)
		says(0, false)
		var to []string
		for _, m := range b.messages() {
			to = append(to, m.To)
			if m.Subject != "Schoolgate has closed the internet: it cannot keep records" {
				t.Errorf("subject %q", m.Subject)
			}
		}
		if want := []string{head, head, it}; !slices.Equal(slices.Sorted(slices.Values(to)), want) {
			t.Errorf("told %q, want %q", to, want)
		}
	})
}
