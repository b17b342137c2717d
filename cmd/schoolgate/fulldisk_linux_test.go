package main

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/miekg/dns"

	"schoolgate/internal/testkit"
)

// A full disk closes the box to everybody whose request would be recorded, staff too,
// but only once its reserve is used up; a child's help-line, which is not recorded,
// answers all the while; and the box opens by itself once there is room (F3).
func TestFullDisk(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("SKIPPED: it mounts a small disk, for which it must be root")
	}
	upstream := testkit.NewUpstream(t, "www.childline.org.uk. 60 IN A 203.0.113.7", "lesson.example. 60 IN A 203.0.113.8")
	b := testkit.NewBox(t, testkit.BoxOptions{Upstream: upstream.Addr})
	data := filepath.Join(b.Dir, "data")
	if err := os.Mkdir(data, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount("tmpfs", data, "tmpfs", 0, "size=160m"); err != nil {
		t.Skipf("SKIPPED: a small disk cannot be mounted here: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(data, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	b.Start()
	defer b.Stop()
	answered := 0
	gets := func(from, name string) string {
		r, err := b.Ask(from, "udp", name, dns.TypeA)
		if err != nil {
			t.Fatal(err)
		}
		if len(r.Answer) == 1 && name == "lesson.example" {
			answered++
		}
		return dns.RcodeToString[r.Rcode]
	}
	says := func(what string) {
		t.Helper()
		if _, page := health(t, b, "/readyz"); !strings.Contains(page, what) {
			t.Errorf("/readyz does not say %q:\n%s", what, page)
		}
	}

	says("ok       disk")
	room := fill(t, filepath.Join(data, "first"))
	says("NOT OK   disk       100% in use, 0.0 GB free: full")
	if got := gets("127.0.0.1", "lesson.example"); got != "NOERROR" { // it needs a new segment, and this month's key
		t.Errorf("a full disk with a reserve: %s\n%s", got, b.Log())
	}
	room = append(room, fill(t, filepath.Join(data, "second"))...)
	for n := 0; gets("127.0.0.1", "lesson.example") == "NOERROR"; n++ { // its page has room for some
		if n == 10000 {
			t.Fatal("a full disk takes records without end")
		}
	}
	for range 300 {
		for _, from := range []string{"127.0.0.1", "127.0.0.2"} {
			if got := gets(from, "lesson.example"); got != "SERVFAIL" {
				t.Fatalf("%s gets %s though nothing can be recorded", from, got)
			}
		}
	}
	for _, from := range testkit.Clients {
		if got := gets(from, "www.childline.org.uk"); got != "NOERROR" {
			t.Errorf("%s gets %s for a help-line", from, got)
		}
		if got := fetch(t, b.Client(from), "http://lesson.example/"); got.status != 503 {
			t.Errorf("%s gets %d from the proxy though nothing can be recorded", from, got.status)
		}
	}
	says("NOT OK   journal")
	if n := b.Log().Count("event not recorded"); n > 20 {
		t.Errorf("%d lines in the log tell of some 600 refusals", n)
	}

	for _, f := range room {
		if err := os.Remove(f); err != nil {
			t.Fatal(err)
		}
	}
	for end := time.Now().Add(30 * time.Second); gets("127.0.0.1", "lesson.example") != "NOERROR"; {
		if time.Now().After(end) {
			t.Fatalf("closed though there is room again:\n%s", b.Log())
		}
	}
	says("ok       journal")
	recorded := 0
	for _, e := range exported(t, b) {
		if e.Host == "lesson.example" {
			recorded++
		}
	}
	if recorded != answered {
		t.Errorf("%d questions answered, %d in the journal", answered, recorded)
	}
	b.Run("audit", "verify")
}

// fill writes until there is no room, and returns the file.
func fill(t *testing.T, name string) []string {
	t.Helper()
	f, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for {
		if _, err := f.Write(make([]byte, 64<<10)); errors.Is(err, syscall.ENOSPC) {
			return []string{name}
		} else if err != nil {
			t.Fatal(err)
		}
	}
}
