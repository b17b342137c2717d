package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"
	"github.com/rogpeppe/go-internal/testscript"

	"schoolgate/audit"
	"schoolgate/internal/testkit"
	"schoolgate/policy"
)

// TestScript meets the command as its user does: each file of testdata/script is
// a behaviour, with the input files it needs.
func TestScript(t *testing.T) {
	sample, err := filepath.Abs("../../configs/sample")
	if err != nil {
		t.Fatal(err)
	}
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script",
		Setup: func(env *testscript.Env) error {
			env.Setenv("SAMPLE", sample)
			env.Setenv("GORACE", os.Getenv("GORACE"))
			ports := testkit.FreePorts(t, 3)
			for i, name := range []string{"DNS", "PROXY", "HEALTH"} {
				env.Setenv(name, "127.0.0.1:"+strconv.Itoa(ports[i]))
			}
			return nil
		},
		Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){
			"exitcode": exitcode, "longline": longline, "flip": flip, "shorten": shorten,
			"cutrecord": cutrecord, "targz": targz, "gzip": gzipped, "bomb": bomb, "journal": journal, "searches": searched,
			"ready": ready, "expand": expand, "sort": sorted, "junk": junk, "ask": ask, "spoil": spoil,
		},
	})
}

// want stops a script that calls a helper with the wrong arguments.
func want(ts *testscript.TestScript, neg bool, args []string, n int, usage string) {
	if neg || len(args) < n {
		ts.Fatalf("usage: %s", usage)
	}
}

// edit rewrites a file.
func edit(ts *testscript.TestScript, name string, change func([]byte) []byte) {
	path := ts.MkAbs(name)
	text, err := os.ReadFile(path)
	ts.Check(err)
	ts.Check(os.WriteFile(path, change(text), 0o600))
}

// exitcode N COMMAND...: the command ends with this very code.
func exitcode(ts *testscript.TestScript, neg bool, args []string) {
	want(ts, neg, args, 2, "exitcode N COMMAND [ARG...]")
	err := ts.Exec(args[1], args[2:]...)
	got := 0
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
		got = exit.ExitCode()
	} else {
		ts.Check(err)
	}
	if strconv.Itoa(got) != args[0] {
		ts.Fatalf("%s ended with exit code %d, want %s", strings.Join(args[1:], " "), got, args[0])
	}
}

// longline FILE BYTES: a line without an end.
func longline(ts *testscript.TestScript, neg bool, args []string) {
	want(ts, neg, args, 2, "longline FILE BYTES")
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), bytes.Repeat([]byte("x"), number(ts, args[1])), 0o600))
}

func number(ts *testscript.TestScript, s string) int {
	n, err := strconv.Atoi(s)
	ts.Check(err)
	return n
}

// flip FILE OFFSET: one bit of one byte is not as it was; a negative offset
// counts from the end.
func flip(ts *testscript.TestScript, neg bool, args []string) {
	want(ts, neg, args, 2, "flip FILE OFFSET")
	edit(ts, args[0], func(b []byte) []byte {
		at := number(ts, args[1])
		if at < 0 {
			at += len(b)
		}
		b[at] ^= 1
		return b
	})
}

// spoil FOLDER VERSION: the middle of a store's version is noise.
func spoil(ts *testscript.TestScript, neg bool, args []string) {
	want(ts, neg, args, 2, "spoil FOLDER VERSION")
	name := filepath.Join(args[0], fmt.Sprintf("store-%d.db", number(ts, args[1])))
	edit(ts, name, func(b []byte) []byte {
		for i := len(b) / 3; i < len(b)*2/3; i++ {
			b[i] ^= 0x5a
		}
		return b
	})
}

// shorten FILE BYTES: the end of the file is gone.
func shorten(ts *testscript.TestScript, neg bool, args []string) {
	want(ts, neg, args, 2, "shorten FILE BYTES")
	edit(ts, args[0], func(b []byte) []byte { return b[:len(b)-number(ts, args[1])] })
}

// cutrecord FILE N: the N-th record of a journal segment is gone, and what was
// behind it has moved up.
func cutrecord(ts *testscript.TestScript, neg bool, args []string) {
	want(ts, neg, args, 2, "cutrecord FILE N")
	edit(ts, args[0], func(b []byte) []byte {
		records := bytes.Split(b, []byte("SGfr")) // the mark a record begins with
		n := number(ts, args[1])
		return bytes.Join(append(records[:n:n], records[n+1:]...), []byte("SGfr"))
	})
}

// targz FILE FOLDER: the folder as a compressed archive.
func targz(ts *testscript.TestScript, neg bool, args []string) {
	want(ts, neg, args, 2, "targz FILE FOLDER")
	var out bytes.Buffer
	zw := gzip.NewWriter(&out)
	tw := tar.NewWriter(zw)
	folder := ts.MkAbs(args[1])
	ts.Check(filepath.WalkDir(folder, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		name, err := filepath.Rel(filepath.Dir(folder), path)
		if err != nil {
			return err
		}
		if err := tw.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: int64(len(text))}); err != nil {
			return err
		}
		_, err = tw.Write(text)
		return err
	}))
	ts.Check(errors.Join(tw.Close(), zw.Close()))
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), out.Bytes(), 0o600))
}

// gzip FILE FROM: FILE is FROM compressed.
func gzipped(ts *testscript.TestScript, neg bool, args []string) {
	want(ts, neg, args, 2, "gzip FILE FROM")
	writeGzip(ts, args[0], strings.NewReader(ts.ReadFile(args[1])))
}

// bomb FILE MEGABYTES: a few kilobytes that unpack to so much of a valid list.
func bomb(ts *testscript.TestScript, neg bool, args []string) {
	want(ts, neg, args, 2, "bomb FILE MEGABYTES")
	line := "poker.example\n"
	writeGzip(ts, args[0], strings.NewReader(strings.Repeat(line, number(ts, args[1])<<20/len(line))))
}

func writeGzip(ts *testscript.TestScript, name string, from io.Reader) {
	var out bytes.Buffer
	zw := gzip.NewWriter(&out)
	_, err := io.Copy(zw, from)
	ts.Check(errors.Join(err, zw.Close()))
	ts.Check(os.WriteFile(ts.MkAbs(name), out.Bytes(), 0o600))
}

// journal FOLDER: six events of one lesson, among them what a spreadsheet would
// take for a formula.
func journal(ts *testscript.TestScript, neg bool, args []string) {
	want(ts, neg, args, 1, "journal FOLDER")
	j, err := audit.Open(ts.MkAbs(args[0]), audit.Options{})
	ts.Check(err)
	lesson := time.Date(2026, 11, 24, 10, 15, 0, 0, time.UTC)
	child := policy.Event{Client: "10.2.15.7", Device: "year5-tablet", Group: "year5", Profile: "ks2", Pupil: true}
	adult := policy.Event{Client: "10.2.100.9", Device: `=HYPERLINK("http://x.example")`, Group: "staff", Profile: "staff"}
	for i, e := range []struct {
		who policy.Event
		set func(*policy.Event)
	}{
		{child, func(e *policy.Event) {
			e.Door, e.Host, e.Method, e.Category, e.Rule = policy.DoorDNS, "poker.example", "A", policy.Gambling, "policy.yaml:51"
			e.Reason = policy.ReasonCategory
		}},
		{child, func(e *policy.Event) {
			e.Door, e.Host, e.Path, e.Method = policy.DoorHTTP, "www.example.org", "/volcanoes", "GET"
			e.Verdict, e.Reason, e.Status = policy.Allow, policy.ReasonUncategorised, 200
		}},
		{adult, func(e *policy.Event) {
			e.Door, e.Host, e.Path, e.Method = policy.DoorHTTP, "www.example.org", "/@SUM(1)", "GET"
			e.Verdict, e.Reason, e.Status = policy.Allow, policy.ReasonUncategorised, 200
		}},
		{child, func(e *policy.Event) {
			e.Door, e.Host, e.Category, e.Severity = policy.DoorDNS, "adult.example", policy.Pornography, 3
			e.Reason = policy.ReasonCategory
		}},
		{child, func(e *policy.Event) {
			e.Door, e.Category, e.Severity, e.Reason = policy.DoorDNS, policy.ChildAbuse, 5, policy.ReasonMandatory
		}},
		{adult, func(e *policy.Event) {
			e.Door, e.Host, e.Category, e.Verdict = policy.DoorDNS, "deep.poker.example", policy.Gambling, policy.Block
			e.Reason = policy.ReasonCategory
		}},
	} {
		event := e.who
		e.set(&event)
		event.Time = lesson.Add(time.Duration(i) * time.Minute)
		ts.Check(j.Record(&event))
	}
	ts.Check(j.Close())
}

// searches FOLDER: a journal of what a child searched for in the last days.
func searched(ts *testscript.TestScript, neg bool, args []string) {
	want(ts, neg, args, 1, "searches FOLDER")
	ts.Check(os.MkdirAll(filepath.Dir(ts.MkAbs(args[0])), 0o700))
	j, err := audit.Open(ts.MkAbs(args[0]), audit.Options{})
	ts.Check(err)
	for i, words := range []string{"Sunny Hill Gang", "how to draw a cat", "buy weed", "Sunny Hill Gang"} {
		ts.Check(j.Record(&policy.Event{
			Time: time.Now().Add(-time.Duration(i) * 24 * time.Hour), Door: policy.DoorInspect, Device: "tablet-7", Profile: "ks2", Pupil: true,
			Host: "www.google.com", Path: "/search", Words: words, Verdict: policy.Allow, Reason: policy.ReasonDefault,
		}))
	}
	ts.Check(j.Close())
}

// sort FILE: its lines in order, for what is written in no order.
func sorted(ts *testscript.TestScript, neg bool, args []string) {
	want(ts, neg, args, 1, "sort FILE")
	edit(ts, args[0], func(b []byte) []byte {
		return []byte(strings.Join(slices.Sorted(strings.Lines(string(b))), ""))
	})
}

// junk FILE: what a broken download may leave.
func junk(ts *testscript.TestScript, neg bool, args []string) {
	want(ts, neg, args, 1, "junk FILE")
	noise := make([]byte, 64<<10)
	rand.NewChaCha8([32]byte{}).Read(noise)
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), noise, 0o600))
}

// ask dns HOST: whether the DNS door blocks a name, as its answer says.
func ask(ts *testscript.TestScript, neg bool, args []string) {
	want(ts, neg, args, 2, "ask dns HOST")
	q := new(dns.Msg).SetQuestion(dns.Fqdn(args[1]), dns.TypeA)
	q.SetEdns0(1232, false)
	client := dns.Client{Timeout: 10 * time.Second}
	r, _, err := client.Exchange(q, ts.Getenv("DNS"))
	ts.Check(err)
	said := "not blocked"
	if testkit.Blocked(r) {
		said = "blocked"
	}
	fmt.Fprintln(ts.Stdout(), said)
}

// [!] ready ADDR: the appliance that was started in the background serves; with !
// it serves and says that it is not well.
func ready(ts *testscript.TestScript, neg bool, args []string) {
	want(ts, false, args, 1, "[!] ready ADDR")
	if !neg {
		ts.Check(testkit.Ready(args[0], 20*time.Second, nil))
		return
	}
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		resp, err := http.Get("http://" + args[0] + "/readyz")
		if err != nil && time.Now().Before(end) {
			continue
		}
		ts.Check(err)
		ts.Check(resp.Body.Close())
		if resp.StatusCode != http.StatusServiceUnavailable {
			ts.Fatalf("%s: %s, want 503", args[0], resp.Status)
		}
		return
	}
}

// expand FILE: $NAMES in it become what they stand for.
func expand(ts *testscript.TestScript, neg bool, args []string) {
	want(ts, neg, args, 1, "expand FILE")
	edit(ts, args[0], func(b []byte) []byte { return []byte(os.Expand(string(b), ts.Getenv)) })
	if strings.Contains(ts.ReadFile(args[0]), "$") {
		ts.Fatalf("%s: a name was not expanded", args[0])
	}
}
