package main

import (
	"fmt"
	"text/tabwriter"

	"schoolgate/appliance"
	"schoolgate/containment"
)

type quarantineCmd struct {
	Add   quarantineAddCmd   `cmd:"" help:"Cut a device off, at once and on every door; help-lines stay open to it."`
	Lift  quarantineLiftCmd  `cmd:"" help:"Give a device its network back; takes two people and a reason."`
	List  quarantineListCmd  `cmd:"" help:"Show the devices that are cut off and the addresses closed for everyone."`
	Reset quarantineResetCmd `cmd:"" help:"Begin the record anew where it cannot be read, with nothing closed; takes two people and a reason."`
}

// whoAndWhy is what every act of containing takes.
type whoAndWhy struct {
	By       string `required:"" help:"Who does it." placeholder:"NAME"`
	Reason   string `required:"" help:"Why." placeholder:"TEXT"`
	Incident string `help:"Reference of the incident it belongs to." placeholder:"REF"`
}

// secondPerson is what opening again takes besides.
type secondPerson struct {
	Second string `required:"" help:"The second person, who agrees." placeholder:"NAME"`
}

// contain carries one act out and says what was done.
func (c *configFlag) contain(s *session, act string, target string, w whoAndWhy, p secondPerson) error {
	cfg, err := c.load(s)
	if err != nil {
		return err
	}
	said, err := appliance.Contain(s.ctx, cfg, containment.Order{
		Act: act, Target: target, By: w.By, Second: p.Second, Reason: w.Reason, Incident: w.Incident,
	})
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(s.stdout, said)
	return err
}

type quarantineAddCmd struct {
	configFlag
	whoAndWhy
	Target string `arg:"" name:"DEVICE|ADDRESS" help:"A device of the register, or the address it has now."`
}

// Run cuts a device off.
func (c *quarantineAddCmd) Run(s *session) error {
	return c.contain(s, containment.ActQuarantine, c.Target, c.whoAndWhy, secondPerson{})
}

type quarantineLiftCmd struct {
	configFlag
	whoAndWhy
	secondPerson
	Target string `arg:"" name:"DEVICE|ADDRESS" help:"As quarantine list shows it."`
}

// Run gives a device its network back.
func (c *quarantineLiftCmd) Run(s *session) error {
	return c.contain(s, containment.ActLift, c.Target, c.whoAndWhy, c.secondPerson)
}

type quarantineResetCmd struct {
	configFlag
	whoAndWhy
	secondPerson
}

// Run begins the record anew.
func (c *quarantineResetCmd) Run(s *session) error {
	return c.contain(s, containment.ActResetQuarantine, "", c.whoAndWhy, c.secondPerson)
}

type blockCmd struct {
	configFlag
	whoAndWhy
	Target string `arg:"" name:"HOST|URL" help:"A host with all below it, or one page."`
}

// Run closes a host or page for everyone.
func (c *blockCmd) Run(s *session) error {
	return c.contain(s, containment.ActBlock, c.Target, c.whoAndWhy, secondPerson{})
}

type unblockCmd struct {
	configFlag
	whoAndWhy
	secondPerson
	Target string `arg:"" name:"HOST|URL" help:"As quarantine list shows it."`
}

// Run opens a host or page again.
func (c *unblockCmd) Run(s *session) error {
	return c.contain(s, containment.ActUnblock, c.Target, c.whoAndWhy, c.secondPerson)
}

type quarantineListCmd struct {
	configFlag
}

// Run shows what is closed now.
func (c *quarantineListCmd) Run(s *session) error {
	cfg, err := c.load(s)
	if err != nil {
		return err
	}
	state, err := appliance.Contained(cfg)
	if err != nil {
		return fmt.Errorf("every device is cut off: %w", err)
	}
	w := tabwriter.NewWriter(s.stdout, 0, 0, 2, ' ', 0)
	for _, part := range []struct {
		head string
		list []containment.Entry
	}{{"device", state.Devices}, {"closed for everyone", state.Hosts}} {
		if len(part.list) == 0 {
			continue
		}
		fmt.Fprintf(w, "%s\tsince\tby\tincident\trecord\treason\n", part.head)
		for i := range part.list {
			e := &part.list[i]
			since := e.At.In(cfg.School.Policy.Timetable.Location).Format("Mon 2 Jan 2006 15:04")
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\n", e.Target(), since, e.By, e.Incident, e.Event, e.Reason)
		}
	}
	if err := w.Flush(); err != nil {
		return err
	}
	_, err = fmt.Fprintf(s.stdout, "%s in quarantine, %d closed for everyone\n", counted(len(state.Devices), "device"), len(state.Hosts))
	return err
}
