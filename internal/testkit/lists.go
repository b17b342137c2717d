// Package testkit is for tests only: the shared lists, fake upstreams and
// origins, a test CA, a sample school.
package testkit

import (
	"os"
	"path/filepath"
	"runtime"
	"testing"
)

// Lists is the folder of real lists that lies beside the repository. A test that
// needs it is skipped, with the reason printed, where the folder is absent.
func Lists(t testing.TB) string {
	t.Helper()
	_, here, _, _ := runtime.Caller(0)
	dir := filepath.Join(filepath.Dir(here), "..", "..", "..", "shared", "lists")
	if _, err := os.Stat(dir); err != nil {
		t.Skipf("SKIPPED: the shared lists are not beside the repository: %v", err)
	}
	return dir
}
