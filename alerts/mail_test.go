package alerts

import (
	"bytes"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"schoolgate/policy"
)

var update = flag.Bool("update", false, "write the mails of testdata anew")

// mailService words mails for a school in London without opening any state.
func mailService(t *testing.T, console string) *Service {
	t.Helper()
	london, err := time.LoadLocation("Europe/London")
	if err != nil {
		t.Fatal(err)
	}
	return &Service{cfg: Config{Console: console, Location: london, Quiet: DefaultQuiet}}
}

// wire is the mail as the server gets it.
func wire(t *testing.T, m Message) []byte {
	t.Helper()
	server, err := NewSMTP(SMTPConfig{Server: "mail.school.example", From: "schoolgate@school.example"})
	if err != nil {
		t.Fatal(err)
	}
	out, err := server.compose(m)
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if _, err := out.WriteTo(&b); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// The mails as a DSL reads them; look at them in testdata/mails.
func TestMailWording(t *testing.T) {
	at := time.Date(2026, 11, 24, 9, 5, 0, 0, time.UTC)
	summer := time.Date(2026, 6, 30, 9, 5, 0, 0, time.UTC) // 10:05 on the school's clock
	one := []policy.EventID{51}
	var many []policy.EventID
	for i := range 37 {
		many = append(many, policy.EventID(51+i))
	}
	const console = "https://schoolgate.school.example/"
	tests := []struct {
		name    string
		console string
		mail    Mail
	}{
		{"severity_5", console, Mail{Kind: kindNew, Seq: 1, Alerts: one, Severity: 5, Count: 1, First: at, Last: at, Queued: at}},
		{"severity_5_before_there_is_a_console", "", Mail{Kind: kindNew, Seq: 1, Alerts: one, Severity: 5, Count: 1, First: at, Last: at, Queued: at}},
		{"severity_3_in_summer", console, Mail{Kind: kindNew, Seq: 1, Alerts: one, Severity: 3, Count: 1, First: summer, Last: summer, Queued: summer}},
		{"graver", console, Mail{Kind: kindGraver, Seq: 2, Alerts: one, Severity: 4, Count: 6, More: 5, First: at, Last: at.Add(3 * time.Minute), Queued: at}},
		{"more", console, Mail{Kind: kindMore, Seq: 2, Alerts: one, Severity: 3, Count: 13, More: 12, First: at, Last: at.Add(9 * time.Minute), Queued: at.Add(10 * time.Minute)}},
		{"summary", console, Mail{Kind: kindSummary, Seq: 2, Alerts: many, Severity: 4, Count: 120, First: at, Last: at.Add(9 * time.Minute), Queued: at}},
		{"severity_5_answer_by", console, Mail{Kind: kindNew, Seq: 1, Alerts: one, Severity: 5, Count: 1, First: at, Last: at, Queued: at, By: at.Add(10 * time.Minute), Else: RoleHead}},
		{"severity_4_answer_by_tomorrow", "", Mail{Kind: kindNew, Seq: 1, Alerts: one, Severity: 4, Count: 2, First: at, Last: at.Add(2 * time.Minute), Queued: at, By: at.Add(24 * time.Hour), Else: "office"}},
		{"overdue", console, Mail{Kind: kindOverdue, Seq: 3, Alerts: one, Severity: 5, Count: 4, First: at, Last: at.Add(4 * time.Minute), Queued: at.Add(10 * time.Minute), By: at.Add(20 * time.Minute), Else: RoleChair, As: RoleHead}},
		{"overdue_last_of_the_chain", console, Mail{Kind: kindOverdue, Seq: 4, Alerts: one, Severity: 5, Count: 4, First: at, Last: at.Add(4 * time.Minute), Queued: at.Add(20 * time.Minute), By: at.Add(30 * time.Minute), As: RoleChair}},
		{"overdue_three", "", Mail{Kind: kindOverdue, Seq: 3, Alerts: many[:3], Severity: 5, Count: 9, First: at, Last: at.Add(4 * time.Minute), Queued: at.Add(10 * time.Minute), By: at.Add(20 * time.Minute), Else: RoleChair, As: RoleHead}},
		{"reminder", console, Mail{Kind: kindReminder, Seq: 5, Alerts: one, Severity: 4, Count: 4, First: at, Last: at.Add(4 * time.Minute), Queued: at.Add(23 * time.Hour)}},
		{"reminder_of_three", console, Mail{Kind: kindReminder, Seq: 5, Alerts: many[:3], Severity: 4, Count: 9, First: at, Last: at.Add(4 * time.Minute), Queued: at.Add(23 * time.Hour)}},
		{"digest", "", Mail{Kind: kindDigest, Seq: 1, Alerts: many[:4], Severity: 2, Count: 11, First: at, Last: at.Add(5 * time.Hour), Queued: at.Add(6 * time.Hour)}},
		{"digest_of_one", console, Mail{Kind: kindDigest, Seq: 1, Alerts: one, Severity: 1, Count: 1, First: at, Last: at, Queued: at.Add(6 * time.Hour)}},
		{"notice_alive", console, notice(Notice{Kind: NoticeAlive}, at)},
		{"notice_held", console, notice(Notice{Kind: NoticeHeld, Version: 12, Since: at.Add(-time.Minute), Count: 2, Used: 31}, at)},
		{"notice_held_by_its_size", console, notice(Notice{Kind: NoticeHeld, Version: 12, Since: at.Add(-time.Minute)}, at)},
		{"notice_red", console, notice(Notice{Kind: NoticeRed, Feed: "iwf-urls", Since: at.AddDate(0, 0, -2)}, at)},
		{"notice_red_never_fetched", console, notice(Notice{Kind: NoticeRed, Feed: "odd\r\nBcc: all@school.example"}, at)},
		{"notice_undelivered", console, notice(Notice{Kind: NoticeUnheard, Count: 3}, at)},
		{"notice_disk", console, notice(Notice{Kind: NoticeDisk, Count: 84}, at)},
		{"notice_closed", console, notice(Notice{Kind: NoticeClosed}, at)},
		{"notice_faults", console, notice(Notice{Kind: NoticeFaults, Count: 4}, at)},
		{"after_new_year", console, Mail{Kind: kindNew, Seq: 1, Alerts: one, Severity: 1, Count: 2, First: at, Last: at, Queued: at.AddDate(0, 2, 0)}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			m := mailService(t, tt.console).message(&tt.mail)
			got := "Subject: " + m.Subject + "\n\n" + m.Text
			path := filepath.Join("testdata", "mails", tt.name+".txt")
			if *update {
				if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), got); diff != "" {
				t.Errorf("mail (-want +got):\n%s", diff)
			}
			for line := range strings.Lines(got) {
				if len(line) > 76 {
					t.Errorf("line of %d characters is broken on its way: %q", len(line), line)
				}
			}
		})
	}
}

func notice(n Notice, at time.Time) Mail {
	return Mail{ID: 7, Kind: kindNotice, Notice: &n, Severity: 2, First: at, Queued: at, Born: at.Unix()}
}

// Privacy 7, F7: nothing of host, path, client, device, group, profile, category
// or rule is in a mail. Two events that differ in all of them and agree in
// severity and time make the same mails, byte for byte.
func TestMailHoldsNothingOfTheEvent(t *testing.T) {
	rng := rand.New(rand.NewPCG(7, 7))
	word := func() string {
		b := make([]byte, 6+rng.IntN(8))
		for i := range b {
			b[i] = byte('a' + rng.IntN(26))
		}
		return "zq" + string(b)
	}
	flagged := []policy.Category{
		policy.ChildAbuse, policy.Terrorism, policy.Pornography, policy.Extremism, policy.SelfHarm, policy.Drugs, policy.Gambling,
	}
	for round := range 15 {
		severity := uint8(1 + rng.IntN(5))
		n := 1 + rng.IntN(4)
		mails := func() (sent []Message, secrets []string) {
			synctest.Test(t, func(t *testing.T) {
				b := newBox(t)
				b.start()
				ev := policy.Event{
					Client: fmt.Sprintf("10.%d.%d.%d", rng.IntN(256), rng.IntN(256), rng.IntN(256)), Device: word(), Group: word(),
					Profile: word(), Pupil: true, Host: word() + "." + word() + ".example", Path: "/" + word(), Method: "GET",
					Category: flagged[rng.IntN(len(flagged))], Rule: word() + ".yaml:12", Finding: word(), PolicyVersion: word(),
					Severity: severity, StoreVersion: 987654321,
				}
				if ev.Category.Mandatory() {
					ev.Host, ev.Path = "", ""
				}
				for range n {
					b.add(ev)
					synctest.Wait()
				}
				time.Sleep(time.Hour)
				b.stop()
				sent = b.messages()
				secrets = []string{ev.Client, ev.Device, ev.Group, ev.Profile, ev.Host, ev.Path, ev.Category.String(), ev.Category.Class().Title,
					theme(&ev), ev.Rule, ev.Finding, ev.PolicyVersion, "987654321", "SG-"}
			})
			return sent, secrets
		}
		first, secrets := mails()
		second, _ := mails()
		if diff := cmp.Diff(first, second); diff != "" || len(first) == 0 {
			t.Fatalf("round %d: mails differ with the event's private parts (-first +second):\n%s", round, diff)
		}
		for _, m := range first {
			raw := strings.ToLower(string(wire(t, m)) + m.Text)
			for _, s := range secrets {
				if s != "" && strings.Contains(raw, strings.ToLower(s)) {
					t.Errorf("round %d: mail holds %q:\n%s", round, s, raw)
				}
			}
		}
	}
}

func TestMessageHeaders(t *testing.T) {
	at := time.Date(2026, 11, 24, 9, 5, 0, 0, time.UTC)
	s := mailService(t, "")
	m := Mail{Kind: kindMore, Seq: 3, Born: at.Unix(), To: dsl, Alerts: []policy.EventID{51}, Severity: 4, Count: 3, More: 2, First: at, Last: at, Queued: at}
	raw := string(wire(t, s.message(&m)))
	for _, want := range []string{
		"From: \"Schoolgate\" <schoolgate@school.example>\r\n",
		"To: <dsl@school.example>\r\n",
		"Message-ID: <al-1f.3.692420bc@school.example>\r\n",
		"In-Reply-To: <al-1f.1.692420bc@school.example>\r\n",
		"References: <al-1f.1.692420bc@school.example>\r\n",
		"Date: Tue, 24 Nov 2026 09:05:00 +0000\r\n",
		"Auto-Submitted: auto-generated\r\n",
		"Importance: high\r\n",
		"Content-Type: text/plain; charset=UTF-8\r\n",
	} {
		if !strings.Contains(raw, strings.Replace(want, "692420bc", fmt.Sprintf("%x", at.Unix()), 1)) {
			t.Errorf("no %q in\n%s", want, raw)
		}
	}
	if strings.Contains(raw, "User-Agent") || strings.Contains(raw, "X-Mailer") {
		t.Errorf("the mail names its library:\n%s", raw)
	}
}

// T19: no line break reaches a header or a command.
func TestHeaderInjection(t *testing.T) {
	server, err := NewSMTP(SMTPConfig{Server: "mail.school.example", From: "schoolgate@school.example"})
	if err != nil {
		t.Fatal(err)
	}
	good := Message{ID: "a", To: dsl, Subject: "s", Text: "t"}
	for name, change := range map[string]func(*Message){
		"recipient":  func(m *Message) { m.To = "a@b.example>\r\nRCPT TO:<c@d.example" },
		"second":     func(m *Message) { m.To = "a@b.example,c@d.example" },
		"subject":    func(m *Message) { m.Subject = "s\r\nBcc: c@d.example" },
		"message id": func(m *Message) { m.ID = "a>\nBcc: c@d.example" },
		"thread":     func(m *Message) { m.Thread = "a\rBcc: c@d.example" },
	} {
		m := good
		change(&m)
		if _, err := server.compose(m); err == nil {
			t.Errorf("%s: compose(%+v) = nil error", name, m)
		}
	}
}
