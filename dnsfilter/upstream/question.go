package upstream

import (
	"encoding/binary"
	"errors"
	"strings"

	"github.com/miekg/dns"
)

// Question is what is asked for. Name is in wire form, lower case, with the
// root label; it is read during the call and not kept.
type Question struct {
	Name []byte
	Type uint16
	DO   bool // DNSSEC records are wanted (RFC 3225)
	CD   bool // the client checks for itself (RFC 4035)
}

const (
	keyDO = 1 << iota
	keyCD
)

// appendKey appends what the cache knows the question by.
func (q Question) appendKey(b []byte) []byte {
	var bits byte
	if q.DO {
		bits |= keyDO
	}
	if q.CD {
		bits |= keyCD
	}
	b = append(b, q.Name...)
	b = binary.BigEndian.AppendUint16(b, q.Type)
	return append(b, bits)
}

// presentation is the name as miekg/dns writes it.
func (q Question) presentation() (string, error) {
	name, n, err := dns.UnpackDomainName(q.Name, 0)
	if err == nil && n != len(q.Name) {
		err = errors.New("bytes after the name")
	}
	return name, err
}

// WireName is the wire form of a written name, lower case; false if the name
// does not fit one.
func WireName(name string) ([]byte, bool) {
	buf := make([]byte, 256)
	n, err := dns.PackDomainName(strings.ToLower(dns.Fqdn(name)), buf, 0, nil, false)
	if err != nil || n > 255 {
		return nil, false
	}
	return buf[:n], true
}

// within reports whether name is zone or lies below it; both are lower case
// and fully qualified.
func within(name, zone string) bool {
	return zone == "." || name == zone || strings.HasSuffix(name, "."+zone)
}
