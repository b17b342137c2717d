package alerts

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"schoolgate/policy"
)

// wantMails compares what has arrived, as "to: subject".
func (b *box) wantMails(want ...string) {
	b.t.Helper()
	if diff := cmp.Diff(want, b.subjects()); diff != "" {
		b.t.Errorf("mails (-want +got):\n%s", diff)
	}
}

const toDSL = dsl + ": "

func TestAlertOnEachFlaggedEvent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBox(t)
		b.start()
		quiet := attempt("tablet-2")
		quiet.Severity = 0
		b.add(quiet, attempt("tablet-1"), quiet)
		synctest.Wait()
		b.wantMails(toDSL + "Schoolgate alert AL-2: severity 3, please review")
		b.stop()
	})
}

// One alert for each client and theme in a quiet period, and one follow-up that
// carries the number.
func TestQuietPeriodFolds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBox(t)
		b.start()
		for range 5 {
			b.add(attempt("tablet-1"))
			time.Sleep(time.Minute)
		}
		b.wantMails(toDSL + "Schoolgate alert AL-1: severity 3, please review")
		time.Sleep(time.Hour)
		b.wantMails(
			toDSL+"Schoolgate alert AL-1: severity 3, please review",
			toDSL+"Schoolgate alert AL-1: happened 4 times more")
		b.add(attempt("tablet-1"))
		time.Sleep(time.Hour)
		b.wantMails(
			toDSL+"Schoolgate alert AL-1: severity 3, please review",
			toDSL+"Schoolgate alert AL-1: happened 4 times more",
			toDSL+"Schoolgate alert AL-6: severity 3, please review")
		b.stop()
	})
}

func TestAlertsAreKeptApart(t *testing.T) {
	extremism := func(ev policy.Event) policy.Event { ev.Category = policy.Extremism; return ev }
	at := func(ev policy.Event, client string) policy.Event { ev.Client = client; return ev }
	tests := []struct {
		name   string
		events []policy.Event
		alerts int
	}{
		{"one device, one theme", []policy.Event{attempt("a"), attempt("a")}, 1},
		{"one device at two addresses", []policy.Event{at(attempt("a"), "10.0.0.1"), at(attempt("a"), "10.0.0.2")}, 1},
		{"two devices behind one address", []policy.Event{attempt("a"), attempt("b")}, 2},
		{"shared log-in: told apart by address", []policy.Event{at(attempt(""), "10.0.0.1"), at(attempt(""), "10.0.0.2")}, 2},
		{"a device called like an address is not that address", []policy.Event{at(attempt("10.0.0.1"), "10.0.0.9"), at(attempt(""), "10.0.0.1")}, 2},
		{"one device, two themes", []policy.Event{attempt("a"), extremism(attempt("a"))}, 2},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBox(t)
				b.start()
				b.add(tt.events...)
				time.Sleep(time.Second * 2)
				l, err := List(b.cfg.Dir)
				if err != nil || l.Total != tt.alerts {
					t.Errorf("%d alerts, %v; want %d", l.Total, err, tt.alerts)
				}
				b.stop()
			})
		})
	}
}

// T19: 10,000 events in a minute from one tablet are one alert with a count and
// one follow-up, and another child's alert is not delayed.
func TestFloodFromOneTablet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBox(t)
		b.start()
		for i := range 10000 {
			b.add(attempt("noisy"))
			if i == 7000 {
				b.add(severe(attempt("other-child"), 4))
			}
			if i%100 == 99 {
				synctest.Wait()
				time.Sleep(600 * time.Millisecond)
			}
			if i == 7099 {
				b.wantMails(
					toDSL+"Schoolgate alert AL-1: severity 3, please review",
					toDSL+"Schoolgate alert AL-6TT-5: severity 4, please review",
					deputy+": Schoolgate alert AL-6TT-5: severity 4, please review")
			}
		}
		time.Sleep(24 * time.Hour)
		if got := b.subjects(); len(got) != 4 || got[3] != toDSL+"Schoolgate alert AL-1: happened 9999 times more" {
			t.Errorf("mails = %q", got)
		}
		b.stop()
	})
}

// T19: an attacker who takes a thousand addresses gets the DSL few mails, loses
// none of the alerts, and hides no grave one.
func TestFloodFromManyAddresses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBox(t)
		b.start()
		for i := range 1000 {
			b.add(attempt(fmt.Sprint("spoofed-", i)))
		}
		b.add(severe(attempt("real"), 5))
		time.Sleep(time.Minute)
		got := b.subjects()
		if len(got) != 12 || !slices.Contains(got, toDSL+"Schoolgate alert AL-Z9-F: severity 5, please review") {
			t.Errorf("mails in the first minute = %d %q", len(got), got)
		}
		time.Sleep(20 * time.Minute)
		if got = b.subjects(); len(got) != 13 || got[12] != toDSL+"Schoolgate: 990 more alerts, highest severity 3, please review" {
			t.Errorf("mails after the window = %d %q", len(got), got)
		}
		l, err := List(b.cfg.Dir)
		if err != nil || l.Total != 1001 || len(l.Alerts) != maxListed {
			t.Errorf("List = %d of %d alerts, %v", len(l.Alerts), l.Total, err)
		}
		for _, a := range l.Alerts {
			if a.Mail() != "sent" {
				t.Fatalf("%s is %q, want sent", a.Reference(), a.Mail())
			}
		}
		b.stop()
	})
}

// A graver event within the quiet period is told at once.
func TestGraverEventIsToldAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBox(t)
		b.start()
		b.add(attempt("a"))
		synctest.Wait()
		b.add(severe(attempt("a"), 5))
		synctest.Wait()
		b.wantMails(
			toDSL+"Schoolgate alert AL-1: severity 3, please review",
			toDSL+"Schoolgate alert AL-1: now severity 5, please review",
			deputy+": Schoolgate alert AL-1: now severity 5, please review")
		m := b.messages()
		if m[1].Thread != m[0].ID || m[1].ID == m[0].ID {
			t.Errorf("second mail %q answers %q, want %q", m[1].ID, m[1].Thread, m[0].ID)
		}
		b.stop()
	})
}

func TestStaffAlertGoesToHeadOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBox(t)
		b.start()
		ev := severe(attempt("staff-laptop"), 5)
		ev.Pupil = false
		b.add(ev)
		synctest.Wait()
		b.wantMails(head + ": Schoolgate alert AL-1: severity 5, please review")
		b.stop()
	})
}

// Nobody configured: kept, counted, shown; told when somebody is.
func TestUnaddressedAlertWaitsForARecipient(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBox(t)
		b.roles.Head = nil
		b.start()
		ev := attempt("staff-laptop")
		ev.Pupil = false
		b.add(ev)
		time.Sleep(48 * time.Hour)
		if st := b.s.Status(); st.Unaddressed != 1 || st.Queued != 0 {
			t.Errorf("Status = %+v, want 1 unaddressed", st)
		}
		b.wantMails()
		b.stop()
		if l, err := List(b.cfg.Dir); err != nil || l.Alerts[0].Mail() != "no recipient" {
			t.Errorf("List = %+v, %v", l, err)
		}
		b.roles.Head = []string{head}
		b.start()
		time.Sleep(time.Second)
		b.wantMails(head + ": Schoolgate alert AL-1: severity 3, please review")
		b.stop()
	})
}

// A mistyped address, once corrected, has cost time and no alert.
func TestCorrectedAddressGetsWhatWaited(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBox(t)
		b.roles.DSL = []string{"dls@school.example"}
		b.set(fails(TroublePermanent))
		b.start()
		b.add(attempt("a"), attempt("b"))
		time.Sleep(9 * 24 * time.Hour)
		if st := b.s.Status(); st.Dead != 2 || st.Queued != 0 {
			t.Errorf("Status = %+v, want 2 dead", st)
		}
		b.stop()
		b.roles.DSL = []string{dsl}
		b.set(nil)
		b.start()
		time.Sleep(time.Second)
		b.wantMails(toDSL + "Schoolgate: 2 more alerts, highest severity 3, please review")
		if st := b.s.Status(); st.Dead != 0 {
			t.Errorf("Status = %+v, want none dead", st)
		}
		b.stop()
	})
}

// F13: a server that is dead for half a day costs lateness only.
func TestDeadServerDelaysAndLosesNothing(t *testing.T) {
	for _, trouble := range []Trouble{TroubleUnreachable, TroubleTLS, TroubleAuth, TroubleUnavailable, TroubleTimeout, TroubleDropped, TroubleTemporary, TroublePermanent} {
		t.Run(string(trouble), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBox(t)
				b.set(fails(trouble))
				b.start()
				b.add(attempt("a"))
				time.Sleep(12 * time.Hour)
				b.add(severe(attempt("b"), 4))
				time.Sleep(time.Minute)
				st := b.s.Status()
				if st.Queued != 3 || st.Trouble != trouble || st.Oldest < 12*time.Hour || !st.Ready() {
					t.Errorf("Status = %+v, want 3 queued and trouble %q", st, trouble)
				}
				if b.tries < 2 || b.tries > 500 {
					t.Errorf("%d tries in half a day", b.tries)
				}
				b.set(nil)
				time.Sleep(slowest + time.Minute)
				if got := len(b.messages()); got != 3 {
					t.Errorf("%d mails, want each of 3 once: %q", got, b.subjects())
				}
				if st := b.s.Status(); st.Queued != 0 || st.Trouble != TroubleNone {
					t.Errorf("Status = %+v, want nothing queued", st)
				}
				b.stop()
			})
		})
	}
}

// After a week a mail is given up, loudly; when the person can be reached again,
// one summary tells what was missed.
func TestGivenUpIsToldInASummary(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBox(t)
		b.set(fails(TroublePermanent))
		b.start()
		b.add(attempt("a"), attempt("b"), attempt("c"))
		time.Sleep(8 * 24 * time.Hour)
		if st := b.s.Status(); st.Dead != 3 {
			t.Errorf("Status = %+v, want 3 dead", st)
		}
		b.set(nil)
		b.add(attempt("d"))
		time.Sleep(time.Hour)
		b.wantMails(
			toDSL+"Schoolgate alert AL-4: severity 3, please review",
			toDSL+"Schoolgate: 3 more alerts, highest severity 3, please review")
		b.stop()
		if !strings.Contains(b.log.String(), "given up after a week") {
			t.Error("giving up was not logged")
		}
	})
}

// A clock that is set forward by years gives nothing up that was hardly tried.
func TestClockJumpGivesNothingUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBox(t)
		b.open()
		b.add(attempt("a"))
		if _, err := b.s.ledger.absorb(b.events, 1); err != nil {
			t.Fatal(err)
		}
		time.Sleep(50 * 365 * 24 * time.Hour)
		m, _, err := b.s.ledger.due("")
		if err != nil || m == nil {
			t.Fatalf("due = %v, %v", m, err)
		}
		if died, err := b.s.ledger.failed(m, TroubleUnreachable); died != 0 || err != nil {
			t.Errorf("failed = %d given up, %v; want 0", died, err)
		}
		b.s.Close()
	})
}

// F12: after the clock was set back an hour, quiet periods and waits end on time.
func TestClockSetBack(t *testing.T) {
	now := time.Date(2026, 11, 24, 9, 5, 0, 0, time.UTC)
	tests := []struct {
		name  string
		until time.Time
		want  bool
	}{
		{"running", now.Add(9 * time.Minute), false},
		{"ended", now, true},
		{"begun before the clock was set back", now.Add(69 * time.Minute), true},
	}
	for _, tt := range tests {
		if got := over(tt.until, now, 10*time.Minute); got != tt.want {
			t.Errorf("%s: over = %v, want %v", tt.name, got, tt.want)
		}
	}
}

func TestBrokenSourceIsFollowedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBox(t)
		b.broken = 3
		b.start()
		b.add(attempt("a"))
		time.Sleep(time.Minute * 5)
		b.wantMails(toDSL + "Schoolgate alert AL-1: severity 3, please review")
		b.stop()
	})
}

// A stretch of the journal that cannot be read is passed over, loudly.
func TestGapInTheJournal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBox(t)
		b.gap = 2
		b.start()
		b.add(attempt("a"), attempt("b"), attempt("c"))
		synctest.Wait()
		b.wantMails(
			toDSL+"Schoolgate alert AL-1: severity 3, please review",
			toDSL+"Schoolgate alert AL-3: severity 3, please review")
		b.stop()
		if !strings.Contains(b.log.String(), "part of the journal cannot be read") {
			t.Error("the gap was not logged")
		}
	})
}

// A journal that was lost and begun anew is read from its beginning, and no
// reference is given twice.
func TestJournalReplaced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBox(t)
		b.cfg.Ahead = errAhead
		b.start()
		b.add(attempt("a"), attempt("b"))
		time.Sleep(time.Hour)
		b.stop()
		b.events = nil
		b.add(attempt("a"))
		b.start()
		time.Sleep(time.Hour)
		b.wantMails(
			toDSL+"Schoolgate alert AL-1: severity 3, please review",
			toDSL+"Schoolgate alert AL-2: severity 3, please review",
			toDSL+"Schoolgate alert AL-3: severity 3, please review")
		b.stop()
	})
}

// A slow server holds up nothing but its own mail: the journal is read on.
func TestSlowServerDoesNotHoldUpTheJournal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBox(t)
		release := make(chan struct{})
		b.cfg.Mailer = slow{&b.postbox, release}
		b.start()
		for i := range 2000 {
			b.add(attempt(fmt.Sprint("tablet-", i%50)))
		}
		synctest.Wait()
		if st := b.s.Status(); st.Cursor != 2000 || st.Open != 50 {
			t.Errorf("Status = %+v, want cursor 2000 and 50 open alerts", st)
		}
		close(release)
		b.stop()
	})
}

func TestOutboxBound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBox(t)
		b.cfg.MaxQueued = 3
		b.set(fails(TroubleUnreachable))
		b.start()
		for i := range 8 {
			b.add(attempt(fmt.Sprint(i)))
		}
		time.Sleep(time.Hour)
		if st := b.s.Status(); st.Queued != 3 || st.Held != 5 {
			t.Errorf("Status = %+v, want 3 queued and 5 held", st)
		}
		b.set(nil)
		time.Sleep(time.Hour)
		if got := b.subjects(); len(got) != 4 || got[3] != toDSL+"Schoolgate: 5 more alerts, highest severity 3, please review" {
			t.Errorf("mails = %q", got)
		}
		b.stop()
	})
}

// Beyond so many open alerts further clients share one, and nothing is lost.
func TestOpenAlertsBound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBox(t)
		b.open()
		events := make([]policy.Event, maxOpen+100)
		for i := range events {
			events[i] = attempt(fmt.Sprint("spoofed-", i))
			events[i].ID = policy.EventID(i + 1)
		}
		out, err := b.s.ledger.absorb(events, 0)
		if err != nil || len(out.opened) != maxOpen+1 || out.folded != 99 {
			t.Errorf("absorb: %d opened, %d folded, %v", len(out.opened), out.folded, err)
		}
		if err := b.s.ledger.view(invariants); err != nil {
			t.Error(err)
		}
		b.s.Close()
	})
}

// Privacy 5: an alert is forgotten after its retention, told or not.
func TestRetention(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBox(t)
		b.set(fails(TroublePermanent))
		b.start()
		b.add(attempt("a"))
		time.Sleep(170 * 24 * time.Hour)
		if l, err := List(b.cfg.Dir); err != nil || l.Total != 1 || l.Alerts[0].Mail() != "not delivered" {
			t.Errorf("List after 170 days = %+v, %v", l, err)
		}
		time.Sleep(11 * 24 * time.Hour)
		b.stop()
		if l, err := List(b.cfg.Dir); err != nil || l.Total != 0 {
			t.Errorf("List after 181 days = %+v, %v", l, err)
		}
	})
}

// State that cannot be read is set aside and built again from the journal, with
// the same references and Message-IDs.
func TestDamagedState(t *testing.T) {
	damage := map[string]func(t *testing.T, path string){
		"flipped_bit_in_a_record": func(t *testing.T, path string) {
			edit(t, path, func(b []byte) []byte {
				i := strings.Index(string(b), `"severity":3`)
				b[i+11] ^= 1
				for {
					j := strings.Index(string(b[i+12:]), `"severity":3`)
					if j < 0 {
						return b
					}
					i += 12 + j
					b[i+11] ^= 1
				}
			})
		},
		"cut_short": func(t *testing.T, path string) {
			edit(t, path, func(b []byte) []byte { return b[:3*4096] })
		},
		"empty_header": func(t *testing.T, path string) {
			edit(t, path, func(b []byte) []byte { clear(b[:2*4096]); return b })
		},
	}
	for name, spoil := range damage {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBox(t)
				b.start()
				b.add(attempt("a"))
				time.Sleep(time.Hour)
				b.stop()
				first := b.messages()
				spoil(t, b.cfg.Dir+"/alerts.db")
				b.start()
				time.Sleep(time.Hour)
				b.stop()
				if diff := cmp.Diff(ids(first), ids(b.messages())[len(first):]); diff != "" {
					t.Errorf("mails of the rebuilt state (-want +got):\n%s", diff)
				}
				if !strings.Contains(b.log.String(), "set aside") {
					t.Error("damage was not logged")
				}
			})
		})
	}
}

func ids(list []Message) (out []string) {
	for _, m := range list {
		out = append(out, m.ID)
	}
	return out
}

func edit(t *testing.T, path string, change func([]byte) []byte) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err == nil {
		err = os.WriteFile(path, change(b), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func TestOneProcessHoldsTheState(t *testing.T) {
	b := newBox(t)
	b.open()
	defer b.s.Close()
	if _, err := New(b.cfg); err == nil || !strings.Contains(err.Error(), "in use by another process") {
		t.Errorf("second New = %v", err)
	}
	for _, name := range []string{"", "/alerts.db"} {
		info, err := os.Stat(b.cfg.Dir + name)
		if err != nil || info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%q: %v, %v: others may read it", name, info.Mode(), err)
		}
	}
}

func TestConfigMistakes(t *testing.T) {
	good := newBox(t).cfg
	tests := []struct {
		name   string
		change func(*Config)
		want   string
	}{
		{"no source", func(c *Config) { c.Source = nil }, "no source"},
		{"two addresses in one", func(c *Config) { c.Plan.People = roles{DSL: []string{"a@x.example, b@x.example"}}.people() }, `bad address "a@x.example, b@x.example"`},
		{"a line break in an address", func(c *Config) { c.Plan.People = roles{Head: []string{"a@x.example\r\nBcc: b@x.example"}}.people() }, "bad address"},
		{"no address", func(c *Config) { c.Plan.People = roles{Deputy: []string{"deputy"}}.people() }, `bad address "deputy"`},
		{"a console that is no web address", func(c *Config) { c.Console = "javascript:alert(1)" }, "bad console address"},
		{"a line break in the console", func(c *Config) { c.Console = "https://x.example/\r\n" }, "bad console address"},
		{"negative quiet period", func(c *Config) { c.Quiet = -1 }, "must be positive"},
	}
	for _, tt := range tests {
		cfg := good
		tt.change(&cfg)
		if _, err := New(cfg); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: New = %v, want %q", tt.name, err, tt.want)
		}
	}
}

func TestReference(t *testing.T) {
	for id, want := range map[policy.EventID]string{1: "AL-1", 51: "AL-1K-R", 1<<64 - 1: "AL-FZZZZZZZZZZZZ-E"} {
		got, err := ParseReference(strings.ToLower(want))
		if reference(id) != want || got != id || err != nil {
			t.Errorf("reference(%d) = %s, want %s; read back %d, %v", id, reference(id), want, got, err)
		}
	}
	for _, bad := range []string{"", "AL-", "AL-0", "SG-1F", "AL-1F ", "AL--1", "AL-ZZZZZZZZZZZZZZZZ"} {
		if _, err := ParseReference(bad); err == nil {
			t.Errorf("ParseReference(%q) = nil error", bad)
		}
	}
}

func TestMetrics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBox(t)
		reg := prometheus.NewPedanticRegistry()
		b.cfg.Registerer = reg
		b.set(fails(TroubleTemporary))
		b.start()
		b.add(attempt("a"), attempt("a"), severe(attempt("b"), 5))
		synctest.Wait()
		want := `
# HELP schoolgate_alerts_opened_total Alerts opened, by severity of their first event.
# TYPE schoolgate_alerts_opened_total counter
schoolgate_alerts_opened_total{severity="3"} 1
schoolgate_alerts_opened_total{severity="5"} 1
# HELP schoolgate_alerts_events_folded_total Flagged events counted on an alert that was open already.
# TYPE schoolgate_alerts_events_folded_total counter
schoolgate_alerts_events_folded_total 1
# HELP schoolgate_alerts_outbox_queued Mails that wait for the server.
# TYPE schoolgate_alerts_outbox_queued gauge
schoolgate_alerts_outbox_queued 3
`
		if err := testutil.GatherAndCompare(reg, strings.NewReader(want), "schoolgate_alerts_opened_total", "schoolgate_alerts_events_folded_total", "schoolgate_alerts_outbox_queued"); err != nil {
			t.Error(err)
		}
		b.cfg.Registerer = nil
		b.stop()
	})
}
