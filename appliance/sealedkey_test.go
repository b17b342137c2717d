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

// Who only reads a store makes no key: one made up would hide that the real one
// is missing.
func TestReadingMakesNoKey(t *testing.T) {
	t.Setenv("CREDENTIALS_DIRECTORY", "")
	dir := t.TempDir()
	key, err := readingKey(dir)
	if err != nil || key != nil {
		t.Errorf("readingKey of an empty folder = %x, %v, want none", key, err)
	}
	if _, err := os.Stat(filepath.Join(dir, keyFile)); err == nil {
		t.Errorf("reading made %s", keyFile)
	}
	want, err := storeKey(dir)
	if err != nil {
		t.Fatal(err)
	}
	if key, err := readingKey(dir); err != nil || !bytes.Equal(key, want) {
		t.Errorf("readingKey = %x, %v, want the folder's %x", key, err, want)
	}
}
