package firewall

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// writer puts an nftables file together.
type writer struct {
	b      strings.Builder
	indent int
}

func (w *writer) line(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	if text != "" {
		w.b.WriteString(strings.Repeat("\t", w.indent))
	}
	w.b.WriteString(text + "\n")
}

// block writes a head, what body writes, and the closing brace.
func (w *writer) block(head string, body func()) {
	w.line("%s {", head)
	w.indent++
	body()
	w.indent--
	w.line("}")
}

// rule writes one rule with the row it stands for, for people and for listings.
func (w *writer) rule(id, format string, args ...any) {
	w.line("%s comment \"%s\"", fmt.Sprintf(format, args...), plain(id))
}

// maxComment is what nft takes for a comment, in bytes.
const maxComment = 120

// plain keeps of a text what nft can quote, which has no escapes.
func plain(s string) string {
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' || r == '"' || r == '\\' {
			return '_'
		}
		return r
	}, s)
	return s[:min(len(s), maxComment)]
}

// set writes a set of elements in order; an empty one is written, too, so that
// rules may name it.
func (w *writer) set(name, kind string, elements []string) {
	w.block("set "+name, func() {
		w.line("type %s", kind)
		if strings.Contains(kind, "addr") {
			w.line("flags interval")
		}
		if len(elements) > 0 {
			w.line("elements = {")
			for chunk := range slices.Chunk(elements, perLine) {
				w.line("\t%s,", strings.Join(chunk, ", "))
			}
			w.line("}")
		}
	})
}

// perLine is how many elements of a set stand in a line.
const perLine = 6

// family is IP version 4 or 6, in nftables' words.
type family struct {
	version  string // 4 or 6
	is4      bool
	ip       string // the header's name
	addrType string
}

var families = []family{
	{"4", true, "ip", "ipv4_addr"},
	{"6", false, "ip6", "ipv6_addr"},
}

// of keeps the ranges of the family.
func (f family) of(ranges []netip.Prefix) (out []netip.Prefix) {
	for _, p := range ranges {
		if p.Addr().Is4() == f.is4 {
			out = append(out, p)
		}
	}
	return out
}

// merged drops what a wider range of the list covers, and sorts: an interval set
// takes no element twice.
func merged(ranges []netip.Prefix) []netip.Prefix {
	sorted := slices.Clone(ranges)
	slices.SortFunc(sorted, func(a, b netip.Prefix) int {
		if c := a.Addr().Compare(b.Addr()); c != 0 {
			return c
		}
		return a.Bits() - b.Bits()
	})
	out := sorted[:0]
	for _, p := range sorted {
		if len(out) == 0 || !out[len(out)-1].Contains(p.Addr()) {
			out = append(out, p)
		}
	}
	return out
}

// text is a range as nft writes it: one address without its mask.
func text(p netip.Prefix) string {
	if p.IsSingleIP() {
		return p.Addr().String()
	}
	return p.String()
}

func texts(ranges []netip.Prefix) []string {
	out := make([]string, len(ranges))
	for i, p := range ranges {
		out[i] = text(p)
	}
	return out
}

// among is an anonymous set, or the bare value if there is one.
func among(values []string) string {
	if len(values) == 1 {
		return values[0]
	}
	return "{ " + strings.Join(values, ", ") + " }"
}

func numbers(ports []uint16) []string {
	ports = slices.Clone(ports)
	slices.Sort(ports)
	var out []string
	for _, p := range slices.Compact(ports) {
		out = append(out, strconv.Itoa(int(p)))
	}
	return out
}

func quoted(names []string) []string {
	out := make([]string, len(names))
	for i, n := range names {
		out[i] = strconv.Quote(n)
	}
	return out
}
