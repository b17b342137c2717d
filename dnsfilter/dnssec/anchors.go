package dnssec

import (
	"errors"
	"fmt"
	"io"

	"github.com/miekg/dns"
)

// rootAnchors are the keys of the root zone as IANA publishes them: KSK-2017 and
// KSK-2024 (data.iana.org/root-anchors).
const rootAnchors = `
. IN DS 20326 8 2 E06D44B80B8F1D39A95C0B0D7C65D08458E880409BBC683457104237C7F8EC8D
. IN DS 38696 8 2 683D2D0ACB8C9B712A1948B27F741219298D0A450D612C483AF444A4C0FB2B16
`

// ReadAnchors reads trust anchors of the root from a file of DS or DNSKEY records, one
// a line, as resolvers commonly keep them.
func ReadAnchors(r io.Reader, name string) ([]*dns.DS, error) {
	var anchors []*dns.DS
	zp := dns.NewZoneParser(io.LimitReader(r, 1<<16), ".", name)
	zp.SetDefaultTTL(3600)
	for rr, ok := zp.Next(); ok; rr, ok = zp.Next() {
		ds, isDS := rr.(*dns.DS)
		if k, isKey := rr.(*dns.DNSKEY); isKey {
			if k.Flags&dns.SEP == 0 {
				continue // a key that signs the zone, and is not trusted by itself
			}
			if ds = k.ToDS(dns.SHA256); ds == nil {
				return nil, fmt.Errorf("%s: a DNSKEY record cannot be read", name)
			}
		} else if !isDS {
			return nil, fmt.Errorf("%s: a %s record is no trust anchor: want DS or DNSKEY", name, dns.TypeToString[rr.Header().Rrtype])
		}
		if ds.Hdr.Name != "." {
			return nil, fmt.Errorf("%s: an anchor for %q: want the root's, whose name is a dot", name, ds.Hdr.Name)
		}
		if !usable(ds) {
			return nil, fmt.Errorf("%s: anchor %d is of algorithm %d and digest %d, which are not known here or not good any more", name, ds.KeyTag, ds.Algorithm, ds.DigestType)
		}
		anchors = append(anchors, ds)
	}
	if err := zp.Err(); err != nil {
		return nil, err // names the file, the line and the column
	}
	if len(anchors) == 0 {
		return nil, fmt.Errorf("%s: no trust anchor in it", name)
	}
	if len(anchors) > maxDS {
		return nil, errors.New(name + ": too many trust anchors")
	}
	return anchors, nil
}
