package inspect

import (
	"bytes"
	"crypto/dsa" //lint:ignore SA1019 only to name and refuse such a key
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/x509"
	"encoding/asn1"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"time"

	"golang.org/x/net/publicsuffix"

	"schoolgate/policy"
)

// Why a certificate is refused, as a word for figures and records.
const (
	WhyMalformed  = "malformed"
	WhyExpired    = "expired"
	WhyNotYet     = "not_yet_valid"
	WhyName       = "wrong_name"
	WhyUntrusted  = "untrusted"
	WhySignature  = "weak_signature"
	WhyKey        = "weak_key"
	WhyUse        = "wrong_use"
	WhyAuthority  = "not_an_authority"
	WhyConstraint = "constraint"
	WhyCritical   = "unknown_critical"
	WhyRevoked    = "revoked"
	WhyLife       = "too_long_a_life"
	WhyTLS        = "tls" // for a door: the handshake itself was refused
)

// Refused says why an origin's certificates are not believed. Its text is for
// IT; a pupil never sees it.
type Refused struct {
	Why    string
	Detail string
}

func (r *Refused) Error() string { return r.Why + ": " + r.Detail }

func refused(why, format string, args ...any) *Refused {
	return &Refused{Why: why, Detail: fmt.Sprintf(format, args...)}
}

// Verifier decides whether an origin is who it says, and is never easier to
// please than a browser (T8): the chain, the name, the dates, key sizes, the
// hashes, what each certificate may be used for, constraints on names, and a
// staple of the authority if the origin brought one. What it cannot do, as a
// browser on the device could: look for a revocation that was not stapled, and
// ask for proof of Certificate Transparency.
type Verifier struct {
	Roots *x509.CertPool // nil: those of the system, held to the rules of the public web
}

// minRSA is the shortest RSA key believed, in bits.
const minRSA = 2048

// publicLife is the longest life of a certificate of a public authority, and
// since when (CA/Browser Forum, held to by Apple, Google and Mozilla).
const publicLife = 398 * 24 * time.Hour

var publicLifeFrom = time.Date(2020, 9, 1, 0, 0, 0, 0, time.UTC)

// Verify decides on a chain as an origin sent it, its own certificate first. It
// returns the chain that was believed, or an error that is a *Refused.
func (v *Verifier) Verify(sent []*x509.Certificate, host policy.Host, at time.Time, staple []byte) ([]*x509.Certificate, error) {
	if len(sent) == 0 {
		return nil, refused(WhyMalformed, "no certificate")
	}
	own := sent[0]
	if err := checkOwn(own, host); err != nil {
		return nil, err
	}
	between := x509.NewCertPool()
	for _, c := range sent[1:] {
		between.AddCert(c)
	}
	chains, err := own.Verify(x509.VerifyOptions{
		Roots: v.Roots, Intermediates: between, CurrentTime: at,
		KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	})
	if err != nil {
		return nil, explain(err, sent, at)
	}
	first := error(nil)
	for _, chain := range chains {
		err := v.checkChain(chain, at, staple)
		if err == nil {
			return chain, nil
		}
		if first == nil {
			first = err
		}
	}
	return nil, first
}

// checkOwn looks at what of the origin's own certificate needs no chain.
func checkOwn(c *x509.Certificate, host policy.Host) error {
	if c.IsCA {
		return refused(WhyUse, "it is an authority's certificate and not a site's")
	}
	if c.KeyUsage != 0 && c.KeyUsage&x509.KeyUsageDigitalSignature == 0 {
		return refused(WhyUse, "its key may not sign a handshake")
	}
	if !slices.Contains(c.ExtKeyUsage, x509.ExtKeyUsageServerAuth) {
		return refused(WhyUse, "it is not for a web server")
	}
	return checkName(c, host)
}

// checkName wants the host among the names; the common name has no say, and one
// star stands for one label below a domain that somebody can own.
func checkName(c *x509.Certificate, host policy.Host) error {
	if host.IsZero() {
		return refused(WhyName, "there is no host to compare it with")
	}
	if a, ok := host.Addr(); ok {
		for _, ip := range c.IPAddresses {
			if ip.Equal(net.IP(a.AsSlice())) {
				return nil
			}
		}
		return refused(WhyName, "it is for %s and not for the address %s", namesOf(c), host)
	}
	for _, pattern := range c.DNSNames {
		if covers(pattern, host.String()) {
			return nil
		}
	}
	return refused(WhyName, "it is for %s and not for %s", namesOf(c), host)
}

// covers compares whole labels, ASCII letters without regard to case.
func covers(pattern, host string) bool {
	pattern = strings.ToLower(pattern)
	domain, wild := strings.CutPrefix(pattern, "*.")
	if !wild {
		return pattern == host
	}
	first, rest, ok := strings.Cut(host, ".")
	if !ok || first == "" || rest != domain || strings.Contains(domain, "*") {
		return false
	}
	suffix, _ := publicsuffix.PublicSuffix(domain)
	return suffix != domain // *.co.uk is for nobody to have
}

func namesOf(c *x509.Certificate) string {
	const some = 3
	var list []string
	for _, n := range c.DNSNames {
		list = append(list, fmt.Sprintf("%q", clip(n, 80)))
	}
	for _, ip := range c.IPAddresses {
		list = append(list, ip.String())
	}
	switch {
	case len(list) == 0:
		return "no host (its common name does not count)"
	case len(list) > some:
		return strings.Join(list[:some], ", ") + fmt.Sprintf(" and %d more", len(list)-some)
	}
	return strings.Join(list, ", ")
}

// checkChain looks at what Go's own verification lets pass.
func (v *Verifier) checkChain(chain []*x509.Certificate, at time.Time, staple []byte) error {
	for i, c := range chain {
		if err := checkKey(c); err != nil {
			return err
		}
		if i == len(chain)-1 && i > 0 {
			continue // a root is believed for itself, whatever it says
		}
		if err := checkForm(c); err != nil {
			return err
		}
	}
	own := chain[0]
	if life := own.NotAfter.Sub(own.NotBefore); v.Roots == nil && life > publicLife && own.NotBefore.After(publicLifeFrom) {
		return refused(WhyLife, "it is good for %d days; public authorities may give 398", int(life.Hours()/24))
	}
	return checkStaple(chain, at, staple)
}

// checkForm refuses what no authority may issue and every reader reads in its
// own way.
func checkForm(c *x509.Certificate) error {
	switch {
	case c.Version != 3:
		return refused(WhyMalformed, "%s: version %d cannot say what it is for", nameOf(c), c.Version)
	case c.SerialNumber.Sign() <= 0 || len(c.SerialNumber.Bytes()) > 20:
		return refused(WhyMalformed, "%s: its serial number is none (1 to 20 bytes, positive)", nameOf(c))
	case c.IsCA && bytes.Equal(c.RawSubject, emptyName), bytes.Equal(c.RawIssuer, emptyName):
		return refused(WhyMalformed, "%s: an authority without a name", nameOf(c))
	case weak(c.SignatureAlgorithm):
		return refused(WhySignature, "%s is signed with %s", nameOf(c), c.SignatureAlgorithm)
	}
	return nil
}

var emptyName = []byte{0x30, 0x00}

func weak(a x509.SignatureAlgorithm) bool {
	switch a {
	case x509.UnknownSignatureAlgorithm, x509.MD2WithRSA, x509.MD5WithRSA, x509.SHA1WithRSA,
		x509.DSAWithSHA1, x509.DSAWithSHA256, x509.ECDSAWithSHA1:
		return true
	}
	return false
}

func checkKey(c *x509.Certificate) error {
	switch key := c.PublicKey.(type) {
	case *rsa.PublicKey:
		if bits := key.N.BitLen(); bits < minRSA {
			return refused(WhyKey, "%s has an RSA key of %d bits, at least %d are believed", nameOf(c), bits, minRSA)
		}
		if key.E < 3 || key.E%2 == 0 {
			return refused(WhyKey, "%s has an RSA key with the exponent %d", nameOf(c), key.E)
		}
	case *ecdsa.PublicKey:
		if key.Curve == elliptic.P224() {
			return refused(WhyKey, "%s has a key on the curve P-224", nameOf(c))
		}
	case *dsa.PublicKey:
		return refused(WhyKey, "%s has a DSA key", nameOf(c))
	case nil:
		return refused(WhyKey, "%s has a key of an unknown kind", nameOf(c))
	}
	return nil
}

func nameOf(c *x509.Certificate) string {
	if c.Subject.CommonName != "" {
		return fmt.Sprintf("%q", clip(c.Subject.CommonName, 80))
	}
	return fmt.Sprintf("%q", clip(c.Subject.String(), 80))
}

// explain turns Go's reason into ours. A hash that nobody believes shows there
// as an unknown authority, so what was sent is looked at first.
func explain(err error, sent []*x509.Certificate, at time.Time) error {
	var invalid x509.CertificateInvalidError
	var critical x509.UnhandledCriticalExtension
	for _, c := range sent {
		if bad := checkKey(c); bad != nil {
			return bad
		}
		if weak(c.SignatureAlgorithm) && !bytes.Equal(c.RawIssuer, c.RawSubject) {
			return refused(WhySignature, "%s is signed with %s", nameOf(c), c.SignatureAlgorithm)
		}
	}
	switch {
	case errors.As(err, &critical):
		return refused(WhyCritical, "it says something critical that is not understood: %v", err)
	case errors.As(err, &invalid):
		return explainInvalid(invalid, at)
	}
	for _, c := range sent[1:] { // one that signs without being allowed to
		if !c.BasicConstraintsValid || !c.IsCA {
			return refused(WhyAuthority, "%s is no authority and cannot sign for others", nameOf(c))
		}
	}
	return refused(WhyUntrusted, "no trusted authority stands behind it: %v", err)
}

func explainInvalid(invalid x509.CertificateInvalidError, at time.Time) error {
	c := invalid.Cert
	switch invalid.Reason {
	case x509.Expired:
		if at.Before(c.NotBefore) {
			return refused(WhyNotYet, "%s is good from %s", nameOf(c), c.NotBefore.UTC().Format(time.RFC3339))
		}
		return refused(WhyExpired, "%s was good until %s", nameOf(c), c.NotAfter.UTC().Format(time.RFC3339))
	case x509.NotAuthorizedToSign, x509.TooManyIntermediates:
		return refused(WhyAuthority, "%s: %v", nameOf(c), invalid)
	case x509.IncompatibleUsage:
		return refused(WhyUse, "not every authority above it may sign for web servers")
	case x509.CANotAuthorizedForThisName, x509.TooManyConstraints, x509.UnconstrainedName, x509.NameConstraintsWithoutSANs:
		return refused(WhyConstraint, "%s: %v", nameOf(c), invalid)
	}
	return refused(WhyUntrusted, "%v", invalid)
}

// mustStaple is the TLS feature extension (RFC 7633): the origin promised a
// staple.
var mustStaple = asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 1, 24}

// ParseChain reads certificates in PEM, the origin's own first.
func ParseChain(text []byte) ([]*x509.Certificate, error) {
	var chain []*x509.Certificate
	for {
		block, rest := pem.Decode(text)
		if block == nil {
			break
		}
		text = rest
		if block.Type != "CERTIFICATE" {
			continue
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, refused(WhyMalformed, "certificate %d: %v", len(chain)+1, err)
		}
		if chain = append(chain, c); len(chain) > maxSent {
			return nil, refused(WhyMalformed, "more than %d certificates", maxSent)
		}
	}
	if len(chain) == 0 {
		return nil, refused(WhyMalformed, "no certificate in PEM")
	}
	return chain, nil
}

// maxSent is how many certificates one origin may send.
const maxSent = 16

// Roots reads trusted authorities in PEM.
func Roots(text []byte) (*x509.CertPool, error) {
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(text) {
		return nil, errors.New("no certificate in PEM")
	}
	return pool, nil
}
