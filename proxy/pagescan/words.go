package pagescan

import (
	"strconv"
	"unicode"
	"unicode/utf8"
)

// words takes the words that a person sees out of HTML, part by part: in lower
// case, without accents, one space between two. It knows of HTML what parts text
// from the rest, as a browser would; what no browser shows, it may read.
type words struct {
	out    []byte // what the last part held; begins or goes on with a space
	spaced bool   // the last byte given was a space

	state   htmlState
	name    [12]byte // of the tag, clipped
	named   int
	closing bool
	attr    [12]byte
	attred  int
	quote   byte
	spoken  bool   // the value of the attribute is read to or shown to people
	raw     string // the element whose text is not HTML
	matched int    // of its end tag
	dashes  int    // before the end of a comment

	entity   [10]byte
	entitied int
	back     htmlState // where an entity was met
	char     [utf8.UTFMax]byte
	charred  int
}

type htmlState uint8

const (
	inText htmlState = iota
	inTagStart
	inTagName
	inTag
	inAttr
	beforeValue
	inValue
	inBang
	inBangDash
	inComment
	inSkipped // <?...> and <!...>
	inRaw
	inEntity
)

// joining are elements that part no word.
var joining = set("b", "i", "u", "em", "strong", "font", "small", "big", "mark", "sub", "sup", "wbr", "s", "tt")

// unread are elements whose text is no text for people.
var unread = map[string]string{"script": "</script", "style": "</style"}

// said are attributes that a person sees or is read.
var said = set("alt", "title", "content", "aria-label", "placeholder")

func set(names ...string) map[string]bool {
	m := map[string]bool{}
	for _, n := range names {
		m[n] = true
	}
	return m
}

// feed reads the next part and gives its words, which hold until the next call.
func (w *words) feed(p []byte) []byte {
	w.out = w.out[:0]
	for i := 0; i < len(p); {
		if w.state == inText {
			i = w.text(p, i)
			continue
		}
		if w.step(p[i]) {
			i++
		}
	}
	return w.out
}

// end gives what is left, and the space behind the last word.
func (w *words) end() []byte {
	w.out = w.out[:0]
	w.space()
	return w.out
}

// text reads plain text from i on and returns where it ends. Nearly all of a page
// goes this way.
func (w *words) text(p []byte, i int) int {
	for ; i < len(p); i++ {
		c := p[i]
		switch kind := plain[c]; kind {
		case toSpace:
			w.space()
		case toNothing:
		case toMarkup:
			w.state, w.back, w.entitied = inTagStart, inText, 0
			if c == '&' {
				w.state = inEntity
			}
			return i + 1
		case toRune:
			w.wide(c)
		default:
			w.out = append(w.out, kind)
			w.spaced, w.charred = false, 0
		}
	}
	return i
}

const (
	toSpace   = 0
	toNothing = 1
	toMarkup  = 2
	toRune    = 3
)

// plain is what becomes of a byte of text: itself in lower case, or one of the above.
var plain = func() (t [256]byte) {
	for c := range t {
		switch {
		case c >= 'A' && c <= 'Z':
			t[c] = byte(c) + 'a' - 'A'
		case c >= 'a' && c <= 'z', c >= '0' && c <= '9':
			t[c] = byte(c)
		case c == '\'' || c == 0:
			t[c] = toNothing
		case c == '<' || c == '&':
			t[c] = toMarkup
		case c >= utf8.RuneSelf:
			t[c] = toRune
		}
	}
	return t
}()

func (w *words) space() {
	w.charred = 0
	if !w.spaced {
		w.out = append(w.out, ' ')
		w.spaced = true
	}
}

// wide gathers a character of more than one byte.
func (w *words) wide(c byte) {
	if c >= 0xC0 {
		w.charred = 0 // it begins one
	} else if w.charred == 0 || w.charred == utf8.UTFMax {
		return // it is none
	}
	w.char[w.charred] = c
	w.charred++
	if !utf8.FullRune(w.char[:w.charred]) {
		return
	}
	r, _ := utf8.DecodeRune(w.char[:w.charred])
	w.charred = 0
	w.rune(r)
}

// rune writes a character beyond ASCII.
func (w *words) rune(r rune) {
	switch {
	case r < utf8.RuneSelf:
		if kind := plain[r]; kind > toRune {
			w.out, w.spaced = append(w.out, kind), false
		} else if kind != toNothing {
			w.space()
		}
	case r == 0xAD || r >= 0x200B && r <= 0x200F || r == 0x2060 || r == 0xFEFF || r == 0x2019 || unicode.Is(unicode.Mn, r):
		// soft hyphens, joiners, accents by themselves, apostrophes: within a word
	case r >= 0xFF01 && r <= 0xFF5E: // wide forms of ASCII
		w.rune(r - 0xFEE0)
	case r >= 0xC0 && int(r-0xC0) < len(bare) && bare[r-0xC0] != ' ':
		w.out, w.spaced = append(w.out, bare[r-0xC0]), false
	case unicode.IsLetter(r) || unicode.IsDigit(r):
		w.out, w.spaced = utf8.AppendRune(w.out, unicode.ToLower(r)), false
	default:
		w.space()
	}
}

// bare is the letter under an accent, for U+00C0 to U+017F.
const bare = "aaaaaa ceeeeiiii nooooo ouuuuy  aaaaaa ceeeeiiii nooooo ouuuuy y" +
	"aaaaaaccccccccddddeeeeeeeeeegggggggghhhhiiiiiiiiii  jjkk llllllllllnnnnnn   oooooo  rrrrrrssssssssttttttuuuuuuuuuuuuwwyyyzzzzzzs"

// step takes one byte of markup; false if it is to be looked at again.
func (w *words) step(c byte) bool {
	switch w.state {
	case inTagStart:
		return w.tagStart(c)
	case inTagName:
		return w.tagName(c)
	case inTag:
		return w.tag(c)
	case inAttr:
		return w.attribute(c)
	case beforeValue:
		return w.valueStart(c)
	case inValue:
		return w.value(c)
	case inBang:
		w.state = inSkipped
		if c == '-' {
			w.state = inBangDash
			return true
		}
	case inBangDash:
		w.state, w.dashes = inSkipped, 2
		if c == '-' {
			w.state = inComment
			return true
		}
	case inComment:
		return w.comment(c)
	case inSkipped:
		if c == '>' {
			w.state = inText
		}
		return true
	case inRaw:
		return w.rawText(c)
	case inEntity:
		return w.entityPart(c)
	default:
		w.state = inText
	}
	return false
}

func letter(c byte) bool { return c|0x20 >= 'a' && c|0x20 <= 'z' }

func blank(c byte) bool { return c == ' ' || c == '\n' || c == '\t' || c == '\r' || c == '\f' }

func (w *words) tagStart(c byte) bool {
	w.closing, w.named = false, 0
	switch {
	case c == '!':
		w.state = inBang
	case c == '/':
		w.closing, w.state = true, inTagName
	case c == '?':
		w.state = inSkipped
	case letter(c):
		w.state = inTagName
		return false
	default: // a bare "<"
		w.state = inText
		w.space()
		return false
	}
	return true
}

func (w *words) tagName(c byte) bool {
	if c == '>' || c == '/' || blank(c) {
		w.state = inTag
		return false
	}
	if w.named < len(w.name) {
		w.name[w.named] = c | 0x20 // lower case for letters; no name that matters has others
		w.named++
	}
	return true
}

func (w *words) tag(c byte) bool {
	switch {
	case c == '>':
		w.tagEnd()
	case c == '=':
		w.state = beforeValue
	case blank(c) || c == '/':
	default:
		w.state, w.attred = inAttr, 0
		return false
	}
	return true
}

// tagEnd is the end of a tag: nearly every one parts words.
func (w *words) tagEnd() {
	w.state = inText
	if !joining[string(w.name[:w.named])] {
		w.space()
	}
	if end, ok := unread[string(w.name[:w.named])]; ok && !w.closing {
		w.state, w.raw, w.matched = inRaw, end, 0
	}
}

func (w *words) attribute(c byte) bool {
	if c == '>' || c == '/' || c == '=' || blank(c) {
		w.state = inTag
		return false
	}
	if w.attred < len(w.attr) {
		if c >= 'A' && c <= 'Z' {
			c |= 0x20
		}
		w.attr[w.attred] = c
		w.attred++
	}
	return true
}

func (w *words) valueStart(c byte) bool {
	if blank(c) {
		return true
	}
	w.state, w.quote = inValue, 0
	w.spoken = !w.closing && said[string(w.attr[:w.attred])]
	if w.spoken {
		w.space()
	}
	if c == '"' || c == '\'' {
		w.quote = c
		return true
	}
	return false
}

func (w *words) value(c byte) bool {
	over := w.quote == 0 && (c == '>' || blank(c))
	if over || w.quote != 0 && c == w.quote {
		w.state, w.attred = inTag, 0
		if w.spoken {
			w.space()
		}
		return !over
	}
	if !w.spoken {
		return true
	}
	switch kind := plain[c]; {
	case c == '&':
		w.state, w.back, w.entitied = inEntity, inValue, 0
	case kind == toRune:
		w.wide(c)
	case kind > toRune:
		w.out, w.spaced, w.charred = append(w.out, kind), false, 0
	case kind != toNothing:
		w.space()
	}
	return true
}

func (w *words) comment(c byte) bool {
	switch {
	case c == '-':
		w.dashes++
	case c == '>' && w.dashes >= 2:
		w.state = inText
	case c == '!' && w.dashes >= 2: // "--!>" ends one too
	default:
		w.dashes = 0
	}
	return true
}

func (w *words) rawText(c byte) bool {
	if w.matched == len(w.raw) && (c == '>' || c == '/' || blank(c)) {
		w.state, w.closing = inTag, true
		return false
	}
	if w.matched < len(w.raw) && (c == w.raw[w.matched] || letter(c) && c|0x20 == w.raw[w.matched]) {
		w.matched++
		return true
	}
	w.matched = 0
	if c == '<' {
		w.matched = 1
	}
	return true
}

// entityPart gathers what is between "&" and ";".
func (w *words) entityPart(c byte) bool {
	if (letter(c) || c >= '0' && c <= '9' || c == '#') && w.entitied < len(w.entity) {
		w.entity[w.entitied] = c
		w.entitied++
		return true
	}
	w.state = w.back
	if r := entityOf(string(w.entity[:w.entitied])); r != 0 {
		w.rune(r)
	} else {
		w.space()
	}
	return c == ';'
}

// entities are those that may stand within a word; all others part words.
var entities = map[string]rune{
	"shy": 0xAD, "zwj": 0x200D, "zwnj": 0x200C, "apos": '\'', "rsquo": '\'',
	"eacute": 'e', "egrave": 'e', "ecirc": 'e', "agrave": 'a', "aacute": 'a', "auml": 'a', "ouml": 'o', "uuml": 'u', "ccedil": 'c', "ntilde": 'n',
}

func entityOf(text string) rune {
	if len(text) < 2 || text[0] != '#' {
		return entities[text]
	}
	base, digits := 10, text[1:]
	if digits[0]|0x20 == 'x' {
		base, digits = 16, digits[1:]
	}
	n, err := strconv.ParseUint(digits, base, 32)
	if err != nil || n > unicode.MaxRune {
		return 0
	}
	return rune(n)
}
