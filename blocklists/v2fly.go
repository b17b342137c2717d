package blocklists

import (
	"io"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"schoolgate/policy"
)

// service is one file of a v2fly domain list: its lines, and where it lies.
type service struct {
	file  string
	lines []string
}

// services holds the whole tree in memory, because a file may include any
// other. maxServices bounds it.
type services map[string]service

const maxServices = 32 << 20 // bytes of lines

// v2flyMember keeps a file for later.
func (s *scan) v2flyMember(all services, size *int) func(string, io.Reader) error {
	return func(name string, r io.Reader) error {
		sv := service{file: name}
		s.indented = true // lines are numbered by their place in the slice
		err := s.lines(name, r, func(line string) error {
			for len(sv.lines) < s.line-1 {
				sv.lines = append(sv.lines, "")
			}
			if *size += len(line) + 16; *size > maxServices {
				return sourceErr(name, s.line, refuseAll("more than %d bytes of services", maxServices))
			}
			sv.lines = append(sv.lines, line)
			return nil
		})
		all[strings.ToLower(path.Base(filepath.ToSlash(name)))] = sv
		return err
	}
}

// v2flyServices hands over the files that the feed maps, with what they include.
func (s *scan) v2flyServices(all services) error {
	names := make([]string, 0, len(s.feed.Categories))
	for name := range s.feed.Categories {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		category, wanted, _ := s.feed.categoryFor(name)
		if !wanted || name == "*" {
			continue
		}
		s.category = category
		w := walk{scan: s, all: all, seen: map[string]bool{}}
		if err := w.service(name, nil, service{file: s.feed.Path}, 0); err != nil {
			return err
		}
	}
	return nil
}

// walk is one mapped service with everything it includes, each file once for
// each set of attributes asked of it.
type walk struct {
	*scan
	all  services
	seen map[string]bool
	path []string // of files being read, to see a circle
}

func (w *walk) service(name string, attrs []string, from service, line int) error {
	name = strings.ToLower(name)
	sv, ok := w.all[name]
	switch {
	case !ok:
		return w.refusedAt(from.file, line, NoFile, name)
	case slices.Contains(w.path, name):
		return w.refusedAt(from.file, line, Cycle, name)
	}
	key := name + " " + strings.Join(attrs, " ")
	if w.seen[key] {
		return nil
	}
	w.seen[key] = true
	w.path = append(w.path, name)
	defer func() { w.path = w.path[:len(w.path)-1] }()
	for i, text := range sv.lines {
		if err := w.ctx.Err(); err != nil {
			return err
		}
		w.file, w.line = sv.file, i+1
		if err := w.rule(text, attrs, sv); err != nil {
			return err
		}
	}
	return nil
}

// rule reads one line: kind:value @attribute… # comment.
func (w *walk) rule(text string, wanted []string, sv service) error {
	text, _, _ = strings.Cut(text, "#")
	fields := strings.Fields(text)
	if len(fields) == 0 {
		return nil
	}
	kind, value, ok := strings.Cut(fields[0], ":")
	if !ok {
		kind, value = "domain", fields[0]
	}
	if kind == "include" {
		return w.service(value, fields[1:], sv, w.line)
	}
	if !matches(fields[1:], wanted) {
		w.stats.Unwanted++
		return nil
	}
	switch kind {
	case "domain":
		return w.name(value, false)
	case "full":
		return w.name(value, true)
	case "keyword":
		return w.refused(PartOfName, fields[0])
	case "regexp":
		return w.refused(Expression, fields[0])
	}
	return w.refused(BadHost, fields[0])
}

// matches reports whether a rule with these attributes is one that an include
// asks for: every @a of it, none of its @-a.
func matches(has, wanted []string) bool {
	for _, want := range wanted {
		if without, not := strings.CutPrefix(want, "@-"); not {
			if slices.Contains(has, "@"+without) {
				return false
			}
		} else if !slices.Contains(has, want) {
			return false
		}
	}
	return true
}

// categoryFor finds what the feed's map says of a folder, file or code. Without
// a map the feed's own category holds for all.
func (f *Feed) categoryFor(code string) (c policy.Category, wanted, known bool) {
	if len(f.Categories) == 0 && f.Category != policy.Uncategorised {
		return f.Category, true, true
	}
	id, ok := f.Categories[code]
	if !ok && f.Format == CSV {
		if c, ok = policy.ParseCategory(code); ok || code == None {
			return c, ok, true
		}
	}
	if !ok {
		if id, ok = f.Categories["*"]; !ok {
			return policy.Uncategorised, false, false
		}
	}
	if id == None {
		return policy.Uncategorised, false, true
	}
	c, ok = policy.ParseCategory(id)
	return c, ok, ok
}
