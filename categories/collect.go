package categories

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"hash/maphash"
	"slices"
)

// names collects what is said of each key, in any order. Keys lie in an arena
// and records are twelve bytes, so that seven million names are some 300 MB.
type names struct {
	seed    maphash.Seed
	chunks  [][]byte
	records []record
	slots   []uint32 // open addressing; index of a record plus one
}

// record is one key and its evidence.
type record struct {
	at       uint32 // chunk<<chunkBits | offset
	size     uint16
	paths    bool // the host has URL entries
	shared   bool // the host is a suffix: not every source or category may name it
	evidence uint32
}

const (
	maxNames  = 1 << 24
	chunkBits = 22
	maxChunks = 1 << (32 - chunkBits)
)

func newNames() *names {
	return &names{seed: maphash.MakeSeed(), slots: make([]uint32, 1<<10)}
}

func (n *names) key(r *record) []byte {
	chunk := n.chunks[r.at>>chunkBits]
	at := r.at & (1<<chunkBits - 1)
	return chunk[at : at+uint32(r.size)]
}

// find gives the record of a key, nil if it is not there.
func (n *names) find(key []byte) *record {
	for i := n.home(key); n.slots[i] != 0; i = (i + 1) & (len(n.slots) - 1) {
		if r := &n.records[n.slots[i]-1]; bytes.Equal(n.key(r), key) {
			return r
		}
	}
	return nil
}

// add makes a record of a key that find did not know; nil at the bound, sixteen
// million keys or four gigabytes of them.
func (n *names) add(key []byte) *record {
	if 4*(len(n.records)+1) > 3*len(n.slots) {
		n.grow()
	}
	if len(n.records) == maxNames {
		return nil
	}
	at, ok := n.keep(key)
	if !ok {
		return nil
	}
	n.records = append(n.records, record{at: at, size: uint16(len(key))})
	n.place(key, uint32(len(n.records)))
	return &n.records[len(n.records)-1]
}

func (n *names) keep(key []byte) (at uint32, ok bool) {
	last := len(n.chunks) - 1
	if last < 0 || len(n.chunks[last])+len(key) > 1<<chunkBits {
		if len(n.chunks) == maxChunks {
			return 0, false
		}
		n.chunks = append(n.chunks, make([]byte, 0, 1<<chunkBits))
		last++
	}
	at = uint32(last)<<chunkBits | uint32(len(n.chunks[last]))
	n.chunks[last] = append(n.chunks[last], key...)
	return at, true
}

func (n *names) home(key []byte) int {
	return int(maphash.Bytes(n.seed, key)) & (len(n.slots) - 1)
}

func (n *names) place(key []byte, id uint32) {
	i := n.home(key)
	for n.slots[i] != 0 {
		i = (i + 1) & (len(n.slots) - 1)
	}
	n.slots[i] = id
}

func (n *names) grow() {
	n.slots = make([]uint32, 2*len(n.slots))
	for i := range n.records {
		n.place(n.key(&n.records[i]), uint32(i+1))
	}
}

// sort puts the records in order of their keys; after it find is of no use. What
// the keys of a top-level domain share is compared once: a rank of three bytes,
// and five bytes of what follows, settle most comparisons beside the record.
func (n *names) sort() {
	n.slots = nil
	ranks := n.rankTops()
	type place struct {
		prefix uint64
		id     uint32
	}
	order := make([]place, len(n.records))
	for i := range n.records {
		top, rest := splitTop(n.key(&n.records[i]))
		var p [8]byte
		copy(p[3:], rest)
		order[i] = place{ranks[string(top)]<<40 | binary.BigEndian.Uint64(p[:]), uint32(i)}
	}
	slices.SortFunc(order, func(a, b place) int {
		if c := cmp.Compare(a.prefix, b.prefix); c != 0 {
			return c
		}
		return bytes.Compare(n.key(&n.records[a.id]), n.key(&n.records[b.id]))
	})
	sorted := make([]record, len(order))
	for i, p := range order {
		sorted[i] = n.records[p.id]
	}
	n.records = sorted
}

// rankTops numbers the top labels in their order. There are fewer than 1<<24.
func (n *names) rankTops() map[string]uint64 {
	ranks := map[string]uint64{}
	var tops []string
	for i := range n.records {
		top, _ := splitTop(n.key(&n.records[i]))
		if _, known := ranks[string(top)]; !known {
			ranks[string(top)] = 0
			tops = append(tops, string(top))
		}
	}
	slices.Sort(tops)
	for i, top := range tops {
		ranks[top] = uint64(i)
	}
	return ranks
}

// splitTop cuts a key after its first label, with the mark that ends it, so that
// the parts sort as the whole does.
func splitTop(key []byte) (top, rest []byte) {
	if i := bytes.IndexByte(key, labelEnd); i >= 0 {
		return key[:i+1], key[i+1:]
	}
	return key, nil
}

// combinations keeps each distinct set of evidence once.
type combinations struct {
	sets  [][]pair
	grown map[uint64]uint32 // set<<32 | pair → the set with it
	ids   map[string]uint32
}

func newCombinations() *combinations {
	return &combinations{sets: [][]pair{nil}, grown: map[uint64]uint32{}, ids: map[string]uint32{"": 0}}
}

// with is the set id and p, which is the same set if it held p already.
func (c *combinations) with(id uint32, p pair) uint32 {
	step := uint64(id)<<32 | uint64(p)
	if next, ok := c.grown[step]; ok {
		return next
	}
	set := c.sets[id]
	i, held := slices.BinarySearch(set, p)
	next := id
	if !held {
		set = slices.Insert(slices.Clone(set), i, p)
		text := string(appendPairs(nil, set))
		known, ok := c.ids[text]
		if !ok {
			known = uint32(len(c.sets))
			c.sets = append(c.sets, set)
			c.ids[text] = known
		}
		next = known
	}
	c.grown[step] = next
	return next
}

// appendPairs and parsePairs are the form in which a set is stored.
func appendPairs(dst []byte, set []pair) []byte {
	for _, p := range set {
		dst = binary.AppendUvarint(dst, uint64(p))
	}
	return dst
}

func parsePairs(b []byte, sources int) ([]pair, error) {
	var set []pair
	for len(b) > 0 {
		v, n := binary.Uvarint(b)
		if n <= 0 || v > 1<<31 || int(pair(v).source()) >= sources {
			return nil, errCorrupt("evidence")
		}
		set, b = append(set, pair(v)), b[n:]
	}
	return set, nil
}
