package configs

import (
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"net/url"
	"os"
	"slices"
	"strings"

	"schoolgate/policy"
)

const resolvConf = "/etc/resolv.conf"

// DNS is the DNS door.
type DNS struct {
	Listen []netip.AddrPort

	// DNS over TLS and over HTTPS, for devices of the school's own, with the
	// certificate they are served with.
	DoTListen, DoHListen []netip.AddrPort
	Certificate, Key     string // files

	Upstreams    []string            // "system" has been replaced by the nameservers of /etc/resolv.conf
	Order        UpstreamOrder       // whom of them to ask first
	Zones        map[string][]string // upstreams of zones of the school's own
	PrivateZones []string            // names below may have private addresses

	DNSSEC       Signatures // who checks signatures
	TrustAD      bool       // the upstreams do, and the way to them is safe
	TrustAnchors string     // a file of what validation trusts; "" for the keys of the root as they are known
	Unvalidated  []string   // zones that validation leaves out

	Networks   []netip.Prefix // who may ask
	Answer     BlockAnswer
	Addresses  []netip.Addr // the sinkhole, at most one of each family
	EDEText    string       // what the device of a refused adult may show; "" for none
	Rate       int          // questions a second from one device, 0 for no limit
	Burst      int          // what it may ask at once
	CacheBytes int64

	system bool // the operating system's resolvers are wanted, too
}

// BlockAnswer is how a blocked name is answered.
type BlockAnswer string

// The answers to a blocked name.
const (
	Sinkhole BlockAnswer = "sinkhole" // our own address
	NXDOMAIN BlockAnswer = "nxdomain" // no such name
	Refused  BlockAnswer = "refused"  // we do not say
)

// Signatures is who checks the signatures of DNSSEC.
type Signatures string

// The choices.
const (
	ByUpstream Signatures = "upstream" // the resolvers that are asked, if they do
	Validate   Signatures = "validate" // this box
	Unchecked  Signatures = "off"      // nobody, and none are asked for
)

// timeServers are names that a box whose clock is wrong needs to set it by. What they
// serve is not signed either.
var timeServers = []string{"pool.ntp.org", "ntp.ubuntu.com", "time.cloudflare.com", "time.google.com", "time.android.com", "time.apple.com", "time.windows.com"}

// UpstreamOrder is whom of several upstreams to ask first.
type UpstreamOrder string

// The orders. A dead upstream comes last in both.
const (
	Fastest UpstreamOrder = "fastest"
	Written UpstreamOrder = "written"
)

func (l *loader) readDNS(v value, dns *DNS) {
	v.fields(map[string]func(value){
		"listen":      many(&dns.Listen, listener),
		"dot_listen":  many(&dns.DoTListen, listener),
		"doh_listen":  many(&dns.DoHListen, listener),
		"certificate": one(&dns.Certificate, fileName),
		"key":         one(&dns.Key, fileName),
		"upstreams": func(v value) {
			dns.system = false
			v.each(func(v value) { l.upstream(v, dns) })
		},
		"order":         one(&dns.Order, choice("order", Fastest, Written)),
		"zones":         func(v value) { readZones(v, dns) },
		"private_zones": many(&dns.PrivateZones, zoneName),
		"dnssec":        one(&dns.DNSSEC, choice("choice", ByUpstream, Validate, Unchecked)),
		"trust_ad":      one(&dns.TrustAD, yesNo),
		"trust_anchors": one(&dns.TrustAnchors, fileName),
		"unvalidated":   many(&dns.Unvalidated, zoneName),
		"networks":      many(&dns.Networks, network),
		"block": func(v value) {
			v.fields(map[string]func(value){
				"answer":    one(&dns.Answer, choice("answer", Sinkhole, NXDOMAIN, Refused)),
				"addresses": many(&dns.Addresses, address),
				"ede_text":  one(&dns.EDEText, ede),
			})
		},
		"rate":  one(&dns.Rate, number(0, 1_000_000)),
		"burst": one(&dns.Burst, number(1, 1_000_000)),
		"cache": one(&dns.CacheBytes, size(1<<20, 16<<30)),
	})
}

func (l *loader) upstream(v value, dns *DNS) {
	if v.isText() && v.node.Value == "system" {
		dns.system = true
	} else if up, ok := read(v, upstream); ok {
		dns.Upstreams = append(dns.Upstreams, up)
	}
}

// readZones reads the zones that have upstreams of their own.
func readZones(v value, dns *DNS) {
	v.pairs(func(key, val value) {
		zone, ok := read(key, zoneName)
		if !ok {
			return
		}
		val.path, val.name = join(v.path, "*"), fmt.Sprintf("%s %q", v.name, zone)
		var servers []string
		many(&servers, upstream)(val)
		if val.empty() || val.isList() && len(val.node.Content) == 0 {
			val.problem("no resolver is named (write its address, or take the zone out)")
		}
		if dns.Zones == nil {
			dns.Zones = map[string][]string{}
		}
		dns.Zones[zone] = servers
	})
}

// upstream reads a resolver: an address, whose port may be left out, or a URL
// for DNS over TLS or HTTPS.
func upstream(s string) (string, error) {
	if a, err := address(s); err == nil {
		return netip.AddrPortFrom(a, 53).String(), nil
	}
	switch scheme, rest, _ := strings.Cut(s, "://"); {
	case scheme == "tls" && rest != "":
		return s, upstreamTLS(s, rest)
	case scheme == "https" && rest != "":
		return s, upstreamHTTPS(s)
	}
	ap, err := netip.ParseAddrPort(s)
	if err != nil || ap.Port() == 0 {
		return "", fmt.Errorf("bad resolver %q: want an address such as 9.9.9.9, 9.9.9.9:53 or [fd00::1]:53, tls://9.9.9.9#dns.quad9.net, https://9.9.9.9/dns-query, or the word system", clip(s))
	}
	return ap.String(), nil
}

// upstreamTLS: without the name there is nothing to check the certificate by.
func upstreamTLS(s, rest string) error {
	where, name, _ := strings.Cut(rest, "#")
	_, aerr := netip.ParseAddr(where)
	ap, perr := netip.ParseAddrPort(where)
	_, nerr := policy.ParseHost(name)
	if aerr != nil && (perr != nil || ap.Port() == 0) || nerr != nil {
		return fmt.Errorf("bad resolver %q: want its address and the name in its certificate, such as tls://9.9.9.9#dns.quad9.net", clip(s))
	}
	return nil
}

func upstreamHTTPS(s string) error {
	u, err := url.Parse(s)
	if err == nil {
		_, err = policy.ParseHost(u.Hostname())
	}
	if err == nil && u.Fragment != "" {
		_, err = policy.ParseHost(u.Fragment)
	}
	if err != nil || len(u.Path) < 2 || u.RawQuery != "" || u.User != nil {
		return fmt.Errorf("bad resolver %q: want an address such as https://9.9.9.9/dns-query, with the name in its certificate behind a # where that is not the address", clip(s))
	}
	return nil
}

// byName reports whether a resolver has to be looked up before it can be asked.
func byName(upstream string) bool {
	u, err := url.Parse(upstream)
	if err != nil || u.Scheme != "https" {
		return false
	}
	_, err = netip.ParseAddr(u.Hostname())
	return err != nil
}

// zoneName reads the name of a zone, such as school.internal.
func zoneName(s string) (string, error) {
	h, err := policy.ParseHost(strings.TrimSuffix(s, "."))
	if _, isAddr := h.Addr(); err != nil || isAddr {
		return "", fmt.Errorf("bad zone %q: want a name such as school.internal or 10.in-addr.arpa", clip(s))
	}
	return h.String(), nil
}

// ede is text that goes into every refusal, so it is short.
func ede(s string) (string, error) {
	text, err := words(s)
	if err == nil && len(text) > 128 {
		err = errors.New("too long: at most 128 bytes go into an answer")
	}
	return text, err
}

// systemUpstreams adds the resolvers the operating system uses. A box without
// any starts all the same: it answers what it blocks and says the rest failed.
func (l *loader) systemUpstreams(v value, dns *DNS) {
	var servers []netip.AddrPort
	if file, err := os.Open(resolvConf); err == nil {
		servers = nameservers(file)
		file.Close() // read only: nothing can be lost
	}
	for _, s := range servers {
		if !listensOn(dns.Listen, s) {
			dns.Upstreams = append(dns.Upstreams, s.String())
		}
	}
	if len(dns.Upstreams) == 0 {
		l.warn(v.pos(), "dns.upstreams: %s names no resolver but this box itself, so allowed names cannot be answered (write an address)", resolvConf)
	}
}

// listensOn reports whether the address is one of our own listeners: asking
// there would be asking ourselves.
func listensOn(own []netip.AddrPort, s netip.AddrPort) bool {
	for _, l := range own {
		if l.Port() == s.Port() && (l.Addr().Unmap() == s.Addr() || (l.Addr().IsUnspecified() && s.Addr().IsLoopback())) {
			return true
		}
	}
	return false
}

// checkDNS checks what takes more than one field to see.
func (l *loader) checkDNS(v value, dns *DNS) {
	if dns.Answer == Sinkhole {
		families := map[bool]int{}
		for _, a := range dns.Addresses {
			families[a.Is4()]++
		}
		if len(dns.Addresses) == 0 || families[true] > 1 || families[false] > 1 {
			v.problem("dns.block.addresses: a sinkhole is one IPv4 address, one IPv6 address or one of each")
		}
	}
	if len(dns.Networks) == 0 && len(dns.Listen) > 0 {
		v.problem("dns.networks: it is empty, so nobody may ask (write the school's address ranges)")
	}
	for _, p := range dns.Networks {
		if p.Bits() == 0 {
			l.warn(v.pos(), "dns.networks: %s is the whole internet: anyone who reaches this box may use it", p)
		}
	}
	if dns.TrustAD && dns.DNSSEC != ByUpstream {
		v.problem("dns: trust_ad believes the resolvers, and dnssec: %s does not ask them (take one of the two out)", dns.DNSSEC)
	}
	if dns.TrustAnchors != "" && dns.DNSSEC != Validate {
		l.warn(v.pos(), "dns.trust_anchors: nothing is held against them (write dnssec: validate)")
	}
	if (dns.Certificate == "") != (dns.Key == "") {
		v.problem("dns: certificate and key belong together: write both or neither")
	}
	if len(dns.DoTListen)+len(dns.DoHListen) > 0 && dns.Certificate == "" {
		v.problem("dns: dot_listen and doh_listen need a certificate (write certificate: and key:)")
	}
	checkServers(v, "dns.upstreams", dns.Upstreams, dns, dns.system)
	for _, zone := range slices.Sorted(maps.Keys(dns.Zones)) {
		checkServers(v, fmt.Sprintf("dns.zones %q", zone), dns.Zones[zone], dns, false)
	}
}

// checkServers looks at the resolvers of a zone. Who asks itself waits for its own answer.
func checkServers(v value, what string, servers []string, dns *DNS, others bool) {
	checkNamed(v, what, servers, others)
	for _, s := range servers {
		if addr, err := netip.ParseAddrPort(s); err == nil && listensOn(dns.Listen, addr) {
			v.problem("%s: %s is this box itself (write the resolver it is to ask)", what, s)
		}
	}
}

// checkNamed: a resolver that is known by name is found through one that is
// known by address, never through the operating system.
func checkNamed(v value, what string, servers []string, others bool) {
	if !others && len(servers) > 0 && !slices.ContainsFunc(servers, func(s string) bool { return !byName(s) }) {
		v.problem("%s: %q is a name, and no other resolver is there to look it up (write https://its-address/dns-query#its-name)", what, clip(servers[0]))
	}
}
