package main

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"schoolgate/audit"
	"schoolgate/configs"
	"schoolgate/evidence"
	"schoolgate/incidents"
)

type incidentsEvidenceCmd struct {
	incidentReader
	Out    string        `required:"" help:"File to write." placeholder:"FILE"`
	Around time.Duration `help:"So long before and after, what the same device asked for is in it too." default:"15m"`
}

// Run writes the bundle and says how it is checked.
func (c *incidentsEvidenceCmd) Run(s *session) error {
	if c.Around < 0 || c.Around > 31*24*time.Hour {
		return fmt.Errorf("--around %s: want 0s to 744h", c.Around)
	}
	cfg, i, err := c.incident(s, actEvidence)
	if err != nil {
		return err
	}
	var out bytes.Buffer
	key, err := evidence.Write(s.ctx, cfg, &out, &i, evidence.Options{By: c.By, Reason: c.Reason, Around: c.Around})
	if err != nil {
		return err
	}
	report, err := audit.VerifyBundle(bytes.NewReader(out.Bytes())) // what is handed over has been checked
	if err != nil || !report.OK() {
		return fmt.Errorf("the bundle does not verify and was not written: %v %w", report.Problems, err)
	}
	if err := writeNew(c.Out, out.Bytes()); err != nil {
		return err
	}
	fmt.Fprintf(s.stdout, "%s written to %s: %s.\nIt names %s: give it to the police alone, and not by ordinary mail. Anybody checks it with\n  schoolgate audit verify --bundle %s\nSigned by this box:\n  %s\n",
		i.Ref(), c.Out, report.Contents(), i.Names(), c.Out, audit.KeyLine(key))
	return c.note(s, cfg, &i, out.Bytes())
}

// note puts on the incident that the bundle was written, which is its task, once; of
// one more, and of a closed incident, a note tells.
func (c *incidentsEvidenceCmd) note(s *session, cfg *configs.Config, i *incidents.Incident, bundle []byte) error {
	cmd := incidents.Command{Act: incidents.ActTask, Ref: i.Ref(), Change: incidents.Change{
		Task: incidents.Evidence, Text: fmt.Sprintf("signed file %s written, SHA-256 %x", filepath.Base(c.Out), sha256.Sum256(bundle)),
	}}
	if _, done := i.Tasks[incidents.Evidence]; done || i.Status == incidents.Closed {
		cmd.Act, cmd.Task = incidents.ActNote, ""
		cmd.Text = "Evidence: " + cmd.Text
	}
	if err := c.actOn(s, cfg, cmd); err != nil {
		return fmt.Errorf("%s is written, but that is not noted on %s: %w", c.Out, i.Ref(), err)
	}
	return nil
}

type incidentsKeyCmd struct {
	configFlag
}

// Run prints the box's public key.
func (c *incidentsKeyCmd) Run(s *session) error {
	cfg, err := c.load(s)
	if err != nil {
		return err
	}
	key, err := evidence.Key(cfg)
	if err != nil {
		return err
	}
	public, _ := key.Public().(ed25519.PublicKey)
	_, err = fmt.Fprintln(s.stdout, audit.KeyLine(public))
	return err
}

// verifyBundle checks an evidence bundle, without any box, and says in plain words
// what that proves and what it does not.
func verifyBundle(s *session, name, known string) error {
	var want ed25519.PublicKey
	if known != "" {
		var err error
		if want, err = audit.ParseKeyLine(known); err != nil {
			return fmt.Errorf("--key: %w", err)
		}
	}
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	report, err := audit.VerifyBundle(f)
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	for _, p := range report.Problems {
		fmt.Fprintln(s.stdout, "PROBLEM:", p)
	}
	if !report.OK() {
		return fmt.Errorf("%w in the bundle: %d. It is not what was signed: ask the school for the file again, and keep this one", errProblem, len(report.Problems))
	}
	if want != nil && !want.Equal(report.Key) {
		fmt.Fprintf(s.stdout, "PROBLEM: signed by another key than the one you gave:\n  %s\n", audit.KeyLine(report.Key))
		return fmt.Errorf("%w: the bundle is whole, but not from that box", errProblem)
	}
	var about struct {
		School, Incident, By, Reason string
		Made                         time.Time
		JournalHead                  string `json:"journal_head"`
		Unreadable                   int
	}
	if err := json.Unmarshal(report.About, &about); err != nil {
		return fmt.Errorf("%s: line 2: %w", name, err)
	}
	fmt.Fprintf(s.stdout, "verified: %d records (%s), as they were signed\n", report.Records, report.Contents())
	fmt.Fprintf(s.stdout, "incident %s of %s, written %s by %s: %s\n", about.Incident, orUnknown(about.School), about.Made.Format("2 January 2006 15:04 MST"), about.By, about.Reason)
	if about.Unreadable > 0 {
		fmt.Fprintf(s.stdout, "NOTE: %d entries or stretches of the log could not be read when it was written\n", about.Unreadable)
	}
	fmt.Fprintf(s.stdout, "\nWhat this proves: no byte of the file was changed, and no record taken out, put in or moved, since it was\nsigned with the key\n  %s\n", audit.KeyLine(report.Key))
	if want == nil {
		fmt.Fprintln(s.stdout, "Compare that key with the one the school handed out beforehand (or give it with --key): a file signed with\nanother key proves nothing.")
	} else {
		fmt.Fprintln(s.stdout, "which is the one you gave.")
	}
	_, err = fmt.Fprintf(s.stdout, "\nWhat it does not prove: who held the device, that its clock was right, or that the box itself was honest when it\nsigned. To check that its log was not rewritten since, have the school run, on the box:\n  schoolgate audit verify --head '%s'\n", about.JournalHead)
	return err
}

func orUnknown(s string) string {
	if s == "" {
		return "a school that gave no name"
	}
	return s
}
