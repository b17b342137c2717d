package configs

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/mail"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"time"

	"golang.org/x/net/publicsuffix"

	"schoolgate/policy"
)

// The readers of single values. Each says what it wanted and shows one.

const maxIdent = 64

// ident is a name the school gives to something of its own.
func ident(s string) (string, error) {
	if s == "" || len(s) > maxIdent {
		return "", fmt.Errorf("bad name %q: want 1 to %d letters", clip(s), maxIdent)
	}
	for _, r := range s {
		if (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '-' && r != '_' && r != '.' {
			return "", fmt.Errorf("bad name %q: want letters a-z, digits, - and _, such as year5", clip(s))
		}
	}
	return s, nil
}

// words is free text of one line, bounded.
func words(s string) (string, error) {
	if len(s) > 500 {
		return "", fmt.Errorf("too long: %d bytes, at most 500", len(s))
	}
	if strings.ContainsAny(s, "\n\r") {
		return "", errors.New("want one line")
	}
	return strings.TrimSpace(s), nil
}

// said is what a person must say: it cannot be left empty.
func said(s string) (string, error) {
	text, err := words(s)
	if err == nil && text == "" {
		err = errors.New("it is empty")
	}
	return text, err
}

func fileName(s string) (string, error) {
	if s == "" || len(s) > 4096 || strings.ContainsRune(s, 0) {
		return "", fmt.Errorf("bad file name %q", clip(s))
	}
	return s, nil
}

func yesNo(s string) (bool, error) {
	switch s {
	case "true", "yes":
		return true, nil
	case "false", "no":
		return false, nil
	}
	return false, fmt.Errorf("bad answer %q: want yes or no", clip(s))
}

// choice reads one of a few words.
func choice[T ~string](what string, all ...T) func(string) (T, error) {
	return func(s string) (T, error) {
		known := make([]string, 0, len(all))
		for _, w := range all {
			if string(w) == s {
				return w, nil
			}
			known = append(known, string(w))
		}
		return "", unknown(what, clip(s), known)
	}
}

// number reads a whole number within bounds.
func number(lo, hi int) func(string) (int, error) {
	return func(s string) (int, error) {
		n, err := strconv.Atoi(s)
		if err != nil || n < lo || n > hi {
			return 0, fmt.Errorf("bad number %q: want %d to %d", clip(s), lo, hi)
		}
		return n, nil
	}
}

func portNumber(s string) (uint16, error) {
	n, err := strconv.ParseUint(s, 10, 16)
	if err != nil || n == 0 {
		return 0, fmt.Errorf("bad port %q: want 1 to 65535", clip(s))
	}
	return uint16(n), nil
}

// duration reads a length of time with its unit, within bounds.
func duration(lo, hi time.Duration) func(string) (time.Duration, error) {
	return func(s string) (time.Duration, error) {
		d, err := time.ParseDuration(strings.ReplaceAll(s, " ", ""))
		if err != nil || d < lo || d > hi {
			return 0, fmt.Errorf("bad length of time %q: want %v to %v, with a unit such as 30s, 10m or 2h", clip(s), lo, hi)
		}
		return d, nil
	}
}

var sizeUnits = []struct {
	suffix string
	bytes  int64
}{{"KiB", 1 << 10}, {"MiB", 1 << 20}, {"GiB", 1 << 30}, {"kB", 1e3}, {"MB", 1e6}, {"GB", 1e9}}

// size reads a number of bytes with its unit, within bounds.
func size(lo, hi int64) func(string) (int64, error) {
	return func(s string) (int64, error) {
		digits, unit := s, int64(1)
		for _, u := range sizeUnits {
			if rest, ok := strings.CutSuffix(s, u.suffix); ok {
				digits, unit = strings.TrimSpace(rest), u.bytes
			}
		}
		n, err := strconv.ParseInt(digits, 10, 64)
		if err != nil || n < 0 || n > hi/unit || n*unit < lo {
			return 0, fmt.Errorf("bad size %q: want %d to %d bytes, such as 64MiB", clip(s), lo, hi)
		}
		return n * unit, nil
	}
}

// address reads an IP address in its one form: IPv4 never mapped into IPv6.
func address(s string) (netip.Addr, error) {
	a, err := netip.ParseAddr(s)
	if err != nil || a.Zone() != "" {
		return netip.Addr{}, fmt.Errorf("bad address %q: want one such as 10.2.0.7 or fd00::7", clip(s))
	}
	return a.Unmap(), nil
}

// listener reads an address with a port to bind.
func listener(s string) (netip.AddrPort, error) {
	ap, err := netip.ParseAddrPort(s)
	if err != nil {
		return netip.AddrPort{}, fmt.Errorf("bad address %q: want address and port, such as 127.0.0.1:5300 or [::]:53", clip(s))
	}
	return ap, nil
}

// network reads a range in CIDR form, or one address. Bits set to the right of
// the mask are refused: they are most often a typing mistake in the mask.
func network(s string) (netip.Prefix, error) {
	if a, err := address(s); err == nil {
		return netip.PrefixFrom(a, a.BitLen()), nil
	}
	p, err := netip.ParsePrefix(s)
	if err != nil || p.Addr().Is4In6() {
		return netip.Prefix{}, fmt.Errorf("bad range %q: want one such as 10.2.0.0/24 or fd00:2::/64", clip(s))
	}
	if p != p.Masked() {
		return netip.Prefix{}, fmt.Errorf("bad range %q: the address goes on after the mask (did you mean %q?)", clip(s), p.Masked())
	}
	return p, nil
}

// addressRange reads a CIDR range, one address, or first-last.
func addressRange(s string) ([]netip.Prefix, error) {
	from, to, isRange := strings.Cut(s, "-")
	if !isRange {
		p, err := network(s)
		return []netip.Prefix{p}, err
	}
	first, err := address(strings.TrimSpace(from))
	if err != nil {
		return nil, err
	}
	last, err := address(strings.TrimSpace(to))
	if err != nil {
		return nil, err
	}
	if first.BitLen() != last.BitLen() || last.Less(first) {
		return nil, fmt.Errorf("bad range %q: want the first and the last address, such as 10.2.0.20-10.2.0.90", clip(s))
	}
	return prefixes(first, last), nil
}

// prefixes covers first to last with the fewest ranges in CIDR form.
func prefixes(first, last netip.Addr) (out []netip.Prefix) {
	for {
		bits := first.BitLen()
		for bits > 0 {
			wider := netip.PrefixFrom(first, bits-1)
			if wider.Masked().Addr() != first || last.Less(lastOf(wider)) {
				break
			}
			bits--
		}
		p := netip.PrefixFrom(first, bits)
		out = append(out, p)
		end := lastOf(p)
		if !end.Less(last) {
			return out
		}
		first = end.Next()
	}
}

// lastOf is the last address of a range.
func lastOf(p netip.Prefix) netip.Addr {
	b := p.Addr().AsSlice()
	for i := p.Bits(); i < len(b)*8; i++ {
		b[i/8] |= 1 << (7 - i%8)
	}
	a, _ := netip.AddrFromSlice(b) // always 4 or 16 bytes
	return a
}

func hardware(s string) (net.HardwareAddr, error) {
	m, err := net.ParseMAC(s)
	if err != nil || len(m) != 6 {
		return nil, fmt.Errorf("bad hardware address %q: want six pairs such as 02:00:5e:10:00:07", clip(s))
	}
	if m[0]&1 != 0 || m.String() == "00:00:00:00:00:00" {
		return nil, fmt.Errorf("bad hardware address %q: no one device has it", clip(s))
	}
	return m, nil
}

func mailAddress(s string) (string, error) {
	a, err := mail.ParseAddress(s)
	if err != nil || a.Address != s {
		return "", fmt.Errorf("bad mail address %q: want one such as dsl@school.example", clip(s))
	}
	return s, nil
}

// mailServer reads host:port.
func mailServer(s string) (string, error) {
	host, port, err := net.SplitHostPort(s)
	if err == nil {
		_, err = portNumber(port)
	}
	if err == nil {
		_, err = policy.ParseHost(host)
	}
	if err != nil {
		return "", fmt.Errorf("bad mail server %q: want host and port, such as smtp.school.example:587", clip(s))
	}
	return s, nil
}

func webAddress(s string) (string, error) {
	u, err := url.Parse(s)
	if err != nil || (u.Scheme != "https" && u.Scheme != "http") || u.Host == "" || u.User != nil {
		return "", fmt.Errorf("bad web address %q: want one such as https://schoolgate.school.example", clip(s))
	}
	return strings.TrimSuffix(s, "/"), nil
}

func logLevel(s string) (l slog.Level, err error) {
	levels := map[string]slog.Level{"debug": slog.LevelDebug, "info": slog.LevelInfo, "warn": slog.LevelWarn, "error": slog.LevelError}
	l, ok := levels[s]
	if !ok {
		return l, unknown("log level", clip(s), keys(levels))
	}
	return l, nil
}

func category(s string) (policy.Category, error) {
	c, ok := policy.ParseCategory(s)
	if !ok || s == "" {
		known := make([]string, 0, policy.NumCategories)
		for c := range policy.Categories() {
			known = append(known, c.String())
		}
		return 0, unknown("category", clip(s), known)
	}
	return c, nil
}

func verdict(s string) (policy.Verdict, error) {
	v, ok := policy.ParseVerdict(s)
	if !ok {
		return 0, unknown("verdict", clip(s), []string{"allow", "warn", "block"})
	}
	return v, nil
}

func restriction(s string) (policy.Restriction, error) {
	modes := map[string]policy.Restriction{"strict": policy.Strict, "moderate": policy.Moderate, "off": policy.Off}
	r, ok := modes[s]
	if !ok {
		return 0, unknown("mode", clip(s), keys(modes))
	}
	return r, nil
}

var bands = []policy.AgeBand{policy.EYFS, policy.KS1, policy.KS2, policy.Staff, policy.Guest}

func band(s string) (policy.AgeBand, error) {
	b, ok := policy.ParseAgeBand(s)
	if !ok {
		var known []string
		for _, b := range bands {
			known = append(known, b.String())
		}
		return 0, unknown("age band", clip(s), known)
	}
	return b, nil
}

// site reads a host, or a host and a path: a rule for it and everything below.
func site(s string) (policy.HostRule, error) {
	bare := s
	if scheme, rest, ok := strings.Cut(s, "://"); ok {
		if scheme != "http" && scheme != "https" {
			return policy.HostRule{}, fmt.Errorf("bad site %q: want a host such as www.example.org, or an address beginning with https://", clip(s))
		}
		bare = rest
	}
	if strings.HasPrefix(bare, "*.") {
		return policy.HostRule{}, fmt.Errorf("bad site %q: leave the star out, a rule covers everything below (did you mean %q?)", clip(s), clip(bare[2:]))
	}
	if strings.ContainsAny(bare, "?#") {
		return policy.HostRule{}, fmt.Errorf("bad site %q: leave out what follows the ? or #, a rule covers everything below a path", clip(s))
	}
	name, path, hasPath := strings.Cut(bare, "/")
	host, err := policy.ParseHost(name)
	if err != nil || strings.ContainsAny(name, " \t*@,;\\\"'%&=<>()") {
		return policy.HostRule{}, fmt.Errorf("bad site %q: want a host such as www.example.org, or a host and a path", clip(s))
	}
	r := policy.HostRule{Host: host}
	if hasPath && path != "" {
		u, err := policy.ParseURL(bare)
		if err != nil || u.Host != host {
			return policy.HostRule{}, fmt.Errorf("bad site %q: the path cannot be read", clip(s))
		}
		r.Path = u.Path
	}
	return r, nil
}

// wholeSuffix reports whether a rule is for every site under a public suffix,
// such as co.uk or github.io.
func wholeSuffix(h policy.Host) bool {
	if _, isAddr := h.Addr(); isAddr {
		return false
	}
	suffix, icann := publicsuffix.PublicSuffix(h.String())
	return suffix == h.String() && (icann || strings.Contains(suffix, "."))
}

func keys[V any](m map[string]V) []string {
	ks := make([]string, 0, len(m))
	for k := range m {
		ks = append(ks, k)
	}
	return ks
}
