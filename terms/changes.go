package terms

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"schoolgate/policy"
)

// Change is one thing that a school's packs say and did not say before, or the other
// way round.
type Change struct {
	Text string `json:"text"` // with +, - or ~ before it, e.g. `+ bullying 4 "sunny hill gang"`
	// Loosens: something may now go unheard, or count for less. Whatever is not
	// plainly tighter is looser: a spelling that is read as another word, a context.
	Loosens bool `json:"loosens,omitempty"`
}

// Changes compares a school's packs with those before them, line by line of what they
// say and not of how they are written. It needs packs that load.
func Changes(before, after map[string]string) []Change {
	old, now := statements(before), statements(after)
	var list []Change
	for key, st := range now {
		was, had := old[key]
		switch {
		case !had:
			list = append(list, Change{"+ " + st.text, !st.hears})
		case was.severity != st.severity:
			list = append(list, Change{fmt.Sprintf("~ %s (was %d)", st.text, was.severity), st.severity < was.severity})
		}
	}
	for key, st := range old {
		if _, still := now[key]; !still {
			list = append(list, Change{"- " + st.text, st.hears || st.either})
		}
	}
	slices.SortFunc(list, func(a, b Change) int {
		return cmp.Or(strings.Compare(a.Text[2:], b.Text[2:]), strings.Compare(a.Text, b.Text))
	})
	return list
}

// Loosening is the changes by which something may go unheard.
func Loosening(list []Change) (loose []Change) {
	for _, c := range list {
		if c.Loosens {
			loose = append(loose, c)
		}
	}
	return loose
}

// statement is one thing that packs say.
type statement struct {
	text     string
	severity uint8
	hears    bool // saying it hears more
	either   bool // neither saying it nor taking it back is plainly tighter
}

// statements is everything that packs say, by what it is about.
func statements(packs map[string]string) map[string]statement {
	l := newLoader()
	l.own(packs)
	all := map[string]statement{}
	add := func(st statement, parts ...string) {
		key := strings.Join(parts, "\x00")
		if twice, ok := all[key]; !ok || twice.severity <= st.severity { // said twice, the graver is heard
			all[key] = st
		}
	}
	for _, r := range l.rules {
		limits := limitsOf(r)
		for _, s := range r.say {
			st := statement{text: fmt.Sprintf("%s %d %q%s", r.theme, r.severity, s.text, limits), severity: r.severity, hears: r.over == 0, either: r.over != 0}
			add(st, "term", r.theme.String(), r.language, s.text, limits)
		}
	}
	for _, n := range l.nevers {
		name, theme := "never", ""
		if n.severity > 0 {
			name = fmt.Sprint("grade ", n.severity)
		}
		if n.theme != NoTheme {
			theme = n.theme.String() + " "
		}
		st := statement{text: fmt.Sprintf("%s %s%q", name, theme, n.phrase.text), severity: n.severity, either: n.severity > 0}
		st.hears = n.severity == 5 // nothing is graver, so it can only raise
		add(st, "never", n.theme.String(), n.phrase.text)
	}
	for _, c := range l.contexts {
		for _, p := range c.phrases {
			add(statement{text: fmt.Sprintf("context %s %q", c.name.text, p.text), either: true}, "context", c.name.text, p.text)
		}
	}
	for _, s := range l.same {
		add(statement{text: fmt.Sprintf("same %q read as %q", s.also.text, s.word.text), either: true}, "same", s.also.text, s.word.text)
	}
	for name, words := range map[string][]said{"near": l.near, "real": l.real, "silent": l.silent} {
		for _, w := range words {
			add(statement{text: fmt.Sprintf("%s %q", name, w.text), either: true}, name, w.text)
		}
	}
	return all
}

// limitsOf is what narrows a block, as text: one that is narrowed otherwise says
// another thing.
func limitsOf(r *ruleSource) string {
	var b strings.Builder
	if r.bands != PupilBands {
		for band := policy.EYFS; band <= policy.Guest; band++ {
			if r.bands.Has(band) {
				b.WriteString(" " + band.String())
			}
		}
	}
	for _, list := range []struct {
		name  string
		words []said
	}{{"with", r.with}, {"and", r.and}, {"unless", r.unless}} {
		if len(list.words) == 0 {
			continue
		}
		fmt.Fprintf(&b, " %s", list.name)
		for _, w := range list.words {
			fmt.Fprintf(&b, " %q", w.text)
		}
	}
	if r.over != 0 {
		b.WriteString(" over")
		for _, t := range Themes() {
			if r.over.Has(t) {
				b.WriteString(" " + t.String())
			}
		}
	}
	return b.String()
}
