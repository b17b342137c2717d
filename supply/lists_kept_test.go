package supply

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"

	"schoolgate/blocklists"
	"schoolgate/categories"
	"schoolgate/policy"
)

// changing is a folder of feeds that change from build to build.
type changing struct {
	*testing.T
	*rand.Rand
	dir   string
	feeds []blocklists.Feed
}

func (c *changing) write(f blocklists.Feed) {
	c.Helper()
	var s strings.Builder
	for range 4000 + c.IntN(1000) {
		host := fmt.Sprintf("n%d.site-%d.example", c.IntN(40), c.IntN(9000))
		switch f.Format {
		case blocklists.URLs:
			fmt.Fprintf(&s, "%s/page/%d\n", host, c.IntN(3))
		default:
			fmt.Fprintf(&s, "%s\n", host)
		}
	}
	s.WriteString("co.uk\nnot a name\ngov.uk\nreddit.example\n")
	if err := os.WriteFile(f.Path, []byte(s.String()), 0o600); err != nil {
		c.Fatal(err)
	}
}

func (c *changing) change() {
	for i := range c.feeds {
		f := &c.feeds[i]
		switch c.IntN(6) {
		case 0:
			c.write(*f)
		case 1:
			if f.Kind == blocklists.Public {
				f.Category = []policy.Category{policy.Gambling, policy.Gaming, policy.Malware}[c.IntN(3)]
			}
		case 2:
			if f.Kind == blocklists.Public {
				f.Weight = []float64{0.5, 1, 2}[c.IntN(3)]
			}
		}
	}
	c.Shuffle(len(c.feeds), func(i, j int) { c.feeds[i], c.feeds[j] = c.feeds[j], c.feeds[i] })
}

// build gives all that a store of the feeds holds and the lines that were refused.
func (c *changing) build(parsed string) (holds, refused string, kept int) {
	c.Helper()
	out := filepath.Join(c.dir, "store.db")
	var lines bytes.Buffer
	report, err := BuildLists(c.Context(), ListsBuild{Feeds: c.feeds, Out: out, Key: testKey, Version: 7, Workers: 1, Parsed: parsed, Refused: &lines})
	if err != nil {
		c.Fatal(err)
	}
	for _, f := range report.Feeds {
		if f.Kept {
			kept++
		}
	}
	return c.holds(out), lines.String(), kept
}

// holds writes down what a store says of itself, of every name in it and, since a
// mandatory list cannot be read out of it, of a sample of names.
func (c *changing) holds(path string) string {
	c.Helper()
	store, err := categories.Open(path, testKey)
	if err != nil {
		c.Fatal(err)
	}
	defer store.Close()
	var all strings.Builder
	info := store.Info()
	fmt.Fprintf(&all, "%+v\n", info)
	n := 0
	err = store.Walk(c.Context(), func(categories.Record) bool { return true }, func(r categories.Record) error {
		n++
		_, err := fmt.Fprintf(&all, "%+v\n", r)
		return err
	})
	if err != nil || n < 5000 {
		c.Fatalf("%d names walked: %v", n, err)
	}
	for i := range 9000 {
		host, err := policy.ParseHost(fmt.Sprintf("n%d.site-%d.example", i%40, i))
		if err != nil {
			c.Fatal(err)
		}
		fmt.Fprintf(&all, "%+v\n", store.Classify(host, "/page/1"))
	}
	return all.String()
}

// A build that parses only what changed gives the store that a full build
// gives, name by name, and refuses the same lines (issue 5, item 2).
func TestABuildOfWhatChangedIsAFullBuild(t *testing.T) {
	seeds, rounds := uint64(2), 4
	if underRace {
		seeds, rounds = 1, 3
	}
	for seed := range seeds {
		synctest.Test(t, func(t *testing.T) { // its clock stands still: a store says when it was built
			c := &changing{T: t, Rand: rand.New(rand.NewPCG(seed, 8)), dir: t.TempDir()}
			for i, kind := range []blocklists.Kind{blocklists.Public, blocklists.Public, blocklists.Public, blocklists.Curated, blocklists.Clean, blocklists.Mandatory} {
				f := blocklists.Feed{Name: fmt.Sprint("feed-", i), Path: filepath.Join(c.dir, fmt.Sprint("feed-", i)), Kind: kind,
					Format: []blocklists.Format{blocklists.Domains, blocklists.URLs}[i%2], Category: policy.Gambling, Licence: "test", Weight: 1}
				if kind == blocklists.Mandatory {
					f.Category = policy.Terrorism
				}
				c.write(f)
				c.feeds = append(c.feeds, f)
			}
			keptInAll := 0
			for round := range rounds {
				full, refused, _ := c.build("")
				some, refusedSome, kept := c.build(c.dir)
				keptInAll += kept
				if full != some {
					t.Fatalf("seed %d, round %d: the store differs from that of a full build", seed, round)
				}
				if refused != refusedSome {
					t.Fatalf("seed %d, round %d: other lines are refused than in a full build", seed, round)
				}
				c.change()
			}
			if keptInAll < 5 {
				t.Errorf("seed %d: only %d feeds were found unchanged", seed, keptInAll)
			}
			files, err := filepath.Glob(filepath.Join(c.dir, ".parsed", "*"))
			if err != nil || len(files) != 5 {
				t.Errorf("kept are %v, %v, want the five feeds that are not mandatory", files, err)
			}
		})
	}
}
