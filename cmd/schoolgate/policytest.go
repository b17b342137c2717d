package main

import (
	"fmt"
	"os"
	"time"

	"schoolgate/appliance"
	"schoolgate/configs"
)

type policyCmd struct {
	Test policyTestCmd `cmd:"" help:"Run policy cases written in the operator's words."`
}

type policyTestCmd struct {
	configFlag
	Store string   `help:"Category store asked where a file fakes no categories." placeholder:"FILE"`
	Files []string `arg:"" name:"FILE" help:"Files of policy cases."`
}

// Run runs every file and says each case that did not come out as written.
func (c *policyTestCmd) Run(s *session) error {
	cfg, err := c.load(s)
	if err != nil {
		return err
	}
	snapshot, done, err := appliance.OpenSnapshot(s.ctx, cfg, c.Store)
	if err != nil {
		return err
	}
	defer done()
	options := configs.CaseOptions{
		Config: c.path(), Identify: appliance.Identify, Lists: snapshot.Lists, Now: time.Now(),
	}
	var ran, failed int
	for _, name := range c.Files {
		n, f, err := c.file(s, name, options)
		if err != nil {
			return err
		}
		ran, failed = ran+n, failed+f
	}
	fmt.Fprintf(s.stdout, "%d passed, %d failed\n", ran-failed, failed)
	if failed > 0 {
		return errProblem
	}
	return nil
}

func (c *policyTestCmd) file(s *session, name string, o configs.CaseOptions) (ran, failed int, err error) {
	f, err := os.Open(name)
	if err != nil {
		return 0, 0, err
	}
	defer f.Close()
	failures, ran, err := configs.RunCases(f, name, o)
	for _, failure := range failures {
		fmt.Fprintln(s.stdout, failure)
	}
	return ran, len(failures), err
}
