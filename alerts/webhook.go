package alerts

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"schoolgate/internal/inside"
)

// Hook is a webhook: an address of the school's choice that is called with what a
// mail would say, as JSON.
type Hook struct {
	URL string // https, without user, query or fragment
	// Secret signs each call as the Standard Webhooks specification says: the header
	// webhook-signature is "v1," and the base64 of HMAC-SHA256 over
	// "webhook-id.webhook-timestamp.body". The id is that of the alert's message and
	// the same in every repeat, so a receiver drops what it has; the timestamp is of
	// the call, so it refuses an old one that is played again.
	Secret []byte
}

// WebhookConfig is what [Webhooks] are built from.
type WebhookConfig struct {
	Hooks []Hook
	Allow []netip.Prefix // ranges of the inside that may be called all the same
	Roots *x509.CertPool // nil trusts the system's
	// Resolver finds addresses; nil is the system's.
	Resolver *net.Resolver
	Timeout  time.Duration // of one call; 0 is 15 s
}

// Webhooks calls them. It follows no redirect, reads little of the answer, and
// calls no address of the inside that the school did not list (T2).
type Webhooks struct {
	secrets map[string][]byte
	allow   []netip.Prefix
	client  http.Client
	now     func() time.Time
}

const (
	minSecret      = 16
	maxHookReply   = 4 << 10
	hookAgent      = "Schoolgate"
	hookSecretMark = "whsec_"
)

// ParseSecret reads a webhook's secret as it stands in a file: whsec_ and base64,
// or any text of 16 bytes and more.
func ParseSecret(text string) ([]byte, error) {
	text = strings.TrimSpace(text)
	secret := []byte(text)
	if coded, ok := strings.CutPrefix(text, hookSecretMark); ok {
		var err error
		if secret, err = base64.StdEncoding.DecodeString(coded); err != nil {
			return nil, errors.New("the secret after whsec_ is not base64")
		}
	}
	if len(secret) < minSecret {
		return nil, fmt.Errorf("the secret has %d bytes: want %d or more, chosen by chance", len(secret), minSecret)
	}
	return secret, nil
}

// checkHook takes an https address that cannot carry anything else.
func checkHook(s string) (*url.URL, error) {
	u, err := url.Parse(s)
	if err != nil || u.Scheme != "https" || u.Hostname() == "" || u.User != nil || u.RawQuery != "" || u.ForceQuery || u.Fragment != "" || !printable(s) || len(s) > 500 {
		return nil, fmt.Errorf("alerts: bad webhook %q: want an https address without ? and #, such as https://hooks.school.example/alerts", s)
	}
	return u, nil
}

// NewWebhooks checks the configuration; it does not call.
func NewWebhooks(cfg WebhookConfig) (*Webhooks, error) {
	w := &Webhooks{secrets: map[string][]byte{}, allow: cfg.Allow, now: time.Now}
	setDefault(&cfg.Timeout, 15*time.Second)
	for _, h := range cfg.Hooks {
		if _, err := checkHook(h.URL); err != nil {
			return nil, err
		}
		if len(h.Secret) < minSecret {
			return nil, fmt.Errorf("alerts: webhook %s: its secret has %d bytes, want %d or more", h.URL, len(h.Secret), minSecret)
		}
		w.secrets[h.URL] = h.Secret
	}
	dialer := &net.Dialer{Timeout: cfg.Timeout, Resolver: cfg.Resolver, Control: w.control}
	w.client = http.Client{
		Timeout:       cfg.Timeout,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport: &http.Transport{
			DialContext:       dialer.DialContext,
			TLSClientConfig:   &tls.Config{RootCAs: cfg.Roots, MinVersion: tls.VersionTLS12},
			DisableKeepAlives: true, MaxResponseHeaderBytes: 64 << 10, ForceAttemptHTTP2: true,
		},
	}
	return w, nil
}

var errInside = errors.New("the address is of the inside: list its range under alerts: webhook_networks: if it is meant")

// control refuses an address of the inside after it was resolved, so that no name
// leads there.
func (w *Webhooks) control(_, address string, _ syscall.RawConn) error {
	ap, err := netip.ParseAddrPort(address)
	if err != nil {
		return err
	}
	addr := ap.Addr().Unmap().WithZone("")
	in := func(p netip.Prefix) bool { return p.Contains(addr) }
	if inside.Holds(addr) && !slices.ContainsFunc(w.allow, in) {
		return errInside
	}
	return nil
}

// Call is the body of a webhook's call. Like a mail it names no person, site,
// search or category (privacy 7).
type Call struct {
	Kind        string     `json:"kind"` // new, graver, more, overdue, summary, digest, reminder, notice, test
	References  []string   `json:"references,omitempty"`
	Severity    uint8      `json:"severity,omitempty"` // 1 can wait, 5 at once
	Count       int        `json:"count,omitempty"`
	First       *time.Time `json:"first,omitempty"`
	Last        *time.Time `json:"last,omitempty"`
	Acknowledge *time.Time `json:"acknowledge_by,omitempty"`
	Link        string     `json:"link,omitempty"`
	Subject     string     `json:"subject"`
	Text        string     `json:"text"`
}

// Send calls the webhook. A 2xx is its 250.
func (w *Webhooks) Send(ctx context.Context, m Message) error {
	secret, ok := w.secrets[m.To]
	if !ok {
		return &SendError{Trouble: TroublePermanent, Text: "no such webhook is configured"}
	}
	call := Call{Kind: "test"}
	if m.Call != nil {
		call = *m.Call
	}
	call.Subject, call.Text = m.Subject, m.Text
	body, err := json.Marshal(&call)
	if err != nil {
		return &SendError{Trouble: TroublePermanent, Text: err.Error()}
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, m.To, bytes.NewReader(body))
	if err != nil {
		return &SendError{Trouble: TroublePermanent, Text: clean(err.Error())}
	}
	stamp := strconv.FormatInt(w.now().Unix(), 10)
	for name, value := range map[string]string{
		"Content-Type": "application/json", "User-Agent": hookAgent,
		"Webhook-Id": m.ID, "Webhook-Timestamp": stamp, "Webhook-Signature": sign(secret, m.ID, stamp, body),
	} {
		req.Header.Set(name, value)
	}
	resp, err := w.client.Do(req)
	if err != nil {
		return explainCall(err)
	}
	defer resp.Body.Close()
	_, err = io.Copy(io.Discard, io.LimitReader(resp.Body, maxHookReply))
	return answered2xx(resp.StatusCode, err)
}

func sign(secret []byte, id, stamp string, body []byte) string {
	h := hmac.New(sha256.New, secret)
	fmt.Fprintf(h, "%s.%s.%s", id, stamp, body)
	return "v1," + base64.StdEncoding.EncodeToString(h.Sum(nil))
}

func answered2xx(status int, err error) error {
	e := &SendError{Code: status, Text: fmt.Sprintf("it answered %d", status)}
	switch {
	case status >= 200 && status < 300:
		return nil // whatever became of the rest of its answer
	case err != nil:
		e.Trouble = TroubleDropped
	case status == http.StatusUnauthorized || status == http.StatusForbidden:
		e.Trouble = TroubleAuth
	case status == http.StatusTooManyRequests || status >= 500:
		e.Trouble = TroubleUnavailable
	default: // a redirect, too: nobody is sent elsewhere with an alert
		e.Trouble = TroublePermanent
	}
	return e
}

func explainCall(err error) error {
	e := &SendError{Trouble: TroubleUnreachable}
	var cause *url.Error
	if errors.As(err, &cause) {
		err = cause.Err // without the address, which may be a secret of its own
	}
	var netErr net.Error
	var cert *tls.CertificateVerificationError
	switch {
	case errors.As(err, &cert) || isTLS(err):
		e.Trouble = TroubleTLS
	case errors.As(err, &netErr) && netErr.Timeout():
		e.Trouble = TroubleTimeout
	}
	e.Text = clean(err.Error())
	return e
}
