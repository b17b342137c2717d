package main

import (
	"crypto/x509"
	"fmt"
	"os"
	"time"

	"schoolgate/policy"
	"schoolgate/proxy/inspect"
)

type tlsVerifyCmd struct {
	Chain  string `arg:"" help:"Certificates in PEM as the origin sends them, its own first."`
	Roots  string `help:"Trusted authorities in PEM (default: the system's, held to the rules of the public web)." placeholder:"FILE"`
	Name   string `help:"The host that was asked for." required:"" placeholder:"HOST"`
	Time   string `help:"Decide as at this moment, e.g. 2026-03-03T10:15:00Z (default: now)." placeholder:"T"`
	Staple string `help:"A stapled OCSP response, as the origin would send it (DER)." placeholder:"FILE"`
}

// Run prints what the door would decide on an origin's certificates, and why.
func (c *tlsVerifyCmd) Run(s *session) error {
	at, err := moment(c.Time)
	if err != nil {
		return err
	}
	v := inspect.Verifier{}
	if c.Roots != "" {
		if v.Roots, err = readRoots(c.Roots); err != nil {
			return err
		}
	}
	text, err := os.ReadFile(c.Chain)
	if err != nil {
		return err
	}
	var staple []byte
	if c.Staple != "" {
		if staple, err = os.ReadFile(c.Staple); err != nil {
			return err
		}
	}
	chain, err := verify(&v, text, c.Name, at, staple)
	if err != nil {
		fmt.Fprintf(s.stdout, "refuse %v\n", err)
		return errProblem
	}
	fmt.Fprintf(s.stdout, "accept %s\n", c.Name)
	for _, cert := range chain {
		fmt.Fprintf(s.stdout, "  %s (until %s)\n", cert.Subject, cert.NotAfter.UTC().Format(time.DateOnly))
	}
	return nil
}

func verify(v *inspect.Verifier, text []byte, name string, at time.Time, staple []byte) ([]*x509.Certificate, error) {
	sent, err := inspect.ParseChain(text)
	if err != nil {
		return nil, err
	}
	host, err := policy.ParseHost(name)
	if err != nil {
		return nil, &inspect.Refused{Why: inspect.WhyName, Detail: err.Error()}
	}
	return v.Verify(sent, host, at, staple)
}

func readRoots(path string) (*x509.CertPool, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	roots, err := inspect.Roots(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return roots, nil
}

// moment reads a time as people write it.
func moment(text string) (time.Time, error) {
	if text == "" {
		return time.Now(), nil
	}
	for _, layout := range []string{time.RFC3339, "2006-01-02T15:04:05", "2006-01-02 15:04:05", "2006-01-02T15:04", time.DateOnly} {
		if t, err := time.Parse(layout, text); err == nil {
			return t, nil
		}
	}
	return time.Time{}, fmt.Errorf("bad time %q: want one such as 2026-03-03T10:15:00Z", text)
}
