package policy

import (
	"fmt"
	"net/url"
	"strings"
)

// URL is a web address in canonical form (REQUIREMENTS 4.9): scheme and default
// port dropped, host canonical, unreserved %-escapes decoded, dot segments
// resolved, fragment dropped, query kept.
type URL struct {
	Host Host
	Port uint16 // 0 for the scheme's default
	Path string // begins with "/", with query; "" where only a host was given
}

// ParseURL reads a URL, or a bare host, as a browser would (WHATWG URL).
func ParseURL(raw string) (URL, error) {
	if !strings.Contains(raw, "://") {
		raw = "http://" + raw
	}
	u, err := url.Parse(raw)
	if err != nil {
		return URL{}, fmt.Errorf("%w: %q", ErrBadHost, raw)
	}
	h, err := ParseHost(u.Hostname())
	if err != nil {
		return URL{}, err
	}
	return URL{Host: h, Path: u.RequestURI()}, nil
}

// String is the canonical form without scheme.
func (u URL) String() string {
	if u.Port != 0 {
		return fmt.Sprintf("%s:%d%s", u.Host, u.Port, u.Path)
	}
	return u.Host.String() + u.Path
}
