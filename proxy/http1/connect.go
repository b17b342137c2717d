package http1

import "bytes"

// Connect reads a CONNECT that says a plain host and port and nothing that has to be
// looked at: HTTP/1.1, no body, nobody who signs in, a head within max bytes that is
// all there. behind is what follows it. Any other is for a Server to read.
func Connect(text []byte, max int) (name, port, behind []byte, ok bool) {
	if !bytes.HasPrefix(text, []byte("CONNECT ")) {
		return nil, nil, nil, false
	}
	end := endOfHead(text, 0)
	if end == 0 || end > max {
		return nil, nil, nil, false
	}
	if h, err := parseHead(text[:end]); err != nil || h.lengths+h.codings > 0 || h.old {
		return nil, nil, nil, false
	}
	line, rest, _ := cutLine(text[:end])
	authority, ok := bytes.CutSuffix(line[len("CONNECT "):], []byte(" HTTP/1.1"))
	name, port, cut := bytes.Cut(authority, []byte(":"))
	if !ok || !cut || !plainName(name) || signsIn(rest) {
		return nil, nil, nil, false
	}
	return name, port, text[end:], true
}

// plainName reports whether a name is letters, digits, hyphens and dots: nothing that
// two parsers could read in two ways.
func plainName(name []byte) bool {
	for _, c := range name {
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '-' && c != '.' {
			return false
		}
	}
	return len(name) > 0
}

// signsIn reports whether the header lines, which were checked, say who asks.
func signsIn(lines []byte) bool {
	for len(lines) > 0 {
		line, rest, ok := cutLine(lines)
		if name, _, _ := bytes.Cut(line, []byte(":")); !ok || is(name, "Proxy-Authorization") {
			return true
		}
		lines = rest
	}
	return false
}
