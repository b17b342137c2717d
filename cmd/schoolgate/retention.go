package main

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"schoolgate/audit"
	"schoolgate/configs"
	"schoolgate/retention"
)

type auditRetentionCmd struct {
	configFlag
	Receipts   bool   `help:"Show what has been removed, receipt by receipt."`
	Now        bool   `name:"run" help:"Remove what is due now; the appliance does so daily."`
	TrustClock bool   `help:"With --run: the clock is right, however far it has jumped ahead."`
	By         string `help:"With --trust-clock: who says so." placeholder:"NAME"`
	Reason     string `help:"With --trust-clock: why." placeholder:"TEXT"`
}

// Run shows what is kept for how long, or removes what is due.
func (c *auditRetentionCmd) Run(s *session) error {
	cfg, err := c.load(s)
	if err != nil {
		return err
	}
	switch {
	case c.TrustClock && (!c.Now || c.By == "" || c.Reason == ""):
		return errors.New("--trust-clock needs --run, --by and --reason")
	case c.Receipts:
		receipts, err := audit.In(cfg.Box.Data).Receipts()
		for _, r := range receipts {
			fmt.Fprintln(s.stdout, r.In(cfg.School.Policy.Timetable.Location))
		}
		fmt.Fprintln(s.stdout, counted(len(receipts), "receipt"))
		return err
	case c.Now:
		lines, err := retention.Run(s.ctx, cfg, c.TrustClock, c.By, c.Reason)
		for _, line := range lines {
			fmt.Fprintln(s.stdout, line)
		}
		if err == nil && len(lines) == 0 {
			err = c.nothing(s, cfg)
		}
		return err
	}
	return retention.Print(s.ctx, s.stdout, cfg)
}

// nothing says why a run removed nothing, as far as that can be told.
func (c *auditRetentionCmd) nothing(s *session, cfg *configs.Config) error {
	holds, err := audit.In(cfg.Box.Data).Holds()
	if err != nil {
		return err
	}
	said := "nothing is due"
	if n := len(slices.DeleteFunc(holds, func(h audit.Hold) bool { return !h.Stands() })); n > 0 {
		said = fmt.Sprintf("nothing is due that %s does not keep", counted(n, "legal hold"))
	}
	_, err = fmt.Fprintln(s.stdout, said)
	return err
}

type auditHoldCmd struct {
	Add  auditHoldAddCmd  `cmd:"" help:"Keep what it names, however old it gets."`
	List auditHoldListCmd `cmd:"" help:"Show all legal holds, also lifted ones."`
	Lift auditHoldLiftCmd `cmd:"" help:"End a legal hold; takes two people. What is due then goes at the next run."`
}

type auditHoldAddCmd struct {
	configFlag
	Person string `help:"Who signed in." placeholder:"NAME"`
	Device string `help:"Name in the device register." placeholder:"NAME"`
	Client string `help:"Address." placeholder:"ADDR"`
	From   string `help:"First moment, e.g. 2026-11-24T09:00 or 2h (ago)." placeholder:"TIME"`
	To     string `help:"End, not included." placeholder:"TIME"`
	By     string `required:"" help:"Who asks for it." placeholder:"NAME"`
	Reason string `required:"" help:"Why." placeholder:"TEXT"`
}

// Run adds a hold.
func (c *auditHoldAddCmd) Run(s *session) error {
	cfg, err := c.load(s)
	if err != nil {
		return err
	}
	h := audit.Hold{Person: c.Person, Device: c.Device, Client: c.Client, By: c.By, Reason: c.Reason}
	for _, m := range []struct {
		flag, text string
		to         *time.Time
	}{{"--from", c.From, &h.From}, {"--to", c.To, &h.To}} {
		if m.text == "" {
			continue
		}
		if ago, err := time.ParseDuration(m.text); err == nil {
			*m.to = time.Now().Add(-ago)
		} else if *m.to, err = parseMoment(m.text, time.Now(), cfg.School.Policy.Timetable.Location); err != nil {
			return fmt.Errorf("%s: bad moment %q: want 2026-11-24T09:00, 09:00 or 2h", m.flag, m.text)
		}
	}
	if h, err = retention.AddHold(s.ctx, cfg, h); err != nil {
		return err
	}
	_, err = fmt.Fprintln(s.stdout, h.In(cfg.School.Policy.Timetable.Location))
	return err
}

type auditHoldListCmd struct{ configFlag }

// Run lists the holds.
func (c *auditHoldListCmd) Run(s *session) error {
	cfg, err := c.load(s)
	if err != nil {
		return err
	}
	holds, err := audit.In(cfg.Box.Data).Holds()
	for _, h := range holds {
		fmt.Fprintln(s.stdout, h.In(cfg.School.Policy.Timetable.Location))
	}
	fmt.Fprintln(s.stdout, counted(len(holds), "hold"))
	return err
}

type auditHoldLiftCmd struct {
	configFlag
	secondPerson
	ID     int    `arg:"" help:"Its number."`
	By     string `required:"" help:"Who lifts it." placeholder:"NAME"`
	Reason string `required:"" help:"Why." placeholder:"TEXT"`
}

// Run lifts a hold.
func (c *auditHoldLiftCmd) Run(s *session) error {
	cfg, err := c.load(s)
	if err != nil {
		return err
	}
	h, err := retention.LiftHold(s.ctx, cfg, c.ID, c.By, c.Second, c.Reason)
	if err == nil {
		_, err = fmt.Fprintln(s.stdout, h.In(cfg.School.Policy.Timetable.Location))
	}
	return err
}
