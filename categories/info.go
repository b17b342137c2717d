package categories

import (
	"encoding/binary"
	"fmt"
	"time"

	"schoolgate/policy"
)

// Info describes a store.
type Info struct {
	Version    uint64
	Built      time.Time
	Names      int                     // hosts and addresses, mirrors folded
	URLs       int                     // path-level entries
	Indexed    int                     // names and URLs that say something when asked for
	Categories map[policy.Category]int // names and URLs that count, by category
	Mandatory  map[policy.Category]int // entries of mandatory lists
	Sources    []SourceInfo
	FileSize   int64
	IndexSize  int64
}

// SourceInfo is a source and what was taken of it.
type SourceInfo struct {
	Source
	Entries    int                     // taken, each once
	Duplicates int                     // said twice, mirrors included
	Folded     int                     // mirrors folded into one name, of those seen
	Refused    map[string]int          // by reason
	Categories map[policy.Category]int `json:",omitempty"` // entries taken, by what they say
}

// header is what a store keeps of itself, as JSON.
type header struct {
	Info
	Rules    Rules
	Words    []Word   `json:",omitempty"` // heard of names that nobody vouches for
	Implied  []Source // sources of evidence that the build itself found
	Seed     seed
	KeyCheck []byte `json:",omitempty"` // set if it holds mandatory lists
	Depth    int    // most segments of a mandatory entry that covers what is below it
	Breaks   int    // most boundaries in the path of a URL entry
	Longest  int    // longest path of a URL entry
}

func (h *header) sources() []Source {
	list := make([]Source, 0, len(h.Sources)+len(h.Implied))
	for i := range h.Sources {
		list = append(list, h.Sources[i].Source)
	}
	return append(list, h.Implied...)
}

// Names of buckets, and of keys in the last three.
var (
	bucketNames    = []byte("names")
	bucketURLs     = []byte("urls")
	bucketEvidence = []byte("evidence") // number, big endian → pairs
	bucketHosts    = []byte("mandatory hosts")
	bucketPages    = []byte("mandatory pages")
	bucketHot      = []byte("hot")
	bucketMeta     = []byte("meta")

	keyIndex   = []byte("index")
	keySecret  = []byte("mandatory")
	keyHeader  = []byte("header")
	keyClasses = []byte("classes")
)

const (
	viewSize  = 4*8 + 1
	classSize = 2*viewSize + 1
)

func appendClass(dst []byte, c class) []byte {
	for _, v := range []view{c.self, c.below} {
		for _, word := range []uint64{v.counted[0], v.counted[1], v.strong[0], v.strong[1]} {
			dst = binary.LittleEndian.AppendUint64(dst, word)
		}
		dst = append(dst, flag(v.final, 1)|flag(v.crowd, 2)|flag(v.clean, 4))
	}
	return append(dst, flag(c.paths, 1))
}

func flag(set bool, bit byte) byte {
	if set {
		return bit
	}
	return 0
}

// parseClasses reads the classes; number 0 is no class.
func parseClasses(b []byte) ([]class, error) {
	if len(b)%classSize != 0 || len(b)/classSize > maxClasses {
		return nil, errCorrupt("classes")
	}
	list := []class{{}}
	for ; len(b) > 0; b = b[classSize:] {
		list = append(list, class{self: parseView(b), below: parseView(b[viewSize:]), paths: b[2*viewSize]&1 != 0})
	}
	return list, nil
}

func parseView(b []byte) (v view) {
	word := func(i int) uint64 { return binary.LittleEndian.Uint64(b[8*i:]) }
	v.counted = policy.CategorySet{word(0), word(1)}
	v.strong = policy.CategorySet{word(2), word(3)}
	v.final, v.crowd, v.clean = b[32]&1 != 0, b[32]&2 != 0, b[32]&4 != 0
	return v
}

// check refuses a header that no builder wrote.
func (h *header) check() error {
	if len(h.Sources) > maxSources {
		return errCorrupt("header")
	}
	if h.Breaks < 0 || h.Breaks > MaxPath || h.Longest < 0 || h.Longest > MaxPath || h.Depth < 0 || h.Depth > MaxPath {
		return errCorrupt(fmt.Sprintf("header: bounds of %d, %d, %d", h.Breaks, h.Longest, h.Depth))
	}
	if err := checkWords(h.Words); err != nil {
		return fmt.Errorf("%w: header: %w", ErrCorrupt, err)
	}
	return nil
}
