package audit

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"schoolgate/policy"
)

// naughty are strings that have broken log readers: one is put into every field.
var naughty = []string{
	"=1+1", "+1", "-1+1", "@SUM(A1)", "\t=1", "\r=1", " =1", "\u00a0=1", "\u200b=1", "＝1", "|calc", "%x",
	"=cmd|' /C calc'!A0", "a\nb", "a\r\nb", "a,b", `a"b`, "'", "a\x00b", "\x1b[2J\x1b]0;x\x07", "\x9b31m", "\u009b31m",
	"\u202egpj.exe", "\u2066x\u2069", "a\u2028b\u2029c", "\ufeffx", "\xff\xfe", "\xc3\x28", "\xed\xa0\x80", "\U000e0041", "\U0010ffff",
	"<script>alert(1)</script>", `\n`, `\x1b`, "日本語", "عربى", "Z͑ͫ̓a", "🏳️‍🌈", strings.Repeat("x", 5000), "null", "NaN", "../../etc/passwd", "%n%s", "", " ",
}

func naughtyEvents() (evs []policy.Event) {
	for _, s := range naughty {
		evs = append(evs, policy.Event{
			Time: time.Unix(1790000000, 0).UTC(), Door: policy.DoorHTTP, Client: s, Device: s, Group: s, Profile: s, Host: s,
			Path: s, Method: s, Rule: s, Finding: s, PolicyVersion: s, Severity: 255, Status: -1, StoreVersion: 1<<64 - 1,
		})
	}
	return evs
}

func recorded(t testing.TB, evs []policy.Event) Dir {
	t.Helper()
	dir := t.TempDir()
	j := openTest(t, dir, Options{})
	if err := j.RecordBatch(evs); err != nil {
		t.Fatal(err)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	return Dir{Path: dir}
}

func export(t testing.TB, d Dir, f Format, q Query) string {
	t.Helper()
	var b bytes.Buffer
	if _, err := d.Export(t.Context(), &b, f, q); err != nil {
		t.Fatalf("Export(%s): %v", f, err)
	}
	return b.String()
}

// T13: no field makes a second line, a formula or a terminal sequence.
func TestNaughtyStrings(t *testing.T) {
	evs := naughtyEvents()
	d := recorded(t, evs)
	for _, f := range []Format{CSV, JSON, IDs} {
		out := export(t, d, f, Query{})
		lines := len(evs)
		if f == CSV {
			lines++
		}
		if got := strings.Count(out, "\n"); got != lines {
			t.Errorf("Export(%s) has %d lines, want %d", f, got, lines)
		}
		for _, r := range strings.NewReplacer("\r\n", "", "\n", "").Replace(out) {
			if invisible(r) {
				t.Errorf("Export(%s) holds a raw %U", f, r)
			}
		}
	}
	table := NewTable(120)
	for i := range evs {
		line := table.Line(&evs[i])
		if n := len([]rune(line)); n > 120 || strings.ContainsFunc(line, invisible) {
			t.Errorf("Line = %q: %d characters or control characters", line, n)
		}
	}
	rows, err := csv.NewReader(strings.NewReader(export(t, d, CSV, Query{}))).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range rows[1:] {
		for i, c := range row {
			trimmed := strings.TrimSpace(c)
			if trimmed != "" && csvColumns[i] != "status" && strings.ContainsAny(trimmed[:1], "=+-@|%\t\r") {
				t.Errorf("column %s begins a formula: %q", csvColumns[i], c)
			}
		}
	}
}

// What JSON lines say is what was recorded, whatever it was.
func TestExportJSON(t *testing.T) {
	want := naughtyEvents()
	d := recorded(t, want)
	lines := strings.Split(strings.TrimSpace(export(t, d, JSON, Query{})), "\n")
	for i, line := range lines {
		var got policy.Event
		if err := json.Unmarshal([]byte(line), &got); err != nil {
			t.Fatalf("line %d: %v: %s", i+1, err, line)
		}
		w := want[i]
		for _, s := range []*string{&w.Client, &w.Device, &w.Group, &w.Profile, &w.Host, &w.Method, &w.Rule, &w.Finding, &w.PolicyVersion} {
			*s = toUTF8(clip(*s, maxField))
		}
		w.Path = toUTF8(w.Path)
		if diff := cmp.Diff(w, got); diff != "" {
			t.Errorf("line %d (-want +got):\n%s", i+1, diff)
		}
	}
}

// toUTF8 is s as JSON keeps it: bytes that are no text are replaced one by one.
func toUTF8(s string) string { return string([]rune(s)) }

func TestExportCSV(t *testing.T) {
	e := flagged(0)
	e.Time = time.Date(2026, 3, 3, 10, 15, 4, 0, time.UTC)
	got := export(t, recorded(t, []policy.Event{e}), CSV, Query{})
	want := "id,time,door,client,device,group,profile,pupil,host,path,method,verdict,reason,category,rule,severity,finding,status,policy,store,person,port,use,words,theme,term,type,size,act,subject,note\r\n" +
		"SG-1,2026-03-03T10:15:04Z,dns,10.2.0.0,tablet-7,year5,ks2,true,host0.example,,A,block,category,gambling,policy.yaml:12,4,,,v3,42,,,,,,,,,,,\r\n"
	if got != want {
		t.Errorf("CSV =\n%s\nwant\n%s", got, want)
	}
	if got := export(t, recorded(t, []policy.Event{e, e}), IDs, Query{}); got != "SG-1\nSG-2\n" {
		t.Errorf("ids = %q", got)
	}
}

// D7, S13: time, device, address, group, host, verdict, category, rule, number.
func TestTable(t *testing.T) {
	e := flagged(3)
	e.ID, e.Time = 46027, time.Date(2026, 3, 3, 10, 15, 4, 0, time.UTC)
	table := NewTable(0)
	table.Location = time.UTC
	want := "2026-03-03 10:15:04 tablet-7         year5      dns     block   host3.example                            gambling            policy.yaml:12       SG-ZIJ"
	want = strings.Replace(want, "SG-ZIJ", e.ID.String(), 1)
	if got := table.Line(&e); got != want {
		t.Errorf("Line =\n%q, want\n%q", got, want)
	}
	e.Category, e.Reason = policy.Uncategorised, policy.ReasonProtocol
	if got := table.Line(&e); !strings.Contains(got, "(protocol)") {
		t.Errorf("Line = %q, want the reason where there is no category", got)
	}
	if head := table.Head(); strings.Index(head, "host") != strings.Index(want, "host3") || strings.Index(head, "id") != strings.Index(want, "SG-") {
		t.Errorf("Head is not above its columns:\n%s\n%s", head, want)
	}
}

func TestSearch(t *testing.T) {
	at := func(h, m int) time.Time { return time.Date(2026, 3, 3, h, m, 0, 0, time.UTC) }
	mk := func(h, m int, client, host string, change func(*policy.Event)) policy.Event {
		e := policy.Event{Time: at(h, m), Door: policy.DoorDNS, Client: client, Host: host, Verdict: policy.Allow, Reason: policy.ReasonDefault}
		if change != nil {
			change(&e)
		}
		return e
	}
	evs := []policy.Event{
		mk(9, 0, "10.2.0.7", "example.com", nil),
		mk(9, 5, "10.2.0.8", "poker.example", func(e *policy.Event) {
			e.Verdict, e.Category, e.Severity, e.Group, e.Device = policy.Block, policy.Gambling, 2, "year5", "tablet-8"
		}),
		mk(8, 0, "10.3.0.1", "www.example.com", func(e *policy.Event) { e.Profile, e.Path = "staff", "/Staff/Rota" }), // the clock was set back
		mk(10, 0, "2001:db8::7", "badexample.com", func(e *policy.Event) { e.Verdict = policy.Warn }),
	}
	tests := []struct {
		name string
		q    Query
		want []policy.EventID
	}{
		{"everything, by number and not by clock", Query{}, []policy.EventID{1, 2, 3, 4}},
		{"newest first", Query{Newest: true}, []policy.EventID{4, 3, 2, 1}},
		{"newest two", Query{Newest: true, Limit: 2}, []policy.EventID{4, 3}},
		{"from", Query{From: at(9, 5)}, []policy.EventID{2, 4}},
		{"to, exclusive", Query{To: at(9, 5)}, []policy.EventID{1, 3}},
		{"no time at all", Query{From: at(11, 0)}, nil},
		{"client", Query{Client: "10.2.0.7"}, []policy.EventID{1}},
		{"client as IPv4 in IPv6", Query{Client: "::ffff:10.2.0.7"}, []policy.EventID{1}},
		{"clients of a range", Query{Client: "10.2.0.0/16"}, []policy.EventID{1, 2}},
		{"client of IPv6, written out", Query{Client: "2001:db8:0:0::7"}, []policy.EventID{4}},
		{"host and below, by whole labels", Query{Host: "Example.com"}, []policy.EventID{1, 3}},
		{"host with a star", Query{Host: "*.example.com"}, []policy.EventID{1, 3}},
		{"group", Query{Group: "year5"}, []policy.EventID{2}},
		{"device", Query{Device: "tablet-8"}, []policy.EventID{2}},
		{"profile", Query{Profile: "staff"}, []policy.EventID{3}},
		{"category", Query{Category: policy.Gambling}, []policy.EventID{2}},
		{"verdict", Query{Verdicts: []policy.Verdict{policy.Block}}, []policy.EventID{2}},
		{"verdicts", Query{Verdicts: []policy.Verdict{policy.Block, policy.Warn}}, []policy.EventID{2, 4}},
		{"flagged", Query{Flagged: true}, []policy.EventID{2}},
		{"text in any case", Query{Text: "rota"}, []policy.EventID{3}},
	}
	for _, size := range []int64{1, defaultSegmentSize} { // a segment an event, and one for all
		dir := t.TempDir()
		j := openTest(t, dir, Options{SegmentSize: size})
		for _, e := range evs {
			if err := j.Record(&e); err != nil {
				t.Fatal(err)
			}
		}
		for _, tt := range tests {
			var got []policy.EventID
			for e, err := range (Dir{Path: dir}).Search(t.Context(), tt.q) {
				if err != nil {
					t.Fatalf("%s: %v", tt.name, err)
				}
				got = append(got, e.ID)
			}
			if !slices.Equal(got, tt.want) {
				t.Errorf("Search(%s) = %v, want %v", tt.name, got, tt.want)
			}
		}
	}
}

// Every format version ever written stays readable. The fixture was written by
// TestFixture with SCHOOLGATE_WRITE_FIXTURE set to its directory.
func TestFixture(t *testing.T) {
	want := append(naughtyEvents(), event(1), flagged(2))
	if to := os.Getenv("SCHOOLGATE_WRITE_FIXTURE"); to != "" {
		j := openTest(t, to, Options{})
		if err := j.RecordBatch(slices.Clone(want)); err != nil {
			t.Fatal(err)
		}
		return
	}
	d := Dir{Path: filepath.Join("testdata", "v1")}
	r, err := d.Verify(t.Context(), VerifyOptions{})
	if err != nil || !r.OK() || r.Events != uint64(len(want)) || r.Unopened > 0 {
		t.Fatalf("Verify(v1) = %+v, %v", r, err)
	}
	var i int
	for e, err := range d.Search(t.Context(), Query{}) {
		if err != nil {
			t.Fatal(err)
		}
		w := want[i]
		i++
		w.ID = policy.EventID(i)
		for _, s := range []*string{&w.Client, &w.Device, &w.Group, &w.Profile, &w.Host, &w.Method, &w.Rule, &w.Finding, &w.PolicyVersion} {
			*s = clip(*s, maxField)
		}
		if e != w {
			t.Errorf("event %d of v1 = %+v, want %+v", i, e, w)
		}
	}
}
