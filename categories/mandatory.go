package categories

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"math/bits"
	"os"
	"path/filepath"

	"schoolgate/internal/durable"
	"schoolgate/internal/siphash"
	"schoolgate/policy"
)

// Entries of mandatory lists are kept only as HMAC-SHA256 of the canonical host
// or URL (F2): whoever has the store cannot read the list, and whoever has the
// key as well can only test a guess. What a host is kept for, its category as a
// whole domain and that of its listed pages, is two bytes behind the hash.
//
// On the hot path a table of keyed SipHash answers "not on any list" in
// nanoseconds; its key comes from the HMAC key and is as secret.

// KeySize is the size of the key of mandatory lists.
const KeySize = 32

// ErrKey: the store holds mandatory lists and the key is missing or not the one
// it was built with.
var ErrKey = errors.New("the key of the mandatory lists is missing or is another store's")

// LoadOrCreateKey reads the key file, or makes one that only its owner can read.
func LoadOrCreateKey(path string) ([]byte, error) {
	key, err := os.ReadFile(path)
	switch {
	case err == nil && len(key) == KeySize:
		return key, nil
	case err == nil:
		return nil, fmt.Errorf("key file %s: %d bytes, want %d: restore it from the backup, or remove it and rebuild the store", path, len(key), KeySize)
	case !errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("key file: %w", err)
	}
	key = make([]byte, KeySize)
	rand.Read(key) // never fails: crypto/rand
	if err := writeFile(path, key); err != nil {
		if errors.Is(err, fs.ErrExist) { // another process was first
			return LoadOrCreateKey(path)
		}
		return nil, fmt.Errorf("key file: %w", err)
	}
	return key, nil
}

// writeFile writes a new file whole or not at all, and durably.
func writeFile(path string, data []byte) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	tmp, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".new-")
	if err != nil {
		return err
	}
	defer os.Remove(tmp.Name())
	_, err = tmp.Write(data)
	if err == nil {
		err = tmp.Sync()
	}
	if err := errors.Join(err, tmp.Close()); err != nil {
		return err
	}
	if err := os.Link(tmp.Name(), path); err != nil { // unlike rename, never over another's
		return err
	}
	return durable.SyncDir(filepath.Dir(path))
}

// Kinds of keyed hashes, so that a host is never taken for a page.
const (
	kindHost  = "host\x00"
	kindPage  = "page\x00"  // this page, whatever its query
	kindQuery = "query\x00" // this page with certain parameters in its query
	kindParam = "param\x00" // one parameter of such a page
	kindTree  = "tree\x00"  // the page and everything below it
	kindCheck = "check\x00"
	kindSip   = "sip\x00"
)

func keyed(key []byte, kind, host, path string) []byte {
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(kind))
	mac.Write([]byte(host))
	mac.Write([]byte{0})
	mac.Write([]byte(path))
	return mac.Sum(nil)
}

// secretIndex is the pre-filter: an open-addressed table of SipHashes, 0 empty.
type secretIndex struct {
	key   [2]uint64
	slots []byte
	n     uint64
	depth int // most segments of a tree entry
}

func newSecretIndex(key, table []byte, depth int) secretIndex {
	k := keyed(key, kindSip, "", "")
	return secretIndex{
		key:   [2]uint64{binary.LittleEndian.Uint64(k), binary.LittleEndian.Uint64(k[8:])},
		slots: table, n: uint64(len(table) / slotSize), depth: depth,
	}
}

// hash only finds candidates: HMAC confirms.
func (x *secretIndex) hash(s []byte) uint64 { return max(siphash.Sum(x.key, s), 1) }

// has reports whether s may be on a list: false is certain.
func (x *secretIndex) has(s []byte) bool {
	h := x.hash(s)
	i, _ := bits.Mul64(h, x.n)
	for range x.n {
		switch binary.LittleEndian.Uint64(x.slots[i*slotSize:]) {
		case h:
			return true
		case 0:
			return false
		}
		if i++; i == x.n {
			i = 0
		}
	}
	return false
}

// secretHost is what is kept behind the hash of a host.
type secretHost struct {
	domain policy.Category // the whole of it
	pages  policy.Category // pages of it
}

// secretBuilder collects entries of mandatory lists, hashed as they come.
type secretBuilder struct {
	key    []byte
	hosts  map[string]secretHost      // by keyed hash
	pages  map[string]policy.Category // by keyed hash, page or tree
	asked  map[string][]byte          // by keyed hash, the parameter lists of a page
	filter map[uint64]bool
	sip    secretIndex
	depth  int
	counts map[policy.Category]int
}

func newSecretBuilder(key []byte) *secretBuilder {
	return &secretBuilder{
		key: key, sip: newSecretIndex(key, nil, 0),
		hosts: map[string]secretHost{}, pages: map[string]policy.Category{}, asked: map[string][]byte{},
		filter: map[uint64]bool{}, counts: map[policy.Category]int{},
	}
}

// add takes an entry; fresh is false for one that was there.
func (b *secretBuilder) add(host policy.Host, path string, c policy.Category) (fresh bool) {
	name := string(appendFolded(nil, host))
	id := string(keyed(b.key, kindHost, name, ""))
	h := b.hosts[id]
	b.filter[b.sip.hash([]byte(name))] = true
	if path == "" {
		fresh = h.domain == policy.Uncategorised
		h.domain = gravest(h.domain, c)
	} else {
		h.pages = gravest(h.pages, c)
		fresh = b.addPage(name, path, c)
	}
	b.hosts[id] = h
	if fresh {
		b.counts[c]++
	}
	return fresh
}

// gravest is the category with the lower number, which is the graver one.
func gravest(a, b policy.Category) policy.Category {
	if a == policy.Uncategorised || b != policy.Uncategorised && b < a {
		return b
	}
	return a
}

// table is the finished pre-filter.
func (b *secretBuilder) table() []byte {
	if len(b.filter) == 0 {
		return nil
	}
	table := make([]byte, 2*len(b.filter)*slotSize)
	n := uint64(2 * len(b.filter))
	for h := range b.filter {
		i, _ := bits.Mul64(h, n)
		for binary.LittleEndian.Uint64(table[i*slotSize:]) != 0 {
			i = (i + 1) % n
		}
		binary.LittleEndian.PutUint64(table[i*slotSize:], h)
	}
	return table
}

// appendFolded appends the name under which a host's mandatory entries are
// hashed: mirrors are folded, as everywhere.
func appendFolded(dst []byte, h policy.Host) []byte {
	name := h.String()
	if _, ok := h.Addr(); ok {
		return append(dst, name...)
	}
	rest, ok := cutMirror(name)
	if !ok {
		return append(dst, name...)
	}
	if rest != "" {
		dst = append(append(dst, rest...), '.')
	}
	return append(dst, mirror+".com"...)
}
