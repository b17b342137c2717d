package siphash

import "testing"

// The vector of the SipHash paper, appendix A.
func TestSipHash(t *testing.T) {
	var in []byte
	for i := range byte(15) {
		in = append(in, i)
	}
	key := [2]uint64{0x0706050403020100, 0x0f0e0d0c0b0a0908}
	if got := Sum(key, in); got != 0xa129ca6149be45e5 {
		t.Errorf("Sum = %#x, want 0xa129ca6149be45e5", got)
	}
}
