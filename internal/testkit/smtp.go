package testkit

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"io"
	"log"
	"math/big"
	"net"
	netmail "net/mail"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"
)

// SMTPOptions say what mail server a test wants. The zero value listens on
// 127.0.0.1, offers STARTTLS with a certificate of its own CA for that address,
// and asks for no sign-in.
type SMTPOptions struct {
	Implicit bool   // TLS from the first byte
	Plain    bool   // no TLS at all
	Name     string // what the certificate names; "" is 127.0.0.1
	MaxTLS   uint16 // e.g. tls.VersionTLS11 for a server left behind

	Username, Password string // asked for, if set

	// Listen makes its listener; nil is net.Listen at 127.0.0.1:0. What it is given is
	// the address it must have, once it has one.
	Listen func(addr string) (net.Listener, error)
}

// SMTPStage is a point in the conversation at which a [SMTPFault] strikes.
type SMTPStage int

// The stages, in the order of the conversation.
const (
	SMTPConnect SMTPStage = iota // before the greeting
	SMTPHello
	SMTPMail
	SMTPRcpt
	SMTPData   // in the middle of the message
	SMTPAccept // the message is kept, but no 250 has been said
)

// SMTPFault makes one conversation go wrong. With a Code the server answers so
// (not at SMTPConnect); with Hang it falls silent until the test ends; with Flood,
// at SMTPConnect, it talks without end; else it drops the connection.
type SMTPFault struct {
	At    SMTPStage
	Code  int
	Text  string
	Hang  bool
	Flood bool
}

// SMTPMessage is a message the server has kept.
type SMTPMessage struct {
	From string
	To   []string
	Data []byte
	TLS  uint16 // version of the connection it came over, 0 for plain
}

// Header is a header field of the message, "" if it cannot be read.
func (m SMTPMessage) Header(name string) string {
	msg, err := netmail.ReadMessage(bytes.NewReader(m.Data))
	if err != nil {
		return ""
	}
	return msg.Header.Get(name)
}

// SMTP is a real mail server for one test. It ends with the test.
type SMTP struct {
	Addr   string // host:port
	CAFile string // PEM of the CA that signed its certificate

	t       testing.TB
	options SMTPOptions
	tls     *tls.Config
	arrived chan struct{} // one for each message kept
	ended   chan struct{}

	running sync.WaitGroup

	mu       sync.Mutex
	server   *smtp.Server
	listener net.Listener
	faults   []SMTPFault
	messages []SMTPMessage
	sessions int
}

// NewSMTP starts a mail server.
func NewSMTP(t testing.TB, o SMTPOptions) *SMTP {
	t.Helper()
	if o.Name == "" {
		o.Name = "127.0.0.1"
	}
	s := &SMTP{t: t, options: o, arrived: make(chan struct{}, 10000), ended: make(chan struct{})}
	s.tls, s.CAFile = smtpCertificate(t, o)
	if s.options.Listen == nil {
		s.options.Listen = func(addr string) (net.Listener, error) { return net.Listen("tcp", addr) }
	}
	s.listen("127.0.0.1:0")
	t.Cleanup(func() {
		close(s.ended)
		s.Stop()
		s.running.Wait()
	})
	return s
}

// Stop refuses connections from now on.
func (s *SMTP) Stop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.server == nil {
		return
	}
	// The listener too: a server that has only just started does not know it yet.
	if err := errors.Join(s.listener.Close(), s.server.Close()); err != nil && !errors.Is(err, net.ErrClosed) {
		s.t.Errorf("mail server: %v", err)
	}
	s.server = nil
}

// Start listens again at the same address.
func (s *SMTP) Start() { s.listen(s.Addr) }

func (s *SMTP) listen(address string) {
	s.t.Helper()
	l, err := s.options.Listen(address)
	if err != nil {
		s.t.Fatal(err)
	}
	s.Addr = l.Addr().String()
	server := smtp.NewServer(smtp.BackendFunc(s.session))
	server.Domain = "mail.test"
	server.ErrorLog = log.New(io.Discard, "", 0)
	server.MaxMessageBytes = 1 << 20
	server.AllowInsecureAuth = s.options.Plain
	l = &smtpListener{Listener: l, s: s}
	switch {
	case s.options.Implicit:
		l = tls.NewListener(l, s.tls)
	case !s.options.Plain:
		server.TLSConfig = s.tls
	}
	s.mu.Lock()
	s.server, s.listener = server, l
	s.mu.Unlock()
	s.running.Go(func() {
		if err := server.Serve(l); err != nil && !errors.Is(err, net.ErrClosed) {
			s.t.Errorf("mail server: %v", err)
		}
	})
}

// Fail makes the next conversations go wrong, one fault each, in order.
func (s *SMTP) Fail(faults ...SMTPFault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = append(s.faults, faults...)
}

// Messages are those kept so far.
func (s *SMTP) Messages() []SMTPMessage {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.messages)
}

// Sessions counts the connections so far.
func (s *SMTP) Sessions() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.sessions
}

// Wait returns once n further messages have been kept.
func (s *SMTP) Wait(ctx context.Context, n int) {
	s.t.Helper()
	for range n {
		select {
		case <-s.arrived:
		case <-ctx.Done():
			s.t.Fatalf("waiting for %d messages: %d have come", n, len(s.Messages()))
		}
	}
}

// WaitFor returns once n messages have been kept in all.
func (s *SMTP) WaitFor(ctx context.Context, n int) {
	s.t.Helper()
	for len(s.Messages()) < n {
		select {
		case <-s.arrived:
		case <-ctx.Done():
			s.t.Fatalf("waiting for %d messages in all: %d have come", n, len(s.Messages()))
		}
	}
}

// strike takes the next fault if it is for this stage.
func (s *SMTP) strike(at SMTPStage) (SMTPFault, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.faults) == 0 || s.faults[0].At != at {
		return SMTPFault{}, false
	}
	f := s.faults[0]
	s.faults = s.faults[1:]
	return f, true
}

// suffer carries a fault out on a connection; nil if none is due.
func (s *SMTP) suffer(at SMTPStage, conn net.Conn) error {
	f, ok := s.strike(at)
	switch {
	case !ok:
		return nil
	case f.Code != 0:
		return &smtp.SMTPError{Code: f.Code, EnhancedCode: smtp.NoEnhancedCode, Message: f.Text}
	case f.Hang:
		<-s.ended
	case f.Flood:
		for err := error(nil); err == nil; {
			_, err = conn.Write(bytes.Repeat([]byte("x"), 4096))
		}
	}
	conn.Close()
	return errors.New("dropped")
}

// refuse carries out a fault before the greeting; there is nobody to tell of it.
func (s *SMTP) refuse(conn net.Conn) {
	if err := s.suffer(SMTPConnect, conn); err == nil {
		s.t.Error("mail server: two connections for one fault")
	}
}

// smtpListener lets a connection go wrong before the greeting.
type smtpListener struct {
	net.Listener
	s *SMTP
}

func (l *smtpListener) Accept() (net.Conn, error) {
	for {
		conn, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		l.s.mu.Lock()
		l.s.sessions++
		due := len(l.s.faults) > 0 && l.s.faults[0].At == SMTPConnect
		l.s.mu.Unlock()
		if !due {
			return conn, nil
		}
		l.s.running.Go(func() { l.s.refuse(conn) })
	}
}

func (s *SMTP) session(c *smtp.Conn) (smtp.Session, error) {
	if err := s.suffer(SMTPHello, c.Conn()); err != nil {
		return nil, err
	}
	sess := &smtpSession{s: s, conn: c}
	if s.options.Username != "" {
		return &smtpAuthSession{sess}, nil
	}
	return sess, nil
}

type smtpSession struct {
	s       *SMTP
	conn    *smtp.Conn
	signed  bool
	message SMTPMessage
}

func (c *smtpSession) Reset() {
	c.message = SMTPMessage{}
}

func (c *smtpSession) Logout() error { return nil }

func (c *smtpSession) Mail(from string, _ *smtp.MailOptions) error {
	if c.s.options.Username != "" && !c.signed {
		return smtp.ErrAuthRequired
	}
	c.message.From = from
	return c.s.suffer(SMTPMail, c.conn.Conn())
}

func (c *smtpSession) Rcpt(to string, _ *smtp.RcptOptions) error {
	c.message.To = append(c.message.To, to)
	return c.s.suffer(SMTPRcpt, c.conn.Conn())
}

func (c *smtpSession) Data(r io.Reader) error {
	if err := c.s.suffer(SMTPData, c.conn.Conn()); err != nil {
		return err
	}
	data, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	c.message.Data = data
	if state, ok := c.conn.TLSConnectionState(); ok {
		c.message.TLS = state.Version
	}
	c.s.mu.Lock()
	c.s.messages = append(c.s.messages, c.message)
	c.s.mu.Unlock()
	c.s.arrived <- struct{}{}
	return c.s.suffer(SMTPAccept, c.conn.Conn())
}

// smtpAuthSession is a session that asks for a user name and password.
type smtpAuthSession struct{ *smtpSession }

func (c *smtpAuthSession) AuthMechanisms() []string { return []string{sasl.Plain} }

func (c *smtpAuthSession) Auth(string) (sasl.Server, error) {
	return sasl.NewPlainServer(func(_, username, password string) error {
		if username != c.s.options.Username || password != c.s.options.Password {
			return smtp.ErrAuthFailed
		}
		c.signed = true
		return nil
	}), nil
}

// smtpCertificate makes a CA, a certificate signed by it, and the CA's file.
func smtpCertificate(t testing.TB, o SMTPOptions) (*tls.Config, string) {
	t.Helper()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	caKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(err)
	ca := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test mail CA"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour), KeyUsage: x509.KeyUsageCertSign,
	}
	caDER, err := x509.CreateCertificate(rand.Reader, ca, ca, caKey.Public(), caKey)
	must(err)
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(err)
	leaf := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: o.Name},
		NotBefore: ca.NotBefore, NotAfter: ca.NotAfter, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	if ip := net.ParseIP(o.Name); ip != nil {
		leaf.IPAddresses = []net.IP{ip}
	} else {
		leaf.DNSNames = []string{o.Name}
	}
	der, err := x509.CreateCertificate(rand.Reader, leaf, ca, key.Public(), caKey)
	must(err)
	file := filepath.Join(t.TempDir(), "mail-ca.pem")
	must(os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: caDER}), 0o600))
	config := &tls.Config{
		Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}},
		MinVersion:   tls.VersionTLS10, MaxVersion: o.MaxTLS,
	}
	return config, file
}
