package blocklists

import (
	"context"
	"fmt"
	"hash/maphash"
	"sync"

	"schoolgate/policy"
)

// A first download has no copy to be compared with. It is held to what is known
// without one: the list that is read until then, the number of entries that the
// feed file names, and the sites that no block list of any use holds.

// Bounds of a first download. The number of entries is a person's rough word, so
// only a list of quite another size is refused.
const (
	firstLeast  = 0.5 // of the entries named
	firstMost   = 4
	vouchedMost = 0.1 // share of the sites vouched for that a block list may hold; of 70 real ones the worst holds 4 in 100
)

// first says why a feed's first copy is not taken without a person, or nothing.
func (f *Feed) first(diff change, vouched int) string {
	n := diff.after
	if want := f.Remote.Entries; want > 0 && (float64(n) < firstLeast*float64(want) || float64(n) > firstMost*float64(want)) {
		return fmt.Sprintf("it has %d entries, and the feed file says about %d", n, want)
	}
	if all := len(vouchedFor()); float64(vouched) > vouchedMost*float64(all) {
		return fmt.Sprintf("it accuses %d of %d sites that schools need, such as those of help-lines, schools and broadcasters", vouched, all)
	}
	return ""
}

// beforeFirst is what a feed was read from until its first download, if anything.
func beforeFirst(ctx context.Context, f *Feed, seed maphash.Seed) contents {
	if f.Path == "" {
		return nil
	}
	before, err := readContents(ctx, *f, f.Path, seed, nil)
	if err != nil {
		return nil // it can no longer be read, so it says nothing
	}
	return before
}

// vouchers are categories whose sites nobody blocks by a list of something else.
var vouchers = policy.SetOf(policy.Education, policy.EducationalGames, policy.Children, policy.SchoolServices, policy.Charity,
	policy.Health, policy.HelpLine, policy.SexEducation, policy.Government, policy.News, policy.Reference, policy.Updates)

// vouchedFor are the sites that the starter lists vouch for.
var vouchedFor = sync.OnceValue(func() map[policy.Host]bool {
	sites := map[policy.Host]bool{}
	_, err := Read(context.Background(), Starter()[0], func(e Entry) error {
		if e.Path == "" && vouchers.Has(e.Category) {
			sites[e.Host] = true
		}
		return nil
	}, func(Refusal) {})
	if err != nil {
		panic(err) // the list is in the binary and tested
	}
	return sites
})

// accuses reports whether an entry calls a site that is vouched for something
// else. Only lists that accuse are asked.
func (f *Feed) accuses(e Entry) bool {
	return f.Kind == Public && e.Path == "" && !vouchers.Has(e.Category) && vouchedFor()[e.Host]
}
