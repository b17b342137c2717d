package origins

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"time"

	"schoolgate/policy"
	"schoolgate/proxy/inspect"
)

// dialTLS is the transport's dialler for what is inside: the route that was
// checked for the request, then TLS to the very host that was decided.
func (o *Transport) dialTLS(ctx context.Context, network, addr string) (net.Conn, error) {
	raw, err := o.dialRoute(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	return o.Secure(ctx, raw, "h2", "http/1.1")
}

// Secure begins TLS with an origin and believes it as a browser would (T8). On
// an error the connection is closed.
func (o *Transport) Secure(ctx context.Context, raw net.Conn, protocols ...string) (net.Conn, error) {
	r, ok := o.config.Route(ctx)
	if !ok || r.Name.IsZero() || o.config.Verifier == nil {
		raw.Close()
		return nil, ErrNoRoute
	}
	v := o.config.Verifier
	c := tls.Client(raw, &tls.Config{
		MinVersion: tls.VersionTLS12, ServerName: r.Name.String(), RootCAs: v.Roots, NextProtos: protocols,
		ClientSessionCache: o.sessions,
		VerifyConnection: func(cs tls.ConnectionState) error {
			_, err := v.Verify(cs.PeerCertificates, r.Name, time.Now(), cs.OCSPResponse)
			return err
		},
	})
	ctx, cancel := context.WithTimeout(ctx, o.config.Limits.Hello)
	defer cancel()
	if err := c.HandshakeContext(ctx); err != nil {
		raw.Close()
		return nil, o.notTrusted(v, r.Name, err)
	}
	return c, nil
}

// notTrusted says in our words what is wrong with an origin's certificates; the
// error stays as it is where that is not the trouble.
func (o *Transport) notTrusted(v *inspect.Verifier, name policy.Host, err error) error {
	var chain *tls.CertificateVerificationError
	var refused *inspect.Refused
	var op *net.OpError
	switch {
	case errors.As(err, &refused):
	case errors.As(err, &chain):
		_, why := v.Verify(chain.UnverifiedCertificates, name, time.Now(), nil)
		if !errors.As(why, &refused) { // Go refused what we would not have
			refused = &inspect.Refused{Why: inspect.WhyUntrusted, Detail: chain.Error()}
		}
	case errors.As(err, new(x509.SystemRootsError)):
		refused = &inspect.Refused{Why: inspect.WhyUntrusted, Detail: err.Error()}
	case errors.As(err, &op) && op.Op != "remote error", errors.Is(err, context.DeadlineExceeded):
		return err // the network, not the origin
	default:
		refused = &inspect.Refused{Why: inspect.WhyTLS, Detail: err.Error()}
	}
	o.config.Distrusted(refused.Why)
	return refused
}
