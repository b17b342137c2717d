package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"text/tabwriter"
	"time"

	"schoolgate/appliance"
	"schoolgate/configs"
	"schoolgate/proxy/inspect"
)

type caCmd struct {
	Init       caInitCmd       `cmd:"" help:"Make the school's certificate authority, on this box and for it alone."`
	Show       caShowCmd       `cmd:"" help:"Show the authorities, their fingerprints and which one signs."`
	Export     caExportCmd     `cmd:"" help:"Write what devices are given: certificates, Apple profiles and a page of steps. Never a key."`
	Untrusting caUntrustingCmd `cmd:"" help:"Show which devices do not trust the school's certificate, so that IT can give it to them, and which sites' apps refuse it."`
	Rotate     caRotateCmd     `cmd:"" help:"Make the next authority; the old one goes on signing for the overlap."`
}

// caDir is where the authorities of a box lie.
func caDir(box configs.Box) string { return filepath.Join(box.Data, "ca") }

type caInitCmd struct {
	configFlag
	Exclude []string `help:"A domain that devices are told never to believe this authority for, e.g. gov.uk. May be given again." placeholder:"DOMAIN"`
}

// Run makes the first authority.
func (c *caInitCmd) Run(s *session) error {
	cfg, err := c.load(s)
	if err != nil {
		return err
	}
	a, err := inspect.Create(caDir(cfg.Box), inspect.New{School: cfg.School.Name, Exclude: c.Exclude, Now: time.Now()})
	if err != nil {
		return err
	}
	fmt.Fprintf(s.stdout, "Made %s\nSHA-256 %s\nThe key is in %s and goes nowhere else; leave it out of backups that are not encrypted.\n",
		a.Certificate.Subject.CommonName, a.Fingerprint(), caDir(cfg.Box))
	_, err = fmt.Fprintln(s.stdout, "Next: schoolgate ca export, give the certificate to school devices, then inspect: {enabled: yes}")
	return err
}

type caShowCmd struct{ configFlag }

// Run lists the authorities.
func (c *caShowCmd) Run(s *session) error {
	_, all, err := c.authorities(s)
	if err != nil {
		return err
	}
	signer, signerErr := inspect.Signer(all, time.Now())
	w := tabwriter.NewWriter(s.stdout, 0, 0, 2, ' ', 0)
	for _, a := range all {
		state := "waits until " + a.SignsFrom.Format(time.DateOnly)
		switch {
		case a == signer:
			state = "signs"
		case time.Now().After(a.Certificate.NotAfter):
			state = "has expired; remove it from devices"
		case time.Now().After(a.SignsFrom):
			state = "is replaced; remove it from devices"
		}
		fmt.Fprintf(w, "%s\t%s\tuntil %s\t%s\n", a.Certificate.Subject.CommonName, state, a.Certificate.NotAfter.Format(time.DateOnly), a.Fingerprint())
	}
	return errors.Join(w.Flush(), signerErr)
}

func (c *configFlag) authorities(s *session) (*configs.Config, []*inspect.Authority, error) {
	cfg, err := c.load(s)
	if err != nil {
		return nil, nil, err
	}
	all, err := inspect.LoadCredential(os.Getenv("CREDENTIALS_DIRECTORY"))
	if errors.Is(err, inspect.ErrNoAuthority) {
		all, err = inspect.Load(caDir(cfg.Box))
	}
	return cfg, all, err
}

type caExportCmd struct {
	configFlag
	Out string `help:"The folder to write to." default:"school-ca" placeholder:"DIR"`
}

// Run writes the files for devices.
func (c *caExportCmd) Run(s *session) error {
	_, all, err := c.authorities(s)
	if err != nil {
		return err
	}
	files, err := inspect.Export(all, c.Out)
	if err != nil {
		return err
	}
	for _, f := range files {
		fmt.Fprintln(s.stdout, filepath.Join(c.Out, f))
	}
	return nil
}

type caRotateCmd struct {
	configFlag
	Now     bool     `help:"The new authority signs at once: for a key that others may know. Devices without it see errors until they have it."`
	Again   bool     `help:"Make another though one is waiting to sign: devices that have only earlier ones will see errors until they have this one too."`
	Exclude []string `help:"As for init, and besides what the last one excludes." placeholder:"DOMAIN"`
}

// Run makes the next authority.
func (c *caRotateCmd) Run(s *session) error {
	cfg, err := c.load(s)
	if err != nil {
		return err
	}
	overlap := inspect.Overlap
	if c.Now {
		overlap = 0
	}
	a, err := inspect.Rotate(caDir(cfg.Box), inspect.New{School: cfg.School.Name, Exclude: c.Exclude, Now: time.Now()}, overlap, c.Again)
	if errors.Is(err, inspect.ErrWaiting) {
		return fmt.Errorf("%w. A third would have to be given to every device too: those that trust only the first, or only the first two, would trust neither it nor what it signs. Give the waiting one to devices (schoolgate ca export); if others may know its key, add --again", err)
	}
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(s.stdout, "Made %s\nSHA-256 %s\nIt signs from %s. Give it to devices (schoolgate ca export), and run schoolgate reload.\n",
		a.Certificate.Subject.CommonName, a.Fingerprint(), a.SignsFrom.Format(time.RFC3339))
	return err
}

type caUntrustingCmd struct{ configFlag }

// Run lists the devices that refused the certificate within the hour, and the sites
// whose apps do.
func (c *caUntrustingCmd) Run(s *session) error {
	cfg, err := c.load(s)
	if err != nil {
		return err
	}
	who, err := appliance.Untrusting(s.ctx, cfg.Box.Data)
	if err != nil {
		return err
	}
	for _, addr := range who.Devices {
		fmt.Fprintln(s.stdout, addr)
	}
	fmt.Fprintf(s.stdout, "%s refused the school's certificate within the hour: not looked into.\n", counted(len(who.Devices), "device"))
	if len(who.Sites) == 0 {
		return nil
	}
	fmt.Fprintln(s.stdout, "\nSites that an app refused within the day to have looked into, on devices that do trust the certificate:")
	const clock = "2006-01-02 15:04"
	w, in := tabwriter.NewWriter(s.stdout, 0, 0, 2, ' ', 0), cfg.School.Policy.Timetable.Location
	fmt.Fprintln(w, "site\tsince\tlast\tdevices")
	for _, site := range who.Sites {
		fmt.Fprintf(w, "%s\t%s\t%s\t%d\n", site.Host, site.Since.In(in).Format(clock), site.Last.In(in).Format(clock), site.Devices)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	_, err = fmt.Fprintln(s.stdout, "Each such app fails once an hour, and what it does in between is "+unseenNow(cfg)+". If the school needs one, add its\n"+
		"site to never: under inspect: in schoolgate.yaml, then schoolgate reload. If not, block the site in policy.yaml.")
	return err
}

// unseenNow says what becomes of connections that cannot be looked into.
func unseenNow(cfg *configs.Config) string {
	if cfg.Box.Inspect.Unseen == configs.RefuseUnseen {
		return "refused"
	}
	return "judged by the site's name alone"
}
