package dnsfilter

import (
	"encoding/binary"

	"github.com/miekg/dns"
)

const (
	headerLen  = 12
	maxUDPSize = 1232 // what we send over UDP at most, whatever the client can take
	minUDPSize = 512  // what a client without EDNS can take (RFC 1035)
)

// Bits of the second word of a header.
const (
	bitQR = 1 << 15
	bitTC = 1 << 9
	bitRD = 1 << 8
	bitRA = 1 << 7
	bitAD = 1 << 5
	bitCD = 1 << 4
)

// query is a question read in place: it points into its packet.
type query struct {
	id     uint16
	flags  uint16
	name   []byte // wire form as the client wrote it, with the root label
	qtype  uint16
	qclass uint16

	edns    bool
	version uint8
	do      bool
	size    int // of the largest answer the client takes over UDP

	cookie     []byte // as it came, of a client that sent one
	cookieBack [clientCookie + serverCookie]byte
	empty      bool // no question: the client asks for a cookie and nothing else

	lower [256]byte // name in lower case
}

func (q *query) lowerName() []byte { return q.lower[:len(q.name)] }

// wantsAD: the client understands the authentic-data bit (RFC 6840 5.7).
func (q *query) wantsAD() bool { return q.do || q.flags&bitAD != 0 }

// reading is what came of a packet.
type reading uint8

const (
	readQuery   reading = iota // a question to decide
	readIgnore                 // not a query at all: no answer, or two boxes could talk for ever
	readCookie                 // no question, but a cookie
	readFormErr                // a query that cannot be read
	readNotImp                 // an operation nobody needs
	readRefused                // an operation that a school's resolver does not do
)

// read checks the header, then reads the question and the OPT record. It looks at
// each byte once, follows no pointer and allocates nothing.
func (q *query) read(pkt []byte) reading {
	q.edns, q.do, q.version, q.size, q.name = false, false, 0, minUDPSize, nil
	q.cookie, q.empty = nil, false
	if len(pkt) < headerLen {
		return readIgnore
	}
	q.id, q.flags = binary.BigEndian.Uint16(pkt), binary.BigEndian.Uint16(pkt[2:])
	if q.flags&bitQR != 0 {
		return readIgnore
	}
	switch opcode := int(q.flags >> 11 & 0xF); opcode {
	case dns.OpcodeQuery:
	case dns.OpcodeNotify, dns.OpcodeUpdate:
		q.noteOPT(pkt)
		return readRefused
	default:
		q.noteOPT(pkt)
		return readNotImp
	}
	qd, an := binary.BigEndian.Uint16(pkt[4:]), binary.BigEndian.Uint16(pkt[6:])
	ns, ar := binary.BigEndian.Uint16(pkt[8:]), binary.BigEndian.Uint16(pkt[10:])
	if qd == 0 && an == 0 && ns == 0 && ar == 1 {
		return q.readEmpty(pkt)
	}
	if qd != 1 || an != 0 || ns > 1 || ar > 2 {
		return readFormErr
	}
	at, ok := q.readQuestion(pkt)
	if !ok {
		return readFormErr
	}
	if ns == 1 { // only a zone transfer brings one (RFC 1995)
		if q.qtype == dns.TypeIXFR {
			return readRefused
		}
		return readFormErr
	}
	for range ar {
		if at, ok = q.readAdditional(pkt, at); !ok {
			return readFormErr
		}
	}
	if at != len(pkt) {
		return readFormErr
	}
	return readQuery
}

// noteOPT looks where an operation that is not done usually has its OPT record: who sent
// one gets one back, whatever the answer (RFC 6891 6.1.1).
func (q *query) noteOPT(pkt []byte) {
	if binary.BigEndian.Uint64(pkt[4:]) != 1<<48|1 { // one question, one record behind it
		return
	}
	if at, ok := q.readQuestion(pkt); ok {
		q.readAdditional(pkt, at)
	}
}

// readEmpty reads a query that asks for nothing but a cookie (RFC 7873 5.4).
func (q *query) readEmpty(pkt []byte) reading {
	at, ok := q.readAdditional(pkt, headerLen)
	if !ok || at != len(pkt) || q.cookie == nil {
		return readFormErr
	}
	q.empty = true
	return readCookie
}

// readQuestion gives the offset behind the question.
func (q *query) readQuestion(pkt []byte) (int, bool) {
	at := headerLen
	for {
		if at >= len(pkt) || at-headerLen > 254 {
			return 0, false
		}
		n := int(pkt[at])
		if n == 0 {
			at++
			break
		}
		if n > 63 || at+1+n >= len(pkt) { // a pointer has nothing to point at
			return 0, false
		}
		at += 1 + n
	}
	if at-headerLen > 255 || at+4 > len(pkt) {
		return 0, false
	}
	q.name = pkt[headerLen:at]
	for i, c := range q.name { // a label's length is never a letter: 63 < 'A'
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		q.lower[i] = c
	}
	q.qtype, q.qclass = binary.BigEndian.Uint16(pkt[at:]), binary.BigEndian.Uint16(pkt[at+2:])
	return at + 4, true
}

// readAdditional reads an OPT record (RFC 6891), and passes over a signature that
// we have no key for.
func (q *query) readAdditional(pkt []byte, at int) (int, bool) {
	owner := at
	for {
		if at >= len(pkt) {
			return 0, false
		}
		n := int(pkt[at])
		if n == 0 {
			at++
			break
		}
		if n > 63 || at-owner > 254 {
			return 0, false
		}
		at += 1 + n
	}
	if at+10 > len(pkt) {
		return 0, false
	}
	end := at + 10 + int(binary.BigEndian.Uint16(pkt[at+8:]))
	if end > len(pkt) {
		return 0, false
	}
	if binary.BigEndian.Uint16(pkt[at:]) != dns.TypeOPT {
		return end, true
	}
	if q.edns || at != owner+1 { // a second one, or not at the root
		return 0, false
	}
	q.edns = true
	q.size = min(max(int(binary.BigEndian.Uint16(pkt[at+2:])), minUDPSize), maxUDPSize)
	q.version = pkt[at+5]
	q.do = pkt[at+6]&0x80 != 0
	return end, q.readOptions(pkt[at+10 : end])
}

// readOptions checks the form of the options and takes note of a cookie, the first
// if there are several. Others do not change our answer: unknown ones are passed
// over (RFC 6891 6.1.2).
func (q *query) readOptions(options []byte) bool {
	for len(options) > 0 {
		if len(options) < 4 {
			return false
		}
		n := 4 + int(binary.BigEndian.Uint16(options[2:]))
		if n > len(options) {
			return false
		}
		if binary.BigEndian.Uint16(options) == dns.EDNS0COOKIE && q.cookie == nil {
			if q.cookie = options[4:n]; n-4 != clientCookie && (n-4 < minCookie || n-4 > maxCookie) {
				return false // RFC 7873 5.2.2
			}
		}
		options = options[n:]
	}
	return true
}
