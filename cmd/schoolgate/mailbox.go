package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"sync"
	"time"

	"github.com/emersion/go-smtp"
)

type mailboxCmd struct {
	Listen string `help:"Loopback address to receive on." default:"127.0.0.1:2525"`
}

// maxMail bounds one received mail, in bytes.
const maxMail = 1 << 20

// Run receives mail and prints it until it is interrupted: a way to see an alert
// on a box that has no mail server yet. It listens on loopback only.
func (c *mailboxCmd) Run(s *session) error {
	addr, err := netip.ParseAddrPort(c.Listen)
	if err != nil || !addr.Addr().IsLoopback() {
		return fmt.Errorf("--listen: %q is not a loopback address with a port, e.g. 127.0.0.1:2525", c.Listen)
	}
	l, err := (&net.ListenConfig{}).Listen(s.ctx, "tcp", c.Listen)
	if err != nil {
		return err
	}
	server := smtp.NewServer(&mailbox{out: s.stdout})
	server.Domain = "localhost"
	server.MaxMessageBytes = maxMail
	server.MaxRecipients = 50
	server.ReadTimeout, server.WriteTimeout = time.Minute, time.Minute
	fmt.Fprintf(s.stdout, "receiving mail on %s; stop with Ctrl-C\n", c.Listen)
	stopped := context.AfterFunc(s.ctx, func() { _ = server.Close() }) // Serve returns what there is to say
	defer stopped()
	if err := server.Serve(l); err != nil && s.ctx.Err() == nil {
		return err
	}
	return nil
}

// mailbox prints each mail whole, one at a time.
type mailbox struct {
	mu  sync.Mutex
	out io.Writer
}

// NewSession begins a connection.
func (m *mailbox) NewSession(*smtp.Conn) (smtp.Session, error) { return &mailSession{box: m}, nil }

// mailSession is one connection; it takes mail from anyone to anyone.
type mailSession struct{ box *mailbox }

func (*mailSession) Mail(string, *smtp.MailOptions) error { return nil }
func (*mailSession) Rcpt(string, *smtp.RcptOptions) error { return nil }
func (*mailSession) Reset()                               {}
func (*mailSession) Logout() error                        { return nil }

// Data prints the mail; what a terminal would take for a command is left out.
func (s *mailSession) Data(r io.Reader) error {
	text, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	clean := strings.Map(func(c rune) rune {
		if c < ' ' && c != '\n' && c != '\t' {
			return -1
		}
		return c
	}, string(text))
	s.box.mu.Lock()
	defer s.box.mu.Unlock()
	_, err = fmt.Fprintf(s.box.out, "----- mail received -----\n%s\n-------------------------\n", clean)
	return err
}
