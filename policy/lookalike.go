package policy

import (
	"strings"

	"golang.org/x/net/idna"
)

// LooksLike is the plain name that h imitates with letters of other scripts among
// Latin ones, such as a Cyrillic o (Y17); false for a name that imitates none. A name
// all in its own script, or with accents, is a name and no imitation.
func (h Host) LooksLike() (Host, bool) {
	if !strings.Contains(h.name, "xn--") {
		return Host{}, false
	}
	written, err := idna.Punycode.ToUnicode(h.name)
	if err != nil {
		return Host{}, false
	}
	labels, imitates := strings.Split(written, "."), false
	for i, label := range labels {
		plain, changed, ok := plainLabel(label)
		if !ok {
			return Host{}, false
		}
		labels[i], imitates = plain, imitates || changed
	}
	if !imitates {
		return Host{}, false
	}
	like, err := ParseHost(strings.Join(labels, "."))
	return like, err == nil && !like.addr.IsValid()
}

// plainLabel writes a label with the Latin letters that its own look like; not ok if
// one looks like none, or if there is no Latin letter beside them.
func plainLabel(label string) (plain string, changed, ok bool) {
	var b strings.Builder
	latin := false
	for _, r := range label {
		if r < 0x80 {
			latin = latin || 'a' <= r && r <= 'z'
			b.WriteRune(r)
			continue
		}
		c, known := alike[r]
		if !known {
			return "", false, false
		}
		b.WriteByte(c)
		changed = true
	}
	return b.String(), changed, latin || !changed
}

// alike are letters that are drawn like a Latin one: Cyrillic, Greek, Armenian, and
// Latin ones that are not of ASCII (Unicode Technical Standard 39, confusables).
var alike = map[rune]byte{
	'а': 'a', 'е': 'e', 'о': 'o', 'р': 'p', 'с': 'c', 'у': 'y', 'х': 'x', 'і': 'i', 'ј': 'j', 'ѕ': 's', 'һ': 'h', 'ԁ': 'd', 'ԛ': 'q', 'ԝ': 'w', 'ӏ': 'l', 'ѵ': 'v', 'ү': 'y', 'к': 'k',
	'α': 'a', 'ο': 'o', 'ν': 'v', 'ρ': 'p', 'ι': 'i', 'κ': 'k', 'υ': 'u', 'γ': 'y', 'σ': 'o', 'ϲ': 'c', 'ϳ': 'j',
	'օ': 'o', 'ս': 'u', 'հ': 'h', 'ց': 'g', 'զ': 'q', 'ո': 'n', 'յ': 'j',
	'ı': 'i', 'ɑ': 'a', 'ɡ': 'g', 'ɩ': 'i', 'ʋ': 'v', 'ʏ': 'y', 'ᴄ': 'c', 'ᴏ': 'o', 'ᴜ': 'u', 'ᴠ': 'v', 'ᴡ': 'w', 'ᴢ': 'z',
}
