package testkit

import (
	"fmt"
	"os"
	"os/exec"
)

// BuildProgram compiles the program to a path as the Makefile does, so that little
// is compiled again: without the race detector, for what is only slow with it.
func BuildProgram(path string) error {
	cmd := exec.Command("go", "build", "-trimpath", "-ldflags", "-s -w", "-o", path, "schoolgate/cmd/schoolgate")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if text, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("building the program: %w\n%s", err, text)
	}
	return nil
}
