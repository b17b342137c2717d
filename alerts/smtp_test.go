package alerts

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"schoolgate/internal/testkit"
)

func smtpTo(server *testkit.SMTP, change ...func(*SMTPConfig)) SMTPConfig {
	cfg := SMTPConfig{Server: server.Addr, CAFile: server.CAFile, From: "schoolgate@school.example", Timeout: 5 * time.Second}
	for _, f := range change {
		f(&cfg)
	}
	return cfg
}

func implicit(c *SMTPConfig) { c.TLS = ImplicitTLS }
func plain(c *SMTPConfig)    { c.TLS = NoTLS }
func hasty(c *SMTPConfig)    { c.Timeout = 200 * time.Millisecond }

func mailer(t *testing.T, cfg SMTPConfig) *SMTP {
	t.Helper()
	m, err := NewSMTP(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func within(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}

var hello = Message{ID: "al-1.1.0", To: dsl, Subject: "Schoolgate alert AL-1", Text: "Text\n.dot\n", Date: time.Unix(0, 0)}

func TestSendOverTLS(t *testing.T) {
	signIn := func(c *SMTPConfig) { c.Username, c.Password = "schoolgate", "hunter2 hunter2" }
	account := testkit.SMTPOptions{Username: "schoolgate", Password: "hunter2 hunter2"}
	tests := []struct {
		name   string
		server testkit.SMTPOptions
		change []func(*SMTPConfig)
	}{
		{"STARTTLS", testkit.SMTPOptions{}, nil},
		{"implicit TLS", testkit.SMTPOptions{Implicit: true}, []func(*SMTPConfig){implicit}},
		{"STARTTLS with sign-in", account, []func(*SMTPConfig){signIn}},
		{"implicit TLS with sign-in", testkit.SMTPOptions{Implicit: true, Username: account.Username, Password: account.Password}, []func(*SMTPConfig){implicit, signIn}},
		{"TLS 1.2", testkit.SMTPOptions{MaxTLS: tls.VersionTLS12}, nil},
	}
	for _, tt := range tests {
		server := testkit.NewSMTP(t, tt.server)
		if err := mailer(t, smtpTo(server, tt.change...)).Send(within(t), hello); err != nil {
			t.Errorf("%s: Send = %v", tt.name, err)
			continue
		}
		got := server.Messages()
		if len(got) != 1 || got[0].TLS < tls.VersionTLS12 || got[0].From != "schoolgate@school.example" || !cmp.Equal(got[0].To, []string{dsl}) ||
			got[0].Header("Message-ID") != "<al-1.1.0@school.example>" || !bytes.Contains(got[0].Data, []byte("\r\n.dot")) {
			t.Errorf("%s: server got %+v", tt.name, got)
		}
	}
}

// A connection that is not safe carries nothing.
func TestUnsafeServerGetsNothing(t *testing.T) {
	other := testkit.NewSMTP(t, testkit.SMTPOptions{})
	otherCA := func(c *SMTPConfig) { c.CAFile = other.CAFile }
	systemRoots := func(c *SMTPConfig) { c.CAFile = "" }
	tests := []struct {
		name   string
		server testkit.SMTPOptions
		change []func(*SMTPConfig)
	}{
		{"certificate of another CA", testkit.SMTPOptions{}, []func(*SMTPConfig){otherCA}},
		{"certificate of another CA, implicit", testkit.SMTPOptions{Implicit: true}, []func(*SMTPConfig){implicit, otherCA}},
		{"certificate not of the system's roots", testkit.SMTPOptions{}, []func(*SMTPConfig){systemRoots}},
		{"certificate for another name", testkit.SMTPOptions{Name: "mail.elsewhere.example"}, nil},
		{"TLS 1.1", testkit.SMTPOptions{MaxTLS: tls.VersionTLS11}, nil},
		{"TLS 1.1, implicit", testkit.SMTPOptions{Implicit: true, MaxTLS: tls.VersionTLS11}, []func(*SMTPConfig){implicit}},
		{"no STARTTLS on offer", testkit.SMTPOptions{Plain: true}, nil},
		{"plain where TLS is expected", testkit.SMTPOptions{Plain: true}, []func(*SMTPConfig){implicit}},
	}
	for _, tt := range tests {
		server := testkit.NewSMTP(t, tt.server)
		err := mailer(t, smtpTo(server, tt.change...)).Send(within(t), hello)
		if troubleOf(err) != TroubleTLS || len(server.Messages()) != 0 {
			t.Errorf("%s: Send = %v, %d messages; want tls trouble and none", tt.name, err, len(server.Messages()))
		}
	}
}

func TestPlainOnlyToThisMachine(t *testing.T) {
	for _, server := range []string{"192.0.2.1", "mail.school.example:25", "[2001:db8::1]:25"} {
		if _, err := NewSMTP(SMTPConfig{Server: server, TLS: NoTLS, From: "a@b.example"}); err == nil || !strings.Contains(err.Error(), "this machine only") {
			t.Errorf("NewSMTP(plain to %s) = %v", server, err)
		}
	}
	var log bytes.Buffer
	server := testkit.NewSMTP(t, testkit.SMTPOptions{Plain: true})
	cfg := smtpTo(server, plain)
	cfg.Log = slog.New(slog.NewTextHandler(&log, nil))
	if err := mailer(t, cfg).Send(within(t), hello); err != nil || len(server.Messages()) != 1 {
		t.Errorf("plain to loopback: %v", err)
	}
	if !strings.Contains(log.String(), "WITHOUT ENCRYPTION") {
		t.Errorf("no loud warning: %s", log.String())
	}
}

// F13: every way a server can fail has a name, within bounds of time and memory,
// and the next try gets through.
func TestTroubles(t *testing.T) {
	f := func(at testkit.SMTPStage, code int, text string) testkit.SMTPFault {
		return testkit.SMTPFault{At: at, Code: code, Text: text}
	}
	tests := []struct {
		name  string
		fault testkit.SMTPFault
		want  Trouble
	}{
		{"dropped before the greeting", testkit.SMTPFault{At: testkit.SMTPConnect}, TroubleUnreachable},
		{"silent before the greeting", testkit.SMTPFault{At: testkit.SMTPConnect, Hang: true}, TroubleUnreachable},
		{"talks without end", testkit.SMTPFault{At: testkit.SMTPConnect, Flood: true}, TroubleUnreachable},
		{"4xx to the sender", f(testkit.SMTPMail, 451, "try later"), TroubleTemporary},
		{"4xx to the recipient", f(testkit.SMTPRcpt, 450, "greylisted"), TroubleTemporary},
		{"5xx to the recipient", f(testkit.SMTPRcpt, 550, "no such user"), TroublePermanent},
		{"wants a sign-in", f(testkit.SMTPMail, 530, "authentication required"), TroubleAuth},
		{"closing down", f(testkit.SMTPMail, 421, "closing down"), TroubleUnavailable},
		{"4xx to the message", f(testkit.SMTPData, 452, "disk full"), TroubleTemporary},
		{"5xx to the message", f(testkit.SMTPData, 554, "looks like spam"), TroublePermanent},
		{"dropped in the middle of the message", testkit.SMTPFault{At: testkit.SMTPData}, TroubleDropped},
		{"silent in the middle of the message", testkit.SMTPFault{At: testkit.SMTPData, Hang: true}, TroubleTimeout},
		{"taken, then dropped before the 250", testkit.SMTPFault{At: testkit.SMTPAccept}, TroubleDropped},
		{"taken, then silent before the 250", testkit.SMTPFault{At: testkit.SMTPAccept, Hang: true}, TroubleTimeout},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			server := testkit.NewSMTP(t, testkit.SMTPOptions{})
			server.Fail(tt.fault)
			patience := func(*SMTPConfig) {}
			if tt.fault.Hang {
				patience = hasty
			}
			err := mailer(t, smtpTo(server, patience)).Send(within(t), hello)
			if got := troubleOf(err); err == nil || got != tt.want {
				t.Errorf("Send = %v, want trouble %q", err, tt.want)
			}
			if e := (*SendError)(nil); errors.As(err, &e) && e.Code != tt.fault.Code {
				t.Errorf("Send = code %d, want %d", e.Code, tt.fault.Code)
			}
			if err := mailer(t, smtpTo(server)).Send(within(t), hello); err != nil {
				t.Errorf("second Send = %v", err)
			}
			got := server.Messages()
			for _, m := range got {
				if m.Header("Message-ID") != got[0].Header("Message-ID") || !bytes.Equal(m.Data, got[0].Data) {
					t.Errorf("a repeat differs:\n%s\n%s", m.Data, got[0].Data)
				}
			}
		})
	}
	server := testkit.NewSMTP(t, testkit.SMTPOptions{})
	server.Stop()
	if err := mailer(t, smtpTo(server)).Send(within(t), hello); troubleOf(err) != TroubleUnreachable {
		t.Errorf("nobody listens: Send = %v", err)
	}
}

// watch is a log that tells each message to a channel.
type watch struct {
	slog.Handler
	said chan string
}

func (w watch) Handle(_ context.Context, r slog.Record) error {
	select {
	case w.said <- r.Message:
	default:
	}
	return nil
}

func (w watch) wait(t *testing.T, message string) {
	t.Helper()
	ctx := within(t)
	for {
		select {
		case m := <-w.said:
			if m == message {
				return
			}
		case <-ctx.Done():
			t.Fatalf("log never said %q", message)
		}
	}
}

// hurry makes everything in the outbox due now.
func (b *box) hurry() {
	b.t.Helper()
	b.open()
	defer b.s.Close()
	err := b.s.ledger.update(func(t *tx) error {
		list, err := t.mails()
		for _, m := range list {
			m.Next = time.Now()
			err = errors.Join(err, t.putMail(m))
		}
		return err
	})
	if err != nil {
		b.t.Fatal(err)
	}
}

// The whole way, from the journal to a real server that fails at each stage in
// turn, with a restart after each: every alert arrives, once, or where the server
// took it without a word, again under the same Message-ID.
func TestEveryAlertArrivesThroughFailuresAndRestarts(t *testing.T) {
	server := testkit.NewSMTP(t, testkit.SMTPOptions{})
	b := newBox(t)
	b.cfg.Mailer = mailer(t, smtpTo(server, func(c *SMTPConfig) { c.Timeout = time.Second }))
	w := watch{slog.DiscardHandler, make(chan string, 100)}
	b.cfg.Log = slog.New(watchAll{w})
	faults := []testkit.SMTPFault{
		{At: testkit.SMTPConnect}, {At: testkit.SMTPHello, Code: 554, Text: "no"}, {At: testkit.SMTPMail, Code: 451, Text: "later"},
		{At: testkit.SMTPRcpt, Code: 550, Text: "unknown"}, {At: testkit.SMTPData}, {At: testkit.SMTPData, Code: 452, Text: "full"},
		{At: testkit.SMTPAccept}, {At: testkit.SMTPAccept, Code: 554, Text: "changed my mind"}, {At: testkit.SMTPData, Hang: true},
	}
	for i, fault := range faults {
		server.Fail(fault)
		before := len(server.Messages())
		b.start()
		b.add(attempt("tablet-" + string(rune('a'+i))))
		w.wait(t, "alert mail not sent, kept for another try")
		b.stop()
		if st := b.status(); st.Queued != 1 {
			t.Fatalf("%+v: Status = %+v, want 1 queued", fault, st)
		}
		b.hurry()
		b.start()
		w.wait(t, "alert mail sent")
		b.stop()
		if st := b.status(); st.Queued != 0 {
			t.Fatalf("%+v: Status = %+v, want none queued", fault, st)
		}
		got := server.Messages()[before:]
		want := 1
		if fault.At == testkit.SMTPAccept {
			want = 2
		}
		if len(got) != want || got[0].Header("Message-ID") != got[want-1].Header("Message-ID") {
			t.Errorf("%+v: %d messages, want %d under one Message-ID", fault, len(got), want)
		}
	}
	l, err := List(b.cfg.Dir)
	if err != nil || l.Total != len(faults) {
		t.Errorf("List = %d alerts, %v", l.Total, err)
	}
	for _, a := range l.Alerts {
		if a.Mail() != "sent" || a.Sent != 1 {
			t.Errorf("%s: %s, sent %d", a.Reference(), a.Mail(), a.Sent)
		}
	}
}

// watchAll is a watch that wants every level.
type watchAll struct{ watch }

func (watchAll) Enabled(context.Context, slog.Level) bool { return true }

// status opens the state for a look.
func (b *box) status() Status {
	b.t.Helper()
	b.open()
	defer b.s.Close()
	return b.s.Status()
}

// One recipient's refusal costs the other nothing.
func TestRefusedRecipientDoesNotHoldUpTheOther(t *testing.T) {
	server := testkit.NewSMTP(t, testkit.SMTPOptions{})
	server.Fail(testkit.SMTPFault{At: testkit.SMTPRcpt, Code: 550, Text: "no such user"})
	b := newBox(t)
	b.cfg.Mailer = mailer(t, smtpTo(server))
	b.start()
	b.add(severe(attempt("a"), 5))
	server.Wait(within(t), 1)
	b.stop()
	if got := server.Messages(); len(got) != 1 || !cmp.Equal(got[0].To, []string{deputy}) {
		t.Errorf("server got %+v, want the deputy's", got)
	}
	if st := b.status(); st.Queued != 1 {
		t.Errorf("Status = %+v, want the DSL's still queued", st)
	}
}

func TestTestMailSpeaksPlainly(t *testing.T) {
	server := testkit.NewSMTP(t, testkit.SMTPOptions{})
	b := newBox(t)
	server.Fail(testkit.SMTPFault{At: testkit.SMTPRcpt, Code: 550, Text: "no such user\x1b[31m here"})
	got := Test(within(t), &Plan{People: b.roles.people()}, mailer(t, smtpTo(server)), nil)
	if len(got) != 3 {
		t.Fatalf("%d answers, want 3", len(got))
	}
	want := []Answer{
		{To: dsl, Words: "The server 127.0.0.1 refuses the message for good. Check the addresses of sender and recipient. It said: "},
		{To: deputy, OK: true, Words: "The server 127.0.0.1 took the message. Check that it has arrived (also among spam). It said: "},
		{To: head, OK: true, Words: "The server 127.0.0.1 took the message. Check that it has arrived (also among spam). It said: "},
	}
	for i, a := range got {
		if a.To != want[i].To || a.OK != want[i].OK || !strings.HasPrefix(a.Words, want[i].Words) || strings.ContainsAny(a.Words, "\x1b\r\n") {
			t.Errorf("answer %d = %+v, want %+v", i, a, want[i])
		}
	}
	for trouble := range advice {
		if words := mailer(t, smtpTo(server)).inWords(&SendError{Trouble: trouble}); strings.Contains(words, "%!") {
			t.Errorf("%s: %s", trouble, words)
		}
	}
}
