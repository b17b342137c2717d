package upstream

import (
	"bytes"
	"encoding/binary"
	"net/netip"

	"github.com/miekg/dns"
)

const (
	maxPlain  = 32 // records of an answer read in place
	maxSuffix = 64 // pointers followed in one name
)

// plainReader reads a usual reply in place: an address question, answered by a
// chain of CNAMEs in order and the addresses of its end, or by an SOA that says
// there are none. It refuses everything else, right or wrong, and leaves it to
// [vet]; what it accepts is what vet would have made of it. The records are
// written anew, so that no name points where it should not. It may be used again, and
// then has the memory it needs.
type plainReader struct {
	reply   []byte
	at      int
	asked   []byte // the question's name
	body    []byte
	ttls    [maxPlain]int // offsets within body
	numTTLs int
	ttl     uint32
	name    []byte // where the chain has got to
	pointer uint16 // to that name, in a message of ours
	chain   []byte
	links   int
	found   int // addresses
	owner   []byte
	e       entry
}

// reset makes the reader one for another reply.
func (p *plainReader) reset(q Question, reply []byte, l *limits) {
	*p = plainReader{
		reply: reply, at: headerLen + len(q.Name) + 4, asked: q.Name, name: q.Name, pointer: 0xC000 | headerLen,
		ttl: l.maxTTL, ttls: p.ttls, chain: p.chain[:0], body: p.body[:0], owner: p.owner, e: p.e,
	}
}

// readPlain gives an entry that is valid until p is used again.
func (r *Resolver) readPlain(p *plainReader, key string, q Question, reply []byte) (entry, bool) {
	if q.DO || q.Type != dns.TypeA && q.Type != dns.TypeAAAA || len(reply) < headerLen+len(q.Name)+4 {
		return nil, false
	}
	rcode := int(reply[3] & 0xF)
	an, ns, ar := int(binary.BigEndian.Uint16(reply[6:])), int(binary.BigEndian.Uint16(reply[8:])), int(binary.BigEndian.Uint16(reply[10:]))
	if reply[2]&(bitTC>>8) != 0 || rcode != dns.RcodeSuccess && rcode != dns.RcodeNameError || an+1 > maxPlain || ns > maxPlain || ar > maxPlain {
		return nil, false
	}
	p.reset(q, reply, &r.limits)
	for range an {
		if !p.answer(q, &r.limits) {
			return nil, false
		}
	}
	authorities := 0
	if p.found == 0 {
		if ns != 1 || !p.soa(&r.limits) {
			return nil, false
		}
		authorities = 1
	} else if rcode != dns.RcodeSuccess || !p.skip(ns) {
		return nil, false
	}
	if !p.additional(ar) {
		return nil, false
	}
	var flags byte
	if r.cfg.TrustAD && binary.BigEndian.Uint16(reply[2:])&bitAD != 0 {
		flags = flagAD
	}
	return p.entry(key, an, authorities, rcode, flags, r.now()), true
}

// record reads the owner and fixed part of a record up to its data.
func (p *plainReader) record() (owner []byte, rrtype uint16, ttl uint32, end int, ok bool) {
	owner, at, ok := expandName(p.owner[:0], p.reply, p.at)
	p.owner = owner
	if !ok || at+10 > len(p.reply) {
		return nil, 0, 0, 0, false
	}
	rrtype, ttl = binary.BigEndian.Uint16(p.reply[at:]), binary.BigEndian.Uint32(p.reply[at+4:])
	end = at + 10 + int(binary.BigEndian.Uint16(p.reply[at+8:]))
	ok = end <= len(p.reply) && binary.BigEndian.Uint16(p.reply[at+2:]) == dns.ClassINET
	p.at = at + 10
	return owner, rrtype, ttl, end, ok
}

// begin writes what comes before the data of a record whose owner is written.
func (p *plainReader) begin(rrtype uint16, ttl uint32, l *limits, most uint32) {
	if ttl > 1<<31-1 {
		ttl = 0 // RFC 2181 section 8
	}
	ttl = min(max(ttl, l.minTTL), l.maxTTL, most)
	p.ttl = min(p.ttl, ttl)
	p.body = binary.BigEndian.AppendUint16(p.body, rrtype)
	p.body = binary.BigEndian.AppendUint16(p.body, dns.ClassINET)
	p.ttls[p.numTTLs] = len(p.body)
	p.numTTLs++
	p.body = binary.BigEndian.AppendUint32(p.body, ttl)
}

// answer reads one record of the answer.
func (p *plainReader) answer(q Question, l *limits) bool {
	owner, rrtype, ttl, end, ok := p.record()
	if !ok || !bytes.Equal(owner, p.name) {
		return false
	}
	p.body = binary.BigEndian.AppendUint16(p.body, p.pointer)
	p.begin(rrtype, ttl, l, l.maxTTL)
	switch {
	case rrtype == q.Type:
		addr, ok := netip.AddrFromSlice(p.reply[p.at:end])
		if !ok || addr.Is4() != (q.Type == dns.TypeA) || Special(addr) {
			return false
		}
		p.body = binary.BigEndian.AppendUint16(p.body, uint16(end-p.at))
		p.body = append(p.body, p.reply[p.at:end]...)
		p.found++
	case rrtype == dns.TypeCNAME && p.found == 0 && p.links < maxChain:
		if !p.link(end) {
			return false
		}
	default:
		return false
	}
	p.at = end
	return true
}

// link follows a CNAME.
func (p *plainReader) link(end int) bool {
	from := len(p.chain)
	chain, at, ok := expandName(p.chain, p.reply, p.at)
	if !ok || at != end {
		return false
	}
	target := chain[from:]
	if bytes.Equal(target, p.asked) {
		return false
	}
	for seen := chain[:from]; len(seen) > 0; {
		n, ok := skipName(seen, 0)
		if !ok || bytes.Equal(seen[:n], target) {
			return false
		}
		seen = seen[n:]
	}
	p.chain, p.name = chain, target
	p.links++
	p.body = binary.BigEndian.AppendUint16(p.body, uint16(len(target)))
	p.pointer = 0xC000 | uint16(headerLen+len(p.asked)+4+len(p.body))
	p.body = append(p.body, target...)
	return true
}

// soa reads the SOA of a negative answer.
func (p *plainReader) soa(l *limits) bool {
	owner, rrtype, ttl, end, ok := p.record()
	if !ok || rrtype != dns.TypeSOA || end-p.at < 22 || !belowWire(p.name, owner) {
		return false
	}
	p.body = append(p.body, owner...)
	p.begin(rrtype, ttl, l, min(max(binary.BigEndian.Uint32(p.reply[end-4:]), l.minTTL), l.maxNegative))
	length := len(p.body)
	p.body = append(p.body, 0, 0)
	for range 2 { // the server and the person behind it
		body, at, ok := expandName(p.body, p.reply, p.at)
		if !ok {
			return false
		}
		p.body, p.at = body, at
	}
	if p.at+20 != end {
		return false
	}
	p.body = append(p.body, p.reply[p.at:end]...)
	binary.BigEndian.PutUint16(p.body[length:], uint16(len(p.body)-length-2))
	p.at = end
	return true
}

// skip passes over records that are not kept.
func (p *plainReader) skip(n int) bool {
	for range n {
		at, ok := skipName(p.reply, p.at)
		if !ok || at+10 > len(p.reply) {
			return false
		}
		p.at = at + 10 + int(binary.BigEndian.Uint16(p.reply[at+8:]))
		if p.at > len(p.reply) {
			return false
		}
	}
	return true
}

// additional looks for an OPT record whose part of the response code is not zero.
func (p *plainReader) additional(n int) bool {
	for range n {
		at := p.at
		if !p.skip(1) {
			return false
		}
		if p.reply[at] == 0 && binary.BigEndian.Uint16(p.reply[at+1:]) == dns.TypeOPT && p.reply[at+5] != 0 {
			return false
		}
	}
	return p.at == len(p.reply)
}

func (p *plainReader) entry(key string, answers, authorities, rcode int, flags byte, now uint32) entry {
	var header [entryHeader]byte
	e := append(p.e[:0], header[:]...)
	e.setU32(0, uint32(entryHeader+len(key)+2*p.numTTLs+len(p.chain)+len(p.body)))
	e.setU32(4, now)
	e.setU32(8, now+p.ttl)
	e.setU16(16, len(key))
	e.setU16(18, p.numTTLs)
	e.setU16(20, len(p.chain))
	e.setU16(22, len(p.body))
	e.setU16(24, answers)
	e.setU16(26, authorities)
	e[28], e[29] = byte(rcode), flags
	e = append(e, key...)
	for _, at := range p.ttls[:p.numTTLs] {
		e = binary.LittleEndian.AppendUint16(e, uint16(at))
	}
	p.e = append(append(e, p.chain...), p.body...)
	return p.e
}

// expandName appends the name at an offset, in lower case and without pointers,
// and gives the offset behind it. A pointer leads back, and not into the header.
func expandName(dst, msg []byte, at int) (name []byte, end int, ok bool) {
	start := len(dst)
	for range maxSuffix {
		if at >= len(msg) {
			return dst, 0, false
		}
		n := int(msg[at])
		switch {
		case n >= 0xC0:
			if at+2 > len(msg) {
				return dst, 0, false
			}
			to := int(binary.BigEndian.Uint16(msg[at:]) & 0x3FFF)
			if end == 0 {
				end = at + 2
			}
			if to >= at || to < headerLen {
				return dst, 0, false
			}
			at = to
			continue
		case n > 63, at+1+n > len(msg), len(dst)-start+1+n > 255:
			return dst, 0, false
		}
		dst = append(dst, byte(n))
		for _, c := range msg[at+1 : at+1+n] {
			if 'A' <= c && c <= 'Z' {
				c += 'a' - 'A'
			}
			dst = append(dst, c)
		}
		at += 1 + n
		if n == 0 {
			if end == 0 {
				end = at
			}
			return dst, end, true
		}
	}
	return dst, 0, false
}

// belowWire reports whether name is zone or lies below it, both in wire form.
func belowWire(name, zone []byte) bool {
	for len(name) > len(zone) {
		name = name[1+int(name[0]):]
	}
	return bytes.Equal(name, zone)
}
