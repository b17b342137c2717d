package dnsfilter

import (
	"encoding/binary"
	"net/netip"

	"github.com/miekg/dns"
)

// message is an answer being written: header, the question as it came, records,
// and the OPT record last. Every record here is owned by the question's name,
// which is a pointer of two bytes.
type message struct {
	b          []byte
	an, ns, ar uint16
	rcode      int
	ad         bool
	edes       [2]ede
	numEDE     int
}

// ede is an Extended DNS Error (RFC 8914).
type ede struct {
	code uint16
	text string
}

const questionPointer = 0xC000 | headerLen

// begin starts the answer to q in b; the header is filled in by finish.
func (m *message) begin(b []byte, q *query) {
	*m = message{b: append(b[:0], make([]byte, headerLen)...)}
	if q.empty {
		return
	}
	m.b = append(m.b, q.name...)
	m.b = binary.BigEndian.AppendUint16(m.b, q.qtype)
	m.b = binary.BigEndian.AppendUint16(m.b, q.qclass)
}

func (m *message) explain(code uint16, text string) {
	if m.numEDE < len(m.edes) {
		m.edes[m.numEDE] = ede{code, text}
		m.numEDE++
	}
}

// record appends a record of the question's name; data is appended by the caller
// with the length it gave.
func (m *message) record(rrtype uint16, ttl uint32, length int) {
	m.b = binary.BigEndian.AppendUint16(m.b, questionPointer)
	m.b = binary.BigEndian.AppendUint16(m.b, rrtype)
	m.b = binary.BigEndian.AppendUint16(m.b, dns.ClassINET)
	m.b = binary.BigEndian.AppendUint32(m.b, ttl)
	m.b = binary.BigEndian.AppendUint16(m.b, uint16(length))
}

func (m *message) address(a netip.Addr, ttl uint32) {
	if a.Is4() {
		ip := a.As4()
		m.record(dns.TypeA, ttl, len(ip))
		m.b = append(m.b, ip[:]...)
	} else {
		ip := a.As16()
		m.record(dns.TypeAAAA, ttl, len(ip))
		m.b = append(m.b, ip[:]...)
	}
	m.an++
}

// addresses appends those of the family that was asked for.
func (m *message) addresses(q *query, list []netip.Addr, ttl uint32) {
	for _, a := range list {
		if q.qtype == dns.TypeA && a.Is4() || q.qtype == dns.TypeAAAA && a.Is6() {
			m.address(a, ttl)
		}
	}
}

func (m *message) cname(target []byte, ttl uint32) {
	m.record(dns.TypeCNAME, ttl, len(target))
	m.b = append(m.b, target...)
	m.an++
}

// hinfo is the answer to ANY (RFC 8482).
func (m *message) hinfo(ttl uint32) {
	const data = "\x07RFC8482\x00"
	m.record(dns.TypeHINFO, ttl, len(data))
	m.b = append(m.b, data...)
	m.an++
}

// soa says in the authority section how long there is nothing (RFC 2308). Its
// owner is the question's name or a zone above it that begins zoneAt bytes into
// the name.
func (m *message) soa(zoneAt int, ttl uint32) {
	const rname = "\x06nobody\x07invalid\x00"
	at := len(m.b)
	m.record(dns.TypeSOA, ttl, 2+len(rname)+5*4)
	binary.BigEndian.PutUint16(m.b[at:], uint16(questionPointer+zoneAt))
	m.b = binary.BigEndian.AppendUint16(m.b, uint16(questionPointer+zoneAt))
	m.b = append(m.b, rname...)
	for _, v := range [...]uint32{1, 3600, 1200, 604800, ttl} {
		m.b = binary.BigEndian.AppendUint32(m.b, v)
	}
	m.ns++
}

// finish writes the OPT record if the client sent one, and the header. An answer
// that does not fit limit loses its records and says so, and the client asks
// again over TCP.
func (m *message) finish(q *query, limit int) []byte {
	flags := uint16(bitQR|bitRA) | q.flags&(0xF<<11|bitRD|bitCD)
	if m.ad && q.wantsAD() {
		flags |= bitAD
	}
	if len(m.b)+m.optLen(q) > limit {
		for i := range m.numEDE { // the reason is worth more than its words
			m.edes[i].text = ""
		}
	}
	if len(m.b)+m.optLen(q) > limit {
		m.b = m.b[:headerLen+len(q.name)+4]
		m.an, m.ns = 0, 0
		flags = flags&^bitAD | bitTC
	}
	m.opt(q)
	binary.BigEndian.PutUint16(m.b, q.id)
	binary.BigEndian.PutUint16(m.b[2:], flags|uint16(m.rcode&0xF))
	if !q.empty {
		m.b[5] = 1
	}
	binary.BigEndian.PutUint16(m.b[6:], m.an)
	binary.BigEndian.PutUint16(m.b[8:], m.ns)
	binary.BigEndian.PutUint16(m.b[10:], m.ar)
	return m.b
}

func (m *message) optLen(q *query) int {
	if !q.edns {
		return 0
	}
	n := 11
	if q.cookie != nil {
		n += 4 + len(q.cookieBack)
	}
	for _, e := range m.edes[:m.numEDE] {
		n += 6 + len(e.text)
	}
	return n
}

func (m *message) opt(q *query) {
	if !q.edns {
		return
	}
	m.b = append(m.b, 0)
	m.b = binary.BigEndian.AppendUint16(m.b, dns.TypeOPT)
	m.b = binary.BigEndian.AppendUint16(m.b, maxUDPSize)
	do := byte(0)
	if q.do {
		do = 0x80
	}
	m.b = append(m.b, byte(m.rcode>>4), 0, do, 0)
	m.b = binary.BigEndian.AppendUint16(m.b, uint16(m.optLen(q)-11))
	if q.cookie != nil {
		m.b = binary.BigEndian.AppendUint16(m.b, dns.EDNS0COOKIE)
		m.b = binary.BigEndian.AppendUint16(m.b, uint16(len(q.cookieBack)))
		m.b = append(m.b, q.cookieBack[:]...)
	}
	for _, e := range m.edes[:m.numEDE] {
		m.b = binary.BigEndian.AppendUint16(m.b, dns.EDNS0EDE)
		m.b = binary.BigEndian.AppendUint16(m.b, uint16(2+len(e.text)))
		m.b = binary.BigEndian.AppendUint16(m.b, e.code)
		m.b = append(m.b, e.text...)
	}
	m.ar++
}
