package firewall

import (
	"compress/gzip"
	"os"
	"path/filepath"
	"testing"

	"schoolgate/internal/testkit"
)

// The real lists of DNS-over-HTTPS servers, about 4,500 addresses, load, and what
// nft makes of them is found the same when it is compared.
func TestRealAddressLists(t *testing.T) {
	dir := testkit.Lists(t)
	c := school()
	for _, name := range []string{"jpgpi250-doh.ipv4.txt.gz", "jpgpi250-doh.ipv6.txt.gz"} {
		file, err := os.Open(filepath.Join(dir, "doh", name))
		if err != nil {
			t.Fatal(err)
		}
		defer file.Close()
		text, err := gzip.NewReader(file)
		if err != nil {
			t.Fatal(err)
		}
		list, passedOver, err := ReadAddresses(text)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if len(list) < 1000 || passedOver > len(list)/10 {
			t.Errorf("%s: %d addresses, %d passed over", name, len(list), passedOver)
		}
		c.DoH = append(c.DoH, list...)
	}
	ctx := needNFT(t)
	inNamespace(t)
	rules, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := rules.Apply(ctx); err != nil {
		t.Fatal(err)
	}
	if d, err := rules.Check(ctx); err != nil || !d.None() {
		t.Errorf("Check = %.2000q, %v, want nothing", d, err)
	}
}
