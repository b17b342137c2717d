package upstream

import (
	"encoding/binary"
	"strings"

	"github.com/miekg/dns"
)

// echVersion is the one version of an ECHConfig whose contents are known (RFC 9849).
const echVersion = 0xfe0d

// maxFronts is how many keys of one record are looked at.
const maxFronts = 8

// front is what a browser that uses a key would show: a name, and the key's number.
type front struct {
	name string
	key  uint8
}

// fronts reads an ECHConfigList (RFC 9849 section 4), which the upstream wrote. What
// cannot be read has none.
func fronts(list []byte) (all []front) {
	rest, ok := sized16(&list)
	for ok && len(rest) >= 4 && len(all) < maxFronts {
		version := binary.BigEndian.Uint16(rest)
		rest = rest[2:]
		var config []byte
		if config, ok = sized16(&rest); !ok || version != echVersion || len(config) < 3 {
			continue
		}
		key := config[0]
		config = config[3:] // and its algorithm
		_, okKey := sized16(&config)
		_, okSuites := sized16(&config)
		if !okKey || !okSuites || len(config) < 2 || len(config) < 2+int(config[1]) {
			continue
		}
		name := string(config[2 : 2+int(config[1])]) // past the length that names are padded to
		all = append(all, front{strings.ToLower(strings.TrimSuffix(name, ".")), key})
	}
	return all
}

// sized16 takes what is written behind two bytes of its length.
func sized16(b *[]byte) ([]byte, bool) {
	if len(*b) < 2 {
		return nil, false
	}
	n := int(binary.BigEndian.Uint16(*b))
	if len(*b) < 2+n {
		return nil, false
	}
	head := (*b)[2 : 2+n]
	*b = (*b)[2+n:]
	return head, true
}

// tellFronts tells of the keys in a record of owner, before they are taken out.
func tellFronts(rr dns.RR, owner string, tell func(owner, front string, key uint8)) {
	s := svcb(rr)
	if s == nil || tell == nil {
		return
	}
	for _, kv := range s.Value {
		if ech, ok := kv.(*dns.SVCBECHConfig); ok {
			for _, f := range fronts(ech.ECH) {
				tell(owner, f.name, f.key)
			}
		}
	}
}
