package categories

import (
	"cmp"
	"fmt"
	"slices"

	"schoolgate/policy"
)

// maxSuspects bounds the report.
const maxSuspects = 2000

// crowdSource is the clean record that a name has of the clean names below it.
const crowdSource = "many names below it with a clean record"

// crowds gives a clean record to names above several others that have one: a
// parent entry must not swallow many unrelated sites on one list's word.
func (w *writer) crowds() {
	id := SourceID(len(w.sources))
	w.sources = append(w.sources, Source{Name: crowdSource, Clean: true})
	type parent struct{ record, clean int }
	var above []parent
	leave := func() {
		p := above[len(above)-1]
		above = above[:len(above)-1]
		if len(above) > 0 {
			above[len(above)-1].clean += p.clean
		}
		r := &w.hosts.records[p.record]
		own := 0
		if w.isClean(r.evidence) {
			own = 1
		}
		if w.rules.Crowd > 0 && p.clean-own >= w.rules.Crowd && r.evidence != 0 {
			r.evidence = w.sets.with(r.evidence, newPair(id, policy.Uncategorised, false))
		}
	}
	clean := map[uint32]bool{}
	for i := range w.hosts.records {
		r := &w.hosts.records[i]
		key := w.hosts.key(r)
		for len(above) > 0 && !keyWithin(key, w.hosts.key(&w.hosts.records[above[len(above)-1].record])) {
			leave()
		}
		is, known := clean[r.evidence]
		if !known {
			is = w.isClean(r.evidence)
			clean[r.evidence] = is
		}
		above = append(above, parent{record: i})
		if is {
			above[len(above)-1].clean = 1
		}
	}
	for len(above) > 0 {
		leave()
	}
}

func (w *writer) isClean(evidence uint32) bool {
	return cleanWeight(w.sets.sets[evidence], w.sources) > 0
}

func keyWithin(key, parent []byte) bool {
	return len(key) > len(parent) && key[len(parent)] == labelEnd && string(key[:len(parent)]) == string(parent)
}

// classify judges each distinct set of evidence once, counts, and finds suspects.
func (w *writer) classify() error {
	w.ids = map[class]uint16{}
	for i := range w.byPaths {
		w.byPaths[i] = make([]uint16, len(w.sets.sets))
	}
	counted := make([]policy.CategorySet, len(w.sets.sets))
	suspect := make([][]finding, len(w.sets.sets))
	for ev, set := range w.sets.sets {
		c := classOf(set, w.sources, w.rules)
		counted[ev] = c.self.counted
		suspect[ev] = w.suspicious(set)
		for i := range w.byPaths {
			c.paths = i == 1
			n, err := w.classNumber(c)
			if err != nil {
				return err
			}
			w.byPaths[i][ev] = n
		}
	}
	for _, list := range []*names{w.hosts, w.urls} {
		for i := range list.records {
			r := &list.records[i]
			for set := counted[r.evidence]; !set.Empty(); set = set.Without(set.First()) {
				w.header.Categories[set.First()]++
			}
			w.suspect(list.key(r), suspect[r.evidence], r.evidence)
			if w.classOfRecord(r) != 0 {
				w.header.Indexed++
			}
		}
	}
	slices.SortStableFunc(w.report.Suspects, func(a, b Suspect) int { return cmp.Compare(b.Weight, a.Weight) })
	w.report.Suspects = w.report.Suspects[:min(len(w.report.Suspects), maxSuspects)]
	return nil
}

func (w *writer) classNumber(c class) (uint16, error) {
	if c.idle() {
		return 0, nil
	}
	if n, ok := w.ids[c]; ok {
		return n, nil
	}
	if len(w.classes) == maxClasses {
		return 0, fmt.Errorf("more than %d different combinations of categories: are the sources what they say?", maxClasses)
	}
	w.classes = append(w.classes, c)
	w.ids[c] = uint16(len(w.classes))
	return uint16(len(w.classes)), nil
}

func (w *writer) classOfRecord(r *record) uint16 {
	if r.paths {
		return w.byPaths[1][r.evidence]
	}
	return w.byPaths[0][r.evidence]
}

// suspicious are the findings of a set that a clean record outweighed.
func (w *writer) suspicious(set []pair) (list []finding) {
	if cleanWeight(set, w.sources) == 0 {
		return nil
	}
	findings, _ := judge(set, w.sources, w.rules, true)
	for _, f := range findings {
		if !f.counted && !harmless.Has(f.category) {
			list = append(list, f)
		}
	}
	return list
}

func (w *writer) suspect(key []byte, list []finding, evidence uint32) {
	w.report.SuspectCount += len(list)
	if len(w.report.Suspects) >= 20*maxSuspects {
		return
	}
	for _, f := range list {
		s := Suspect{Category: f.category, Weight: f.weight, Why: f.why}
		s.Host, s.Path = splitKey(key)
		for _, p := range w.sets.sets[evidence] {
			if src := w.sources[p.source()]; p.category() == f.category && !src.Clean {
				s.Sources = append(s.Sources, src.Name)
			}
		}
		w.report.Suspects = append(w.report.Suspects, s)
	}
}
