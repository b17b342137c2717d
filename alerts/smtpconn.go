package alerts

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/textproto"
	"strings"
	"sync/atomic"
	"time"

	"github.com/wneessen/go-mail"
)

// dialer makes the one connection of a send and keeps hold of it: the client
// library leaves it open where a greeting goes wrong.
type dialer struct {
	m    *SMTP
	conn atomic.Pointer[bounded]
}

func (d *dialer) dial(ctx context.Context, network, address string) (net.Conn, error) {
	raw, err := new(net.Dialer).DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	conn := &bounded{Conn: raw, left: maxReply}
	d.conn.Store(conn)
	if d.m.cfg.TLS == NoTLS {
		if a, ok := raw.RemoteAddr().(*net.TCPAddr); !ok || !a.IP.IsLoopback() {
			return nil, fmt.Errorf("%s is not this machine: mail is not sent without encryption", raw.RemoteAddr())
		}
	}
	if d.m.cfg.TLS != ImplicitTLS {
		return conn, nil
	}
	secure := tls.Client(conn, d.m.tlsConfig())
	return secure, secure.HandshakeContext(ctx)
}

// close may be called at any time and more than once.
func (d *dialer) close() {
	if c := d.conn.Load(); c != nil {
		c.Close() // what was to be said has been said; its error changes nothing
	}
}

var errFlood = errors.New("the server sent far more than a mail server says")

// bounded is a connection that ends a session in which the server talks without
// end: the client library reads lines of any length.
type bounded struct {
	net.Conn
	left int
}

func (b *bounded) Read(p []byte) (int, error) {
	if b.left <= 0 {
		return 0, errFlood
	}
	n, err := b.Conn.Read(p[:min(len(p), b.left)])
	b.left -= n
	return n, err
}

// Trouble says in a word why a mail was not taken.
type Trouble string

// The troubles. The first group is of the server as a whole, the second of one
// session, the third of one mail.
const (
	TroubleNone Trouble = ""

	TroubleUnreachable Trouble = "unreachable" // no connection or no greeting
	TroubleTLS         Trouble = "tls"         // no encryption, or a certificate that does not hold
	TroubleAuth        Trouble = "sign_in"     // user name or password refused, or asked for
	TroubleUnavailable Trouble = "unavailable" // the server turns everybody away

	TroubleTimeout Trouble = "timeout" // the server fell silent
	TroubleDropped Trouble = "dropped" // the connection broke

	TroubleTemporary Trouble = "temporary" // refused for now (4xx)
	TroublePermanent Trouble = "permanent" // refused for good (5xx); a person must look
)

// server reports whether every mail would meet the same trouble now.
func (t Trouble) server() bool {
	return t == TroubleUnreachable || t == TroubleTLS || t == TroubleAuth || t == TroubleUnavailable
}

// session reports whether the server should be left alone for a while.
func (t Trouble) session() bool { return t.server() || t == TroubleTimeout || t == TroubleDropped }

func (t Trouble) label() string {
	if t == TroubleNone {
		return "ok"
	}
	return string(t)
}

// slowest is the longest that a mail waits for its next try.
const slowest = 6 * time.Hour

// backoff is how long a mail steps back that has been turned away so often itself. What
// somebody must act on within the hour is not kept for an hour.
func (t Trouble) backoff(refusals int, severity uint8) time.Duration {
	longest := time.Hour
	switch {
	case t == TroublePermanent && severity < 4:
		return jitter(refusals, 15*time.Minute, slowest)
	case t == TroublePermanent:
		return jitter(refusals, 15*time.Minute, longest)
	case severity >= 4:
		longest = 5 * time.Minute
	}
	return jitter(refusals, 30*time.Second, longest)
}

// SendError is why a mail was not taken.
type SendError struct {
	Trouble Trouble
	Code    int    // the server's, 0 if it gave none
	Text    string // the server's words or the network's, made safe to print
}

func (e *SendError) Error() string { return fmt.Sprintf("mail: %s: %s", e.Trouble, e.Text) }

func troubleOf(err error) Trouble {
	if e := (*SendError)(nil); errors.As(err, &e) {
		return e.Trouble
	}
	return TroubleDropped
}

// explain finds the cause of a failed session.
func (d *dialer) explain(ctx context.Context, err error, greeting bool) *SendError {
	e := &SendError{Code: codeOf(err), Text: clean(err.Error())}
	var netErr net.Error
	timeout := ctx.Err() != nil || (errors.As(err, &netErr) && netErr.Timeout()) || strings.Contains(err.Error(), "i/o timeout")
	switch {
	case e.Code == 530 || e.Code == 534 || e.Code == 535 || e.Code == 538 || strings.Contains(err.Error(), "SMTP AUTH"):
		e.Trouble = TroubleAuth
	case e.Code == 421 || (e.Code != 0 && greeting):
		e.Trouble = TroubleUnavailable
	case e.Code >= 500:
		e.Trouble = TroublePermanent
	case e.Code >= 400:
		e.Trouble = TroubleTemporary
	case isTLS(err):
		e.Trouble = TroubleTLS
	case greeting:
		e.Trouble = TroubleUnreachable
	case timeout:
		e.Trouble = TroubleTimeout
	default:
		e.Trouble = TroubleDropped
	}
	return e
}

func codeOf(err error) int {
	if e := (*textproto.Error)(nil); errors.As(err, &e) {
		return e.Code
	}
	if e := (*mail.SendError)(nil); errors.As(err, &e) {
		return e.ErrorCode()
	}
	return 0
}

func isTLS(err error) bool {
	var cert *tls.CertificateVerificationError
	var record tls.RecordHeaderError
	return errors.As(err, &cert) || errors.As(err, &record) ||
		strings.Contains(err.Error(), "tls: ") || strings.Contains(err.Error(), "STARTTLS")
}

// clean makes a server's words safe for a log or a terminal: one short printable
// line.
func clean(s string) string {
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return ' '
		}
		return r
	}, s[:min(len(s), 1000)])
	s = strings.Join(strings.Fields(s), " ")
	return s[:min(len(s), 200)]
}
