package blocklists

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"slices"
)

// ErrChange: more of the feed came or went than it may at once.
var ErrChange = errors.New("it changed more than it may at once")

// maxEntries bounds one downloaded feed, so that comparing two versions of it
// stays under 200 MB. The greatest real list has 4.7 million.
const maxEntries = 10_000_000

// contents is what a version of a feed says, as sorted hashes of its entries.
type contents []uint64

// readContents parses a file as the feed's next version and keeps what it says.
// each may be nil.
func readContents(ctx context.Context, f Feed, file string, seed maphash.Seed, each func(Entry)) (contents, error) {
	f.Path = file
	var all contents
	_, err := Read(ctx, f, func(e Entry) error {
		if len(all) == maxEntries {
			return refuseAll("more than %d entries", maxEntries)
		}
		all = append(all, hashOf(e, seed))
		if each != nil {
			each(e)
		}
		return nil
	}, func(Refusal) {})
	if err != nil {
		return nil, err
	}
	slices.Sort(all)
	return slices.Compact(all), nil
}

func hashOf(e Entry, seed maphash.Seed) uint64 {
	var h maphash.Hash
	h.SetSeed(seed)
	for _, part := range []string{e.Host.String(), e.Path, e.Category.String()} {
		h.WriteString(part)
		h.WriteByte(0)
	}
	if e.Exact {
		h.WriteByte(1)
	}
	return h.Sum64()
}

// change is how a version differs from the one before.
type change struct {
	before, after, added, removed int64

	first string // why a first copy waits for a person, if it does
}

func compare(before, after contents) change {
	c := change{before: int64(len(before)), after: int64(len(after))}
	i, j := 0, 0
	for i < len(before) && j < len(after) {
		switch {
		case before[i] == after[j]:
			i, j = i+1, j+1
		case before[i] < after[j]:
			c.removed, i = c.removed+1, i+1
		default:
			c.added, j = c.added+1, j+1
		}
	}
	c.removed += int64(len(before) - i)
	c.added += int64(len(after) - j)
	return c
}

// fewEntries may come and go whatever share of a short list they are.
const fewEntries = 5

// beyond says in which way the change is more than the limit: the list shrank or
// grew by more than it, or is mostly another list now. "" is within the limit.
func (c change) beyond(limit float64) string {
	if c.first != "" {
		return c.first
	}
	of := func(n int64) float64 { return float64(n) / float64(c.before) }
	switch net := c.after - c.before; {
	case c.before == 0 || max(c.added, c.removed) < fewEntries:
		return ""
	case of(net) > limit:
		return fmt.Sprintf("it grew from %d to %d entries", c.before, c.after)
	case of(-net) > limit:
		return fmt.Sprintf("it shrank from %d to %d entries", c.before, c.after)
	case of(c.removed) > 2*limit:
		return fmt.Sprintf("%d of its %d entries are gone and %d are new", c.removed, c.before, c.added)
	}
	return ""
}
