package testkit

import "github.com/miekg/dns"

// Blocked reports whether a DNS answer says that the filter refused the name
// (Extended DNS Error 15 blocked or 17 filtered).
func Blocked(r *dns.Msg) bool {
	if r == nil || r.IsEdns0() == nil {
		return false
	}
	for _, o := range r.IsEdns0().Option {
		if ede, ok := o.(*dns.EDNS0_EDE); ok && (ede.InfoCode == dns.ExtendedErrorCodeBlocked || ede.InfoCode == dns.ExtendedErrorCodeFiltered) {
			return true
		}
	}
	return false
}
