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

	"schoolgate/acts"
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

// doer is who does it, and why.
type doer struct {
	By     string `help:"Who does it (default: who is signed in here)." placeholder:"NAME" env:"SCHOOLGATE_BY"`
	Reason string `help:"Why; kept with the act." placeholder:"TEXT" env:"SCHOOLGATE_REASON"`
}

// change reads the people, has one thing done to them, puts that on record and writes
// them again. A running box takes the file up within a second. do says to whom it was
// done and what, in words that hold no password.
func (c *configFlag) change(s *session, act string, by doer, do func(*configs.Config, clients.People) (subject string, err error)) error {
	cfg, err := c.load(s)
	if err != nil {
		return err
	}
	all, err := clients.ReadPeople(peopleFile(cfg.Box))
	if err != nil {
		return err
	}
	subject, err := do(cfg, all)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(cfg.Box.Data, 0o700); err != nil {
		return err
	}
	e := policy.StaffAct(time.Now(), (&reader{By: by.By}).by(), act, subject, by.Reason)
	if err := acts.Record(s.ctx, cfg, &e); err != nil {
		return fmt.Errorf("nothing was changed, since it cannot be put on record: %w", err)
	}
	return all.Write(peopleFile(cfg.Box))
}

// The acts on people, as the journal calls them.
const (
	actPersonAdded    = "people.add"
	actPersonPassword = "people.passwd"
	actPersonRemoved  = "people.remove"
)

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

func (p *passwordFlag) set(s *session, who *clients.Person) (password string, err error) {
	if password, err = p.password(s); err == nil {
		err = who.SetPassword(password)
	}
	return password, err
}

// show shows a password that was made up, once it is in force.
func (p *passwordFlag) show(s *session, name, password string, err error) error {
	if err == nil && !p.Stdin {
		_, err = fmt.Fprintf(s.stdout, "The password of %s is %s and is shown only now.\n", name, password)
	}
	return err
}

type peopleAddCmd struct {
	configFlag
	passwordFlag
	doer
	Name  string `arg:"" help:"What the person types to sign in, e.g. j.smith."`
	Group string `required:"" help:"The group of policy.yaml whose profile the person gets." placeholder:"GROUP"`
	Until string `help:"The last day, e.g. 2027-07-31. Left out, there is no end." placeholder:"DATE"`
}

// Run adds a person.
func (c *peopleAddCmd) Run(s *session) error {
	var password string
	err := c.change(s, actPersonAdded, c.doer, func(cfg *configs.Config, all clients.People) (string, error) {
		if _, ok := all[c.Name]; ok {
			return "", fmt.Errorf("%q may sign in already (schoolgate people passwd gives a new password)", c.Name)
		}
		if err := clients.CheckName(c.Name); err != nil {
			return "", err
		}
		if !slices.ContainsFunc(cfg.School.Spec.Groups, func(g policy.Group) bool { return g.Name == c.Group }) {
			return "", fmt.Errorf("there is no group %q in the policy", c.Group)
		}
		p, subject := clients.Person{Name: c.Name, Group: c.Group}, c.Name+", group "+c.Group
		if c.Until != "" {
			last, err := time.ParseInLocation(time.DateOnly, c.Until, time.Local)
			if err != nil {
				return "", fmt.Errorf("bad last day %q: want one such as 2027-07-31", c.Until)
			}
			p.Until, subject = last.AddDate(0, 0, 1), subject+", until "+c.Until
		}
		var err error
		password, err = c.set(s, &p)
		all[p.Name] = p
		return subject, err
	})
	return c.show(s, c.Name, password, err)
}

type peoplePasswdCmd struct {
	configFlag
	passwordFlag
	doer
	Name string `arg:"" help:"Who gets a new password."`
}

// Run gives a new password.
func (c *peoplePasswdCmd) Run(s *session) error {
	var password string
	err := c.change(s, actPersonPassword, c.doer, func(_ *configs.Config, all clients.People) (string, error) {
		p, ok := all[c.Name]
		if !ok {
			return "", fmt.Errorf("nobody signs in as %q", c.Name)
		}
		var err error
		password, err = c.set(s, &p)
		all[p.Name] = p
		return c.Name, err
	})
	return c.show(s, c.Name, password, err)
}

type peopleRemoveCmd struct {
	configFlag
	doer
	Name string `arg:"" help:"Who signs in no more; what that person has open ends."`
}

// Run removes a person.
func (c *peopleRemoveCmd) Run(s *session) error {
	return c.change(s, actPersonRemoved, c.doer, func(_ *configs.Config, all clients.People) (string, error) {
		if _, ok := all[c.Name]; !ok {
			return "", fmt.Errorf("nobody signs in as %q", c.Name)
		}
		delete(all, c.Name)
		return c.Name, nil
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
