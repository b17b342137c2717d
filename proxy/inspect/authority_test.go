package inspect

import (
	"bytes"
	"crypto/x509"
	"encoding/xml"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// TestAuthority: made once, its key for us alone, and what is signed is believed
// where the certificate is (T9).
func TestAuthority(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "ca")
	if _, err := Load(dir); !errors.Is(err, ErrNoAuthority) {
		t.Fatalf("Load of nothing = %v", err)
	}
	a, err := Create(dir, New{School: "Hill & <Dale> Primary", Exclude: []string{"gov.uk"}, Now: term})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Create(dir, New{Now: term}); err == nil {
		t.Error("a second Create replaced the authority")
	}
	if c := a.Certificate; !bytes.Equal(c.RawIssuer, c.RawSubject) || len(c.Subject.CommonName) == 0 || c.CheckSignatureFrom(c) != nil {
		t.Errorf("no device takes it for a root: issued by %q to %q, %v", c.Issuer, c.Subject, c.CheckSignatureFrom(c))
	}
	for name, mode := range map[string]os.FileMode{"": 0o700, "school-ca-1.key": 0o600, "school-ca-1.crt": 0o600} {
		if info, err := os.Stat(filepath.Join(dir, name)); err != nil || info.Mode().Perm() != mode {
			t.Errorf("%s: %v %v, want mode %o", name, info.Mode(), err, mode)
		}
	}
	all, err := Load(dir)
	if err != nil || len(all) != 1 || !all[0].Certificate.Equal(a.Certificate) {
		t.Fatalf("Load = %v, %v", all, err)
	}
	leaves, err := NewLeaves(all)
	if err != nil {
		t.Fatal(err)
	}
	v := Verifier{Roots: x509.NewCertPool()}
	v.Roots.AddCert(a.Certificate)
	for name, want := range map[string]string{"www.example.test": "", "192.0.2.7": "", "2001:db8::7": "", "login.gov.uk": WhyConstraint} {
		cert, err := leaves.Get(host(t, name), term)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := v.Verify([]*x509.Certificate{cert.Leaf}, host(t, name), term, nil); whyOf(err) != want {
			t.Errorf("leaf for %s: %v, want %q", name, err, want)
		}
		if covers := leaves.Covers(host(t, name), term); covers != (want == "") {
			t.Errorf("Covers(%s) = %v", name, covers)
		}
		if life := cert.Leaf.NotAfter.Sub(cert.Leaf.NotBefore); life > 7*24*time.Hour {
			t.Errorf("leaf for %s lives %v", name, life)
		}
	}
	if other, err := Create(t.TempDir(), New{Now: term}); err != nil || other.key.Equal(a.key) {
		t.Errorf("two boxes have the same key (%v)", err)
	}
}

// TestAuthorityFiles: what is damaged or open to others is refused (F19, T9).
func TestAuthorityFiles(t *testing.T) {
	for _, c := range []struct {
		name string
		harm func(dir string) error
		want string
	}{
		{"a key that others may read", func(d string) error { return os.Chmod(filepath.Join(d, "school-ca-1.key"), 0o640) }, "may be read by others"},
		{"a lost key", func(d string) error { return os.Remove(filepath.Join(d, "school-ca-1.key")) }, "school-ca-1.key is missing"},
		{"a lost certificate", func(d string) error { return os.Remove(filepath.Join(d, "school-ca-1.crt")) }, "school-ca-1.crt is missing"},
		{"a key of noise", func(d string) error { return os.WriteFile(filepath.Join(d, "school-ca-1.key"), []byte("noise"), 0o600) }, "holds no private key"},
		{"a certificate of noise", func(d string) error { return os.WriteFile(filepath.Join(d, "school-ca-1.crt"), []byte("noise"), 0o600) }, "holds no certificate"},
		{"somebody else's key", func(d string) error {
			other := filepath.Join(d, "other")
			if _, err := Create(other, New{Now: term}); err != nil {
				return err
			}
			return os.Rename(filepath.Join(other, "school-ca-1.key"), filepath.Join(d, "school-ca-1.key"))
		}, "is not the ECDSA key"},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			if _, err := Create(dir, New{Now: term}); err != nil {
				t.Fatal(err)
			}
			if err := c.harm(dir); err != nil {
				t.Fatal(err)
			}
			if _, err := Load(dir); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("Load = %v, want %q", err, c.want)
			}
			before := filesOf(t, dir)
			for name, make := range map[string]func() (*Authority, error){
				"Create": func() (*Authority, error) { return Create(dir, New{Now: term}) },
				"Rotate": func() (*Authority, error) { return Rotate(dir, New{Now: term}, 0, false) },
			} {
				if _, err := make(); err == nil || !strings.Contains(err.Error(), c.want) {
					t.Errorf("%s = %v, want %q", name, err, c.want)
				}
			}
			if after := filesOf(t, dir); !slices.Equal(after, before) {
				t.Errorf("it left %q, want %q", after, before)
			}
		})
	}
}

func filesOf(t *testing.T, dir string) (names []string) {
	t.Helper()
	files, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		names = append(names, f.Name())
	}
	return names
}

// TestDamagedSigner: where the authority that signs cannot be read, the one that it
// replaced does not sign again: others may know its key.
func TestDamagedSigner(t *testing.T) {
	for _, lost := range []string{"school-ca-2.key", "school-ca-2.crt"} {
		dir := t.TempDir()
		if _, err := Create(dir, New{Now: term}); err != nil {
			t.Fatal(err)
		}
		if _, err := Rotate(dir, New{Now: term}, 0, false); err != nil {
			t.Fatal(err)
		}
		if err := os.Remove(filepath.Join(dir, lost)); err != nil {
			t.Fatal(err)
		}
		if all, err := Load(dir); err == nil || !strings.Contains(err.Error(), lost+" is missing") {
			t.Errorf("without %s: Load = %v, %v", lost, all, err)
		}
	}
}

// TestThirdAuthority: none is made while the second is being given to devices, unless
// it is wanted all the same; old ones may be taken away, and no number comes again.
func TestThirdAuthority(t *testing.T) {
	dir := t.TempDir()
	if _, err := Create(dir, New{Now: term}); err != nil {
		t.Fatal(err)
	}
	if _, err := Rotate(dir, New{Now: term}, Overlap, false); err != nil {
		t.Fatal(err)
	}
	for _, overlap := range []time.Duration{Overlap, 0} {
		if a, err := Rotate(dir, New{Now: term}, overlap, false); !errors.Is(err, ErrWaiting) {
			t.Errorf("Rotate by %v = %v, %v", overlap, a, err)
		}
	}
	third, err := Rotate(dir, New{Now: term}, 0, true)
	if err != nil {
		t.Fatal(err)
	}
	for _, old := range []string{"school-ca-1.key", "school-ca-1.crt", "school-ca-2.key", "school-ca-2.crt"} {
		if err := os.Remove(filepath.Join(dir, old)); err != nil {
			t.Fatal(err)
		}
	}
	all, err := Load(dir)
	if err != nil || len(all) != 1 || !all[0].same(third) {
		t.Fatalf("Load = %v, %v", all, err)
	}
	if files, err := Export(all, t.TempDir()); err != nil || files[0] != "school-ca-3.pem" {
		t.Errorf("Export = %q, %v", files, err)
	}
	if fourth, err := Rotate(dir, New{Now: term}, 0, false); err != nil || fourth.Number != 4 {
		t.Errorf("Rotate = %+v, %v", fourth, err)
	}
}

// TestSigner: where the first has expired, the one that devices are being given signs.
func TestSigner(t *testing.T) {
	dir := t.TempDir()
	if _, err := Create(dir, New{Now: term}); err != nil {
		t.Fatal(err)
	}
	late := term.Add(authorityLife - 24*time.Hour)
	second, err := Rotate(dir, New{Now: late}, Overlap, false)
	if err != nil {
		t.Fatal(err)
	}
	all, err := Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := Signer(all, late.Add(48*time.Hour)); err != nil || !got.same(second) {
		t.Errorf("Signer = %v, %v", got, err)
	}
	for _, c := range []struct {
		at   time.Time
		want string
	}{{term.AddDate(-10, 0, 0), "is the clock right"}, {term.AddDate(20, 0, 0), "expired on"}} {
		if got, err := Signer(all, c.at); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("Signer at %v = %v, %v, want %q", c.at, got, err, c.want)
		}
	}
	after := term.AddDate(20, 0, 0)
	if third, err := Rotate(dir, New{Now: after}, Overlap, false); err != nil || !third.SignsFrom.Equal(after) {
		t.Errorf("Rotate when all have expired = %+v, %v, want one that signs at once", third, err)
	}
	if end := Ends(all); !end.Equal(second.Certificate.NotAfter) {
		t.Errorf("Ends = %v", end)
	}
}

// TestUseAuthorities: other authorities sign at once, and what earlier ones signed is
// forgotten; the same ones change nothing.
func TestUseAuthorities(t *testing.T) {
	leaves, err := NewLeaves(nil)
	if err != nil {
		t.Fatal(err)
	}
	site := host(t, "www.example.test")
	if cert, err := leaves.Get(site, term); !errors.Is(err, ErrNoAuthority) || leaves.Covers(site, term) {
		t.Errorf("without an authority: %v, %v", cert, err)
	}
	for range 2 {
		dir := t.TempDir()
		a, err := Create(dir, New{Now: term})
		if err != nil {
			t.Fatal(err)
		}
		again, err := Load(dir)
		if err != nil {
			t.Fatal(err)
		}
		if !leaves.Use([]*Authority{a}) || leaves.Use(again) || !leaves.Uses(again) {
			t.Error("other ones are not taken up, or the same ones are")
		}
		if cert, err := leaves.Get(site, term); err != nil || cert.Leaf.CheckSignatureFrom(a.Certificate) != nil {
			t.Errorf("signed by another: %v, %v", cert, err)
		}
	}
}

// TestRotateExcludes: what devices were told never to believe the authority for, the next
// one has no say in either.
func TestRotateExcludes(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "ca")
	if _, err := Create(dir, New{Now: term, Exclude: []string{"gov.uk", "nhs.uk"}}); err != nil {
		t.Fatal(err)
	}
	second, err := Rotate(dir, New{Now: term, Exclude: []string{"NHS.uk.", "bank.example"}}, 0, false)
	if err != nil {
		t.Fatal(err)
	}
	if got := second.Certificate; !slices.Equal(got.ExcludedDNSDomains, []string{"gov.uk", "nhs.uk", "bank.example"}) || !got.PermittedDNSDomainsCritical {
		t.Errorf("the second excludes %q, critical %v", got.ExcludedDNSDomains, got.PermittedDNSDomainsCritical)
	}
}

// TestRotate: the old authority signs until the overlap is over, and leaves
// change hands at that moment.
func TestRotate(t *testing.T) {
	dir := t.TempDir()
	first, err := Create(dir, New{Now: term})
	if err != nil {
		t.Fatal(err)
	}
	second, err := Rotate(dir, New{Now: term}, Overlap, false)
	if err != nil {
		t.Fatal(err)
	}
	all, err := Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	leaves, err := NewLeaves(all)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		at   time.Time
		want *Authority
	}{{term, first}, {term.Add(Overlap - time.Hour), first}, {term.Add(Overlap), second}, {term.Add(Overlap + 24*time.Hour), second}} {
		cert, err := leaves.Get(host(t, "www.example.test"), c.at)
		if err != nil {
			t.Fatal(err)
		}
		if err := cert.Leaf.CheckSignatureFrom(c.want.Certificate); err != nil || c.at.After(cert.Leaf.NotAfter) {
			t.Errorf("at %s: %v, until %s", c.at, err, cert.Leaf.NotAfter)
		}
	}
	if _, err := Signer(all, term.AddDate(10, 0, 0)); err == nil {
		t.Error("an expired authority signs")
	}
}

// TestExport: everything devices need, and no key.
func TestExport(t *testing.T) {
	dir, out := t.TempDir(), t.TempDir()
	a, err := Create(dir, New{School: "Hill & <Dale> Primary", Now: term})
	if err != nil {
		t.Fatal(err)
	}
	all, err := Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	files, err := Export(all, out)
	if err != nil || len(files) != 5 {
		t.Fatalf("Export = %v, %v", files, err)
	}
	secret, err := a.key.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range files {
		b, err := os.ReadFile(filepath.Join(out, name))
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Contains(b, []byte("PRIVATE")) || bytes.Contains(b, secret) {
			t.Errorf("%s holds the key", name)
		}
		switch filepath.Ext(name) {
		case ".cer":
			if !bytes.Equal(b, a.Certificate.Raw) {
				t.Errorf("%s is not the certificate", name)
			}
		case ".mobileconfig":
			d := xml.NewDecoder(bytes.NewReader(b))
			for err == nil {
				_, err = d.Token()
			}
			if err != io.EOF || !bytes.Contains(b, []byte("com.apple.security.root")) || !bytes.Contains(b, []byte("Hill &amp; &lt;Dale&gt;")) {
				t.Errorf("%s: %v", name, err)
			}
		case ".html":
			for _, want := range []string{"Hill &amp; &lt;Dale&gt;", a.Fingerprint(), "Chromebook", "iPad", "Android", "Windows"} {
				if !bytes.Contains(b, []byte(want)) {
					t.Errorf("%s does not say %q", name, want)
				}
			}
		}
	}
}

// TestLeavesOnce: however many ask, a host's certificate is made once, and the
// cache stays within its bound.
func TestLeavesOnce(t *testing.T) {
	a, err := Create(t.TempDir(), New{Now: term})
	if err != nil {
		t.Fatal(err)
	}
	leaves, err := NewLeaves([]*Authority{a})
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	for range 64 {
		all.Go(func() {
			if _, err := leaves.Get(host(t, "www.example.test"), term); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if n := leaves.Signed(); n != 1 {
		t.Errorf("made %d times", n)
	}
	first, _ := leaves.Get(host(t, "www.example.test"), term)
	leaves.now.Load().count.Store(maxLeaves) // full
	if _, err := leaves.Get(host(t, "other.example.test"), term); err != nil {
		t.Fatal(err)
	}
	if again, _ := leaves.Get(host(t, "www.example.test"), term); again != first {
		t.Error("what is in use was forgotten with the first full generation")
	}
	late := first.Leaf.NotAfter.Add(-leafSlack)
	if again, err := leaves.Get(host(t, "www.example.test"), late); err != nil || again == first {
		t.Errorf("a certificate with less than a day left is handed out (%v)", err)
	}
}

func BenchmarkLeaf(b *testing.B) {
	a, err := Create(b.TempDir(), New{Now: time.Now()})
	if err != nil {
		b.Fatal(err)
	}
	leaves, err := NewLeaves([]*Authority{a})
	if err != nil {
		b.Fatal(err)
	}
	h, at := host(b, "www.example.test"), time.Now()
	b.Run("warm", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := leaves.Get(h, at); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("cold", func(b *testing.B) {
		for b.Loop() {
			f := &leaf{}
			if leaves.sign(f, h, at); f.err != nil {
				b.Fatal(f.err)
			}
		}
	})
}

// What an administrator makes as root is the service's to read, and nobody else's.
func TestOwner(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("SKIPPED: only root can give files away")
	}
	const service = 65534
	data := t.TempDir()
	if err := os.Chown(data, service, service); err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(data, "ca")
	now := time.Now()
	if _, err := Create(dir, New{Now: now}); err != nil {
		t.Fatal(err)
	}
	if _, err := Rotate(dir, New{Now: now}, 0, false); err != nil {
		t.Fatal(err)
	}
	for name, mode := range map[string]os.FileMode{
		"": 0o700, "school-ca-1.key": 0o600, "school-ca-1.crt": 0o600, "school-ca-2.key": 0o600,
	} {
		info, err := os.Stat(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		if of := info.Sys().(*syscall.Stat_t); of.Uid != service || of.Gid != service || info.Mode().Perm() != mode {
			t.Errorf("%q is of %d:%d with mode %v, want the service's with %v", name, of.Uid, of.Gid, info.Mode().Perm(), mode)
		}
	}
}
