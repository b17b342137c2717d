package appliance

import (
	"bytes"
	"context"
	"encoding/csv"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"schoolgate/blocklists"
	"schoolgate/categories"
	"schoolgate/configs"
	"schoolgate/internal/testkit"
	"schoolgate/policy"
	"schoolgate/supply"
)

var testKey = bytes.Repeat([]byte{7}, categories.KeySize)

// real is the store of all shared lists, built once for all tests.
var real = struct {
	once  sync.Once
	dir   string
	store *categories.Store
	err   error
}{}

func TestMain(m *testing.M) {
	if path := os.Getenv(weighedStore); path != "" {
		if err := weigh(os.Stdout, path, os.Getenv(weighedNames)); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	code := m.Run()
	if real.dir != "" {
		if err := os.RemoveAll(real.dir); err != nil {
			code = 1
		}
	}
	os.Exit(code)
}

// realStore builds the store of ../shared/lists, or skips. Under the race detector
// the program does it as it ships: six million names are no other race than ten.
func realStore(t testing.TB) *categories.Store {
	t.Helper()
	testkit.Lists(t)
	if testing.Short() {
		t.Skip("SKIPPED: building a store of 6.8 million names, in a short run")
	}
	real.once.Do(func() {
		if real.dir, real.err = os.MkdirTemp("", "schoolgate-lists-"); real.err != nil {
			return
		}
		feeds, out, key := filepath.Join("..", "configs", "feeds.shared.yaml"), filepath.Join(real.dir, "store.db"), testKey
		if underRace {
			real.err = buildByProgram(real.dir, feeds, out)
			if real.err == nil {
				key, real.err = categories.StoreKey(real.dir)
			}
		} else {
			real.err = buildHere(t.Context(), feeds, out)
		}
		if real.err == nil {
			real.store, real.err = categories.Open(out, key)
		}
	})
	if real.err != nil {
		t.Fatal(real.err)
	}
	return real.store
}

func buildHere(ctx context.Context, file, out string) error {
	feeds, problems := blocklists.LoadFeeds(file)
	if err := blocklists.Joined(problems); err != nil {
		return err
	}
	_, err := supply.BuildLists(ctx, supply.ListsBuild{Feeds: feeds.Enabled(), Out: out, Key: testKey, Version: 1})
	return err
}

func buildByProgram(dir, file, out string) error {
	program := filepath.Join(dir, "schoolgate")
	if err := testkit.BuildProgram(program); err != nil {
		return err
	}
	text, err := exec.Command(program, "lists", "build", "--feeds", file, "--out", out).CombinedOutput()
	if err != nil {
		return fmt.Errorf("lists build: %w\n%s", err, text)
	}
	return nil
}

// sampleSnapshot is the sample school's policy over a store.
func sampleSnapshot(t *testing.T, store *categories.Store) *policy.Snapshot {
	t.Helper()
	cfg, problems := configs.Load("")
	for _, p := range problems {
		t.Fatal(p)
	}
	return &policy.Snapshot{Policy: cfg.School.Policy, Lists: store}
}

// schoolTime is a Tuesday morning in term.
var schoolTime = time.Date(2026, 11, 24, 10, 15, 0, 0, time.UTC)

func verdict(t *testing.T, s *policy.Snapshot, profile, host string) policy.Ruling {
	t.Helper()
	h, err := policy.ParseHost(host)
	if err != nil {
		t.Fatal(err)
	}
	r, _, ok := s.DecideFor(profile, policy.Request{Door: policy.DoorDNS, Host: h, Time: schoolTime})
	if !ok {
		t.Fatalf("no profile %q", profile)
	}
	return r
}

// The two ways to be wrong, measured on sites that a person labelled. testdata
// holds what a primary school in the UK meets: sites.csv was written beside the
// starter lists, sites-independent.csv before they were read, from knowledge alone.
// The rates are printed and held at one in a hundred.
func TestLabelledSites(t *testing.T) { // R1, C1-C12
	store := realStore(t)
	snapshot := sampleSnapshot(t, store)
	for _, file := range []string{"sites.csv", "sites-independent.csv", "sites-fresh.csv", "sites-longtail.csv"} {
		header, rows := labelled(t, file)
		for i, profile := range header[1:] {
			measure(t, snapshot, file, profile, rows, i+1)
		}
	}
}

func labelled(t *testing.T, file string) (header []string, rows [][]string) {
	t.Helper()
	f, err := os.Open(filepath.Join("testdata", file))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	rows, err = csv.NewReader(f).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	return rows[0], rows[1:]
}

// measure holds the two rates of one profile on one table. A star is a site on
// which careful people differ.
func measure(t *testing.T, snapshot *policy.Snapshot, file, profile string, rows [][]string, column int) {
	t.Helper()
	block, allow, missed, over := 0, 0, 0, 0
	for _, row := range rows {
		want := row[column]
		if want == "*" {
			continue
		}
		got := verdict(t, snapshot, profile, row[0])
		wrong := got.Verdict.String() != want
		if want == "block" {
			block++
		} else {
			allow++
		}
		switch {
		case wrong && want == "block":
			missed++
		case wrong:
			over++
		}
		if wrong {
			t.Logf("%s for %s = %s by %s %v, want %s", row[0], profile, got.Verdict, got.Category, got.Facts.Categories.IDs(), want)
		}
	}
	t.Logf("%s, %s: missed %d of %d, over-blocked %d of %d", file, profile, missed, block, over, allow)
	if missed*100 > block || over*100 > allow {
		t.Errorf("%s, %s: missed %d of %d, over-blocked %d of %d; want at most one in a hundred", file, profile, missed, block, over, allow)
	}
}

// What the project made by hand must never be blocked by what it collected.
func TestSeedsStayOpen(t *testing.T) {
	store := realStore(t)
	snapshot := sampleSnapshot(t, store)
	// Checks that are one page of a whole site do not open it to the youngest.
	notForTheYoungest := map[string]bool{"www.google.com": true, "www.apple.com": true, "fedoraproject.org": true}
	for file, profiles := range map[string][]string{
		"seeds/helplines-never-block.csv":    {"eyfs", "ks1", "ks2", "staff", "guest"},
		"seeds/approved-sites.csv":           {"ks2", "staff"},
		"seeds/child-search-engines.csv":     {"ks2", "staff"},
		"infra/captive-portal-checks.csv":    {"eyfs", "ks1", "ks2", "staff", "guest"},
		"benign/hipo-uk-universities.csv.gz": {"ks2", "staff"},
	} {
		hosts := firstColumn(t, filepath.Join(testkit.Lists(t), filepath.FromSlash(file)))
		for _, host := range hosts {
			for _, profile := range profiles {
				if notForTheYoungest[host] && (profile == "eyfs" || profile == "ks1") {
					continue
				}
				if got := verdict(t, snapshot, profile, host); got.Verdict != policy.Allow {
					t.Errorf("%s (%s) for %s = %s by %s %v, want allow", host, file, profile, got.Verdict, got.Category, got.Facts.Categories.IDs())
				}
			}
		}
	}
}

// firstColumn reads the first column of a CSV file through the feed reader.
func firstColumn(t *testing.T, path string) []string {
	t.Helper()
	column := "host"
	if strings.Contains(path, "universities") {
		column = "domain"
	}
	var hosts []string
	feed := blocklists.Feed{Name: "t", Path: path, Format: blocklists.CSV, Kind: blocklists.Clean, Columns: blocklists.Columns{Host: column}}
	_, err := blocklists.Read(t.Context(), feed, func(e blocklists.Entry) error {
		hosts = append(hosts, e.Host.String())
		return nil
	}, func(r blocklists.Refusal) { t.Error(r) })
	if err != nil {
		t.Fatal(err)
	}
	return hosts
}

// Every whole domain of the synthetic mandatory lists is blocked for everyone,
// and what the delta removed is not.
func TestMandatoryDomains(t *testing.T) { // I3, I5
	store := realStore(t)
	snapshot := sampleSnapshot(t, store)
	for _, feed := range blocklists.Starter() {
		if feed.Kind != blocklists.Mandatory {
			continue
		}
		_, err := blocklists.Read(t.Context(), feed, func(e blocklists.Entry) error {
			for _, profile := range []string{"eyfs", "staff"} {
				r, _, _ := snapshot.DecideFor(profile, policy.Request{Door: policy.DoorHTTP, Host: e.Host, Path: e.Path, Time: schoolTime})
				if e.Path == "" {
					r = verdict(t, snapshot, profile, e.Host.String())
				}
				if r.Verdict != policy.Block || r.Reason != policy.ReasonMandatory {
					t.Errorf("%s:%d for %s = %s by %s, want block by the mandatory list", e.File, e.Line, profile, r.Verdict, r.Reason)
				}
			}
			return nil
		}, func(r blocklists.Refusal) { t.Error(r) })
		if err != nil {
			t.Fatal(err)
		}
	}
}
