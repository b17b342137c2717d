package categories

import (
	"bytes"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"math/bits"
)

// The hot index is a flat open-addressed table of 8-byte slots: the low 48 bits
// of a name's hash above the 16-bit number of its class. The high bits of the
// hash say where to look, so that nearly all 64 are compared. A class of 0 is an
// empty slot. Its size is not a power of two: the load is what we choose, and
// with it the bytes a name.
const (
	slotSize   = 8
	slotsPer   = 3 // slots for
	namesPer   = 2 // so many names: 12 bytes a name
	maxClasses = 1<<16 - 1
	// A hash says which group of slots to begin at, and a group is a cache line: a
	// probe mostly touches one. indexPad puts the table on the edge of a line; it is
	// what bbolt writes on the page before the value (header, two elements, key).
	groupSlots = 8
	indexPad   = 64 - (16+2*16+len("index"))%64
)

// errCollision: two names with one hash, one in millions of millions; the
// builder draws another seed.
var errCollision = errors.New("two names with the same hash")

// index reads the table where it lies in the mapped file.
type index struct {
	seed  seed
	slots []byte
	n     uint64
}

func newIndex(s seed, table []byte) index {
	return index{seed: s, slots: table, n: uint64(len(table) / slotSize)}
}

// find gives the class of a hash, 0 for none.
func (x *index) find(h uint64) uint16 {
	if x.n == 0 {
		return 0
	}
	i, _ := bits.Mul64(h, x.n/groupSlots)
	i *= groupSlots
	for range x.n {
		slot := binary.LittleEndian.Uint64(x.slots[i*slotSize:])
		if slot>>16 == h&(1<<48-1) || slot&0xffff == 0 {
			return uint16(slot)
		}
		if i++; i == x.n {
			i = 0
		}
	}
	return 0
}

// indexWriter fills a table; value is what is stored, the table behind its pad.
type indexWriter struct {
	index
	value []byte
}

func newIndexWriter(s seed, names int) *indexWriter {
	groups := 0
	if names > 0 {
		groups = names*slotsPer/namesPer/groupSlots + 1
	}
	value := make([]byte, indexPad+groups*groupSlots*slotSize)
	return &indexWriter{newIndex(s, value[indexPad:]), value}
}

func (w *indexWriter) add(h uint64, class uint16) error {
	i, _ := bits.Mul64(h, w.n/groupSlots)
	i *= groupSlots
	for {
		slot := w.slots[i*slotSize:]
		have := binary.LittleEndian.Uint64(slot)
		if have&0xffff == 0 {
			binary.LittleEndian.PutUint64(slot, h<<16|uint64(class))
			return nil
		}
		if have>>16 == h&(1<<48-1) {
			return errCollision
		}
		if i++; i == w.n {
			i = 0
		}
	}
}

// hashKey is the hash of a host's key, the same that classifying comes to.
func (s seed) hashKey(key []byte) uint64 {
	if len(key) > 0 && key[0] == addressMark {
		return s.address(string(key[1:]))
	}
	h := s.start()
	for len(key) > 0 {
		label, rest, _ := bytes.Cut(key, []byte{labelEnd})
		h = s.label(h, string(label))
		key = rest
	}
	return h
}

// hashPathKey is the hash of a URL entry's key.
func (s seed) hashPathKey(key []byte) uint64 {
	host, path, _ := bytes.Cut(key, []byte(pathMark))
	return s.path(s.hashKey(host), string(path))
}

func newSeed() (s seed) {
	var b [16]byte
	rand.Read(b[:]) // never fails: crypto/rand
	return seed{binary.LittleEndian.Uint64(b[:]), binary.LittleEndian.Uint64(b[8:])}
}
