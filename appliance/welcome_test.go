package appliance

import (
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"

	"schoolgate/configs"
)

// TestListening: the person at the terminal is told of every door that listens, and of
// none that does not.
func TestListening(t *testing.T) {
	at := func(port uint16) []netip.AddrPort {
		return []netip.AddrPort{netip.AddrPortFrom(netip.MustParseAddr("192.0.2.1"), port)}
	}
	box := configs.Box{
		DNS: configs.DNS{Listen: at(53), DoTListen: at(853), DoHListen: at(8443)},
		Proxy: configs.Proxy{
			Listen: at(3128), TLSListen: at(3129), PageListen: at(8080),
			Transparent: configs.Transparent{HTTP: at(8081), TLS: at(8444)},
		},
	}
	var got []uint16
	for _, d := range listening(&box) {
		got = append(got, d.at[0].Port())
	}
	if diff := cmp.Diff([]uint16{53, 853, 8443, 3128, 3129, 8081, 8444, 8080}, got); diff != "" {
		t.Errorf("listening (-want +got):\n%s", diff)
	}
	if few := listening(&configs.Box{Proxy: configs.Proxy{Listen: at(3128)}}); len(few) != 1 || few[0].name != "proxy" {
		t.Errorf("listening = %v", few)
	}
}
