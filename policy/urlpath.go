package policy

import (
	"bytes"
	"strings"
)

// ParseRequestPath is the canonical path and query of a request target, for a
// door that knows the host already. It has an answer for everything, beginning
// with "/", and its answer is its own canonical form.
//
// A list entry must meet every spelling that could reach the same page, so where
// servers differ it takes the reading in which spellings meet:
//
//   - "\" is "/", escaped or not, as nginx and IIS have it, and a run of slashes is one;
//   - an escape is decoded however often it was escaped; in the path each byte
//     has one spelling, in the query only unreserved bytes are decoded, since
//     "%26" is not "&" there; what stays escaped is in upper-case hex;
//   - dot segments are resolved, escaped or not, before slashes are joined;
//   - a fragment and an empty query are dropped.
//
// Case is kept: /Page and /page are two pages to most servers.
func ParseRequestPath(target string) string {
	if canonicalTarget(target) {
		return target
	}
	target, _, _ = strings.Cut(target, "#")
	path, query, _ := strings.Cut(target, "?")
	b := make([]byte, 0, len(target)+16)
	b = append(b, '/')
	b = appendSpelled(b, strings.ReplaceAll(path, `\`, "/"), inPath, inPath)
	b = joinSlashes(resolveDots(b))
	if query != "" {
		b = append(b, '?')
		b = appendSpelled(b, query, inQuery, inUnreserved)
	}
	return string(b)
}

// canonicalTarget reports whether nothing needs to be done, the way of nearly
// every request. It may say no to a canonical target, never yes to another.
func canonicalTarget(s string) bool {
	if s == "" || s[0] != '/' {
		return false
	}
	set := inPath
	for i := 1; i < len(s); i++ {
		switch c := s[i]; {
		case c == '?' && set == inPath:
			if i == len(s)-1 {
				return false
			}
			set = inQuery
		case bytesIn[c]&set == 0:
			return false
		case set == inPath && s[i-1] == '/' && (c == '/' || c == '.'):
			return false
		}
	}
	return true
}

// appendSpelled appends s with each byte in its canonical spelling: an escape of
// a byte in decoded becomes the byte, a byte not in plain becomes an escape. An
// escape that decoding completes is decoded in turn ("%252e", "%%32e"), so the
// result holds none that could be: every byte goes in once and out at most once.
func appendSpelled(dst []byte, s string, plain, decoded uint8) []byte {
	start := len(dst)
	for i := range len(s) {
		c := s[i]
		if c != '%' && bytesIn[c]&plain == 0 {
			dst = appendEscape(dst, c)
			continue
		}
		dst = append(dst, c)
		for len(dst)-start >= 3 {
			end := len(dst) - 3
			c, ok := escape(dst[end:])
			if !ok {
				break
			}
			if c == '\\' && decoded == inPath {
				c = '/'
			}
			if c != '%' && bytesIn[c]&decoded == 0 {
				dst = appendEscape(dst[:end], c)
				break
			}
			dst = append(dst[:end], c)
		}
	}
	return dst
}

// resolveDots takes "." and ".." segments out of a path, in place.
func resolveDots(path []byte) []byte {
	out := path[:0]
	for rest, more := path[1:], true; more; {
		var segment []byte
		segment, rest, more = bytes.Cut(rest, []byte("/"))
		switch string(segment) {
		case "..":
			out = out[:max(bytes.LastIndexByte(out, '/'), 0)]
			fallthrough
		case ".":
			if !more {
				out = append(out, '/')
			}
		default:
			out = append(append(out, '/'), segment...)
		}
	}
	return out
}

// joinSlashes makes one of each run of slashes, in place.
func joinSlashes(path []byte) []byte {
	out := path[:1]
	for _, c := range path[1:] {
		if c != '/' || out[len(out)-1] != '/' {
			out = append(out, c)
		}
	}
	return out
}
