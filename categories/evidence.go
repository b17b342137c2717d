package categories

import (
	"fmt"
	"slices"
	"time"

	"schoolgate/policy"
)

// Source is one list that entries come from.
type Source struct {
	Name    string
	Licence string
	// Weight is how much one entry of it proves: 1, the default, is a good list;
	// less is a weak one that needs company.
	Weight float64
	// Family names the publisher's list that this is a copy of: copies in several
	// formats count once. Empty is a family of its own.
	Family string
	// Curated: made by hand for schools. It replaces what public lists say of its
	// hosts and of everything below them.
	Curated bool
	// Additive: a curated source that adds to what public lists say.
	Additive bool
	// Clean: its hosts have a clean record, so that one list alone cannot condemn
	// them. Its entries need no category.
	Clean bool
	// Mandatory: an IWF-style list. Its entries are kept only as keyed hashes.
	Mandatory bool
	// Synthetic: invented entries for tests, which protect nobody.
	Synthetic bool `json:",omitempty"`
	Date      time.Time
	// Content identifies what a source that ships in the program held; "" for any
	// other.
	Content string `json:",omitempty"`
}

func (s Source) weight() float64 {
	if s.Weight == 0 {
		return 1
	}
	return s.Weight
}

func (s Source) family() string {
	if s.Family == "" {
		return s.Name
	}
	return s.Family
}

// SourceID numbers a source within one build.
type SourceID uint16

// pair is one thing that one source says of one host: source, whether only the
// very host is meant, and category.
type pair uint32

func newPair(s SourceID, c policy.Category, exact bool) pair {
	p := pair(s)<<9 | pair(c)
	if exact {
		p |= 1 << 8
	}
	return p
}

func (p pair) source() SourceID          { return SourceID(p >> 9) }
func (p pair) category() policy.Category { return policy.Category(p & 0xff) }
func (p pair) exact() bool               { return p&(1<<8) != 0 }

// Rules are the thresholds by which evidence becomes a category.
type Rules struct {
	// Threshold is the weight at which a category counts.
	Threshold float64
	// CleanExtra is the most that clean records add to the threshold.
	CleanExtra float64
	// Strong is the weight at which a public entry is heard below a curated one.
	Strong float64
	// Crowd is how many names with a clean record lie below an entry that is
	// taken for a place of many sites and needs more than one source.
	Crowd int
}

// DefaultRules are explained, with their figures, in docs/decisions.
func DefaultRules() Rules { return Rules{Threshold: 1, CleanExtra: 1, Strong: 2, Crowd: 3} }

// vouched is the weight of clean records from which a name's words are not heard:
// a list of names that were merely seen somewhere weighs less.
const vouched = 0.5

// rounding lets ten sources of a tenth weigh one.
const rounding = 1e-9

// finding is what became of one category of an entry.
type finding struct {
	category policy.Category
	weight   float64
	counted  bool
	curated  bool
	why      string
}

// view is what an entry says of a host: of the very host named, or of one below.
type view struct {
	counted policy.CategorySet
	strong  policy.CategorySet // what is heard even below a curated entry
	final   bool               // curated: what lies above is not heard
	crowd   bool               // a curated place of many users: each site below is judged by itself
	clean   bool               // somebody vouches for the name: its words are not heard
}

// class is all that classifying needs of an entry. Many entries share one.
type class struct {
	self, below view
	paths       bool // the host has URL entries
}

func (c class) idle() bool { return c == class{} }

// manyUsers are categories of hosts under which anyone may put up a site. What a
// public list says of one of those sites is heard like anywhere else.
var manyUsers = policy.SetOf(policy.WebHosting, policy.SocialNetworks, policy.Forums, policy.FileSharing, policy.Shortener)

// judge decides which categories of an entry count, from all that is known of
// it. exact includes what was said of the very host only. It is pure: the same
// evidence gives the same findings, at build and when a person asks why.
func judge(pairs []pair, sources []Source, r Rules, exact bool) (findings []finding, v view) {
	clean := cleanWeight(pairs, sources)
	need := r.Threshold + min(clean, r.CleanExtra)
	v.final = slices.ContainsFunc(pairs, func(p pair) bool {
		s := sources[p.source()]
		return (exact || !p.exact()) && s.Curated && !s.Clean && !s.Additive
	})
	for _, c := range categoriesOf(pairs, sources, exact) {
		f := finding{category: c}
		f.weight, f.curated = weigh(pairs, sources, c, exact)
		switch {
		case f.curated:
			f.counted, f.why = true, "curated by hand"
		case v.final:
			f.why = "a curated source says otherwise"
		case f.weight >= need-rounding:
			f.counted, f.why = true, fmt.Sprintf("weight %.2g of %.2g needed", f.weight, need)
		case clean > 0:
			f.why = fmt.Sprintf("weight %.2g of %.2g needed, since the name has a clean record", f.weight, need)
		default:
			f.why = fmt.Sprintf("weight %.2g of %.2g needed", f.weight, need)
		}
		if f.counted {
			v.counted = v.counted.With(c)
			if f.curated || f.weight >= max(need, r.Strong)-rounding {
				v.strong = v.strong.With(c)
			}
		}
		findings = append(findings, f)
	}
	v.crowd = v.final && !v.counted.Intersect(manyUsers).Empty()
	v.clean = clean >= vouched && !v.final
	return findings, v
}

// classOf is judge for both readers of an entry.
func classOf(pairs []pair, sources []Source, r Rules) (c class) {
	_, c.self = judge(pairs, sources, r, true)
	_, c.below = judge(pairs, sources, r, false)
	return c
}

func categoriesOf(pairs []pair, sources []Source, exact bool) (cs []policy.Category) {
	var set policy.CategorySet
	for _, p := range pairs {
		if (exact || !p.exact()) && !sources[p.source()].Clean {
			set = set.With(p.category())
		}
	}
	for c := range set.All() {
		cs = append(cs, c)
	}
	return cs
}

// weigh sums what the sources of a category weigh, each family once.
func weigh(pairs []pair, sources []Source, c policy.Category, exact bool) (sum float64, curated bool) {
	for i, p := range pairs {
		s := sources[p.source()]
		if p.category() != c || s.Clean || p.exact() && !exact {
			continue
		}
		curated = curated || s.Curated
		best := s.weight()
		for j, q := range pairs { // the heaviest of a family, counted where it stands first
			t := sources[q.source()]
			if q.category() != c || t.Clean || q.exact() && !exact || t.family() != s.family() {
				continue
			}
			if j < i {
				best = 0
				break
			}
			best = max(best, t.weight())
		}
		sum += best
	}
	return sum, curated
}

func cleanWeight(pairs []pair, sources []Source) (sum float64) {
	for _, p := range pairs {
		if s := sources[p.source()]; s.Clean {
			sum += s.weight()
		}
	}
	return sum
}

// join adds what an entry says to what the entries above it said. Entries are
// joined from the top of the tree down.
type join struct {
	cats    policy.CategorySet
	curated bool // a curated entry lies above
	crowd   bool // and it is a place of many users
	clean   bool // an entry below the curated one, if any, vouches for the name
}

func (j *join) add(v view, alias bool) {
	j.clean = j.clean || v.clean
	switch {
	case v.final:
		*j = join{cats: v.counted, curated: true, crowd: v.crowd}
	case !j.curated || j.crowd:
		j.cats = j.cats.Union(v.counted)
	case !alias: // m.youtube.com is youtube.com, whatever a list says of it
		j.cats = j.cats.Union(v.strong)
	}
}

// named adds what the words of a name say, if neither a person has looked at the
// site nor anybody vouches for it. Where strangers keep a site each, the path may
// hold its name.
func (j *join) named(words *wordIndex, name, path string) {
	if !j.wordsHeard() {
		return
	}
	if !j.cats.Has(policy.WebHosting) {
		path = ""
	}
	j.cats = j.cats.Union(words.match(name, path))
}

func (j *join) wordsHeard() bool { return !j.clean && (!j.curated || j.crowd) }

// addPage adds what a URL entry says. It names one page, so that hearing a single
// public source costs little even below a curated name.
func (j *join) addPage(v view) {
	if v.final {
		j.cats = v.counted
		return
	}
	j.cats = j.cats.Union(v.counted)
}

// aliases are first labels that name the same site as the host below them.
var aliases = []string{"www", "m", "mobile", "www2", "web"}
