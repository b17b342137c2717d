package main

import (
	"fmt"
	"io"
	"os"

	"schoolgate/policy"
	"schoolgate/proxy/pagescan"
)

type diagCmd struct {
	Mailbox   mailboxCmd   `cmd:"" help:"Receive mail on loopback and print it, to see alerts without a mail server."`
	CanonHost canonHostCmd `cmd:"" help:"Print the host that the policy judges, or why the input is refused."`
	Page      pageCmd      `cmd:"" help:"Show what a page scores, by theme and phrase, as the https door reads it."`
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

type pageCmd struct {
	File string `arg:"" type:"existingfile" help:"A page, saved as HTML."`
	Type string `help:"Its Content-Type." default:"text/html"`
}

// Run prints the scores of a page.
func (c *pageCmd) Run(s *session) error {
	set, err := pagescan.Shipped()
	if err != nil {
		return err
	}
	f, err := os.Open(c.File)
	if err != nil {
		return err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, pagescan.MaxPage))
	if err != nil {
		return err
	}
	page := set.Read(text, c.Type, "")
	for _, score := range page.Scores() {
		if len(score.Met) == 0 {
			continue
		}
		few := ""
		if !score.Grounded {
			few = " (too few phrases to go by)"
		}
		fmt.Fprintf(s.stdout, "%s %d%s\n", score.Theme, score.Score, few)
		for _, m := range score.Met {
			fmt.Fprintf(s.stdout, "  %+d x%d %s\n", m.Weight, m.Times, m.Phrase)
		}
	}
	_, err = fmt.Fprintln(s.stdout, "A profile closes the page where a score reaches its scan, and it blocks the theme.")
	return err
}
