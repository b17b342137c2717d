package firewall

import (
	"net"
	"net/netip"
	"strings"
	"testing"
)

// R29: the table of devices in quarantine is one that nft takes, beside that of the
// rules, is replaced whole, and changes nothing that Check finds.
func TestCutOff(t *testing.T) {
	ctx := needNFT(t)
	inNamespace(t)
	rules, err := New(school())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := rules.Apply(ctx); err != nil {
		t.Fatal(err)
	}
	if there, err := rules.HasCutOff(ctx); err != nil || there {
		t.Fatalf("HasCutOff = %t, %v before there is one", there, err)
	}
	for _, c := range []struct {
		cut        CutOff
		want, gone string
	}{
		{CutOff{All: true}, "iifname @clients counter packets 0 bytes 0 drop", "10.2.0.7"},
		{CutOff{
			Addresses: []netip.Addr{netip.MustParseAddr("10.2.0.7"), netip.MustParseAddr("10.2.0.8"), netip.MustParseAddr("fd00:2::7")},
			Hardware:  []net.HardwareAddr{{2, 0, 0x5e, 0, 0, 1}},
		}, "10.2.0.7", "iifname @clients counter packets 0 bytes 0 drop"},
		{CutOff{}, "ip saddr @cut4", "10.2.0.7"},
	} {
		if err := rules.CutOff(ctx, c.cut); err != nil {
			t.Fatal(err)
		}
		text, err := nft(ctx, "", "list", "table", "inet", cutOffTable)
		if err != nil || !strings.Contains(text, c.want) || strings.Contains(text, c.gone) {
			t.Errorf("%+v: %v\n%s", c.cut, err, text)
		}
	}
	if there, err := rules.HasCutOff(ctx); err != nil || !there {
		t.Errorf("HasCutOff = %t, %v", there, err)
	}
	if d, err := rules.Check(ctx); err != nil || !d.None() {
		t.Errorf("Check = %v, %v, want nothing", d, err)
	}
}
