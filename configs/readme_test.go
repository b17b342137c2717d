package configs

import (
	"fmt"
	"io/fs"
	"os"
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"schoolgate/policy"
)

// README.md is made of the sample files, so it cannot say what they do not. With
// -update it is written anew.
func TestTheReadmeIsTheSample(t *testing.T) {
	got := readme(t)
	if *update {
		if err := os.WriteFile("README.md", []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	have, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(have), got); diff != "" {
		t.Errorf("README.md is not what the sample says (go test ./configs -run Readme -update): -have +want\n%s", diff)
	}
}

// TestEveryFieldIsInTheSample holds the sample, and with it the README, against
// the fields that the loader knows.
func TestEveryFieldIsInTheSample(t *testing.T) {
	l := &loader{}
	l.load(folder{fsys: Sample()}, sampleBox)
	sample := sampleText(t, sampleBox) + sampleText(t, samplePolicy)
	var known []string
	for field := range l.known {
		known = append(known, field)
	}
	slices.Sort(known)
	if len(known) < 80 {
		t.Errorf("the loader knows only %d fields: %v", len(known), known)
	}
	for _, field := range known {
		name := field[strings.LastIndexByte(field, '.')+1:]
		if !regexp.MustCompile(`\b` + name + `:`).MatchString(sample) {
			t.Errorf("the sample does not show %s", field)
		}
	}
}

// TestTheSampleShowsTheDefaults: what the sample's box sets is what a box file
// that says nothing gets, except for the mail catcher.
func TestTheSampleShowsTheDefaults(t *testing.T) {
	dir := beside(t, map[string]string{"schoolgate.yaml": "policy: policy.yaml\n", "policy.yaml": "profiles: {ks2: {band: ks2}}\n"})
	c, problems := Load(dir)
	if len(problems) > 0 {
		t.Fatal(text(problems))
	}
	want := loadSample(t).Box
	want.Mail = Mail{TLS: StartTLS, Timeout: want.Mail.Timeout}
	got := c.Box
	got.File, got.Policy, got.Data, got.Lists.Store = "", want.Policy, want.Data, want.Lists.Store
	if diff := cmp.Diff(fmt.Sprintf("%+v", want), fmt.Sprintf("%+v", got)); diff != "" {
		t.Errorf("an empty box file is not the sample's box: -sample +empty\n%s", diff)
	}
}

func sampleText(t *testing.T, name string) string {
	t.Helper()
	b, err := fs.ReadFile(Sample(), name)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

const readmeHead = `# Configuration, block by block

<!-- Made of sample/ by "go test ./configs -run Readme -update"; a test compares them. Change the sample instead. -->

Two files. [schoolgate.yaml](sample/schoolgate.yaml) is **the box**: IT support owns it. [policy.yaml](sample/policy.yaml) is
**the school's decision**: its leadership owns it. Both are in the program as a complete sample school; to make them your
own, copy the folder [sample](sample) and change it. Any setting may be left out: the box then does what the sample shows.

A mistake is told with its place and a way out, all of them at once, and nothing changes until there is none:

    policy.yaml:3:23: profile "ks2": unknown category "gamling" (did you mean "gambling"?)

Rules of the files: YAML in UTF-8, indented with spaces, at most 1 MiB; no anchors, aliases or tags; a key once. Lengths of time
carry a unit (30s, 10m, 2h), sizes too (64MiB). Times are by the school's own clock.

Always part of the policy, whatever it says: the help-lines of
[helplines-never-block.csv](sample/helplines-never-block.csv), the network checks of
[captive-portal-checks.csv](sample/captive-portal-checks.csv), the updates of
[updates-never-block.csv](sample/updates-never-block.csv), and safe search by
[safesearch-map.csv](sample/safesearch-map.csv). Above all of them stand the mandatory lists, which nothing lifts.

[policy.cases](sample/policy.cases) says what the shipped policy promises, in the operator's words; keep one for your own
and run it after every change (schoolgate policy test FILE).
`

func readme(t *testing.T) string {
	b := strings.Builder{}
	b.WriteString(readmeHead)
	b.WriteString("\n## The box: schoolgate.yaml\n")
	writeBlocks(&b, sampleText(t, sampleBox))
	b.WriteString("\n## The school's decision: policy.yaml\n")
	writeBlocks(&b, sampleText(t, samplePolicy))
	b.WriteString("\n## Who gets what: the shipped profiles\n\nWithout what a period of the timetable changes. EYFS and KS1 see approved sites only; their column is what a refused\nsite is called. Where a site is in several categories block wins, unless an except of the profile says otherwise.\n\n")
	writeMatrix(&b, loadSample(t).School.Policy)
	b.WriteString(readmeFeeds)
	return b.String()
}

const readmeFeeds = `
## Feeds

What lists are read and where they come from: in the file that lists.feeds names, under feeds:, or under lists.feeds itself.
[feeds.yaml](feeds.yaml) names the public lists that a UK primary school should use; copy it and change it.

| key | |
|---|---|
| ` + "`name`" + ` | how commands and reports call it |
| ` + "`url`" + ` | where it is downloaded from; https, unless sha256 or minisign proves what came |
| ` + "`path`" + ` | a file, folder or glob, relative to this file; with a url it is read until the first download |
| ` + "`format`" + ` | domains, hosts, adblock, dnsmasq, rpz, wildcards, urls, ip, ut1, v2fly or csv |
| ` + "`category`" + ` | of every entry; or |
| ` + "`categories`" + ` | by the list's own folder, file or code: ` + "`{porn: pornography, \"*\": none}`" + ` |
| ` + "`columns`" + ` | of a csv: host, path, category, action, where: ` + "`{host: entry, where: {status: [active]}}`" + ` |
| ` + "`kind`" + ` | public (evidence by its weight), curated (looked at by hand: settles the matter), clean (good names) or mandatory (nothing lifts it, nothing holds it back, kept as keyed hashes) |
| ` + "`weight`" + ` | what one entry proves; 1 settles the matter for a name nobody vouches for |
| ` + "`family`" + ` | lists of one family are copies of each other and count once |
| ` + "`licence`" + ` | must be there: a list without one may not be used |
| ` + "`note`" + ` | what the list is known to get wrong |
| ` + "`date`" + ` | of a list on the disk: year-month-day |
| ` + "`enabled`" + ` | false leaves it out |
| ` + "`interval`" + ` | between two looks: 24h, and 12h for a mandatory list |
| ` + "`amber`, `red`" + ` | ages at which a person is told: 7d and 30d, and 24h and 48h for a mandatory list |
| ` + "`timeout`, `max_size`" + ` | of one download: 5m and 256MiB |
| ` + "`change_limit`" + ` | how much may come or go at once before a person must accept it: 30%; of a mandatory list, what may go: 50% |
| ` + "`entries`" + ` | about how many there are: a first download of less than half, or more than four times, waits for a person |
| ` + "`sha256`" + ` | of the content in hex, or the https address of a file of checksums |
| ` + "`minisign`" + ` | the publisher's key; the signature lies at the url with .minisig |
| ` + "`auth_file`" + ` | a file, mode 600, with what the publisher asks for in one line: ` + "`basic USER:PASSWORD`, `bearer TOKEN` or `header NAME: VALUE`" + `; sent to the server in url and to no other |
| ` + "`delta_url`" + ` | of a csv with an address: what was added and removed since, asked for every ` + "`delta_interval`" + ` (1h); the columns must name the ` + "`action`" + ` (add or remove). What it adds is in force at once. What it removes is removed if it fits the list at hand; if not, as after one that was missed or came late, the whole list is fetched |
| ` + "`delta_interval`" + ` | between two looks at ` + "`delta_url`; the whole list at `url` keeps to `interval`" + ` |
| ` + "`delta`" + ` | of a csv on the disk: a file of additions and removals |
| ` + "`synthetic`" + ` | invented entries, never counted as protection |

"- builtin: starter" stands for the lists in the program. A mandatory list (the Internet Watch Foundation's, the police's) comes
under contract, with an address and a password of your own:

` + "```yaml" + `
  - name: iwf
    url: https://the-address-of-your-contract/list.csv
    delta_url: https://the-address-of-your-contract/changes.csv  # if there is one
    auth_file: /etc/schoolgate/iwf-password
    format: csv
    columns: {host: entry, action: action}
    category: child_abuse
    kind: mandatory
    licence: IWF member licence
` + "```" + `
`

var topLevel = regexp.MustCompile(`^(?:# )?([a-z]+):`)

// writeBlocks writes each top-level block of a file under a heading, with the
// comment above it as its text.
func writeBlocks(b *strings.Builder, file string) {
	for _, paragraph := range blocks(file) {
		var prose, yaml []string
		name := ""
		for i, line := range paragraph {
			if m := topLevel.FindStringSubmatch(line); m != nil {
				name, yaml = m[1], paragraph[i:]
				break
			}
			if line = strings.TrimPrefix(strings.TrimPrefix(line, "#"), " "); !strings.HasPrefix(line, "----") {
				prose = append(prose, line)
			}
		}
		if name == "" {
			continue
		}
		fmt.Fprintf(b, "\n### %s\n\n%s\n\n```yaml\n%s\n```\n", name, strings.Join(prose, "\n"), strings.Join(shorten(yaml), "\n"))
	}
}

// blocks splits a file before the comment of each top-level key.
func blocks(file string) (out [][]string) {
	var block []string
	lines := strings.Split(strings.TrimRight(file, "\n"), "\n")
	for i, line := range lines {
		if line == "" && i+1 < len(lines) && !strings.HasPrefix(lines[i+1], " ") {
			out, block = append(out, block), nil
			continue
		}
		block = append(block, line)
	}
	return append(out, block)
}

// shorten leaves out the middle of the long lists of categories.
func shorten(lines []string) (out []string) {
	run := 0
	for _, line := range lines {
		if strings.HasPrefix(line, "      ") {
			run++
		} else {
			run = 0
		}
		switch {
		case run <= 5:
			out = append(out, line)
		case run == 6:
			out = append(out, "      # … and so on: see sample/policy.yaml")
		}
	}
	return out
}

// writeMatrix writes the verdict of each profile on each category (R8).
func writeMatrix(b *strings.Builder, p *policy.Policy) {
	b.WriteString("| category |")
	for _, profile := range p.Profiles() {
		fmt.Fprintf(b, " %s |", profile.Name)
	}
	b.WriteString("\n|---|" + strings.Repeat("---|", len(p.Profiles())) + "\n")
	for c := range policy.Categories() {
		fmt.Fprintf(b, "| %s (`%s`) |", c.Class().Title, c)
		for _, profile := range p.Profiles() {
			verdict := "allow"
			for _, r := range profile.Categories {
				if r.Category == c && r.During == "" {
					verdict = r.Verdict.String()
				}
			}
			if verdict == "block" {
				verdict = "**block**"
			}
			fmt.Fprintf(b, " %s |", verdict)
		}
		b.WriteString("\n")
	}
}

// TestTheReadmeLinksToWhatThereIs follows its links into the sample.
func TestTheReadmeLinksToWhatThereIs(t *testing.T) {
	for _, m := range regexp.MustCompile(`\]\((sample[^)]*)\)`).FindAllStringSubmatch(readmeHead, -1) {
		if _, err := fs.Stat(embedded, path.Clean(m[1])); err != nil {
			t.Errorf("README.md links to %s: %v", m[1], err)
		}
	}
}
