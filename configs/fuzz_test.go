package configs

import (
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"schoolgate/policy"
)

// loadText loads a configuration that is in memory.
func loadText(name string, files map[string]string) (*Config, []policy.Problem) {
	fsys := fstest.MapFS{}
	for n, text := range files {
		fsys[n] = &fstest.MapFile{Data: []byte(text)}
	}
	l := &loader{}
	return l.finish(l.load(folder{fsys: fsys}, name))
}

func addTestdata(f *testing.F, pattern string) {
	files, err := filepath.Glob(pattern)
	if err != nil || len(files) == 0 {
		f.Fatalf("%s: %d files, err %v", pattern, len(files), err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(text))
	}
}

// explained checks that every problem has a place and words, and that there is a
// configuration exactly if there is none.
func explained(t *testing.T, text string, c *Config, problems []policy.Problem) {
	t.Helper()
	if (c == nil) != (len(problems) > 0) {
		t.Errorf("%q: a configuration: %v, problems: %v", text, c != nil, problems)
	}
	if c != nil && c.School.Policy == nil {
		t.Errorf("%q: a configuration without a policy and without a problem", text)
	}
	for _, p := range problems {
		if p.Pos.Line < 1 || p.Pos.File == "" || p.Text == "" || strings.Contains(p.Text, "\n") {
			t.Errorf("%q: a problem without place or words: %+v", text, p)
		}
	}
}

func FuzzLoadPolicy(f *testing.F) {
	addTestdata(f, "testdata/*.yaml")
	addTestdata(f, "sample/policy.yaml")
	f.Fuzz(func(t *testing.T, text string) {
		c, problems := loadText("policy.yaml", map[string]string{
			"policy.yaml": text, "approved-sites.csv": "host,path_prefix,stages,name\nx.example,,EYFS KS1,X\n",
		})
		explained(t, text, c, problems)
	})
}

func FuzzLoadBox(f *testing.F) {
	addTestdata(f, "testdata/*.yaml")
	addTestdata(f, "sample/schoolgate.yaml")
	f.Fuzz(func(t *testing.T, text string) {
		c, problems := loadText("schoolgate.yaml", map[string]string{
			"schoolgate.yaml": text, "policy.yaml": "profiles:\n  ks2: {band: ks2}\n",
		})
		explained(t, text, c, problems)
	})
}

func FuzzListFile(f *testing.F) {
	f.Add("host,path_prefix,stages,name\nwww.a.example,/kids,EYFS KS1,A\n")
	f.Add("host,path_prefix,stages,name\n\"www.a.example\n")
	f.Add("host\n")
	f.Fuzz(func(t *testing.T, text string) {
		c, problems := loadText("policy.yaml", map[string]string{
			"policy.yaml": "profiles:\n  ks2: {band: ks2, approved: [a]}\nlists:\n  a: {file: a.csv, stages: EYFS}\n", "a.csv": text,
		})
		explained(t, text, c, problems)
	})
}

func FuzzAddressRange(f *testing.F) {
	for _, s := range []string{"10.2.0.20-10.2.0.90", "10.2.0.0/24", "fd00::1-fd00::ffff", "0.0.0.0-255.255.255.255", "::-ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		ranges, err := addressRange(s)
		if err != nil {
			return
		}
		for i, p := range ranges {
			if p != p.Masked() || (i > 0 && lastOf(ranges[i-1]).Next() != p.Addr()) {
				t.Errorf("addressRange(%q): %v does not follow", s, p)
			}
		}
	})
}

func FuzzNameservers(f *testing.F) {
	f.Add("# a comment\nnameserver 9.9.9.9\nnameserver fe80::1%eth0\nsearch school.example\nnameserver x\n")
	f.Fuzz(func(t *testing.T, text string) {
		for _, s := range nameservers(strings.NewReader(text)) {
			if !s.IsValid() || s.Port() != 53 {
				t.Errorf("nameservers(%q) has %v", text, s)
			}
		}
	})
}

func TestRangesCoverExactlyWhatIsWritten(t *testing.T) {
	ranges, err := addressRange("10.2.100.0-10.2.100.199")
	if err != nil {
		t.Fatal(err)
	}
	inside := func(s string) bool {
		for _, p := range ranges {
			if p.Contains(netip.MustParseAddr(s)) {
				return true
			}
		}
		return false
	}
	for addr, want := range map[string]bool{"10.2.99.255": false, "10.2.100.0": true, "10.2.100.199": true, "10.2.100.200": false} {
		if got := inside(addr); got != want {
			t.Errorf("%s in %v: %v, want %v", addr, ranges, got, want)
		}
	}
}
