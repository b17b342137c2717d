package policy

import (
	"net/netip"
	"strconv"
	"strings"
	"unicode/utf8"

	"golang.org/x/net/idna"
)

// uts46 maps names as browsers do: non-transitional, and without the limits of
// STD3 and of length, which nameTrouble sets by itself.
var uts46 = idna.New(idna.MapForLookup(), idna.BidiRule(), idna.CheckJoiners(true),
	idna.Transitional(false), idna.StrictDomainName(false), idna.CheckHyphens(false), idna.VerifyDNSLength(false))

const ace = "xn--" // how a label in punycode begins

// plainName reports whether s is a canonical name as it stands, so far as that
// can be told without reading punycode: the way of nearly every name.
func plainName(s string) bool {
	return nameTrouble(s) == "" && !endsInNumber(s) && !strings.Contains(s, ace)
}

// nameTrouble says why s is not a canonical name, "" if it is one. It does not
// look inside punycode.
func nameTrouble(s string) string {
	if s == "" {
		return "it is empty"
	}
	if len(s) > MaxHost {
		return "it is longer than 253 bytes"
	}
	label := 0 // where the label under way began
	for i := 0; i <= len(s); i++ {
		if i < len(s) && s[i] != '.' {
			if bytesIn[s[i]]&inName == 0 {
				return "it holds a character that no name may hold"
			}
			continue
		}
		if i == label {
			return "it has an empty label"
		}
		if i-label > maxLabel {
			return "it has a label longer than 63 bytes"
		}
		label = i + 1
	}
	return ""
}

// readHost reads any spelling of a host; trouble says why it is none.
func readHost(raw string) (h Host, trouble string) {
	if len(raw) > maxRawHost {
		return Host{}, "it is longer than 1024 bytes"
	}
	if strings.ContainsAny(raw, "[:]") {
		return readIPv6(raw)
	}
	name, ok := unescapeHost(raw)
	if !ok {
		return Host{}, "it is not UTF-8"
	}
	name, ok = asciiName(name)
	if !ok {
		return Host{}, "it is not a valid international name"
	}
	name = strings.TrimSuffix(name, ".")
	if endsInNumber(name) {
		return readIPv4(name)
	}
	return Host{name: name}, nameTrouble(name)
}

// unescapeHost decodes %-escapes once, as a browser does: a host escaped twice
// keeps a "%", which no name may hold.
func unescapeHost(raw string) (string, bool) {
	if strings.Contains(raw, "%") {
		b := make([]byte, 0, len(raw))
		for i := 0; i < len(raw); i++ {
			if c, ok := escape(raw[i:]); ok {
				b = append(b, c)
				i += 2
			} else {
				b = append(b, raw[i])
			}
		}
		raw = string(b)
	}
	return raw, utf8.ValidString(raw)
}

// asciiName maps a name to lower-case ASCII. It refuses a name that would be
// mapped to another one the next time: nothing is looked up under two names.
func asciiName(name string) (string, bool) {
	if isASCII(name) {
		name = strings.ToLower(name)
		if !strings.Contains(name, ace) {
			return name, true
		}
	}
	once, err := uts46.ToASCII(name)
	if err != nil {
		return "", false
	}
	twice, err := uts46.ToASCII(once)
	return once, err == nil && once == twice
}

func isASCII(s string) bool {
	for i := range len(s) {
		if s[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

// endsInNumber reports whether the last label is a number, which makes the name
// an IPv4 address or nothing (WHATWG URL, ends-in-a-number checker).
func endsInNumber(name string) bool {
	last := name[strings.LastIndexByte(name, '.')+1:]
	if last == "" || last[0] < '0' || last[0] > '9' {
		return false
	}
	digits, set := last, inDecimal
	if hex, ok := strings.CutPrefix(last, "0x"); ok {
		digits, set = hex, inHex
	}
	for i := range len(digits) {
		if bytesIn[digits[i]]&set == 0 {
			return false
		}
	}
	return true
}

// readIPv4 reads the old spellings: up to four numbers, decimal, octal (0…) or
// hex (0x…), of which the last fills the bytes that are left.
func readIPv4(name string) (h Host, trouble string) {
	const bad = "it ends in a number and is no IPv4 address"
	parts := strings.Split(name, ".")
	if len(parts) > 4 {
		return Host{}, bad
	}
	var ip uint64
	for i, part := range parts {
		n, ok := ipv4Number(part)
		bits, shift := 8, 8*(3-i)
		if i == len(parts)-1 {
			bits, shift = 8*(4-i), 0
		}
		if !ok || n >= 1<<bits {
			return Host{}, bad
		}
		ip |= n << shift
	}
	return hostOf(netip.AddrFrom4([4]byte{byte(ip >> 24), byte(ip >> 16), byte(ip >> 8), byte(ip)})), ""
}

func ipv4Number(s string) (uint64, bool) {
	if s == "0x" {
		return 0, true // as browsers have it
	}
	base := 10
	if hex, ok := strings.CutPrefix(s, "0x"); ok {
		s, base = hex, 16
	} else if len(s) > 1 && s[0] == '0' {
		base = 8
	}
	n, err := strconv.ParseUint(s, base, 64)
	return n, err == nil
}

func readIPv6(raw string) (h Host, trouble string) {
	s, open := strings.CutPrefix(raw, "[")
	s, shut := strings.CutSuffix(s, "]")
	if open != shut {
		return Host{}, "a bracket is missing"
	}
	addr, err := netip.ParseAddr(s)
	if err != nil || !addr.Is6() {
		return Host{}, "it is no IPv6 address, and a host has no port"
	}
	if addr.Zone() != "" {
		return Host{}, "an address with a zone means nothing beyond one network"
	}
	return hostOf(addr), ""
}

// nat64 is where a network without IPv4 keeps it (RFC 6052).
var nat64 = netip.MustParsePrefix("64:ff9b::/96")

// AddrHost is the host at an address, as ParseHost reads it.
func AddrHost(addr netip.Addr) Host { return hostOf(addr.WithZone("")) }

// hostOf is the host at an address. An IPv4 address inside an IPv6 one reaches
// the same machine, so it is the same host.
func hostOf(addr netip.Addr) Host {
	if nat64.Contains(addr) {
		b := addr.As16()
		addr = netip.AddrFrom4([4]byte(b[12:]))
	}
	addr = addr.Unmap()
	return Host{name: addr.String(), addr: addr}
}
