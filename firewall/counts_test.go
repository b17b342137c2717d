package firewall

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestCounts(t *testing.T) {
	ctx := needNFT(t)
	inNamespace(t)
	rules, err := New(school())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := rules.Apply(ctx); err != nil {
		t.Fatal(err)
	}
	counts, err := rules.Counts(ctx)
	if err != nil || len(counts) < 20 {
		t.Fatalf("Counts = %v, %v, want one for each rule that counts", counts, err)
	}
	for _, c := range counts {
		if c.Packets != 0 {
			t.Errorf("%s: %d packets, in a namespace with nobody in it", c.What, c.Packets)
		}
	}
}

func TestParseCounts(t *testing.T) {
	got, err := parseCounts([]byte(`{"nftables": [{"metainfo": {"version": "1.0.6"}}, {"table": {"name": "schoolgate"}},
		{"rule": {"chain": "a", "comment": "Y7", "expr": [{"match": {}}, {"counter": {"packets": 3, "bytes": 9}}, {"drop": null}]}},
		{"rule": {"chain": "a", "comment": "no counter", "expr": [{"accept": null}]}},
		{"rule": {"chain": "a", "comment": "Y7", "expr": [{"counter": {"packets": 4, "bytes": 9}}]}}]}`))
	if diff := cmp.Diff([]Count{{"Y7", 7}}, got); diff != "" || err != nil {
		t.Errorf("parseCounts: %v, -want +got\n%s", err, diff)
	}
	if _, err := parseCounts([]byte("Error: syntax")); err == nil {
		t.Error("parseCounts of an error = nil, want an error")
	}
}
