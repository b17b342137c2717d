package audit

import (
	"bytes"
	"crypto/ed25519"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
)

func boxKey(seed byte) ed25519.PrivateKey {
	return ed25519.NewKeyFromSeed(bytes.Repeat([]byte{seed}, ed25519.SeedSize))
}

func bundleOf(t testing.TB, key ed25519.PrivateKey, n int) []byte {
	t.Helper()
	var out bytes.Buffer
	b := NewBundle(&out, key)
	for i := range n {
		if err := b.Add([]string{"about", "step", "event"}[min(i, 2)], map[string]any{"n": i, "text": "a <b> ü\n"}); err != nil {
			t.Fatal(err)
		}
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func check(t testing.TB, bundle []byte) BundleReport {
	t.Helper()
	r, err := VerifyBundle(bytes.NewReader(bundle))
	if err != nil {
		return BundleReport{Problems: []string{err.Error()}}
	}
	return r
}

// A bundle verifies as it was written, with nothing but the file (R27, F13).
func TestBundle(t *testing.T) {
	key := boxKey(1)
	r := check(t, bundleOf(t, key, 9))
	if !r.OK() || r.Records != 9 || r.Contents() != "1 about, 7 event, 1 step" || !strings.Contains(string(r.About), `"n":0`) {
		t.Errorf("%+v", r)
	}
	if line := KeyLine(r.Key); line != KeyLine(key.Public().(ed25519.PublicKey)) {
		t.Errorf("signed by %s", line)
	}
	if got, err := ParseKeyLine(KeyLine(r.Key) + "\n"); err != nil || !got.Equal(r.Key) {
		t.Errorf("key line: %v", err)
	}
}

// Whatever byte is changed, in whatever way, is found, and its line is named.
func TestBundleEveryByte(t *testing.T) {
	good := bundleOf(t, boxKey(1), 6)
	line := 1
	for i := range good {
		bad := bytes.Clone(good)
		bad[i] ^= 1 << rand.IntN(8)
		r := check(t, bad)
		if r.OK() {
			t.Fatalf("byte %d (line %d): %q became %q unseen", i, line, good[i], bad[i])
		}
		named := false
		for _, p := range r.Problems {
			named = named || strings.HasPrefix(p, fmt.Sprintf("line %d:", line))
		}
		if !named && line > 1 && good[i] != '\n' && bad[i] != '\n' {
			t.Errorf("byte %d of line %d (%q to %q): told as %q", i, line, good[i], bad[i], r.Problems)
		}
		if good[i] == '\n' {
			line++
		}
	}
	for n := range good {
		if r := check(t, good[:n]); r.OK() {
			t.Fatalf("cut off after %d bytes of %d unseen", n, len(good))
		}
	}
}

// Records removed, added, moved or taken from another bundle are found; so is a
// file that somebody without the key chained anew.
func TestBundleTampering(t *testing.T) {
	key := boxKey(1)
	good := bundleOf(t, key, 8)
	lines := func() []string { return strings.SplitAfter(string(good), "\n") }
	other := strings.SplitAfter(string(bundleOf(t, boxKey(2), 8)), "\n")
	for name, c := range map[string]struct {
		change func(l []string) []string
		told   string
	}{
		"removed":           {func(l []string) []string { return append(l[:3:3], l[4:]...) }, "line 4: records 3 to 3 are missing"},
		"the last removed":  {func(l []string) []string { return append(l[:8:8], l[9:]...) }, "line 9: the signature is for 8 records"},
		"copied":            {func(l []string) []string { return append(l[:4:4], l[3:]...) }, "line 5: record 3 comes again"},
		"swapped":           {func(l []string) []string { l[3], l[4] = l[4], l[3]; return l }, "line 4: records 3 to 3 are missing"},
		"added at the end":  {func(l []string) []string { return append(l, "more\n") }, "line 11: added"},
		"no signature":      {func(l []string) []string { return l[:9] }, "line 10: missing"},
		"another signature": {func(l []string) []string { l[9] = other[9]; return l }, ""},
		"another's record":  {func(l []string) []string { l[3] = strings.Replace(l[3], `"n":2`, `"n":5`, 1); return l }, "line 4: altered"},
		"windows line ends": {func(l []string) []string { l[3] = strings.Replace(l[3], "\n", "\r\n", 1); return l }, "line 4: altered"},
	} {
		r := check(t, []byte(strings.Join(c.change(lines()), "")))
		if name == "another signature" { // the same records, signed by somebody else: the key tells
			if !r.OK() || r.Key.Equal(key.Public()) {
				t.Errorf("%s: %+v", name, r)
			}
			continue
		}
		if r.OK() || !strings.HasPrefix(r.Problems[0], c.told) || len(r.Problems) > 2 {
			t.Errorf("%s: told %q, want %q", name, r.Problems, c.told)
		}
	}
	// Chained anew by one without the key, over the old signature.
	forged := strings.SplitAfter(string(bundleOf(t, boxKey(3), 7)), "\n")
	end := strings.Fields(lines()[9])
	mine := strings.Fields(forged[8])
	forged[8] = strings.Join([]string{mine[0], mine[1], mine[2], end[3], end[4]}, " ") + "\n"
	if r := check(t, []byte(strings.Join(forged, ""))); r.OK() || !strings.Contains(r.Problems[0], "the signature is not good") {
		t.Errorf("chained anew: %+v", r)
	}
	if _, err := VerifyBundle(strings.NewReader("id,time\n")); err == nil {
		t.Error("a CSV is taken for a bundle")
	}
}

func FuzzVerifyBundle(f *testing.F) {
	good := bundleOf(f, boxKey(1), 3)
	f.Add(good)
	f.Add([]byte(bundleMagic + "end 0 00 00 00\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		if r := check(t, text); r.OK() && r.Key.Equal(boxKey(1).Public()) && !bytes.Equal(text, good) {
			t.Errorf("passes, and the key's holder did not write it: %q", text)
		}
	})
}
