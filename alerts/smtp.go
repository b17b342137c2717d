package alerts

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	netmail "net/mail"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/wneessen/go-mail"
)

// TLSMode is how the connection to the mail server is protected.
type TLSMode string

// The modes. The zero value is STARTTLS.
const (
	StartTLS    TLSMode = "starttls" // port 587: greeted in plain, then TLS or nothing
	ImplicitTLS TLSMode = "tls"      // port 465: TLS from the first byte
	NoTLS       TLSMode = "none"     // only to a server on this very machine
)

// SMTPConfig says how the school's mail server is reached.
type SMTPConfig struct {
	Server   string // host or host:port; the certificate must name this host
	TLS      TLSMode
	CAFile   string // PEM; "" trusts the system's roots
	Username string // "" sends without signing in
	Password string
	From     string        // address alerts come from
	Hello    string        // name we greet with; "" is From's domain
	Timeout  time.Duration // of the connection and its greeting, and again of the message; 0 is 30 s
	Log      *slog.Logger
}

// SMTP sends over a new connection for each message: alerts are rare, and a
// connection kept open is one more thing that can be stale.
type SMTP struct {
	cfg        SMTPConfig
	host       string
	port       int
	roots      *x509.CertPool
	fromDomain string
}

// maxReply bounds what a server may say in one session.
const maxReply = 256 << 10

// NewSMTP checks the configuration; it does not connect.
func NewSMTP(cfg SMTPConfig) (*SMTP, error) {
	m := &SMTP{cfg: cfg}
	setDefault(&m.cfg.TLS, StartTLS)
	setDefault(&m.cfg.Timeout, 30*time.Second)
	if m.cfg.Log == nil {
		m.cfg.Log = slog.New(slog.DiscardHandler)
	}
	if err := checkAddress(cfg.From); err != nil {
		return nil, err
	}
	m.fromDomain = cfg.From[strings.LastIndexByte(cfg.From, '@')+1:]
	setDefault(&m.cfg.Hello, m.fromDomain)
	if err := m.server(); err != nil {
		return nil, err
	}
	if cfg.CAFile != "" {
		pem, err := os.ReadFile(cfg.CAFile)
		if err != nil {
			return nil, fmt.Errorf("mail: ca_file: %w", err)
		}
		m.roots = x509.NewCertPool()
		if !m.roots.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("mail: ca_file %s holds no certificate", cfg.CAFile)
		}
	}
	if m.cfg.TLS == NoTLS {
		m.cfg.Log.Warn("MAIL IS SENT WITHOUT ENCRYPTION: allowed to this machine only; use starttls or tls for any other server", "server", cfg.Server)
	}
	return m, nil
}

func (m *SMTP) server() error {
	ports := map[TLSMode]int{StartTLS: 587, ImplicitTLS: 465, NoTLS: 25}
	port, ok := ports[m.cfg.TLS]
	if !ok {
		return fmt.Errorf("mail: tls %q: want starttls, tls or none", m.cfg.TLS)
	}
	m.host, m.port = strings.Trim(m.cfg.Server, "[]"), port
	if host, p, err := net.SplitHostPort(m.cfg.Server); err == nil {
		n, err := strconv.ParseUint(p, 10, 16)
		if err != nil || n == 0 {
			return fmt.Errorf("mail: server %q: bad port", m.cfg.Server)
		}
		m.host, m.port = host, int(n)
	}
	if m.host == "" || !printable(m.host) || !printable(m.cfg.Hello) {
		return fmt.Errorf("mail: bad server %q: want a host, or host:port", m.cfg.Server)
	}
	if ip := net.ParseIP(m.host); m.cfg.TLS == NoTLS && m.host != "localhost" && (ip == nil || !ip.IsLoopback()) {
		return fmt.Errorf("mail: tls none is allowed to this machine only (127.0.0.1, ::1 or localhost), not to %q: use starttls or tls", m.host)
	}
	return nil
}

// checkAddress takes a plain ASCII address and nothing that could start a new
// line or a second recipient.
func checkAddress(s string) error {
	a, err := netmail.ParseAddress(s)
	if err != nil || a.Address != s || !printable(s) || len(s) > 254 || strings.ContainsAny(s, `"<>(),;:\`) {
		return fmt.Errorf("mail: bad address %q: want one such as dsl@school.example", s)
	}
	return nil
}

// Send hands the message over and returns as soon as the server has said 250:
// what comes after, even a broken connection, is not waited for.
func (m *SMTP) Send(ctx context.Context, msg Message) error {
	_, err := m.send(ctx, msg)
	return err
}

func (m *SMTP) send(ctx context.Context, msg Message) (answer string, err error) {
	ctx, cancel := context.WithTimeout(ctx, 2*m.cfg.Timeout)
	defer cancel()
	out, err := m.compose(msg)
	if err != nil {
		return "", &SendError{Trouble: TroublePermanent, Text: err.Error()}
	}
	d := &dialer{m: m}
	defer d.close()
	defer context.AfterFunc(ctx, d.close)()
	client, err := m.client(d)
	if err != nil {
		return "", &SendError{Trouble: TroubleUnreachable, Text: err.Error()}
	}
	session, err := client.DialToSMTPClientWithContext(ctx)
	if err != nil {
		return "", d.explain(ctx, err, true)
	}
	if err := client.SendWithSMTPClient(session, out); err != nil && !out.IsDelivered() {
		return "", d.explain(ctx, err, false)
	}
	// Said, not waited for: the mail is the server's now.
	if _, err := session.Text.Cmd("QUIT"); err != nil {
		m.cfg.Log.Debug("mail server closed before goodbye", "err", err)
	}
	return clean(out.ServerResponse()), nil
}

func (m *SMTP) client(d *dialer) (*mail.Client, error) {
	opts := []mail.Option{
		mail.WithPort(m.port), mail.WithTimeout(m.cfg.Timeout), mail.WithHELO(m.cfg.Hello),
		mail.WithTLSConfig(m.tlsConfig()), mail.WithDialContextFunc(d.dial),
		mail.WithoutNoop(), mail.WithoutRset(), mail.WithoutSMTPUTF8(),
	}
	switch m.cfg.TLS {
	case StartTLS:
		opts = append(opts, mail.WithTLSPolicy(mail.TLSMandatory))
	default: // the dialer does TLS itself, or there is none
		opts = append(opts, mail.WithTLSPolicy(mail.NoTLS))
	}
	if m.cfg.Username != "" {
		opts = append(opts, mail.WithUsername(m.cfg.Username), mail.WithPassword(m.cfg.Password),
			mail.WithOpportunisticSMTPAuth(mail.SMTPAuthSCRAMSHA256, mail.SMTPAuthPlain, mail.SMTPAuthLogin))
	}
	return mail.NewClient(m.host, opts...)
}

func (m *SMTP) tlsConfig() *tls.Config {
	return &tls.Config{ServerName: m.host, RootCAs: m.roots, MinVersion: tls.VersionTLS12}
}

func (m *SMTP) compose(msg Message) (*mail.Msg, error) {
	out := mail.NewMsg(mail.WithNoDefaultUserAgent())
	if err := checkAddress(msg.To); err != nil {
		return nil, err
	}
	if err := errors.Join(out.FromFormat("Schoolgate", m.cfg.From), out.To(msg.To)); err != nil {
		return nil, err
	}
	for _, line := range []string{msg.Subject, msg.ID, msg.Thread} {
		if strings.ContainsAny(line, "\r\n\x00") {
			return nil, fmt.Errorf("mail: header %q holds a line break", line)
		}
	}
	out.Subject(msg.Subject)
	out.SetMessageIDWithValue(msg.ID + "@" + m.fromDomain)
	if msg.Thread != "" {
		first := "<" + msg.Thread + "@" + m.fromDomain + ">"
		out.SetGenHeader(mail.HeaderInReplyTo, first)
		out.SetGenHeader(mail.HeaderReferences, first)
	}
	out.SetDateWithValue(msg.Date)
	out.SetGenHeader("Auto-Submitted", "auto-generated")
	out.SetGenHeader(mail.HeaderXAutoResponseSuppress, "All")
	if msg.Urgent {
		out.SetImportance(mail.ImportanceHigh)
	}
	out.SetBodyString(mail.TypeTextPlain, msg.Text)
	return out, nil
}
