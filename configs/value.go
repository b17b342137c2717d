package configs

import (
	"fmt"
	"strconv"
	"strings"

	"gopkg.in/yaml.v3"

	"schoolgate/policy"
)

// value is one YAML value with the name it goes by in a message.
type value struct {
	d    *document
	node *yaml.Node
	name string // e.g. dns.listen, or profile "ks2"
	path string // e.g. dns.listen, or profiles.*.block
}

func (v value) pos() policy.Pos {
	return policy.Pos{File: v.d.file, Line: v.node.Line, Column: v.node.Column}
}

// as is the value under another name: what messages about it begin with.
func (v value) as(format string, args ...any) value {
	v.name = fmt.Sprintf(format, args...)
	return v
}

func (v value) problem(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	if v.name != "" {
		text = v.name + ": " + text
	}
	v.d.problem(v.pos(), "%s", text)
}

// later runs a check of this value once the whole file has been read.
func (v value) later(check func()) { v.d.later = append(v.d.later, check) }

// kind is what the value is, in plain words.
func (v value) kind() string {
	switch {
	case v.node.Kind == yaml.MappingNode:
		return "fields"
	case v.node.Kind == yaml.SequenceNode:
		return "a list"
	case v.empty():
		return "nothing"
	}
	return strconv.Quote(clip(v.node.Value))
}

func (v value) empty() bool { return v.node.Kind == yaml.ScalarNode && v.node.ShortTag() == "!!null" }

func (v value) isText() bool { return v.node.Kind == yaml.ScalarNode && !v.empty() }

func (v value) isFields() bool { return v.node.Kind == yaml.MappingNode }

func (v value) isList() bool { return v.node.Kind == yaml.SequenceNode }

// text is the value as it was written.
func (v value) text() (string, bool) {
	if !v.isText() {
		v.problem("want one value, got %s", v.kind())
		return "", false
	}
	return v.node.Value, true
}

// pairs calls each with every key and value of a mapping, in order. A key given
// twice is a problem and its second value is passed over.
func (v value) pairs(each func(key, val value)) {
	if !v.isFields() {
		if !v.empty() { // "groups:" with nothing under it is an empty one
			v.problem("want fields (name: value), got %s", v.kind())
		}
		return
	}
	seen := map[string]int{}
	for i := 0; i+1 < len(v.node.Content) && !v.d.full(); i += 2 {
		key, val := v, v
		key.node, val.node = v.node.Content[i], v.node.Content[i+1]
		name, ok := key.text()
		if !ok {
			continue
		}
		if line, twice := seen[name]; twice {
			key.problem("%q is given twice (first in line %d)", clip(name), line)
			continue
		}
		seen[name] = key.node.Line
		each(key, val)
	}
}

// fields hands every field of a mapping to its reader. A field without a reader
// is a problem.
func (v value) fields(readers map[string]func(value)) {
	for name := range readers {
		v.d.known[join(v.path, name)] = true
	}
	v.pairs(func(key, val value) {
		name := key.node.Value
		read, ok := readers[name]
		if !ok {
			known := make([]string, 0, len(readers))
			for k := range readers {
				known = append(known, k)
			}
			key.problem("%v", unknown("field", clip(name), known))
			return
		}
		val.path = join(v.path, name)
		if strings.ContainsAny(v.name, `" `) {
			val.name = v.name + ": " + name
		} else {
			val.name = join(v.name, name)
		}
		read(val)
	})
}

// named hands every entry of a mapping whose keys the school chose to read, and
// gives the entry a name such as profile "ks2".
func (v value) named(what string, read func(name string, entry value)) {
	v.pairs(func(key, val value) {
		name, err := ident(key.node.Value)
		if err != nil {
			key.problem("%s: %v", what, err)
			return
		}
		val.path = join(v.path, "*")
		val.name = fmt.Sprintf("%s %q", what, name)
		if val.empty() {
			key.as("%s", val.name).problem("has no fields")
			return
		}
		val.node = placed(val.node, key.node)
		read(name, val)
	})
}

// placed is a value that is found where its key is: that is the line a person
// looks for.
func placed(n, key *yaml.Node) *yaml.Node {
	at := *n
	at.Line, at.Column = key.Line, key.Column
	return &at
}

// each calls read with every item of a list.
func (v value) each(read func(value)) {
	if !v.isList() {
		if !v.empty() {
			v.problem("want a list, such as [a, b], got %s", v.kind())
		}
		return
	}
	for _, n := range v.node.Content {
		if v.d.full() {
			return
		}
		item := v
		item.node = n
		read(item)
	}
}

// has reports whether a mapping has a field, read well or not.
func (v value) has(name string) bool {
	_, ok := v.child(name)
	return ok
}

// child is the value under a key of a mapping. It is for what must be known before the
// rest is read.
func (v value) child(name string) (value, bool) {
	if !v.isFields() {
		return value{}, false
	}
	for i := 0; i+1 < len(v.node.Content); i += 2 {
		if v.node.Content[i].Value == name {
			c := v
			c.node, c.name = v.node.Content[i+1], name
			return c, true
		}
	}
	return value{}, false
}

// one reads a single value into dst.
func one[T any](dst *T, parse func(string) (T, error)) func(value) {
	return func(v value) {
		if got, ok := read(v, parse); ok {
			*dst = got
		}
	}
}

// many reads a list into dst; what was there before is replaced.
func many[T any](dst *[]T, parse func(string) (T, error)) func(value) {
	return func(v value) {
		*dst = nil
		v.each(func(item value) {
			if got, ok := read(item, parse); ok {
				*dst = append(*dst, got)
			}
		})
	}
}

func read[T any](v value, parse func(string) (T, error)) (got T, ok bool) {
	text, ok := v.text()
	if !ok {
		return got, false
	}
	got, err := parse(text)
	if err != nil {
		v.problem("%v", err)
		return got, false
	}
	return got, true
}

func join(path, name string) string {
	if path == "" {
		return name
	}
	return path + "." + name
}

// clip bounds what of a hostile file is quoted back.
func clip(s string) string {
	if len(s) <= 80 {
		return s
	}
	return strings.ToValidUTF8(s[:80], "") + "…"
}
