package main

import (
	"fmt"

	"schoolgate/policy"
)

type diagCmd struct {
	Mailbox   mailboxCmd   `cmd:"" help:"Receive mail on loopback and print it, to see alerts without a mail server."`
	CanonHost canonHostCmd `cmd:"" help:"Print the host that the policy judges, or why the input is refused."`
	TLSVerify tlsVerifyCmd `cmd:"" name:"tls-verify" help:"Say what the https door decides on an origin's certificates, and why."`
}

type canonHostCmd struct {
	URL string `arg:"" help:"A host or URL as a pupil might write it."`
}

// Run prints the canonical host of an input.
func (c *canonHostCmd) Run(s *session) error {
	u, err := policy.ParseURL(c.URL)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(s.stdout, u.Host)
	return err
}
