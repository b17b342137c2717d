package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"schoolgate/audit"
	"schoolgate/incidents"
	"schoolgate/internal/testkit"
	"schoolgate/policy"
)

var hidden = regexp.MustCompile(`name="(ref|token)" value="([^"]*)"`)

// button is the form of a block page, as a browser would send it.
func button(t *testing.T, body string) url.Values {
	t.Helper()
	form := url.Values{}
	for _, m := range hidden.FindAllStringSubmatch(body, -1) {
		form.Set(m[1], m[2])
	}
	if len(form) != 2 {
		t.Fatalf("the page has no button:\n%s", body)
	}
	return form
}

// press sends it to the site that the page stands for.
func press(t *testing.T, c *http.Client, site string, form url.Values, origin string) page {
	t.Helper()
	req, err := http.NewRequest(http.MethodPost, site+"/.well-known/schoolgate-tell", strings.NewReader(form.Encode()))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if origin != "" {
		req.Header.Set("Origin", origin)
	}
	resp, err := c.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return page{resp.StatusCode, "", string(body)}
}

// A child that presses the button on a block page, in clear or inside https, is
// thanked; a breach record is opened from the log, and a person hears of it by mail,
// once. Presses that are forged, from another site or by another tablet open
// nothing, and too many are not kept; the child is told what to do all the same.
func TestTellSomebody(t *testing.T) { // R17, R18, R20, S12
	mail := testkit.NewSMTP(t, testkit.SMTPOptions{})
	b := alertBox(t, mail)
	config, err := os.ReadFile(b.Config)
	if err != nil {
		t.Fatal(err)
	}
	b.Write("schoolgate.yaml", string(config)+"inspect: {enabled: yes}\n")
	b.Write("policy.yaml", lookedInto(testkit.SchoolPolicy))
	b.Run("ca", "init", "--config", b.Config)
	b.Run("ca", "export", "--config", b.Config, "--out", filepath.Join(b.Dir, "for-devices"))
	b.Start()
	tablet := trusting(b, "127.0.1.1", certificatesOf(t, filepath.Join(b.Dir, "for-devices", "school-ca-1.pem")))
	list := func() string { return b.Run("incidents", "list", "--by", "A DSL") }
	wantOpen := func(when, want string) {
		t.Helper()
		if got := list(); !strings.Contains(got, want) {
			t.Errorf("%s: %s, want %s", when, got, want)
		}
	}

	clear := fetch(t, tablet, "http://blocked.example/page?q=secret")
	form := button(t, clear.body)
	for name, c := range map[string]struct {
		form   url.Values
		client *http.Client
		origin string
	}{
		"a forged token":         {url.Values{"ref": form["ref"], "token": {"AAAA"}}, tablet, ""},
		"another reference":      {url.Values{"ref": {"SG-9Z"}, "token": form["token"]}, tablet, ""},
		"another tablet":         {form, b.Client("127.0.1.2"), ""},
		"a form of another site": {form, tablet, "http://evil.example"},
		"nothing":                {url.Values{}, tablet, ""},
	} {
		if got := press(t, c.client, "http://blocked.example", c.form, c.origin); got.status != http.StatusForbidden || !strings.Contains(got.body, "go and tell a grown-up now") {
			t.Errorf("%s: %d %s", name, got.status, got.body)
		}
	}
	wantOpen("after forged presses", "0 open, 0 in all")

	form.Set("words", "it was a scary picture")
	for range 3 { // a child presses more than once
		got := press(t, tablet, "http://blocked.example", form, "http://blocked.example")
		if got.status != http.StatusOK || !strings.Contains(got.body, "Thank you") || !strings.Contains(got.body, "0800 1111") {
			t.Fatalf("pressed: %d %s", got.status, got.body)
		}
	}
	wantOpen("after three presses", "1 open, 1 in all")
	shown := b.Run("incidents", "show", "IN-1", "--by", "A DSL", "--reason", "a child told us")
	for _, want := range []string{"A pupil told us about a page", "hxxp://blocked[.]example/page", form.Get("ref"), "127.0.1.1", "a pupil, on the block page", "it was a scary picture", "Those who must hear were told"} {
		if !strings.Contains(shown, want) {
			t.Errorf("the record does not say %q:\n%s", want, shown)
		}
	}
	if strings.Contains(shown, "secret") {
		t.Errorf("the record holds a query:\n%s", shown)
	}
	wantMails(t, mail, map[string]int{"dsl@school.example 3": 1})

	var alerts string // the list is written within a second
	for end := time.Now().Add(20 * time.Second); !strings.Contains(alerts, " told ") && time.Now().Before(end); {
		alerts = b.Run("alerts", "list")
	}
	told := lineWith(t, alerts, " told ")
	show := b.Run("alerts", "show", told)
	for _, want := range []string{"A pupil pressed the button to tell a grown-up", "register of incidents: IN-1.", "schoolgate incidents show IN-1 --by NAME"} {
		if !strings.Contains(show, want) {
			t.Errorf("the alert does not say %q:\n%s", want, show)
		}
	}
	if _, trouble, err := b.Try("incidents", "open", "--alert", told, "--by", "A DSL", "--kind", "bullying"); err == nil || !strings.Contains(trouble, "a pupil opened IN-1") {
		t.Errorf("a second incident of what a pupil told: %v %s", err, trouble)
	}

	inside := button(t, fetch(t, tablet, "https://blocked.example/x").body)
	if got := press(t, tablet, "https://blocked.example", inside, ""); got.status != http.StatusOK {
		t.Errorf("inside https: %d %s", got.status, got.body)
	}
	wantOpen("after a press inside https", "2 open, 2 in all")

	b.Kill()
	b.Start()
	later := button(t, fetch(t, b.Client("127.0.1.3"), "http://blocked.example/").body)
	b.Kill() // the button of a page works on after a restart
	b.Start()
	if got := press(t, b.Client("127.0.1.3"), "http://blocked.example", later, ""); got.status != http.StatusOK {
		t.Errorf("after a restart: %d %s", got.status, got.body)
	}
	wantOpen("after a restart", "3 open, 3 in all")

	many := b.Client("127.0.1.9")
	kept := 0
	for range 10 {
		if press(t, many, "http://blocked.example", button(t, fetch(t, many, "http://blocked.example/").body), "").status == http.StatusOK {
			kept++
		}
	}
	if kept != 5 {
		t.Errorf("%d of 10 presses of one tablet were kept, want 5", kept)
	}
	if got := fetch(t, b.Client("127.0.0.2"), "http://blocked.example/").body; strings.Contains(got, "schoolgate-tell") {
		t.Error("an adult's page has the button")
	}
	b.Stop()
	if out := b.Run("audit", "verify"); !strings.Contains(out, "verified") {
		t.Error(out)
	}
}

// An incident that a page opened just before the power went, whose alert was not
// written yet, is told when the box is back.
func TestToldIsRaisedAfterACrash(t *testing.T) {
	mail := testkit.NewSMTP(t, testkit.SMTPOptions{})
	b := alertBox(t, mail)
	b.Start()
	b.Stop()
	openedByAPage(t, b)
	b.Start()
	defer b.Stop()
	wantMails(t, mail, map[string]int{"dsl@school.example 3": 1})
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		if strings.Contains(b.Run("incidents", "show", "IN-1", "--by", "A DSL", "--reason", "to see it"), "Those who must hear were told") {
			break
		}
		if time.Now().After(end) {
			t.Fatal("it is not noted that it was told")
		}
	}
	b.Stop()
	b.Start()
	if out := b.Run("audit", "export", "--ids", "--flagged"); strings.Count(out, "\n") != 1 {
		t.Errorf("told again after another restart:\n%s", out)
	}
}

// openedByAPage puts an incident into the register as a press of the button does.
func openedByAPage(t *testing.T, b *testkit.Box) {
	t.Helper()
	j, err := audit.Open(filepath.Join(b.Dir, "data", "incidents"), audit.Options{})
	if err != nil {
		t.Fatal(err)
	}
	none := func(func(policy.Event, error) bool) {}
	_, err = incidents.Read(none, j).Do(incidents.Command{Act: incidents.ActOpen, By: "a pupil", Change: incidents.Change{
		Kind: incidents.Told, Source: incidents.SourcePage, Facts: &incidents.Facts{Event: 7, Time: time.Now(), Client: "127.0.1.1"},
	}})
	if err := errors.Join(err, j.Close()); err != nil {
		t.Fatal(err)
	}
}

// The box is killed while people open incidents and cut devices off: what a command
// said was done is there afterwards, all of it, and nothing twice.
func TestKillLosesNoIncident(t *testing.T) {
	b := testkit.NewBox(t, testkit.BoxOptions{})
	said := map[string]int{}
	cut := map[string]bool{}
	for round := range 3 {
		b.Start()
		var got []string
		var devices []string
		enough, stopped := make(chan struct{}), make(chan struct{})
		go func() {
			defer close(stopped)
			for n := 0; ; n++ {
				out, _, err := b.Try("incidents", "open", "--by", "A Teacher", "--kind", "bullying", "--text", fmt.Sprintf("round %d, %d", round, n))
				if err != nil {
					return // the box is gone, or the command alone was told that another is starting
				}
				got = append(got, out[:strings.IndexByte(out, ':')])
				device := fmt.Sprintf("127.0.%d.%d", 20+round, n+1)
				if _, _, err := b.Try("quarantine", "add", device, "--by", "A Teacher", "--reason", "for the test"); err != nil {
					return
				}
				devices = append(devices, device)
				if n == 3 {
					close(enough)
				}
				if n == 12 {
					return
				}
			}
		}()
		<-enough
		b.Kill()
		<-stopped
		for _, ref := range got {
			said[ref]++
		}
		for _, d := range devices {
			cut[d] = true
		}
	}
	b.Start()
	defer b.Stop()
	list, closed := b.Run("incidents", "list", "--by", "A Lead"), b.Run("quarantine", "list")
	for ref, n := range said {
		if n != 1 || strings.Count(list, ref+" ") != 1 {
			t.Errorf("%s was said to be opened %d times and is there %d times", ref, n, strings.Count(list, ref+" "))
		}
	}
	for d := range cut {
		if !strings.Contains(closed, d+" ") {
			t.Errorf("%s was said to be cut off, and is not", d)
		}
	}
	if len(said) < 9 || len(cut) < 9 {
		t.Errorf("%d incidents and %d devices: too few to prove anything", len(said), len(cut))
	}
}

// The page at the sinkhole, where a blocked name leads a browser without a proxy, has
// the button too.
func TestTellAtTheSinkhole(t *testing.T) {
	b := testkit.NewBox(t, testkit.BoxOptions{})
	config, err := os.ReadFile(b.Config)
	if err != nil {
		t.Fatal(err)
	}
	sinkhole := fmt.Sprintf("127.0.0.1:%d", testkit.FreePorts(t, 1)[0])
	b.Write("schoolgate.yaml", strings.Replace(string(config), "proxy:\n", fmt.Sprintf("proxy:\n  page_listen: [%q]\n", sinkhole), 1))
	b.Start()
	defer b.Stop()
	from := &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP("127.0.1.4")}}
	browser := &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
		return from.DialContext(ctx, network, sinkhole)
	}}}
	form := button(t, fetch(t, browser, "http://blocked.example/page").body)
	if got := press(t, browser, "http://blocked.example", form, "http://blocked.example"); got.status != http.StatusOK || !strings.Contains(got.body, "Thank you") {
		t.Errorf("pressed: %d %s", got.status, got.body)
	}
	if shown := b.Run("incidents", "show", "IN-1", "--by", "A DSL", "--reason", "a child told us"); !strings.Contains(shown, "127.0.1.4") {
		t.Errorf("the record:\n%s", shown)
	}
}
