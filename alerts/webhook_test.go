package alerts

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

// receiver is a webhook's other end: it checks what a careful one would, and
// answers as it is told to.
type receiver struct {
	t      *testing.T
	secret []byte
	status int

	mu    sync.Mutex
	ids   []string
	calls []Call
	raw   []string
}

func (r *receiver) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	body, err := io.ReadAll(req.Body)
	id, stamp := req.Header.Get("Webhook-Id"), req.Header.Get("Webhook-Timestamp")
	h := hmac.New(sha256.New, r.secret)
	fmt.Fprintf(h, "%s.%s.%s", id, stamp, body)
	if want := "v1," + base64.StdEncoding.EncodeToString(h.Sum(nil)); req.Header.Get("Webhook-Signature") != want || err != nil {
		r.t.Errorf("signature %q, want %q; %v", req.Header.Get("Webhook-Signature"), want, err)
	}
	if at, err := strconv.ParseInt(stamp, 10, 64); err != nil || time.Since(time.Unix(at, 0)).Abs() > time.Minute {
		r.t.Errorf("timestamp %q, %v", stamp, err)
	}
	var call Call
	if err := json.Unmarshal(body, &call); err != nil {
		r.t.Error(err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ids, r.calls, r.raw = append(r.ids, id), append(r.calls, call), append(r.raw, string(body))
	if r.status == http.StatusFound {
		w.Header().Set("Location", "https://127.0.0.1:1/elsewhere")
	}
	w.WriteHeader(r.status)
}

func (r *receiver) answer(status int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.status = status
}

func (r *receiver) got() ([]string, []Call) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.ids), slices.Clone(r.calls)
}

var hookSecret = []byte("0123456789abcdef0123456789abcdef")

// hooked is a receiver and webhooks that may call it.
func hooked(t *testing.T) (*receiver, *httptest.Server, *Webhooks) {
	r := &receiver{t: t, secret: hookSecret, status: http.StatusNoContent}
	server := httptest.NewTLSServer(r)
	server.Config.ErrorLog = nil
	t.Cleanup(server.Close)
	w, err := NewWebhooks(WebhookConfig{
		Hooks: []Hook{{server.URL + "/alerts", hookSecret}}, Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")},
		Roots: rootsOf(server), Timeout: 5 * time.Second,
	})
	if err != nil {
		t.Fatal(err)
	}
	return r, server, w
}

func rootsOf(server *httptest.Server) *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(server.Certificate())
	return pool
}

// An alert reaches mail and webhook; a webhook that refuses is called again under
// the same id with the same body, and holds up no mail.
func TestWebhookIsCalledUntilItAnswers(t *testing.T) {
	r, server, w := hooked(t)
	r.answer(http.StatusInternalServerError)
	b := newBox(t)
	b.cfg.Hooks = w
	b.cfg.Plan = Plan{People: []Person{{Roles: []string{RoleDSL}, Mail: dsl, Webhook: server.URL + "/alerts"}}}
	b.start()
	b.add(severe(attempt("tablet-seven"), 5))
	wait := func(what string, done func() bool) {
		t.Helper()
		for end := time.Now().Add(30 * time.Second); !done(); time.Sleep(20 * time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("waited for %s", what)
			}
		}
	}
	wait("the first call and the mail", func() bool { ids, _ := r.got(); return len(ids) > 0 && len(b.messages()) == 1 })
	r.answer(http.StatusOK)
	wait("the answer", func() bool { return b.s.Status().Queued == 0 })
	b.stop()
	ids, calls := r.got()
	if len(ids) < 2 || len(slices.Compact(slices.Clone(ids))) != 1 || r.raw[0] != r.raw[len(r.raw)-1] {
		t.Errorf("calls %q, want the same again", ids)
	}
	c := calls[0]
	if c.Kind != "new" || c.Severity != 5 || c.Count != 1 || !cmp.Equal(c.References, []string{"AL-1"}) || c.Subject != "Schoolgate alert AL-1: severity 5, please review" {
		t.Errorf("call %+v", c)
	}
	if got := strings.ToLower(r.raw[0]); strings.Contains(got, "tablet") || strings.Contains(got, "10.2.0.7") || strings.Contains(got, "bad.example") || strings.Contains(got, "pornography") {
		t.Errorf("the call names what it must not (privacy 7): %s", r.raw[0])
	}
}

// What each answer means: only a 2xx is a receipt, a redirect is not followed.
func TestWebhookAnswers(t *testing.T) {
	r, server, w := hooked(t)
	for status, want := range map[int]Trouble{
		200: TroubleNone, 204: TroubleNone, 302: TroublePermanent, 400: TroublePermanent, 404: TroublePermanent, 401: TroubleAuth, 403: TroubleAuth,
		429: TroubleUnavailable, 500: TroubleUnavailable, 503: TroubleUnavailable,
	} {
		r.answer(status)
		err := w.Send(t.Context(), Message{ID: "al-1.1.0", To: server.URL + "/alerts", Subject: "s", Text: "t"})
		if got := TroubleNone; err != nil {
			if got = troubleOf(err); got != want {
				t.Errorf("%d: %v, want %q", status, err, want)
			}
		} else if want != TroubleNone {
			t.Errorf("%d was taken for a receipt", status)
		}
	}
	if err := w.Send(t.Context(), Message{ID: "a", To: "https://other.example/"}); troubleOf(err) != TroublePermanent {
		t.Errorf("a webhook that is not configured: %v", err)
	}
}

// T2: no name and no number leads to the inside, unless its range is listed.
func TestWebhookGoesNowhereInside(t *testing.T) {
	_, server, _ := hooked(t)
	port := server.URL[strings.LastIndexByte(server.URL, ':'):]
	urls := []string{
		"https://127.0.0.1" + port + "/", "https://[::1]" + port + "/", "https://[::ffff:127.0.0.1]" + port + "/", "https://localhost" + port + "/",
		"https://2130706433" + port + "/", "https://0.0.0.0" + port + "/", "https://169.254.169.254/", "https://10.0.0.1/", "https://[fd00::1]/", "https://[fe80::1]/",
		"https://192.168.1.1/", "https://100.64.0.1/", "https://[64:ff9b::7f00:1]/",
	}
	var hooks []Hook
	for _, u := range urls {
		hooks = append(hooks, Hook{u, hookSecret})
	}
	w, err := NewWebhooks(WebhookConfig{Hooks: hooks, Roots: rootsOf(server), Timeout: 2 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	for _, u := range urls {
		err := w.Send(t.Context(), Message{ID: "a", To: u})
		var e *SendError
		if !errors.As(err, &e) || !strings.Contains(e.Text, "of the inside") && !strings.Contains(u, "2130706433") || troubleOf(err) != TroubleUnreachable {
			t.Errorf("%s: %v, want it refused as of the inside", u, err)
		}
	}
	// A range of the intranet opens no other.
	w.allow = []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}
	if err := w.Send(t.Context(), Message{ID: "a", To: urls[0]}); err == nil || !strings.Contains(err.Error(), "of the inside") {
		t.Errorf("loopback with 10/8 listed: %v", err)
	}
}

// G2: a certificate that nobody vouches for ends the call before a byte of it.
func TestWebhookVerifiesTheCertificate(t *testing.T) {
	r, server, _ := hooked(t)
	w, err := NewWebhooks(WebhookConfig{
		Hooks: []Hook{{server.URL + "/alerts", hookSecret}}, Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}, Roots: x509.NewCertPool(),
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Send(t.Context(), Message{ID: "a", To: server.URL + "/alerts"}); troubleOf(err) != TroubleTLS {
		t.Errorf("Send = %v, want tls", err)
	}
	if ids, _ := r.got(); len(ids) > 0 {
		t.Errorf("it was called: %q", ids)
	}
}

// A webhook that hangs, drops or talks without end is given up in time.
func TestWebhookThatMisbehaves(t *testing.T) {
	release := make(chan struct{})
	for name, handler := range map[string]http.HandlerFunc{
		"hangs": func(http.ResponseWriter, *http.Request) { <-release },
		"drops": func(w http.ResponseWriter, _ *http.Request) {
			conn, _, err := w.(http.Hijacker).Hijack()
			if err == nil {
				conn.Close()
			}
		},
	} {
		server := httptest.NewUnstartedServer(handler)
		server.EnableHTTP2 = false
		server.StartTLS()
		w, err := NewWebhooks(WebhookConfig{
			Hooks: []Hook{{server.URL, hookSecret}}, Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}, Roots: rootsOf(server), Timeout: 300 * time.Millisecond,
		})
		if err != nil {
			t.Fatal(err)
		}
		if err := w.Send(t.Context(), Message{ID: "a", To: server.URL}); err == nil || !troubleOf(err).session() {
			t.Errorf("%s: Send = %v", name, err)
		}
		if name == "hangs" {
			close(release)
		}
		server.Close()
	}
}

func TestWebhookMistakes(t *testing.T) {
	for _, u := range []string{"http://x.example/", "https://x.example/?a=b", "https://u:p@x.example/", "https://x.example/#a", "https:///a", "https://x.example/\r\nA: b", "ftp://x"} {
		if _, err := NewWebhooks(WebhookConfig{Hooks: []Hook{{u, hookSecret}}}); err == nil {
			t.Errorf("%q is taken for a webhook", u)
		}
	}
	if _, err := NewWebhooks(WebhookConfig{Hooks: []Hook{{"https://x.example/", []byte("short")}}}); err == nil {
		t.Error("a short secret is taken")
	}
	for text, ok := range map[string]bool{"whsec_MDEyMzQ1Njc4OWFiY2RlZg==\n": true, "a secret of some length": true, "whsec_!!": false, "short": false, "whsec_c2hvcnQ=": false} {
		if _, err := ParseSecret(text); (err == nil) != ok {
			t.Errorf("ParseSecret(%q) = %v", text, err)
		}
	}
}

// F13 for lanes: a dead webhook delays no mail, a dead mail server no webhook.
func TestLanesDoNotHoldEachOtherUp(t *testing.T) {
	const hook = "https://hooks.example/a"
	for _, dead := range []string{dsl, hook} {
		synctest.Test(t, func(t *testing.T) {
			b := newBox(t)
			b.cfg.Plan = Plan{People: []Person{{Roles: []string{RoleDSL}, Mail: dsl, Webhook: hook}}}
			b.cfg.Hooks = &b.postbox
			b.set(func(m Message) error {
				if m.To == dead {
					return &SendError{Trouble: TroubleUnreachable}
				}
				return nil
			})
			b.start()
			for i := range 3 {
				b.add(attempt(fmt.Sprint(i)))
				time.Sleep(time.Minute)
			}
			if got := b.subjects(); len(got) != 3 {
				t.Errorf("%s dead: the other got %q", dead, got)
			}
			b.stop()
		})
	}
}

// The addresses of the inside are those of package proxy; the two lists are kept
// alike by hand.
func TestInsideCoversTheWellKnown(t *testing.T) {
	for _, s := range []string{"10.1.2.3", "127.0.0.1", "169.254.169.254", "172.16.0.1", "192.168.0.1", "::1", "fd00::1", "fe80::1", "::ffff:10.0.0.1"} {
		w := &Webhooks{}
		if err := w.control("tcp", net.JoinHostPort(s, "443"), nil); err == nil {
			t.Errorf("%s may be called", s)
		}
	}
	if err := (&Webhooks{}).control("tcp", "203.0.113.9:443", nil); err != nil {
		t.Errorf("a public address: %v", err)
	}
}

var _ Mailer = (*Webhooks)(nil)
