package main

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"schoolgate/internal/testkit"
)

// An address of a mandatory list that a pupil puts into another address, or staff type
// into a note, a reason or a search, is in no file of the box and in nothing that it
// prints.
func TestMandatoryAddressIsWrittenNowhere(t *testing.T) { // F7, privacy 8
	b := testkit.NewBox(t, testkit.BoxOptions{})
	b.Start()
	address := readSealed(t).hosts[0]
	said := "saw http://" + address + "/far-away there"
	fetch(t, b.Client("127.0.0.1"), "http://blocked.example/go/"+address+"/far-away")
	fetch(t, b.Client("127.0.0.1"), "http://"+address+"/far-away")
	b.Run("incidents", "open", "--by", "A DSL", "--kind", "bullying", "--text", said)
	b.Run("incidents", "note", "IN-1", "--by", "A DSL", "--text", said)
	b.Run("quarantine", "add", "127.0.9.1", "--by", "A DSL", "--reason", said)
	b.Run("audit", "hold", "add", "--client", "127.0.9.1", "--by", "A DSL", "--reason", said)
	out := b.Run("audit", "search", "--by", "A DSL", "--reason", said, "--host", address)
	for _, args := range [][]string{
		{"audit", "export"}, {"audit", "reads"}, {"audit", "hold", "list"}, {"quarantine", "list"},
		{"incidents", "show", "IN-1", "--by", "A DSL", "--reason", "the test"},
	} {
		out += b.Run(args...)
	}
	if strings.Contains(out, address) || strings.Contains(out, "far-away") || !strings.Contains(out, "saw (sealed) there") || !strings.Contains(out, "/go/(sealed)") {
		t.Errorf("printed:\n%s", out)
	}
	b.Stop()
	err := filepath.WalkDir(filepath.Join(b.Dir, "data"), func(name string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		content, err := os.ReadFile(name)
		if strings.Contains(string(content), address) || strings.Contains(string(content), "far-away") {
			t.Errorf("%s holds the address", name)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}
