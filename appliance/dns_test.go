package appliance

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"log/slog"
	"math/big"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// writePair writes a certificate with this serial number, and its key.
func writePair(t *testing.T, dir string, serial int64) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(serial), DNSNames: []string{"dns.school.test"}, NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	for name, block := range map[string]*pem.Block{"dns.crt": {Type: "CERTIFICATE", Bytes: der}, "dns.key": {Type: "PRIVATE KEY", Bytes: secret}} {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
		at := time.Now().Add(time.Duration(serial) * time.Second) // written later than the one before
		if err := os.Chtimes(path, at, at); err != nil {
			t.Fatal(err)
		}
	}
}

// A renewed certificate is taken up, a broken one is not.
func TestKeyPairIsRenewed(t *testing.T) {
	dir := t.TempDir()
	p := &keyPair{certificate: filepath.Join(dir, "dns.crt"), key: filepath.Join(dir, "dns.key"), log: slog.New(slog.DiscardHandler)}
	if err := p.load(time.Now()); err == nil {
		t.Error("files that are not there are no error")
	}
	serial := func() int64 {
		pair, err := p.get(nil)
		if err != nil {
			t.Fatal(err)
		}
		leaf, err := x509.ParseCertificate(pair.Certificate[0])
		if err != nil {
			t.Fatal(err)
		}
		return leaf.SerialNumber.Int64()
	}
	writePair(t, dir, 1)
	if err := p.load(time.Now()); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		promise string
		change  func()
		later   bool
		want    int64
	}{
		{"the one that is there", func() {}, false, 1},
		{"a new one is not looked for at each connection", func() { writePair(t, dir, 2) }, false, 1},
		{"but a minute later", func() {}, true, 2},
		{"a broken one leaves it in place", func() {
			if err := os.WriteFile(p.certificate, []byte("no certificate"), 0o600); err != nil {
				t.Fatal(err)
			}
		}, true, 2},
		{"until all is well", func() { writePair(t, dir, 3) }, true, 3},
	} {
		tc.change()
		if tc.later {
			p.checked = p.checked.Add(-2 * keyPairCheck)
		}
		if got := serial(); got != tc.want {
			t.Errorf("%s: serial %d, want %d", tc.promise, got, tc.want)
		}
	}
}
