package upstream

import (
	"encoding/binary"
	"fmt"
	"math"

	"github.com/miekg/dns"
)

// entry is one vetted answer as bytes, so that the cache holds no pointers and
// an answer leaves by copying and patching. Little-endian:
//
//	 0 total length   4 stored       8 expires      12 retry
//	16 key length    18 TTLs        20 chain length 22 body length
//	24 answers       26 authorities 28 rcode        29 flags
//	30 extended error
//	32 key, offsets of TTLs within the body, chain names in wire form, body
//
// The body is what follows the question of the packed answer: names in it are
// compressed against the question, whose length does not change with its case.
type entry []byte

const (
	entryHeader = 32
	maxBody     = math.MaxUint16 - 12 - 255 - 4 - 64 // leaves room for the question and an OPT with our options
)

// What an entry says of itself.
const (
	flagAD      = 1 << iota // it was found authentic, by us or by the upstream, and nothing was changed
	flagPrivate             // it held addresses that a public name may not have
	flagFailure             // nobody answered
)

func (e entry) u16(at int) int          { return int(binary.LittleEndian.Uint16(e[at:])) }
func (e entry) u32(at int) uint32       { return binary.LittleEndian.Uint32(e[at:]) }
func (e entry) setU32(at int, v uint32) { binary.LittleEndian.PutUint32(e[at:], v) }
func (e entry) setU16(at int, v int)    { binary.LittleEndian.PutUint16(e[at:], uint16(v)) }
func (e entry) stored() uint32          { return e.u32(4) }
func (e entry) expires() uint32         { return e.u32(8) }
func (e entry) retry() uint32           { return e.u32(12) }
func (e entry) rcode() int              { return int(e[28]) }
func (e entry) has(flag byte) bool      { return e[29]&flag != 0 }
func (e entry) code() uint16            { return uint16(e.u16(30)) }
func (e entry) key() []byte             { return e[entryHeader : entryHeader+e.u16(16)] }

func (e entry) chain() []byte {
	at := entryHeader + e.u16(16) + 2*e.u16(18)
	return e[at : at+e.u16(20)]
}

func (e entry) ttlOffset(i int) int { return e.u16(entryHeader + e.u16(16) + 2*i) }

func (e entry) body() []byte { return e[len(e)-e.u16(22):] }

// vetted is an answer that passed [vet], ready to be packed.
type vetted struct {
	msg    dns.Msg  // question, answers and authorities
	chain  []string // names the question leads to, in order
	flags  byte
	judged bool   // validated by us: what the upstream calls it does not count
	code   uint16 // an Extended DNS Error that belongs to it, 0 for none
	ttl    uint32 // seconds it may be kept; 0 is not kept
}

// newEntry packs a vetted answer.
func newEntry(key []byte, nameLen int, v *vetted, now uint32) (entry, error) {
	v.msg.Compress = true
	wire, err := v.msg.Pack()
	if err != nil {
		return nil, fmt.Errorf("pack answer: %w", err)
	}
	body := wire[12+nameLen+4:]
	if len(body) > maxBody {
		return nil, fmt.Errorf("answer of %d bytes does not fit a message", len(wire))
	}
	offsets, err := ttlOffsets(wire, 12+nameLen+4, len(v.msg.Answer)+len(v.msg.Ns))
	if err != nil {
		return nil, err
	}
	var chain []byte
	for _, name := range v.chain {
		w, ok := WireName(name)
		if !ok {
			return nil, fmt.Errorf("chain leads to a name that is none")
		}
		chain = append(chain, w...)
	}
	e := make(entry, entryHeader, entryHeader+len(key)+2*len(offsets)+len(chain)+len(body))
	e.setU32(4, now)
	e.setU32(8, now+v.ttl)
	e.setU16(16, len(key))
	e.setU16(18, len(offsets))
	e.setU16(20, len(chain))
	e.setU16(22, len(body))
	e.setU16(24, len(v.msg.Answer))
	e.setU16(26, len(v.msg.Ns))
	e[28], e[29] = byte(v.msg.Rcode), v.flags
	e.setU16(30, int(v.code))
	e = append(e, key...)
	for _, at := range offsets {
		e = binary.LittleEndian.AppendUint16(e, uint16(at))
	}
	e = append(append(e, chain...), body...)
	e.setU32(0, uint32(len(e)))
	return e, nil
}

// failure is the error of a failureEntry.
func (e entry) failure() error {
	if code := e.code(); code != 0 {
		return BogusError(code)
	}
	return ErrFailed
}

// bogusEntry remembers for a moment that the answer was bogus, and why.
func bogusEntry(key []byte, now uint32, why BogusError) entry {
	e := failureEntry(key, now, bogusFor)
	e.setU16(30, int(why))
	return e
}

// failureEntry remembers that nobody answered (RFC 9520).
func failureEntry(key []byte, now, ttl uint32) entry {
	e := make(entry, entryHeader, entryHeader+len(key))
	e.setU32(4, now)
	e.setU32(8, now+ttl)
	e.setU16(16, len(key))
	e[28], e[29] = dns.RcodeServerFailure, flagFailure
	e = append(e, key...)
	e.setU32(0, uint32(len(e)))
	return e
}

// ttlOffsets finds the TTL of each of n records from at on, counted from there.
func ttlOffsets(wire []byte, at, n int) ([]int, error) {
	offsets, start := make([]int, 0, n), at
	for range n {
		next, ok := skipName(wire, at)
		if !ok || next+10 > len(wire) {
			return nil, fmt.Errorf("packed answer cannot be read back")
		}
		offsets = append(offsets, next+4-start)
		at = next + 10 + int(binary.BigEndian.Uint16(wire[next+8:]))
	}
	return offsets, nil
}

// skipName gives the offset behind a name that may end in a pointer.
func skipName(wire []byte, at int) (int, bool) {
	for at < len(wire) {
		switch n := int(wire[at]); {
		case n == 0:
			return at + 1, true
		case n >= 0xC0:
			return at + 2, at+2 <= len(wire)
		default:
			at += 1 + n
		}
	}
	return 0, false
}
