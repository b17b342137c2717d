package inspect

import (
	"crypto/x509"
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
	word, err := readStaple(chain, staple)
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
	case at.Before(word.ThisUpdate) || !word.NextUpdate.IsZero() && at.After(word.NextUpdate):
		return refused(WhyRevoked, "it must come with fresh word of its authority, and that is from %s", word.ThisUpdate.UTC().Format(time.DateOnly))
	}
	return nil
}

// readStaple reads a staple that the authority of the certificate signed; nil
// where there is none.
func readStaple(chain []*x509.Certificate, staple []byte) (*ocsp.Response, error) {
	if len(staple) == 0 || len(chain) < 2 {
		return nil, nil
	}
	return ocsp.ParseResponseForCert(staple, chain[0], chain[1])
}
