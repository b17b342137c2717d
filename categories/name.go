package categories

import (
	"slices"
	"strings"

	"golang.org/x/net/publicsuffix"

	"schoolgate/policy"
)

// A key is a host with its labels in reverse, com\x00example\x00www, so that the
// order of bytes is the order of the tree: a parent stands right before what is
// below it. An address is one label after addressMark. A path follows its host
// after pathMark, in a bucket of its own.
const (
	labelEnd    = '\x00'
	addressMark = '\x01'
	pathMark    = "\x00\x00"
)

// maxKey bounds a host's key: policy.MaxHost and room for a folded suffix.
const maxKey = policy.MaxHost + 16

// MaxPath is the longest path of an entry; longer ones are refused.
const MaxPath = 2048

// appendKey appends the key of a host to dst. Mirrors are folded.
func appendKey(dst []byte, h policy.Host) []byte {
	name := h.String()
	if _, ok := h.Addr(); ok {
		return append(append(dst, addressMark), name...)
	}
	if rest, ok := cutMirror(name); ok {
		dst = append(dst, "com\x00blogspot"...)
		if rest == "" {
			return dst
		}
		dst, name = append(dst, labelEnd), rest
	}
	return appendReversed(dst, name)
}

// appendSuffixKey appends the key of the suffix of a host that begins at start:
// in reverse, what comes before a suffix stands behind it.
func appendSuffixKey(dst []byte, h policy.Host, start int) []byte {
	dst = appendKey(dst, h)
	return dst[:len(dst)-start]
}

func appendReversed(dst []byte, name string) []byte {
	for end := len(name); ; {
		start := strings.LastIndexByte(name[:end], '.') + 1
		dst = append(dst, name[start:end]...)
		if start == 0 {
			return dst
		}
		dst = append(dst, labelEnd)
		end = start - 1
	}
}

// hostOfKey is the host's name that a key stands for.
func hostOfKey(key []byte) string {
	if len(key) > 0 && key[0] == addressMark {
		return string(key[1:])
	}
	labels := strings.Split(string(key), string(rune(labelEnd)))
	for i, j := 0, len(labels)-1; i < j; i, j = i+1, j-1 {
		labels[i], labels[j] = labels[j], labels[i]
	}
	return strings.Join(labels, ".")
}

// mirror is the one service whose sites answer under some seventy country
// names alike: x.blogspot.de is x.blogspot.com. Lists hold each of them, 3.6
// million names for 64 thousand sites, and miss the others.
const mirror = "blogspot"

// cutMirror reports whether a name lies at or below blogspot.<country> and
// gives the part below. It is false for blogspot.com, which needs no folding.
func cutMirror(name string) (rest string, ok bool) {
	end := len(name)
	for label := range 3 {
		start := strings.LastIndexByte(name[:end], '.') + 1
		if name[start:end] == mirror {
			if !country(name[end:], label) {
				return "", false
			}
			return strings.TrimSuffix(name[:start], "."), true
		}
		if start == 0 {
			return "", false
		}
		end = start - 1
	}
	return "", false
}

// country reports whether tail, which follows the label "blogspot", is .cc,
// .co.cc or .com.cc; labels is how many labels it has.
func country(tail string, labels int) bool {
	switch labels {
	case 1:
		return len(tail) == len(".cc")
	case 2:
		return len(tail) == len(".co.cc") && tail[:4] == ".co." ||
			len(tail) == len(".com.cc") && tail[:5] == ".com."
	}
	return false
}

// restricted are suffixes whose names nobody can buy: a public list that holds
// one means a hacked page, or is mistaken (README of the lists, 5).
var restricted = []string{".sch.uk", ".ac.uk", ".gov.uk", ".nhs.uk", ".police.uk", ".mod.uk", ".parliament.uk"}

func isRestricted(name string) bool {
	if !strings.HasSuffix(name, "k") {
		return false
	}
	for _, suffix := range restricted {
		if strings.HasSuffix(name, suffix) || name == suffix[1:] {
			return true
		}
	}
	return false
}

// isRestrictedSuffix reports whether the name is such a suffix itself, which a
// curated source may give the category that all names under it have.
func isRestrictedSuffix(name string) bool {
	return slices.Contains(restricted, "."+name)
}

// wholeTops are the only top-level domains that an entry may name, and only as
// pornography: their registries sell them for that and nothing else.
var wholeTops = []string{"xxx", "porn", "sex", "adult"}

func isWholeTop(label string) bool {
	return len(label) <= 5 && len(label) >= 3 && slices.Contains(wholeTops, label)
}

// canonical is the host an entry stands for: www.x.example is x.example, unless
// that is a public suffix. Exact entries mean the very name and stay.
func canonical(h policy.Host, exact bool) policy.Host {
	bare, ok := strings.CutPrefix(h.String(), "www.")
	if !ok || exact {
		return h
	}
	if suffix, _ := publicsuffix.PublicSuffix(bare); suffix == bare {
		return h
	}
	if rest, mirrored := cutMirror(bare); mirrored && rest == "" {
		return h // a suffix once it is folded
	}
	if parsed, err := policy.ParseHost(bare); err == nil {
		return parsed
	}
	return h
}

// suffixTrouble says why no entry may name this host; "" if one may. A shared
// suffix, e.g. github.io as web_hosting, curated sources may name deliberately.
func suffixTrouble(name string, c policy.Category) string {
	suffix, icann := publicsuffix.PublicSuffix(name)
	switch {
	case suffix != name:
		return ""
	case c == policy.Pornography && isWholeTop(name):
		return ""
	case !strings.Contains(name, "."):
		return ReasonTLD
	case isRestrictedSuffix(name):
		return ReasonRestricted
	case icann:
		return ReasonPublicSuffix
	}
	return ReasonSharedSuffix
}

// cleanPath is the form in which paths of entries are kept: whole segments, no
// slash at the end, "" for the whole host.
func cleanPath(path string) string {
	path, _, _ = strings.Cut(path, "#")
	return strings.TrimRight(path, "/")
}

// boundary reports whether an entry's path that ends at i covers path: it does
// at its end and at the end of a segment, or of a parameter in a query.
func boundary(path string, i int, inQuery bool) bool {
	return i == len(path) || path[i] == '/' || path[i] == '?' || inQuery && path[i] == '&'
}

// splitKey is the host and the path that a key stands for.
func splitKey(key []byte) (host, path string) {
	h, p, _ := strings.Cut(string(key), pathMark)
	return hostOfKey([]byte(h)), p
}
