package appliance

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"schoolgate/categories"
)

// The key comes from systemd where it is sealed there; a process that was not
// given it neither finds it on the disk nor makes another.
func TestTheKeyOfMandatoryListsMayBeACredential(t *testing.T) {
	credentials, dir := t.TempDir(), t.TempDir()
	want := bytes.Repeat([]byte{7}, categories.KeySize)
	put := func(path string, data []byte) {
		t.Helper()
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	refused := func(dir, words string) {
		t.Helper()
		if key, err := storeKey(dir); err == nil || !strings.Contains(err.Error(), words) {
			t.Errorf("storeKey = %x, %v, want %q", key, err, words)
		}
	}
	credential := filepath.Join(credentials, credentialName)
	put(credential, want)
	t.Setenv("CREDENTIALS_DIRECTORY", credentials)
	for range 2 {
		if key, err := storeKey(dir); err != nil || !bytes.Equal(key, want) {
			t.Fatalf("storeKey = %x, %v", key, err)
		}
	}
	if files, _ := filepath.Glob(filepath.Join(dir, "*")); len(files) != 1 || filepath.Base(files[0]) != sealedMark {
		t.Errorf("in the folder: %q", files)
	}
	t.Setenv("CREDENTIALS_DIRECTORY", "")
	refused(dir, "this process was not given")

	t.Setenv("CREDENTIALS_DIRECTORY", credentials)
	clear := t.TempDir()
	put(filepath.Join(clear, keyFile), want)
	refused(clear, "still holds in clear")
	put(filepath.Join(clear, keyFile), bytes.Repeat([]byte{8}, categories.KeySize))
	refused(clear, "another key")
	put(credential, want[1:])
	refused(dir, "31 bytes")

	t.Setenv("CREDENTIALS_DIRECTORY", t.TempDir()) // systemd gave others
	if key, err := storeKey(t.TempDir()); err != nil || len(key) != categories.KeySize {
		t.Errorf("storeKey without the credential = %x, %v", key, err)
	}
}
