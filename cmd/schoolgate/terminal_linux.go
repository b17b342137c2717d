package main

import (
	"os"

	"golang.org/x/sys/unix"
)

// isTerminal reports whether a person may be asked something there.
func isTerminal(r any) bool {
	f, ok := r.(*os.File)
	if !ok {
		return false
	}
	_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	return err == nil
}
