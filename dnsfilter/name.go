package dnsfilter

import (
	"hash/maphash"
	"net/netip"
	"sync/atomic"

	"schoolgate/policy"
)

// names turns names in wire form into hosts, and remembers the ones it has read:
// reading one costs more than deciding it. It is a table of a fixed size, read
// without a lock; where there is no room, a name that nobody asked for again goes
// first, so that a flood of random names does not wash the busy ones out.
type names struct {
	seed   maphash.Seed
	groups []nameGroup
	locals locals
	served func(policy.Host) bool // elsewhere, though a local zone
}

const (
	groupNames  = 4
	longestName = 96 // bytes of a name that is remembered: the table is bounded
)

// nameGroup is a cache line: the names whose hashes begin alike.
type nameGroup struct {
	hashes [groupNames]atomic.Uint64
	names  [groupNames]atomic.Pointer[name]
}

// name is a question's name as the policy sees it, and what is known of it.
type name struct {
	wire string
	memo policy.Memo // of its host
	// odd: the name cannot be read the same way twice. Then the host is the nearest
	// parent that can, so that what is known of the parent is not lost.
	odd  bool
	what locality
	zone int         // where the zone begins within the name, of one that ends at this box
	busy atomic.Bool // asked for again
}

func (n *name) host() policy.Host { return n.memo.Host() }

// newNames gives a table for so many names. What is served elsewhere ends at no
// local zone.
func newNames(size int, served func(policy.Host) bool) *names {
	return &names{seed: maphash.MakeSeed(), groups: make([]nameGroup, size/groupNames), locals: newLocals(), served: served}
}

// read gives the name for its wire form in lower case.
func (t *names) read(wire []byte) *name { return t.readHashed(t.hash(wire), wire) }

func (t *names) hash(wire []byte) uint64 { return maphash.Bytes(t.seed, wire) }

func (t *names) group(hash uint64) *nameGroup { return &t.groups[hash>>32%uint64(len(t.groups))] }

// find gives the place of a name in the group, if only the hash is looked at.
func (g *nameGroup) find(hash uint64) *name {
	for i := range g.hashes {
		if g.hashes[i].Load() == hash {
			return g.names[i].Load()
		}
	}
	return nil
}

func (t *names) readHashed(hash uint64, wire []byte) *name {
	g := t.group(hash)
	if n := g.find(hash); n != nil && n.wire == string(wire) {
		if !n.busy.Load() {
			n.busy.Store(true)
		}
		return n
	}
	n := t.parse(wire)
	if len(wire) <= longestName {
		g.add(hash, n)
	}
	return n
}

// readAddr gives an address as if it had been asked for by name. It is kept in the
// same table, as what no name begins with.
func (t *names) readAddr(a netip.Addr) *name {
	ip := a.As16()
	key := append(make([]byte, 0, 1+len(ip)), addrMark)
	key = append(key, ip[:]...)
	hash := t.hash(key)
	g := t.group(hash)
	if n := g.find(hash); n != nil && n.wire == string(key) {
		return n
	}
	n := &name{wire: string(key)}
	n.memo.For(policy.AddrHost(a))
	g.add(hash, n)
	return n
}

const addrMark = 0xFF // longer than any label

// add puts a name where there is room, or in the place of one that nobody asked
// for again. Of two who do so at once, one is forgotten.
func (g *nameGroup) add(hash uint64, n *name) {
	place, found := int(hash&(groupNames-1)), false
	for i := range g.names {
		switch old := g.names[i].Load(); {
		case old == nil:
			g.put(i, hash, n)
			return
		case !found && !old.busy.Swap(false):
			place, found = i, true
		}
	}
	g.put(place, hash, n)
}

func (g *nameGroup) put(i int, hash uint64, n *name) {
	g.names[i].Store(n)
	g.hashes[i].Store(hash)
}

// parse reads a wire name and what this box has to do with it.
func (t *names) parse(wire []byte) *name {
	n := parseName(wire)
	what, zone := t.locals.find(wire)
	if what == localZone && t.served(n.host()) {
		what = elsewhere
	}
	n.what, n.zone = what, len(wire)-len(zone)
	return n
}

// parseName reads a wire name. The root is the zero Host: it holds no site.
func parseName(wire []byte) *name {
	// One string holds both forms.
	var buf [512]byte
	both := append(buf[:0], wire...)
	n := &name{}
	for rest := wire; len(rest) > 1; rest = rest[1+int(rest[0]):] {
		if text, ok := appendText(both, rest); ok {
			all := string(text)
			host, err := policy.ParseHost(all[len(wire):])
			// What ParseHost would rewrite, our upstream would read otherwise.
			if err == nil && host.String() == all[len(wire):] {
				n.wire = all[:len(wire)]
				n.memo.For(host)
				return n
			}
		}
		n.odd = true
	}
	n.wire = string(wire)
	return n
}

// appendText writes the labels with dots between them; false if one of them
// holds a byte that a host's name has not. Service names have underscores.
func appendText(b, wire []byte) ([]byte, bool) {
	start := len(b)
	for len(wire) > 1 {
		n := int(wire[0])
		for _, c := range wire[1 : 1+n] {
			switch {
			case 'a' <= c && c <= 'z', '0' <= c && c <= '9', c == '-', c == '_':
			default:
				return nil, false
			}
		}
		if len(b) > start {
			b = append(b, '.')
		}
		b = append(b, wire[1:1+n]...)
		wire = wire[1+n:]
	}
	return b, true
}

// wireName writes a host in wire form; false if it has none.
func wireName(h policy.Host) ([]byte, bool) {
	if _, isAddr := h.Addr(); isAddr || h.IsZero() {
		return nil, false
	}
	text := h.String()
	wire := make([]byte, 0, len(text)+2)
	for len(text) > 0 {
		label := text
		for i := range len(text) {
			if text[i] == '.' {
				label = text[:i]
				break
			}
		}
		if len(label) == 0 || len(label) > 63 {
			return nil, false
		}
		wire = append(append(wire, byte(len(label))), label...)
		text = text[min(len(label)+1, len(text)):]
	}
	return append(wire, 0), len(wire) < 255
}
