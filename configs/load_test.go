package configs

import (
	"flag"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"schoolgate/policy"
)

var update = flag.Bool("update", false, "write what is found into the .want files")

func text(problems []policy.Problem) string {
	var b strings.Builder
	for _, p := range problems {
		b.WriteString(p.Error() + "\n")
	}
	return b.String()
}

// TestEveryMistakeIsExplained loads one file a mistake; beside it lies what a
// person is told.
func TestEveryMistakeIsExplained(t *testing.T) {
	files, err := filepath.Glob("testdata/*.yaml")
	if err != nil || len(files) < 60 {
		t.Fatalf("%d files in testdata, err %v", len(files), err)
	}
	for _, file := range files {
		if strings.HasPrefix(filepath.Base(file), "good_") {
			continue
		}
		config, problems := Load(file)
		got := text(problems)
		if len(problems) == 0 || config != nil {
			t.Errorf("Load(%s) gives %d problems and a configuration: %v", file, len(problems), config != nil)
		}
		wantFile := strings.TrimSuffix(file, ".yaml") + ".want"
		if *update {
			if err := os.WriteFile(wantFile, []byte(got), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(wantFile)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(string(want), got); diff != "" {
			t.Errorf("Load(%s): -want +got\n%s", file, diff)
		}
	}
}

func loadSample(t testing.TB) *Config {
	t.Helper()
	c, problems := Load("")
	if len(problems) > 0 {
		t.Fatalf("the sample has problems:\n%s", text(problems))
	}
	return c
}

func TestTheSampleIsAWholeSchool(t *testing.T) { // D6, item 1
	c := loadSample(t)
	var profiles []string
	for _, p := range c.School.Policy.Profiles() {
		profiles = append(profiles, p.Name)
	}
	if diff := cmp.Diff([]string{"ks2", "eyfs", "ks1", "staff", "guest"}, profiles); diff != "" {
		t.Errorf("profiles: -want +got\n%s", diff)
	}
	if got := c.School.Policy.Strictest().Name; got != "eyfs" {
		t.Errorf("an unknown client gets %s, want eyfs", got)
	}
	for _, tt := range []struct {
		what string
		got  any
		want any
	}{
		{"dns", c.Box.DNS.Listen[0].String(), "127.0.0.1:5300"},
		{"proxy", c.Box.Proxy.Listen[0].String(), "127.0.0.1:3128"},
		{"metrics", c.Box.Metrics.Listen[0].String(), "127.0.0.1:9300"},
		{"data", c.Box.Data, "var"},
		{"store", c.Box.Lists.Store, "var/store"},
		{"file", c.Box.File, ""},
		{"warnings", len(c.Warnings) > 0, true}, // mail in clear is said aloud
	} {
		if tt.got != tt.want {
			t.Errorf("sample %s = %v, want %v", tt.what, tt.got, tt.want)
		}
	}
}

func TestACopyOfTheSampleLoadsLikeTheSample(t *testing.T) {
	dir := t.TempDir()
	if err := os.CopyFS(dir, Sample()); err != nil {
		t.Fatal(err)
	}
	c, problems := Load(filepath.Join(dir, "schoolgate.yaml"))
	if len(problems) > 0 {
		t.Fatal(text(problems))
	}
	if got, want := c.School.Policy.Version, loadSample(t).School.Policy.Version; got != want {
		t.Errorf("version %s, want %s: the same files", got, want)
	}
	if got, want := c.Box.Data, filepath.Join(dir, "var"); got != want {
		t.Errorf("data = %s, want %s: beside the file", got, want)
	}
}

func TestAPolicyFileAloneIsEnough(t *testing.T) { // item 4: --config takes either
	c, problems := Load("testdata/good_policy.yaml")
	if len(problems) > 0 {
		t.Fatal(text(problems))
	}
	if len(c.School.Policy.Profiles()) != 1 || len(c.Box.DNS.Listen) != 1 || c.School.File != "good_policy.yaml" {
		t.Errorf("got %d profiles, %d listeners, file %q", len(c.School.Policy.Profiles()), len(c.Box.DNS.Listen), c.School.File)
	}
	if len(c.School.Spec.NeverBlock) == 0 || len(c.School.Spec.SafeHosts) == 0 {
		t.Error("a school's own policy has lost the never-block set or safe search")
	}
}

func TestARevisionIsNamedByAllItWasReadFrom(t *testing.T) {
	load := func(sites string) string {
		dir := beside(t, map[string]string{
			"policy.yaml": "profiles:\n  ks2: {band: ks2, approved: [a]}\nlists:\n  a: {file: a.csv}\n",
			"a.csv":       "host,path_prefix,stages,name\n" + sites,
		})
		c, problems := Load(filepath.Join(dir, "policy.yaml"))
		if len(problems) > 0 {
			t.Fatal(text(problems))
		}
		return c.School.Policy.Version
	}
	one, same, other := load("x.example,,KS2,X\n"), load("x.example,,KS2,X\n"), load("y.example,,KS2,Y\n")
	if one != same || one == other || len(one) != 12 {
		t.Errorf("versions %q, %q, %q: want two alike and one other, of 12 letters", one, same, other)
	}
}

func TestAListFileIsReadLineByLine(t *testing.T) {
	dir := beside(t, map[string]string{
		"policy.yaml": "profiles:\n  eyfs: {band: eyfs, approved_only: yes, approved: [a]}\nlists:\n  a: {file: a.csv, stages: EYFS}\n",
		"a.csv":       "host,path_prefix,stages,name\nwww.a.example,/kids,EYFS KS1,A\nwww.b.example,,KS2,B\nco.uk,,EYFS,C\n*.d.example,,EYFS,D\ntoo,few\n\"e.example,,EYFS,E\n",
	})
	_, problems := Load(filepath.Join(dir, "policy.yaml"))
	want := `a.csv:4: "co.uk" would approve every site that ends so (name one site)
a.csv:5: bad site "*.d.example": leave the star out, a rule covers everything below (did you mean "d.example"?)
a.csv:6: not CSV: wrong number of fields (check the quotes and commas of this line)
a.csv:7: not CSV: extraneous or missing " in quoted-field (check the quotes and commas of this line)
`
	if diff := cmp.Diff(want, text(problems)); diff != "" {
		t.Errorf("problems: -want +got\n%s", diff)
	}
}

func TestAFileThatIsNoFileIsRefused(t *testing.T) {
	dir := beside(t, map[string]string{"big.yaml": strings.Repeat("# a comment\n", 100_000)})
	for path, want := range map[string]string{
		filepath.Join(dir, "big.yaml"):    "big.yaml:1: larger than 1048576 bytes, which no file written by hand is\n",
		filepath.Join(dir, "nosuch.yaml"): "nosuch.yaml:1: there is no such file\n",
		dir:                               "schoolgate.yaml:1: there is no such file\n",
		"/dev/zero":                       "zero:1: it is no ordinary file\n",
	} {
		if _, problems := Load(path); text(problems) != want {
			t.Errorf("Load(%s) = %s, want %s", path, text(problems), want)
		}
	}
}

func TestHelpLinesAreShieldedAndChecksAreOpen(t *testing.T) { // C12, F10, R78
	help, checks, pages, updates := 0, 0, 0, 0
	for _, n := range loadSample(t).School.Spec.NeverBlock {
		switch {
		case n.Rule.Line < 2 || n.Rule.File == "" || n.Note == "" || n.Verdict != policy.Allow:
			t.Errorf("%s: rule %v, note %q, verdict %v", n.Host, n.Rule, n.Note, n.Verdict)
		case n.HelpLine:
			help++
		case n.Path != "" && n.Rule.File == captiveFile:
			pages++ // of a site that is more than the check
		case n.Rule.File == captiveFile:
			checks++
		case n.Rule.File == updatesFile:
			updates++
		}
	}
	if help < 100 || pages != len(wholeSites) || checks < 20 || updates < 50 {
		t.Errorf("%d help-lines, %d checks, %d that are a page, %d update hosts", help, checks, pages, updates)
	}
}

func TestSafeSearchIsNeverSwapped(t *testing.T) { // 4.1, 4.2, S14
	safe := map[string]policy.SafeHost{}
	google := 0
	for _, s := range loadSample(t).School.Spec.SafeHosts {
		if _, twice := safe[s.Host.String()]; twice {
			t.Errorf("%s is mapped twice", s.Host)
		}
		safe[s.Host.String()] = s
		if s.Strict.String() == "forcesafesearch.google.com" {
			google++
		}
	}
	for _, tt := range []struct {
		host, strict, moderate string
		youtube                bool
	}{
		{"www.google.com", "forcesafesearch.google.com", "forcesafesearch.google.com", false},
		{"google.co.uk", "forcesafesearch.google.com", "forcesafesearch.google.com", false},
		{"www.bing.com", "strict.bing.com", "strict.bing.com", false},
		{"duckduckgo.com", "safe.duckduckgo.com", "safe.duckduckgo.com", false},
		{"www.duck.com", "safe.duckduckgo.com", "safe.duckduckgo.com", false},
		{"search.brave.com", "forcesafe.search.brave.com", "forcesafe.search.brave.com", false},
		{"www.youtube.com", "restrict.youtube.com", "restrictmoderate.youtube.com", true},
		{"m.youtube.com", "restrict.youtube.com", "restrictmoderate.youtube.com", true},
		{"youtubei.googleapis.com", "restrict.youtube.com", "restrictmoderate.youtube.com", true},
		{"youtube.googleapis.com", "restrict.youtube.com", "restrictmoderate.youtube.com", true},
		{"www.youtube-nocookie.com", "restrict.youtube.com", "restrictmoderate.youtube.com", true},
	} {
		s := safe[tt.host]
		if s.Strict.String() != tt.strict || s.Moderate.String() != tt.moderate || s.YouTube != tt.youtube {
			t.Errorf("%s: strict %s, moderate %s, YouTube %v, want %s, %s, %v", tt.host, s.Strict, s.Moderate, s.YouTube, tt.strict, tt.moderate, tt.youtube)
		}
	}
	if google != 2*194 {
		t.Errorf("%d Google hosts, want 194 domains with and without www.", google)
	}
	for _, never := range []string{"accounts.google.com", "docs.google.com", "classroom.google.com", "googlevideo.com"} {
		if _, mapped := safe[never]; mapped {
			t.Errorf("%s is rewritten, which breaks sign-in or video", never)
		}
	}
}

func TestTheSampleIsWhatTheSharedListsSay(t *testing.T) {
	for name, from := range map[string]string{
		helpLineFile: "seeds", captiveFile: "infra", safeSearchFile: "safesearch", googleFile: "safesearch", "approved-sites.csv": "seeds",
	} {
		shared, err := os.ReadFile(filepath.Join("..", "..", "shared", "lists", from, name))
		if err != nil {
			t.Skipf("SKIPPED: the shared lists are not beside the repository: %v", err)
		}
		own, err := fs.ReadFile(Sample(), name)
		if err != nil {
			t.Fatal(err)
		}
		if string(own) != string(shared) {
			t.Errorf("sample/%s is not the list it was copied from", name)
		}
	}
}

func TestEveryCategoryHasAPlaceInTheShippedPolicy(t *testing.T) { // R8, D2
	for _, p := range loadSample(t).School.Policy.Profiles() {
		if p.Name != "ks2" {
			continue
		}
		spoken := policy.CategorySet{}
		for _, r := range p.Categories {
			spoken = spoken.With(r.Category)
		}
		for c := range policy.Categories() {
			if !spoken.Has(c) {
				t.Errorf("ks2 says nothing of %s", c)
			}
		}
	}
}
