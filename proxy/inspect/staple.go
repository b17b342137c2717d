package inspect

import (
	"crypto/x509"
	"errors"
	"slices"
	"time"

	"golang.org/x/crypto/ocsp"
)

// checkStaple heeds what the authority said of the certificate, where the origin
// brought it: revoked stays revoked however old the word is. Where the
// certificate promises a staple, one that is fresh and good must be there.
func checkStaple(chain []*x509.Certificate, at time.Time, staple []byte) error {
	promised := false
	for _, e := range chain[0].Extensions {
		promised = promised || e.Id.Equal(mustStaple)
	}
	word, err := readStaple(chain, at, staple)
	switch {
	case err == nil && word != nil && word.Status == ocsp.Revoked:
		return refused(WhyRevoked, "its authority took it back on %s", word.RevokedAt.UTC().Format(time.DateOnly))
	case err == nil && word != nil && word.Status == ocsp.Unknown:
		return refused(WhyRevoked, "its authority does not know it")
	case !promised:
		return nil
	case err != nil:
		return refused(WhyRevoked, "it must come with word of its authority, which cannot be read: %v", err)
	case word == nil:
		return refused(WhyRevoked, "it must come with word of its authority, and came without")
	case at.Before(word.ThisUpdate) || at.After(freshUntil(word)):
		return refused(WhyRevoked, "it must come with fresh word of its authority, and that is from %s", word.ThisUpdate.UTC().Format(time.DateOnly))
	}
	return nil
}

// freshUntil is until when a staple is word of today. One that does not say, since newer
// word is always to be had, is for the day, as Firefox takes it.
func freshUntil(word *ocsp.Response) time.Time {
	if word.NextUpdate.IsZero() {
		return word.ThisUpdate.AddDate(0, 0, 1)
	}
	return word.NextUpdate
}

// readStaple reads a staple that the authority of the certificate signed, or a responder
// of its; nil where there is none.
func readStaple(chain []*x509.Certificate, at time.Time, staple []byte) (*ocsp.Response, error) {
	if len(staple) == 0 || len(chain) < 2 {
		return nil, nil
	}
	word, err := ocsp.ParseResponseForCert(staple, chain[0], chain[1])
	if err != nil {
		return nil, err
	}
	if c := word.Certificate; c != nil && !c.Equal(chain[1]) && !responder(c, at) {
		return nil, errors.New("its signer is no responder of the authority")
	}
	return word, nil
}

// responder reports whether an authority lets the holder of a certificate of its speak for
// it on revocations (RFC 6960 section 4.2.2.2). That it is of the authority, ocsp has seen;
// any site of it would do for that, and so would the revoked one itself.
func responder(c *x509.Certificate, at time.Time) bool {
	return slices.Contains(c.ExtKeyUsage, x509.ExtKeyUsageOCSPSigning) && !at.Before(c.NotBefore) && !at.After(c.NotAfter)
}
