package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"schoolgate/internal/testkit"
)

// underDetector is the command on the PATH that always carries the race detector,
// if the tests do.
const underDetector = "schoolgate-race"

// TestMain lets scripts and tests start this command as the process that an
// operator starts, under the name schoolgate on the PATH. Without the race detector
// that is the test binary. With it, the test binary is schoolgate-race, for what is
// about many things at once (testkit.BoxOptions.Program), and schoolgate is the
// program as it ships: a race is found where there is load, and the detector would
// only make hundreds of short commands slow.
func TestMain(m *testing.M) {
	// The race detector keeps a process waiting for a second at its end, and says
	// by its own exit code that it found something.
	os.Setenv("GORACE", "atexit_sleep_ms=0 exitcode=66 "+os.Getenv("GORACE"))
	command := func() {
		ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
		code := run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr)
		stop()
		os.Exit(code)
	}
	testscript.Main(withProgram{m}, map[string]func(){"schoolgate": command, underDetector: command})
}

// withProgram runs the tests with the program as it ships ahead on the PATH.
type withProgram struct{ *testing.M }

func (m withProgram) Run() int {
	if !underRace {
		return m.M.Run()
	}
	dir, err := os.MkdirTemp("", "schoolgate-program-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	code := 1
	err = testkit.BuildProgram(filepath.Join(dir, "schoolgate"))
	if err == nil {
		err = os.Setenv("PATH", dir+string(filepath.ListSeparator)+os.Getenv("PATH"))
	}
	if err == nil {
		code = m.M.Run()
	} else {
		fmt.Fprintln(os.Stderr, err)
	}
	if err := os.RemoveAll(dir); err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	return code
}
