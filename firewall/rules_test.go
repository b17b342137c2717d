package firewall

import (
	"context"
	"flag"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write the golden rule files anew")

func ranges(list ...string) (out []netip.Prefix) {
	for _, s := range list {
		p, err := parseRange(s)
		if err != nil {
			panic(err)
		}
		if strings.Contains(s, "/") {
			p = netip.MustParsePrefix(s) // with the address it was written with
		}
		out = append(out, p)
	}
	return out
}

func listeners(list ...string) (out []netip.AddrPort) {
	for _, s := range list {
		out = append(out, netip.MustParseAddrPort(s))
	}
	return out
}

// school is a gateway with all there is.
func school() Config {
	return Config{
		WAN: []string{"wan0"},
		Networks: []Network{
			{Name: "pupils", Interface: "lan2", Box: ranges("10.2.0.1/24", "fd00:2::1/64"), Behind: ranges("10.20.0.0/16")},
			{Name: "staff", Interface: "lan3.30", Box: ranges("10.3.0.1/24", "fd00:3::1/64")},
			{Name: "it", Interface: "lan9", Box: ranges("10.9.0.1/24"), Management: true},
		},
		Doors: Doors{
			DNS: listeners("[::]:53"), Open: listeners("0.0.0.0:3128", "10.2.0.1:80", "[fd00:2::1]:80"),
			HTTP: listeners("[::]:8080"), TLS: listeners("[::]:8443"),
		},
		Management: []uint16{22, 9300},
		Allow: []Allow{
			{Ports: []Port{{"udp", 123}, {"udp", 67}, {"tcp", 4443}}, Where: "schoolgate.yaml:20"},
			{Ports: []Port{{"tcp", 993}}, From: []string{"staff"}, To: ranges("203.0.113.25", "2001:db8:77::25"), Where: "schoolgate.yaml:21"},
			{Ports: []Port{{"udp", 3478}}, From: []string{"staff", "it"}, To: ranges("0.0.0.0/0", "::/0"), Where: "schoolgate.yaml:22"},
		},
		DoH: ranges("198.51.100.8", "198.51.100.0/30", "198.51.100.1", "2001:db8:8::8"),
	}
}

// plainSchool has only what a gateway must have.
func plainSchool() Config {
	return Config{
		WAN:      []string{"wan0"},
		Networks: []Network{{Name: "everyone", Interface: "lan0", Box: ranges("10.2.0.1/24")}},
		Doors:    Doors{DNS: listeners("10.2.0.1:5300")},
	}
}

// Each golden file is a rule file as it is loaded; -update writes them anew.
func TestRuleFiles(t *testing.T) {
	for name, config := range map[string]Config{"school": school(), "plain": plainSchool()} {
		rules, err := New(config)
		if err != nil {
			t.Fatal(err)
		}
		golden := filepath.Join("testdata", name+".nft")
		if *update {
			if err := os.WriteFile(golden, []byte(rules.String()), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(golden)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(string(want), rules.String()); diff != "" {
			t.Errorf("%s: -golden +written (go test ./firewall -update)\n%s", name, diff)
		}
	}
}

// needNFT skips, loudly, where the kernel's rules cannot be worked with.
func needNFT(t *testing.T) context.Context {
	t.Helper()
	if _, err := exec.LookPath("nft"); err != nil || os.Geteuid() != 0 {
		t.Skip("SKIPPED: nft(8) and root are needed (apt-get install nftables)")
	}
	return t.Context()
}

func TestNFTReadsTheRules(t *testing.T) {
	ctx := needNFT(t)
	for name, config := range map[string]Config{"school": school(), "plain": plainSchool()} {
		rules, err := New(config)
		if err != nil {
			t.Fatal(err)
		}
		if err := rules.Syntax(ctx); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}
