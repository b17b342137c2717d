package dnsfilter

import (
	"fmt"
	"testing"
)

// Y6: a name is a front by the keys that other sites have published under it, the
// newest few; never for itself, and within bounds.
func TestFronts(t *testing.T) {
	var s Server
	for i := range 6 {
		s.fronts.add("hidden.example", "front.test", uint8(i))
	}
	s.fronts.add("hidden.example", "front.test", 5)
	s.fronts.add("www.own.example", "own.example", 7)
	for _, c := range []struct {
		name string
		key  uint8
		want bool
	}{
		{"front.test", 0, false}, {"front.test", 1, false}, {"front.test", 2, true}, {"front.test", 5, true}, {"front.test", 6, false},
		{"hidden.example", 5, false}, {"own.example", 7, false}, {"nobody.example", 0, false},
	} {
		if got := s.ECHFront(c.name, c.key); got != c.want {
			t.Errorf("ECHFront(%s, %d) = %t, want %t", c.name, c.key, got, c.want)
		}
	}
	for i := range 2 * maxFronts {
		s.fronts.add("hidden.example", fmt.Sprintf("front%d.test", i), 1)
	}
	if n := len(s.fronts.names); n > maxFronts {
		t.Errorf("%d names are kept, want at most %d", n, maxFronts)
	}
}
