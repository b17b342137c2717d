package appliance

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"reflect"
	"strings"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"

	"schoolgate/alerts"
	"schoolgate/audit"
	"schoolgate/configs"
	"schoolgate/desk"
)

// alerting is the alert service in force. Each instance has a registry of its
// own, so that a reload can replace it.
type alerting struct {
	part    restartable
	current atomic.Pointer[alertService]
}

type alertService struct {
	*alerts.Service
	registry *prometheus.Registry
}

// maxPassword bounds a password file, in bytes.
const maxPassword = 4096

func (a *Appliance) openAlerts(context.Context) error {
	if err := a.startAlerts(a.config.Load()); err != nil {
		return err
	}
	a.onClose(func() error { return a.alerts.current.Load().Close() })
	return nil
}

// startAlerts puts a service for the configuration in place of the one that is
// there.
func (a *Appliance) startAlerts(cfg *configs.Config) error {
	return a.alerts.part.replace(func() (func(context.Context) error, error) {
		if old := a.alerts.current.Load(); old != nil {
			if err := old.Close(); err != nil {
				return nil, fmt.Errorf("alerts: %w", err)
			}
		}
		service, err := a.newAlerts(cfg)
		if err != nil {
			return nil, err
		}
		a.alerts.current.Store(service)
		return service.Run, nil
	})
}

func (a *Appliance) newAlerts(cfg *configs.Config) (*alertService, error) {
	mailer, err := newMailer(cfg.Box.Mail)
	if err != nil {
		return nil, err
	}
	hooks, err := newWebhooks(&cfg.School.Alerts)
	if err != nil {
		return nil, err
	}
	registry := prometheus.NewRegistry()
	c := alerts.Config{
		Dir: alerts.In(cfg.Box.Data), Source: a.journal, Ahead: audit.ErrAhead, Plan: desk.Plan(cfg),
		Console: cfg.Box.Console.URL, Location: cfg.School.Policy.Timetable.Location,
		Quiet: cfg.School.Alerts.Quiet, Log: a.log, Registerer: registry,
	}
	if mailer != nil {
		c.Mailer = mailer
	}
	if hooks != nil {
		c.Hooks = hooks
	}
	service, err := alerts.New(c)
	if err != nil {
		return nil, fmt.Errorf("alerts: %w", err)
	}
	return &alertService{service, registry}, nil
}

// reloadAlerts takes up changes of mail, recipients, absences and school hours. A
// service that cannot be built leaves the old settings at work.
func (a *Appliance) reloadAlerts(old, new *configs.Config) error {
	if reflect.DeepEqual(old.Box.Mail, new.Box.Mail) && old.Box.Console == new.Box.Console &&
		reflect.DeepEqual(old.School.Alerts, new.School.Alerts) && reflect.DeepEqual(desk.Plan(old), desk.Plan(new)) {
		return nil
	}
	err := a.startAlerts(new)
	if err == nil {
		return nil
	}
	return errors.Join(err, a.startAlerts(old))
}

// newMailer makes the way to the mail server, nil where none is configured.
func newMailer(m configs.Mail) (*alerts.SMTP, error) {
	if m.Server == "" {
		return nil, nil
	}
	password, err := readSecret("mail: password_file", m.PasswordFile)
	if err != nil {
		return nil, err
	}
	mailer, err := alerts.NewSMTP(alerts.SMTPConfig{
		Server: m.Server, TLS: alerts.TLSMode(m.TLS), CAFile: m.CAFile,
		Username: m.Username, Password: password, From: m.From, Timeout: m.Timeout,
	})
	if err != nil {
		return nil, fmt.Errorf("mail: %w", err)
	}
	return mailer, nil
}

// readSecret reads a file that holds a secret and nothing else; "" has none.
func readSecret(what, path string) (string, error) {
	if path == "" {
		return "", nil
	}
	info, err := os.Stat(path)
	if err != nil {
		return "", fmt.Errorf("%s: %w", what, err)
	}
	if info.Size() > maxPassword {
		return "", fmt.Errorf("%s %s has %d bytes, more than a password", what, path, info.Size())
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return "", fmt.Errorf("%s: %w", what, err)
	}
	return strings.TrimRight(string(text), "\r\n"), nil
}

// newWebhooks makes the way to the webhooks of the recipients, nil where there are
// none.
func newWebhooks(a *configs.Alerts) (*alerts.Webhooks, error) {
	c := alerts.WebhookConfig{Allow: a.Hooks.Networks}
	for _, p := range a.People {
		if p.Webhook == "" {
			continue
		}
		text, err := readSecret("webhook: secret_file", p.SecretFile)
		if err != nil {
			return nil, err
		}
		secret, err := alerts.ParseSecret(text)
		if err != nil {
			return nil, fmt.Errorf("webhook: secret_file %s: %w", p.SecretFile, err)
		}
		c.Hooks = append(c.Hooks, alerts.Hook{URL: p.Webhook, Secret: secret})
	}
	if len(c.Hooks) == 0 {
		return nil, nil
	}
	if a.Hooks.CAFile != "" {
		pem, err := os.ReadFile(a.Hooks.CAFile)
		if err != nil {
			return nil, fmt.Errorf("webhook_ca_file: %w", err)
		}
		if c.Roots, err = x509.SystemCertPool(); err != nil {
			c.Roots = x509.NewCertPool() // a box without the system's roots has the school's own
		}
		if !c.Roots.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("webhook_ca_file %s holds no certificate", a.Hooks.CAFile)
		}
	}
	return alerts.NewWebhooks(c)
}

// TestMail sends a test message to everybody who is named, by mail and webhook, and
// tells in plain words how each went.
func TestMail(ctx context.Context, cfg *configs.Config) ([]alerts.Answer, error) {
	mailer, err := newMailer(cfg.Box.Mail)
	if err != nil {
		return nil, err
	}
	hooks, err := newWebhooks(&cfg.School.Alerts)
	if err != nil {
		return nil, err
	}
	if mailer == nil && hooks == nil {
		return nil, errors.New("no mail server is configured: set mail.server in schoolgate.yaml")
	}
	plan := desk.Plan(cfg)
	return alerts.Test(ctx, &plan, mailer, hooks), nil
}
