package categories

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// The key comes from systemd where it is sealed there; a process that was not
// given it neither finds it on the disk nor makes another.
func TestTheKeyOfMandatoryListsMayBeACredential(t *testing.T) {
	credentials, dir := t.TempDir(), t.TempDir()
	want := bytes.Repeat([]byte{7}, KeySize)
	put := func(path string, data []byte) {
		t.Helper()
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	refused := func(dir, words string) {
		t.Helper()
		if key, err := StoreKey(dir); err == nil || !strings.Contains(err.Error(), words) {
			t.Errorf("StoreKey = %x, %v, want %q", key, err, words)
		}
	}
	credential := filepath.Join(credentials, credentialName)
	put(credential, want)
	t.Setenv("CREDENTIALS_DIRECTORY", credentials)
	for range 2 {
		if key, err := StoreKey(dir); err != nil || !bytes.Equal(key, want) {
			t.Fatalf("StoreKey = %x, %v", key, err)
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
	put(filepath.Join(clear, keyFile), bytes.Repeat([]byte{8}, KeySize))
	refused(clear, "another key")
	put(credential, want[1:])
	refused(dir, "31 bytes")

	t.Setenv("CREDENTIALS_DIRECTORY", t.TempDir()) // systemd gave others
	if key, err := StoreKey(t.TempDir()); err != nil || len(key) != KeySize {
		t.Errorf("StoreKey without the credential = %x, %v", key, err)
	}
}

// Who only reads a store makes no key: one made up would hide that the real one
// is missing.
func TestReadingMakesNoKey(t *testing.T) {
	t.Setenv("CREDENTIALS_DIRECTORY", "")
	dir := t.TempDir()
	key, err := ReadingKey(dir)
	if err != nil || key != nil {
		t.Errorf("ReadingKey of an empty folder = %x, %v, want none", key, err)
	}
	if _, err := os.Stat(filepath.Join(dir, keyFile)); err == nil {
		t.Errorf("reading made %s", keyFile)
	}
	want, err := StoreKey(dir)
	if err != nil {
		t.Fatal(err)
	}
	if key, err := ReadingKey(dir); err != nil || !bytes.Equal(key, want) {
		t.Errorf("ReadingKey = %x, %v, want the folder's %x", key, err, want)
	}
}

// The key of the mandatory lists is the owner's alone (issue 5, item 5).
func TestKeyIsSealed(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "store")
	if _, err := StoreKey(dir); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]os.FileMode{filepath.Join(dir, keyFile): 0o600, dir: 0o700} {
		if info, err := os.Stat(path); err != nil || info.Mode().Perm() != want {
			t.Errorf("%s: %v, %v; want %o", path, info.Mode(), err, want)
		}
	}
}
