package main

import (
	"bytes"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/miekg/dns"

	"schoolgate/internal/testkit"
)

// keygen makes the key of one person and gives its public half.
func keygen(t *testing.T, b *testkit.Box, who string) string {
	t.Helper()
	b.Write(who+".pass", who+" four words and more\n")
	out, err := exec.Command("schoolgate", "incidents", "keygen", "--out", filepath.Join(b.Dir, who+".key"),
		"--passphrase-file", filepath.Join(b.Dir, who+".pass")).CombinedOutput()
	if err != nil {
		t.Fatalf("keygen: %v\n%s", err, out)
	}
	public, _, _ := strings.Cut(string(out), "\n")
	return public
}

// The address of a mandatory hit is on the box sealed to two people and nowhere in
// clear: no file, log, mail, export, list, form or bundle holds it. Both together
// get it, defanged and on record; one alone does not, and without keys it is not
// kept at all (F7, privacy 8, R23, R27).
func TestSafeHands(t *testing.T) {
	mail := testkit.NewSMTP(t, testkit.SMTPOptions{})
	b := alertBox(t, mail)
	b.Start()
	attempt(t, b, "127.0.1.9", "sealed.example") // nobody has given keys yet
	seal := "incidents:\n  seal_to: {dsl: " + keygen(t, b, "dsl") + ", head: " + keygen(t, b, "head") + "}\n"
	b.Write("policy.yaml", testkit.SchoolPolicy+seal)
	b.Run("reload")
	attempt(t, b, "127.0.1.1", "sealed.example")
	if _, err := b.Ask("127.0.1.1", "tcp", "sealed.example", dns.TypeA); err != nil {
		t.Fatal(err)
	}
	id := ""
	for _, r := range exported(t, b, "--client", "127.0.1.1") {
		if r.Door == "http" {
			id = r.ID
		}
	}
	b.Run("incidents", "open", "--by", "A DSL", "--event", id, "--kind", "illegal_content")
	printed := b.Run("incidents", "show", "IN-1", "--by", "A DSL", "--reason", "to report it") +
		b.Run("audit", "search") + b.Run("audit", "export", "--format", "json") + b.Run("audit", "export", "--format", "csv") +
		b.Run("alerts", "list") + b.Run("incidents", "list", "--by", "A DSL") + b.Run("audit", "verify")
	for _, name := range []string{"form.html", "form.csv"} {
		b.Run("incidents", "form", "IN-1", "--by", "A DSL", "--reason", "for the file", "--out", filepath.Join(b.Dir, name))
	}
	b.Run("incidents", "evidence", "IN-1", "--by", "A DSL", "--reason", "the police asked", "--out", filepath.Join(b.Dir, "bundle.txt"))
	if !strings.Contains(printed, "sealed: it is on a mandatory list") {
		t.Errorf("the record does not say that the address is sealed:\n%s", printed)
	}

	unseal := func(ref string, args ...string) (string, string, error) {
		return b.Try(append([]string{"incidents", "unseal", ref, "--by", "A DSL", "--second", "A Head", "--reason", "a report to the IWF",
			"--dsl-passphrase-file", filepath.Join(b.Dir, "dsl.pass"), "--head-passphrase-file", filepath.Join(b.Dir, "head.pass")}, args...)...)
	}
	keys := []string{"--dsl-key", filepath.Join(b.Dir, "dsl.key"), "--head-key", filepath.Join(b.Dir, "head.key")}
	for _, ref := range []string{"IN-1", id} {
		if out, trouble, err := unseal(ref, keys...); err != nil || !strings.HasPrefix(out, "hxxp://sealed[.]example/a/page") || strings.Contains(out, "http://") {
			t.Errorf("unseal %s: %s%s %v", ref, out, trouble, err)
		}
	}
	if out, _, err := unseal("IN-1", keys[0], keys[1], "--head-key", keys[1], "--head-passphrase-file", filepath.Join(b.Dir, "dsl.pass")); err == nil || strings.Contains(out, "hxxp") {
		t.Errorf("the DSL's key alone opened it: %s", out)
	}
	if _, trouble, err := b.Try(append([]string{"incidents", "unseal", "IN-1", "--by", "A DSL", "--second", "a dsl", "--reason", "a report"}, keys...)...); err == nil || !strings.Contains(trouble, "two different people") {
		t.Errorf("one person: %v %s", err, trouble)
	}
	if _, trouble, err := unseal("SG-1", keys...); err == nil || !strings.Contains(trouble, "no sealed address") {
		t.Errorf("of before there were keys: %v %s", err, trouble)
	}
	if out := b.Run("audit", "search", "--text", "incident.unsealed"); strings.Count(out, "incident.unsealed") != 4 {
		t.Errorf("want each of the two people on record for each reading:\n%s", out)
	}
	b.Stop()

	// In clear it is in what IT was given as a list, and nowhere else.
	secret := []byte("sealed.example")
	err := filepath.WalkDir(b.Dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || filepath.Base(path) == "sealed.csv" {
			return err
		}
		text, err := os.ReadFile(path)
		if bytes.Contains(text, secret) {
			t.Errorf("%s holds the address in clear", path)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
	for _, m := range mail.Messages() {
		printed += string(m.Data)
	}
	if strings.Contains(printed+b.Log().String(), "sealed.example") || strings.Contains(printed, "sealed[.]example") {
		t.Error("something printed holds the address")
	}
	bundle, err := os.ReadFile(filepath.Join(b.Dir, "bundle.txt"))
	if err != nil || !bytes.Contains(bundle, []byte(`"sealed":"`)) {
		t.Errorf("the bundle does not hold the sealed address: %v", err)
	}
}
