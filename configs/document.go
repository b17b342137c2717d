package configs

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"gopkg.in/yaml.v3" // archived: known to this file and value.go alone

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
