package blocklists

import (
	"net/netip"
	"strings"
)

// uncomment cuts a trailing # comment, which must stand after white space, and
// gives "" for a line that is all comment.
func uncomment(line string) string {
	if line[0] == '#' {
		return ""
	}
	if i := strings.IndexByte(line, '#'); i > 0 && (line[i-1] == ' ' || line[i-1] == '\t') {
		return strings.TrimRight(line[:i], " \t")
	}
	return line
}

// domainLine reads a line of a plain list: one name.
func (s *scan) domainLine(line string) error {
	if line = uncomment(line); line == "" || line[0] == '!' || line[0] == ';' {
		return nil
	}
	return s.name(line, false)
}

// wildcardLine reads *.name, which is taken as the name and all below it: a
// list that blocks every child of a name means the name too.
func (s *scan) wildcardLine(line string) error {
	if line = uncomment(line); line == "" {
		return nil
	}
	rest := strings.TrimPrefix(line, "*.")
	if rest == "" || rest == "*" {
		return s.refused(Everything, line)
	}
	if strings.IndexByte(rest, '*') >= 0 {
		return s.refused(PartOfName, line)
	}
	return s.name(rest, false)
}

// hostsLine reads a line of a hosts file: an address that leads nowhere, then
// names.
func (s *scan) hostsLine(line string) error {
	if line = uncomment(line); line == "" {
		return nil
	}
	addr, rest := field(line)
	if !sinkAddress(addr) {
		if a, err := netip.ParseAddr(addr); err == nil && a.IsValid() {
			return s.refused(Forwards, line)
		}
		return s.refused(NotAddress, line)
	}
	if rest == "" {
		return s.refused(BadHost, line)
	}
	for name := ""; rest != ""; {
		name, rest = field(rest)
		if name[0] == '#' {
			return nil
		}
		if err := s.name(name, false); err != nil {
			return err
		}
	}
	return nil
}

// field cuts the first white-space separated field; line has no leading space.
func field(line string) (first, rest string) {
	i := strings.IndexAny(line, " \t")
	if i < 0 {
		return line, ""
	}
	return line[:i], strings.TrimLeft(line[i:], " \t")
}

// sinkAddress reports whether blocked names are sent there: nowhere, or this
// very machine.
func sinkAddress(text string) bool {
	if text == "0.0.0.0" || text == "127.0.0.1" {
		return true
	}
	a, err := netip.ParseAddr(text)
	if err != nil {
		return false
	}
	a = a.WithZone("")
	return a.IsUnspecified() || a.IsLoopback() || a.IsLinkLocalUnicast() || a.IsLinkLocalMulticast() ||
		a == netip.AddrFrom4([4]byte{255, 255, 255, 255})
}

// ipLine reads a line that is an address.
func (s *scan) ipLine(line string) error {
	if line = uncomment(line); line == "" {
		return nil
	}
	if _, err := netip.ParseAddr(line); err != nil {
		return s.refused(NotAddress, line)
	}
	return s.name(line, true)
}

// urlLine reads a line that is a URL or a host.
func (s *scan) urlLine(line string) error {
	if line[0] == '#' {
		return nil
	}
	return s.url(line, s.category)
}

// expressionLine counts a regular expression: a box that decides in a
// microsecond cannot run thousands of them, and each judges pages unseen.
func (s *scan) expressionLine(line string) error {
	if line[0] == '#' {
		return nil
	}
	return s.refused(Expression, line)
}
