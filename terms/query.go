package terms

import (
	"path"
	"strings"
	"unicode/utf8"

	"schoolgate/policy"
)

// Query gives the search words in an address of a known search engine, and the
// engine's name. ok is false for every other address, for suggestion calls, and
// where the words are not in the address (Startpage can post them).
func Query(rawURL string) (engine, words string, ok bool) {
	u, err := policy.ParseURL(rawURL)
	if err != nil {
		return "", "", false
	}
	if engine, words, ok = QueryOf(u.Host, u.Path); ok {
		return engine, words, true
	}
	// Behind # words reach no server and so no door; a person who checks an address
	// that was copied from a browser has them there (#q=, Swiggle's #gsc.q=).
	e := engineOf(u.Host)
	_, behind, _ := strings.Cut(rawURL, "#")
	if e == nil || e.params == "" || behind == "" {
		return "", "", false
	}
	words = e.inQuery(strings.ReplaceAll(strings.TrimLeft(behind, "!/?"), "gsc.q=", "q="))
	return e.name, words, words != ""
}

// QueryOf is Query for an address that has been read: path is with its query.
func QueryOf(h policy.Host, path string) (engine, words string, ok bool) {
	e := engineOf(h)
	if e == nil {
		return "", "", false
	}
	where, query := cutQuery(path)
	if e.params != "" && matchesAny(e.paths, where) {
		words = e.inQuery(query)
	}
	if words == "" {
		words = e.inPath(where)
	}
	return e.name, words, words != ""
}

// cutQuery parts the path of an address, without a slash at the end, from its query.
func cutQuery(path string) (where, query string) {
	where, query, _ = strings.Cut(path, "?")
	where, _, _ = strings.Cut(where, ";") // Yahoo's "/search;_ylt=…"
	if trimmed := strings.TrimRight(where, "/"); trimmed != "" {
		where = trimmed
	}
	return where, query
}

// engineOf is the engine a host belongs to, nil for none.
func engineOf(h policy.Host) *engine {
	for more := !h.IsZero(); more; h, more = h.Parent() {
		if e := byHost[h.String()]; e != nil {
			return e
		}
	}
	return nil
}

func matchesAny(patterns, where string) bool {
	for p := range strings.FieldsSeq(patterns) {
		if ok, err := path.Match(p, where); ok && err == nil {
			return true
		}
	}
	return false
}

// inQuery joins the values of every parameter of the engine: a second one hides
// nothing. Names are read as engines read them, of which some heed no case.
func (e *engine) inQuery(query string) (words string) {
	for query != "" {
		var pair string
		pair, query, _ = strings.Cut(query, "&")
		name, value, _ := strings.Cut(pair, "=")
		for p := range strings.FieldsSeq(e.params) {
			if name != p && !strings.EqualFold(unescape(name), p) {
				continue
			}
			if value = strings.TrimSpace(unescape(value)); value != "" && words != "" {
				words += " "
			}
			words += value
			break
		}
	}
	return words
}

// inPath takes the words out of a path, which may begin with a language.
func (e *engine) inPath(where string) string {
	if len(where) > 4 && where[3] == '/' && where[1] >= 'a' && where[1] <= 'z' { // /en/
		if words := e.behind(where[3:]); words != "" {
			return words
		}
	}
	if len(where) > 7 && where[3] == '-' && where[6] == '/' { // /en-gb/
		if words := e.behind(where[6:]); words != "" {
			return words
		}
	}
	return e.behind(where)
}

func (e *engine) behind(where string) string {
	for prefix := range strings.FieldsSeq(e.within) {
		rest, ok := strings.CutPrefix(where, prefix)
		if !ok {
			continue
		}
		rest, _, _ = strings.Cut(rest, "/")
		for tail := range strings.FieldsSeq(e.tail) {
			rest = strings.TrimSuffix(rest, tail)
		}
		return strings.TrimSpace(strings.ReplaceAll(unescape(rest), "-", " "))
	}
	return ""
}

// unescape takes percent and plus escapes off. Bytes that are not UTF-8 are read as
// Latin-1, what is left of the pages of that time.
func unescape(s string) string {
	if !strings.ContainsAny(s, "%+") && utf8.ValidString(s) {
		return s
	}
	b := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '+':
			b = append(b, ' ')
		case c == '%' && i+2 < len(s) && hex(s[i+1]) < 16 && hex(s[i+2]) < 16:
			b = append(b, hex(s[i+1])<<4|hex(s[i+2]))
			i += 2
		default:
			b = append(b, c)
		}
	}
	if utf8.Valid(b) {
		return string(b)
	}
	var text strings.Builder
	for len(b) > 0 {
		r, size := utf8.DecodeRune(b)
		if r == utf8.RuneError && size == 1 {
			r = rune(b[0])
		}
		text.WriteRune(r)
		b = b[size:]
	}
	return text.String()
}

func hex(c byte) byte {
	switch {
	case '0' <= c && c <= '9':
		return c - '0'
	case 'a' <= c && c <= 'f':
		return c - 'a' + 10
	case 'A' <= c && c <= 'F':
		return c - 'A' + 10
	}
	return 16
}
