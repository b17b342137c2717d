package policy

import "sync/atomic"

// Memo keeps what the snapshot in force holds on one host, whoever asks and
// whenever, for a door that is asked for the same hosts again and again. Whoever
// decides fills it and trusts it only for the very host and snapshot, so a changed
// list or rule is felt at once and a memo at the wrong place costs time and
// nothing else. It is safe for concurrent use.
type Memo struct {
	host Host

	// turn is odd while the memo is being filled. What follows was read whole if it
	// is the same before and after, and even.
	turn atomic.Uint64
	of   atomic.Uint64 // the snapshot's serial, 0 for none
	cats [2]atomic.Uint64
	rest atomic.Uint64
}

// For makes an empty memo one for a host, before anybody else has it.
func (m *Memo) For(h Host) { m.host = h }

// Host is what the memo is for.
func (m *Memo) Host() Host { return m.host }

// known is what a memo keeps.
type known struct {
	facts   Facts
	written written
}

// recall gives what the memo has of the snapshot with that serial.
func (m *Memo) recall(h Host, serial uint64) (k known, ok bool) {
	if m == nil || serial == 0 || m.host != h {
		return known{}, false
	}
	turn := m.turn.Load()
	of := m.of.Load()
	k.facts.Categories = CategorySet{m.cats[0].Load(), m.cats[1].Load()}
	rest := m.rest.Load()
	if of != serial || turn&1 != 0 || m.turn.Load() != turn {
		return known{}, false
	}
	k.facts.Mandatory, k.facts.MandatoryPaths = Category(rest), Category(rest>>8)
	k.facts.Paths = rest>>16&1 != 0
	k.written = written(rest >> 24)
	return k, true
}

// keep fills the memo, unless another is at it. What a broken store says is not
// kept: it is asked again.
func (m *Memo) keep(h Host, serial uint64, k *known) {
	if m == nil || serial == 0 || m.host != h || k.facts.Unreadable {
		return
	}
	turn := m.turn.Load()
	if turn&1 != 0 || !m.turn.CompareAndSwap(turn, turn+1) {
		return
	}
	m.of.Store(serial)
	m.cats[0].Store(k.facts.Categories[0])
	m.cats[1].Store(k.facts.Categories[1])
	rest := uint64(k.facts.Mandatory) | uint64(k.facts.MandatoryPaths)<<8 | uint64(k.written)<<24
	if k.facts.Paths {
		rest |= 1 << 16
	}
	m.rest.Store(rest)
	m.turn.Store(turn + 2)
}
