package dnsfilter

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"hash/maphash"
	"net/netip"
	"slices"
	"sync"
	"time"
)

// given remembers which names each client was given for which addresses, and
// until when: a connection without a name is judged by it, and the record of one
// can say what was meant. It is kept as bytes without pointers in two halves a
// shard, like the cache of answers: when the young half is full the old one is
// forgotten. All of a client is in one shard, so a noisy client makes only the
// clients of its shard be forgotten sooner.
type given struct {
	seed   maphash.Seed
	start  time.Time
	shards [givenShards]givenShard
}

const (
	givenShards = 16
	givenGrace  = 5 * time.Minute // programs go on using an address past its time
	maxGiven    = 16              // addresses kept of one answer
)

type givenShard struct {
	mu         sync.Mutex
	young, old givenHalf
}

// givenHalf is records one after the other: total length (2), flags (1), name
// length (1), until (4), the client's record before (4), tag (4), client (16),
// name in wire form, addresses of 16 bytes.
type givenHalf struct {
	byAnswer map[uint64]uint32 // client, name and type; to the offset of the record
	byClient map[uint64]uint32 // to the last record of the client
	bytes    []byte            // its capacity is fixed
}

const (
	givenHeader = 32
	givenNone   = 1<<32 - 1
	givenClear  = 1 // no list knows any of the addresses
)

// newGiven takes as much memory as size says, whatever happens.
func newGiven(size int) *given {
	g := &given{seed: maphash.MakeSeed(), start: time.Now()}
	room := size / givenShards / 2
	for i := range g.shards {
		for _, h := range []*givenHalf{&g.shards[i].young, &g.shards[i].old} {
			*h = givenHalf{byAnswer: map[uint64]uint32{}, byClient: map[uint64]uint32{}, bytes: make([]byte, 0, room)}
		}
	}
	return g
}

// answer is what a client was told.
type answer struct {
	client netip.Addr
	name   []byte // wire form, lower case
	qtype  uint16
	addrs  []netip.Addr
	until  time.Time
	tag    uint32 // of the lists and policy by which the addresses were judged
	clear  bool
}

func (g *given) seconds(t time.Time) uint32 { return uint32(max(t.Sub(g.start), 0) / time.Second) }

// keys gives the hashes of the client and of the answer.
func (g *given) keys(client [16]byte, name []byte, qtype uint16) (who, what uint64) {
	who = maphash.Bytes(g.seed, client[:])
	what = maphash.Bytes(g.seed, name)
	return who, what ^ who*0x9E3779B97F4A7C15 ^ uint64(qtype)<<40
}

// renew notes that the client got the same answer again; false if it is not known
// as such, or if its addresses have to be judged again.
func (g *given) renew(a *answer) bool {
	client := a.client.As16()
	who, what := g.keys(client, a.name, a.qtype)
	s := &g.shards[who>>60%givenShards]
	s.mu.Lock()
	defer s.mu.Unlock()
	if r := s.young.find(what, client, a); r != nil {
		binary.LittleEndian.PutUint32(r[4:], max(g.seconds(a.until), binary.LittleEndian.Uint32(r[4:])))
		return true
	}
	if s.old.find(what, client, a) == nil {
		return false
	}
	s.add(a, client, who, what, g.seconds(a.until))
	return true
}

// find gives the record of an answer if it says just the same.
func (h *givenHalf) find(what uint64, client [16]byte, a *answer) givenRecord {
	at, ok := h.byAnswer[what]
	if !ok {
		return nil
	}
	r := h.record(at)
	if !r.is(client, a.name) || r[2]&givenClear == 0 || binary.LittleEndian.Uint32(r[12:]) != a.tag || !r.leadsTo(a.addrs) {
		return nil
	}
	return r
}

// add remembers an answer.
func (g *given) add(a *answer) {
	client := a.client.As16()
	who, what := g.keys(client, a.name, a.qtype)
	s := &g.shards[who>>60%givenShards]
	s.mu.Lock()
	defer s.mu.Unlock()
	s.add(a, client, who, what, g.seconds(a.until))
}

// add needs the lock.
func (s *givenShard) add(a *answer, client [16]byte, who, what uint64, until uint32) {
	addrs := a.addrs[:min(len(a.addrs), maxGiven)]
	length := givenHeader + len(a.name) + 16*len(addrs)
	h := &s.young
	if len(h.bytes)+length > cap(h.bytes) {
		clear(s.old.byAnswer)
		clear(s.old.byClient)
		s.old.bytes = s.old.bytes[:0]
		s.young, s.old = s.old, s.young
	}
	if length > cap(h.bytes) {
		return
	}
	at := uint32(len(h.bytes))
	before, ok := h.byClient[who]
	if !ok {
		before = givenNone
	}
	var flags byte
	if a.clear {
		flags = givenClear
	}
	b := binary.LittleEndian.AppendUint16(h.bytes, uint16(length))
	b = append(b, flags, byte(len(a.name)))
	b = binary.LittleEndian.AppendUint32(b, until)
	b = binary.LittleEndian.AppendUint32(b, before)
	b = binary.LittleEndian.AppendUint32(b, a.tag)
	b = append(append(b, client[:]...), a.name...)
	for _, addr := range addrs {
		ip := addr.As16()
		b = append(b, ip[:]...)
	}
	h.bytes = b
	h.byAnswer[what], h.byClient[who] = at, at
}

// givenRecord is one record.
type givenRecord []byte

func (h *givenHalf) record(at uint32) givenRecord {
	return h.bytes[at : at+uint32(binary.LittleEndian.Uint16(h.bytes[at:]))]
}

func (r givenRecord) name() []byte { return r[givenHeader : givenHeader+int(r[3])] }

func (r givenRecord) is(client [16]byte, name []byte) bool {
	return [16]byte(r[16:32]) == client && (name == nil || bytes.Equal(r.name(), name))
}

func (r givenRecord) holds(ip [16]byte) bool {
	for b := r[givenHeader+int(r[3]):]; len(b) >= 16; b = b[16:] {
		if [16]byte(b) == ip {
			return true
		}
	}
	return false
}

// leadsTo reports whether the record holds just these addresses, in any order:
// upstreams rotate them. Of more than can be kept it is not known.
func (r givenRecord) leadsTo(addrs []netip.Addr) bool {
	if len(r)-givenHeader-int(r[3]) != 16*len(addrs) {
		return false
	}
	for _, a := range addrs {
		if !r.holds(a.As16()) {
			return false
		}
	}
	return true
}

// names gives the names, the one told last first.
func (g *given) names(client, addr netip.Addr, now time.Time) []string {
	type found struct {
		name  string
		until uint32
	}
	var all []found
	who16, ip := client.As16(), addr.As16()
	who := maphash.Bytes(g.seed, who16[:])
	s := &g.shards[who>>60%givenShards]
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, h := range []*givenHalf{&s.young, &s.old} {
		at, ok := h.byClient[who]
		for ok && at != givenNone {
			r := h.record(at)
			until := binary.LittleEndian.Uint32(r[4:])
			if r.is(who16, nil) && r.holds(ip) && !now.After(g.start.Add(time.Duration(until)*time.Second+givenGrace)) {
				if text, ok := appendText(nil, r.name()); ok {
					all = append(all, found{string(text), until})
				}
			}
			at = binary.LittleEndian.Uint32(r[8:])
		}
	}
	slices.SortStableFunc(all, func(a, b found) int { return cmp.Compare(b.until, a.until) })
	var names []string
	for _, f := range all {
		if !slices.Contains(names, f.name) {
			names = append(names, f.name)
		}
	}
	return names
}

// Names gives the names that the client was told the address for and may still
// use it by, the one told last first. It answers for this run of the box only,
// and within a bound of memory: what was told longest ago is forgotten first.
func (s *Server) Names(client, addr netip.Addr, now time.Time) []string {
	return s.given.names(client.Unmap().WithZone(""), addr.Unmap().WithZone(""), now)
}
