package configs

import (
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"schoolgate/policy"
)

// identifier is the members of a policy, looked up one by one: package clients
// does it fast.
type identifier []Member

func (ids identifier) Identify(a netip.Addr) policy.Client {
	c, bits := policy.Client{Addr: a}, -1
	for _, m := range ids {
		if m.Prefix.IsValid() && m.Prefix.Contains(a) && (m.Prefix.Bits() > bits || m.Device != "") {
			c.Device, c.Group, c.Quarantined, c.Unsigned = m.Device, m.Group, m.Quarantined, m.Unsigned
			bits = m.Prefix.Bits()
		}
	}
	return c
}

func options(config string) CaseOptions {
	return CaseOptions{
		Config:   config,
		Identify: func(m []Member) (policy.Identifier, error) { return identifier(m), nil },
		Now:      time.Date(2026, 11, 2, 9, 0, 0, 0, time.UTC),
	}
}

func TestTheShippedPolicyKeepsItsPromises(t *testing.T) { // R4-R12, R29, R64, R69-R73, S1, D6
	file, err := os.Open("sample/policy.cases")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	failures, ran, err := RunCases(file, "policy.cases", options(""))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range failures {
		t.Error(f)
	}
	if ran < 60 {
		t.Errorf("only %d cases ran", ran)
	}
}

const smallPolicy = `timezone: Europe/London
profiles:
  ks2:
    band: ks2
    block: [gambling]
    uncategorised: allow
groups:
  year5: {profile: ks2, addresses: [10.2.0.0/24]}
timetable:
  - {period: holidays, dates: 2026-11-03}
`

// beside writes files into a folder of their own and gives its path.
func beside(t testing.TB, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func runText(t *testing.T, cases string) (got []string) {
	t.Helper()
	dir := beside(t, map[string]string{"school.yaml": smallPolicy})
	failures, _, err := RunCases(strings.NewReader(cases), filepath.Join(dir, "school.cases"), options(""))
	for _, f := range failures {
		got = append(got, strings.ReplaceAll(f.String(), dir+"/", ""))
	}
	if err != nil {
		got = append(got, strings.ReplaceAll(err.Error(), dir+"/", ""))
	}
	return got
}

func TestCasesSayWhatIsWrong(t *testing.T) {
	for _, tt := range []struct{ promise, cases, want string }{
		{"as written", "policy school.yaml\ncategory gambling poker.example\nat Tue 10:15 from 10.2.0.7\n poker.example block gambling\n www.example.org allow default", ""},
		{"wrong verdict", "policy school.yaml\nat Tue 10:15 as ks2\n www.example.org block", "school.cases:3: www.example.org as ks2: got allow (uncategorised, school.yaml:6), want block"},
		{"wrong cause", "policy school.yaml\ncategory gambling poker.example\nat Tue 10:15 as ks2\n poker.example block drugs", "school.cases:4: poker.example as ks2: got block gambling (category, school.yaml:5), want block drugs"},
		{"mistyped verdict", "at Tue 10:15 as ks2\n www.example.org alow", `school.cases:2: unknown verdict "alow" (did you mean "allow"?)`},
		{"mistyped category", "category gamling poker.example", `school.cases:1: unknown category "gamling" (did you mean "gambling"?)`},
		{"mistyped cause", "at Tue 10:15 as ks2\n x.example block gamling", `school.cases:2: unknown category or reason "gamling" (did you mean "gambling"?)`},
		{"mistyped profile", "policy school.yaml\nat Tue 10:15 as ks3\n x.example block", `school.cases:2: unknown profile "ks3" (did you mean "ks2"?)`},
		{"mistyped word", "att Tue 10:15 as ks2", `school.cases:1: unknown word "att" (did you mean "at"?); a case itself is indented`},
		{"mistyped day", "at Wde 10:15 as ks2\n x.example block", `school.cases:1: unknown day "wde" (did you mean "wed"?)`},
		{"bad time", "at Tue 25:15 as ks2\n x.example block", `school.cases:1: bad time "25:15": want one such as 08:45`},
		{"bad address", "at Tue 10:15 from 10.2.0\n x.example block", `school.cases:1: bad address "10.2.0": want one such as 10.2.0.7 or fd00::7`},
		{"no setting", " x.example block", "school.cases:1: a case before any line that says when and who (write: at Tue 10:15 as ks2)"},
		{"no case", "# nothing", "school.cases:1: no case in the file (an indented line with host and verdict, under a line such as: at Tue 10:15 as ks2)"},
		{"no such policy", "policy scool.yaml\nat Tue 10:15 as ks2\n x.example block", "scool.yaml:1: there is no such file"},
		{"too long a line", "at Tue 10:15 as ks2\n " + strings.Repeat("x", maxCaseLine), "school.cases:2: the line cannot be read: bufio.Scanner: token too long (at most 4096 bytes)"},
	} {
		if got := strings.Join(runText(t, tt.cases), "\n"); got != tt.want {
			t.Errorf("%s: RunCases gives\n%s\nwant\n%s", tt.promise, got, tt.want)
		}
	}
}

func TestAWeekdayIsAnOrdinaryOne(t *testing.T) {
	tt := policy.Timetable{Periods: []policy.Period{{Name: "holidays", First: 20261103, Last: 20261110}}}
	s := setting{day: int(time.Tuesday), minute: 615}
	got, ok := s.moment(tt, time.Date(2026, 11, 2, 9, 0, 0, 0, time.UTC))
	if want := time.Date(2026, 11, 17, 10, 15, 0, 0, time.UTC); !ok || !got.Equal(want) {
		t.Errorf("Tue 10:15 = %v, %v, want %v: the first Tuesday that is no holiday", got, ok, want)
	}
	tt.Periods[0].Last = 20991231
	if _, ok := s.moment(tt, time.Date(2026, 11, 2, 9, 0, 0, 0, time.UTC)); ok {
		t.Error("a Tuesday was found in endless holidays")
	}
}

func TestFakeListsAnswerLikeAStore(t *testing.T) {
	l := fakeLists{}
	for _, e := range []struct {
		site string
		c    policy.Category
	}{{"a.example", policy.Gaming}, {"b.a.example", policy.News}, {"p.example/x", policy.Terrorism}, {"p.example", policy.Forums}} {
		rule, err := site(e.site)
		if err != nil {
			t.Fatal(err)
		}
		l.add(rule, e.c)
	}
	for _, tt := range []struct {
		host, path string
		want       policy.Facts
	}{
		{"www.a.example", "", policy.Facts{Categories: policy.SetOf(policy.Gaming)}},
		{"b.a.example", "", policy.Facts{Categories: policy.SetOf(policy.News)}},
		{"p.example", "", policy.Facts{Categories: policy.SetOf(policy.Forums), MandatoryPaths: policy.Terrorism, Paths: true}},
		{"p.example", "/x/y", policy.Facts{Categories: policy.SetOf(policy.Forums), Mandatory: policy.Terrorism, Paths: true}},
		{"p.example", "/z", policy.Facts{Categories: policy.SetOf(policy.Forums), Paths: true}},
		{"example", "", policy.Facts{}},
	} {
		h, err := policy.ParseHost(tt.host)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(tt.want, l.Classify(h, tt.path)); diff != "" {
			t.Errorf("Classify(%s, %q): -want +got\n%s", tt.host, tt.path, diff)
		}
	}
}

func FuzzRunCases(f *testing.F) {
	f.Add("category gambling poker.example\nat Tue 10:15 from 10.2.0.7\n poker.example block gambling")
	f.Add("at 2026-03-03 10:15 as ks2\n www.example.org allow default")
	f.Fuzz(func(t *testing.T, text string) {
		file := &caseFile{name: "fuzz.cases", fake: fakeLists{}}
		file.parse(strings.NewReader(text))
		if len(file.problems) == 0 && len(file.cases) == 0 {
			t.Errorf("%q: neither a case nor a problem", text)
		}
		for _, p := range file.problems {
			if p.Pos.Line < 1 || p.Text == "" {
				t.Errorf("%q: a problem without place or text: %v", text, p)
			}
		}
	})
}
