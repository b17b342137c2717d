// Command schoolgate is a school's internet filter on one box: it decides DNS
// questions and web requests by who asks, records each, and tells the designated
// safeguarding lead what a person must hear.
package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/alecthomas/kong"
)

// version is set by the build.
var version = "unknown"

// Exit codes: 0 done, 1 the answer is bad news (a problem found, a case failed)
// or there is none, 2 the command line itself is wrong.
const (
	exitProblem = 1
	exitUsage   = 2
)

// cli is the whole command line; each command is a struct with a Run method.
type cli struct {
	Serve    serveCmd    `cmd:"" help:"Start the appliance; without --config, the sample school on loopback."`
	Check    checkCmd    `cmd:"" help:"Say what would happen to a host or URL, by the code the doors use."`
	Reload   reloadCmd   `cmd:"" help:"Check the configuration, then have the running appliance take it up."`
	Policy   policyCmd   `cmd:"" help:"Test a policy."`
	Lists    listsCmd    `cmd:"" help:"Build category stores and look into them."`
	Audit    auditCmd    `cmd:"" help:"Search, verify and export the audit journal."`
	Alerts   alertsCmd   `cmd:"" help:"Alerts to the safeguarding lead."`
	CA       caCmd       `cmd:"" name:"ca" help:"The school's certificate authority, for looking into https."`
	People   peopleCmd   `cmd:"" help:"Who may sign in at the proxy."`
	Terms    termsCmd    `cmd:"" help:"The phrases that searches are listened to for."`
	Diag     diagCmd     `cmd:"" help:"Show how the filter reads an input."`
	Firewall firewallCmd `cmd:"" help:"The rules of the gateway: nothing goes round the doors."`
	Version  versionCmd  `cmd:"" help:"Print the version."`

	Incidents  incidentsCmd  `cmd:"" help:"The register of breaches and incidents: what happened, what must be done, what was done."`
	Quarantine quarantineCmd `cmd:"" help:"Cut devices off while an incident is looked into."`
	Block      blockCmd      `cmd:"" help:"Close a host or page for everyone, at once (emergency block)."`
	Unblock    unblockCmd    `cmd:"" help:"Open a host or page again that was closed in an emergency; takes two people."`

	ShowVersion kong.VersionFlag `name:"version" help:"Print the version and end."`
}

// session is what every command gets: its streams and its configuration file.
type session struct {
	ctx    context.Context
	stdin  io.Reader
	lines  *bufio.Reader // of stdin, once something reads it by lines
	stdout io.Writer
	stderr io.Writer
}

// errProblem ends a command with exit code 1. Bare, after it has said itself what
// is wrong; wrapped, with a last word on it.
var errProblem = errors.New("problems found")

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// run carries out one command line and gives its exit code.
func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	var c cli
	exited := -1
	parser, err := kong.New(&c,
		kong.Name("schoolgate"),
		kong.Description("A school's internet filter on one box."),
		kong.UsageOnError(),
		kong.Writers(stdout, stderr),
		kong.Exit(func(code int) { exited = code }),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true}),
		kong.Vars{"system_config": systemConfig, "version": "schoolgate " + version},
	)
	if err != nil {
		fmt.Fprintln(stderr, "schoolgate:", err)
		return exitUsage
	}
	kctx, err := parser.Parse(args)
	if exited >= 0 { // --help printed and asked to exit
		return exited
	}
	if err != nil {
		fmt.Fprintln(stderr, "schoolgate:", err)
		return exitUsage
	}
	err = kctx.Run(&session{ctx: ctx, stdin: stdin, stdout: stdout, stderr: stderr})
	if err == nil {
		return 0
	}
	if err.Error() != errProblem.Error() { // bare, the command has said all there is to say; kong wraps it
		fmt.Fprintln(stderr, "schoolgate:", err)
	}
	return exitProblem
}

type versionCmd struct{}

// Run prints the version.
func (versionCmd) Run(s *session) error {
	_, err := fmt.Fprintln(s.stdout, "schoolgate", version)
	return err
}
