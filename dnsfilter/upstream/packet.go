package upstream

import (
	"bytes"
	"crypto/rand"
	"encoding/binary"
	"errors"

	"github.com/miekg/dns"
)

// Bits of the header.
const (
	bitQR = 1 << 15
	bitTC = 1 << 9
	bitRD = 1 << 8
	bitAD = 1 << 5
	bitCD = 1 << 4

	headerLen = 12
	// ednsSize is the largest answer asked for over UDP: it crosses any network
	// in one piece.
	ednsSize = 1232
)

var (
	errMismatch = errors.New("reply is not to the question")
	errCase     = errors.New("reply does not keep the case of the question")
)

// appendQuery appends a query. The letters of the name get a random case, which
// an honest reply repeats and a forger has to guess (0x20), unless plain is set.
func appendQuery(b []byte, id uint16, q Question, plain, edns bool) []byte {
	flags := uint16(bitRD | bitAD)
	if q.CD {
		flags |= bitCD
	}
	b = binary.BigEndian.AppendUint16(b, id)
	b = binary.BigEndian.AppendUint16(b, flags)
	additional := byte(0)
	if edns {
		additional = 1
	}
	b = append(b, 0, 1, 0, 0, 0, 0, 0, additional)
	at := len(b)
	b = append(b, q.Name...)
	if !plain {
		shuffleCase(b[at:])
	}
	b = binary.BigEndian.AppendUint16(b, q.Type)
	b = binary.BigEndian.AppendUint16(b, dns.ClassINET)
	if edns {
		b = append(b, 0)
		b = binary.BigEndian.AppendUint16(b, dns.TypeOPT)
		b = binary.BigEndian.AppendUint16(b, ednsSize)
		do := byte(0)
		if q.DO {
			do = 0x80
		}
		b = append(b, 0, 0, do, 0, 0, 0)
	}
	return b
}

func shuffleCase(name []byte) {
	var coins [256 / 8]byte
	rand.Read(coins[:(len(name)+7)/8]) // never fails (crypto/rand)
	for at := 0; at < len(name) && name[at] != 0; {
		n := int(name[at])
		for i := at + 1; i <= at+n && i < len(name); i++ {
			if c := name[i]; 'a' <= c && c <= 'z' && coins[i>>3]>>(i&7)&1 != 0 {
				name[i] = c - 'a' + 'A'
			}
		}
		at += 1 + n
	}
}

// matches checks that a reply is to the query: the question must come back
// byte by byte (T3). The caller has matched the ID and the source.
func matches(query, reply []byte) error {
	if len(reply) < headerLen || binary.BigEndian.Uint16(reply[2:])&bitQR == 0 || reply[2]>>3&0xF != 0 {
		return errMismatch
	}
	if !bytes.Equal(query[:2], reply[:2]) {
		return errMismatch
	}
	end, ok := skipName(query, headerLen)
	if !ok {
		return errMismatch
	}
	end += 4
	if binary.BigEndian.Uint16(reply[4:]) != 1 || len(reply) < end {
		// Some servers refuse without repeating the question; that says no more
		// than the code, and is believed of no other.
		if rcode := reply[3] & 0xF; len(reply) == headerLen && (rcode == dns.RcodeFormatError || rcode == dns.RcodeServerFailure || rcode == dns.RcodeNotImplemented || rcode == dns.RcodeRefused) {
			return nil
		}
		return errMismatch
	}
	if bytes.Equal(query[headerLen:end], reply[headerLen:end]) {
		return nil
	}
	// Only letters of the name may differ: compare type and class as they are.
	if bytes.EqualFold(query[headerLen:end-4], reply[headerLen:end-4]) && bytes.Equal(query[end-4:end], reply[end-4:end]) {
		return errCase
	}
	return errMismatch
}

// randomID is unguessable.
func randomID() uint16 {
	var b [2]byte
	rand.Read(b[:])
	return binary.BigEndian.Uint16(b[:])
}
