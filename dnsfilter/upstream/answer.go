package upstream

import (
	"encoding/binary"
	"iter"
	"net/netip"

	"github.com/miekg/dns"
)

// Answer is an answer handed out. Its owner may use it again for the next
// question; nothing in it is shared.
type Answer struct {
	e     entry
	key   []byte
	now   uint32
	stale bool
}

// staleTTL is what a stale answer is given out with (RFC 8767 section 4).
const staleTTL = 30

// Rcode is the response code.
func (a *Answer) Rcode() int { return a.e.rcode() }

// AD reports whether the answer was found authentic, by us or by an upstream that is
// believed, and nothing of it was changed.
func (a *Answer) AD() bool { return a.e.has(flagAD) && !a.stale }

// Code is an Extended DNS Error that tells more of the answer, 0 where there is none.
func (a *Answer) Code() uint16 { return a.e.code() }

// Private reports whether the answer held a private or special address for a
// public name. Such addresses are not in it any more.
func (a *Answer) Private() bool { return a.e.has(flagPrivate) }

// Stale reports whether the answer is past its time and nobody could renew it.
func (a *Answer) Stale() bool { return a.stale }

// Counts is how many answer and authority records the body holds.
func (a *Answer) Counts() (answers, authorities int) { return a.e.u16(24), a.e.u16(26) }

// Chain yields the names the question led to, in wire form and lower case, the
// first target first. They are valid until the Answer is used again.
func (a *Answer) Chain() iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		for chain := a.e.chain(); len(chain) > 0; {
			n, ok := skipName(chain, 0)
			if !ok || !yield(chain[:n]) {
				return
			}
			chain = chain[n:]
		}
	}
}

// BodyLen is the length of what AppendBody appends.
func (a *Answer) BodyLen() int { return a.e.u16(22) }

// AppendBody appends the records, to follow a question of the same name at the
// start of a message. TTLs are what is left of them, at most limit seconds.
func (a *Answer) AppendBody(b []byte, limit uint32) []byte {
	start := len(b)
	b = append(b, a.e.body()...)
	age := a.now - a.e.stored()
	for i := range a.e.u16(18) {
		at := b[start+a.e.ttlOffset(i):]
		ttl := binary.BigEndian.Uint32(at)
		switch {
		case a.stale:
			ttl = staleTTL
		case ttl > age:
			ttl -= age
		default:
			ttl = 0
		}
		binary.BigEndian.PutUint32(at, min(ttl, limit))
	}
	return b
}

// AppendAddrs appends the addresses in the answer, of every name of its chain,
// and those that HTTPS and SVCB records tell a browser to try first.
func (a *Answer) AppendAddrs(dst []netip.Addr) []netip.Addr {
	body, at := a.e.body(), 0
	for range a.e.u16(24) {
		next, ok := skipName(body, at)
		if !ok || next+10 > len(body) {
			return dst
		}
		end := next + 10 + int(binary.BigEndian.Uint16(body[next+8:]))
		if end > len(body) {
			return dst
		}
		switch rrtype := binary.BigEndian.Uint16(body[next:]); {
		case rrtype == dns.TypeA && end-next == 14, rrtype == dns.TypeAAAA && end-next == 26:
			addr, _ := netip.AddrFromSlice(body[next+10 : end])
			dst = append(dst, addr)
		case rrtype == dns.TypeHTTPS, rrtype == dns.TypeSVCB:
			dst = appendHints(dst, body[next+10:end])
		}
		at = end
	}
	return dst
}

// appendHints reads the address hints of SVCB data: priority, a target name that
// is never compressed, then parameters with their length.
func appendHints(dst []netip.Addr, data []byte) []netip.Addr {
	at, ok := skipName(data, min(2, len(data)))
	if !ok {
		return dst
	}
	for at+4 <= len(data) {
		key := dns.SVCBKey(binary.BigEndian.Uint16(data[at:]))
		end := at + 4 + int(binary.BigEndian.Uint16(data[at+2:]))
		if end > len(data) {
			return dst
		}
		size := 0
		switch key {
		case dns.SVCB_IPV4HINT:
			size = 4
		case dns.SVCB_IPV6HINT:
			size = 16
		}
		for v := data[at+4 : end]; size > 0 && len(v) >= size; v = v[size:] {
			addr, _ := netip.AddrFromSlice(v[:size])
			dst = append(dst, addr)
		}
		at = end
	}
	return dst
}
