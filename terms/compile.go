package terms

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"schoolgate/internal/phrases"
	"schoolgate/policy"
)

// Bounds on what packs may come to.
const (
	maxVariants = 3000    // of one phrase
	maxTerms    = 200_000 // of all packs
	maxPhrase   = 120     // bytes of a phrase as it is matched
)

// compiler turns what a loader gathered into a set.
type compiler struct {
	*loader
	set       *Set
	sc        *scratch
	entry     map[string]int32 // pattern -> entry
	pattern   []string
	context   map[string]int32
	english   map[string]bool // the words of English phrases
	inEnglish bool            // what is entered now is of one
}

// compile makes the set; it is of use only if no problem has come up.
func (l *loader) compile() *Set {
	set := &Set{folder: folder{
		words: map[string]string{}, pairs: map[string]string{}, stretched: map[string][]string{},
		near: map[string][]string{}, slips: map[string][]string{}, doubled: map[string][]string{}, silent: map[string]bool{},
	}}
	c := &compiler{l, set, &scratch{}, map[string]int32{}, nil, map[string]int32{}, map[string]bool{}, true}
	c.spellings()
	for pair := range set.folder.pairs {
		set.folder.paired.add(hash([]byte(pair)))
	}
	c.contextLists()
	c.exceptions()
	for _, r := range l.rules {
		c.inEnglish = r.language == "en"
		c.terms(r)
	}
	c.vocabulary()
	if len(set.terms) == 0 {
		if len(l.problems) == 0 {
			l.problem(policy.Pos{}, "packs: no pack has a term")
		}
		return nil
	}
	var ok bool
	if set.automaton, ok = phrases.New(c.pattern); !ok {
		l.problem(policy.Pos{}, "packs: more phrases than the watch can hold")
	}
	return set
}

// spellings reads the words that are read as others. It goes before all phrases,
// which are folded by it.
func (c *compiler) spellings() {
	f := &c.set.folder
	for _, s := range c.silent {
		f.silent[s.text] = true
	}
	for _, s := range c.same {
		word, also := string(c.sc.clean(nil, s.word.text)), string(c.sc.clean(nil, s.also.text))
		into := f.words
		switch words := strings.Count(also, " ") + 1; {
		case words > 2 || also == "" || word == "":
			c.problem(s.also.at, "same: %q: want one word or two", shown(s.also.text))
			continue
		case slices.ContainsFunc(strings.Fields(word), func(w string) bool { return len(w) < 2 }):
			c.problem(s.word.at, "same: %q: a letter alone is no word", shown(s.word.text))
			continue
		case words == 2:
			into = f.pairs
		}
		if old, ok := into[also]; ok && old != word {
			c.problem(s.also.at, "same: %q is read as %q already", shown(s.also.text), old)
			continue
		}
		into[also] = word
	}
	for _, s := range c.same {
		for _, w := range strings.Fields(string(c.sc.clean(nil, s.word.text))) {
			if as, ok := f.words[w]; ok && as != w {
				c.problem(s.word.at, "same: %q is itself read as %q", shown(w), as)
			}
			f.words[w] = w
		}
		if word := string(c.sc.clean(nil, s.word.text)); f.pairs[word] != "" {
			c.problem(s.word.at, "same: %q is itself read as %q", shown(word), f.pairs[word])
		}
	}
}

// phrase is every variant of a phrase as it is matched.
func (c *compiler) phrase(s said) []string {
	if strings.Contains(s.text, gap) {
		c.problem(s.at, "%q: ... stands between two parts of a phrase that is said, alone and outside brackets", shown(s.text))
		return nil
	}
	variants, err := expand(s.text)
	if err != nil {
		c.problem(s.at, "%q: %v", shown(s.text), err)
		return nil
	}
	return c.folded(s, variants, false)
}

// entryOf is what a phrase stands for, as an entry yet to be added to.
func (c *compiler) entryOf(text string) *entry {
	pattern := " " + text + " "
	id, ok := c.entry[pattern]
	if !ok {
		id = int32(len(c.set.entries))
		c.entry[pattern] = id
		c.pattern = append(c.pattern, pattern)
		if c.inEnglish {
			for w := range strings.FieldsSeq(text) {
				c.english[w] = true
			}
		}
		c.set.entries = append(c.set.entries, entry{length: int32(len(pattern))})
	}
	return &c.set.entries[id]
}

func (c *compiler) contextLists() {
	for _, list := range c.contexts {
		if _, twice := c.context[list.name.text]; twice {
			c.problem(list.name.at, "context %q is given twice", shown(list.name.text))
			continue
		}
		c.context[list.name.text] = c.newContext(list.name.text, list.phrases)
	}
}

func (c *compiler) newContext(name string, phrases []said) int32 {
	id := int32(len(c.set.contexts))
	c.set.contexts = append(c.set.contexts, context{name})
	for _, s := range phrases {
		for _, text := range c.phrase(s) {
			e := c.entryOf(text)
			e.contexts = append(e.contexts, id)
		}
	}
	return id
}

// contextOf is the contexts of a list of phrases and of names in angle brackets.
func (c *compiler) contextOf(list []said) []int32 {
	var ids []int32
	var phrases []said
	var names []string
	for _, s := range list {
		name, opened := strings.CutPrefix(s.text, "<")
		name, closed := strings.CutSuffix(name, ">")
		if !opened || !closed {
			phrases = append(phrases, s)
			names = append(names, s.text)
		} else if id, ok := c.context[name]; ok {
			ids = append(ids, id)
		} else {
			c.problem(s.at, "unknown context <%s>", shown(name))
		}
	}
	if len(phrases) > 0 {
		ids = append(ids, c.newContext(strings.Join(names, ", "), phrases))
	}
	return ids
}

func (c *compiler) exceptions() {
	for _, n := range c.nevers {
		for _, text := range c.phrase(n.phrase) {
			e := c.entryOf(text)
			e.nevers = append(e.nevers, int32(len(c.set.nevers)))
			c.set.nevers = append(c.set.nevers, never{text, n.theme, n.severity, n.phrase.at})
		}
	}
}

// terms adds the phrases of a block.
func (c *compiler) terms(r *ruleSource) {
	shared := &rule{with: c.contextOf(r.with), and: c.contextOf(r.and), unless: c.contextOf(r.unless), over: r.over}
	seen := map[string]bool{}
	for _, s := range r.say {
		if len(c.set.terms) >= maxTerms {
			c.problem(s.at, "packs: more than %d terms", maxTerms)
			return
		}
		t := Term{Theme: r.theme, Severity: r.severity, Bands: r.bands, Language: r.language, Pos: s.at, variants: 1, rule: shared}
		steps, apart := c.steps(s)
		if len(steps) > 1 {
			for i := range steps {
				steps[i] = c.folded(s, steps[i], true)
			}
			if !slices.ContainsFunc(steps, func(variants []string) bool { return !slices.Contains(variants, "") }) {
				c.problem(s.at, "%q: a phrase of which every part may be left out", shown(s.text))
				continue
			}
			c.chain(s, steps, apart, t)
			continue
		}
		for _, text := range c.phrase(s) {
			if seen[text] {
				continue
			}
			seen[text] = true
			e := c.entryOf(text)
			e.terms = append(e.terms, int32(len(c.set.terms)))
			t.Text = text
			c.set.terms = append(c.set.terms, t)
		}
	}
}

// vocabulary fills in the words that disguises are seen through to.
func (c *compiler) vocabulary() {
	f := &c.set.folder
	for _, pattern := range c.pattern {
		for w := range strings.FieldsSeq(pattern) {
			if _, ok := f.words[w]; !ok {
				f.words[w] = w
			}
		}
	}
	for _, s := range slices.Concat(c.real, c.silent) {
		if _, ok := f.words[s.text]; !ok {
			f.words[s.text] = s.text
		}
	}
	for i := range c.set.terms {
		if glued, ok := glue(c.set.terms[i].Text); ok && !strings.ContainsAny(c.set.terms[i].Text, "(|)") {
			if _, ok := f.words[glued]; !ok {
				f.words[glued] = c.set.terms[i].Text
			}
		}
	}
	for w := range f.words {
		if len(w) >= minLeet {
			once := string(appendOnce(nil, w))
			f.stretched[once] = append(f.stretched[once], w)
		}
	}
	for _, list := range f.stretched {
		slices.SortFunc(list, func(a, b string) int { return cmp.Or(cmp.Compare(len(b), len(a)), cmp.Compare(a, b)) })
	}
	c.neighbours()
	c.slips()
	for pair := range f.pairs {
		f.paired.add(hash([]byte(pair)))
	}
}

// glue writes a phrase as one word, where it is long enough to be told from others.
func glue(text string) (string, bool) {
	const shortest, longest, words = 6, 24, 4
	fields := strings.Fields(text)
	if len(fields) < 2 || len(fields) > words || slices.ContainsFunc(fields, func(w string) bool { return len(w) < 2 }) {
		return "", false
	}
	glued := strings.Join(fields, "")
	return glued, len(glued) >= shortest && len(glued) <= longest
}

// neighbours enters the long words under every spelling with one letter left out,
// and reads them as one where a space slipped in.
func (c *compiler) neighbours() {
	f := &c.set.folder
	for _, s := range c.near {
		if f.words[s.text] != s.text || len(s.text) < minNear || strings.ContainsAny(s.text, " ") {
			c.problem(s.at, "near: %q: want a word of the packs, of %d letters or more, that is read as itself", shown(s.text), minNear)
			continue
		}
		f.near[s.text] = append(f.near[s.text], s.text)
		for i := range s.text {
			key := s.text[:i] + s.text[i+1:]
			f.near[key] = append(f.near[key], s.text)
			f.slipped.add(hash([]byte(key)))
		}
		f.slipped.add(hash([]byte(s.text)))
		for i := 2; i <= len(s.text)-2; i++ {
			if pair := s.text[:i] + " " + s.text[i:]; f.pairs[pair] == "" {
				f.pairs[pair] = s.text
			}
		}
	}
}

// slips enters the other English words of the packs that a slip may be seen through
// to: long enough, and no grave term by themselves, so that it takes a phrase to speak.
func (c *compiler) slips() {
	f := &c.set.folder
	for _, s := range c.same { // another spelling may have a slip in it too
		if w := s.also.text; c.english[s.word.text] && f.words[w] == s.word.text && len(w) > minSlip {
			c.english[w] = true
		}
	}
	for _, w := range slices.Sorted(maps.Keys(c.english)) {
		if as := f.words[w]; len(w) < minSlip || len(w) > maxWritten || as == "" || len(f.near[w]) > 0 || c.graveAlone(as) || strings.ContainsAny(w, "0123456789") {
			continue
		}
		f.slips[w] = append(f.slips[w], w)
		f.slipped.add(hash([]byte(w)))
		for i := 1; i < len(w); i++ { // the first letter is right
			key := w[:i] + w[i+1:]
			f.slips[key] = append(f.slips[key], w)
			f.slipped.add(hash([]byte(key)))
		}
		if len(w) >= minNear {
			once := appendOnce(nil, w)
			f.doubled[string(once)] = append(f.doubled[string(once)], w)
			f.slipped.add(hash(once))
		}
	}
}

// graveAlone reports whether a word is a term of severity 4 or 5 with no context that
// must be there.
func (c *compiler) graveAlone(w string) bool {
	id, ok := c.entry[" "+w+" "]
	return ok && slices.ContainsFunc(c.set.entries[id].terms, func(t int32) bool {
		return c.set.terms[t].Severity >= 4 && len(c.set.terms[t].rule.with) == 0
	})
}

var errBrackets = errors.New("the brackets do not close")

// expand writes out a phrase with choices: "cut(|ting) my (arm|leg)s".
func expand(s string) ([]string, error) {
	all, rest, err := expandAny(s, 0)
	if err == nil && rest != "" {
		err = errBrackets
	}
	return all, err
}

// expandAny reads choices up to a closing bracket or the end.
func expandAny(s string, depth int) (all []string, rest string, err error) {
	if depth > 4 {
		return nil, "", errors.New("brackets more than 4 deep")
	}
	one := []string{""}
	for {
		i := strings.IndexAny(s, "(|)")
		if i < 0 {
			i = len(s)
		}
		for k := range one {
			one[k] += s[:i]
		}
		if i == len(s) {
			if depth > 0 {
				return nil, "", errBrackets
			}
			return append(all, one...), "", nil
		}
		mark := s[i]
		s = s[i+1:]
		switch mark {
		case '(':
			var inner []string
			if inner, s, err = expandAny(s, depth+1); err != nil {
				return nil, "", err
			}
			if len(one)*len(inner) > maxVariants {
				return nil, "", fmt.Errorf("more than %d variants", maxVariants)
			}
			product := make([]string, 0, len(one)*len(inner))
			for _, a := range one {
				for _, b := range inner {
					product = append(product, a+b)
				}
			}
			one = product
		default:
			if all = append(all, one...); len(all) > maxVariants {
				return nil, "", fmt.Errorf("more than %d variants", maxVariants)
			}
			if mark == ')' {
				if depth == 0 {
					return nil, "", errBrackets
				}
				return all, s, nil
			}
			one = []string{""}
		}
	}
}
