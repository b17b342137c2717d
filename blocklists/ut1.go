package blocklists

import (
	"io"
	"path"
	"path/filepath"
)

// ut1Member reads one file of a squidGuard tree. The folder it lies in is the
// category, its name says what it holds.
func (s *scan) ut1Member(name string, r io.Reader) error {
	clean := filepath.ToSlash(name)
	folder, base := path.Base(path.Dir(clean)), path.Base(clean)
	var parse func(string) error
	switch base {
	case "domains":
		parse = s.domainLine
	case "urls":
		parse = s.urlLine
	case "expressions", "very_restrictive_expression":
		parse = s.expressionLine
	case "usage", "global_usage", "README", "LICENSE", "cc-by-sa-4-0.pdf", "LICENSE.pdf":
		return nil
	default:
		return s.refusedAt(name, 0, OtherMember, "")
	}
	category, wanted, known := s.feed.categoryFor(folder)
	switch {
	case !known:
		return s.refusedAt(name, 0, NotMapped, "")
	case !wanted:
		s.stats.Unwanted++
		return nil
	}
	s.category = category
	return s.lines(name, r, parse)
}
