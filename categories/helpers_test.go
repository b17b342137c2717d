package categories

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"schoolgate/policy"
)

var testKey = []byte("0123456789abcdef0123456789abcdef")

func host(t testing.TB, name string) policy.Host {
	t.Helper()
	h, err := policy.ParseHost(name)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// line is an entry as a test writes it: a host or host/path.
type line struct {
	source   string
	entry    string
	category policy.Category
	exact    bool
}

// testSources are the sources that lines name.
var testSources = []Source{
	{Name: "public"}, {Name: "second"}, {Name: "third"},
	{Name: "copy", Family: "public"},
	{Name: "weak", Weight: 0.5}, {Name: "feeble", Weight: 0.5},
	{Name: "clean", Clean: true},
	{Name: "curated", Curated: true},
	{Name: "additive", Curated: true, Additive: true},
	{Name: "iwf", Mandatory: true},
}

func splitEntry(t testing.TB, entry string) (policy.Host, string) {
	t.Helper()
	for i, c := range entry {
		if c == '/' {
			return host(t, entry[:i]), entry[i:]
		}
	}
	return host(t, entry), ""
}

// create begins a build in a file of its own with the test sources.
func create(t testing.TB) (*Builder, map[string]SourceID) {
	t.Helper()
	b, err := Create(filepath.Join(t.TempDir(), "store.db"), BuildOptions{Version: 7, Key: testKey})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Abort)
	ids := map[string]SourceID{}
	for _, s := range testSources {
		ids[s.Name] = b.Source(s)
	}
	return b, ids
}

// build makes a store of lines and opens it; whatever the test does, the store
// verifies afterwards.
func build(t testing.TB, lines ...line) *Store {
	t.Helper()
	b, ids := create(t)
	for _, l := range lines {
		h, path := splitEntry(t, l.entry)
		if err := b.Add(ids[l.source], Entry{Host: h, Path: path, Exact: l.exact, Category: l.category}); err != nil {
			t.Fatalf("Add(%s, %s) = %v", l.source, l.entry, err)
		}
	}
	return finish(t, b)
}

func finish(t testing.TB, b *Builder) *Store {
	t.Helper()
	if _, err := b.Finish(t.Context()); err != nil {
		t.Fatal(err)
	}
	s, err := Open(b.path, testKey)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.release(); err != nil {
			t.Error(err)
		}
		if _, err := Verify(b.path, testKey); err != nil && !errors.Is(err, os.ErrNotExist) {
			t.Error(err)
		}
	})
	return s
}
