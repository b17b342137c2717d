package terms

import (
	"bytes"
	"cmp"
	"embed"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"unicode/utf8"

	"gopkg.in/yaml.v3"

	"schoolgate/policy"
)

//go:embed packs/*.yaml
var shipped embed.FS

// Bounds on packs. A file or phrase beyond them is a problem.
const (
	maxPack     = 1 << 20 // bytes of a file
	maxPacks    = 200
	maxDepth    = 12
	maxProblems = 200
)

// Shipped is the packs in the binary. They are compiled once: a set never changes.
func Shipped() (*Set, []policy.Problem) { return compileShipped() }

var compileShipped = sync.OnceValues(func() (*Set, []policy.Problem) {
	packs, err := fs.Sub(shipped, "packs")
	if err != nil {
		return nil, []policy.Problem{{Text: err.Error()}}
	}
	return Load(packs)
})

// Load reads every *.yaml of a folder and compiles them together. With any problem
// there is no set: half a watch list is worse than the last good one.
func Load(packs fs.FS) (*Set, []policy.Problem) {
	l := newLoader()
	l.folder(packs)
	return l.finish()
}

// LoadWith compiles the packs in the binary together with a school's own, which are
// texts by file name.
func LoadWith(own map[string]string) (*Set, []policy.Problem) {
	if len(own) == 0 {
		return Shipped()
	}
	packs, err := fs.Sub(shipped, "packs")
	if err != nil {
		return nil, []policy.Problem{{Text: err.Error()}}
	}
	l := newLoader()
	l.folder(packs)
	l.own(own)
	return l.finish()
}

// own reads a school's packs.
func (l *loader) own(packs map[string]string) {
	for _, name := range slices.Sorted(maps.Keys(packs)) {
		if text := packs[name]; len(text) > maxPack {
			l.problem(policy.Pos{File: name, Line: 1}, "the file is larger than 1 MiB (split it)")
		} else {
			l.read(name, []byte(text))
		}
	}
}

// folder reads every pack of a folder.
func (l *loader) folder(packs fs.FS) {
	names, err := fs.Glob(packs, "*.yaml")
	switch {
	case err != nil:
		l.problem(policy.Pos{}, "packs: %v", err)
	case len(names) == 0:
		l.problem(policy.Pos{}, "packs: there is no *.yaml file")
	case len(names) > maxPacks:
		l.problem(policy.Pos{}, "packs: %d files, at most %d are read", len(names), maxPacks)
		names = nil
	}
	for _, name := range names {
		if text, err := readPack(packs, name); err != nil {
			l.problem(policy.Pos{File: name, Line: 1}, "%v", err)
		} else {
			l.read(name, text)
		}
	}
}

// finish compiles what was read; with any problem there is no set.
func (l *loader) finish() (*Set, []policy.Problem) {
	set := l.compile()
	if len(l.problems) > 0 {
		slices.SortStableFunc(l.problems, func(a, b policy.Problem) int {
			return cmp.Or(cmp.Compare(a.Pos.File, b.Pos.File), cmp.Compare(a.Pos.Line, b.Pos.Line), cmp.Compare(a.Pos.Column, b.Pos.Column))
		})
		return nil, l.problems
	}
	return set, nil
}

func readPack(packs fs.FS, name string) ([]byte, error) {
	f, err := packs.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxPack+1))
	if err == nil && len(text) > maxPack {
		err = fmt.Errorf("the file is larger than 1 MiB (split it)")
	}
	return text, err
}

// loader gathers what the packs say, and everything that is wrong with them.
type loader struct {
	problems []policy.Problem
	same     []spelling // canonical word, other spelling
	near     []said
	real     []said
	silent   []said
	contexts []*contextSource
	nevers   []neverSource
	rules    []*ruleSource
}

// said is a text in a pack.
type said struct {
	text string
	at   policy.Pos
}

type spelling struct{ word, also said }

type contextSource struct {
	name    said
	phrases []said
}

type neverSource struct {
	theme    Theme
	severity uint8
	phrase   said
}

type ruleSource struct {
	theme     Theme
	language  string
	severity  uint8
	bands     Bands
	say       []said
	with, and []said
	unless    []said
	over      ThemeSet
}

func newLoader() *loader { return &loader{} }

func (l *loader) problem(at policy.Pos, format string, args ...any) {
	if len(l.problems) < maxProblems {
		l.problems = append(l.problems, policy.Problem{Pos: at, Text: fmt.Sprintf(format, args...)})
	}
}

// read takes one file in.
func (l *loader) read(name string, text []byte) {
	at := policy.Pos{File: name, Line: 1}
	if !utf8.Valid(text) {
		l.problem(at, "not UTF-8 text (save the file as UTF-8)")
		return
	}
	root, err := decode(text)
	if err != nil {
		if m := yamlLine.FindStringSubmatch(err.Error()); m != nil {
			at.Line, _ = strconv.Atoi(m[1]) // digits by the expression
		}
		l.problem(at, "not a pack: %s (check the indentation, and the quotes around phrases with : or # in them)",
			shown(yamlLine.ReplaceAllString(strings.TrimPrefix(err.Error(), "yaml: "), "")))
		return
	}
	n := node{l, name, root}
	if n.plain(0) {
		l.readPack(n)
	}
}

var yamlLine = regexp.MustCompile(`line (\d{1,9}): `)

// decode parses one document. The library is archived and has panicked on hostile
// input before; that must not be the end of the filter.
func decode(text []byte) (root *yaml.Node, err error) {
	defer func() {
		if p := recover(); p != nil {
			root, err = nil, fmt.Errorf("the reader gave up: %v", p)
		}
	}()
	dec := yaml.NewDecoder(bytes.NewReader(text))
	doc := new(yaml.Node)
	if err := dec.Decode(doc); err != nil {
		if errors.Is(err, io.EOF) {
			err = errors.New("the file is empty")
		}
		return nil, err
	}
	if len(doc.Content) != 1 {
		return nil, errors.New("the file is empty")
	}
	if second := new(yaml.Node); !errors.Is(dec.Decode(second), io.EOF) {
		return nil, errors.New("a second document begins (one file holds one)")
	}
	return doc.Content[0], nil
}

// readPack reads the fields of a file. A pack with terms names its language, and its
// theme unless every block has its own; one without terms may hold words, contexts
// and exceptions for all.
func (l *loader) readPack(n node) {
	theme, language := NoTheme, ""
	fields := n.fields("the pack", "language", "theme", "contexts", "never", "grade", "terms", "same", "near", "real", "silent")
	if f, ok := fields["theme"]; ok {
		theme = f.theme()
	}
	if f, ok := fields["language"]; ok {
		if s, ok := f.text("language"); ok {
			language = s.text
		}
	}
	terms, has := fields["terms"]
	if has && language == "" {
		terms.problem("terms: a pack with terms begins with its language")
	}
	if f, ok := fields["contexts"]; ok {
		f.pairs("contexts", func(name said, list node) {
			l.contexts = append(l.contexts, &contextSource{name, list.phrases("context " + name.text)})
		})
	}
	if f, ok := fields["never"]; ok {
		for _, s := range f.phrases("never") {
			l.nevers = append(l.nevers, neverSource{theme: theme, phrase: s})
		}
	}
	if f, ok := fields["grade"]; ok {
		f.each("grade", func(block node) { l.readGrade(block, theme) })
	}
	if has && language != "" {
		terms.each("terms", func(block node) { l.readRule(block, theme, language) })
	}
	l.readWords(fields)
}

func (l *loader) readWords(fields map[string]node) {
	if f, ok := fields["same"]; ok {
		f.pairs("same", func(word said, list node) {
			for _, also := range list.phrases("same " + word.text) {
				l.same = append(l.same, spelling{word, also})
			}
		})
	}
	for name, into := range map[string]*[]said{"near": &l.near, "real": &l.real, "silent": &l.silent} {
		if f, ok := fields[name]; ok {
			*into = append(*into, f.phrases(name)...)
		}
	}
}

// readRule reads a block of phrases that share severity, bands and context.
func (l *loader) readRule(n node, theme Theme, language string) {
	r := &ruleSource{theme: theme, language: language, bands: PupilBands}
	fields := n.fields("terms", "theme", "severity", "bands", "with", "and", "unless", "over", "say")
	if f, ok := fields["theme"]; ok {
		r.theme = f.theme()
	} else if theme == NoTheme {
		n.problem("terms: a block has no theme, nor has its pack")
	}
	r.severity = l.severity(n, fields, "terms")
	if f, ok := fields["bands"]; ok {
		r.bands = 0
		for _, s := range f.phrases("bands") {
			band, known := policy.ParseAgeBand(s.text)
			if !known {
				l.problem(s.at, "bands: unknown age band %q (one of eyfs, ks1, ks2, staff, guest)", shown(s.text))
			}
			r.bands |= 1 << band
		}
	}
	if f, ok := fields["with"]; ok {
		r.with = f.phrases("with")
	}
	if f, ok := fields["and"]; ok {
		r.and = f.phrases("and")
	}
	if f, ok := fields["unless"]; ok {
		r.unless = f.phrases("unless")
	}
	if f, ok := fields["over"]; ok {
		for _, s := range f.phrases("over") {
			over, known := ParseTheme(s.text)
			switch {
			case !known:
				l.problem(s.at, "over: unknown theme %q (one of %v)", shown(s.text), Themes())
			case !r.theme.Shielded():
				l.problem(s.at, "over: only help that is looked for speaks over another theme (theme: %s)", HelpSeeking)
			case over.Shielded():
				l.problem(s.at, "over: %s does not speak over itself", over)
			default:
				r.over = r.over.With(over)
			}
		}
	}
	if f, ok := fields["say"]; ok {
		r.say = f.phrases("say")
	} else {
		n.problem("terms: a block says nothing (say: a list of phrases)")
	}
	l.rules = append(l.rules, r)
}

// readGrade reads a block of phrases within which a term has another severity.
func (l *loader) readGrade(n node, theme Theme) {
	fields := n.fields("grade", "theme", "severity", "say")
	if f, ok := fields["theme"]; ok {
		theme = f.theme()
	}
	severity := l.severity(n, fields, "grade")
	f, ok := fields["say"]
	if !ok {
		n.problem("grade: a block says nothing (say: a list of phrases)")
		return
	}
	for _, s := range f.phrases("say") {
		l.nevers = append(l.nevers, neverSource{theme, severity, s})
	}
}

// severity is that of a block, 1 to 5.
func (l *loader) severity(n node, fields map[string]node, what string) uint8 {
	f, ok := fields["severity"]
	if !ok {
		n.problem("%s: a block has no severity (1 to 5)", what)
		return 0
	}
	s, ok := f.text("severity")
	if !ok {
		return 0
	}
	if len(s.text) != 1 || s.text < "1" || s.text > "5" {
		l.problem(s.at, "severity: want 1 to 5, got %q", shown(s.text))
		return 0
	}
	return s.text[0] - '0'
}

// theme is a value that names one.
func (n node) theme() Theme {
	s, ok := n.text("theme")
	if !ok {
		return NoTheme
	}
	theme, known := ParseTheme(s.text)
	if !known {
		n.problem("theme: unknown theme %q (one of %v)", shown(s.text), Themes())
	}
	return theme
}

// shown is a text of a pack made fit for a message.
func shown(s string) string {
	const enough = 80
	if len(s) > enough {
		return strings.ToValidUTF8(s[:enough], "") + "…"
	}
	return s
}
