package audit

import (
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// escaped is s fit for one line of a terminal or a cell: every control and
// direction mark, and every byte that is no text, is written out, so that a
// host or path can neither end the line nor act on the screen (T13).
func escaped(s string) string {
	if plain(s) {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); {
		r, n := utf8.DecodeRuneInString(s[i:])
		switch {
		case r == utf8.RuneError && n == 1:
			b.WriteString(`\x` + strconv.FormatUint(uint64(s[i])|0x100, 16)[1:])
		case r == '\\':
			b.WriteString(`\\`)
		case invisible(r):
			b.WriteString(strings.Trim(strconv.QuoteRuneToASCII(r), "'"))
		default:
			b.WriteRune(r)
		}
		i += n
	}
	return b.String()
}

// Printable is a text of a record fit for one line of a terminal.
func Printable(s string) string { return escaped(s) }

func plain(s string) bool {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c > '~' || c == '\\' {
			return false
		}
	}
	return true
}

// invisible reports whether a character changes the text around it instead of
// being seen: controls, direction marks, zero-width, line separators.
func invisible(r rune) bool {
	return unicode.In(r, unicode.Cc, unicode.Cf, unicode.Zl, unicode.Zp, unicode.Co, unicode.Cs) ||
		r == 0x115f || r == 0x1160 || r == 0x3164 || r == 0xffa0 || // fillers that show as nothing
		unicode.Is(unicode.Variation_Selector, r)
}

// cell is s fit for a cell of a spreadsheet, which must not take it for a
// formula: a quote goes before what begins as one, blanks before it or not.
func cell(s string) string {
	begin := strings.TrimLeftFunc(s, func(r rune) bool { return unicode.IsSpace(r) && r != '\t' && r != '\r' || invisible(r) && r >= ' ' })
	formula := begin != "" && strings.ContainsRune("=+-@\t\r＝＋－＠|%", firstRune(begin))
	if s = escaped(s); formula {
		return "'" + s
	}
	return s
}

func firstRune(s string) rune {
	r, _ := utf8.DecodeRuneInString(s)
	return r
}
