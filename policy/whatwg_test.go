package policy

import (
	"encoding/base64"
	"net/netip"
	"os"
	"strings"
	"testing"
)

// The host of an address is the one that a browser goes to, or the address is
// refused: never another. testdata/whatwg_urls.csv holds 700 of 12,000 addresses
// put together at random of odd schemes, slashes, users, hosts, ports and paths,
// with what Node's URL (the WHATWG rules, as browsers follow them) says of each;
// no host means that a browser refuses it or that it is no web address.
func TestHostsAreThoseOfABrowser(t *testing.T) { // 4.9, T1
	text, err := os.ReadFile("testdata/whatwg_urls.csv")
	if err != nil {
		t.Fatal(err)
	}
	same, stricter := 0, 0
	for line := range strings.Lines(strings.TrimPrefix(string(text), "url_base64,host\n")) {
		packed, want, _ := strings.Cut(strings.TrimSuffix(line, "\n"), ",")
		raw, err := base64.StdEncoding.DecodeString(packed)
		if err != nil {
			t.Fatal(err)
		}
		u, err := ParseURL(string(raw))
		want = strings.TrimSuffix(want, ".")
		if a, aerr := netip.ParseAddr(strings.Trim(want, "[]")); aerr == nil {
			want = a.Unmap().String()
		}
		switch {
		case err != nil && want != "":
			stricter++
		case err != nil:
		case want == "":
			t.Errorf("%q: a browser refuses it, we take it for %s", raw, u.Host)
		case u.Host.String() != want:
			t.Errorf("%q: a browser goes to %s, we judge %s", raw, want, u.Host)
		default:
			same++
		}
	}
	// What no name can hold in the DNS is refused, though a browser would try it.
	if same < 330 || stricter > 120 {
		t.Errorf("%d hosts are the same and %d addresses are refused that a browser takes", same, stricter)
	}
}
