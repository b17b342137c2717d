package blocklists

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"gopkg.in/yaml.v3"

	"schoolgate/policy"
)

// Feeds is a feeds file, read.
type Feeds struct {
	File  string
	Feeds []Feed
}

// Enabled are the feeds that a build reads.
func (f Feeds) Enabled() []Feed {
	var on []Feed
	for _, feed := range f.Feeds {
		if feed.Enabled {
			on = append(on, feed)
		}
	}
	return on
}

// maxFeedsFile bounds a feeds file, in bytes.
const maxFeedsFile = 1 << 20

// LoadFeeds reads a feeds file. Nothing in it is guessed: every key must be
// known, and all problems are reported at once, each with its place.
//
// The file may also be a schoolgate.yaml with the feeds under lists.feeds. The rest
// of that is not ours to read.
func LoadFeeds(path string) (Feeds, []policy.Problem) {
	l := loader{file: path, dir: filepath.Dir(path)}
	f, err := os.Open(path)
	if err != nil {
		return Feeds{}, []policy.Problem{{Pos: policy.Pos{File: path}, Text: err.Error()}}
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxFeedsFile+1))
	if err == nil && len(text) > maxFeedsFile {
		err = fmt.Errorf("more than %d bytes", maxFeedsFile)
	}
	if err != nil {
		return Feeds{}, []policy.Problem{{Pos: policy.Pos{File: path}, Text: err.Error()}}
	}
	feeds := l.document(text)
	if len(l.problems) > 0 {
		return Feeds{}, l.problems
	}
	return Feeds{File: path, Feeds: feeds}, nil
}

type loader struct {
	file     string // as problems name it
	dir      string // what paths are relative to
	problems []policy.Problem
}

func (l *loader) at(n *yaml.Node) policy.Pos {
	return policy.Pos{File: l.file, Line: n.Line, Column: n.Column}
}

func (l *loader) problem(n *yaml.Node, format string, args ...any) {
	l.problems = append(l.problems, policy.Problem{Pos: l.at(n), Text: fmt.Sprintf(format, args...)})
}

var yamlLine = regexp.MustCompile(`^yaml: (?:line (\d+): )?(.*)`)

func (l *loader) document(text []byte) []Feed {
	var doc yaml.Node
	if err := yaml.Unmarshal(text, &doc); err != nil {
		m := yamlLine.FindStringSubmatch(err.Error())
		if m == nil {
			m = []string{"", "", err.Error()}
		}
		line, _ := strconv.Atoi(m[1]) // 0 where the library gives no line
		l.problems = append(l.problems, policy.Problem{Pos: policy.Pos{File: l.file, Line: line}, Text: m[2]})
		return nil
	}
	if len(doc.Content) == 0 {
		l.problem(&yaml.Node{Line: 1, Column: 1}, "empty: there must be a list %q", "feeds")
		return nil
	}
	if lists := valueOf(doc.Content[0], "lists"); lists != nil {
		l.file = filepath.Base(l.file) // as the other problems of that file
		if n := valueOf(lists, "feeds"); n != nil {
			feeds := l.feeds(n)
			if len(l.problems) == 0 && len(feeds) == 0 {
				l.problem(n, "there must be a feed")
			}
			return feeds
		}
		l.problem(lists, "lists: there is no list %q", "feeds")
		return nil
	}
	var feeds []Feed
	l.mapping(doc.Content[0], "file", map[string]func(*yaml.Node){
		"feeds": func(n *yaml.Node) { feeds = l.feeds(n) },
	})
	if len(l.problems) == 0 && len(feeds) == 0 {
		l.problem(doc.Content[0], "there must be a list %q", "feeds")
	}
	return feeds
}

// valueOf is the value of a key in a mapping, nil for none.
func valueOf(n *yaml.Node, key string) *yaml.Node {
	if n.Kind != yaml.MappingNode {
		return nil
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value == key {
			return n.Content[i+1]
		}
	}
	return nil
}

// mapping gives the value of each key to its reader and reports keys that are
// unknown or stand twice.
func (l *loader) mapping(n *yaml.Node, what string, keys map[string]func(*yaml.Node)) {
	if n.Kind != yaml.MappingNode {
		l.problem(n, "%s: want keys and values", what)
		return
	}
	seen := map[string]bool{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		read, ok := keys[key.Value]
		switch {
		case !ok:
			l.problem(key, "%s: unknown key %q%s", what, key.Value, didYouMean(key.Value, sortedKeys(keys)))
		case seen[key.Value]:
			l.problem(key, "%s: key %q stands twice", what, key.Value)
		default:
			seen[key.Value] = true
			read(value)
		}
	}
}

func (l *loader) feeds(n *yaml.Node) (feeds []Feed) {
	if n.Kind != yaml.SequenceNode {
		l.problem(n, "feeds: want a list")
		return nil
	}
	names := map[string]policy.Pos{}
	for _, item := range n.Content {
		for _, f := range l.item(item) {
			if prev, ok := names[f.Name]; ok {
				l.problem(item, "feed %q: already declared at %s", f.Name, prev)
			}
			names[f.Name] = f.Rule
			feeds = append(feeds, f)
		}
	}
	return feeds
}

// item reads one feed, or "builtin: starter", which is the feeds in the binary.
func (l *loader) item(n *yaml.Node) []Feed {
	if n.Kind == yaml.MappingNode && len(n.Content) == 2 && n.Content[0].Value == "builtin" {
		if n.Content[1].Value != "starter" {
			l.problem(n.Content[1], "unknown builtin %q%s", n.Content[1].Value, didYouMean(n.Content[1].Value, []string{"starter"}))
			return nil
		}
		feeds := Starter()
		for i := range feeds {
			feeds[i].Rule = l.at(n)
		}
		return feeds
	}
	before := len(l.problems)
	f := Feed{Enabled: true, Rule: l.at(n)}
	name := nameOf(n)
	l.mapping(n, "feed "+strconv.Quote(name), l.feedKeys(&f, name))
	if len(l.problems) == before {
		l.whole(n, &f)
	}
	return []Feed{f}
}

// nameOf finds the feed's name before the rest is read, for problems to say.
func nameOf(n *yaml.Node) string {
	if name := valueOf(n, "name"); name != nil {
		return name.Value
	}
	return ""
}

func (l *loader) feedKeys(f *Feed, name string) map[string]func(*yaml.Node) {
	text := func(to *string) func(*yaml.Node) {
		return func(n *yaml.Node) { *to = l.scalar(n) }
	}
	path := func(to *string) func(*yaml.Node) {
		return func(n *yaml.Node) { *to = l.path(n) }
	}
	keys := l.remoteKeys(f, name)
	maps.Copy(keys, map[string]func(*yaml.Node){
		"name":       text(&f.Name),
		"path":       path(&f.Path),
		"delta":      path(&f.Delta),
		"licence":    text(&f.Licence),
		"family":     text(&f.Family),
		"note":       text(&f.Note),
		"format":     func(n *yaml.Node) { f.Format = oneOf(l, n, name, "format", formats) },
		"kind":       func(n *yaml.Node) { f.Kind = oneOf(l, n, name, "kind", kinds) },
		"category":   func(n *yaml.Node) { f.Category = l.category(n, name) },
		"categories": func(n *yaml.Node) { f.Categories = l.categories(n, name) },
		"columns":    func(n *yaml.Node) { f.Columns = l.columns(n, name) },
		"weight":     func(n *yaml.Node) { f.Weight = l.weight(n, name) },
		"date":       func(n *yaml.Node) { f.Date = l.date(n, name) },
		"enabled":    func(n *yaml.Node) { f.Enabled = l.boolean(n, name) },
	})
	return keys
}

func (l *loader) scalar(n *yaml.Node) string {
	if n.Kind != yaml.ScalarNode {
		l.problem(n, "want one value")
		return ""
	}
	return n.Value
}

func (l *loader) path(n *yaml.Node) string {
	p := l.scalar(n)
	if p == "" || filepath.IsAbs(p) {
		return p
	}
	return filepath.Join(l.dir, filepath.FromSlash(p))
}

func oneOf[T ~string](l *loader, n *yaml.Node, feed, what string, known []T) T {
	v := T(l.scalar(n))
	if !slices.Contains(known, v) {
		words := make([]string, len(known))
		for i, k := range known {
			words[i] = string(k)
		}
		way := didYouMean(string(v), words)
		if way == "" {
			way = " (want " + strings.Join(words, ", ") + ")"
		}
		l.problem(n, "feed %q: unknown %s %q%s", feed, what, v, way)
	}
	return v
}

func (l *loader) category(n *yaml.Node, feed string) policy.Category {
	c, ok := policy.ParseCategory(l.scalar(n))
	if !ok {
		l.problem(n, "feed %q: unknown category %q%s", feed, n.Value, didYouMean(n.Value, categoryIDs()))
	}
	return c
}

func (l *loader) categories(n *yaml.Node, feed string) map[string]string {
	if n.Kind != yaml.MappingNode {
		l.problem(n, "feed %q: categories: want keys and values", feed)
		return nil
	}
	m := map[string]string{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		if _, ok := m[key.Value]; ok {
			l.problem(key, "feed %q: categories: %q stands twice", feed, key.Value)
		}
		if value.Value != None {
			l.category(value, feed)
		}
		m[key.Value] = value.Value
	}
	return m
}

func (l *loader) columns(n *yaml.Node, feed string) (c Columns) {
	text := func(to *string) func(*yaml.Node) {
		return func(n *yaml.Node) { *to = l.scalar(n) }
	}
	l.mapping(n, fmt.Sprintf("feed %q: columns", feed), map[string]func(*yaml.Node){
		"host": text(&c.Host), "path": text(&c.Path), "category": text(&c.Category), "action": text(&c.Action),
		"where": func(n *yaml.Node) {
			if err := n.Decode(&c.Where); err != nil {
				l.problem(n, "feed %q: where: want a column and a list of values", feed)
			}
		},
	})
	return c
}

func (l *loader) weight(n *yaml.Node, feed string) float64 {
	w, err := strconv.ParseFloat(l.scalar(n), 64)
	if err != nil || !(w > 0 && w <= 10) {
		l.problem(n, "feed %q: weight %q: want a number above 0, up to 10", feed, n.Value)
	}
	return w
}

func (l *loader) date(n *yaml.Node, feed string) time.Time {
	t, err := time.Parse(time.DateOnly, l.scalar(n))
	if err != nil {
		l.problem(n, "feed %q: date %q: want year-month-day", feed, n.Value)
	}
	return t
}

func (l *loader) boolean(n *yaml.Node, feed string) bool {
	if n.Value != "true" && n.Value != "false" {
		l.problem(n, "feed %q: want true or false, not %q", feed, n.Value)
	}
	return n.Value == "true"
}

// whole checks what only the whole feed shows.
func (l *loader) whole(n *yaml.Node, f *Feed) {
	need := func(ok bool, format string, args ...any) {
		if !ok {
			l.problem(n, "feed %q: "+format, append([]any{f.Name}, args...)...)
		}
	}
	need(f.Name != "", "name is missing")
	need(f.Path != "" || f.Remote.URL != "", "path or url is missing")
	need(f.Format != "", "format is missing (one of %v)", formats)
	need(f.Kind != "", "kind is missing (one of %v)", kinds)
	if err := f.remoteProblem(); err != nil {
		need(false, "%v", err)
	}
	need(f.Licence != "", "licence is missing: a list without one may not be used")
	need(f.Delta == "" || f.Format == CSV, "delta is for the format csv")
	if f.Format == CSV {
		need(f.Columns.Host != "", "columns: host is missing")
	} else {
		need(f.Columns.Host == "", "columns are for the format csv")
	}
	mapped := f.Category != policy.Uncategorised || len(f.Categories) > 0 || f.Columns.Category != ""
	need(mapped || f.Kind == Clean, "category or categories is missing")
	need(!mapped || f.Kind != Clean, "a clean list has no category")
	need(f.Category == policy.Uncategorised || len(f.Categories) == 0, "category and categories exclude each other")
	if f.Kind == Mandatory {
		need(f.Category.Mandatory(), "a mandatory list must have a mandatory category (child_abuse or terrorism)")
	} else {
		need(!f.Category.Mandatory(), "category %s is for kind: mandatory", f.Category)
	}
}

// Joined makes one error of problems, a line for each.
func Joined(problems []policy.Problem) error {
	errs := make([]error, len(problems))
	for i, p := range problems {
		errs[i] = p
	}
	return errors.Join(errs...)
}
