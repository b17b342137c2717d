package blocklists

import "strings"

// wholeHost are the Adblock options under which a rule still speaks of every
// request to the host that a filter at the gate would see.
var wholeHost = map[string]bool{
	"important": true, "all": true, "document": true, "doc": true, "third-party": true, "3p": true,
	"popup": true, "dnsrewrite": true, "match-case": true,
}

// adblockLine reads one Adblock rule. Rules for whole hosts, ||name^, are taken;
// rules for parts of pages are not this product's work.
func (s *scan) adblockLine(line string) error {
	switch {
	case line[0] == '!' || line[0] == '[' || line == "#" || strings.HasPrefix(line, "# "):
		return nil
	case strings.HasPrefix(line, "@@"):
		return s.refused(Exception, line)
	case cosmetic(line):
		return s.refused(Cosmetic, line)
	case len(line) > 1 && line[0] == '/' && strings.LastIndexByte(line, '/') > 0:
		return s.refused(Expression, line)
	}
	rule, options, _ := strings.Cut(line, "$")
	for option := range strings.SplitSeq(options, ",") {
		option, _, _ = strings.Cut(option, "=")
		if option != "" && !wholeHost[option] {
			return s.refused(SomeRequest, line)
		}
	}
	name, anchored := strings.CutPrefix(rule, "||")
	if !anchored {
		return s.unanchored(rule, line)
	}
	name = strings.TrimSuffix(strings.TrimSuffix(name, "|"), "^")
	switch {
	case name == "" || name == "*":
		return s.refused(Everything, line)
	case strings.ContainsAny(strings.TrimPrefix(name, "*."), "*^|"):
		return s.refused(PartOfName, line)
	case strings.IndexByte(name, '/') > 0:
		return s.url(name, s.category)
	}
	return s.name(name, false)
}

// unanchored takes a bare name, which DNS filters read as the whole host, and
// nothing else that could match in the middle of an address.
func (s *scan) unanchored(rule, line string) error {
	if rule == "" {
		return s.refused(Everything, line)
	}
	if strings.IndexByte(rule, '.') < 0 || strings.ContainsAny(rule, "/*^|:?=&") || rule[0] == '.' || rule[0] == '-' {
		return s.refused(PartOfName, line)
	}
	return s.name(rule, false)
}

// cosmetic reports whether the rule hides elements or runs in pages.
func cosmetic(line string) bool {
	for _, mark := range []string{"##", "#@#", "#?#", "#$#", "#%#", "$$", "#@?#"} {
		if strings.Contains(line, mark) {
			return true
		}
	}
	return false
}
