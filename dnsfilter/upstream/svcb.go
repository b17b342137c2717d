package upstream

import (
	"net/netip"
	"slices"

	"github.com/miekg/dns"
)

// svcb is the common part of an HTTPS or SVCB record, nil for any other.
func svcb(rr dns.RR) *dns.SVCB {
	switch rr := rr.(type) {
	case *dns.HTTPS:
		return &rr.SVCB
	case *dns.SVCB:
		return rr
	}
	return nil
}

// hints are the addresses a record tells a browser to try first.
func hints(s *dns.SVCB) (addrs []netip.Addr) {
	for _, kv := range s.Value {
		switch kv := kv.(type) {
		case *dns.SVCBIPv4Hint:
			for _, ip := range kv.Hint {
				a, _ := netip.AddrFromSlice(ip)
				addrs = append(addrs, a)
			}
		case *dns.SVCBIPv6Hint:
			for _, ip := range kv.Hint {
				a, _ := netip.AddrFromSlice(ip)
				addrs = append(addrs, a)
			}
		}
	}
	return addrs
}

// stripSVCB takes ech and the h3 protocols out and leaves every other parameter
// as it came (REQUIREMENTS 4.5). A record that cannot be used without what was
// taken is not ok: its owner said so in mandatory, or h3 was all it offered.
func stripSVCB(s *dns.SVCB) (ok, changed bool) {
	var mandatory []dns.SVCBKey
	noDefault := false
	for _, kv := range s.Value {
		switch kv := kv.(type) {
		case *dns.SVCBMandatory:
			mandatory = kv.Code
		case *dns.SVCBNoDefaultAlpn:
			noDefault = true
		}
	}
	ok = true
	s.Value = slices.DeleteFunc(s.Value, func(kv dns.SVCBKeyValue) bool {
		gone := false
		switch kv := kv.(type) {
		case *dns.SVCBECHConfig:
			gone = true
		case *dns.SVCBAlpn:
			before := len(kv.Alpn)
			kv.Alpn = slices.DeleteFunc(kv.Alpn, isQUIC)
			changed = changed || len(kv.Alpn) != before
			gone = before > 0 && len(kv.Alpn) == 0
			ok = ok && !(gone && noDefault)
		}
		if gone {
			changed = true
			ok = ok && !slices.Contains(mandatory, kv.Key())
		}
		return gone
	})
	return ok, changed
}

// isQUIC reports whether a protocol runs over QUIC, which does not leave a
// school: HTTP/3 and its drafts (h3-29), DNS over QUIC.
func isQUIC(alpn string) bool {
	return alpn == "h3" || alpn == "doq" || len(alpn) > 3 && (alpn[:3] == "h3-" || alpn[:3] == "hq-")
}
