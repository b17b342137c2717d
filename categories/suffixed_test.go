package categories

import (
	"strings"
	"testing"

	"schoolgate/policy"
)

// A listed host with what devices put behind a name is that host; a name that only
// begins alike is another.
func TestSuffixed(t *testing.T) { // F7, privacy 8
	lists := Suffixed{closedSite{}}
	for name, want := range map[string]policy.Category{
		"closed.example":                             policy.ChildAbuse,
		"closed.example.lan":                         policy.ChildAbuse,
		"closed.example.school.local":                policy.ChildAbuse,
		"www.closed.example.brookfield.herts.sch.uk": policy.ChildAbuse,
		"closed.example.brookfield.herts.sch.uk.lan": policy.ChildAbuse,
		"closed.example.com.au":                      policy.Uncategorised,
		"closed.example.uk":                          policy.Uncategorised,
		"closed.example.herts.sch.uk":                policy.Uncategorised, // the registry's own: a school of that name
		"closed.example.sch.uk":                      policy.Uncategorised,
		"closed.lan":                                 policy.Uncategorised,
		"album.example.school.local":                 policy.Uncategorised, // only a page of it is listed
		"unclosed.example.lan":                       policy.Uncategorised,
		"192.0.2.7":                                  policy.Uncategorised,
		"7.2.0.192.in-addr.arpa":                     policy.Uncategorised,
	} {
		host, err := policy.ParseHost(name)
		if err != nil {
			t.Fatal(err)
		}
		if got := lists.Classify(host, "").Mandatory; got != want {
			t.Errorf("%s is on %q, want %q", name, got, want)
		}
	}
}

// What nearly every name is, on no list, costs no memory.
func TestSuffixedAllocatesNothing(t *testing.T) {
	host, err := policy.ParseHost("a.very.long.name.of.a.content.network.example")
	if err != nil {
		t.Fatal(err)
	}
	lists := Suffixed{nothingListed{}}
	if n := testing.AllocsPerRun(100, func() { lists.Classify(host, "/") }); n > 0 {
		t.Errorf("%v allocations", n)
	}
}

// nothingListed is lists that know no host.
type nothingListed struct{}

func (nothingListed) Classify(policy.Host, string) policy.Facts { return policy.Facts{} }

// closedSite is a list with one host and one page on it.
type closedSite struct{}

func (closedSite) Classify(h policy.Host, path string) (f policy.Facts) {
	if site, _ := policy.ParseHost("closed.example"); h.Within(site) {
		f.Mandatory = policy.ChildAbuse
	}
	if h.String() == "album.example" && strings.HasPrefix(path, "/3") {
		f.Mandatory = policy.ChildAbuse
	}
	return f
}
