// Package siphash is SipHash-2-4 (Aumasson, Bernstein): a short keyed hash of short
// inputs that nobody without the key can foresee.
package siphash

import (
	"encoding/binary"
	"math/bits"
)

// Sum is the hash of s under a secret key.
func Sum(key [2]uint64, s []byte) uint64 {
	v := state{
		key[0] ^ 0x736f6d6570736575, key[1] ^ 0x646f72616e646f6d,
		key[0] ^ 0x6c7967656e657261, key[1] ^ 0x7465646279746573,
	}
	last := uint64(len(s)) << 56
	for len(s) >= 8 {
		v.word(binary.LittleEndian.Uint64(s))
		s = s[8:]
	}
	for i, c := range s {
		last |= uint64(c) << (8 * i)
	}
	v.word(last)
	v[2] ^= 0xff
	for range 4 {
		v.round()
	}
	return v[0] ^ v[1] ^ v[2] ^ v[3]
}

type state [4]uint64

func (v *state) word(m uint64) {
	v[3] ^= m
	v.round()
	v.round()
	v[0] ^= m
}

func (v *state) round() {
	v[0] += v[1]
	v[1] = bits.RotateLeft64(v[1], 13) ^ v[0]
	v[0] = bits.RotateLeft64(v[0], 32)
	v[2] += v[3]
	v[3] = bits.RotateLeft64(v[3], 16) ^ v[2]
	v[0] += v[3]
	v[3] = bits.RotateLeft64(v[3], 21) ^ v[0]
	v[2] += v[1]
	v[1] = bits.RotateLeft64(v[1], 17) ^ v[2]
	v[2] = bits.RotateLeft64(v[2], 32)
}
