package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"schoolgate/internal/testkit"
)

// attempt makes pupils and staff ask for what somebody must hear of, each several
// times and through both doors.
func attempt(t *testing.T, b *testkit.Box, from, host string) {
	t.Helper()
	for range 2 {
		r, err := b.Ask(from, "udp", host, dns.TypeA)
		if err != nil || verdict(r) != "block" {
			t.Fatalf("%s asks for %s: %v, %v; want a refusal", from, host, r, err)
		}
		resp, err := b.Client(from).Get("http://" + host + "/a/page?q=words")
		if err != nil {
			t.Fatalf("%s wants %s: %v", from, host, err)
		}
		_, err = io.Copy(io.Discard, resp.Body)
		_ = resp.Body.Close() // read to its end
		if err != nil || resp.StatusCode != http.StatusForbidden {
			t.Fatalf("%s wants %s: %s, %v; want a block page", from, host, resp.Status, err)
		}
	}
}

// alertBox is a school with a mail server that speaks TLS, and lists that hold
// invented sites.
func alertBox(t *testing.T, mail *testkit.SMTP) *testkit.Box {
	t.Helper()
	b := testkit.NewBox(t, testkit.BoxOptions{Mail: fmt.Sprintf(
		"  server: %s\n  tls: starttls\n  ca_file: %s\n  from: schoolgate@school.example\n  timeout: 10s\n", mail.Addr, mail.CAFile)})
	b.Write("adult.txt", "adult.example\n")
	b.Write("hate.txt", "hate.example\n")
	b.Write("sealed.csv", "entry\nsealed.example\n")
	b.Write("feeds.yaml", `feeds:
  - {name: adult, path: adult.txt, format: domains, category: pornography, kind: curated, licence: ours, date: 2026-08-01}
  - {name: hate, path: hate.txt, format: domains, category: extremism, kind: curated, licence: ours, date: 2026-08-01}
  - {name: sealed, path: sealed.csv, format: csv, columns: {host: entry}, category: child_abuse, kind: mandatory, licence: none, date: 2026-08-01}
`)
	b.Run("lists", "build", "--feeds", b.Dir+"/feeds.yaml")
	return b
}

// wantMails waits for the mails of alerts and compares to whom and how grave they
// are; then it looks for what no mail may hold.
func wantMails(t *testing.T, mail *testkit.SMTP, want map[string]int) {
	t.Helper()
	total := 0
	for _, n := range want {
		total += n
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	mail.WaitFor(ctx, total)
	got := map[string]int{}
	for _, m := range mail.Messages() {
		subject := m.Header("Subject")
		_, severity, _ := strings.Cut(subject, "severity ")
		got[fmt.Sprintf("%s %.1s", m.To[0], severity)]++
		if m.TLS == 0 {
			t.Errorf("the mail %q came in clear", subject)
		}
		text := strings.ReplaceAll(strings.ToLower(string(m.Data)), "school.example", "")
		for _, secret := range []string{"adult", "hate", "sealed", ".example", "127.0.", "year5", "tablet", "words", "pornography", "extremism", "child_abuse"} {
			if strings.Contains(text, secret) {
				t.Errorf("the mail %q holds %q:\n%s", subject, secret, m.Data)
			}
		}
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("mails = %v, want %v", got, want)
	}
}

// Each pupil and theme is one mail, to the person meant, with a reference and a
// severity and nothing of the child or the site; a member of staff is the head's
// matter.
func TestAttemptsBecomeOneMailEach(t *testing.T) { // R32, privacy 7
	mail := testkit.NewSMTP(t, testkit.SMTPOptions{})
	b := alertBox(t, mail)
	b.Start()
	defer b.Stop()
	for _, pupil := range []string{"127.0.1.1", "127.0.1.2"} {
		for _, host := range []string{"adult.example", "www.hate.example", "sealed.example"} {
			attempt(t, b, pupil, host)
		}
	}
	attempt(t, b, "127.0.0.2", "sealed.example")
	attempt(t, b, "127.0.0.2", "adult.example") // blocked, and nobody's business
	mails := map[string]int{
		"dsl@school.example 3": 2, "dsl@school.example 4": 2, "deputy@school.example 4": 2,
		"dsl@school.example 5": 2, "deputy@school.example 5": 2, "head@school.example 5": 1,
	}
	wantMails(t, mail, mails)
	// The box itself says more, to who stands before it; the list is written a
	// moment after the mails. What staff did is the head's to see (R36).
	for as, wants := range map[string][]string{
		"dsl":  {"6 of 6 alerts", "127.0.1.1", "pornography"},
		"head": {"7 of 7 alerts", "127.0.0.2"},
	} {
		list := b.Run("alerts", "list", "--as", as)
		for end := time.Now().Add(20 * time.Second); !strings.Contains(list, wants[0]) && time.Now().Before(end); {
			list = b.Run("alerts", "list", "--as", as)
		}
		for _, want := range wants {
			if !strings.Contains(list, want) {
				t.Errorf("alerts list --as %s does not hold %q:\n%s", as, want, list)
			}
		}
		if as == "dsl" && strings.Contains(list, "127.0.0.2") {
			t.Errorf("the DSL sees what staff did:\n%s", list)
		}
	}
	ids := b.Run("audit", "export", "--ids", "--flagged")
	if got, want := strings.Count(ids, "\n"), 7*4; got != want {
		t.Errorf("%d flagged events, want %d", got, want)
	}
}

// A mail server that is dead when it matters costs lateness only: each mail is
// delivered once when it is back, though the box was restarted, and killed, in
// between.
func TestDeadMailServerLosesNoAlert(t *testing.T) { // fault F13
	mail := testkit.NewSMTP(t, testkit.SMTPOptions{})
	mail.Stop()
	b := alertBox(t, mail)
	b.Start()
	attempt(t, b, "127.0.1.1", "adult.example")
	said(t, b, "alert mail not sent, kept for another try", 1)
	b.Stop()
	b.Start()
	attempt(t, b, "127.0.1.2", "adult.example")
	said(t, b, "alert mail not sent, kept for another try", 2)
	b.Kill()
	if got := len(mail.Messages()); got != 0 {
		t.Fatalf("%d mails reached a dead server", got)
	}
	mail.Start()
	b.Start()
	want := map[string]int{"dsl@school.example 3": 2}
	wantMails(t, mail, want)
	b.Stop()
	b.Start()
	attempt(t, b, "127.0.1.1", "adult.example") // within the quiet period: no new mail
	b.Stop()
	wantMails(t, mail, want)
}

func said(t *testing.T, b *testkit.Box, words string, n int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if err := b.Log().Wait(ctx, words, n); err != nil {
		t.Fatal(err)
	}
}
