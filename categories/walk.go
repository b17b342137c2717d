package categories

import (
	"context"
	"fmt"
	"runtime"
	"runtime/debug"
	"slices"

	"schoolgate/policy"
)

// Record is what public and curated lists say of one name or page, for an audit.
// Mandatory lists are not among it: they are kept only as keyed hashes.
type Record struct {
	Host     string
	Path     string
	Clean    float64 // weight of the lists that vouch for the name
	Below    int     // names below this one that its accusers do not name and nobody accuses of the same
	Findings []Finding
}

// Finding is what became of one category of a record.
type Finding struct {
	Category policy.Category
	Weight   float64
	Counted  bool
	Curated  bool
	Sources  []string
	Families int // independent lists among them
	Why      string
}

// Accuses reports whether a school might block a site for this category.
func (f Finding) Accuses() bool {
	return f.Category != policy.Uncategorised && !harmless.Has(f.Category)
}

// Walk visits, in the order of the tree, every record that some list accuses and
// that pick wants, which is asked about each distinct set of evidence once. A
// record is valid until visit returns. It reads the whole file: seconds, for
// millions of names.
func (s *Store) Walk(ctx context.Context, pick func(Record) bool, visit func(Record) error) (err error) {
	defer func(old bool) {
		debug.SetPanicOnFault(old)
		if r := recover(); r != nil {
			err = fmt.Errorf("%w: %v", ErrCorrupt, r)
		}
	}(debug.SetPanicOnFault(true))
	tx, err := s.file.db.Begin(false)
	if err != nil {
		return err
	}
	defer tx.Rollback() // a transaction that reads has nothing to lose
	w := &walk{visit: visit, strangers: map[[2]uint32]bool{}}
	err = tx.Bucket(bucketEvidence).ForEach(func(_, v []byte) error {
		pairs, err := parsePairs(v, len(s.sources))
		r := Record{Clean: cleanWeight(pairs, s.sources), Findings: s.findings(pairs)}
		w.kinds = append(w.kinds, r)
		w.wanted = append(w.wanted, slices.ContainsFunc(r.Findings, Finding.Accuses) && pick(r))
		return err
	})
	if err != nil {
		return err
	}
	for _, bucket := range [][]byte{bucketNames, bucketURLs} {
		err := tx.Bucket(bucket).ForEach(func(_, v []byte) error {
			if err := ctx.Err(); err != nil {
				return err
			}
			return eachInBlock(v, w.name)
		})
		if err == nil {
			err = w.leave(0)
		}
		if err != nil {
			return err
		}
	}
	runtime.KeepAlive(s)
	return nil
}

// findings are what judge makes of a set of evidence, with the lists named.
func (s *Store) findings(pairs []pair) (list []Finding) {
	judged, _ := judge(pairs, s.sources, s.header.Rules, true)
	for _, f := range judged {
		found := Finding{Category: f.category, Weight: f.weight, Counted: f.counted, Curated: f.curated, Why: f.why}
		families := map[string]bool{}
		for _, p := range pairs {
			if src := s.sources[p.source()]; p.category() == f.category && !src.Clean {
				found.Sources = append(found.Sources, src.Name)
				families[src.family()] = true
			}
		}
		found.Families = len(families)
		list = append(list, found)
	}
	return list
}

// walk counts what lies below each name: names come in the order of the tree, a
// parent right before what is below it.
type walk struct {
	kinds     []Record
	wanted    []bool
	visit     func(Record) error
	above     []walked
	strangers map[[2]uint32]bool // sets of evidence, above and below, without a list in common
}

type walked struct {
	key      []byte
	evidence uint32
	below    int
}

func (w *walk) name(key []byte, evidence uint32) error {
	if int(evidence) >= len(w.kinds) {
		return errCorrupt("evidence that is not there")
	}
	depth := len(w.above)
	for depth > 0 && !keyWithin(key, w.above[depth-1].key) {
		depth--
	}
	if err := w.leave(depth); err != nil {
		return err
	}
	for i := range w.above {
		if n := &w.above[i]; w.wanted[n.evidence] && w.stranger(n.evidence, evidence) {
			n.below++
		}
	}
	w.above = append(w.above, walked{slices.Clone(key), evidence, 0})
	return nil
}

// stranger reports whether none of the lists that accuse the name above speaks of
// the name below, and none says the same of it: a list that names both knows what
// it says, and one that agrees bears it out.
func (w *walk) stranger(above, below uint32) bool {
	pair := [2]uint32{above, below}
	is, known := w.strangers[pair]
	if known {
		return is
	}
	is = true
	for _, f := range w.kinds[above].Findings {
		for _, g := range w.kinds[below].Findings {
			is = is && f.Category != g.Category && !slices.ContainsFunc(f.Sources, func(s string) bool { return slices.Contains(g.Sources, s) })
		}
	}
	w.strangers[pair] = is
	return is
}

// leave is done with what lies deeper than depth.
func (w *walk) leave(depth int) error {
	for len(w.above) > depth {
		n := w.above[len(w.above)-1]
		w.above = w.above[:len(w.above)-1]
		if !w.wanted[n.evidence] {
			continue
		}
		r := w.kinds[n.evidence]
		r.Host, r.Path = splitKey(n.key)
		r.Below = n.below
		if err := w.visit(r); err != nil {
			return err
		}
	}
	return nil
}
