package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"runtime"
	"syscall"

	"schoolgate/appliance"
	"schoolgate/configs"
	"schoolgate/control"
)

type serveCmd struct {
	configFlag
}

// Run starts the appliance and serves until it is told to stop. SIGHUP reloads.
func (c *serveCmd) Run(s *session) error {
	cfg, err := c.load(s)
	if err != nil {
		return err
	}
	log := newLogger(s, cfg.Box.Log)
	spareProcessors()
	if err := boundMemory(); err != nil {
		log.Warn("the memory there is cannot be told, so new connections are not turned away as it ends", "err", err)
	}
	a, err := appliance.New(s.ctx, appliance.Options{
		Config: cfg,
		Load:   func() (*configs.Config, error) { return loadAll(c.path()) },
		Log:    log,
	})
	if err != nil {
		return err
	}
	fmt.Fprint(s.stdout, a.Welcome())
	return runReloading(s.ctx, a, log)
}

// spareProcessors gives Go twice as many processors as there are cores. The DNS
// door has a thread for each core that waits in the kernel: while one processor is
// idle, Go leaves such a thread its own, and an answer need not wait until the web
// door gives one up; who runs is the kernel's to say, which is fair to a thread that
// mostly sleeps. What an operator sets in GOMAXPROCS holds.
func spareProcessors() {
	if os.Getenv("GOMAXPROCS") == "" {
		runtime.GOMAXPROCS(2 * runtime.NumCPU())
	}
}

// loadAll reads the configuration for a reload; all problems are in the error.
func loadAll(path string) (*configs.Config, error) {
	cfg, problems := loadConfig(path)
	if len(problems) == 0 {
		return cfg, nil
	}
	errs := make([]error, len(problems))
	for i, p := range problems {
		errs[i] = p
	}
	return nil, errors.Join(errs...)
}

// runReloading runs the appliance, and reloads it at each SIGHUP.
func runReloading(ctx context.Context, a *appliance.Appliance, log *slog.Logger) error {
	hup := make(chan os.Signal, 1)
	signal.Notify(hup, syscall.SIGHUP)
	defer signal.Stop(hup)
	done := make(chan error, 1)
	go func() { done <- a.Run(ctx) }()
	for {
		select {
		case err := <-done:
			return err
		case <-hup:
			if _, err := a.Reload(); err != nil {
				log.Error("reload refused, keeping the last good state", "err", err)
			}
		}
	}
}

// newLogger makes the operator's log, which never holds browsing.
func newLogger(s *session, cfg configs.Log) *slog.Logger {
	options := &slog.HandlerOptions{Level: cfg.Level}
	if cfg.Format == "json" {
		return slog.New(slog.NewJSONHandler(s.stderr, options))
	}
	return slog.New(slog.NewTextHandler(s.stderr, options))
}

type reloadCmd struct {
	configFlag
}

// Run checks the configuration and has the running appliance take it up.
func (c *reloadCmd) Run(s *session) error {
	cfg, err := c.load(s)
	if err != nil {
		return err
	}
	changed, err := control.Reload(s.ctx, cfg.Box.Data)
	if errors.Is(err, control.ErrNotRunning) {
		return fmt.Errorf("nothing to reload: %w; the configuration is good and will be in force at the next start", err)
	}
	if err != nil {
		return fmt.Errorf("not reloaded, the last good state stays in force: %w", err)
	}
	_, err = fmt.Fprintln(s.stdout, changed)
	return err
}
