package appliance

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"

	"schoolgate/alerts"
	"schoolgate/audit"
	"schoolgate/configs"
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
	registry := prometheus.NewRegistry()
	c := alerts.Config{
		Dir: filepath.Join(cfg.Box.Data, alertsDir), Source: a.journal, Ahead: audit.ErrAhead, Routes: alertRoutes(cfg),
		Console: cfg.Box.Console.URL, Location: cfg.School.Policy.Timetable.Location,
		Quiet: cfg.School.Alerts.Quiet, Log: a.log, Registerer: registry,
	}
	if mailer != nil {
		c.Mailer = mailer
	}
	service, err := alerts.New(c)
	if err != nil {
		return nil, fmt.Errorf("alerts: %w", err)
	}
	return &alertService{service, registry}, nil
}

// reloadAlerts takes up changes of mail and recipients. A service that cannot be
// built leaves the old settings at work.
func (a *Appliance) reloadAlerts(old, new *configs.Config) error {
	if reflect.DeepEqual(old.Box.Mail, new.Box.Mail) && old.Box.Console == new.Box.Console &&
		reflect.DeepEqual(old.School.Alerts, new.School.Alerts) {
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
	password, err := readPassword(m.PasswordFile)
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

func readPassword(path string) (string, error) {
	if path == "" {
		return "", nil
	}
	info, err := os.Stat(path)
	if err != nil {
		return "", fmt.Errorf("mail: password_file: %w", err)
	}
	if info.Size() > maxPassword {
		return "", fmt.Errorf("mail: password_file %s has %d bytes, more than a password", path, info.Size())
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return "", fmt.Errorf("mail: password_file: %w", err)
	}
	return strings.TrimRight(string(text), "\r\n"), nil
}

// alertRoutes is who hears of what, from the roles that any rule names.
func alertRoutes(cfg *configs.Config) alerts.Routes {
	named := func(role string) []string {
		for _, route := range cfg.School.Alerts.Routes {
			if slices.Contains(route.To, role) {
				return cfg.School.Alerts.Recipients[role]
			}
		}
		return nil
	}
	people := cfg.School.Alerts.Recipients
	return alerts.Routes{
		DSL: named("dsl"), Deputy: people["deputy"], Head: people["head"],
		IT: slices.Concat(people["it"], people["leadership"]),
	}
}

// TestMail sends a test message to everybody who hears of alerts, and tells in
// plain words how each went.
func TestMail(ctx context.Context, cfg *configs.Config) ([]alerts.Answer, error) {
	mailer, err := newMailer(cfg.Box.Mail)
	if err != nil {
		return nil, err
	}
	if mailer == nil {
		return nil, errors.New("no mail server is configured: set mail.server in schoolgate.yaml")
	}
	routes := alertRoutes(cfg)
	return mailer.Test(ctx, slices.Concat(routes.DSL, routes.Deputy, routes.Head, routes.IT)...), nil
}

// Alerts lists the alerts kept on the box, also while the appliance runs.
func Alerts(cfg *configs.Config) (alerts.Listing, error) {
	return alerts.List(filepath.Join(cfg.Box.Data, alertsDir))
}
