package configs

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"gopkg.in/yaml.v3" // archived: this is the one file that knows it

	"schoolgate/policy"
)

// Bounds on a file a person writes. A file beyond them is refused whole.
const (
	maxFile  = 1 << 20
	maxDepth = 16
	// maxProblems are told of one file. Then reading it stops.
	maxProblems = 200
)

// document is one YAML file while it is read. Problems gather in it.
type document struct {
	file     string
	text     []byte
	problems []policy.Problem
	later    []func()        // checks of references, once everything has been read
	known    map[string]bool // every field asked for, by dotted path: the schema
}

func (d *document) problem(at policy.Pos, format string, args ...any) {
	d.add(policy.Problem{Pos: at, Text: fmt.Sprintf(format, args...)})
}

func (d *document) add(p policy.Problem) {
	if !d.full() {
		d.problems = append(d.problems, p)
	}
}

// full reports whether enough has been found wrong.
func (d *document) full() bool { return len(d.problems) == maxProblems }

// clean reports whether no problem has come up since there were so many.
func (d *document) clean(before int) bool { return len(d.problems) == before }

// finish makes the checks that had to wait and gives the problems in the order
// of their places; those of other files (a list's CSV) follow.
func (d *document) finish() []policy.Problem {
	for _, check := range d.later {
		if !d.full() {
			check()
		}
	}
	full := d.full()
	slices.SortStableFunc(d.problems, func(a, b policy.Problem) int {
		if a.Pos.File != b.Pos.File {
			return cmp.Compare(d.rank(a), d.rank(b))
		}
		return cmp.Or(cmp.Compare(a.Pos.Line, b.Pos.Line), cmp.Compare(a.Pos.Column, b.Pos.Column))
	})
	told := slices.Compact(d.problems)
	if full {
		told = append(told, policy.Problem{Pos: policy.Pos{File: d.file, Line: 1}, Text: "and perhaps more: mend these first"})
	}
	return told
}

func (d *document) rank(p policy.Problem) int {
	if p.Pos.File == d.file {
		return 0
	}
	return 1
}

// parse reads the one YAML document of a file. ok is false, and the problems are
// noted, where there is nothing to walk.
func (d *document) parse(text []byte) (root value, ok bool) {
	if !d.plainText(text) {
		return value{}, false
	}
	node, err := decodeNode(text)
	if errors.Is(err, io.EOF) {
		d.problem(policy.Pos{File: d.file, Line: 1}, "the file is empty (start from the shipped sample)")
		return value{}, false
	}
	if second := (secondDocument{}); errors.As(err, &second) {
		d.problem(policy.Pos{File: d.file, Line: second.line}, "%v", err)
		return value{}, false
	}
	if err != nil {
		line, trouble := yamlTrouble(text, err)
		d.problem(policy.Pos{File: d.file, Line: line}, "not YAML from here on: %s (check the indentation, the brackets, and the quotes around values with : or # in them)", trouble)
		return value{}, false
	}
	if !d.plainYAML(node, 0) {
		return value{}, false
	}
	return value{d: d, node: node.Content[0]}, true
}

// decodeNode parses without expanding anything, so aliases cannot blow up. The
// library is archived and has panicked on hostile input before: a panic here is
// an unreadable file and never the end of the filter.
func decodeNode(text []byte) (node *yaml.Node, err error) {
	defer func() {
		if p := recover(); p != nil {
			node, err = nil, fmt.Errorf("the reader gave up: %v", p)
		}
	}()
	dec := yaml.NewDecoder(bytes.NewReader(text))
	node = new(yaml.Node)
	if err := dec.Decode(node); err != nil {
		return nil, err
	}
	if len(node.Content) == 0 {
		return nil, io.EOF
	}
	second := new(yaml.Node)
	switch err := dec.Decode(second); {
	case errors.Is(err, io.EOF):
		return node, nil
	case err != nil:
		return nil, err
	}
	return nil, secondDocument{second.Line}
}

// secondDocument is a file that holds two.
type secondDocument struct{ line int }

func (secondDocument) Error() string {
	return "a second document begins (one file holds one: remove the line ---)"
}

var yamlLine = regexp.MustCompile(`^line \d+: `)

// maxSearch bounds the search for the line of a mistake, in bytes parsed; in a
// file too large for it the beginning is named.
const maxSearch = 16 << 20

// yamlTrouble says where and what a mistake in the YAML is. The library names the
// beginning of the block that went wrong, which may be the whole file, so the
// place is searched for: after the longest beginning of the file that is YAML.
func yamlTrouble(text []byte, err error) (line int, trouble string) {
	trouble = clip(yamlLine.ReplaceAllString(strings.TrimPrefix(err.Error(), "yaml: "), ""))
	line = 1
	if lines := bytes.Count(text, []byte("\n")); lines*len(text)/2 > maxSearch {
		return line, trouble
	}
	for n, end := 2, 0; ; n++ {
		i := bytes.IndexByte(text[end:], '\n')
		if i < 0 {
			return line, trouble
		}
		end += i + 1
		if _, err := decodeNode(text[:end]); err == nil || errors.Is(err, io.EOF) {
			line = n
		}
	}
}

// plainText refuses what no editor wrote as UTF-8 text, naming the first place.
func (d *document) plainText(text []byte) bool {
	at := func(offset int) policy.Pos {
		before := text[:offset]
		return policy.Pos{
			File: d.file, Line: 1 + bytes.Count(before, []byte("\n")),
			Column: 1 + utf8.RuneCount(before[bytes.LastIndexByte(before, '\n')+1:]),
		}
	}
	if bytes.HasPrefix(text, []byte("\xff\xfe")) || bytes.HasPrefix(text, []byte("\xfe\xff")) {
		d.problem(at(0), "the file is UTF-16 (save it as UTF-8)")
		return false
	}
	indent := true
	for i := 0; i < len(text); {
		r, size := utf8.DecodeRune(text[i:])
		switch {
		case r == utf8.RuneError && size == 1:
			d.problem(at(i), "not UTF-8 text: byte 0x%02x (save the file as UTF-8)", text[i])
			return false
		case r == '\t' && indent:
			d.problem(at(i), "a tab in the indentation (YAML wants spaces)")
			return false
		case r < ' ' && r != '\n' && r != '\r' && r != '\t', r == 0x7f:
			d.problem(at(i), "not text: control character 0x%02x", r)
			return false
		}
		indent = r == '\n' || (indent && r == ' ')
		i += size
	}
	return true
}

// plainYAML refuses the parts of YAML that a person cannot see through.
func (d *document) plainYAML(n *yaml.Node, depth int) bool {
	at := policy.Pos{File: d.file, Line: n.Line, Column: n.Column}
	switch {
	case depth > maxDepth:
		d.problem(at, "nested more than %d deep", maxDepth)
		return false
	case n.Kind == yaml.AliasNode:
		d.problem(at, "alias *%s (write the values out: aliases hide what a rule says)", clip(n.Value))
		return false
	case n.Anchor != "":
		d.problem(at, "anchor &%s (write the values out: anchors hide what a rule says)", clip(n.Anchor))
		return false
	case n.Style&yaml.TaggedStyle != 0:
		d.problem(at, "tag %s (leave it out: every field knows its kind)", clip(n.Tag))
		return false
	}
	ok := true
	for _, c := range n.Content {
		ok = d.plainYAML(c, depth+1) && ok
	}
	return ok
}

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
