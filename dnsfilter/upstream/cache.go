package upstream

import (
	"bytes"
	"hash/maphash"
	"sync"
)

// cache holds entries as bytes: no pointers for the garbage collector to follow,
// and a bound in bytes that holds whatever is asked. Each shard has a young and
// an old half. Entries enter the young half; when it is full it becomes the old
// one, and what was old goes. An entry found in the old half moves to the young
// one, so a flood of random names does not wash the busy ones out.
type cache struct {
	seed   maphash.Seed
	shards [cacheShards]shard
}

const (
	cacheShards  = 16
	minShardSize = 64 << 10
)

type shard struct {
	mu         sync.Mutex
	young, old half
}

// half is entries one after the other; the index trusts no hash alone.
type half struct {
	index map[uint64]uint32 // hash to offset
	bytes []byte            // its capacity is fixed
}

func newCache(size int) *cache {
	c := &cache{seed: maphash.MakeSeed()}
	room := max(size/cacheShards, minShardSize) / 2
	for i := range c.shards {
		s := &c.shards[i]
		s.young = half{index: make(map[uint64]uint32), bytes: make([]byte, 0, room)}
		s.old = half{index: make(map[uint64]uint32), bytes: make([]byte, 0, room)}
	}
	return c
}

func (c *cache) find(key []byte) (uint64, *shard) {
	h := maphash.Bytes(c.seed, key)
	return h, &c.shards[h>>60%cacheShards]
}

// get copies the entry over dst; ok is false if there is none.
func (c *cache) get(dst entry, key []byte) (e entry, ok bool) {
	h, s := c.find(key)
	s.mu.Lock()
	defer s.mu.Unlock()
	if found, ok := s.young.get(h, key); ok {
		return append(dst[:0], found...), true
	}
	found, ok := s.old.get(h, key)
	if !ok {
		return dst[:0], false
	}
	dst = append(dst[:0], found...)
	s.put(h, dst)
	return dst, true
}

// put stores the entry in place of an earlier one. An entry too large for a
// quarter of a half is not kept.
func (c *cache) put(e entry) {
	h, s := c.find(e.key())
	s.mu.Lock()
	defer s.mu.Unlock()
	s.put(h, e)
}

// postpone notes on an entry that asking again is useless until then.
func (c *cache) postpone(key []byte, until uint32) {
	h, s := c.find(key)
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, half := range []*half{&s.young, &s.old} {
		if e, ok := half.get(h, key); ok {
			e.setU32(12, until)
		}
	}
}

// entries counts what can be found.
func (c *cache) entries() (n int) {
	for i := range c.shards {
		s := &c.shards[i]
		s.mu.Lock()
		n += len(s.young.index) + len(s.old.index)
		s.mu.Unlock()
	}
	return n
}

// put needs the shard's lock.
func (s *shard) put(h uint64, e entry) {
	if len(e) > cap(s.young.bytes)/4 {
		return
	}
	if len(s.young.bytes)+len(e) > cap(s.young.bytes) {
		clear(s.old.index)
		s.old.bytes = s.old.bytes[:0]
		s.young, s.old = s.old, s.young
	}
	s.young.index[h] = uint32(len(s.young.bytes))
	s.young.bytes = append(s.young.bytes, e...)
	delete(s.old.index, h)
}

func (f *half) get(h uint64, key []byte) (entry, bool) {
	at, ok := f.index[h]
	if !ok {
		return nil, false
	}
	e := entry(f.bytes[at:])
	e = e[:e.u32(0)]
	return e, bytes.Equal(e.key(), key)
}
