package alerts

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Answer is how a test message went to one person.
type Answer struct {
	To    string
	OK    bool
	Words string // in plain words, with the server's own at the end
}

// Test sends a test message to each person of a plan, by mail and by webhook, and
// says how it went. A nil mailer or hooks passes those over.
func Test(ctx context.Context, p *Plan, mailer *SMTP, hooks *Webhooks) (answers []Answer) {
	for _, way := range p.known() {
		switch {
		case lane(way) == "" && mailer != nil:
			answers = append(answers, mailer.test(ctx, way))
		case lane(way) != "" && hooks != nil:
			answers = append(answers, hooks.test(ctx, way))
		}
	}
	return answers
}

func (m *SMTP) test(ctx context.Context, address string) Answer {
	said, err := m.send(ctx, testMessage(address, time.Now()))
	if err != nil {
		return Answer{To: address, Words: m.inWords(err)}
	}
	return Answer{To: address, OK: true, Words: fmt.Sprintf("The server %s took the message. Check that it has arrived (also among spam). It said: %s", m.host, said)}
}

func (w *Webhooks) test(ctx context.Context, way string) Answer {
	if err := w.Send(ctx, testMessage(way, time.Now())); err != nil {
		return Answer{To: way, Words: "The webhook did not take the call. Check its address, certificate and secret. " + err.Error()}
	}
	return Answer{To: way, OK: true, Words: "The webhook took the call. Check that it has arrived where it should."}
}

var advice = map[Trouble]string{
	TroubleUnreachable: "No mail server greets us at %s. Check its name and port, and that the firewall lets this box reach it.",
	TroubleTLS:         "The connection to %s could not be encrypted safely, so nothing was sent. Check the server's name, its certificate (ca_file for one of your own), and starttls or tls.",
	TroubleAuth:        "The server %s did not let us sign in. Check user name and password, and that this account may send mail.",
	TroubleUnavailable: "The server %s turned us away before the message. It may be busy, or may not accept mail from this box.",
	TroubleTimeout:     "The server %s fell silent in the middle. Try again; if it stays so, ask who runs it.",
	TroubleDropped:     "The connection to %s broke in the middle. Try again; if it stays so, ask who runs it.",
	TroubleTemporary:   "The server %s does not take the message just now. Alerts are kept and tried again.",
	TroublePermanent:   "The server %s refuses the message for good. Check the addresses of sender and recipient.",
}

func (m *SMTP) inWords(err error) string {
	words := fmt.Sprintf(advice[troubleOf(err)], m.host)
	if e := (*SendError)(nil); errors.As(err, &e) {
		words += " It said: " + e.Text
	}
	return words
}
