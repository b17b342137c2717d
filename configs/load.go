package configs

import (
	"fmt"
	"os"
	"path/filepath"

	_ "time/tzdata" // the school's time zone is known on a box without tzdata, too

	"schoolgate/policy"
)

const (
	sampleBox    = "schoolgate.yaml"
	samplePolicy = "policy.yaml"
)

// Load reads a configuration: schoolgate.yaml and the policy file it names. The
// path may also be that of a policy file alone, which is then used on the sample
// box; "" is the embedded sample school. With any problem there is no Config.
func Load(path string) (*Config, []policy.Problem) {
	l := &loader{}
	if path == "" {
		return l.finish(l.load(folder{fsys: Sample()}, sampleBox))
	}
	if info, err := os.Stat(path); err == nil && info.IsDir() {
		path = filepath.Join(path, sampleBox)
	}
	return l.finish(l.load(folder{dir: filepath.Dir(path)}, filepath.Base(path)))
}

// loader reads one configuration.
type loader struct {
	problems []policy.Problem
	warnings []policy.Problem
	known    map[string]bool // every field of the files read, by dotted path
}

func (l *loader) warn(at policy.Pos, format string, args ...any) {
	l.warnings = append(l.warnings, policy.Problem{Pos: at, Text: fmt.Sprintf(format, args...)})
}

func (l *loader) finish(c *Config) (*Config, []policy.Problem) {
	if len(l.problems) > 0 {
		return nil, l.problems
	}
	c.Warnings = l.warnings
	return c, nil
}

func (l *loader) load(f folder, name string) *Config {
	d, root, ok := l.open(f, name, "")
	if !ok {
		return nil
	}
	if !root.isFields() {
		root.problem("want fields (name: value), got %s", root.kind())
		l.close(d)
		return nil
	}
	if root.has("profiles") {
		box := l.box(folder{fsys: Sample()}, sampleBox)
		box.Policy = f.place(name)
		return &Config{Box: box, School: l.readSchool(f, d, root)}
	}
	b := l.readBox(root)
	l.close(d)
	if f.fsys == nil {
		b.File = f.place(name)
	}
	school := l.loadSchool(f, d.file, b.Policy)
	b.Policy = f.place(b.Policy)
	b.complete(f)
	return &Config{Box: b, School: school}
}

// box reads the sample's box for a policy file that came alone.
func (l *loader) box(f folder, name string) Box {
	d, root, ok := l.open(f, name, "")
	if !ok {
		return Box{}
	}
	b := l.readBox(root)
	l.close(d)
	b.complete(f)
	return b
}

// loadSchool reads the policy file that a box file names.
func (l *loader) loadSchool(f folder, from, name string) School {
	if filepath.IsAbs(name) || filepath.Dir(name) != "." {
		f.dir, name = filepath.Dir(f.place(name)), filepath.Base(name)
	}
	d, root, ok := l.open(f, name, from)
	if !ok {
		return School{File: name}
	}
	return l.readSchool(f, d, root)
}

// open reads and parses a file. from is the file that named it, "" if a person did.
func (l *loader) open(f folder, name, from string) (*document, value, bool) {
	if l.known == nil {
		l.known = map[string]bool{}
	}
	d := &document{file: name, known: l.known}
	text, err := f.read(name)
	if err != nil {
		at := policy.Pos{File: name, Line: 1}
		if from != "" {
			at.File = from
			err = fmt.Errorf("policy: %q: %w", name, err)
		}
		d.problem(at, "%v", err)
		l.close(d)
		return d, value{}, false
	}
	d.text = text
	root, ok := d.parse(text)
	if !ok {
		l.close(d)
	}
	return d, root, ok
}

func (l *loader) close(d *document) { l.problems = append(l.problems, d.finish()...) }
