package main

import (
	"context"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"schoolgate/internal/testkit"
)

// An address of a mandatory list that a pupil puts into another address, or staff type
// into a note, a reason or a search, is in no file of the box and in nothing that it
// prints.
func TestMandatoryAddressIsWrittenNowhere(t *testing.T) { // F7, privacy 8
	b := testkit.NewBox(t, testkit.BoxOptions{})
	b.Start()
	address := readSealed(t).hosts[0]
	said := "saw http://" + address + "/far-away there"
	fetch(t, b.Client("127.0.0.1"), "http://blocked.example/go/"+address+"/far-away")
	fetch(t, b.Client("127.0.0.1"), "http://"+address+"/far-away")
	b.Run("incidents", "open", "--by", "A DSL", "--kind", "bullying", "--text", said)
	b.Run("incidents", "note", "IN-1", "--by", "A DSL", "--text", said)
	b.Run("quarantine", "add", "127.0.9.1", "--by", "A DSL", "--reason", said)
	b.Run("audit", "hold", "add", "--client", "127.0.9.1", "--by", "A DSL", "--reason", said)
	out := b.Run("audit", "search", "--by", "A DSL", "--reason", said, "--host", address)
	for _, args := range [][]string{
		{"audit", "export"}, {"audit", "reads"}, {"audit", "hold", "list"}, {"quarantine", "list"},
		{"incidents", "show", "IN-1", "--by", "A DSL", "--reason", "the test"},
	} {
		out += b.Run(args...)
	}
	if r, err := b.Ask("127.0.1.9", "udp", address+".school.local", dns.TypeA); err != nil || verdict(r) != "block" {
		t.Errorf("the address with the school's suffix behind it: %v, %v", r, err)
	}
	b.Stop()
	b.Run("incidents", "note", "IN-1", "--by", "A DSL", "--text", said)
	b.Run("quarantine", "add", "127.0.9.2", "--by", "A DSL", "--reason", said)
	b.Run("block", "open.example", "--by", "A DSL", "--reason", said)
	b.Run("audit", "hold", "add", "--client", "127.0.9.2", "--by", "A DSL", "--reason", said)
	b.Run("audit", "hold", "lift", "1", "--by", "A DSL", "--second", "A Head", "--reason", said)
	b.Run("audit", "search", "--by", "A DSL", "--reason", said, "--host", address)
	for _, args := range [][]string{
		{"audit", "export"}, {"audit", "reads"}, {"audit", "hold", "list"}, {"quarantine", "list"},
		{"incidents", "show", "IN-1", "--by", "A DSL", "--reason", "the test"},
	} {
		out += b.Run(args...)
	}
	if strings.Contains(out, address) || strings.Contains(out, "far-away") || !strings.Contains(out, "saw (sealed) there") || !strings.Contains(out, "/go/(sealed)") {
		t.Errorf("printed:\n%s", out)
	}
	err := filepath.WalkDir(filepath.Join(b.Dir, "data"), func(name string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		content, err := os.ReadFile(name)
		if strings.Contains(string(content), address) || strings.Contains(string(content), "far-away") {
			t.Errorf("%s holds the address", name)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// A search for an address of a mandatory list is told like a try to reach it: refused,
// severity 5, and the address nowhere in clear.
func TestSearchForAMandatoryAddress(t *testing.T) { // F7, I5, M1
	mail := testkit.NewSMTP(t, testkit.SMTPOptions{})
	b, browser, port := searchBox(t, mail)
	address := readSealed(t).hosts[1]
	for _, from := range []string{"127.0.0.1", "127.0.0.2"} {
		if got := fetch(t, browser(from), "https://www.google.com:"+port+"/search?q="+strings.ReplaceAll(address, ".", "%5B.%5D")+"+pictures"); got.status != http.StatusForbidden {
			t.Errorf("%s gets %d for the search", from, got.status)
		}
	}
	resp, err := browser("127.0.1.1").PostForm("https://www.startpage.com:"+port+"/sp/search", url.Values{"query": {"http://www." + address + "/x"}})
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	out := b.Run("audit", "export", "--format", "json", "--flagged")
	if n := strings.Count(out, `"reason":"mandatory","category":"child_abuse","severity":5`); n != 3 || strings.Contains(out, "google") || strings.Contains(out, address) || strings.Contains(out, "pictures") {
		t.Errorf("the journal has %d hits:\n%s", n, out)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	mail.WaitFor(ctx, 5) // of each pupil's to DSL and deputy, of the staff to the Headteacher
	for _, m := range mail.Messages() {
		if text := string(m.Data); !strings.Contains(text, "5 of 5") || strings.Contains(text, address) {
			t.Errorf("a mail says\n%s", text)
		}
	}
}
