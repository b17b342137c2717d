package inspect

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha1"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"errors"
	"math/big"
	"net"
	"testing"
	"time"

	"golang.org/x/crypto/ocsp"
)

// TestVerify is the table of bad certificates (T8, G2). Each is made here, from
// a root that is trusted, an authority below it and a site; want is the word of
// the refusal, "" for one that is believed.
func TestVerify(t *testing.T) {
	root := caOf(t, "Root", nil, nil)
	ca := caOf(t, "Authority", root, nil)
	other := caOf(t, "Other root", nil, nil)
	for _, c := range verifyCases(t, root, ca, other) {
		t.Run(c.name, func(t *testing.T) {
			h := "www.example.test"
			if c.host != "" {
				h = c.host
			}
			at := term
			if !c.at.IsZero() {
				at = c.at
			}
			pool := x509.NewCertPool()
			for _, r := range append(c.roots, root.cert) {
				pool.AddCert(r)
			}
			v := Verifier{Roots: pool}
			_, err := v.Verify(c.sent, host(t, h), at, c.staple)
			if got := whyOf(err); got != c.want {
				t.Errorf("Verify(%s) = %v, want %q", h, err, c.want)
			}
		})
	}
}

func whyOf(err error) string {
	var r *Refused
	if errors.As(err, &r) {
		return r.Why
	}
	if err != nil {
		return "another error: " + err.Error()
	}
	return ""
}

type verifyCase struct {
	name   string
	sent   []*x509.Certificate
	want   string
	host   string
	at     time.Time
	staple []byte
	roots  []*x509.Certificate // trusted besides Root
}

func verifyCases(t *testing.T, root, ca, other *signer) []verifyCase {
	chain := func(change func(*x509.Certificate)) []*x509.Certificate {
		return []*x509.Certificate{siteOf(t, ca, change), ca.cert}
	}
	// below makes a site below an authority of its own.
	below := func(change func(*x509.Certificate), site func(*x509.Certificate)) []*x509.Certificate {
		own := caOf(t, "Own authority", root, change)
		return []*x509.Certificate{siteOf(t, own, site), own.cert}
	}
	names := func(list ...string) func(*x509.Certificate) {
		return func(c *x509.Certificate) { c.DNSNames = list }
	}
	good := chain(nil)
	leafRSA := func(bits int) []*x509.Certificate {
		return []*x509.Certificate{signed(t, siteTemplate(nil), ca, &rsaKey(bits).PublicKey), ca.cert}
	}
	p224 := must(ecdsa.GenerateKey(elliptic.P224(), rand.Reader))
	weakRoot := &signer{key: rsaKey(1024)}
	weakRoot.cert = signed(t, &x509.Certificate{SerialNumber: serial(), Subject: pkix.Name{CommonName: "Weak"}, NotBefore: term.AddDate(-1, 0, 0),
		NotAfter: term.AddDate(4, 0, 0), IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}, &signer{&x509.Certificate{Subject: pkix.Name{CommonName: "Weak"}}, rsaKey(1024)}, &rsaKey(1024).PublicKey)
	deep := caOf(t, "Deep", ca, nil)
	flat := caOf(t, "Flat", root, func(c *x509.Certificate) { c.MaxPathLenZero = true })
	flatBelow := caOf(t, "Below flat", flat, nil)
	crossed := &signer{key: other.key}
	crossed.cert = signed(t, other.cert, root, other.key.Public())
	promise := pkix.Extension{Id: mustStaple, Value: must(asn1.Marshal([]int{5}))}
	promised := chain(func(c *x509.Certificate) { c.ExtraExtensions = []pkix.Extension{promise} })
	word := func(sent []*x509.Certificate, by *signer, status int, this time.Time) []byte {
		return must(ocsp.CreateResponse(ca.cert, by.cert, ocsp.Response{Status: status, SerialNumber: sent[0].SerialNumber,
			ThisUpdate: this, NextUpdate: this.AddDate(0, 0, 7), RevokedAt: this, Certificate: nil}, by.key))
	}
	responder := func(use x509.ExtKeyUsage, days int) *signer {
		return &signer{siteOf(t, ca, func(c *x509.Certificate) {
			c.ExtKeyUsage, c.NotAfter = []x509.ExtKeyUsage{use}, term.AddDate(0, 0, days)
		}), ecKey()}
	}
	through := func(sent []*x509.Certificate, status int, by *signer) []byte { // with the certificate of who signed
		return must(ocsp.CreateResponse(ca.cert, by.cert, ocsp.Response{Status: status, SerialNumber: sent[0].SerialNumber,
			ThisUpdate: term.AddDate(0, 0, -1), NextUpdate: term.AddDate(0, 0, 6), RevokedAt: term.AddDate(0, 0, -1), Certificate: by.cert}, by.key))
	}
	endless := func(sent []*x509.Certificate, this time.Time) []byte {
		return must(ocsp.CreateResponse(ca.cert, ca.cert, ocsp.Response{Status: ocsp.Good, SerialNumber: sent[0].SerialNumber, ThisUpdate: this}, ca.key))
	}
	return []verifyCase{
		{name: "a good chain", sent: good},
		{name: "a good chain with its root", sent: append(good[:2:2], root.cert)},
		{name: "a good chain in any order, with strangers", sent: []*x509.Certificate{good[0], other.cert, root.cert, ca.cert}},
		{name: "a deeper chain", sent: []*x509.Certificate{siteOf(t, deep, nil), deep.cert, ca.cert}},
		{name: "directly below the root", sent: []*x509.Certificate{siteOf(t, root, nil)}},
		{name: "RSA of 2048 bits", sent: leafRSA(2048)},
		{name: "one star for one label", sent: chain(names("*.example.test"))},
		{name: "a name in capitals", sent: chain(names("WWW.Example.TEST"))},
		{name: "an international name", sent: chain(names("xn--mnchen-3ya.example.test")), host: "münchen.example.test"},
		{name: "a trailing dot in the request", sent: good, host: "www.example.test."},
		{name: "an address with an address in it", sent: chain(func(c *x509.Certificate) { c.IPAddresses = []net.IP{{192, 0, 2, 7}} }), host: "192.0.2.7"},
		{name: "an expired stranger beside a good chain", sent: append(good[:2:2], caOf(t, "Old", root, func(c *x509.Certificate) { c.NotAfter = term.AddDate(0, 0, -1) }).cert)},
		{name: "a cross-signed root", sent: []*x509.Certificate{siteOf(t, other, nil), crossed.cert}},
		{name: "the last second", sent: good, at: good[0].NotAfter},

		{name: "nothing sent", want: WhyMalformed},
		{name: "expired", sent: chain(func(c *x509.Certificate) { c.NotAfter = term.Add(-time.Second) }), want: WhyExpired},
		{name: "expired long ago, by the clock", sent: good, at: term.AddDate(1, 0, 0), want: WhyExpired},
		{name: "not yet good", sent: chain(func(c *x509.Certificate) { c.NotBefore = term.Add(time.Hour) }), want: WhyNotYet},
		{name: "an expired authority", sent: below(func(c *x509.Certificate) { c.NotAfter = term.AddDate(0, 0, -1) }, nil), want: WhyExpired},
		{name: "an authority of tomorrow", sent: below(func(c *x509.Certificate) { c.NotBefore = term.AddDate(0, 0, 1) }, nil), want: WhyNotYet},
		{name: "an expired root", sent: []*x509.Certificate{siteOf(t, other, nil)}, at: term.AddDate(0, 1, 0), want: WhyExpired,
			roots: []*x509.Certificate{signed(t, func() *x509.Certificate { c := *other.cert; c.NotAfter = term; return &c }(), other, other.key.Public())}},

		{name: "another name", sent: chain(names("www.example.org")), want: WhyName},
		{name: "the bare domain only", sent: chain(names("example.test")), want: WhyName},
		{name: "the name below only", sent: good, host: "a.www.example.test", want: WhyName},
		{name: "no name but the common name", sent: chain(names()), want: WhyName},
		{name: "the name as the beginning of another", sent: chain(names("www.example.test.evil.test")), want: WhyName},
		{name: "a star for two labels", sent: chain(names("*.example.test")), host: "a.b.example.test", want: WhyName},
		{name: "a star for none", sent: chain(names("*.www.example.test")), want: WhyName},
		{name: "a star in the middle", sent: chain(names("www.*.test")), want: WhyName},
		{name: "a star in a label", sent: chain(names("w*.example.test")), want: WhyName},
		{name: "two stars", sent: chain(names("*.*.test")), want: WhyName},
		{name: "a star alone", sent: chain(names("*")), want: WhyName},
		{name: "a star for a top-level domain", sent: chain(names("*.test")), host: "example.test", want: WhyName},
		{name: "a star for a public suffix", sent: chain(names("*.co.uk")), host: "example.co.uk", want: WhyName},
		{name: "an address as a name", sent: chain(names("192.0.2.7")), host: "192.0.2.7", want: WhyName},
		{name: "another address", sent: chain(func(c *x509.Certificate) { c.IPAddresses = []net.IP{{192, 0, 2, 8}} }), host: "192.0.2.7", want: WhyName},
		{name: "a star for an address", sent: chain(names("*.0.2.7")), host: "192.0.2.7", want: WhyName},
		{name: "a NUL inside the name", sent: chain(rawNames("www.example.test\x00.evil.test")), want: WhyName},
		{name: "a dot behind the name", sent: chain(rawNames("www.example.test.")), want: WhyName},
		{name: "a space behind the name", sent: chain(rawNames("www.example.test ")), want: WhyName},

		{name: "self-signed", sent: []*x509.Certificate{selfSigned(t)}, want: WhyUntrusted},
		{name: "self-signed with a stranger's chain", sent: []*x509.Certificate{selfSigned(t), ca.cert, root.cert}, want: WhyUntrusted},
		{name: "an unknown root", sent: []*x509.Certificate{siteOf(t, other, nil), other.cert}, want: WhyUntrusted},
		{name: "a missing authority in between", sent: good[:1], want: WhyUntrusted},
		{name: "an authority of the same name with another key", sent: []*x509.Certificate{siteOf(t, caOf(t, "Authority", other, nil), nil), ca.cert}, want: WhyUntrusted},
		{name: "the authority's certificate itself", sent: []*x509.Certificate{ca.cert}, want: WhyUse},
		{name: "a site's that is an authority", sent: chain(func(c *x509.Certificate) { c.IsCA = true }), want: WhyUse},
		{name: "a signature of somebody else", sent: []*x509.Certificate{broken(t, good[0]), ca.cert}, want: WhyUntrusted},

		{name: "signed with SHA-1", sent: []*x509.Certificate{resigned(t, good[0], oidSHA1RSA), ca.cert}, want: WhySignature},
		{name: "signed with MD5", sent: []*x509.Certificate{resigned(t, good[0], oidMD5RSA), ca.cert}, want: WhySignature},
		{name: "signed with ECDSA and SHA-1", sent: []*x509.Certificate{resigned(t, good[0], oidSHA1EC), ca.cert}, want: WhySignature},
		{name: "signed with DSA", sent: []*x509.Certificate{resigned(t, good[0], oidDSA), ca.cert}, want: WhySignature},
		{name: "an authority signed with SHA-1", sent: []*x509.Certificate{good[0], resigned(t, ca.cert, oidSHA1RSA)}, want: WhySignature},
		{name: "RSA of 1024 bits", sent: leafRSA(1024), want: WhyKey},
		{name: "a root with RSA of 1024 bits", sent: []*x509.Certificate{siteOf(t, weakRoot, nil)}, roots: []*x509.Certificate{weakRoot.cert}, want: WhyKey},
		{name: "a key on P-224", sent: []*x509.Certificate{signed(t, siteTemplate(nil), ca, &p224.PublicKey), ca.cert}, want: WhyKey},

		{name: "for a client and no server", sent: chain(func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth} }), want: WhyUse},
		{name: "for code", sent: chain(func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageCodeSigning} }), want: WhyUse},
		{name: "for anything at all", sent: chain(func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageAny} }), want: WhyUse},
		{name: "for nothing in particular", sent: chain(func(c *x509.Certificate) { c.ExtKeyUsage = nil }), want: WhyUse},
		{name: "an authority for clients", sent: below(func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth} }, nil), want: WhyUse},
		{name: "a key that may not sign", sent: chain(func(c *x509.Certificate) { c.KeyUsage = x509.KeyUsageKeyAgreement }), want: WhyUse},

		{name: "below a site's certificate", sent: []*x509.Certificate{siteOf(t, &signer{siteOf(t, ca, func(c *x509.Certificate) { c.Subject.CommonName = "Site" }), ecKey()}, nil),
			siteOf(t, ca, func(c *x509.Certificate) { c.Subject.CommonName = "Site" }), ca.cert}, want: WhyAuthority},
		{name: "below a no-authority that says so", sent: below(func(c *x509.Certificate) { c.IsCA = false; c.KeyUsage = 0 }, nil), want: WhyAuthority},
		{name: "below one that says nothing", sent: below(func(c *x509.Certificate) { c.IsCA, c.BasicConstraintsValid = false, false }, nil), want: WhyAuthority},
		{name: "an authority that may not sign certificates", sent: below(func(c *x509.Certificate) { c.KeyUsage = x509.KeyUsageCRLSign }, nil), want: WhyUntrusted},
		{name: "too far below", sent: []*x509.Certificate{siteOf(t, flatBelow, nil), flatBelow.cert, flat.cert}, want: WhyAuthority},

		{name: "a name the authority may not give", sent: below(permits("example.org"), nil), want: WhyConstraint},
		{name: "a name it is kept from", sent: below(func(c *x509.Certificate) { c.ExcludedDNSDomains = []string{"example.test"} }, nil), want: WhyConstraint},
		{name: "a name it may give", sent: below(permits("example.test"), nil)},
		{name: "a second name it may not give", sent: below(permits("example.test"), names("www.example.test", "www.example.org")), want: WhyConstraint},
		{name: "a star over what it may give", sent: below(permits("www.example.test"), names("*.example.test")), want: WhyConstraint},
		{name: "an address it may not give", sent: below(func(c *x509.Certificate) {
			c.PermittedIPRanges = []*net.IPNet{{IP: net.IP{198, 51, 100, 0}, Mask: net.CIDRMask(24, 32)}}
		}, func(c *x509.Certificate) { c.IPAddresses = []net.IP{{192, 0, 2, 7}} }), host: "192.0.2.7", want: WhyConstraint},
		{name: "constraints of a kind nobody reads", sent: below(extension(asn1.ObjectIdentifier{2, 5, 29, 30}, true, directoryConstraint()), nil), want: WhyCritical},
		{name: "something critical that nobody knows", sent: chain(extension(asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 99999, 1}, true, []byte{5, 0})), want: WhyCritical},
		{name: "the same in an authority", sent: below(extension(asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 99999, 1}, true, []byte{5, 0}), nil), want: WhyCritical},
		{name: "something unknown that is not critical", sent: chain(extension(asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 99999, 1}, false, []byte{5, 0}))},

		{name: "a serial number of zero", sent: chain(func(c *x509.Certificate) { c.SerialNumber = big.NewInt(0) }), want: WhyMalformed},

		{name: "a staple that is good", sent: good, staple: word(good, ca, ocsp.Good, term.AddDate(0, 0, -1))},
		{name: "revoked, by its staple", sent: good, staple: word(good, ca, ocsp.Revoked, term.AddDate(0, 0, -1)), want: WhyRevoked},
		{name: "revoked, by an old staple", sent: good, staple: word(good, ca, ocsp.Revoked, term.AddDate(-1, 0, 0)), want: WhyRevoked},
		{name: "unknown to its authority", sent: good, staple: word(good, ca, ocsp.Unknown, term.AddDate(0, 0, -1)), want: WhyRevoked},
		{name: "a revocation that somebody else signed", sent: good, staple: word(good, other, ocsp.Revoked, term.AddDate(0, 0, -1))},
		{name: "a staple of noise", sent: good, staple: []byte("noise")},
		{name: "a staple promised and brought", sent: promised, staple: word(promised, ca, ocsp.Good, term.AddDate(0, 0, -1))},
		{name: "a staple promised and not brought", sent: promised, want: WhyRevoked},
		{name: "a staple promised and old", sent: promised, staple: word(promised, ca, ocsp.Good, term.AddDate(0, -1, 0)), want: WhyRevoked},
		{name: "a staple promised and noise", sent: promised, staple: []byte("noise"), want: WhyRevoked},
		{name: "a staple promised and somebody else's", sent: promised, staple: word(promised, other, ocsp.Good, term.AddDate(0, 0, -1)), want: WhyRevoked},
		{name: "a staple that a responder of the authority signed", sent: promised, staple: through(promised, ocsp.Good, responder(x509.ExtKeyUsageOCSPSigning, 1))},
		{name: "revoked, by a responder of the authority", sent: good, staple: through(good, ocsp.Revoked, responder(x509.ExtKeyUsageOCSPSigning, 1)), want: WhyRevoked},
		{name: "a staple that another site of the authority signed", sent: promised, staple: through(promised, ocsp.Good, responder(x509.ExtKeyUsageServerAuth, 1)), want: WhyRevoked},
		{name: "a staple that its own key signed", sent: promised, staple: through(promised, ocsp.Good, &signer{promised[0], ecKey()}), want: WhyRevoked},
		{name: "a staple that a responder signed after its time", sent: promised, staple: through(promised, ocsp.Good, responder(x509.ExtKeyUsageOCSPSigning, -1)), want: WhyRevoked},
		{name: "a staple promised, and of today", sent: promised, staple: endless(promised, term.Add(-time.Hour))},
		{name: "a staple promised, without an end and old", sent: promised, staple: endless(promised, term.AddDate(0, -1, 0)), want: WhyRevoked},
		{name: "a staple for another certificate", sent: promised, staple: word(good, ca, ocsp.Good, term.AddDate(0, 0, -1)), want: WhyRevoked},
	}
}

func permits(domain string) func(*x509.Certificate) {
	return func(c *x509.Certificate) {
		c.PermittedDNSDomains, c.PermittedDNSDomainsCritical = []string{domain}, true
	}
}

func extension(id asn1.ObjectIdentifier, critical bool, value []byte) func(*x509.Certificate) {
	return func(c *x509.Certificate) {
		c.ExtraExtensions = append(c.ExtraExtensions, pkix.Extension{Id: id, Critical: critical, Value: value})
	}
}

// rawNames puts names into the extension that Go itself would not write.
func rawNames(name string) func(*x509.Certificate) {
	return func(c *x509.Certificate) {
		c.DNSNames = nil
		value := must(asn1.Marshal([]asn1.RawValue{{Tag: 2, Class: 2, Bytes: []byte(name)}}))
		c.ExtraExtensions = []pkix.Extension{{Id: asn1.ObjectIdentifier{2, 5, 29, 17}, Value: value}}
	}
}

// directoryConstraint permits one directory name, which no browser can compare
// with a host.
func directoryConstraint() []byte {
	name := must(asn1.Marshal(pkix.Name{Organization: []string{"School"}}.ToRDNSequence()))
	general := asn1.RawValue{Class: 2, Tag: 4, IsCompound: true, Bytes: name}
	subtree := must(asn1.Marshal(struct{ Base asn1.RawValue }{general}))
	permitted := asn1.RawValue{Class: 2, Tag: 0, IsCompound: true, Bytes: subtree}
	return must(asn1.Marshal(struct{ Permitted asn1.RawValue }{permitted}))
}

func selfSigned(t *testing.T) *x509.Certificate {
	c := siteTemplate(nil)
	return signed(t, c, &signer{c, ecKey()}, ecKey().Public())
}

// broken is a certificate with a signature that does not fit.
func broken(t *testing.T, c *x509.Certificate) *x509.Certificate {
	der := bytes.Clone(c.Raw)
	der[bytes.Index(der, []byte("www.example.test"))] = 'v' // in the subject, which no check compares
	got, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return got
}

var (
	oidSHA1RSA = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 5}
	oidMD5RSA  = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 4}
	oidSHA1EC  = asn1.ObjectIdentifier{1, 2, 840, 10045, 4, 1}
	oidDSA     = asn1.ObjectIdentifier{1, 2, 840, 10040, 4, 3}
)

// resigned is a certificate that says it was signed in another way. The
// signature is none: the way alone must be refused.
func resigned(t *testing.T, c *x509.Certificate, how asn1.ObjectIdentifier) *x509.Certificate {
	t.Helper()
	was := must(asn1.Marshal(pkix.AlgorithmIdentifier{Algorithm: asn1.ObjectIdentifier{1, 2, 840, 10045, 4, 3, 2}}))
	is := must(asn1.Marshal(pkix.AlgorithmIdentifier{Algorithm: how}))
	var outer struct {
		TBS asn1.RawValue
		Alg pkix.AlgorithmIdentifier
		Sig asn1.BitString
	}
	if _, err := asn1.Unmarshal(c.Raw, &outer); err != nil {
		t.Fatal(err)
	}
	body := bytes.Replace(outer.TBS.Bytes, was, is, 1)
	outer.TBS = asn1.RawValue{Tag: asn1.TagSequence, IsCompound: true, Bytes: body}
	outer.Alg = pkix.AlgorithmIdentifier{Algorithm: how}
	sum := sha1.Sum(body)
	outer.Sig = asn1.BitString{Bytes: sum[:], BitLength: 160}
	got, err := x509.ParseCertificate(must(asn1.Marshal(outer)))
	if err != nil {
		t.Fatal(err)
	}
	return got
}

// TestParseChain refuses what Go's reader refuses, in our word.
func TestParseChain(t *testing.T) {
	root := caOf(t, "Root", nil, nil)
	site := siteOf(t, root, nil)
	text := func(der []byte) []byte { return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}) }
	twice := siteTemplate(extension(asn1.ObjectIdentifier{2, 5, 29, 15}, true, []byte{3, 2, 7, 0x80}))
	twice.ExtraExtensions = append(twice.ExtraExtensions, twice.ExtraExtensions[0])
	twiceDER := must(x509.CreateCertificate(rand.Reader, twice, root.cert, ecKey().Public(), root.key))
	negative := bytes.Replace(site.Raw, []byte{2, 2, site.SerialNumber.Bytes()[0]}, []byte{2, 2, 0x80 | site.SerialNumber.Bytes()[0]}, 1)
	for _, c := range []struct {
		name string
		text []byte
		want string
	}{
		{"one", text(site.Raw), ""},
		{"with other blocks", append([]byte("# notes\n-----BEGIN X-----\n-----END X-----\n"), text(site.Raw)...), ""},
		{"nothing", nil, WhyMalformed},
		{"no certificate", []byte("-----BEGIN PRIVATE KEY-----\n-----END PRIVATE KEY-----\n"), WhyMalformed},
		{"cut short", text(site.Raw[:100]), WhyMalformed},
		{"more behind it", text(append(bytes.Clone(site.Raw), 0)), WhyMalformed},
		{"an extension twice", text(twiceDER), WhyMalformed},
		{"a negative serial number", text(negative), WhyMalformed},
		{"a hundred", bytes.Repeat(text(site.Raw), 100), WhyMalformed},
	} {
		t.Run(c.name, func(t *testing.T) {
			if _, err := ParseChain(c.text); whyOf(err) != c.want {
				t.Errorf("ParseChain = %v, want %q", err, c.want)
			}
		})
	}
}

// TestPublicLife: without roots of its own the verifier holds certificates to
// the life that public authorities may give.
func TestPublicLife(t *testing.T) {
	root := caOf(t, "Root", nil, nil)
	site := siteOf(t, root, func(c *x509.Certificate) { c.NotAfter = c.NotBefore.AddDate(2, 0, 0) })
	chain := []*x509.Certificate{site, root.cert}
	if err := (&Verifier{}).checkChain(chain, term, nil); whyOf(err) != WhyLife {
		t.Errorf("public: %v, want %s", err, WhyLife)
	}
	if err := (&Verifier{Roots: x509.NewCertPool()}).checkChain(chain, term, nil); err != nil {
		t.Errorf("the school's own roots: %v", err)
	}
}
