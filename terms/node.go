package terms

import (
	"slices"
	"strings"

	"gopkg.in/yaml.v3"

	"schoolgate/policy"
)

// node is one YAML value of a pack.
type node struct {
	l    *loader
	file string
	*yaml.Node
}

func (n node) pos() policy.Pos { return policy.Pos{File: n.file, Line: n.Line, Column: n.Column} }

func (n node) problem(format string, args ...any) { n.l.problem(n.pos(), format, args...) }

// plain refuses the parts of YAML that a person cannot see through.
func (n node) plain(depth int) bool {
	switch {
	case depth > maxDepth:
		n.problem("nested more than %d deep", maxDepth)
	case n.Kind == yaml.AliasNode:
		n.problem("alias *%s (write the phrases out)", shown(n.Value))
	case n.Anchor != "":
		n.problem("anchor &%s (write the phrases out)", shown(n.Anchor))
	case n.Style&yaml.TaggedStyle != 0:
		n.problem("tag %s (leave it out)", shown(n.Tag))
	default:
		for _, c := range n.Content {
			if !(node{n.l, n.file, c}).plain(depth + 1) {
				return false
			}
		}
		return true
	}
	return false
}

// text is a single value as it was written.
func (n node) text(what string) (said, bool) {
	if n.Kind != yaml.ScalarNode || n.ShortTag() == "!!null" || n.Value == "" {
		n.problem("%s: want a text", what)
		return said{}, false
	}
	return said{n.Value, n.pos()}, true
}

// pairs calls each with every key and value, in order.
func (n node) pairs(what string, each func(key said, val node)) {
	if n.Kind != yaml.MappingNode {
		n.problem("%s: want fields (name: value)", what)
		return
	}
	seen := map[string]bool{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, ok := node{n.l, n.file, n.Content[i]}.text(what)
		if !ok {
			continue
		}
		if seen[key.text] {
			n.l.problem(key.at, "%s: %q is given twice", what, shown(key.text))
			continue
		}
		seen[key.text] = true
		each(key, node{n.l, n.file, n.Content[i+1]})
	}
}

// fields is the fields of a mapping by name; another name is a problem.
func (n node) fields(what string, known ...string) map[string]node {
	fields := map[string]node{}
	n.pairs(what, func(key said, val node) {
		if !slices.Contains(known, key.text) {
			n.l.problem(key.at, "%s: unknown field %q (one of %s)", what, shown(key.text), strings.Join(known, ", "))
			return
		}
		fields[key.text] = val
	})
	return fields
}

// each calls read with every item of a list.
func (n node) each(what string, read func(node)) {
	if n.Kind != yaml.SequenceNode || len(n.Content) == 0 {
		n.problem("%s: want a list that is not empty", what)
		return
	}
	for _, c := range n.Content {
		read(node{n.l, n.file, c})
	}
}

// phrases is a list of texts.
func (n node) phrases(what string) []said {
	var list []said
	n.each(what, func(item node) {
		if s, ok := item.text(what); ok {
			list = append(list, s)
		}
	})
	return list
}
