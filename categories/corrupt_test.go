package categories

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"schoolgate/policy"
)

// sample is a store file with something in every bucket.
func sample(t testing.TB) (path string, content []byte) {
	t.Helper()
	b, ids := create(t)
	for i := range 3000 {
		name := host(t, "n"+string(rune('a'+i%26))+"-"+string(rune('a'+i/26%26))+"x"+string(rune('a'+i/676))+".example")
		if err := b.Add(ids["public"], Entry{Host: name, Category: policy.Gambling}); err != nil {
			t.Fatal(err)
		}
	}
	for source, e := range map[string]Entry{
		"iwf":    {Host: host(t, "hidden.test"), Category: policy.ChildAbuse},
		"second": {Host: host(t, "poker.example"), Category: policy.Gambling},
		"third":  {Host: host(t, "pages.example"), Path: "/x", Category: policy.Drugs},
	} {
		if err := b.Add(ids[source], e); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := b.Finish(t.Context()); err != nil {
		t.Fatal(err)
	}
	content, err := os.ReadFile(b.path)
	if err != nil {
		t.Fatal(err)
	}
	return b.path, content
}

// fault F5, B1: whatever is wrong with the file, Open says so and nothing dies.
func TestDamagedFilesDoNotOpen(t *testing.T) {
	_, good := sample(t)
	path := filepath.Join(t.TempDir(), "bad.db")
	try := func(what string, at int, content []byte) {
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
		s, err := Open(path, testKey)
		if err == nil {
			t.Errorf("%s at %d: Open = nil, want an error", what, at)
			s.release()
			return
		}
		if !errors.Is(err, ErrCorrupt) && !errors.Is(err, ErrNotStore) {
			t.Errorf("%s at %d: Open = %v, want ErrCorrupt or ErrNotStore", what, at, err)
		}
	}
	for i := range 200 {
		at := i * (len(good) - 1) / 199
		flipped := bytes.Clone(good)
		flipped[at] ^= 1 << (i % 8)
		try("flipped bit", at, flipped)
		try("cut short", at, good[:at])
	}
	rng := rand.New(rand.NewPCG(1, 1))
	junk := make([]byte, 100_000)
	for i := range junk {
		junk[i] = byte(rng.Uint32())
	}
	try("random bytes", 0, junk)
	try("nothing", 0, nil)
	try("html", 0, []byte("<!doctype html><title>Not found</title>"))
	try("zeros", 0, make([]byte, len(good)))
	if _, err := Open(filepath.Dir(path), testKey); err == nil {
		t.Error("Open of a directory = nil, want an error")
	}
	if _, err := Open(path+".none", testKey); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("Open of no file = %v, want os.ErrNotExist", err)
	}
}

// A page that was damaged before it was sealed passes the seal; reading it is an
// error, or a refusal, and never a crash.
func TestDamageUnderAGoodSeal(t *testing.T) {
	_, good := sample(t)
	size := int64(binary.LittleEndian.Uint64(good[len(good)-12:]))
	path := filepath.Join(t.TempDir(), "bad.db")
	rng := rand.New(rand.NewPCG(2, 7))
	for range 300 {
		content := bytes.Clone(good[:size])
		for range 1 + rng.IntN(3) {
			content[rng.IntN(int(size))] = byte(rng.Uint32())
		}
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
		f, err := os.OpenFile(path, os.O_RDWR, 0)
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(seal(f, size), f.Close()); err != nil {
			t.Fatal(err)
		}
		s, err := Open(path, testKey)
		if err != nil {
			continue
		}
		for _, url := range []string{"poker.example", "na-axa.example", "hidden.test", "pages.example/x", "free.example"} {
			h, p := splitEntry(t, url)
			s.Classify(h, p)
			s.Lookup(h, p)
		}
		if err := s.release(); err != nil {
			t.Error(err)
		}
	}
}

// fault F6: a live file cut short under the reader refuses, and does not kill.
func TestFileCutShortWhileOpen(t *testing.T) {
	path, _ := sample(t)
	s, err := Open(path, testKey)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(path, 4096); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"poker.example", "free.example", "hidden.test"} {
		if got := s.Classify(host(t, name), ""); !got.Unreadable {
			t.Errorf("Classify(%s) on a file cut short = %+v, want Unreadable", name, got)
		}
	}
	if got := s.Lookup(host(t, "poker.example"), ""); len(got) != 1 || got[0].Counted {
		t.Errorf("Lookup on a file cut short = %v, want one match that says so", got)
	}
	if s.Readable() {
		t.Error("Readable = true after a fault")
	}
}

// A block that changes under the reader refuses rather than unlists its names.
func TestDamagedBlock(t *testing.T) {
	var block []byte
	w := &blockWriter{put: func(_, v []byte) error { block = v; return nil }}
	for _, key := range []string{"example\x00a", "example\x00ab", "example\x00b"} {
		if err := w.add([]byte(key), 5); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.flush(); err != nil {
		t.Fatal(err)
	}
	for i := range len(block) * 8 {
		bad := bytes.Clone(block)
		bad[i/8] ^= 1 << (i % 8)
		if _, _, err := findInBlock(bad, []byte("example\x00b")); !errors.Is(err, ErrCorrupt) {
			t.Errorf("findInBlock with bit %d flipped = %v, want ErrCorrupt", i, err)
		}
	}
}
