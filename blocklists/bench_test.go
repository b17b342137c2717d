package blocklists

import (
	"fmt"
	"strings"
	"testing"

	"schoolgate/policy"
)

// BenchmarkRead is one name of a plain list, from the file to emit.
func BenchmarkRead(b *testing.B) {
	var text strings.Builder
	const names = 100_000
	for i := range names {
		fmt.Fprintf(&text, "host-%d.example\n", i)
	}
	f := Feed{Name: "bench", Path: write(b, "list", text.String()), Format: Domains, Category: policy.Gaming, Kind: Public}
	b.ReportAllocs()
	for range b.N / names {
		if _, err := Read(b.Context(), f, func(Entry) error { return nil }, func(Refusal) {}); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkParsed is one name of a list that is unchanged since the last build, with
// the sums of its source and of what was kept.
func BenchmarkParsed(b *testing.B) {
	var text strings.Builder
	const names = 100_000
	for i := range names {
		fmt.Fprintf(&text, "host-%d.example\n", i)
	}
	f := Feed{Name: "bench", Path: write(b, "list", text.String()), Format: Domains, Category: policy.Gaming, Kind: Public}
	p := OpenParsed(b.TempDir(), []byte("a key of a box"), nil)
	b.ReportAllocs()
	for range 1 + b.N/names {
		if _, _, err := p.Read(b.Context(), f, func(Entry) error { return nil }, func(Refusal) {}); err != nil {
			b.Fatal(err)
		}
	}
}
