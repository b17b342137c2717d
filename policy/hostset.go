package policy

import (
	"strings"
	"time"
)

// HostRule is one written line about a host and everything below it.
type HostRule struct {
	Host Host
	// Path narrows the rule to a path prefix, on whole segments; "" and "/" are the
	// whole host. A door that cannot see paths takes the rule as one for the whole
	// host, unless the whole host has a rule of its own.
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

// nearerThan reports whether r speaks of the same host more closely than o: by a
// longer path, or where the path is not known by none; by naming the very host;
// and at a tie by being stricter.
func (r *HostRule) nearerThan(o *HostRule, path string) bool {
	if path == "" && (r.Path == "") != (o.Path == "") {
		return r.Path == ""
	}
	if path != "" && len(r.Path) != len(o.Path) {
		return len(r.Path) > len(o.Path)
	}
	if r.Exact != o.Exact {
		return r.Exact
	}
	return r.Verdict < o.Verdict
}

// pathWithin reports whether path lies at or below prefix, on whole segments;
// a prefix with a query is met by more of the query.
func pathWithin(path, prefix string) bool {
	rest, ok := strings.CutPrefix(path, prefix)
	if !ok || rest == "" {
		return ok
	}
	if strings.Contains(prefix, "?") {
		return rest[0] == '&'
	}
	return rest[0] == '/' || rest[0] == '?'
}

// HostSet finds the written rule nearest to a host. A nil or zero set holds
// none. It is immutable once built, and looking up allocates nothing.
type HostSet struct {
	rules map[string][]HostRule // by host name
	// bare holds the rules for www.x.example under x.example, where they speak of
	// exactly that name if it has no rule itself: people write either and mean the
	// site.
	bare map[string][]HostRule
}

// NewHostSet builds a set of the given rules.
func NewHostSet(rules ...HostRule) *HostSet {
	s := &HostSet{rules: make(map[string][]HostRule, len(rules)), bare: make(map[string][]HostRule)}
	for _, r := range rules {
		if !strings.Contains(r.Path, "?") {
			r.Path = strings.TrimSuffix(r.Path, "/")
		}
		s.rules[r.Host.name] = append(s.rules[r.Host.name], r)
		if bare, ok := strings.CutPrefix(r.Host.name, "www."); ok && !r.Exact {
			s.bare[bare] = append(s.bare[bare], r)
		}
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
	if s == nil || len(s.rules) == 0 || h.IsZero() {
		return nil
	}
	if r := nearest(s.rules[h.name], h, path, at); r != nil || h.addr.IsValid() {
		return r
	}
	if r := nearest(s.bare[h.name], h, path, at); r != nil {
		return r
	}
	for up, ok := h.Parent(); ok; up, ok = up.Parent() {
		if r := nearest(s.rules[up.name], h, path, at); r != nil {
			return r
		}
	}
	return nil
}

// nearest is the nearest of the rules under one name that speak of the request.
func nearest(rules []HostRule, h Host, path string, at time.Time) (best *HostRule) {
	for i := range rules {
		r := &rules[i]
		if r.matches(h, path, at) && (best == nil || r.nearerThan(best, path)) {
			best = r
		}
	}
	return best
}
