package alerts

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"schoolgate/policy"
)

// dodge is a pupil's refused try to get round the filter.
func dodge(device, finding, host string) policy.Event {
	ev := attempt(device)
	ev.Severity, ev.Category, ev.Finding, ev.Host = 0, policy.Uncategorised, finding, host
	return ev
}

func watched(t *testing.T) *box {
	b := newBox(t)
	b.cfg.Plan.Rules = []Rule{{
		Bypass: &Bypass{Tries: 5, Within: 10 * time.Minute}, Bands: [5]bool{true, true, true}, Severity: 3, To: []string{RoleDSL},
	}}
	return b
}

// S2: five tries of different kinds in ten minutes are one alert with five lines;
// later ones are counted on it.
func TestTriesToGetRoundAreOneAlert(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := watched(t)
		b.start()
		tries := []policy.Event{
			dodge("a", "doh", "dns.example"), dodge("a", "sni_mismatch", "x.example"), dodge("a", "ech", "y.example"), dodge("a", "nested", "z.example"),
		}
		for _, ev := range tries {
			b.add(ev)
			time.Sleep(2 * time.Minute)
		}
		b.wantMails()
		vpn := dodge("a", "", "vpn.example")
		vpn.Category = policy.VPNProxy
		b.add(dodge("b", "doh", "dns.example"), vpn)
		time.Sleep(time.Minute)
		b.wantMails(toDSL + "Schoolgate alert AL-6: severity 3, please review")
		b.add(dodge("a", "doh", "dns.example"), dodge("a", "ech", "y.example"))
		time.Sleep(time.Hour)
		b.wantMails(toDSL+"Schoolgate alert AL-6: severity 3, please review", toDSL+"Schoolgate alert AL-6: happened twice more")
		a := b.listed()[0]
		if want := map[string]int{"doh": 2, "sni_mismatch": 1, "ech": 2, "nested": 1, "vpn_proxy": 1}; !cmp.Equal(a.Kinds, want) || a.Theme != ThemeBypass {
			t.Errorf("alert %+v: kinds %v, want %v", a, a.Kinds, want)
		}
		if want := []policy.EventID{1, 2, 3, 4, 6, 7, 8}; !cmp.Equal(a.Events, want) || a.Count != 7 || !a.First.Equal(b.events[0].Time) {
			t.Errorf("events %v, count %d, first %v", a.Events, a.Count, a.First)
		}
		b.stop()
	})
}

// What programs do by themselves is no try: one address asked for again and again,
// few in a long time, what was allowed, and what staff do where no rule says so.
func TestWhatIsNoTry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := watched(t)
		b.start()
		for i := range 40 {
			b.add(dodge("program", "doh", "dns.example"), dodge("slow", "ech", fmt.Sprint("host-", i, ".example")))
			allowed := dodge("allowed", "nested", fmt.Sprint("host-", i, ".example"))
			allowed.Verdict = policy.Allow
			staff := dodge("staff", "ech", fmt.Sprint("host-", i, ".example"))
			staff.Pupil = false
			b.add(allowed, staff, dodge("odd", "malformed", fmt.Sprint("host-", i, ".example")))
			time.Sleep(3 * time.Minute)
		}
		b.wantMails()
		b.stop()
	})
}

// The tries survive a restart, and their hosts are not kept once they do not count.
func TestTriesOnDisk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := watched(t)
		for range 2 {
			b.start()
			for i := range 4 {
				b.add(dodge("a", "ech", fmt.Sprint("host-", len(b.events), i, ".example")))
			}
			synctest.Wait()
			b.stop()
		}
		b.start()
		time.Sleep(time.Minute)
		b.wantMails(toDSL + "Schoolgate alert AL-5: severity 3, please review")
		b.add(dodge("c", "ech", "one.example"))
		time.Sleep(3 * time.Hour)
		err := b.s.ledger.view(func(t *tx) error {
			if n := count(t.Bucket(bucketTries)); n != 0 {
				return fmt.Errorf("%d clients' tries are kept", n)
			}
			return nil
		})
		if err != nil {
			t.Error(err)
		}
		b.stop()
	})
}

// One that is flagged by itself, such as a DNS tunnel, waits for no others.
func TestFlaggedTry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := watched(t)
		b.start()
		ev := dodge("a", "dns_tunnel", "t.example")
		ev.Severity, ev.Category = 3, policy.VPNProxy
		b.add(dodge("a", "ech", "x.example"), ev)
		synctest.Wait()
		b.wantMails(toDSL + "Schoolgate alert AL-2: severity 3, please review")
		if a := b.listed()[0]; a.Theme != ThemeBypass || a.Count != 2 {
			t.Errorf("alert %+v", a)
		}
		b.stop()
	})
}

// Many clients are watched at once, within bounds.
func TestTriersBound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := watched(t)
		b.open()
		events := make([]policy.Event, maxTriers+50)
		for i := range events {
			events[i] = dodge(fmt.Sprint("d", i), "ech", "x.example")
			events[i].ID, events[i].Time = policy.EventID(i+1), time.Now()
		}
		if _, err := b.s.ledger.absorb(events, 0); err != nil {
			t.Fatal(err)
		}
		err := b.s.ledger.view(func(t *tx) error {
			if n := count(t.Bucket(bucketTries)); n != maxTriers {
				return fmt.Errorf("%d clients, want %d", n, maxTriers)
			}
			return nil
		})
		if err != nil {
			t.Error(err)
		}
		b.s.Close()
	})
}
