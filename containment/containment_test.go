package containment

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"schoolgate/policy"
)

func device(name string) Entry {
	return Entry{At: time.Date(2026, 11, 24, 10, 15, 0, 0, time.UTC), By: "A DSL", Reason: "police asked", Device: name}
}

func page(host, path string) Entry {
	return Entry{By: "A Head", Reason: "upsetting", Host: host, Path: path}
}

func add(t *testing.T, s State, e Entry) State {
	t.Helper()
	next, again, err := s.Add(e)
	if err != nil || again {
		t.Fatalf("Add(%s): again %v, %v", e.Target(), again, err)
	}
	return next
}

func TestState(t *testing.T) {
	var s State
	s = add(t, s, device("tablet-7"))
	s = add(t, s, Entry{By: "A DSL", Reason: "police", Address: netip.MustParseAddr("10.2.0.7"), Hardware: "02:00:5e:10:64:01"})
	before := s
	s = add(t, s, page("wrong.example", "/bad"))
	if len(before.Hosts) != 0 {
		t.Error("a change reached the state before it")
	}
	if next, again, err := s.Add(device("tablet-7")); !again || err != nil || next.Revision != s.Revision {
		t.Errorf("the same once more: again %v, %v, revision %d after %d", again, err, next.Revision, s.Revision)
	}
	closed, err := s.Closed()
	if err != nil {
		t.Fatal(err)
	}
	host := func(name string) policy.Host {
		h, err := policy.ParseHost(name)
		if err != nil {
			t.Fatal(err)
		}
		return h
	}
	for _, c := range []struct {
		host, path string
		want       bool
	}{{"wrong.example", "/bad/1", true}, {"wrong.example", "/good", false}, {"a.wrong.example", "", true}, {"other.example", "/bad", false}} {
		if got := closed.Find(host(c.host), c.path, time.Now()) != nil; got != c.want {
			t.Errorf("closed %s%s: %v, want %v", c.host, c.path, got, c.want)
		}
	}
	if v := s.Version("p1"); v != "p1+e3" || (&State{}).Version("p1") != "p1" {
		t.Errorf("version = %s", v)
	}
	next, was, err := s.LiftDevice("tablet-7")
	if err != nil || was.By != "A DSL" || len(next.Devices) != 1 || len(s.Devices) != 2 {
		t.Errorf("lift: %+v, %+v, %v", next, was, err)
	}
	if _, _, err := next.LiftDevice("tablet-7"); !errors.Is(err, ErrNothing) {
		t.Errorf("lifted twice: %v", err)
	}
	if _, _, err := s.OpenHost("tablet-7"); !errors.Is(err, ErrNothing) {
		t.Errorf("a device is no host: %v", err)
	}
}

func TestBounds(t *testing.T) {
	var s State
	for i := range MaxEntries {
		s = add(t, s, device(fmt.Sprintf("tablet-%d", i)))
	}
	if _, _, err := s.Add(device("one-more")); err == nil || !strings.Contains(err.Error(), "1000 are closed") {
		t.Errorf("beyond the bound: %v", err)
	}
	for name, e := range map[string]Entry{
		"nobody":        {Reason: "x", Device: "d"},
		"no reason":     {By: "x", Device: "d"},
		"nothing":       {By: "x", Reason: "x"},
		"a new line":    {By: "x", Reason: "a\nb", Device: "d"},
		"a long reason": {By: "x", Reason: strings.Repeat("x", MaxText+1), Device: "d"},
		"no host":       page("a b", ""),
		"bad hardware":  {By: "x", Reason: "x", Address: netip.MustParseAddr("10.0.0.1"), Hardware: "zz"},
	} {
		if _, _, err := (State{}).Add(e); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
	dir := t.TempDir()
	if err := Save(dir, s); err != nil {
		t.Errorf("the fullest state: %v", err)
	}
}

func TestFile(t *testing.T) {
	dir := t.TempDir()
	if s, note, err := Load(dir); err != nil || note != "" || !s.Empty() {
		t.Errorf("nothing there: %+v, %q, %v", s, note, err)
	}
	want := add(t, add(t, State{}, device("tablet-7")), page("wrong.example", ""))
	if err := Save(dir, want); err != nil {
		t.Fatal(err)
	}
	load := func() (State, string, error) { return Load(dir) }
	got, note, err := load()
	if diff := cmp.Diff(want, got, cmpopts.EquateComparable(netip.Addr{})); diff != "" || note != "" || err != nil {
		t.Errorf("%s %q %v", diff, note, err)
	}
	main, again := filepath.Join(dir, fileName), filepath.Join(dir, copyName)
	text, err := os.ReadFile(main)
	if err != nil {
		t.Fatal(err)
	}
	// Any byte flipped is found, and the copy stands in; both bad is never an empty state.
	for i := range text {
		bad := append([]byte(nil), text...)
		bad[i] ^= 1 << rand.IntN(8)
		write(t, main, bad)
		if got, note, err := load(); err != nil || note == "" || got.Revision != want.Revision {
			t.Fatalf("byte %d flipped: %+v, %q, %v", i, got, note, err)
		}
	}
	write(t, again, text[:len(text)/2])
	if _, _, err := load(); !errors.Is(err, ErrDamaged) {
		t.Errorf("both bad: %v, want ErrDamaged", err)
	}
	if err := os.Remove(again); err != nil {
		t.Fatal(err)
	}
	if _, _, err := load(); !errors.Is(err, ErrDamaged) {
		t.Errorf("one bad and one gone: %v, want ErrDamaged", err)
	}
}

func write(t *testing.T, name string, text []byte) {
	t.Helper()
	if err := os.WriteFile(name, text, 0o600); err != nil {
		t.Fatal(err)
	}
}

// A crash between any two of a save's steps keeps what was acknowledged: what is
// read is the state before or the state after.
func TestCrash(t *testing.T) {
	before := add(t, State{}, device("tablet-7"))
	after := add(t, before, device("tablet-8"))
	files := func(s State) (text []byte) {
		dir := t.TempDir()
		if err := Save(dir, s); err != nil {
			t.Fatal(err)
		}
		text, err := os.ReadFile(filepath.Join(dir, fileName))
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	old, next := files(before), files(after)
	for name, disk := range map[string]map[string][]byte{
		"the new copy half written": {fileName: old, copyName: old, copyName + ".new": next[:9]},
		"the copy in place":         {fileName: old, copyName: next},
		"the new file half written": {fileName: old, copyName: next, fileName + ".new": next[:9]},
	} {
		dir := t.TempDir()
		for n, text := range disk {
			write(t, filepath.Join(dir, n), text)
		}
		got, _, err := Load(dir)
		if err != nil || got.Revision != before.Revision && got.Revision != after.Revision {
			t.Errorf("%s: revision %d, %v", name, got.Revision, err)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(magic + "00\n{}"))
	f.Add([]byte("{}"))
	f.Fuzz(func(t *testing.T, text []byte) {
		if s, err := parse(text); err != nil && !s.Empty() {
			t.Errorf("an error with a state: %+v", s)
		}
	})
}
