package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

// TestMain lets scripts and tests start this command as the process that an
// operator starts: the test binary, under the name schoolgate on the PATH.
func TestMain(m *testing.M) {
	// The race detector keeps a process waiting for a second at its end, and says
	// by its own exit code that it found something.
	os.Setenv("GORACE", "atexit_sleep_ms=0 exitcode=66 "+os.Getenv("GORACE"))
	testscript.Main(m, map[string]func(){"schoolgate": func() {
		ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
		code := run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr)
		stop()
		os.Exit(code)
	}})
}
