package main

import (
	"cmp"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"

	"schoolgate/alerts"
	"schoolgate/audit"
	"schoolgate/configs"
	"schoolgate/incidents"
	"schoolgate/policy"
)

// A word that names nothing finds nothing, and "0 events" would pass for an answer. So
// what is looked for must be in the policy or in the records; of people and devices,
// who are in no list of words, it is said where they were never seen.

// check refuses a group, profile, theme or address that nothing can have.
func (c *auditQuery) check(s *session, cfg *configs.Config, dir audit.Dir) error {
	if c.Client != "" {
		_, addr := netip.ParseAddr(c.Client)
		if _, err := netip.ParsePrefix(c.Client); err != nil && addr != nil {
			return fmt.Errorf("--client: bad address %q: want one such as 10.2.0.7, or a range such as 10.2.0.0/16", c.Client)
		}
	}
	for _, f := range []struct {
		name, value string
		known       []string
		only        audit.Query
	}{
		{"group", c.Group, groupNames(cfg), audit.Query{Group: c.Group}},
		{"profile", c.Profile, profileNames(cfg), audit.Query{Profile: c.Profile}},
		{"theme", c.Theme, append(policy.Themes(), incidents.ThemeTold), audit.Query{Theme: c.Theme}},
	} {
		if f.value == "" || slices.Contains(f.known, f.value) {
			continue
		}
		if recorded, err := c.recorded(s, dir, f.only); err != nil {
			return err
		} else if !recorded {
			return unknownWord(f.name, f.value, f.known)
		}
	}
	return nil
}

// unknownWord is the trouble with a word that is none of those known.
func unknownWord(flag, word string, known []string) error {
	if len(known) == 0 {
		return fmt.Errorf("--%s: unknown %s %q: the policy names none, and nothing in the records has it", flag, flag, word)
	}
	slices.Sort(known)
	return fmt.Errorf("--%s: unknown %s %q: want one of %s", flag, flag, word, strings.Join(known, ", "))
}

// unseen says on standard error whom the journal does not know at all.
func (c *auditQuery) unseen(s *session, cfg *configs.Config, dir audit.Dir) error {
	for _, f := range []struct {
		value, never string
		only         audit.Query
	}{
		{c.Person, "nobody of the name %q has signed in, or done anything with the box", audit.Query{Person: c.Person}},
		{c.Device, "nothing is recorded of a device %q" + registered(cfg, c.Device), audit.Query{Device: c.Device}},
	} {
		if f.value == "" {
			continue
		}
		recorded, err := c.recorded(s, dir, f.only)
		if err != nil {
			return err
		}
		if !recorded {
			fmt.Fprintf(s.stderr, "schoolgate: note: as far back as the journal goes, "+f.never+"\n", f.value)
		}
	}
	return nil
}

func registered(cfg *configs.Config, device string) string {
	if slices.ContainsFunc(cfg.School.Members, func(m configs.Member) bool { return m.Device == device }) {
		return ", which is in the register"
	}
	return ", and none is in the register"
}

// recorded reports whether the journal has any event that is asked for.
func (c *auditQuery) recorded(s *session, dir audit.Dir, q audit.Query) (bool, error) {
	q.Limit, q.Newest = 1, true
	search, done, err := c.search(s, dir, q)
	if err != nil {
		return false, err
	}
	defer done()
	for _, err := range search {
		if err == nil {
			return true, nil
		}
	}
	return false, nil // what cannot be read is told by the search itself
}

func groupNames(cfg *configs.Config) (names []string) {
	for _, g := range cfg.School.Spec.Groups {
		names = append(names, g.Name)
	}
	return names
}

func profileNames(cfg *configs.Config) (names []string) {
	for _, p := range cfg.School.Policy.Profiles() {
		names = append(names, p.Name)
	}
	return names
}

// alertThemes are what an alert can be about: what was searched for, what the lists
// say of a site, a try to get round the filter, a child who told somebody.
func alertThemes() []string {
	names := map[string]bool{alerts.ThemeBypass: true, incidents.ThemeTold: true}
	for _, theme := range policy.Themes() {
		names[theme] = true
	}
	for c := range policy.Categories() {
		names[cmp.Or(c.Class().Theme, c.String())] = true
	}
	return slices.Sorted(maps.Keys(names))
}

func categoryNames() (names []string) {
	for c := range policy.Categories() {
		names = append(names, c.String())
	}
	return names
}
