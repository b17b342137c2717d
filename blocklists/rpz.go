package blocklists

import (
	"net/netip"
	"strings"
)

// zone is the state of reading a response policy zone.
type zone struct {
	*scan
	origin string // with leading dot, "" while unknown
	owner  string // of the last record, for lines that leave it out
	depth  int    // of open parentheses
}

// parse reads a line of a zone file. Trigger and action are those of a blocked name:
// "name CNAME ." and its kin. A bare owner is that name only, *.owner what lies
// below it, taken as the name too.
func (z *zone) parse(line string) error {
	text := cutComment(line)
	if z.depth > 0 || strings.ContainsAny(text, "()") {
		inside := z.depth > 0
		z.depth += strings.Count(text, "(") - strings.Count(text, ")")
		if z.depth < 0 {
			z.depth = 0
			return z.refused(NotZoneLine, line)
		}
		if inside || strings.Contains(strings.ToUpper(text), "SOA") {
			return nil
		}
		return z.refused(OtherRecord, line)
	}
	if strings.TrimSpace(text) == "" {
		return nil
	}
	if text[0] == '$' {
		return z.directive(text)
	}
	return z.record(text)
}

func cutComment(line string) string {
	if i := strings.IndexByte(line, ';'); i >= 0 {
		line = line[:i]
	}
	return strings.TrimRight(line, " \t")
}

func (z *zone) directive(text string) error {
	word, rest := field(text)
	switch strings.ToUpper(word) {
	case "$TTL":
	case "$ORIGIN":
		name, _ := field(rest)
		z.origin = "." + strings.Trim(strings.ToLower(name), ".")
	default:
		return z.refused(Directive, text)
	}
	return nil
}

// record reads owner [ttl] [class] type data.
func (z *zone) record(text string) error {
	if text[0] != ' ' && text[0] != '\t' {
		z.owner, text = field(text)
	}
	kind, data := "", strings.TrimLeft(text, " \t")
	for data != "" {
		kind, data = field(data)
		kind = strings.ToUpper(kind)
		if kind != "IN" && !isTTL(kind) {
			break
		}
		kind = ""
	}
	switch kind {
	case "":
		return z.refused(NotZoneLine, z.owner)
	case "SOA", "NS":
		return nil
	case "CNAME", "A", "AAAA":
	default:
		return z.refused(OtherRecord, z.owner+" "+kind)
	}
	if z.owner == "" || z.owner == "@" {
		return z.refused(OtherRecord, "@ "+kind)
	}
	return z.rule(strings.ToLower(z.owner), kind, data)
}

func isTTL(word string) bool {
	for i := 0; i < len(word); i++ {
		if (word[i] < '0' || word[i] > '9') && !strings.ContainsRune("SMHDW", rune(word[i])) {
			return false
		}
	}
	return word != "" && word[0] >= '0' && word[0] <= '9'
}

func (z *zone) rule(owner, kind, data string) error {
	if kind == "CNAME" && strings.HasPrefix(data, "rpz-passthru") {
		return z.refused(Exception, owner)
	}
	if !deniesAll(kind, data) {
		return z.refused(Forwards, owner+" "+kind)
	}
	name := strings.TrimSuffix(strings.TrimSuffix(owner, "."), z.origin)
	for _, trigger := range []string{".rpz-ip", ".rpz-client-ip", ".rpz-nsip", ".rpz-nsdname"} {
		if strings.HasSuffix(name, trigger) {
			return z.refused(OtherRecord, owner)
		}
	}
	rest, wild := strings.CutPrefix(name, "*.")
	switch {
	case name == "*":
		return z.refused(Everything, owner)
	case strings.IndexByte(rest, '*') >= 0:
		return z.refused(PartOfName, owner)
	}
	return z.name(rest, !wild)
}

// deniesAll reports whether the record's action is to refuse: no such name, no
// data, drop, or an address that leads nowhere.
func deniesAll(kind, data string) bool {
	data, _ = field(data)
	if kind == "CNAME" {
		return data == "." || data == "*." || data == "rpz-drop."
	}
	a, err := netip.ParseAddr(data)
	return err == nil && sinkAddress(a.String())
}
