package policy

import (
	"slices"
	"strings"
	"time"
)

// HostRule is one written line about a host and everything below it.
type HostRule struct {
	Host Host
	// Path narrows the rule to a path prefix, on whole segments; "" is the whole
	// host. A door that cannot see paths takes the rule as one for the whole host.
	Path    string
	Exact   bool // only this very name, nothing below it
	Verdict Verdict
	Until   time.Time // the rule ends then; zero for a rule without an end
	Rule    Pos
	Note    string // the reason a person gave
}

// matches reports whether the rule, found under the host or a parent of it,
// speaks of host and path at a moment.
func (r *HostRule) matches(h Host, path string, at time.Time) bool {
	if r.Exact && h != r.Host {
		return false
	}
	if !r.Until.IsZero() && !at.Before(r.Until) {
		return false
	}
	return r.Path == "" || path == "" || pathWithin(path, r.Path)
}

// pathWithin reports whether path lies at or below prefix, on whole segments.
func pathWithin(path, prefix string) bool {
	rest, ok := strings.CutPrefix(path, prefix)
	return ok && (rest == "" || strings.HasSuffix(prefix, "/") || rest[0] == '/' || rest[0] == '?')
}

// HostSet finds the written rule nearest to a host. A nil or zero set holds
// none. It is immutable once built, and looking up allocates nothing.
type HostSet struct {
	rules map[string][]HostRule // by host name; longest path first, then strictest
}

// NewHostSet builds a set of the given rules.
func NewHostSet(rules ...HostRule) *HostSet {
	s := &HostSet{rules: make(map[string][]HostRule, len(rules))}
	for _, r := range rules {
		s.rules[r.Host.name] = append(s.rules[r.Host.name], r)
	}
	for _, list := range s.rules {
		slices.SortStableFunc(list, func(a, b HostRule) int {
			if len(a.Path) != len(b.Path) {
				return len(b.Path) - len(a.Path)
			}
			return int(a.Verdict) - int(b.Verdict) // block beats allow at a tie
		})
	}
	return s
}

// Len is how many hosts the set speaks of.
func (s *HostSet) Len() int {
	if s == nil {
		return 0
	}
	return len(s.rules)
}

// Find gives the rule nearest to the host, and nil if none speaks of it at that
// moment. Rules with an end are passed over once it has come.
func (s *HostSet) Find(h Host, path string, at time.Time) *HostRule {
	if s == nil || len(s.rules) == 0 {
		return nil
	}
	for name := h.name; name != ""; {
		list := s.rules[name]
		for i := range list {
			if list[i].matches(h, path, at) {
				return &list[i]
			}
		}
		if h.addr.IsValid() {
			return nil // an address has no parents
		}
		_, name, _ = strings.Cut(name, ".")
	}
	return nil
}
