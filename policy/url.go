package policy

import (
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

// URL is a web address in canonical form (REQUIREMENTS 4.9): scheme, user,
// default port and fragment dropped, host and path canonical, query kept.
type URL struct {
	Host Host
	Port uint16 // 0 for the scheme's default
	Path string // begins with "/", with query; "" where only a host was given
}

// ErrBadURL is what a refusal of ParseURL wraps, unless it is the host that is
// wrong: that is [ErrBadHost].
var ErrBadURL = errors.New("not a web address")

// MaxURL is the longest URL that is read, in bytes.
const MaxURL = 8 << 10

// defaultPort holds the schemes that pass the doors.
var defaultPort = map[string]uint16{"http": 80, "https": 443, "ws": 80, "wss": 443}

// ParseURL reads a web address as a browser would (WHATWG URL, special schemes),
// or as people write it down: a host, host:port, host/path. Other schemes are
// refused. Where no scheme is given a port is kept as it is written.
func ParseURL(raw string) (URL, error) {
	if len(raw) > MaxURL {
		return URL{}, badURL(raw, "it is longer than 8 KiB")
	}
	s := strings.TrimFunc(raw, func(r rune) bool { return r <= ' ' })
	if strings.ContainsAny(s, "\t\r\n") {
		s = strings.NewReplacer("\t", "", "\r", "", "\n", "").Replace(s)
	}
	if bareIPv6(s) {
		h, err := ParseHost(s)
		return URL{Host: h}, err
	}
	scheme, rest, trouble := cutScheme(s)
	if trouble != "" {
		return URL{}, badURL(raw, trouble)
	}
	authority, tail := rest, ""
	if i := strings.IndexAny(rest, `/\?#`); i >= 0 {
		authority, tail = rest[:i], rest[i:]
	}
	host, port, ok := cutPort(authority[strings.LastIndexByte(authority, '@')+1:])
	if !ok {
		return URL{}, badURL(raw, "the port is not a number from 1 to 65535")
	}
	h, err := ParseHost(host)
	if err != nil {
		return URL{}, err
	}
	if port == defaultPort[scheme] {
		port = 0
	}
	u := URL{Host: h, Port: port}
	if tail, _, _ = strings.Cut(tail, "#"); tail != "" || scheme != "" {
		u.Path = ParseRequestPath(tail)
	}
	return u, nil
}

// String is the canonical form without scheme; ParseURL reads it back as u.
func (u URL) String() string {
	host := u.Host.String()
	if addr, ok := u.Host.Addr(); ok && addr.Is6() {
		host = "[" + host + "]"
	}
	if u.Port != 0 {
		host += ":" + strconv.Itoa(int(u.Port))
	}
	return host + u.Path
}

func badURL(raw, trouble string) error {
	return fmt.Errorf("%w: %s: %s", ErrBadURL, quoted(raw), trouble)
}

// bareIPv6 reports whether s is an IPv6 address without brackets, which looks
// like a scheme or a port.
func bareIPv6(s string) bool {
	if strings.Count(s, ":") < 2 {
		return false
	}
	_, err := netip.ParseAddr(s)
	return err == nil
}

// cutScheme takes the scheme and the slashes off. "" is no scheme: a host with
// or without a port.
func cutScheme(s string) (scheme, rest, trouble string) {
	i := 0
	for i < len(s) && bytesIn[s[i]]&inScheme != 0 {
		i++
	}
	if i > 0 && i < len(s) && s[i] == ':' && !beginsWithPort(s[i+1:]) {
		scheme = strings.ToLower(s[:i])
		if defaultPort[scheme] == 0 {
			return "", "", "only http, https, ws and wss addresses have a host to decide on"
		}
		return scheme, strings.TrimLeft(s[i+1:], `/\`), ""
	}
	rest = strings.TrimLeft(s, `/\`)
	if len(s)-len(rest) == 1 {
		return "", "", "it is a path without a host"
	}
	return "", rest, ""
}

// beginsWithPort tells the port of "localhost:8080/x" from what follows a scheme.
func beginsWithPort(s string) bool {
	if i := strings.IndexAny(s, `/\?#`); i >= 0 {
		s = s[:i]
	}
	_, ok := port(s)
	return ok
}

// cutPort takes the port off an authority without user; 0 if none is written.
func cutPort(authority string) (host string, number uint16, ok bool) {
	end := strings.IndexByte(authority, ']') + 1 // past the colons of an IPv6 address
	colon := strings.IndexByte(authority[end:], ':')
	if colon < 0 {
		return authority, 0, true
	}
	host, written := authority[:end+colon], authority[end+colon+1:]
	if written == "" {
		return host, 0, true
	}
	number, ok = port(written)
	return host, number, ok
}

func port(s string) (number uint16, ok bool) {
	if s == "" {
		return 0, false
	}
	for i := range len(s) {
		if bytesIn[s[i]]&inDecimal == 0 {
			return 0, false
		}
	}
	n, err := strconv.ParseUint(s, 10, 16)
	return uint16(n), err == nil && n != 0
}
