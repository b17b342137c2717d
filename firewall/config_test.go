package firewall

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestMistakes(t *testing.T) {
	for _, test := range []struct {
		promise string
		change  func(*Config)
		want    string
	}{
		{"as it should be", func(*Config) {}, ""},
		{"no way out", func(c *Config) { c.WAN = nil }, "no interface leads to the internet"},
		{"no clients", func(c *Config) { c.Networks = nil }, "there is no network of clients"},
		{"no DNS", func(c *Config) { c.Doors.DNS = nil }, "no DNS door"},
		{"one interface twice", func(c *Config) { c.Networks[1].Interface = "lan2" }, `network "staff": interface lan2 already leads to pupils`},
		{"clients on the internet's interface", func(c *Config) { c.Networks[0].Interface = "wan0" }, "interface wan0 already leads to the internet"},
		{"one name twice", func(c *Config) { c.Networks[1].Name = "pupils" }, `network "pupils" is given twice`},
		{"a range in two networks", func(c *Config) { c.Networks[1].Behind = ranges("10.20.5.0/24") }, `network "staff": range 10.20.5.0/24 overlaps 10.20.0.0/16`},
		{"an interface that is no name", func(c *Config) { c.Networks[0].Interface = "lan 2; flush ruleset" }, "bad interface"},
		{"a network without the box", func(c *Config) { c.Networks[2].Box = nil }, `network "it": the box has no address in it`},
		{"DNS elsewhere", func(c *Config) { c.Doors.DNS = listeners("10.2.0.1:53", "[::1]:53") }, `network "staff": the DNS door does not listen on 10.3.0.1`},
		{"web door over IPv4 only", func(c *Config) { c.Doors.TLS = listeners("0.0.0.0:8443") }, "the transparent TLS door does not listen on fd00:2::1"},
		{"one web door", func(c *Config) { c.Doors.TLS = nil }, "one transparent door alone is not used"},
		{"allowed to nobody known", func(c *Config) { c.Allow[1].From = []string{"stuff"} }, `schoolgate.yaml:21: there is no network "stuff"`},
	} {
		c := school()
		test.change(&c)
		_, err := New(c)
		if (err == nil) != (test.want == "") || err != nil && !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: New = %v, want %q", test.promise, err, test.want)
		}
	}
}

func TestReadAddresses(t *testing.T) {
	list, passedOver, err := ReadAddresses(strings.NewReader(
		"# known\n203.0.113.8 # one\n\n10.0.10.236\n2001:db8::8\n0.0.0.0/0\n::ffff:203.0.113.9\n198.51.100.7/24\nfe80::1\n"))
	if err != nil || passedOver != 3 {
		t.Errorf("passed over %d, %v, want the private, the whole and the link-local one", passedOver, err)
	}
	if diff := cmp.Diff([]string{"203.0.113.8", "2001:db8::8", "203.0.113.9", "198.51.100.0/24"}, texts(list)); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
	if _, _, err := ReadAddresses(strings.NewReader("203.0.113.8\ndns.example\n")); err == nil || !strings.Contains(err.Error(), `line 2: bad address "dns.example"`) {
		t.Errorf("a name among the addresses: %v", err)
	}
}

// FuzzReadAddresses: whatever a list holds, the rules made of it are ranges that
// overlap nothing and hold nothing of the inside.
func FuzzReadAddresses(f *testing.F) {
	f.Add("203.0.113.8\n2001:db8::/48\n")
	f.Add("::ffff:0:0/96\n1.1.1.1/8\n")
	f.Fuzz(func(t *testing.T, file string) {
		list, _, err := ReadAddresses(strings.NewReader(file))
		if err != nil {
			return
		}
		for _, fam := range families {
			var last string
			for _, p := range merged(fam.of(list)) {
				if !usable(p) || text(p) == last {
					t.Errorf("%q gave %s after %s", file, p, last)
				}
				last = text(p)
			}
		}
	})
}
