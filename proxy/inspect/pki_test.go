package inspect

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"sync"
	"testing"
	"time"

	"schoolgate/policy"
)

// term is when everything in these tests happens.
var term = time.Date(2026, 3, 3, 10, 15, 0, 0, time.UTC)

// signer is a certificate that may sign others.
type signer struct {
	cert *x509.Certificate
	key  crypto.Signer
}

var ecKey = sync.OnceValue(func() *ecdsa.PrivateKey { return must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader)) })

// rsaKeys are made once for each length: they take long.
var rsaKeys = struct {
	sync.Mutex
	by map[int]*rsa.PrivateKey
}{by: map[int]*rsa.PrivateKey{}}

func rsaKey(bits int) *rsa.PrivateKey {
	rsaKeys.Lock()
	defer rsaKeys.Unlock()
	if rsaKeys.by[bits] == nil {
		rsaKeys.by[bits] = must(rsa.GenerateKey(rand.Reader, bits))
	}
	return rsaKeys.by[bits]
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// kept is one key for a name, so that the same authority signs everywhere.
func newKey() *ecdsa.PrivateKey { return must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader)) }

var lastSerial = big.NewInt(1000)

func serial() *big.Int { return new(big.Int).Set(lastSerial.Add(lastSerial, big.NewInt(1))) }

// caOf makes an authority; a nil parent makes a root.
func caOf(t testing.TB, name string, parent *signer, change func(*x509.Certificate)) *signer {
	c := &x509.Certificate{
		SerialNumber: serial(), Subject: pkix.Name{CommonName: name},
		NotBefore: term.AddDate(-1, 0, 0), NotAfter: term.AddDate(4, 0, 0),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
	}
	if change != nil {
		change(c)
	}
	s := &signer{key: newKey()}
	by := parent
	if by == nil {
		by = &signer{c, s.key}
	}
	s.cert = signed(t, c, by, s.key.Public())
	return s
}

func signed(t testing.TB, c *x509.Certificate, by *signer, pub any) *x509.Certificate {
	t.Helper()
	der, err := x509.CreateCertificate(rand.Reader, c, by.cert, pub, by.key)
	if err != nil {
		t.Fatal(err)
	}
	got, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return got
}

// siteOf makes a site's certificate, good for www.example.test unless changed.
func siteOf(t testing.TB, by *signer, change func(*x509.Certificate)) *x509.Certificate {
	return signed(t, siteTemplate(change), by, ecKey().Public())
}

func siteTemplate(change func(*x509.Certificate)) *x509.Certificate {
	c := &x509.Certificate{
		SerialNumber: serial(), Subject: pkix.Name{CommonName: "www.example.test"}, DNSNames: []string{"www.example.test"},
		NotBefore: term.AddDate(0, -1, 0), NotAfter: term.AddDate(0, 2, 0),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		BasicConstraintsValid: true,
	}
	if change != nil {
		change(c)
	}
	return c
}

func host(t testing.TB, name string) policy.Host {
	t.Helper()
	h, err := policy.ParseHost(name)
	if err != nil {
		t.Fatal(err)
	}
	return h
}
