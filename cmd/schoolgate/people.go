package main

import (
	"bufio"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"schoolgate/clients"
	"schoolgate/configs"
	"schoolgate/policy"
)

type peopleCmd struct {
	Add    peopleAddCmd    `cmd:"" help:"Let somebody sign in, with the profile of a group."`
	Passwd peoplePasswdCmd `cmd:"" help:"Give somebody a new password."`
	Remove peopleRemoveCmd `cmd:"" help:"Let somebody sign in no more."`
	List   peopleListCmd   `cmd:"" help:"Show who may sign in."`
}

// peopleFile is the file of the people of a box.
func peopleFile(box configs.Box) string { return filepath.Join(box.Data, clients.PeopleFile) }

// change reads the people, has one thing done to them and writes them again. A
// running box takes the file up within a second.
func (c *configFlag) change(s *session, do func(*configs.Config, clients.People) error) error {
	cfg, err := c.load(s)
	if err != nil {
		return err
	}
	all, err := clients.ReadPeople(peopleFile(cfg.Box))
	if err != nil {
		return err
	}
	if err := do(cfg, all); err != nil {
		return err
	}
	if err := os.MkdirAll(cfg.Box.Data, 0o700); err != nil {
		return err
	}
	return all.Write(peopleFile(cfg.Box))
}

// passwordFlag is how a password is given.
type passwordFlag struct {
	Stdin bool `help:"Read the password from the first line of the input, in place of making one up."`
}

// password is the one given, or one made up and shown once.
func (p *passwordFlag) password(s *session) (string, error) {
	if !p.Stdin {
		made := strings.ToLower(rand.Text())
		return made[:5] + "-" + made[5:10] + "-" + made[10:15], nil
	}
	line, err := bufio.NewReader(s.stdin).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return "", err
	}
	return strings.TrimRight(line, "\r\n"), nil
}

func (p *passwordFlag) set(s *session, who *clients.Person) error {
	password, err := p.password(s)
	if err == nil {
		err = who.SetPassword(password)
	}
	if err == nil && !p.Stdin {
		_, err = fmt.Fprintf(s.stdout, "The password of %s is %s and is shown only now.\n", who.Name, password)
	}
	return err
}

type peopleAddCmd struct {
	configFlag
	passwordFlag
	Name  string `arg:"" help:"What the person types to sign in, e.g. j.smith."`
	Group string `required:"" help:"The group of policy.yaml whose profile the person gets." placeholder:"GROUP"`
	Until string `help:"The last day, e.g. 2027-07-31. Left out, there is no end." placeholder:"DATE"`
}

// Run adds a person.
func (c *peopleAddCmd) Run(s *session) error {
	return c.change(s, func(cfg *configs.Config, all clients.People) error {
		if _, ok := all[c.Name]; ok {
			return fmt.Errorf("%q may sign in already (schoolgate people passwd gives a new password)", c.Name)
		}
		if err := clients.CheckName(c.Name); err != nil {
			return err
		}
		if !slices.ContainsFunc(cfg.School.Spec.Groups, func(g policy.Group) bool { return g.Name == c.Group }) {
			return fmt.Errorf("there is no group %q in the policy", c.Group)
		}
		p := clients.Person{Name: c.Name, Group: c.Group}
		if c.Until != "" {
			last, err := time.ParseInLocation(time.DateOnly, c.Until, time.Local)
			if err != nil {
				return fmt.Errorf("bad last day %q: want one such as 2027-07-31", c.Until)
			}
			p.Until = last.AddDate(0, 0, 1)
		}
		if err := c.set(s, &p); err != nil {
			return err
		}
		all[p.Name] = p
		return nil
	})
}

type peoplePasswdCmd struct {
	configFlag
	passwordFlag
	Name string `arg:"" help:"Who gets a new password."`
}

// Run gives a new password.
func (c *peoplePasswdCmd) Run(s *session) error {
	return c.change(s, func(_ *configs.Config, all clients.People) error {
		p, ok := all[c.Name]
		if !ok {
			return fmt.Errorf("nobody signs in as %q", c.Name)
		}
		if err := c.set(s, &p); err != nil {
			return err
		}
		all[p.Name] = p
		return nil
	})
}

type peopleRemoveCmd struct {
	configFlag
	Name string `arg:"" help:"Who signs in no more; what that person has open ends."`
}

// Run removes a person.
func (c *peopleRemoveCmd) Run(s *session) error {
	return c.change(s, func(_ *configs.Config, all clients.People) error {
		if _, ok := all[c.Name]; !ok {
			return fmt.Errorf("nobody signs in as %q", c.Name)
		}
		delete(all, c.Name)
		return nil
	})
}

type peopleListCmd struct{ configFlag }

// Run lists everybody.
func (c *peopleListCmd) Run(s *session) error {
	cfg, err := c.load(s)
	if err != nil {
		return err
	}
	all, err := clients.ReadPeople(peopleFile(cfg.Box))
	if err != nil {
		return err
	}
	w := tabwriter.NewWriter(s.stdout, 0, 0, 2, ' ', 0)
	for _, p := range all.Sorted() {
		end := "no end"
		if day := p.LastDay(); day != "" {
			end = "until " + day
		}
		fmt.Fprintf(w, "%s\t%s\t%s\n", p.Name, p.Group, end)
	}
	if len(all) == 0 {
		fmt.Fprintln(s.stdout, "Nobody may sign in.")
	}
	return w.Flush()
}
