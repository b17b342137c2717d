package categories

import "math/bits"

// seed is secret and random for each build, so that nobody can craft names that
// collide. The hash only finds candidates: a name confirms every hit.
type seed [2]uint64

// start is the hash of no label at all.
func (s seed) start() uint64 { return s[0] }

// label is the hash of a suffix that was h, one label longer. Taking the labels
// from the right, one pass gives the hash of every parent.
func (s seed) label(h uint64, l string) uint64 {
	n := uint64(len(l))
	for len(l) > 16 {
		h = mix(h^load8(l), s[1]^load8(l[8:]))
		l = l[16:]
	}
	var a, b uint64
	switch {
	case len(l) >= 8:
		a, b = load8(l), load8(l[len(l)-8:])
	case len(l) >= 4:
		a, b = load4(l), load4(l[len(l)-4:])
	case len(l) > 0:
		a = uint64(l[0]) | uint64(l[len(l)>>1])<<8 | uint64(l[len(l)-1])<<16
	}
	return mix(h^a, s[1]^b^n<<56) ^ n
}

// path is the hash of a path prefix under a host's hash; marked, so that a
// segment is never taken for a label.
func (s seed) path(h uint64, prefix string) uint64 {
	return s.label(bits.RotateLeft64(h, 29)^0x9e3779b97f4a7c15, prefix)
}

// address is the hash of an address, which has no labels and no parents.
func (s seed) address(text string) uint64 {
	return s.label(bits.RotateLeft64(s[0], 17), text)
}

func mix(a, b uint64) uint64 {
	hi, lo := bits.Mul64(a, b)
	return hi ^ lo
}

func load8(s string) uint64 {
	_ = s[7]
	return uint64(s[0]) | uint64(s[1])<<8 | uint64(s[2])<<16 | uint64(s[3])<<24 |
		uint64(s[4])<<32 | uint64(s[5])<<40 | uint64(s[6])<<48 | uint64(s[7])<<56
}

func load4(s string) uint64 {
	_ = s[3]
	return uint64(s[0]) | uint64(s[1])<<8 | uint64(s[2])<<16 | uint64(s[3])<<24
}
