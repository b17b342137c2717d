package terms

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// Symbols that people write for letters stay inside a word until it is known
// whether they stand for one there.
const symbols = "@$!*"

// What the cleaning does with an ASCII byte besides keeping it.
const (
	asSpace = 0
	asNone  = 1
)

var asciiAs = func() (as [128]byte) {
	for c := range as {
		switch c := byte(c); {
		case 'a' <= c && c <= 'z', '0' <= c && c <= '9', c == '@', c == '$', c == '!', c == '*':
			as[c] = c
		case 'A' <= c && c <= 'Z':
			as[c] = c + 'a' - 'A'
		case c == '\'', c == '`':
			as[c] = asNone
		}
	}
	return as
}()

// clean appends the words of s to dst with one space between: lower case, NFKC
// without accents, no invisible character, look-alike letters as the Latin ones
// (S10). What is no letter, digit or symbol separates words.
func (sc *scratch) clean(dst []byte, s string) []byte {
	for i := range len(s) {
		if s[i] >= utf8.RuneSelf {
			// What is no UTF-8 would keep the letters behind it from being taken apart.
			sc.wide = norm.NFKD.AppendString(sc.wide[:0], strings.ToValidUTF8(s, " "))
			return appendWide(dst, sc.wide)
		}
	}
	for i := range len(s) {
		switch c := asciiAs[s[i]]; c {
		case asNone:
		case asSpace:
			dst = appendSpace(dst)
		default:
			dst = append(dst, c)
		}
	}
	return trimSpace(dst)
}

func appendWide(dst, s []byte) []byte {
	for i := 0; i < len(s); {
		r, size := utf8.DecodeRune(s[i:])
		i += size
		if r < utf8.RuneSelf {
			switch c := asciiAs[r]; c {
			case asNone:
			case asSpace:
				dst = appendSpace(dst)
			default:
				dst = append(dst, c)
			}
			continue
		}
		if r = unicode.ToLower(r); r < utf8.RuneSelf { // the Kelvin sign and its like
			dst = append(dst, asciiAs[r])
			continue
		}
		switch plain, known := plainLetter[r]; {
		case known:
			dst = append(dst, plain...)
		case invisible(r):
		case '٠' <= r && r <= '٩':
			dst = append(dst, byte('0'+r-'٠'))
		case '۰' <= r && r <= '۹':
			dst = append(dst, byte('0'+r-'۰'))
		case '੦' <= r && r <= '੯':
			dst = append(dst, byte('0'+r-'੦'))
		case r != utf8.RuneError && (unicode.IsLetter(r) || unicode.IsMark(r)):
			dst = utf8.AppendRune(dst, r)
		default:
			dst = appendSpace(dst)
		}
	}
	return trimSpace(dst)
}

func appendSpace(dst []byte) []byte {
	if len(dst) > 0 && dst[len(dst)-1] != ' ' {
		dst = append(dst, ' ')
	}
	return dst
}

func trimSpace(dst []byte) []byte {
	if len(dst) > 0 && dst[len(dst)-1] == ' ' {
		dst = dst[:len(dst)-1]
	}
	return dst
}

// invisible reports what says nothing to a reader: formatting characters, accents
// set loose by NFKD, vowel signs that Arabic script may leave out. The vowel signs
// of Gurmukhi are letters to those who read them and stay.
func invisible(r rune) bool {
	switch {
	case 0x0300 <= r && r <= 0x036f, 0x1ab0 <= r && r <= 0x1aff, 0x20d0 <= r && r <= 0x20ff, 0xfe00 <= r && r <= 0xfe0f: // accents
		return true
	case 0x0610 <= r && r <= 0x061a, 0x064b <= r && r <= 0x065f, r == 0x0670, 0x06d6 <= r && r <= 0x06ed, r == 0x0640: // Arabic
		return true
	case r == 0x0a3c, r == 0x0a71: // nukta and addak, often left out
		return true
	case r == '’', r == '‘', r == 'ʼ', r == '´', r == 'ʻ':
		return true
	}
	return unicode.Is(unicode.Cf, r) || unicode.Is(unicode.Cc, r) || r == 0x115f || r == 0x1160 || r == 0x3164 // Hangul fillers
}

// plainLetter is what NFKD leaves alone: letters with a stroke, letters of other
// scripts that look like Latin ones, and the spellings that keyboards for Arabic,
// Urdu and Persian have for one letter.
var plainLetter = map[rune]string{
	'ł': "l", 'đ': "d", 'ð': "d", 'ø': "o", 'ß': "ss", 'æ': "ae", 'œ': "oe", 'ı': "i", 'ħ': "h", 'ŧ': "t", 'þ': "th", 'ɩ': "i",
	'ɑ': "a", 'ɡ': "g", 'ʀ': "r", 'ᴀ': "a", 'ᴄ': "c", 'ᴅ': "d", 'ᴇ': "e", 'ɪ': "i", 'ᴋ': "k", 'ʟ': "l", 'ᴍ': "m", 'ɴ': "n", 'ᴏ': "o",
	'ᴘ': "p", 'ꜱ': "s", 'ᴛ': "t", 'ᴜ': "u", 'ᴠ': "v", 'ʏ': "y", 'ʜ': "h", 'ʙ': "b", 'ɢ': "g", 'ꜰ': "f",

	'а': "a", 'в': "b", 'е': "e", 'ѕ': "s", 'і': "i", 'ј': "j", 'к': "k", 'м': "m", 'н': "h", 'о': "o", 'р': "p", 'с': "c", 'т': "t",
	'у': "y", 'х': "x", 'ԁ': "d", 'ԛ': "q", 'ԝ': "w", 'ӏ': "l", 'һ': "h", 'ь': "b", 'г': "r",

	'α': "a", 'β': "b", 'ε': "e", 'η': "n", 'ι': "i", 'κ': "k", 'ν': "v", 'ο': "o", 'ρ': "p", 'τ': "t", 'υ': "u", 'χ': "x", 'ω': "w",
	'σ': "o", 'ς': "c", 'γ': "y",

	'ي': "ی", 'ى': "ی", 'ې': "ی", 'ے': "ی", 'ئ': "ی", 'ك': "ک", 'ڪ': "ک", 'ة': "ه", 'ہ': "ه", 'ھ': "ه", 'ۃ': "ه", 'ە': "ه", 'ٱ': "ا",
	'ں': "ن", 'ؤ': "و", 'ء': "",
}
