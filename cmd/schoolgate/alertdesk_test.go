package main

import (
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"schoolgate/internal/testkit"
)

// An alert as its people meet it on the box: found, read, taken on, closed; each act
// on record, what staff did kept from the DSL, and nothing of a mandatory hit told.
func TestAlertIsAnswered(t *testing.T) { // R33-R36, M9, privacy 8
	mail := testkit.NewSMTP(t, testkit.SMTPOptions{})
	b := alertBox(t, mail)
	b.Start()
	attempt(t, b, "127.0.1.1", "adult.example")
	attempt(t, b, "127.0.1.1", "sealed.example")
	attempt(t, b, "127.0.0.2", "sealed.example")
	until := func(what string, args ...string) string {
		t.Helper()
		out := b.Run(args...)
		for end := time.Now().Add(20 * time.Second); !strings.Contains(out, what) && time.Now().Before(end); {
			time.Sleep(50 * time.Millisecond)
			out = b.Run(args...)
		}
		if !strings.Contains(out, what) {
			t.Fatalf("%v does not say %q:\n%s", args, what, out)
		}
		return out
	}
	list := until("2 of 2 alerts", "alerts", "list")
	porn, sealed := lineWith(t, list, "pornography"), lineWith(t, list, "child_abuse")
	if !strings.Contains(list, "oldest that nobody has acknowledged: "+porn) {
		t.Errorf("the oldest is not named:\n%s", list)
	}
	show := b.Run("alerts", "show", porn, "--by", "D. Lead")
	for _, want := range []string{"A pupil's device", "adult.example", "127.0.1.1", "not known", "Other alerts of this device", sealed, "alerts ack " + porn} {
		if !strings.Contains(show, want) {
			t.Errorf("show does not hold %q:\n%s", want, show)
		}
	}
	show = b.Run("alerts", "show", sealed, "--by", "D. Lead")
	for _, want := range []string{"mandatory list", "(sealed)", "Do not open or copy", "answer by"} {
		if !strings.Contains(show, want) {
			t.Errorf("show of a mandatory hit does not hold %q:\n%s", want, show)
		}
	}
	if strings.Contains(show, "sealed.example") {
		t.Errorf("a mandatory hit is told:\n%s", show)
	}
	for _, step := range [][]string{
		{"acknowledged by D. Lead", "ack", sealed, "--by", "D. Lead"},
		{"noted by D. Lead", "note", sealed, "--text", "the tablet is kept", "--by", "D. Lead"},
		{"closed by D. Lead: no_concern", "close", porn, "--by", "D. Lead", "--outcome", "no_concern", "--reason", "an advert"},
	} {
		if out := b.Run(append([]string{"alerts"}, step[1:]...)...); !strings.Contains(out, step[0]) || strings.Contains(out, "as soon as") {
			t.Errorf("%v says %q", step[1:], out)
		}
	}
	until("acknowledged", "alerts", "list")
	if list = b.Run("alerts", "list", "--open"); strings.Contains(list, porn+" ") || !strings.Contains(list, "1 of 2 alerts") {
		t.Errorf("list --open:\n%s", list)
	}
	if list = b.Run("alerts", "list", "--theme", "bypass"); !strings.Contains(list, "0 of 2 alerts") {
		t.Errorf("list --theme bypass:\n%s", list)
	}
	if out := b.Run("alerts", "outcomes"); !strings.Contains(out, "<5") || strings.Contains(out, "127.0.") {
		t.Errorf("outcomes:\n%s", out)
	}
	head := until("1 of 1 alerts", "alerts", "list", "--as", "chair") // the staff's, and none of the pupils'
	staff := lineWith(t, head, "child_abuse")
	show = b.Run("alerts", "show", staff, "--as", "head", "--by", "H. Teacher", "--reason", "the mail of this morning")
	for _, want := range []string{"alerts ack " + staff + " --as head --by", "incidents open --alert " + staff + " --as head --by"} {
		if !strings.Contains(show, want) {
			t.Errorf("what is to be done does not hold %q:\n%s", want, show)
		}
	}
	if reads := b.Run("audit", "reads"); !strings.Contains(reads, "the mail of this morning (as head)") {
		t.Errorf("the reason is not on record:\n%s", reads)
	}
	b.Stop()
	if out := b.Run("alerts", "ack", staff, "--as", "head", "--by", "H. Teacher"); !strings.Contains(out, "takes effect as soon as Schoolgate runs") {
		t.Errorf("ack while it does not run: %s", out)
	}
	b.Start()
	until("acknowledged", "alerts", "list", "--as", "chair")
	acts := b.Run("audit", "search", "--text", "alerts.")
	for _, want := range []string{"alerts.show", "alerts.ack", "alerts.note", "alerts.close"} {
		if !strings.Contains(acts, want) {
			t.Errorf("the journal does not hold %q:\n%s", want, acts)
		}
	}
	b.Kill()
	b.Start() // what was answered stays answered
	until("acknowledged", "alerts", "list")
}

// lineWith is the reference in the line that holds words.
func lineWith(t *testing.T, list, words string) string {
	t.Helper()
	for line := range strings.Lines(list) {
		if strings.Contains(line, words) {
			return strings.Fields(line)[0]
		}
	}
	t.Fatalf("no line with %q in\n%s", words, list)
	return ""
}

// S2: tries to get round the filter, each of which raises nothing by itself, are one
// alert with a line for each.
func TestTriesToGetRoundReachTheDSL(t *testing.T) {
	mail := testkit.NewSMTP(t, testkit.SMTPOptions{})
	b := alertBox(t, mail)
	policy := strings.Replace(testkit.SchoolPolicy, "gambling, gaming]", "gambling, gaming, vpn_proxy]", 1)
	b.Write("policy.yaml", policy+"    - {bypass: {tries: 3, within: 10m}, for: pupils, severity: 3, to: [dsl]}\n")
	b.Write("vpn.txt", "vpn.example\ntunnel.example\nproxy.example\n")
	b.Write("feeds.yaml", "feeds:\n  - {name: vpn, path: vpn.txt, format: domains, category: vpn_proxy, kind: curated, licence: ours, date: 2026-08-01}\n"+
		"  - {name: sealed, path: sealed.csv, format: csv, columns: {host: entry}, category: child_abuse, kind: mandatory, licence: none, date: 2026-08-01}\n")
	b.Run("lists", "build", "--feeds", b.Dir+"/feeds.yaml")
	b.Start()
	for range 5 { // a program that asks again and again
		refused(t, b, "127.0.1.2", "vpn.example")
	}
	for _, host := range []string{"vpn.example", "www.tunnel.example", "proxy.example"} {
		refused(t, b, "127.0.1.1", host)
	}
	wantMails(t, mail, map[string]int{"dsl@school.example 3": 1})
	var list string
	for end := time.Now().Add(20 * time.Second); !strings.Contains(list, "1 of 1 alerts") && time.Now().Before(end); {
		list = b.Run("alerts", "list", "--theme", "bypass")
	}
	show := b.Run("alerts", "show", lineWith(t, list, "bypass"), "--by", "D. Lead")
	for _, want := range []string{"tried 3 times to get round the filter: vpn_proxy 3", "vpn.example", "www.tunnel.example", "proxy.example", "127.0.1.1"} {
		if !strings.Contains(show, want) {
			t.Errorf("show does not hold %q:\n%s", want, show)
		}
	}
}

func refused(t *testing.T, b *testkit.Box, from, host string) {
	t.Helper()
	if r, err := b.Ask(from, "udp", host, dns.TypeA); err != nil || verdict(r) != "block" {
		t.Fatalf("%s asks for %s: %v, %v; want a refusal", from, host, r, err)
	}
}
