package categories

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
)

// Names are stored in blocks of some dozens, front-coded: each name is how many
// bytes it shares with the one before, and the rest. A block's bbolt key is its
// LAST name, so that one Seek for a name lands on the only block that can hold
// it. A block is guarded by its own checksum: a bit that flips while the store
// is live must refuse and not let a listed name through.
//
//	crc32c of the rest, 4 bytes
//	per name: uvarint shared, uvarint size of the rest, rest, uvarint evidence
const blockNames = 48

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// blockWriter packs names, which must come in order, and hands full blocks over.
type blockWriter struct {
	buf   []byte
	last  []byte
	count int
	put   func(key, value []byte) error
}

func (w *blockWriter) add(key []byte, evidence uint32) error {
	if w.count == 0 {
		w.buf = append(w.buf[:0], 0, 0, 0, 0)
		w.last = w.last[:0]
	}
	shared := 0
	for shared < len(w.last) && shared < len(key) && w.last[shared] == key[shared] {
		shared++
	}
	w.buf = binary.AppendUvarint(w.buf, uint64(shared))
	w.buf = binary.AppendUvarint(w.buf, uint64(len(key)-shared))
	w.buf = append(w.buf, key[shared:]...)
	w.buf = binary.AppendUvarint(w.buf, uint64(evidence))
	w.last = append(w.last[:0], key...)
	if w.count++; w.count == blockNames {
		return w.flush()
	}
	return nil
}

func (w *blockWriter) flush() error {
	if w.count == 0 {
		return nil
	}
	w.count = 0
	binary.LittleEndian.PutUint32(w.buf, crc32.Checksum(w.buf[4:], castagnoli))
	return w.put(bytes.Clone(w.last), bytes.Clone(w.buf))
}

// findInBlock looks for a name. It allocates nothing: while names go by it keeps
// only how many bytes of the target the current one has in common.
func findInBlock(block, target []byte) (evidence uint32, found bool, err error) {
	body, err := blockBody(block)
	if err != nil {
		return 0, false, err
	}
	common := 0 // bytes of target that the current name begins with
	for len(body) > 0 {
		shared, rest, ev, tail, ok := nextName(body)
		if !ok {
			return 0, false, errCorrupt("block")
		}
		body = tail
		if shared > common {
			continue // differs from target where the name before it did
		}
		common = shared
		for _, c := range rest {
			if common == len(target) || target[common] != c {
				break
			}
			common++
		}
		if common == len(target) && shared+len(rest) == len(target) {
			return ev, true, nil
		}
	}
	return 0, false, nil
}

// eachInBlock calls visit with every name, whose bytes are good until it returns.
func eachInBlock(block []byte, visit func(key []byte, evidence uint32) error) error {
	body, err := blockBody(block)
	if err != nil {
		return err
	}
	key := make([]byte, 0, maxKey+MaxPath)
	for len(body) > 0 {
		shared, rest, ev, tail, ok := nextName(body)
		if !ok || shared > len(key) {
			return errCorrupt("block")
		}
		body = tail
		key = append(key[:shared], rest...)
		if err := visit(key, ev); err != nil {
			return err
		}
	}
	return nil
}

func blockBody(block []byte) ([]byte, error) {
	if len(block) < 4 || binary.LittleEndian.Uint32(block) != crc32.Checksum(block[4:], castagnoli) {
		return nil, errCorrupt("block")
	}
	return block[4:], nil
}

func nextName(b []byte) (shared int, rest []byte, evidence uint32, tail []byte, ok bool) {
	s, n := binary.Uvarint(b)
	if n <= 0 || s > maxKey+MaxPath {
		return 0, nil, 0, nil, false
	}
	b = b[n:]
	size, n := binary.Uvarint(b)
	if n <= 0 || size > uint64(len(b)-n) {
		return 0, nil, 0, nil, false
	}
	b = b[n:]
	rest, b = b[:size], b[size:]
	e, n := binary.Uvarint(b)
	if n <= 0 || e > 1<<32-1 {
		return 0, nil, 0, nil, false
	}
	return int(s), rest, uint32(e), b[n:], true
}
