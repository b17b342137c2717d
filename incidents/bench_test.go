package incidents

import "testing"

func BenchmarkSeal(b *testing.B) {
	one, _, err := newKey("four words and more", 10)
	if err != nil {
		b.Fatal(err)
	}
	two, _, err := newKey("four words and others", 10)
	if err != nil {
		b.Fatal(err)
	}
	seal, err := ParseSeal(one, two)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := seal.Close("https://sealed.example/a/page"); err != nil {
			b.Fatal(err)
		}
	}
}
