package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"schoolgate/acts"
	"schoolgate/desk"
	"schoolgate/incidents"
	"schoolgate/policy"
)

// writeNew writes a file that must not be there yet, for its owner alone.
func writeNew(name string, text []byte) error {
	f, err := os.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("%s is there already: name a new file", name)
	}
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	return errors.Join(err, f.Sync(), f.Close())
}

// maxSecret bounds a passphrase or key file, in bytes.
const maxSecret = 64 << 10

func readSmall(name string) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxSecret+1))
	if err == nil && len(text) > maxSecret {
		err = fmt.Errorf("%s is too large to be a key or a passphrase", name)
	}
	return text, err
}

// passphrase is asked for at the terminal, unseen, or read from a file.
func (s *session) passphrase(whose, file string) (string, error) {
	if file != "" {
		text, err := readSmall(file)
		line, _, _ := strings.Cut(string(text), "\n")
		return strings.TrimRight(line, "\r"), err
	}
	fmt.Fprintf(s.stderr, "Passphrase of %s: ", whose)
	if tty, ok := s.stdin.(*os.File); ok {
		if old, err := unix.IoctlGetTermios(int(tty.Fd()), unix.TCGETS); err == nil {
			unseen := *old
			unseen.Lflag &^= unix.ECHO
			if err := unix.IoctlSetTermios(int(tty.Fd()), unix.TCSETS, &unseen); err != nil {
				return "", err
			}
			defer func() {
				_ = unix.IoctlSetTermios(int(tty.Fd()), unix.TCSETS, old) // the terminal is gone if it fails
				fmt.Fprintln(s.stderr)
			}()
		}
	}
	if s.lines == nil {
		s.lines = bufio.NewReader(io.LimitReader(s.stdin, maxSecret))
	}
	line, err := s.lines.ReadString('\n')
	if err != nil && !(errors.Is(err, io.EOF) && line != "") {
		return "", fmt.Errorf("passphrase of %s: %w", whose, err)
	}
	return strings.TrimRight(line, "\r\n"), nil
}

type incidentsKeygenCmd struct {
	Out            string `required:"" help:"Key file to write: keep it off the box, on a stick in a safe." placeholder:"FILE"`
	PassphraseFile string `help:"File that holds the passphrase (default: asked for)." placeholder:"FILE"`
}

// Run makes a key for one person.
func (c *incidentsKeygenCmd) Run(s *session) error {
	pass, err := s.passphrase("the new key", c.PassphraseFile)
	if err != nil {
		return err
	}
	if c.PassphraseFile == "" {
		again, err := s.passphrase("the new key, once more", "")
		if err != nil {
			return err
		}
		if again != pass {
			return errors.New("the two passphrases differ: nothing was written")
		}
	}
	public, file, err := incidents.NewKey(pass)
	if err != nil {
		return err
	}
	if err := writeNew(c.Out, file); err != nil {
		return err
	}
	_, err = fmt.Fprintf(s.stdout, "%s\nThis is the public key, for incidents.seal_to in policy.yaml. The key itself is in %s, under the passphrase:\nkeep it off this box. Without it nothing sealed to it can ever be opened.\n", public, c.Out)
	return err
}

type incidentsUnsealCmd struct {
	registrar
	secondPerson
	Reason             string `required:"" help:"Why, e.g. a report to the IWF." placeholder:"TEXT"`
	DSLKey             string `name:"dsl-key" required:"" help:"Key file of the DSL." placeholder:"FILE"`
	HeadKey            string `required:"" help:"Key file of the Headteacher." placeholder:"FILE"`
	DSLPassphraseFile  string `name:"dsl-passphrase-file" help:"File that holds its passphrase (default: asked for)." placeholder:"FILE"`
	HeadPassphraseFile string `help:"File that holds its passphrase (default: asked for)." placeholder:"FILE"`
	Ref                string `arg:"" name:"REF" help:"Reference of the incident (IN-…) or of the log entry (SG-…)."`
}

// Run shows the address, defanged, once both keys are there and both people are on
// record.
func (c *incidentsUnsealCmd) Run(s *session) error {
	cfg, err := c.load(s)
	if err != nil {
		return err
	}
	role, err := incidents.ParseRole(c.role())
	if err != nil {
		return err
	}
	if strings.EqualFold(strings.Join(strings.Fields(c.By), " "), strings.Join(strings.Fields(c.Second), " ")) {
		return fmt.Errorf("it takes two different people, and %q is one", c.By)
	}
	if len(strings.TrimSpace(c.Reason)) < 5 {
		return errors.New("say why, so that it can be understood later: --reason")
	}
	sealed, err := desk.SealedAddress(s.ctx, cfg, c.Ref, role)
	if err != nil {
		return err
	}
	dsl, err := c.key(s, "the DSL's key", c.DSLKey, c.DSLPassphraseFile)
	if err != nil {
		return err
	}
	head, err := c.key(s, "the Headteacher's key", c.HeadKey, c.HeadPassphraseFile)
	if err != nil {
		return err
	}
	address, err := incidents.Open(sealed, dsl, head)
	if err != nil {
		return err
	}
	for _, who := range []string{c.By, c.Second} {
		act := policy.StaffAct(time.Now(), who, actUnseal, strings.ToUpper(c.Ref), c.Reason+"; with both keys, by "+c.By+" and "+c.Second)
		if err := acts.Record(s.ctx, cfg, &act); err != nil {
			return fmt.Errorf("not shown, since it cannot be put on record: %w", err)
		}
	}
	_, err = fmt.Fprintf(s.stdout, "%s\nDo not open it, and do not send it to anybody but the IWF (report.iwf.org.uk) or the police. Write it into their form by hand.\n", address)
	return err
}

func (c *incidentsUnsealCmd) key(s *session, whose, file, passFile string) (*incidents.Key, error) {
	text, err := readSmall(file)
	if err != nil {
		return nil, err
	}
	pass, err := s.passphrase(whose, passFile)
	if err != nil {
		return nil, err
	}
	key, err := incidents.OpenKey(text, pass)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", whose, err)
	}
	return key, nil
}
