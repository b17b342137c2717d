package firewall

import (
	"slices"
	"testing"
)

// S2: what nft lists of the sets is read, with timeouts and without.
func TestParseTries(t *testing.T) {
	got, err := parseTries([]byte(`{"nftables": [{"metainfo": {"version": "1.0.6"}}, {"table": {"family": "inet", "name": "schoolgate_tries"}},
		{"set": {"family": "inet", "name": "vpn4", "table": "schoolgate_tries", "type": "ipv4_addr", "elem": [{"elem": {"val": "10.2.0.7", "timeout": 600, "expires": 599}}, "10.2.0.8"]}},
		{"set": {"family": "inet", "name": "vpn6", "table": "schoolgate_tries", "type": "ipv6_addr"}},
		{"set": {"family": "inet", "name": "dns_over_tls6", "elem": [{"elem": {"val": "fd00::7"}}]}},
		{"set": {"family": "inet", "name": "clients", "elem": ["lan1"]}}]}`))
	var text []string
	for _, try := range got {
		text = append(text, try.Client.String()+" "+try.Kind)
	}
	if want := []string{"10.2.0.7 vpn", "10.2.0.8 vpn", "fd00::7 dns_over_tls"}; err != nil || !slices.Equal(text, want) {
		t.Errorf("tries %q, %v, want %q", text, err, want)
	}
	for _, broken := range []string{``, `{"nftables": [{"set": {"name": "vpn4", "elem": [{}]}}]}`, `{"nftables": [{"set": {"name": "vpn4", "elem": [7]}}]}`} {
		if got, err := parseTries([]byte(broken)); err == nil {
			t.Errorf("%q = %v, want an error", broken, got)
		}
	}
}

// The table that watches is one that nft takes, beside that of the rules and without
// changing what Check finds.
func TestWatching(t *testing.T) {
	ctx := needNFT(t)
	inNamespace(t)
	rules, err := New(school())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := rules.Apply(ctx); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if tries, err := rules.Tries(ctx); err != nil || len(tries) > 0 {
			t.Fatalf("Tries = %v, %v", tries, err)
		}
	}
	if _, err := nft(ctx, "add element inet schoolgate_tries vpn4 { 10.2.0.7 }\nadd element inet schoolgate_tries vpn6 { fd00:2::7 }\n", "-f", "-"); err != nil {
		t.Fatal(err)
	}
	if tries, err := rules.Tries(ctx); err != nil || len(tries) != 2 {
		t.Errorf("Tries = %v, %v, want two", tries, err)
	}
	if tries, err := rules.Tries(ctx); err != nil || len(tries) != 0 {
		t.Errorf("Tries = %v, %v, want each told once", tries, err)
	}
	if d, err := rules.Check(ctx); err != nil || !d.None() {
		t.Errorf("Check = %v, %v, want nothing", d, err)
	}
}
